//! When a call is over: what was kept raw of it is decoded by the operator's program and drawn into the recording.
//!
//! A few minutes of a stream at a time, so that memory stays bounded; each stretch is drawn only when it is as long as its
//! frames say, so that nothing ever lies at a wrong place.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use super::RawCounters;
use super::raw::RawKey;
use super::resampling::Resampling;
use super::segments::SEAM;
use crate::base::{PerSide, Side};
use crate::decoders::{self, Decoders, Frame, Framing};
use crate::storage::{
    Cause, Error, RawReader, RawRecord, RawScale, RawState, RawStreamRecord, SegmentRecord,
    Sidecar, StoredFile,
};

/// Frames decoded at a time: five minutes.
const CHUNK_FRAMES: usize = 15_000;
/// Frames that only bring a decoder into the state it would be in.
const PRIMING_FRAMES: usize = 10;
/// A stretch that fails is tried in halves, down to so many packets,
const SMALLEST: usize = 50;
/// and so often in all.
const MAX_FAILURES: usize = 32;
/// Samples drawn at a time.
const STRETCH: usize = 16_000;

/// Where samples go.
pub type Draw<'d> = dyn FnMut(Side, i64, &[i16]) -> Result<(), Error> + 'd;

/// What became of the packets of a recording.
#[derive(Debug, Default)]
pub struct Decoded {
    pub streams: Vec<RawStreamRecord>,
    /// Parts of the timeline that have samples since, and those whose packets gave none; by their beginnings, apart.
    decoded: PerSide<Vec<Range<u64>>>,
    failed: PerSide<Vec<Range<u64>>>,
    /// From where on a sender said that it is silent, to its next speech.
    noise: PerSide<Vec<Range<u64>>>,
}

impl Decoded {
    /// Whether there is nothing in the packets that is not in the audio.
    pub fn is_all(&self) -> bool {
        self.streams
            .iter()
            .all(|stream| stream.state == RawState::Decoded)
    }

    /// Whether a side has samples since.
    pub fn has(&self, side: Side) -> bool {
        !self.decoded[side].is_empty()
    }

    /// Whether anything was tried.
    pub fn is_any(&self) -> bool {
        self.streams
            .iter()
            .any(|stream| stream.state != RawState::Kept)
    }

    /// One past the last sample that was drawn.
    pub fn end(&self) -> u64 {
        let ends = self.decoded.iter().filter_map(|(_, all)| all.last());
        ends.map(|range| range.end).max().unwrap_or(0)
    }

    /// Says in a sidecar what was decoded; its `samples` are those of the file by now.
    pub fn tell(&self, sidecar: &mut Sidecar) {
        let (before, after) = (sidecar.samples, sidecar.samples.max(self.end()));
        sidecar.samples = after;
        let mut segments = std::mem::take(&mut sidecar.segments);
        for side in Side::BOTH {
            segments.push(SegmentRecord::new(side, before, after, Cause::NoMedia));
        }
        let mut told = Vec::with_capacity(segments.len());
        for segment in segments {
            match segment.cause {
                Cause::Hold | Cause::Storage | Cause::Overload | Cause::NotOwned | Cause::Pause => {
                    told.push(segment)
                }
                _ => self.split(&segment, &mut told),
            }
        }
        told.retain(|segment| segment.from < segment.to);
        told.sort_by_key(|segment| (segment.from, segment.side));
        sidecar.segments = joined(told);
        if let Some(raw) = &mut sidecar.raw {
            raw.streams.clone_from(&self.streams);
        }
    }

    /// What of a silence is left, and why.
    fn split(&self, segment: &SegmentRecord, told: &mut Vec<SegmentRecord>) {
        let is_undecoded = segment.cause == Cause::Undecoded;
        for rest in without(segment.from..segment.to, &self.decoded[segment.side]) {
            let piece = |range: Range<u64>, cause| SegmentRecord {
                from: range.start,
                to: range.end,
                cause,
                ..segment.clone()
            };
            if !is_undecoded {
                told.push(piece(rest, segment.cause));
                continue;
            }
            let quiet = without(rest.clone(), &self.failed[segment.side]);
            for failed in without(rest, &quiet) {
                told.push(piece(failed, Cause::DecoderFailed));
            }
            for range in quiet {
                let rest = without(range.clone(), &self.noise[segment.side]);
                for noise in without(range, &rest) {
                    told.push(piece(noise, Cause::ComfortNoise));
                }
                for range in rest {
                    let cause = match self.is_kept(segment.side, &range) {
                        true => Cause::Undecoded,
                        false => Cause::NoMedia,
                    };
                    told.push(piece(range, cause));
                }
            }
        }
    }

