//! Writes capture files.

use std::io::{self, Write};

use crate::base::Timestamp;
use crate::wire::LinkType;

/// Longest frame that readers of capture files accept.
const SNAPLEN: u32 = 262_144;

/// Writes a pcap file with nanosecond times, little endian.
///
/// Every packet is two small writes: give it a buffered writer, and flush that at the end.
pub struct PcapWriter<W: Write> {
    output: W,
}

impl<W: Write> PcapWriter<W> {
    /// Writes the file header; all packets are of one link type.
    pub fn new(mut output: W, link: LinkType) -> io::Result<PcapWriter<W>> {
        let mut header = [0; 24];
        let fields: [u32; 6] = [0xa1b2_3c4d, 2 | 4 << 16, 0, 0, SNAPLEN, link.dlt()];
        for (place, field) in header.chunks_exact_mut(4).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        output.write_all(&header)?;
        Ok(PcapWriter { output })
    }

    /// Writes one frame; `original_len` is its length on the wire in bytes.
    ///
    /// Fails with `InvalidInput` when the time is before 1970 or after 2106 or the frame is longer than 256 KiB: the
    /// format cannot hold either.
    pub fn write(&mut self, time: Timestamp, data: &[u8], original_len: u32) -> io::Result<()> {
        let nanos = time.as_nanos();
        let secs = u32::try_from(nanos.div_euclid(1_000_000_000))
            .map_err(|_| unfit(format!("time {time} does not fit")))?;
        let len = u32::try_from(data.len())
            .ok()
            .filter(|len| *len <= SNAPLEN)
            .ok_or_else(|| unfit(format!("a frame of {} bytes is too long", data.len())))?;
        let fraction = nanos.rem_euclid(1_000_000_000) as u32;
        let mut header = [0; 16];
        for (place, field) in header
            .chunks_exact_mut(4)
            .zip([secs, fraction, len, original_len])
        {
            place.copy_from_slice(&field.to_le_bytes());
        }
        self.output.write_all(&header)?;
        self.output.write_all(data)
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }

    /// The writer below, not flushed.
    pub fn into_inner(self) -> W {
        self.output
    }
}

fn unfit(what: String) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("cannot write a packet to a pcap file: {what}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_or_length_that_pcap_cannot_hold_is_refused() {
        let mut writer = PcapWriter::new(Vec::new(), LinkType::Ethernet).unwrap();
        assert!(writer.write(Timestamp::from_nanos(-1), &[1], 1).is_err());
        assert!(writer.write(Timestamp::MAX, &[1], 1).is_err());
        let long = vec![0; SNAPLEN as usize + 1];
        assert!(writer.write(Timestamp::default(), &long, 1).is_err());
        assert_eq!(writer.into_inner().len(), 24);
    }
}
