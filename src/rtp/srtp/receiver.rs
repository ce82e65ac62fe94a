//! RTP packets of one stream, opened.

use super::layout::SealedRtp;
use super::session::{Parts, Protocol, Session};
use super::{SrtpError, SrtpKey};

/// What is known of one stream under one key: how often its sequence numbers began anew. Packets may be lost, and come in any
/// order that is within 2^15 of the newest.
#[derive(Clone)]
pub struct SrtpReceiver {
    key: SrtpKey,
    /// Index of the newest packet that was opened: rollover counter and sequence number, 48 bits.
    newest: Option<u64>,
    /// Session keys that are not the first ones, and which they are.
    rederived: Option<Box<(u64, Session)>>,
}

impl SrtpReceiver {
    pub fn new(key: SrtpKey) -> SrtpReceiver {
        SrtpReceiver {
            key,
            newest: None,
            rederived: None,
        }
    }

    pub fn key(&self) -> &SrtpKey {
        &self.key
    }

    /// The rollover counter of the newest packet; `None` before the first was opened.
    pub fn rollover(&self) -> Option<u32> {
        self.newest.map(|newest| (newest >> 16) as u32)
    }

    /// The rollover counter that `sequence` has most likely (RFC 3711 section 3.3.1); 0 before the first packet.
    pub fn likely_rollover(&self, sequence: u16) -> u32 {
        self.newest.map_or(0, |newest| rollover(newest, sequence))
    }

    /// Opens a packet: `out` is then the RTP packet that was protected.
    ///
    /// # Errors
    /// When it is not of this key, or its rollover counter is not the likely one. Nothing has changed then, and `out` holds
    /// nothing of use.
    #[inline]
    pub fn open(&mut self, packet: &[u8], out: &mut Vec<u8>) -> Result<(), SrtpError> {
        let sealed = SealedRtp::cut(packet, self.key.suite(), self.key.mki())?;
        let roc = self.likely_rollover(sealed.sequence);
        self.open_at(&sealed, roc, out)
    }

    /// The same with any of these rollover counters: for a stream that was joined after its numbers began anew, or whose
    /// sender counts from 0 again. The counter that is found is the stream's from then on.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn search(
        &mut self,
        packet: &[u8],
        mut rocs: impl Iterator<Item = u32>,
        out: &mut Vec<u8>,
    ) -> Result<(), SrtpError> {
        let sealed = SealedRtp::cut(packet, self.key.suite(), self.key.mki())?;
        if !self.key.suite().is_aead() && self.key.derives_once() {
            let parts = parts(&sealed, &self.key, 0, &[]);
            let session = self.key.session(Protocol::Rtp);
            let roc = session.find_trailer(&parts, sealed.tag, rocs);
            let roc = roc.ok_or(SrtpError::Authentication)?;
            return self.open_at(&sealed, roc, out);
        }
        rocs.find_map(|roc| self.open_at(&sealed, roc, out).ok())
            .ok_or(SrtpError::Authentication)
    }

    #[inline]
    fn open_at(
        &mut self,
        sealed: &SealedRtp<'_>,
        roc: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), SrtpError> {
        let index = u64::from(roc) << 16 | u64::from(sealed.sequence);
        let trailer = roc.to_be_bytes();
        let trailer: &[u8] = if self.key.suite().is_aead() {
            &[]
        } else {
            &trailer
        };
        let parts = parts(sealed, &self.key, index, trailer);
        out.clear();
        out.extend_from_slice(sealed.header);
        let opened = match self.key.derivation(index) {
            0 => {
                let session = self.key.session(Protocol::Rtp);
                session.open(&parts, sealed.tag, out)
            }
            r => self.rederived(r).open(&parts, sealed.tag, out),
        };
        if !opened {
            return Err(SrtpError::Authentication);
        }
        self.newest = match self.newest {
            // Behind the newest, and not the beginning of another count.
            Some(newest) if index < newest && rollover(newest, sealed.sequence) == roc => {
                Some(newest)
            }
            _ => Some(index),
        };
        Ok(())
    }

    #[cold]
    fn rederived(&mut self, r: u64) -> &Session {
        let key = &self.key;
        let fresh = || Box::new((r, key.derive(Protocol::Rtp, r)));
        let kept = self.rederived.get_or_insert_with(fresh);
        if kept.0 != r {
            *kept = fresh();
        }
        &kept.1
    }
}

fn parts<'a>(sealed: &SealedRtp<'a>, key: &SrtpKey, index: u64, trailer: &'a [u8]) -> Parts<'a> {
    Parts {
        header: sealed.header,
        body: sealed.body,
        trailer,
        is_encrypted: key.is_encrypted(),
        ssrc: sealed.ssrc,
        index,
    }
}

/// The counter that makes `sequence` come closest to `newest` (RFC 3711 section 3.3.1). There is none below 0.
#[inline]
pub(super) fn rollover(newest: u64, sequence: u16) -> u32 {
    let (roc, last) = ((newest >> 16) as u32, newest as u16);
    if last < 0x8000 {
        let before = sequence > last && sequence - last > 0x8000;
        if before { roc.saturating_sub(1) } else { roc }
    } else {
        let after = last - 0x8000 > sequence;
        if after { roc.wrapping_add(1) } else { roc }
    }
}