    /// Whether a stream that was not decoded lies in `range`.
    fn is_kept(&self, side: Side, range: &Range<u64>) -> bool {
        let kept = |stream: &&RawStreamRecord| {
            stream.side == side
                && stream.state == RawState::Kept
                && stream.first < range.end
                && range.start <= stream.last
        };
        self.streams.iter().any(|stream| kept(&stream))
    }
}

/// `range` without `others`, which are apart and in order; what is no longer than a seam is left out.
fn without(range: Range<u64>, others: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut rest = Vec::new();
    let mut from = range.start;
    let first = others.partition_point(|other| other.end <= range.start);
    for other in others[first..].iter().take_while(|o| o.start < range.end) {
        rest.push(from..other.start.max(from));
        from = from.max(other.end);
    }
    rest.push(from..range.end.max(from));
    let is_whole = |rest: &Range<u64>| *rest == range;
    rest.retain(|rest| rest.end - rest.start > SEAM as u64 || is_whole(rest));
    rest
}

/// Segments that follow each other with the same cause are one.
fn joined(segments: Vec<SegmentRecord>) -> Vec<SegmentRecord> {
    let mut all: Vec<SegmentRecord> = Vec::with_capacity(segments.len());
    for segment in segments {
        let before = all.iter_mut().rev().find(|known| {
            known.side == segment.side && known.cause == segment.cause && known.to == segment.from
        });
        match before {
            Some(before) if segment.cause != Cause::Hold => before.to = segment.to,
            _ => all.push(segment),
        }
    }
    all
}

/// Adds a range behind the others, or to the last.
fn add(ranges: &mut Vec<Range<u64>>, range: Range<u64>) {
    match ranges.last_mut() {
        Some(last) if range.start <= last.end + SEAM as u64 => last.end = last.end.max(range.end),
        _ => ranges.push(range),
    }
}

/// By their beginnings, and apart.
fn in_order(ranges: &mut Vec<Range<u64>>) {
    ranges.sort_by_key(|range| range.start);
    let mut all = Vec::with_capacity(ranges.len());
    std::mem::take(ranges)
        .into_iter()
        .for_each(|range| add(&mut all, range));
    *ranges = all;
}

/// Where a packet is: on the timeline, and its payload in the file.
#[derive(Clone, Copy, Debug)]
struct Place {
    position: i64,
    offset: u64,
    len: u16,
}

/// The work on one recording.
pub struct Decoding<'a> {
    pub decoders: &'a Decoders,
    pub counters: &'a RawCounters,
    pub stop: &'a AtomicBool,
}

impl Decoding<'_> {
    /// Decodes what can be of `file` of packets, which `record` describes, and draws it.
    ///
    /// # Errors
    /// When the packets cannot be read or the samples not be drawn; what a decoder does wrong is no error.
    pub fn decode(
        &self,
        file: &StoredFile,
        scale: RawScale,
        record: &RawRecord,
        draw: &mut Draw<'_>,
    ) -> Result<Decoded, Error> {
        let mut decoded = Decoded {
            streams: record.streams.clone(),
            ..Decoded::default()
        };
        let framings: Vec<Option<Framing>> = record
            .streams
            .iter()
            .map(|stream| {
                self.decoders
                    .framing(&stream.encoding, stream.clock_rate_hz)
            })
            .collect();
        if framings.iter().all(Option::is_none) {
            return Ok(decoded);
        }
        let places = index(file, scale, &record.streams)?;
        for (number, (framing, mut places)) in framings.into_iter().zip(places).enumerate() {
            let Some(framing) = framing else { continue };
            if decoded.streams[number].state == RawState::Decoded {
                continue;
            }
            places.sort_by_key(|place| place.position);
            let mut stream = StreamWork {
                of: self,
                framing: &framing,
                side: decoded.streams[number].side,
                rate_hz: scale.sample_rate_hz,
                resampling: None,
                stretch: Stretch::default(),
                decoded: Vec::new(),
                failed: Vec::new(),
                noise: Vec::new(),
                silent_from: None,
                packets_failed: 0,
                error: None,
                stopped: false,
            };
            stream.run(file, &places, draw)?;
            decoded.take(number, stream);
        }
        for side in Side::BOTH {
            in_order(&mut decoded.decoded[side]);
            in_order(&mut decoded.failed[side]);
            in_order(&mut decoded.noise[side]);
        }
        Ok(decoded)
    }
}

