//! The media of one side: packets on a grid of equal slots, what breaks the grid, and what the network does to it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::breaks::{Break, Cause, Slots, breaks};
use super::frame::UdpTemplate;
use super::packet::{Body, Packet, write_packet};
use super::plan::{CallPlan, MILLISECOND, nanos};
use super::random::{Chance, Random};
use super::secrecy::Secrecy;
use super::truth::{LostRange, MediaSpan, SentDigit, TruthSide};
use super::{Codec, Scenario, Voice};
use crate::base::Side;

/// Sender reports come this often.
const REPORT_INTERVAL: i64 = 5_000 * MILLISECOND;

/// One side's packets, made one after the other as they fall due.
#[derive(Debug)]
pub(super) struct Stream {
    voice: Voice,
    rtp: UdpTemplate,
    rtcp: UdpTemplate,
    slots: Slots,
    slot: u64,
    end_slot: u64,
    /// Of the next packet.
    codec: Codec,
    samples_per_slot: u32,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    position: u64,
    marker: bool,
    breaks: std::iter::Peekable<std::vec::IntoIter<Break>>,
    quiet: Quiet,
    next_report: Option<i64>,
    octets_sent: u32,
    dice: Dice,
    /// Packets that are under way: only those that later slots may overtake.
    pending: BinaryHeap<Reverse<Packet>>,
    made: u32,
    truth: TruthSide,
    secrecy: Option<Secrecy>,
}

/// Why no audio is sent.
#[derive(Clone, Copy, Debug)]
enum Quiet {
    No,
    Until(u64),
    Digit {
        first: u64,
        until: u64,
        event: u8,
        timestamp: u32,
    },
}

/// What the network does to each packet.
#[derive(Debug)]
struct Dice {
    random: Random,
    loss: Chance,
    reorder: Chance,
    duplicate: Chance,
    jitter: i64,
    reorder_delay: i64,
}

impl Stream {
    /// None if the side sends nothing.
    pub fn new(scenario: &Scenario, plan: &CallPlan, side: Side) -> Option<Stream> {
        let (from, to) = plan.media[side];
        if to <= from {
            return None;
        }
        let mut random = Random::of(plan.seed, &[0x727470, side as u64]);
        let ptime = i64::from(plan.ptime_ms) * MILLISECOND;
        let drift_ppm = scenario.network.drift_ppm[side];
        let interval =
            ((ptime as u128) << 20) * 1_000_000 / (1_000_000 + i128::from(drift_ppm)) as u128;
        let slots = Slots {
            start: from,
            interval: interval as u64,
        };
        let end_slot = slots.at(to);
        let voice = Voice::key(scenario.seed, plan.index, side);
        let own = &plan.parties[side];
        let truth = TruthSide {
            voice,
            media_from: own.media.to_string(),
            described_as: (own.described_media != own.media)
                .then(|| own.described_media.to_string()),
            drift_ppm,
            ..TruthSide::default()
        };
        let rtp = UdpTemplate::new(&plan.media_path(side, 0));
        let rtcp = if plan.traits.rtcp_mux {
            rtp.clone()
        } else {
            UdpTemplate::new(&plan.media_path(side, 1))
        };
        let mut stream = Stream {
            voice: Voice::new(voice),
            rtp,
            rtcp,
            slot: 0,
            end_slot,
            codec: plan.codec,
            samples_per_slot: 0,
            sequence: scenario.first_sequence.unwrap_or(random.next_u32() as u16),
            timestamp: scenario.first_timestamp.unwrap_or(random.next_u32()),
            ssrc: random.next_u32(),
            position: 0,
            marker: true,
            breaks: breaks(plan, side, &slots, end_slot, &mut random)
                .into_iter()
                .peekable(),
            slots,
            quiet: Quiet::No,
            next_report: plan.traits.rtcp.then_some(from + REPORT_INTERVAL / 10),
            octets_sent: 0,
            dice: Dice::new(scenario, ptime, random),
            pending: BinaryHeap::new(),
            made: 0,
            truth,
            secrecy: plan
                .srtp
                .and_then(|suite| Secrecy::new(suite, plan.seed, side)),
        };
        stream.use_codec(plan.codec, plan.ptime_ms);
        Some(stream)
    }

