//! Where the parts of a protected packet are (RFC 3711 figures 1 and 2, RFC 7714 sections 8 and 9).

use super::{SrtpError, Suite};

/// The fixed part of the RTP header.
const FIXED_HEADER: usize = 12;
/// Of RTCP, what is never encrypted: the first header with its SSRC.
pub const RTCP_HEADER: usize = 8;
/// The E flag and the index of SRTCP.
pub const RTCP_TRAILER: usize = 4;

/// An SRTP packet, cut. With HMAC the tag comes last, with AEAD the key's identifier does.
#[derive(Clone, Copy, Debug)]
pub struct SealedRtp<'a> {
    /// CSRCs and extension included: authenticated, in the clear.
    pub header: &'a [u8],
    pub body: &'a [u8],
    pub tag: &'a [u8],
    pub sequence: u16,
    pub ssrc: u32,
}

impl<'a> SealedRtp<'a> {
    /// # Errors
    /// When the packet is too short for what it says, or names another key than `mki`.
    #[inline]
    pub fn cut(packet: &'a [u8], suite: Suite, mki: &[u8]) -> Result<SealedRtp<'a>, SrtpError> {
        let header_len = header_len(packet).ok_or(SrtpError::Short)?;
        let (header, rest) = packet
            .split_at_checked(header_len)
            .ok_or(SrtpError::Short)?;
        let (body, tag) = cut_end(rest, suite.is_aead(), suite.tag_len(), mki)?;
        Ok(SealedRtp {
            header,
            body,
            tag,
            sequence: u16::from_be_bytes([header[2], header[3]]),
            ssrc: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
        })
    }
}

/// Bytes of the header, CSRCs and extension included; at least 12.
pub fn header_len(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    let mut len = FIXED_HEADER + usize::from(first & 0x0f) * 4;
    if first & 0x10 != 0 {
        let extension = packet.get(len..)?.first_chunk::<4>()?;
        len += 4 + usize::from(u16::from_be_bytes([extension[2], extension[3]])) * 4;
    }
    (len <= packet.len()).then_some(len)
}

/// An SRTCP packet, cut.
#[derive(Clone, Copy, Debug)]
pub struct SealedRtcp<'a> {
    /// The first header, never encrypted.
    pub header: &'a [u8],
    pub body: &'a [u8],
    /// E flag and index, as they are in the packet.
    pub trailer: [u8; RTCP_TRAILER],
    pub tag: &'a [u8],
    pub is_encrypted: bool,
    /// 31 bits.
    pub index: u32,
    pub ssrc: u32,
}

impl<'a> SealedRtcp<'a> {
    /// # Errors
    /// As with [`SealedRtp::cut`].
    pub fn cut(packet: &'a [u8], suite: Suite, mki: &[u8]) -> Result<SealedRtcp<'a>, SrtpError> {
        let (header, rest) = packet
            .split_at_checked(RTCP_HEADER)
            .ok_or(SrtpError::Short)?;
        let tag_len = suite.rtcp_tag_len();
        // With AEAD the tag comes before the index, as a part of the ciphertext.
        let (body, trailer, tag) = if suite.is_aead() {
            let (rest, trailer) = cut_end(rest, true, RTCP_TRAILER, mki)?;
            let (body, tag) = split_end(rest, tag_len)?;
            (body, trailer, tag)
        } else {
            let (rest, tag) = cut_end(rest, false, tag_len, mki)?;
            let (body, trailer) = split_end(rest, RTCP_TRAILER)?;
            (body, trailer, tag)
        };
        let trailer: [u8; RTCP_TRAILER] = trailer.try_into().map_err(|_| SrtpError::Short)?;
        let word = u32::from_be_bytes(trailer);
        Ok(SealedRtcp {
            header,
            body,
            trailer,
            tag,
            is_encrypted: word >> 31 != 0,
            index: word & 0x7fff_ffff,
            ssrc: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
        })
    }
}

/// Takes `len` bytes and the key's identifier from the end; the identifier is last, or before the bytes.
#[inline]
fn cut_end<'a>(
    rest: &'a [u8],
    mki_last: bool,
    len: usize,
    mki: &[u8],
) -> Result<(&'a [u8], &'a [u8]), SrtpError> {
    let (rest, named, taken) = if mki_last {
        let (rest, named) = split_end(rest, mki.len())?;
        let (rest, taken) = split_end(rest, len)?;
        (rest, named, taken)
    } else {
        let (rest, taken) = split_end(rest, len)?;
        let (rest, named) = split_end(rest, mki.len())?;
        (rest, named, taken)
    };
    if named != mki {
        return Err(SrtpError::OtherKey);
    }
    Ok((rest, taken))
}

#[inline]
fn split_end(bytes: &[u8], len: usize) -> Result<(&[u8], &[u8]), SrtpError> {
    let at = bytes.len().checked_sub(len).ok_or(SrtpError::Short)?;
    Ok(bytes.split_at(at))
}
