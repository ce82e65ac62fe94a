//! HEP packets out of a connection: each says how long it is.

use crate::wire::{HepError, hep_length};

/// What a connection has brought of a packet that is not whole. Holds less than 64 KiB: no packet can be longer.
#[derive(Debug, Default)]
pub(super) struct HepFramer {
    held: Vec<u8>,
}

impl HepFramer {
    /// Takes bytes, and gives out each packet that they make whole.
    ///
    /// # Errors
    ///
    /// Where a packet should begin is none. The connection is of no more use: nothing says where the next one begins.
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        out: &mut dyn FnMut(&[u8]),
    ) -> Result<(), HepError> {
        if self.held.is_empty() {
            let rest = packets(bytes, out)?;
            self.held.extend_from_slice(rest);
            return Ok(());
        }
        self.held.extend_from_slice(bytes);
        let rest = packets(&self.held, out)?.len();
        self.held.drain(..self.held.len() - rest);
        if self.held.is_empty() {
            // A thousand quiet connections hold nothing.
            self.held = Vec::new();
        }
        Ok(())
    }
}

/// Gives out the whole packets at the beginning of `bytes`, and returns the rest.
fn packets<'a>(mut bytes: &'a [u8], out: &mut dyn FnMut(&[u8])) -> Result<&'a [u8], HepError> {
    while let Some(length) = hep_length(bytes)? {
        let Some((packet, rest)) = bytes.split_at_checked(length) else {
            break;
        };
        out(packet);
        bytes = rest;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn packets_come_out_whole_however_they_are_cut(
            contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 1..9),
            cut in 1usize..50,
        ) {
            let packet = |content: &Vec<u8>| {
                let length = content.len() as u16 + 6;
                [&b"HEP3"[..], &length.to_be_bytes(), content].concat()
            };
            let packets: Vec<Vec<u8>> = contents.iter().map(packet).collect();
            let mut framer = HepFramer::default();
            let mut out = Vec::new();
            for piece in packets.concat().chunks(cut) {
                framer.push(piece, &mut |packet| out.push(packet.to_vec())).unwrap();
            }
            prop_assert_eq!(out, packets);
            prop_assert!(framer.held.is_empty());
        }

        #[test]
        fn any_bytes_are_taken_without_panic_and_bounded(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..9),
        ) {
            let mut framer = HepFramer::default();
            for piece in &pieces {
                if framer.push(piece, &mut |_| {}).is_err() {
                    break;
                }
                prop_assert!(framer.held.len() < 1 << 16);
            }
        }
    }
}
