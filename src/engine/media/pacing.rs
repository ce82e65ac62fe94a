//! Senders whose timestamps run by another clock than SDP or RFC 3551 says (see `rtp::Pace`).
//!
//! Packets that speak for another clock wait until it is known, half a second at most and never longer than the block is open that they
//! may lie in. Then each is taken as if the clock had been known when it came: nothing of the beginning is counted or placed by a clock
//! that is not the sender's. Of a stream that keeps its pace no packet waits.

use std::time::Duration;

use super::packets::{Dropped, Kept, kept_cost};
use super::placing::{Arrived, change_meaning, ticks};
use super::stream::{Meaning, Owner, Stream};
use super::timeline::Timeline;
use super::*;
use crate::codec::PayloadFormat;
use crate::engine::event::OtherClock;
use crate::rtp::{Beat, Pace, Rates, Trial, Verdict};

/// What waits of one stream, at most.
const LONGEST: Duration = Duration::from_millis(600);
const MOST: usize = 100;

/// What is known of the clock that a stream counts by.
#[derive(Debug, Default)]
pub struct Pacing {
    pace: Pace,
    /// What the pace is of.
    format: Option<PayloadFormat>,
    on_trial: Option<Box<OnTrial>>,
    found: Option<Box<Found>>,
    /// The latest clock that was found to be another one than was said.
    told: Option<OtherClock>,
}

#[derive(Debug)]
struct OnTrial {
    trial: Trial,
    held: Vec<Kept>,
    /// What these take.
    bytes: usize,
}

/// A clock that is not the one that was said.
#[derive(Clone, Copy, Debug)]
struct Found {
    /// What is counted by it.
    format: PayloadFormat,
    clock_hz: u32,
    /// The last packet before it was found.
    since: Beat,
}

impl OnTrial {
    /// Keeps a packet; how many bytes that takes.
    fn keep(&mut self, kept: Kept) -> usize {
        let bytes = kept_cost(kept.bytes.len());
        self.held.push(kept);
        self.bytes += bytes;
        bytes
    }
}

impl Pacing {
    pub fn is_on_trial(&self) -> bool {
        self.on_trial.is_some()
    }

    pub fn told(&self) -> Option<OtherClock> {
        self.told
    }

    /// Ticks a second by which packets of `format` are counted. What is no audio has the clock of its source's audio, if it was said to
    /// have the same: a source has one (RFC 3550 section 3).
    pub fn ticks_hz(&self, format: &PayloadFormat) -> u32 {
        let applies = |found: &&Found| {
            let by_its_clock = format.clock_rate_hz == found.format.clock_rate_hz;
            found.format == *format || !format.codec.is_audio() && by_its_clock
        };
        let found = self.found.as_deref().filter(applies);
        found.map_or_else(|| format.ticks_hz(), |found| found.clock_hz)
    }

    fn count_by(&mut self, format: PayloadFormat, clock_hz: u32, since: Beat) {
        let said_hz = format.ticks_hz();
        self.found = None;
        if clock_hz != said_hz {
            self.told = Some(OtherClock { said_hz, clock_hz });
            self.found = Some(Box::new(Found {
                format,
                clock_hz,
                since,
            }));
        }
    }

    /// Drops what waits; its stream is another call's.
    pub fn drop_held(&mut self) -> Dropped {
        let dropped = self.on_trial.take().map(|on_trial| Dropped {
            packets: on_trial.held.len() as u64,
            bytes: on_trial.bytes,
        });
        dropped.unwrap_or_default()
    }
}

impl Stream {
    /// What its packets mean may have changed: see [`Pace::doubt`].
    #[cold]
    pub fn doubt_pace(&mut self) {
        self.pacing.pace.doubt();
        self.expect_pace();
    }

    fn resume_pace(&mut self, verdict: Verdict, clock_hz: u32, samples: u32) {
        self.pacing.pace.resume(verdict, clock_hz, samples);
        self.expect_pace();
    }

    /// To be called whenever the pace has changed.
    fn expect_pace(&mut self) {
        self.jitter.expect(self.pacing.pace.expected());
    }

    /// The clock that a packet seems to be counted by, where that is another one than is known, and the packet before it.
    fn suspect(&mut self, meaning: &Meaning, beat: &Beat) -> Option<(u32, Beat)> {
        let (last, number) = (self.jitter.last_packet(), self.last_number());
        let pacing = &mut self.pacing;
        if pacing.format != Some(meaning.format) {
            pacing.format = Some(meaning.format);
            pacing.pace = Pace::default();
        }
        if !meaning.format.has_clock() {
            return None;
        }
        let last = last.map(|(time, timestamp)| pacing.pace.beat_before(time, number, timestamp));
        let suspected = pacing.pace.judge(last, beat, rates(meaning));
        self.expect_pace();
        Some((suspected?, last?))
    }

