//! Sender information and reception reports (RFC 3550 sections 6.4.1 and 6.4.2).

use super::split_u32;

/// What a sender says of what it has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderInfo {
    /// NTP time of the report, 32 bits of seconds and 32 of their fraction; 0 for a sender without a clock.
    pub ntp: u64,
    pub rtp_timestamp: u32,
    /// Since the sender took up its SSRC.
    pub packets: u32,
    pub octets: u32,
}

impl SenderInfo {
    pub(super) fn read(bytes: &[u8]) -> Option<(SenderInfo, &[u8])> {
        let (seconds, rest) = split_u32(bytes)?;
        let (fraction, rest) = split_u32(rest)?;
        let (rtp_timestamp, rest) = split_u32(rest)?;
        let (packets, rest) = split_u32(rest)?;
        let (octets, rest) = split_u32(rest)?;
        let info = SenderInfo {
            ntp: u64::from(seconds) << 32 | u64::from(fraction),
            rtp_timestamp,
            packets,
            octets,
        };
        Some((info, rest))
    }

    /// The middle 32 bits of the NTP time, which receivers send back: units of 1/65,536 second.
    pub fn ntp_middle(&self) -> u32 {
        (self.ntp >> 16) as u32
    }
}

/// What one receiver says of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceptionReport {
    /// Of the stream.
    pub ssrc: u32,
    /// Lost since the report before, in 1/256.
    pub fraction_lost: u8,
    /// Lost since the beginning of reception; negative where more came than were sent: duplicates count.
    pub cumulative_lost: i32,
    /// Highest sequence number received, with the count of wraps above it.
    pub highest_sequence: u32,
    /// Appendix A.8, in ticks of the RTP clock.
    pub jitter: u32,
    /// Middle bits of the NTP time of the last sender report that came; 0 when none did.
    pub last_sender_report: u32,
    /// From that to this report, in 1/65,536 second.
    pub delay_since: u32,
}

impl ReceptionReport {
    const LEN: usize = 24;

    fn read(bytes: &[u8; Self::LEN]) -> ReceptionReport {
        let word = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        ReceptionReport {
            ssrc: word(0),
            fraction_lost: bytes[4],
            // 24 bits with a sign.
            cumulative_lost: (word(4) << 8) as i32 >> 8,
            highest_sequence: word(8),
            jitter: word(12),
            last_sender_report: word(16),
            delay_since: word(20),
        }
    }
}

/// The blocks of a report: as many as it announces, and as there are.
#[derive(Clone, Copy, Debug)]
pub struct ReceptionReports<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> ReceptionReports<'a> {
    pub(super) fn new(rest: &'a [u8], left: usize) -> Self {
        ReceptionReports { rest, left }
    }
}

impl Iterator for ReceptionReports<'_> {
    type Item = ReceptionReport;

    fn next(&mut self) -> Option<ReceptionReport> {
        self.left = self.left.checked_sub(1)?;
        let (block, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(ReceptionReport::read(block))
    }
}
