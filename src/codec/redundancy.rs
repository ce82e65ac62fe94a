//! RFC 2198: payloads that carry earlier ones a second time.

use smallvec::SmallVec;

/// Blocks of one payload that are read; a payload with more is broken.
const MAX_BLOCKS: usize = 8;

/// One of the payloads in a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedundantBlock<'a> {
    pub payload_type: u8,
    /// Ticks by which it is older than the packet's timestamp; 0 for the last block, which is the packet's own.
    pub age: u32,
    pub payload: &'a [u8],
}

/// The blocks of a payload, oldest first; the last one is the packet's own. `None` when the lengths do not fit.
pub fn redundant_blocks(payload: &[u8]) -> Option<SmallVec<[RedundantBlock<'_>; 4]>> {
    let mut headers: SmallVec<[(u8, u32, usize); 4]> = SmallVec::new();
    let mut rest = payload;
    // Section 3: four bytes for each block but the last, whose header is one byte.
    let own = loop {
        let (&first, behind) = rest.split_first()?;
        if first & 0x80 == 0 {
            rest = behind;
            break first;
        }
        let (header, behind) = behind.split_first_chunk::<3>()?;
        let [a, b, c] = header.map(u32::from);
        if headers.len() == MAX_BLOCKS {
            return None;
        }
        headers.push((first & 0x7f, a << 6 | b >> 2, ((b & 3) << 8 | c) as usize));
        rest = behind;
    };
    let mut blocks = SmallVec::new();
    for (payload_type, age, len) in headers {
        let (payload, behind) = rest.split_at_checked(len)?;
        rest = behind;
        blocks.push(RedundantBlock {
            payload_type,
            age,
            payload,
        });
    }
    blocks.push(RedundantBlock {
        payload_type: own,
        age: 0,
        payload: rest,
    });
    Some(blocks)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_packet_carries_its_predecessor() {
        // RFC 2198 section 4: primary of payload type 5, redundancy of type 7, here shorter.
        let payload = [0x87, 0x05, 0x00, 0x03, 0x05, 1, 2, 3, 4, 5];
        let blocks = redundant_blocks(&payload).unwrap();
        assert_eq!(
            blocks[0],
            RedundantBlock {
                payload_type: 7,
                age: 320,
                payload: &[1, 2, 3]
            }
        );
        assert_eq!(
            blocks[1],
            RedundantBlock {
                payload_type: 5,
                age: 0,
                payload: &[4, 5]
            }
        );
        assert_eq!(
            redundant_blocks(&[0x87, 0x05, 0x00, 0x03, 0x05, 1, 2]),
            None
        );
        assert_eq!(redundant_blocks(&[]), None);
    }

    proptest! {
        #[test]
        fn no_more_comes_out_than_went_in(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(blocks) = redundant_blocks(&payload) {
                prop_assert!(blocks.len() <= MAX_BLOCKS + 1);
                let headers = 4 * (blocks.len() - 1) + 1;
                let bytes: usize = blocks.iter().map(|block| block.payload.len()).sum();
                prop_assert_eq!(headers + bytes, payload.len());
            }
        }
    }
}
