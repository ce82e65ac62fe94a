//! What was sent, and what of it could be heard: the file that recordings are scored against.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Codec, Error, HoldKind};
use crate::base::{PerSide, Side, TenantId, Timestamp};

/// One simulation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    pub seed: u64,
    /// Frames handed to the sink, of all kinds: the sum of the calls' [`TruthCall::frames`].
    pub frames: u64,
    /// Bytes of these frames.
    pub bytes: u64,
    /// Frames that the sink could not send.
    pub unsent: u64,
    /// In the order of their INVITEs.
    pub calls: Vec<TruthCall>,
}

/// One call. Times are capture times in nanoseconds since 1970 UTC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TruthCall {
    pub index: u32,
    pub sip_call_id: String,
    /// The number in From.
    pub caller: String,
    /// The number in To and the Request-URI.
    pub callee: String,
    pub tenant: TenantId,
    /// Whose extension each side is; none for a party outside and for an extension without a user.
    pub users: PerSide<Option<String>>,
    pub disposition: Disposition,
    /// Of the INVITE.
    pub started_ns: i64,
    /// Of the 200 to it.
    pub answered_ns: Option<i64>,
    /// Of the first BYE, or the CANCEL, or the refusal; without a BYE, of the last media.
    pub ended_ns: i64,
    pub has_bye: bool,
    pub holds: Vec<HoldSpan>,
    /// Frames that carry SIP: fragments and TCP segments counted one by one, handshake and acknowledgements too.
    pub sip_frames: u64,
    pub sides: PerSide<TruthSide>,
}

/// What should become of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disposition {
    /// There was audio to record.
    Recorded,
    /// Answered, but no audio arrived.
    NoMedia,
    Cancelled,
    /// Refused with this status.
    Rejected(u16),
}

/// A hold, from the answer to its re-INVITE to the answer to the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldSpan {
    pub by: Side,
    pub kind: HoldKind,
    pub from_ns: i64,
    pub to_ns: i64,
}

/// What one side sent.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct TruthSide {
    /// Key of the side's [`Voice`](super::Voice).
    pub voice: u64,
    /// Where its media comes from on the wire: address and port.
    pub media_from: String,
    /// What its SDP says instead, behind NAT.
    pub described_as: Option<String>,
    /// RTP packets of all kinds that left the sender.
    pub packets_sent: u64,
    /// Those of them that the simulated network lost.
    pub packets_dropped: u64,
    /// Second copies.
    pub duplicates: u64,
    /// RTCP packets.
    pub reports: u64,
    /// How much faster than true the sender's clock runs, parts per million.
    pub drift_ppm: i32,
    /// Audio that was sent, in order; gaps between spans were not sent (hold, digits, comfort noise).
    pub spans: Vec<MediaSpan>,
    /// Audio that was sent and lost, in order, as positions of the voice.
    pub lost: Vec<LostRange>,
    pub digits: Vec<SentDigit>,
}

/// Audio sent without a break under one SSRC and codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaSpan {
    /// When its first sample was sent; jitter comes on top.
    pub time_ns: i64,
    /// Position of its first sample in the voice. Positions of a side never repeat.
    pub first_sample: u64,
    pub samples: u64,
    pub codec: Codec,
    pub ssrc: u32,
    /// RTP timestamp of its first packet.
    pub rtp_timestamp: u32,
}

/// Lost packets in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LostRange {
    pub first_sample: u64,
    pub samples: u64,
    pub packets: u64,
}

/// A telephone-event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentDigit {
    pub time_ns: i64,
    /// 0 to 9, 10 for star, 11 for hash (RFC 4733 section 3.2).
    pub event: u8,
    pub duration_ms: u32,
}

impl Truth {
    /// Moves all times, for calls that were sent on an interface.
    pub fn shift(&mut self, by_ns: i64) {
        for call in &mut self.calls {
            let times = [&mut call.started_ns, &mut call.ended_ns].into_iter();
            let holds = call
                .holds
                .iter_mut()
                .flat_map(|h| [&mut h.from_ns, &mut h.to_ns]);
            let sides = [&mut call.sides.caller, &mut call.sides.callee]
                .into_iter()
                .flat_map(|s| {
                    let digits = s.digits.iter_mut().map(|d| &mut d.time_ns);
                    s.spans.iter_mut().map(|s| &mut s.time_ns).chain(digits)
                });
            times
                .chain(&mut call.answered_ns)
                .chain(holds)
                .chain(sides)
                .for_each(|time| *time = time.saturating_add(by_ns));
        }
    }