    /// When the next packet is due; none when all are sent.
    #[inline]
    pub fn next_time(&mut self) -> Option<i64> {
        loop {
            let ready = self.pending.peek().map(|Reverse(packet)| packet.time);
            if self.slot == self.end_slot {
                return ready;
            }
            // No later slot's packet comes before its slot.
            match ready {
                Some(time) if time <= self.slots.time(self.slot) => return ready,
                _ => self.pass_slot(),
            }
        }
    }

    /// Takes the next packet.
    pub fn emit(&mut self, scratch: &mut Vec<i16>, frame: &mut Vec<u8>) {
        let Some(Reverse(packet)) = self.pending.pop() else {
            return;
        };
        let template = match packet.body {
            Body::Report { .. } => &self.rtcp,
            _ => &self.rtp,
        };
        template.begin(frame);
        match &mut self.secrecy {
            Some(secrecy) => secrecy.write_packet(&packet, &self.voice, scratch, frame),
            None => write_packet(&packet, &self.voice, scratch, frame),
        }
        template.finish(frame, packet.sequence);
    }

    pub fn into_truth(self) -> TruthSide {
        self.truth
    }

    fn use_codec(&mut self, codec: Codec, ptime_ms: u16) {
        self.codec = codec;
        self.samples_per_slot = codec.clock_rate_hz() / 1000 * u32::from(ptime_ms);
    }

    fn pass_slot(&mut self) {
        let time = self.slots.time(self.slot);
        while let Some(change) = self.breaks.next_if(|b| b.slot <= self.slot) {
            self.apply(change.cause, time);
        }
        match self.quiet {
            Quiet::Until(slot) | Quiet::Digit { until: slot, .. } if self.slot >= slot => {
                self.quiet = Quiet::No;
                self.marker = true;
            }
            _ => {}
        }
        match self.quiet {
            Quiet::No => self.send_audio(time),
            Quiet::Until(_) => {}
            Quiet::Digit {
                first,
                until,
                event,
                timestamp,
            } => {
                self.send_digit(
                    time,
                    event,
                    self.slot - first + 1,
                    self.slot + 1 == until,
                    timestamp,
                );
            }
        }
        if self.next_report.is_some_and(|due| due <= time) {
            self.next_report = Some(time + REPORT_INTERVAL);
            self.send_report(time + MILLISECOND);
        }
        self.slot += 1;
        self.timestamp = self.timestamp.wrapping_add(self.samples_per_slot);
        self.position += u64::from(self.samples_per_slot);
    }

    fn apply(&mut self, cause: Cause, time: i64) {
        match cause {
            Cause::Hold { until } => self.quiet = Quiet::Until(until),
            Cause::Gap { until } => {
                self.quiet = Quiet::Until(until);
                let body = Body::ComfortNoise { level: 60 };
                self.send(
                    time,
                    super::message::noise_type(self.codec),
                    body,
                    self.timestamp,
                );
            }
            Cause::Digit { until, event } => {
                let timestamp = self.timestamp;
                self.quiet = Quiet::Digit {
                    first: self.slot,
                    until,
                    event,
                    timestamp,
                };
                self.marker = true;
                let per_slot = self.samples_per_slot * 1000 / self.codec.clock_rate_hz();
                let duration_ms = (until - self.slot) as u32 * per_slot;
                self.truth.digits.push(SentDigit {
                    time_ns: time,
                    event,
                    duration_ms,
                });
            }
            Cause::NewSource => {
                self.ssrc = self.dice.random.next_u32();
                self.sequence = self.dice.random.next_u32() as u16;
                self.timestamp = self.dice.random.next_u32();
                self.marker = true;
            }
            Cause::NewCodec(codec) => {
                let ptime_ms = self.samples_per_slot * 1000 / self.codec.clock_rate_hz();
                self.use_codec(codec, ptime_ms as u16);
                self.marker = true;
            }
        }
    }

