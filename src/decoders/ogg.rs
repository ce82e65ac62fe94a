//! Ogg pages with one packet each (RFC 3533): what Speex travels in.

/// Bytes of lacing that one page has room for, of 255 bytes each.
const MAX_SEGMENTS: usize = 255;
const SERIAL: u32 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;

/// A logical stream being written.
#[derive(Debug, Default)]
pub struct OggWriter {
    bytes: Vec<u8>,
    pages: u32,
}

impl OggWriter {
    /// Appends a packet that ends at sample `granule`; one that fits no page (64 KiB) is left out.
    pub fn packet(&mut self, packet: &[u8], granule: u64, is_last: bool) {
        let segments = packet.len() / 255 + 1;
        if segments > MAX_SEGMENTS {
            return;
        }
        let begin = self.bytes.len();
        let first = if self.pages == 0 { FIRST } else { 0 };
        let last = if is_last { LAST } else { 0 };
        self.bytes.extend(b"OggS\0");
        self.bytes.push(first | last);
        self.bytes.extend(granule.to_le_bytes());
        self.bytes.extend(SERIAL.to_le_bytes());
        self.bytes.extend(self.pages.to_le_bytes());
        let checksum_at = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.push(segments as u8);
        self.bytes.extend(std::iter::repeat_n(255, segments - 1));
        self.bytes.push((packet.len() % 255) as u8);
        self.bytes.extend(packet);
        let sum = checksum(&self.bytes[begin..]).to_le_bytes();
        self.bytes[checksum_at..checksum_at + 4].copy_from_slice(&sum);
        self.pages += 1;
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// RFC 3533 section 6: polynomial 0x04c11db7, nothing inverted, nothing reflected.
static CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut value = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            let carry = value & 0x8000_0000 != 0;
            value <<= 1;
            if carry {
                value ^= 0x04c1_1db7;
            }
            bit += 1;
        }
        table[byte] = value;
        byte += 1;
    }
    table
};

fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0u32, |sum, &byte| {
        (sum << 8) ^ CRC[usize::from((sum >> 24) as u8 ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_laced_and_summed_as_the_rfc_says() {
        let mut ogg = OggWriter::default();
        ogg.packet(&[7; 255], 160, false);
        ogg.packet(&[9; 3], 320, true);
        let bytes = ogg.into_bytes();
        let second = 27 + 2 + 255;
        assert_eq!(bytes.len(), second + 27 + 1 + 3);
        assert_eq!((&bytes[..4], bytes[5], bytes[26]), (&b"OggS"[..], 2, 2));
        assert_eq!(bytes[27..29], [255, 0]);
        assert_eq!((bytes[second + 5], bytes[second + 26]), (4, 1));
        assert_eq!(bytes[second + 6..second + 14], 320u64.to_le_bytes());
        assert_eq!(bytes[second + 18..second + 22], 1u32.to_le_bytes());
        // As `ffmpeg` and a table of another's making have it.
        assert_eq!(checksum(b"123456789"), 0x89a1_897f);
    }
}