impl Decoded {
    /// What became of stream `number`.
    fn take(&mut self, number: usize, work: StreamWork<'_>) {
        if work.stopped {
            // What was drawn stays, and is drawn again when it is tried again.
            return;
        }
        let counters = work.of.counters;
        let stream = &mut self.streams[number];
        let packets_decoded = stream.packets.saturating_sub(work.packets_failed);
        RawCounters::add(&counters.packets_decoded, packets_decoded);
        RawCounters::add(&counters.packets_failed, work.packets_failed);
        stream.packets_failed = work.packets_failed;
        stream.error = work.error;
        stream.state = match work.packets_failed {
            0 => RawState::Decoded,
            _ => RawState::Failed,
        };
        self.decoded[stream.side].extend(work.decoded);
        self.failed[stream.side].extend(work.failed);
        self.noise[stream.side].extend(work.noise);
    }
}

/// The places of the packets of each of `streams`.
fn index(
    file: &StoredFile,
    scale: RawScale,
    streams: &[RawStreamRecord],
) -> Result<Vec<Vec<Place>>, Error> {
    let mut reader = RawReader::of(file, scale)?;
    let mut places = vec![Vec::new(); streams.len()];
    let mut last: Option<(RawKey, Vec<usize>)> = None;
    let mut offset = reader.whole_bytes();
    while let Some(packet) = reader
        .next_packet()
        .map_err(Error::io("read", file.path()))?
    {
        let key = RawKey::of(&packet);
        if last.as_ref().is_none_or(|(known, _)| *known != key) {
            let of_key = streams.iter().enumerate().filter(|(_, s)| key.is_of(s));
            last = Some((key, of_key.map(|(number, _)| number).collect()));
        }
        let (position, len) = (packet.position, packet.payload.len());
        offset = reader.whole_bytes().max(offset);
        let listed = last.iter().flat_map(|(_, numbers)| numbers.iter().copied());
        // A payload type may mean one thing first, and another later.
        let at = position.max(0) as u64;
        let mut listed = listed.filter(|&n| (streams[n].first..=streams[n].last).contains(&at));
        if let Some(number) = listed.next()
            && let Ok(short) = u16::try_from(len)
        {
            places[number].push(Place {
                position,
                offset: offset - len as u64,
                len: short,
            });
        }
    }
    Ok(places)
}

/// One stream being decoded.
struct StreamWork<'a> {
    of: &'a Decoding<'a>,
    framing: &'a Framing,
    side: Side,
    rate_hz: u32,
    resampling: Option<Resampling>,
    stretch: Stretch,
    decoded: Vec<Range<u64>>,
    failed: Vec<Range<u64>>,
    noise: Vec<Range<u64>>,
    /// Where its sender said last that it is silent.
    silent_from: Option<u64>,
    packets_failed: u64,
    error: Option<String>,
    stopped: bool,
}

/// A packet and its frames, within a chunk.
struct Packet {
    position: i64,
    frames: Range<usize>,
}

#[derive(Default)]
struct Chunk {
    /// The first of them only prime the decoder.
    frames: Vec<Frame>,
    packets: Vec<Packet>,
}