    /// Counts by another clock from the packet `since` on, which was the last to be placed.
    fn count_by(&mut self, format: PayloadFormat, clock_hz: u32, since: Beat, start: Timestamp) {
        let before = self.pacing.ticks_hz(&format);
        self.pacing.count_by(format, clock_hz, since);
        self.jitter.correct_rate(clock_hz);
        if let Some(clock) = &mut self.clock
            && clock.clock_rate_hz() == before
        {
            clock.correct_clock_rate(start, since.time, since.timestamp, clock_hz);
        }
        // What payload types mean is looked up anew, with the clock.
        self.mean(None);
    }

    /// Where on the timeline the packet lies that is the last before those on trial; when it came, or where its anchor was set that is
    /// still to be put right by what comes, if that is earlier.
    fn trial_begins(&self, timeline: Option<&Timeline>) -> Option<Timestamp> {
        let first = self.pacing.on_trial.as_ref()?.trial.first();
        let place = timeline.zip(self.clock.as_ref()).map(|(timeline, clock)| {
            let place = clock.position_of(first.timestamp);
            timeline.time_of(place.min(clock.settles_from().unwrap_or(place)))
        });
        Some(first.time.min(place.unwrap_or(first.time)))
    }

    /// A packet disagreed with the capture clock, and was right. Where the clock of the stream is one that was found, and does not fit
    /// what has come since, the one that was said is believed again.
    #[cold]
    pub fn doubt_clock(&mut self, time: Timestamp, timestamp: u32) {
        self.doubt_pace();
        let Some(Found {
            format,
            clock_hz,
            since,
        }) = self.pacing.found.as_deref().copied()
        else {
            return;
        };
        if since.is_refuted_by(time, timestamp, clock_hz, format.ticks_hz()) {
            self.pacing.found = None;
            self.pacing.told = None;
            self.resume_pace(Verdict::Refuted, clock_hz, 0);
            self.mean(None);
        }
    }
}

fn rates(meaning: &Meaning) -> Rates {
    Rates {
        clock_hz: meaning.ticks_hz,
        sample_hz: meaning.format.codec.sample_rate_hz(),
    }
}

impl Media {
    /// Takes a packet of audio that does not keep its stream's pace: it may count by another clock.
    #[cold]
    #[inline(never)]
    pub(super) fn take_off_pace(
        &mut self,
        id: u32,
        (slot, side): (u32, Side),
        meaning: Meaning,
        arrived: Arrived,
        sink: &mut impl Sink,
    ) {
        let payload = self.payloads.bytes(arrived.stored);
        let beat = Beat {
            time: arrived.time,
            number: arrived.number,
            timestamp: arrived.timestamp,
            samples: meaning.format.codec.extent(payload).samples,
        };
        let Some(stream) = self.streams.get(id) else {
            return;
        };
        if stream.pacing.is_on_trial() {
            if stream.pacing.format == Some(meaning.format) {
                return self.hold(id, slot, &beat, &arrived, sink);
            }
            self.end_trial(id, slot, None, sink);
        }
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        let Some((clock_hz, before)) = stream.suspect(&meaning, &beat) else {
            return self.take_judged(id, (slot, side), arrived, sink);
        };
        let mut on_trial = OnTrial {
            trial: Trial::new(before, &beat, clock_hz, rates(&meaning)),
            held: Vec::new(),
            bytes: 0,
        };
        self.kept_bytes += on_trial.keep(arrived.keep(&self.payloads));
        stream.pacing.on_trial = Some(Box::new(on_trial));
        if let Some(call) = self.calls.get_mut(slot) {
            call.has_trials = true;
        }
    }

