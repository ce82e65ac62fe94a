//! RTCP as it is on the wire (RFC 3550 section 6, RFC 3611, RFC 5506).
//!
//! In: the payload of a datagram, decrypted where it was encrypted. Out: [`Report`]s, one after the other, of compound and of
//! reduced-size packets alike. Nothing is allocated; no report is larger than its bytes. What cannot be read is left out, and
//! what comes before it and, where lengths hold, after it is still given.

mod blocks;
mod extended;
#[cfg(test)]
mod tests;

pub use blocks::{ReceptionReport, ReceptionReports, SenderInfo};
pub use extended::{
    ExtendedBlock, ExtendedBlocks, LossRuns, ReceiverTime, ReceiverTimes, StatisticsSummary,
    VoipMetrics,
};

/// One packet of a compound.
#[derive(Clone, Copy, Debug)]
pub enum Report<'a> {
    /// RFC 3550 section 6.4.1.
    Sender {
        ssrc: u32,
        info: SenderInfo,
        receptions: ReceptionReports<'a>,
    },
    /// RFC 3550 section 6.4.2.
    Receiver {
        ssrc: u32,
        receptions: ReceptionReports<'a>,
    },
    /// RFC 3550 section 6.5: names of people and machines, which nobody here asks for.
    SourceDescription,
    /// RFC 3550 section 6.6.
    Bye { sources: Sources<'a> },
    /// RFC 3611.
    Extended {
        ssrc: u32,
        blocks: ExtendedBlocks<'a>,
    },
    /// Of an application (section 6.7), feedback (RFC 4585), or of a type that is not known.
    Other { packet_type: u8 },
}

const HEADER: usize = 4;
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const EXTENDED_REPORT: u8 = 207;

/// The packets of one datagram.
#[derive(Clone, Debug)]
pub struct Reports<'a> {
    rest: &'a [u8],
    is_damaged: bool,
}

/// Reads a datagram. One of a single packet is as good as a compound (RFC 5506).
pub fn reports(datagram: &[u8]) -> Reports<'_> {
    Reports {
        rest: datagram,
        is_damaged: false,
    }
}

impl Reports<'_> {
    /// Whether anything that was read so far was not as it must be.
    pub fn is_damaged(&self) -> bool {
        self.is_damaged
    }
}

impl<'a> Iterator for Reports<'a> {
    type Item = Report<'a>;

    fn next(&mut self) -> Option<Report<'a>> {
        while let Some((header, rest)) = self.rest.split_first_chunk::<HEADER>() {
            let words = usize::from(u16::from_be_bytes([header[2], header[3]]));
            // What follows something that is not RTCP is not RTCP either.
            if header[0] >> 6 != 2 || !(192..=223).contains(&header[1]) {
                break;
            }
            let whole = rest.split_at_checked(words * 4);
            self.is_damaged |= whole.is_none();
            let (body, after) = whole.unwrap_or((rest, &[]));
            self.rest = after;
            match Report::read(*header, body) {
                Some(report) => return Some(report),
                None => self.is_damaged = true,
            }
        }
        self.is_damaged |= !self.rest.is_empty();
        self.rest = &[];
        None
    }
}

impl<'a> Report<'a> {
    /// `None` when the body is too short for its type.
    fn read(header: [u8; HEADER], body: &'a [u8]) -> Option<Report<'a>> {
        let body = without_padding(header[0], body)?;
        let count = usize::from(header[0] & 0x1f);
        Some(match header[1] {
            SENDER_REPORT => {
                let (ssrc, rest) = split_u32(body)?;
                let (info, rest) = SenderInfo::read(rest)?;
                Report::Sender {
                    ssrc,
                    info,
                    receptions: ReceptionReports::new(rest, count),
                }
            }
            RECEIVER_REPORT => {
                let (ssrc, rest) = split_u32(body)?;
                let receptions = ReceptionReports::new(rest, count);
                Report::Receiver { ssrc, receptions }
            }
            SOURCE_DESCRIPTION => Report::SourceDescription,
            BYE => Report::Bye {
                sources: Sources(body.get(..count * 4).unwrap_or(body)),
            },
            EXTENDED_REPORT => {
                let (ssrc, rest) = split_u32(body)?;
                let blocks = ExtendedBlocks::new(rest);
                Report::Extended { ssrc, blocks }
            }
            packet_type => Report::Other { packet_type },
        })
    }
}

/// The body without the padding that bit 5 of the header announces; `None` when there cannot be so much.
fn without_padding(first: u8, body: &[u8]) -> Option<&[u8]> {
    if first & 0x20 == 0 {
        return Some(body);
    }
    let padding = usize::from(*body.last()?);
    body.get(..body.len().checked_sub(padding)?)
}

/// SSRCs in a row.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a>(&'a [u8]);

impl Iterator for Sources<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (ssrc, rest) = split_u32(self.0)?;
        self.0 = rest;
        Some(ssrc)
    }
}

fn split_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*word), rest))
}
