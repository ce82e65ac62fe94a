//! Extended reports (RFC 3611).

use super::split_u32;

const LOSS_RUNS: u8 = 1;
const RECEIVER_REFERENCE_TIME: u8 = 4;
const DELAY_SINCE_LAST: u8 = 5;
const STATISTICS_SUMMARY: u8 = 6;
const VOIP_METRICS: u8 = 7;

/// One block of an extended report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtendedBlock<'a> {
    /// Section 4.1.
    LossRuns(LossRuns<'a>),
    /// Section 4.4: the NTP time of somebody who sends no sender reports.
    ReceiverReferenceTime { ntp: u64 },
    /// Section 4.5: the answer to that.
    DelaySinceLast(ReceiverTimes<'a>),
    /// Section 4.6.
    StatisticsSummary(StatisticsSummary),
    /// Section 4.7.
    VoipMetrics(VoipMetrics),
    /// Of another type, or too short for its own.
    Other { block_type: u8 },
}

/// The blocks of one report.
#[derive(Clone, Copy, Debug)]
pub struct ExtendedBlocks<'a> {
    rest: &'a [u8],
}

impl<'a> ExtendedBlocks<'a> {
    pub(super) fn new(rest: &'a [u8]) -> Self {
        ExtendedBlocks { rest }
    }
}

impl<'a> Iterator for ExtendedBlocks<'a> {
    type Item = ExtendedBlock<'a>;

    fn next(&mut self) -> Option<ExtendedBlock<'a>> {
        let (header, rest) = self.rest.split_first_chunk::<4>()?;
        let words = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let (body, after) = rest.split_at_checked(words * 4).unwrap_or((rest, &[]));
        self.rest = after;
        let block = ExtendedBlock::read(header[0], header[1], body);
        Some(block.unwrap_or(ExtendedBlock::Other {
            block_type: header[0],
        }))
    }
}

impl<'a> ExtendedBlock<'a> {
    fn read(block_type: u8, specific: u8, body: &'a [u8]) -> Option<ExtendedBlock<'a>> {
        match block_type {
            LOSS_RUNS => LossRuns::read(specific, body).map(ExtendedBlock::LossRuns),
            RECEIVER_REFERENCE_TIME => {
                let (seconds, rest) = split_u32(body)?;
                let (fraction, _) = split_u32(rest)?;
                let ntp = u64::from(seconds) << 32 | u64::from(fraction);
                Some(ExtendedBlock::ReceiverReferenceTime { ntp })
            }
            DELAY_SINCE_LAST => Some(ExtendedBlock::DelaySinceLast(ReceiverTimes(body))),
            STATISTICS_SUMMARY => {
                StatisticsSummary::read(specific, body).map(ExtendedBlock::StatisticsSummary)
            }
            VOIP_METRICS => VoipMetrics::read(body).map(ExtendedBlock::VoipMetrics),
            _ => None,
        }
    }
}

/// Which packets of an interval were lost, as runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossRuns<'a> {
    pub ssrc: u32,
    /// First sequence number of the interval.
    pub begin: u16,
    /// One past the last.
    pub end: u16,
    /// Only one of 2ⁿ packets is reported.
    pub thinning: u8,
    chunks: &'a [u8],
}

impl<'a> LossRuns<'a> {
    fn read(specific: u8, body: &'a [u8]) -> Option<LossRuns<'a>> {
        let (ssrc, rest) = split_u32(body)?;
        let (interval, chunks) = split_u32(rest)?;
        Some(LossRuns {
            ssrc,
            begin: (interval >> 16) as u16,
            end: interval as u16,
            thinning: specific & 0x0f,
            chunks,
        })
    }

    /// Packets that were lost, of those reported on.
    pub fn lost(&self) -> u32 {
        let interval = u32::from(self.end.wrapping_sub(self.begin));
        let mut left = interval.div_ceil(1 << self.thinning);
        let mut lost = 0;
        for chunk in self.chunks.chunks_exact(2) {
            let chunk = u16::from_be_bytes([chunk[0], chunk[1]]);
            let (covered, missing) = match chunk {
                // The terminating null.
                0 => break,
                bits if bits & 0x8000 != 0 => {
                    let covered = left.min(15);
                    let shown = u32::from(bits & 0x7fff) >> (15 - covered);
                    (covered, covered - shown.count_ones())
                }
                run => {
                    let covered = left.min(u32::from(run & 0x3fff));
                    let received = run & 0x4000 != 0;
                    (covered, if received { 0 } else { covered })
                }
            };
            left -= covered;
            lost += missing;
        }
        lost
    }
}

/// The answer to one receiver's reference time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverTime {
    /// Of the receiver.
    pub ssrc: u32,
    /// Middle bits of its NTP time; 0 when none came.
    pub last_reference: u32,
    /// From that to this report, in 1/65,536 second.
    pub delay_since: u32,
}