    /// Keeps a packet of a stream that is on trial, and hears what it says.
    fn hold(&mut self, id: u32, slot: u32, beat: &Beat, arrived: &Arrived, sink: &mut impl Sink) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        let Some(on_trial) = &mut stream.pacing.on_trial else {
            return;
        };
        self.kept_bytes += on_trial.keep(arrived.keep(&self.payloads));
        let since = on_trial.held.first().map_or(beat.time, |kept| kept.time);
        let is_full = on_trial.held.len() >= MOST
            || beat.time.since(since) > LONGEST
            || self.kept_bytes > self.limits.kept_bytes;
        match on_trial.trial.hear(beat) {
            Verdict::Open if is_full => self.end_trial(id, slot, None, sink),
            Verdict::Open => {}
            verdict => self.end_trial(id, slot, Some(verdict), sink),
        }
    }

    /// Keeps a packet of a key whose stream is on trial, to be placed with the audio around it; whether it does.
    pub(super) fn hold_event(&mut self, id: u32, arrived: &Arrived) -> bool {
        let stream = self.streams.get_mut(id);
        let Some(on_trial) = stream.and_then(|stream| stream.pacing.on_trial.as_mut()) else {
            return false;
        };
        if on_trial.held.len() >= MOST {
            return false;
        }
        let kept = arrived.keep(&self.payloads);
        self.kept_bytes += on_trial.keep(kept);
        true
    }

    /// Ends the trial of a stream, with what is known so far where there is no verdict, and takes what waited for that.
    pub(super) fn end_trial(
        &mut self,
        id: u32,
        slot: u32,
        verdict: Option<Verdict>,
        sink: &mut impl Sink,
    ) {
        let (Some(stream), Some(call)) = (self.streams.get_mut(id), self.calls.get(slot)) else {
            return;
        };
        let Owner::Call { side, .. } = stream.owner else {
            return;
        };
        let Some(on_trial) = stream.pacing.on_trial.take() else {
            return;
        };
        self.kept_bytes -= on_trial.bytes;
        let trial = on_trial.trial;
        let verdict = verdict.unwrap_or_else(|| trial.end());
        let (clock_hz, samples) = (trial.clock_hz(), trial.last_samples());
        if verdict == Verdict::Found
            && let Some(format) = stream.pacing.format
        {
            let was_told = stream.pacing.told.is_some();
            let start = call.timeline.as_ref().map_or(Timestamp::MIN, |t| t.start);
            stream.count_by(format, clock_hz, *trial.first(), start);
            let is_told = stream.pacing.told.is_some();
            self.counters.streams_other_clock += u64::from(is_told && !was_told);
        }
        stream.resume_pace(verdict, clock_hz, samples);
        for kept in on_trial.held {
            let arrived = kept.arrived(&mut self.payloads);
            self.take_judged(id, (slot, side), arrived, sink);
        }
    }

    /// Counts and places a packet whose clock is known, as far as it can be.
    fn take_judged(
        &mut self,
        id: u32,
        (slot, side): (u32, Side),
        arrived: Arrived,
        sink: &mut impl Sink,
    ) {
        let (Some(stream), Some(call)) = (self.streams.get_mut(id), self.calls.get_mut(slot))
        else {
            return;
        };
        let meaning = match stream.meaning {
            Some(known) if known.format.payload_type == arrived.payload_type => known,
            _ => change_meaning(stream, call, side, arrived.payload_type),
        };
        if let Some(why) = meaning.apart {
            return self.set_apart(id, slot, side, why, arrived.time);
        }
        if meaning.format.codec == Codec::TelephoneEvent {
            return self.place(id, slot, side, meaning, arrived, sink);
        }
        let ticks = ticks(&meaning.format, arrived.timestamp, arrived.time);
        stream.count_audio(arrived.time, ticks, arrived.number);
        let holds_track = call.tracks[side].holder == Some(id);
        if call.record && (holds_track || self.win_track(id, slot, side, &arrived, sink)) {
            self.place(id, slot, side, meaning, arrived, sink);
        }
    }

    /// Ends the trials of a call's streams whose packets may lie before `until`, since what lies there is about to be handed on.
    #[cold]
    pub(super) fn end_trials(&mut self, slot: u32, until: Timestamp, sink: &mut impl Sink) {
        let Some(call) = self.calls.get(slot) else {
            return;
        };
        let (streams, mut has_trials) = (call.streams.clone(), false);
        for id in streams {
            let timeline = self.calls.get(slot).and_then(|call| call.timeline.as_ref());
            let begins = |stream: &Stream| stream.trial_begins(timeline);
            match self.streams.get(id).and_then(begins) {
                Some(first) if first < until => {
                    self.count_for(id, |media| media.end_trial(id, slot, None, sink));
                }
                other => has_trials |= other.is_some(),
            }
        }
        if let Some(call) = self.calls.get_mut(slot) {
            call.has_trials = has_trials;
        }
    }
}
