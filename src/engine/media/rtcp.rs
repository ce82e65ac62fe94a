//! RTCP to the streams it speaks of.
//!
//! A report speaks of the stream with its SSRC between the same two places: the ports of RTP, those after them, or what SDP
//! named. Behind a NAT one end of the two may have another port, and then its address has to be the same. Whatever fits no stream
//! that was seen, or has numbers that are not the stream's, changes nothing and is counted.

use super::*;
use crate::rtp::rtcp::{ExtendedBlock, ReceptionReport, Report, reports};

/// Packets looked at in one datagram, blocks of one packet, and streams at one place: real ones have a handful.
const MAX_REPORTS: usize = 32;

/// Which end of the stream sent the report.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Sender,
    Receiver,
}

/// Of a stream that no call claimed.
#[derive(Clone, Copy, Debug)]
pub struct UnclaimedStream {
    pub vantage: Vantage,
    pub packets: u64,
    pub duplicates: u64,
}

impl From<&Stream> for UnclaimedStream {
    fn from(stream: &Stream) -> Self {
        UnclaimedStream {
            vantage: stream.key.flow.vantage,
            packets: stream.sequence.received(),
            duplicates: stream.duplicates,
        }
    }
}

impl Media {
    /// Takes one datagram of RTCP, which is plain, or was decrypted and its authentication checked.
    pub fn handle_rtcp(&mut self, time: Timestamp, flow: &Flow, plain: &[u8]) {
        let mut bound = false;
        let mut reports = reports(plain);
        for report in reports.by_ref().take(MAX_REPORTS) {
            bound |= self.take_report(time, flow, report);
        }
        self.counters.rtcp_damaged += u64::from(reports.is_damaged());
        match bound {
            true => self.counters.rtcp_bound += 1,
            false => self.counters.rtcp_unbound += 1,
        }
    }

    /// Whether it spoke of a stream that was seen.
    fn take_report(&mut self, time: Timestamp, flow: &Flow, report: Report<'_>) -> bool {
        match report {
            Report::Sender {
                ssrc,
                info,
                receptions,
            } => {
                let found = self.tell(flow, ssrc, By::Sender, |stream| {
                    stream.reported().0.note_sender(time, &info);
                    true
                });
                self.take_receptions(time, flow, ssrc, receptions) || found
            }
            Report::Receiver { ssrc, receptions } => {
                self.take_receptions(time, flow, ssrc, receptions)
            }
            Report::Bye { sources } => {
                let mut sources = sources.take(MAX_REPORTS);
                sources.any(|ssrc| self.tell(flow, ssrc, By::Sender, |_| true))
            }
            Report::Extended { ssrc, blocks } => {
                let mut found = false;
                for block in blocks.take(MAX_REPORTS) {
                    found |= self.take_block(time, flow, ssrc, block);
                }
                found
            }
            Report::SourceDescription | Report::Other { .. } => false,
        }
    }

    fn take_receptions(
        &mut self,
        time: Timestamp,
        flow: &Flow,
        reporter: u32,
        receptions: impl Iterator<Item = ReceptionReport>,
    ) -> bool {
        let mut found = false;
        for reception in receptions {
            found |= self.tell(flow, reception.ssrc, By::Receiver, |stream| {
                let (reported, sequence) = stream.reported();
                reported.note_reception(time, reporter, &reception, sequence)
            });
        }
        found
    }

    fn take_block(
        &mut self,
        time: Timestamp,
        flow: &Flow,
        reporter: u32,
        block: ExtendedBlock<'_>,
    ) -> bool {
        match block {
            ExtendedBlock::VoipMetrics(metrics) => {
                self.tell(flow, metrics.ssrc, By::Receiver, |stream| {
                    stream.reported().0.note_voip(&metrics);
                    true
                })
            }
            ExtendedBlock::ReceiverReferenceTime { ntp } => {
                let middle = (ntp >> 16) as u32;
                self.tell(flow, reporter, By::Sender, |stream| {
                    stream.reported().0.note_reference(time, middle);
                    true
                })
            }
            ExtendedBlock::DelaySinceLast(answers) => {
                let mut found = false;
                for answer in answers.take(MAX_REPORTS) {
                    found |= self.tell(flow, answer.ssrc, By::Receiver, |stream| {
                        let reported = stream.reported().0;
                        reported.note_answer(time, answer.last_reference, answer.delay_since);
                        true
                    });
                }
                found
            }
            ExtendedBlock::LossRuns(runs) => self.tell(flow, runs.ssrc, By::Receiver, |_| true),
            ExtendedBlock::StatisticsSummary(summary) => {
                self.tell(flow, summary.ssrc, By::Receiver, |_| true)
            }
            ExtendedBlock::Other { .. } => false,
        }
    }

    /// Tells the stream that an RTCP packet speaks of, and its twins. Whether there is one, and it took that.
    fn tell(
        &mut self,
        flow: &Flow,
        ssrc: u32,
        by: By,
        mut what: impl FnMut(&mut Stream) -> bool,
    ) -> bool {
        let Some(id) = self.stream_of(flow, ssrc, by) else {
            return false;
        };
        let taken = self.streams.get_mut(id).is_some_and(&mut what);
        self.for_twins(id, |media, twin| {
            media.streams.get_mut(twin).map(&mut what);
        });
        taken
    }

    /// The stream with `ssrc` whose sender or receiver sent RTCP on `flow`. One whose call is over is none.
    fn stream_of(&self, flow: &Flow, ssrc: u32, by: By) -> Option<u32> {
        let way = match by {
            By::Sender => *flow,
            By::Receiver => flow.reversed(),
        };
        let (sources, destinations) = (
            self.rtp_places(way.vantage, way.source),
            self.rtp_places(way.vantage, way.destination),
        );
        let exact = || {
            let pairs = sources
                .iter()
                .flat_map(|source| destinations.iter().map(move |to| (*source, *to)));
            let mut keys = pairs.map(|(source, destination)| StreamKey {
                flow: Flow {
                    vantage: way.vantage,
                    source,
                    destination,
                },
                ssrc,
            });
            keys.find_map(|key| self.find_stream(&key, self.hasher.hash_one(key)))
        };
        let behind_nat = || {
            let places = sources.iter().chain(&destinations);
            let ids = places
                .filter_map(|&place| self.touching.get(&(way.vantage, place)))
                .flat_map(|ids| ids.iter().rev())
                .take(MAX_REPORTS);
            ids.copied().find(|&id| {
                self.streams.get(id).is_some_and(|stream| {
                    let flow = &stream.key.flow;
                    stream.key.ssrc == ssrc
                        && flow.source.ip() == way.source.ip()
                        && flow.destination.ip() == way.destination.ip()
                        && (sources.contains(&flow.source)
                            || destinations.contains(&flow.destination))
                })
            })
        };
        let id = exact().or_else(behind_nat)?;
        let is_over = |stream: &Stream| stream.owner == Owner::Ended;
        (!self.streams.get(id).is_some_and(is_over)).then_some(id)
    }

    /// Where the RTP is whose RTCP is at `place`, the likeliest first.
    pub(super) fn rtp_places(&self, vantage: Vantage, place: Endpoint) -> SmallVec<[Endpoint; 3]> {
        let named = self.rtcp_places.get(&(vantage, place)).copied();
        let before = place.port.checked_sub(1).map(|port| place.with_port(port));
        named.into_iter().chain(before).chain([place]).collect()
    }
}