/// Answers to several receivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverTimes<'a>(&'a [u8]);

impl Iterator for ReceiverTimes<'_> {
    type Item = ReceiverTime;

    fn next(&mut self) -> Option<ReceiverTime> {
        let (ssrc, rest) = split_u32(self.0)?;
        let (last_reference, rest) = split_u32(rest)?;
        let (delay_since, rest) = split_u32(rest)?;
        self.0 = rest;
        Some(ReceiverTime {
            ssrc,
            last_reference,
            delay_since,
        })
    }
}

/// Counts of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatisticsSummary {
    pub ssrc: u32,
    /// First sequence number of the interval.
    pub begin: u16,
    /// One past the last.
    pub end: u16,
    /// `None` where the report does not say.
    pub lost: Option<u32>,
    pub duplicates: Option<u32>,
    /// Smallest, largest and mean jitter, in ticks of the RTP clock.
    pub jitter: Option<[u32; 3]>,
}

impl StatisticsSummary {
    fn read(specific: u8, body: &[u8]) -> Option<StatisticsSummary> {
        let (ssrc, rest) = split_u32(body)?;
        let (interval, rest) = split_u32(rest)?;
        let (lost, rest) = split_u32(rest)?;
        let (duplicates, rest) = split_u32(rest)?;
        let (smallest, rest) = split_u32(rest)?;
        let (largest, rest) = split_u32(rest)?;
        let (mean, _) = split_u32(rest)?;
        Some(StatisticsSummary {
            ssrc,
            begin: (interval >> 16) as u16,
            end: interval as u16,
            lost: (specific & 0x80 != 0).then_some(lost),
            duplicates: (specific & 0x40 != 0).then_some(duplicates),
            jitter: (specific & 0x20 != 0).then_some([smallest, largest, mean]),
        })
    }
}

/// What a telephone says of the call it hears. Section 4.7 has the meaning of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VoipMetrics {
    /// Of the stream.
    pub ssrc: u32,
    /// Shares of packets, in 1/256.
    pub loss_rate: u8,
    pub discard_rate: u8,
    pub burst_density: u8,
    pub gap_density: u8,
    /// Milliseconds.
    pub burst_ms: u16,
    pub gap_ms: u16,
    /// Milliseconds, 0 where it is not known.
    pub round_trip_ms: u16,
    pub end_system_ms: u16,
    /// dBm0; `None` where it is not known.
    pub signal_level: Option<i8>,
    pub noise_level: Option<i8>,
    /// 0 to 100.
    pub r_factor: Option<u8>,
    /// In tenths.
    pub mos_lq: Option<u8>,
    pub mos_cq: Option<u8>,
    /// Milliseconds of its jitter buffer.
    pub buffer_nominal_ms: u16,
    pub buffer_maximum_ms: u16,
}

impl VoipMetrics {
    fn read(body: &[u8]) -> Option<VoipMetrics> {
        let bytes: &[u8; 32] = body.first_chunk()?;
        let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
        let known = |value: u8| (value != 127).then_some(value);
        Some(VoipMetrics {
            ssrc: u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]),
            loss_rate: bytes[4],
            discard_rate: bytes[5],
            burst_density: bytes[6],
            gap_density: bytes[7],
            burst_ms: word(8),
            gap_ms: word(10),
            round_trip_ms: word(12),
            end_system_ms: word(14),
            signal_level: known(bytes[16]).map(|level| level as i8),
            noise_level: known(bytes[17]).map(|level| level as i8),
            r_factor: known(bytes[20]),
            mos_lq: known(bytes[22]),
            mos_cq: known(bytes[23]),
            buffer_nominal_ms: word(26),
            buffer_maximum_ms: word(28),
        })
    }
}
