//! Several streams that claim one side's track: another SSRC, another address, the same packets seen elsewhere.

use super::call::{CONTESTED, CONTESTED_NANOS, Claim, MAX_CONTESTED, Track, is_unnamed};
use super::moving::Answer;
use super::*;

impl Media {
    /// Whether a packet of a stream that does not hold its side's track may be placed. Those that had to wait for the answer
    /// are placed before it.
    #[cold]
    pub(super) fn win_track(
        &mut self,
        id: u32,
        slot: u32,
        side: Side,
        arrived: &Arrived,
        sink: &mut impl Sink,
    ) -> bool {
        let contest = self.weigh_claim(id, slot, side, arrived);
        match contest {
            Contest::Wins | Contest::Moves => {
                let was_heard = self.may_press(id, slot, side);
                self.give_track(id, slot, side, contest == Contest::Moves);
                if !was_heard {
                    self.press_contested(id, slot, side);
                }
                self.place_contested(id, slot, side, sink);
                true
            }
            Contest::Waits => {
                self.wait_for_quiet(id, slot, side, arrived);
                false
            }
            Contest::Doubted => {
                self.keep_doubted(id, slot, side, arrived);
                false
            }
            Contest::Loses { foreign } => {
                self.counters.not_placed += 1;
                if let Some(stream) = self.streams.get_mut(id) {
                    stream.not_placed += 1;
                }
                if let Some(call) = self.calls.get_mut(slot) {
                    call.suspicious_packets += u64::from(foreign);
                }
                false
            }
        }
    }

    /// Makes a stream its side's voice. One that has moved is who held it before, elsewhere. Who spoke before from another host than the
    /// side had said, though this one comes from there, was somebody else: what of that was not handed on is taken back.
    fn give_track(&mut self, id: u32, slot: u32, side: Side, has_moved: bool) {
        let (Some(call), Some(stream)) = (self.calls.get(slot), self.streams.get(id)) else {
            return;
        };
        let answered = |stream: &Stream| self.answer_to(slot, side, stream) != Answer::No;
        let before = call.tracks[side];
        let is_unnamed = match has_moved {
            true => before.is_unnamed,
            false => is_unnamed(stream, &call.plan, side, answered(stream)),
        };
        let held = before.holder.and_then(|holder| self.streams.get(holder));
        let forger = held
            .filter(|_| before.is_unnamed && !is_unnamed)
            .filter(|forger| !answered(forger))
            .map(|forger| {
                let placed = forger.sequence.received().saturating_sub(forger.not_placed);
                (forger.ordinal, placed)
            });
        let clock = held
            .filter(|_| has_moved)
            .and_then(|held| held.clock.clone());
        let Some(call) = self.calls.get_mut(slot) else {
            return;
        };
        call.tracks[side] = Track {
            holder: Some(id),
            is_unnamed,
        };
        if let Some(stream) = self.streams.get_mut(id) {
            (stream.rival, stream.doubt) = (false, None);
            if let Some(clock) = clock {
                stream.go_on_with(clock);
            }
        }
        if let (Some((ordinal, placed)), Some(timeline)) = (forger, &mut call.timeline) {
            call.suspicious_packets += placed;
            timeline.take_back(&self.payloads, ordinal);
        }
    }

    fn weigh_claim(&self, id: u32, slot: u32, side: Side, arrived: &Arrived) -> Contest {
        let (Some(call), Some(stream)) = (self.calls.get(slot), self.streams.get(id)) else {
            return Contest::Loses { foreign: false };
        };
        let held = call.tracks[side].holder;
        let held = held.and_then(|holder| Some((holder, self.streams.get(holder)?)));
        let Some((holder, held)) = held else {
            return Contest::Wins;
        };
        let claim = Claim {
            stream,
            time: arrived.time,
            answer: self.answer_to(slot, side, stream),
            goes_on: self.may_have_moved(stream, held, arrived),
            has_moved: (stream.doubt).is_some_and(|doubt| doubt.has_moved(holder, held)),
        };
        contest(&claim, held, &call.plan, side)
    }

    /// Keeps a packet until the stream that holds the track is quiet. One that goes on shows that this is somebody else.
    fn wait_for_quiet(&mut self, id: u32, slot: u32, side: Side, arrived: &Arrived) {
        let holder = self
            .calls
            .get(slot)
            .and_then(|call| call.tracks[side].holder);
        let held = holder.and_then(|holder| self.streams.get(holder));
        let held = held.map(|holder| holder.key.flow);
        let (Some(stream), Some(call)) = (self.streams.get_mut(id), self.calls.get_mut(slot))
        else {
            return;
        };
        self.kept_bytes += stream.keep(arrived.keep(&self.payloads));
        let since = stream.kept.front().map_or(arrived.time, |kept| kept.time);
        let waited = stream.kept.len();
        let is_brief = arrived.time.nanos_since(since) < CONTESTED_NANOS;
        if waited < CONTESTED || is_brief && waited < MAX_CONTESTED {
            return;
        }
        stream.rival = true;
        let (kept, bytes) = stream.take_kept();
        self.kept_bytes -= bytes;
        stream.not_placed += kept.len() as u64;
        self.counters.not_placed += kept.len() as u64;
        if held == Some(stream.key.flow) {
            call.suspicious_packets += kept.len() as u64;
        }
    }

    /// Places what waited while the track was another stream's.
    fn place_contested(&mut self, id: u32, slot: u32, side: Side, sink: &mut impl Sink) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        let (kept, bytes) = stream.take_kept();
        self.kept_bytes -= bytes;
        for packet in &kept {
            let (Some(stream), Some(call)) = (self.streams.get_mut(id), self.calls.get_mut(slot))
            else {
                return;
            };
            let meaning = change_meaning(stream, call, side, packet.payload_type);
            if meaning.apart.is_none() {
                let arrived = packet.arrived(&mut self.payloads);
                self.place(id, slot, side, meaning, arrived, sink);
            }
        }
    }

    /// Takes a packet of a stream that is seen at another vantage too: once more, mostly; now and then the only one.
    pub(super) fn handle_copy(&mut self, id: u32, of: u32, arrived: Arrived, sink: &mut impl Sink) {
        let is_it = |copy: &Stream| {
            let original = self.streams.get(of)?;
            let Owner::Call { slot, side } = original.owner else {
                return None;
            };
            copy.is_copy_of(original).then_some((slot, side))
        };
        let Some((slot, side)) = self.streams.get(id).and_then(is_it) else {
            self.counters.after_end += 1;
            return;
        };
        let stream = self.streams.get_mut(of).expect("it was there a moment ago");
        stream.last_at = stream.last_at.max(arrived.time);
        if stream.protected.is_some() {
            // Not opened: what it repeats was, or comes.
            stream.duplicates += 1;
            self.counters.duplicates += 1;
            return;
        }
        let counts = Counted {
            time: arrived.time,
            sequence: arrived.number as u16,
            timestamp: arrived.timestamp,
            payload_type: arrived.payload_type,
            len: arrived.stored.len,
        };
        let Ok((number, overtaken)) = stream.arrive(&counts, &mut self.counters) else {
            return;
        };
        let arrived = Arrived {
            number,
            overtaken,
            ..arrived
        };
        self.handle_owned(of, slot, side, arrived, sink);
    }
}
