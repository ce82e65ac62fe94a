//! ZRTP (RFC 6189), as far as a listener can follow it: when media turns to SRTP.

/// Behind the fixed part of the packet: preamble and length of the message, then its type (RFC 6189 section 5.1).
const MESSAGE_TYPE: std::ops::Range<usize> = 16..24;
/// What is in the place of the RTP timestamp.
const COOKIE: std::ops::Range<usize> = 4..8;

/// Whether these bytes are a ZRTP packet after which its two ends speak SRTP: the initiator confirms the keys, or the
/// responder acknowledges that (RFC 6189 section 4.6).
pub fn secures(bytes: &[u8]) -> bool {
    let is_zrtp = bytes.first().is_some_and(|first| first & 0xf0 == 0x10)
        && bytes.get(COOKIE).is_some_and(|cookie| cookie == b"ZRTP");
    is_zrtp
        && bytes
            .get(MESSAGE_TYPE)
            .is_some_and(|kind| kind == b"Confirm2" || kind == b"Conf2ACK")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: &[u8; 8]) -> Vec<u8> {
        [b"\x10\0\0\x01ZRTP\xca\xfe\xba\xbe\x50\x5a\0\x03", &kind[..]].concat()
    }

    #[test]
    fn the_confirmation_secures_and_the_greeting_does_not() {
        assert!(secures(&packet(b"Confirm2")) && secures(&packet(b"Conf2ACK")));
        assert!(!secures(&packet(b"Hello   ")) && !secures(&packet(b"Confirm1")));
        assert!(!secures(&packet(b"Confirm2")[..23]));
        let mut rtp = packet(b"Confirm2");
        rtp[0] = 0x80;
        assert!(!secures(&rtp));
    }
}
