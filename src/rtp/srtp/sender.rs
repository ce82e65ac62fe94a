//! RTP and RTCP packets of one stream, protected: for calls that are made up.

use super::layout::header_len;
use super::receiver::rollover;
use super::session::{Parts, Protocol, Session};
use super::{SrtpError, SrtpKey};

/// Protects the packets of one stream, in the order they are sent in or nearly.
#[derive(Clone, Debug)]
pub struct SrtpSender {
    key: SrtpKey,
    newest: Option<u64>,
    first_rollover: u32,
    rtcp_index: u32,
}

impl SrtpSender {
    /// A stream whose first packet has this rollover counter: 0, but for one that is joined late.
    pub fn new(key: SrtpKey, first_rollover: u32) -> SrtpSender {
        SrtpSender {
            key,
            newest: None,
            first_rollover,
            rtcp_index: 0,
        }
    }

    /// Appends the protected packet to `out`.
    ///
    /// # Errors
    /// When `packet` has no whole RTP header.
    pub fn seal(&mut self, packet: &[u8], out: &mut Vec<u8>) -> Result<(), SrtpError> {
        let header_len = header_len(packet).ok_or(SrtpError::Short)?;
        let (header, body) = packet.split_at(header_len);
        let sequence = u16::from_be_bytes([header[2], header[3]]);
        let roc = self
            .newest
            .map_or(self.first_rollover, |newest| rollover(newest, sequence));
        let index = u64::from(roc) << 16 | u64::from(sequence);
        self.newest = Some(self.newest.map_or(index, |newest| newest.max(index)));
        let suite = self.key.suite();
        let trailer = roc.to_be_bytes();
        let parts = Parts {
            header,
            body,
            trailer: if suite.is_aead() { &[] } else { &trailer },
            is_encrypted: self.key.is_encrypted(),
            ssrc: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
            index,
        };
        out.extend_from_slice(header);
        let tag = match self.key.derivation(index) {
            0 => self.key.session(Protocol::Rtp).seal(&parts, out),
            r => self.key.derive(Protocol::Rtp, r).seal(&parts, out),
        };
        let tag = &tag[..suite.tag_len()];
        let ends = if suite.is_aead() {
            [tag, self.key.mki()]
        } else {
            [self.key.mki(), tag]
        };
        ends.iter().for_each(|end| out.extend_from_slice(end));
        Ok(())
    }

    /// Appends the protected RTCP packet to `out`.
    ///
    /// # Errors
    /// When `packet` has no whole RTCP header.
    pub fn seal_rtcp(&mut self, packet: &[u8], out: &mut Vec<u8>) -> Result<(), SrtpError> {
        self.rtcp_index = (self.rtcp_index + 1) & 0x7fff_ffff;
        let index = self.rtcp_index;
        match self.key.derivation(index.into()) {
            0 => seal_rtcp(
                &self.key,
                self.key.session(Protocol::Rtcp),
                packet,
                index,
                out,
            ),
            r => {
                let session = self.key.derive(Protocol::Rtcp, r);
                seal_rtcp(&self.key, &session, packet, index, out)
            }
        }
    }
}

fn seal_rtcp(
    key: &SrtpKey,
    session: &Session,
    packet: &[u8],
    index: u32,
    out: &mut Vec<u8>,
) -> Result<(), SrtpError> {
    let (header, body) = packet.split_at_checked(8).ok_or(SrtpError::Short)?;
    let trailer = (index | 1 << 31).to_be_bytes();
    let parts = Parts {
        header,
        body,
        trailer: &trailer,
        is_encrypted: true,
        ssrc: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
        index: index.into(),
    };
    out.extend_from_slice(header);
    let suite = key.suite();
    let tag = session.seal(&parts, out);
    let tag = &tag[..suite.rtcp_tag_len()];
    let ends: [&[u8]; 3] = if suite.is_aead() {
        [tag, &trailer, key.mki()]
    } else {
        [&trailer, key.mki(), tag]
    };
    ends.iter().for_each(|end| out.extend_from_slice(end));
    Ok(())
}