impl StreamWork<'_> {
    fn run(
        &mut self,
        file: &StoredFile,
        places: &[Place],
        draw: &mut Draw<'_>,
    ) -> Result<(), Error> {
        let mut chunk = Chunk::default();
        let mut payload = Vec::new();
        for place in places {
            payload.resize(usize::from(place.len), 0);
            file.read_exact_at(&mut payload, place.offset)
                .map_err(Error::io("read", file.path()))?;
            let Some(frames) = self.framing.split(&payload) else {
                self.refuse(place.position, 0, "its packets hold no frames");
                continue;
            };
            let variant = |frames: &[Frame]| frames.first().map(|frame| frame.variant);
            let is_other = !chunk.frames.is_empty() && variant(&chunk.frames) != variant(&frames);
            if is_other || chunk.frames.len() >= CHUNK_FRAMES {
                self.decode(&chunk, draw)?;
                let priming = match is_other {
                    true => 0,
                    false => PRIMING_FRAMES,
                };
                let keep = chunk.frames.len().saturating_sub(priming);
                chunk.frames.drain(..keep);
                chunk.packets.clear();
            }
            let begin = chunk.frames.len();
            chunk.frames.extend(frames);
            chunk.packets.push(Packet {
                position: place.position,
                frames: begin..chunk.frames.len(),
            });
        }
        self.decode(&chunk, draw)?;
        self.finish(draw)
    }

    /// Notes a packet that gave no samples, of which `samples` were expected.
    fn refuse(&mut self, position: i64, samples: i64, error: &str) {
        self.packets_failed += 1;
        self.error.get_or_insert_with(|| error.to_owned());
        let from = position.max(0) as u64;
        // Nobody knows how long it was: as long as packets mostly are.
        let usual = i64::from(self.rate_hz) / 50;
        let len = if samples > 0 { samples } else { usual };
        add(&mut self.failed, from..(position + len).max(0) as u64);
    }

    fn decode(&mut self, chunk: &Chunk, draw: &mut Draw<'_>) -> Result<(), Error> {
        let mut failures = 0;
        // Halves still to be tried, the earliest last.
        let mut parts: Vec<Range<usize>> = std::iter::once(0..chunk.packets.len()).collect();
        while let Some(part) = parts.pop() {
            if part.is_empty() || self.stopped {
                continue;
            }
            match self.samples_of(chunk, &part) {
                Ok((samples, skipped)) => self.place(chunk, &part, &samples, skipped, draw)?,
                Err(decoders::Error::Stopped) => self.stopped = true,
                Err(error) => {
                    failures += 1;
                    self.of.counters.failed(&error);
                    let may_differ = matches!(
                        error,
                        decoders::Error::WrongLength { .. } | decoders::Error::Died { .. }
                    );
                    if may_differ && part.len() > SMALLEST && failures < MAX_FAILURES {
                        let middle = part.start + part.len() / 2;
                        parts.extend([middle..part.end, part.start..middle]);
                    } else {
                        self.give_up(chunk, &part, &error);
                    }
                }
            }
        }
        Ok(())
    }

    /// The samples of some packets of a chunk, behind those that only prime the decoder, and how many those are.
    fn samples_of(
        &self,
        chunk: &Chunk,
        part: &Range<usize>,
    ) -> Result<(Vec<i16>, usize), decoders::Error> {
        let begin = chunk.packets[part.start].frames.start;
        let end = chunk.packets[part.end - 1].frames.end;
        let from = begin.saturating_sub(PRIMING_FRAMES);
        let frames = &chunk.frames[from..end];
        let samples = self
            .of
            .decoders
            .decode(self.framing, frames, self.of.stop)?;
        Ok((samples, (begin - from) * self.frame_samples(chunk)))
    }

    fn frame_samples(&self, chunk: &Chunk) -> usize {
        let variant = chunk.frames.first().map_or(0, |frame| frame.variant);
        self.framing.frame_samples(variant)
    }

    fn give_up(&mut self, chunk: &Chunk, part: &Range<usize>, error: &decoders::Error) {
        let error = error.to_string();
        for packet in &chunk.packets[part.clone()] {
            let samples = (packet.frames.len() * self.frame_samples(chunk)) as i64;
            self.refuse(packet.position, self.scaled(samples), &error);
        }
    }

    /// Samples of the codec in samples of the recording.
    fn scaled(&self, samples: i64) -> i64 {
        samples * i64::from(self.rate_hz) / i64::from(self.framing.sample_rate_hz())
    }

    /// Draws what was decoded at the places of its packets, but for what describes silence.
    fn place(
        &mut self,
        chunk: &Chunk,
        part: &Range<usize>,
        samples: &[i16],
        skipped: usize,
        draw: &mut Draw<'_>,
    ) -> Result<(), Error> {
        let frame_samples = self.frame_samples(chunk);
        let delay = self.scaled(self.framing.delay_samples());
        let mut samples = &samples[skipped..];
        for packet in &chunk.packets[part.clone()] {
            let frames = &chunk.frames[packet.frames.clone()];
            let (now, later) = samples.split_at((frames.len() * frame_samples).min(samples.len()));
            samples = later;
            let noise = frames.iter().rev().take_while(|f| f.is_noise).count();
            let heard = (frames.len() - noise) * frame_samples;
            let (from, to) = (packet.position, packet.position + self.scaled(heard as i64));
            let (begin, end) = (from.max(0) as u64, to.max(0) as u64);
            self.speak(begin);
            if heard > 0 {
                add(&mut self.decoded, begin..end);
                self.push(from - delay, &now[..heard.min(now.len())], draw)?;
            }
            self.silent_from = (noise > 0).then_some(end);
        }
        Ok(())
    }

    /// Ends the silence that lasted until `at`, if there was one.
    fn speak(&mut self, at: u64) {
        if let Some(from) = self.silent_from.take() {
            add(&mut self.noise, from..at.max(from));
        }
    }

    fn push(&mut self, position: i64, samples: &[i16], draw: &mut Draw<'_>) -> Result<(), Error> {
        if self.framing.sample_rate_hz() == self.rate_hz {
            return self.stretch.push(self.side, position, samples, draw);
        }
        if self.resampling.is_none() {
            self.resampling = Resampling::new(self.framing.sample_rate_hz(), self.rate_hz);
        }
        let Some(resampling) = &mut self.resampling else {
            return Ok(());
        };
        let mut samples = samples.to_vec();
        let at = resampling.push(position, &mut samples, self.rate_hz);
        self.stretch.push(self.side, at, &samples, draw)
    }

    fn finish(&mut self, draw: &mut Draw<'_>) -> Result<(), Error> {
        self.speak(u64::MAX);
        if let Some(resampling) = &mut self.resampling {
            let (at, samples) = resampling.finish();
            self.stretch.push(self.side, at, &samples, draw)?;
        }
        self.stretch.flush(self.side, draw)
    }
}

