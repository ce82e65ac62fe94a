//! Keys that are pressed, as telephone-events (RFC 4733), and whose they are.
//!
//! Keys say things of a call and steer its recording. Only a side's voice presses them, or who sends from the same place as that: a
//! gateway sends digits under an SSRC of their own.

use super::call::is_unnamed;
use super::moving::Answer;
use super::*;

impl Media {
    /// Takes a packet of a key. Whether its sender is the side's voice is known only when the track was contested.
    #[inline(never)]
    pub(super) fn handle_event(
        &mut self,
        id: u32,
        slot: u32,
        side: Side,
        meaning: Meaning,
        arrived: Arrived,
        sink: &mut impl Sink,
    ) {
        let Some(call) = self.calls.get(slot) else {
            return;
        };
        let is_voice = call.tracks[side].holder == Some(id);
        let is_placed = call.record && (is_voice || self.win_track(id, slot, side, &arrived, sink));
        if self.may_press(id, slot, side) {
            self.press(id, slot, side, &arrived);
        }
        if is_placed && !self.hold_event(id, &arrived) {
            self.place(id, slot, side, meaning, arrived, sink);
        }
    }

    /// Whether keys of a stream are its side's. Where no voice was heard, or none is looked for, they are those of anybody but a host that
    /// the side had not named, while one is heard that it had.
    pub(super) fn may_press(&self, id: u32, slot: u32, side: Side) -> bool {
        let (Some(call), Some(stream)) = (self.calls.get(slot), self.streams.get(id)) else {
            return false;
        };
        let holder = call.tracks[side].holder;
        if let Some((holder, held)) = holder.and_then(|id| Some((id, self.streams.get(id)?))) {
            return holder == id || held.key.flow.source == stream.key.flow.source;
        }
        let is_foreign = |stream: &Stream| {
            let answered = self.answer_to(slot, side, stream) != Answer::No;
            is_unnamed(stream, &call.plan, side, answered)
        };
        let of_side =
            |stream: &&Stream| matches!(stream.owner, Owner::Call { side: by, .. } if by == side);
        let mut streams = call.streams.iter().filter_map(|&id| self.streams.get(id));
        !is_foreign(stream) || streams.all(|other| !of_side(&other) || is_foreign(other))
    }

    /// Notes the keys of what waited until its sender was known to be the side.
    #[cold]
    pub(super) fn press_contested(&mut self, id: u32, slot: u32, side: Side) {
        let (Some(stream), Some(call)) = (self.streams.get_mut(id), self.calls.get(slot)) else {
            return;
        };
        let is_event =
            |payload_type| call.format(side, payload_type).codec == Codec::TelephoneEvent;
        let waiting = stream.kept.iter();
        for kept in waiting.filter(|kept| !kept.is_whole && is_event(kept.payload_type)) {
            let key = stream.digits.collect(kept.timestamp, &kept.bytes);
            self.pressed.extend(pressed(call, side, kept.time, key));
        }
    }

    /// Notes a key, the first time that a packet tells of it.
    pub(super) fn press(&mut self, id: u32, slot: u32, side: Side, arrived: &Arrived) {
        let (Some(stream), Some(call)) = (self.streams.get_mut(id), self.calls.get(slot)) else {
            return;
        };
        let payload = self.payloads.bytes(arrived.stored);
        let key = stream.digits.collect(arrived.timestamp, payload);
        self.pressed.extend(pressed(call, side, arrived.time, key));
    }
}

/// What is told of a key.
fn pressed(
    call: &MediaCall,
    by: Side,
    at: Timestamp,
    key: Option<char>,
) -> Option<(CallKey, Digit)> {
    let key = key?;
    Some((call.plan.call, Digit { by, at, key }))
}