    /// The call with this Call-ID.
    pub fn call(&self, sip_call_id: &str) -> Option<&TruthCall> {
        self.calls
            .iter()
            .find(|call| call.sip_call_id == sip_call_id)
    }

    /// # Errors
    ///
    /// [`Error::File`] if the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let write = || {
            let mut file = BufWriter::new(File::create(path)?);
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            file.flush()
        };
        write().map_err(|source: io::Error| Error::File {
            path: path.into(),
            source,
        })
    }

    /// # Errors
    ///
    /// [`Error::File`] if the file cannot be read or is no truth file.
    pub fn load(path: &Path) -> Result<Truth, Error> {
        let read = || Ok(serde_json::from_slice(&std::fs::read(path)?)?);
        read().map_err(|source: io::Error| Error::File {
            path: path.into(),
            source,
        })
    }
}

impl TruthCall {
    /// All frames of the call that were handed to the sink.
    pub fn frames(&self) -> u64 {
        self.sip_frames
            + self
                .sides
                .iter()
                .map(|(_, side)| side.frames())
                .sum::<u64>()
    }

    /// When the earliest audio of either side was sent: where a recording begins, if that packet arrived without delay.
    pub fn first_media(&self) -> Option<Timestamp> {
        let starts = self
            .sides
            .iter()
            .filter_map(|(_, side)| side.delivered().first().map(|d| d.time_ns));
        starts.min().map(Timestamp::from_nanos)
    }

    /// When the last sample of either side was over.
    pub fn last_media(&self) -> Option<Timestamp> {
        let ends = self.sides.iter().filter_map(|(_, side)| {
            side.delivered()
                .last()
                .map(|span| span.time_ns + side.nanos_of(span.codec, span.samples))
        });
        ends.max().map(Timestamp::from_nanos)
    }
}

impl TruthSide {
    /// Frames on the wire.
    pub fn frames(&self) -> u64 {
        self.packets_sent - self.packets_dropped + self.duplicates + self.reports
    }

    /// What arrived: the spans without what was lost, each piece with the time its first sample was sent.
    pub fn delivered(&self) -> Vec<MediaSpan> {
        let mut pieces = Vec::with_capacity(self.spans.len() + self.lost.len());
        let mut lost = self.lost.iter().peekable();
        for span in &self.spans {
            let end = span.first_sample + span.samples;
            let mut from = span.first_sample;
            while let Some(range) = lost.next_if(|range| range.first_sample < end) {
                pieces.extend(self.piece(span, from, range.first_sample));
                from = range.first_sample + range.samples;
            }
            pieces.extend(self.piece(span, from, end));
        }
        pieces
    }

    fn piece(&self, span: &MediaSpan, from: u64, to: u64) -> Option<MediaSpan> {
        let skipped = from - span.first_sample;
        (from < to).then(|| MediaSpan {
            time_ns: span.time_ns + self.nanos_of(span.codec, skipped),
            first_sample: from,
            samples: to - from,
            rtp_timestamp: span.rtp_timestamp.wrapping_add(skipped as u32),
            ..*span
        })
    }

    /// How long the sender takes for so many samples by true time.
    pub fn nanos_of(&self, codec: Codec, samples: u64) -> i64 {
        let nominal = i128::from(samples) * 1_000_000_000 / i128::from(codec.clock_rate_hz());
        (nominal * 1_000_000 / i128::from(1_000_000 + self.drift_ppm)) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delivered_pieces_leave_out_what_was_lost() {
        let span = MediaSpan {
            time_ns: 1_000,
            first_sample: 0,
            samples: 800,
            codec: Codec::Pcmu,
            ssrc: 1,
            rtp_timestamp: u32::MAX,
        };
        let later = MediaSpan {
            time_ns: 5_000_000_000,
            first_sample: 1600,
            ..span
        };
        let lost = |first_sample, samples| LostRange {
            first_sample,
            samples,
            packets: 1,
        };
        let side = TruthSide {
            spans: vec![span, later],
            lost: vec![lost(0, 160), lost(320, 160), lost(2240, 160)],
            ..TruthSide::default()
        };
        let pieces: Vec<_> = side
            .delivered()
            .iter()
            .map(|p| (p.first_sample, p.samples))
            .collect();
        assert_eq!(pieces, [(160, 160), (480, 320), (1600, 640)]);
        assert_eq!(side.delivered()[0].time_ns, 20_001_000);
        assert_eq!(side.delivered()[0].rtp_timestamp, 159);
    }
}