/// Samples that follow each other, gathered so that the file is not touched for each packet.
#[derive(Default)]
struct Stretch {
    begin: i64,
    samples: Vec<i16>,
}

impl Stretch {
    fn push(
        &mut self,
        side: Side,
        position: i64,
        samples: &[i16],
        draw: &mut Draw<'_>,
    ) -> Result<(), Error> {
        let gap = position - (self.begin + self.samples.len() as i64);
        match usize::try_from(gap) {
            // A sample more where packets moved apart to follow a clock; the one before is repeated.
            Ok(hole) if gap <= SEAM && !self.samples.is_empty() => {
                let last = self.samples.last().copied().unwrap_or(0);
                self.samples.extend(std::iter::repeat_n(last, hole));
            }
            Err(_) if gap >= -SEAM && self.samples.len() as i64 >= -gap => {
                let keep = self.samples.len() - gap.unsigned_abs() as usize;
                self.samples.truncate(keep);
            }
            _ => {
                self.flush(side, draw)?;
                self.begin = position;
            }
        }
        self.samples.extend(samples);
        match self.samples.len() >= STRETCH {
            true => self.flush(side, draw),
            false => Ok(()),
        }
    }

    fn flush(&mut self, side: Side, draw: &mut Draw<'_>) -> Result<(), Error> {
        if !self.samples.is_empty() {
            draw(side, self.begin, &self.samples)?;
        }
        self.begin += self.samples.len() as i64;
        self.samples.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(from: u64, to: u64, cause: Cause) -> SegmentRecord {
        SegmentRecord::new(Side::Caller, from, to, cause)
    }

    fn told(decoded: &Decoded, segments: Vec<SegmentRecord>) -> Vec<(u64, u64, Cause)> {
        let id = crate::base::RecordingId(uuid::Uuid::nil());
        let mut sidecar = Sidecar::empty(id, crate::base::SYSTEM_TENANT, Default::default());
        (sidecar.samples, sidecar.segments) = (10_000, segments);
        decoded.tell(&mut sidecar);
        let of_caller = sidecar.segments.iter().filter(|s| s.side == Side::Caller);
        of_caller.map(|s| (s.from, s.to, s.cause)).collect()
    }

    #[test]
    fn what_was_decoded_is_no_segment_and_the_rest_has_its_own_cause() {
        let decoded = Decoded {
            decoded: PerSide {
                caller: vec![100..400, 500..1000],
                callee: Vec::new(),
            },
            failed: PerSide {
                caller: vec![400..430, 430..460],
                callee: Vec::new(),
            },
            ..Decoded::default()
        };
        let found = told(
            &decoded,
            vec![
                segment(0, 100, Cause::NoMedia),
                segment(100, 480, Cause::Undecoded),
                segment(480, 700, Cause::Loss),
                segment(700, 3000, Cause::Undecoded),
                segment(900, 2000, Cause::Hold),
            ],
        );
        let expected = [
            (0, 100, Cause::NoMedia),
            (400, 460, Cause::DecoderFailed),
            (460, 480, Cause::NoMedia),
            (480, 500, Cause::Loss),
            (900, 2000, Cause::Hold),
            (1000, 3000, Cause::NoMedia),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_stream_nobody_decodes_stays_undecoded() {
        let mut decoded = Decoded::default();
        decoded.streams.push(RawStreamRecord {
            side: Side::Caller,
            source: String::new(),
            destination: String::new(),
            ssrc: String::new(),
            payload_type: 96,
            encoding: "EVS".into(),
            clock_rate_hz: 16_000,
            fmtp: None,
            packets: 2,
            first: 100,
            last: 400,
            state: RawState::Kept,
            packets_failed: 0,
            error: None,
        });
        decoded.decoded.caller.push(600..10_240);
        let found = told(&decoded, vec![segment(100, 900, Cause::Undecoded)]);
        assert_eq!(found, [(100, 600, Cause::Undecoded)]);
    }
}
