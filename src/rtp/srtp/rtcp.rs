//! RTCP packets, opened. Each carries its index: nothing has to be remembered.

use super::layout::SealedRtcp;
use super::session::{Parts, Protocol};
use super::{SrtpError, SrtpKey};

impl SrtpKey {
    /// Opens a compound RTCP packet: `out` is then the packet that was protected. Gives its index, 31 bits, by which copies
    /// of it are told.
    ///
    /// # Errors
    /// When it is not of this key; `out` holds nothing of use then.
    pub fn open_rtcp(&self, packet: &[u8], out: &mut Vec<u8>) -> Result<u32, SrtpError> {
        let sealed = SealedRtcp::cut(packet, self.suite(), self.mki())?;
        let parts = Parts {
            header: sealed.header,
            body: sealed.body,
            trailer: &sealed.trailer,
            is_encrypted: sealed.is_encrypted,
            ssrc: sealed.ssrc,
            index: sealed.index.into(),
        };
        out.clear();
        out.extend_from_slice(sealed.header);
        let opened = match self.derivation(sealed.index.into()) {
            0 => {
                let session = self.session(Protocol::Rtcp);
                session.open(&parts, sealed.tag, out)
            }
            r => {
                let session = self.derive(Protocol::Rtcp, r);
                session.open(&parts, sealed.tag, out)
            }
        };
        if opened {
            Ok(sealed.index)
        } else {
            Err(SrtpError::Authentication)
        }
    }
}
