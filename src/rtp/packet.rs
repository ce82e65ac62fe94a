//! The RTP header, RFC 3550 section 5.1.

/// A checked view of one RTP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RtpPacket<'a> {
    /// 0 to 127.
    pub payload_type: u8,
    pub marker: bool,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    /// Without CSRC list, header extension and padding.
    pub payload: &'a [u8],
    /// Bytes of the packet before the payload.
    pub payload_at: usize,
}

const FIXED_HEADER: usize = 12;

/// Whether the first two bytes are those of RTP version 2 and not RTCP (RFC 5761 section 4).
#[inline]
pub fn is_rtp(bytes: &[u8]) -> bool {
    bytes.len() >= FIXED_HEADER && bytes[0] >> 6 == 2 && !(192..=223).contains(&bytes[1])
}

/// Whether the bytes are RTCP: version 2 and a packet type that RFC 5761 section 4 keeps free of RTP.
#[inline]
pub fn is_rtcp(bytes: &[u8]) -> bool {
    bytes.len() >= 8 && bytes[0] >> 6 == 2 && (192..=223).contains(&bytes[1])
}

impl<'a> RtpPacket<'a> {
    /// `None` when the bytes are not RTP version 2, are RTCP, or say they are longer than they are.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Option<RtpPacket<'a>> {
        RtpPacket::parse_flagged(bytes, 0x3f)
    }

    /// The same for a packet whose padding cannot be seen, since it is encrypted: the payload goes to the packet's end.
    pub fn parse_sealed(bytes: &'a [u8]) -> Option<RtpPacket<'a>> {
        RtpPacket::parse_flagged(bytes, 0x1f)
    }

    /// With those bits of the first byte that announce more than the fixed header and are believed.
    #[inline(always)]
    fn parse_flagged(bytes: &'a [u8], believed: u8) -> Option<RtpPacket<'a>> {
        if !is_rtp(bytes) {
            return None;
        }
        let (header, rest) = bytes.split_first_chunk::<FIXED_HEADER>()?;
        let (payload_at, payload) = match header[0] & believed {
            0 => (FIXED_HEADER, rest),
            flags => strip_optional(flags, rest)?,
        };
        Some(RtpPacket {
            payload_type: header[1] & 0x7f,
            marker: header[1] & 0x80 != 0,
            sequence: u16::from_be_bytes([header[2], header[3]]),
            timestamp: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
            ssrc: u32::from_be_bytes([header[8], header[9], header[10], header[11]]),
            payload,
            payload_at,
        })
    }
}

/// The payload behind CSRCs, extension and padding as `first` (the first byte of the header) announces them, and where in the
/// packet it begins.
fn strip_optional(first: u8, rest: &[u8]) -> Option<(usize, &[u8])> {
    let end = FIXED_HEADER + rest.len();
    let mut rest = rest.get(usize::from(first & 0x0f) * 4..)?;
    if first & 0x10 != 0 {
        let words = u16::from_be_bytes([*rest.get(2)?, *rest.get(3)?]);
        rest = rest.get(4 + usize::from(words) * 4..)?;
    }
    let payload_at = end - rest.len();
    if first & 0x20 != 0 {
        let padding = usize::from(*rest.last()?);
        // A padding count of 0 is an error in the sender; the packet is taken as it is.
        rest = rest.get(..rest.len().checked_sub(padding)?)?;
    }
    Some((payload_at, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(first: u8, second: u8, rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![
            first, second, 0x12, 0x34, 0, 0, 0, 160, 0xde, 0xad, 0xbe, 0xef,
        ];
        bytes.extend_from_slice(rest);
        bytes
    }

    #[test]
    fn says_where_the_payload_begins() {
        for (bytes, at) in [
            (packet(0x80, 0, b"payload"), 12),
            (packet(0x81, 0, b"csrcpayload"), 16),
            (packet(0x90, 0, b"\0\0\0\x01wordpayload"), 20),
            (packet(0xa0, 0, b"payload\0\x02"), 12),
        ] {
            let rtp = RtpPacket::parse(&bytes).unwrap();
            assert_eq!((rtp.payload, rtp.payload_at), (&b"payload"[..], at));
            assert_eq!(&bytes[at..at + 7], b"payload");
        }
    }

    #[test]
    fn reads_the_fixed_header() {
        let bytes = packet(0x80, 0x88, b"abc");
        let rtp = RtpPacket::parse(&bytes).unwrap();
        assert_eq!(
            (rtp.payload_type, rtp.marker, rtp.sequence),
            (8, true, 0x1234)
        );
        assert_eq!(
            (rtp.timestamp, rtp.ssrc, rtp.payload),
            (160, 0xdead_beef, &b"abc"[..])
        );
    }

    #[test]
    fn strips_csrcs_extension_and_padding() {
        let bytes = packet(
            0xb1,
            0,
            &[1, 2, 3, 4, 0xbe, 0xde, 0, 1, 9, 9, 9, 9, b'x', b'y', 0, 2],
        );
        assert_eq!(RtpPacket::parse(&bytes).unwrap().payload, b"xy");
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for (first, rest) in [
            (0x8f, &[0; 8][..]),
            (0x90, &[0, 0, 0xff, 0xff]),
            (0xa0, &[9]),
            (0x90, &[0]),
        ] {
            assert_eq!(
                RtpPacket::parse(&packet(first, 0, rest)),
                None,
                "{first:#x}"
            );
        }
    }

    #[test]
    fn encrypted_padding_is_not_believed() {
        let bytes = packet(0xa0, 0, &[1, 2, 200]);
        assert_eq!(RtpPacket::parse(&bytes), None);
        let sealed = RtpPacket::parse_sealed(&bytes).unwrap();
        assert_eq!(
            (sealed.sequence, sealed.payload),
            (0x1234, &[1, 2, 200][..])
        );
    }

    #[test]
    fn rtcp_on_the_same_port_is_not_rtp() {
        let report = packet(0x80, 200, &[0; 16]);
        assert!(is_rtcp(&report) && RtpPacket::parse(&report).is_none());
        // Payload type 72 to 76 with a marker would be taken for RTCP: RFC 5761 forbids those types. Type 96 is fine.
        assert!(RtpPacket::parse(&packet(0x80, 0x80 | 96, &[])).is_some());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Some(rtp) = RtpPacket::parse(&bytes) {
                prop_assert!(rtp.payload.len() + 12 <= bytes.len());
            }
        }
    }
}