    fn send_audio(&mut self, time: i64) {
        let (first_sample, samples) = (self.position, u64::from(self.samples_per_slot));
        match self.truth.spans.last_mut() {
            Some(span)
                if span.first_sample + span.samples == first_sample
                    && (span.codec, span.ssrc) == (self.codec, self.ssrc) =>
            {
                span.samples += samples;
            }
            _ => self.truth.spans.push(MediaSpan {
                time_ns: time,
                first_sample,
                samples,
                codec: self.codec,
                ssrc: self.ssrc,
                rtp_timestamp: self.timestamp,
            }),
        }
        let body = Body::Audio {
            codec: self.codec,
            position: first_sample,
            samples: samples as u32,
        };
        self.octets_sent = self
            .octets_sent
            .wrapping_add(samples as u32 * self.codec.sample_bytes() as u32);
        if !self.send(time, self.codec.payload_type(), body, self.timestamp) {
            self.note_loss(first_sample, samples);
        }
    }

    /// A lost range lies within one span.
    fn note_loss(&mut self, first_sample: u64, samples: u64) {
        let span_start = self.truth.spans.last().map_or(0, |span| span.first_sample);
        match self.truth.lost.last_mut() {
            Some(lost)
                if lost.first_sample + lost.samples == first_sample
                    && lost.first_sample >= span_start =>
            {
                lost.samples += samples;
                lost.packets += 1;
            }
            _ => self.truth.lost.push(LostRange {
                first_sample,
                samples,
                packets: 1,
            }),
        }
    }

    /// The last packet of an event goes three times (RFC 4733 section 2.5.1.4).
    fn send_digit(&mut self, time: i64, event: u8, slots: u64, is_end: bool, timestamp: u32) {
        let duration = (slots * u64::from(self.samples_per_slot)).min(0xffff) as u16;
        let body = Body::Digit {
            event,
            is_end,
            duration,
        };
        for copy in 0..if is_end { 3 } else { 1 } {
            self.send(
                time + copy * MILLISECOND,
                super::message::EVENT_TYPE,
                body,
                timestamp,
            );
        }
    }

    fn send_report(&mut self, time: i64) {
        let packets = self.truth.packets_sent as u32;
        let body = Body::Report {
            packets,
            octets: self.octets_sent,
        };
        self.truth.reports += 1;
        let packet = self.packet(time, 0, body, self.timestamp);
        self.pending.push(Reverse(packet));
    }

    fn packet(&mut self, time: i64, payload_type: u8, body: Body, timestamp: u32) -> Packet {
        self.made = self.made.wrapping_add(1);
        Packet {
            time,
            order: self.made,
            payload_type,
            marker: self.marker,
            sequence: self.sequence,
            timestamp,
            ssrc: self.ssrc,
            body,
        }
    }

    /// Puts a packet on the network; false if it is lost there.
    fn send(&mut self, time: i64, payload_type: u8, body: Body, timestamp: u32) -> bool {
        let mut packet = self.packet(time, payload_type, body, timestamp);
        self.marker = false;
        self.sequence = self.sequence.wrapping_add(1);
        self.truth.packets_sent += 1;
        if self.dice.loses() {
            self.truth.packets_dropped += 1;
            return false;
        }
        packet.time += self.dice.delay();
        self.pending.push(Reverse(packet));
        if let Some(later) = self.dice.repeats() {
            self.truth.duplicates += 1;
            self.made = self.made.wrapping_add(1);
            let copy = Packet {
                time: packet.time + later,
                order: self.made,
                ..packet
            };
            self.pending.push(Reverse(copy));
        }
        true
    }
}

impl Dice {
    fn new(scenario: &Scenario, ptime: i64, random: Random) -> Dice {
        let network = &scenario.network;
        Dice {
            random,
            loss: Chance::percent(network.loss_percent),
            reorder: Chance::percent(network.reorder_percent),
            duplicate: Chance::percent(network.duplicate_percent),
            jitter: nanos(network.jitter),
            reorder_delay: i64::from(network.reorder_by) * ptime + ptime / 4,
        }
    }

    fn loses(&mut self) -> bool {
        self.random.happens(self.loss)
    }

    fn delay(&mut self) -> i64 {
        let jitter = if self.jitter > 0 {
            self.random.below(self.jitter as u64) as i64
        } else {
            0
        };
        jitter
            + if self.random.happens(self.reorder) {
                self.reorder_delay
            } else {
                0
            }
    }

    fn repeats(&mut self) -> Option<i64> {
        self.random
            .happens(self.duplicate)
            .then(|| 20_000 + self.random.below(2_000_000) as i64)
    }
}
