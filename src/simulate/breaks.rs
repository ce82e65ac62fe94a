//! The grid of one side's packets, and what interrupts it.

use super::plan::{CallPlan, MILLISECOND};
use super::random::Random;
use super::{Codec, HoldKind};
use crate::base::Side;

const DIGIT: i64 = 160 * MILLISECOND;
const GAP: i64 = 400 * MILLISECOND;

/// Times of the slots: the sender's clock may run fast or slow.
#[derive(Debug)]
pub(super) struct Slots {
    pub start: i64,
    /// In 2^-20 ns.
    pub interval: u64,
}

impl Slots {
    #[inline]
    pub fn time(&self, slot: u64) -> i64 {
        self.start + ((u128::from(slot) * u128::from(self.interval)) >> 20) as i64
    }

    /// The slot nearest to `time`.
    pub fn at(&self, time: i64) -> u64 {
        let since = (time - self.start).max(0) as u128;
        (((since << 20) + u128::from(self.interval / 2)) / u128::from(self.interval)) as u64
    }
}

/// Something that happens to the grid from a slot on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Break {
    pub slot: u64,
    pub cause: Cause,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    Hold { until: u64 },
    Gap { until: u64 },
    Digit { until: u64, event: u8 },
    NewSource,
    NewCodec(Codec),
}

/// What interrupts one side, in order of slots and without overlap of quiet times.
pub(super) fn breaks(
    plan: &CallPlan,
    side: Side,
    slots: &Slots,
    end_slot: u64,
    random: &mut Random,
) -> Vec<Break> {
    let (start, end) = (slots.time(0).max(plan.answer), slots.time(end_slot));
    let talk = end - start;
    let ssrc_change = plan.traits.ssrc_change && talk > 500 * MILLISECOND;
    let mut timetable = Timetable {
        slots,
        end,
        held: held(plan, side),
        new_source: ssrc_change.then_some(start + talk * 4 / 5),
        new_codec: plan.codec_change.map(|at| at + 30 * MILLISECOND),
        free_from: start,
        breaks: Vec::new(),
    };
    timetable.add_changes(plan);
    let traits = plan.traits;
    let mut at = start + 300 * MILLISECOND;
    while at < end && (traits.dtmf || traits.comfort_noise) {
        let event = random.below(12) as u8;
        if traits.dtmf && random.below(2) == 0 {
            timetable.add_quiet(at, DIGIT, |until| Cause::Digit { until, event });
        } else if traits.comfort_noise {
            timetable.add_quiet(at, GAP, |until| Cause::Gap { until });
        }
        at += (900 + random.below(2_000) as i64) * MILLISECOND;
    }
    timetable.breaks.sort_by_key(|b| b.slot);
    timetable.breaks
}

/// When a hold takes effect on a side, from and to, and whether the side goes on sending.
#[derive(Clone, Copy)]
struct Held {
    from: i64,
    to: i64,
    has_music: bool,
}

fn held(plan: &CallPlan, side: Side) -> Option<Held> {
    let hold = plan.hold?;
    let is_holder = hold.by == side;
    // The answer to a re-INVITE takes 10 ms; its sender learns of it then.
    let lag = if is_holder { 15 } else { 10 } * MILLISECOND;
    let has_music = is_holder && hold.kind == HoldKind::Music;
    Some(Held {
        from: hold.from + lag,
        to: hold.to + lag,
        has_music,
    })
}

/// The breaks of one side while they are laid out. Times, not slots.
struct Timetable<'a> {
    slots: &'a Slots,
    end: i64,
    held: Option<Held>,
    new_source: Option<i64>,
    new_codec: Option<i64>,
    free_from: i64,
    breaks: Vec<Break>,
}

/// Kept between a quiet time and anything else.
const APART: i64 = 100 * MILLISECOND;

impl Timetable<'_> {
    fn add(&mut self, time: i64, cause: Cause) {
        self.breaks.push(Break {
            slot: self.slots.at(time),
            cause,
        });
    }

    fn add_changes(&mut self, plan: &CallPlan) {
        if let Some(held) = self.held.filter(|held| !held.has_music) {
            let until = self.slots.at(held.to);
            self.add(held.from, Cause::Hold { until });
        }
        if let Some(at) = self.new_source {
            self.add(at, Cause::NewSource);
        }
        if let Some(at) = self.new_codec {
            self.add(at, Cause::NewCodec(plan.codec.successor()));
        }
    }

    /// Adds a quiet time of `length`, if there is room for it.
    fn add_quiet(&mut self, from: i64, length: i64, cause: impl FnOnce(u64) -> Cause) {
        let to = from + length;
        if from < self.free_from || !self.is_free(from - APART, to + APART) {
            return;
        }
        self.free_from = to + APART;
        let until = self.slots.at(to).max(self.slots.at(from) + 1);
        self.add(from, cause(until));
    }

    fn is_free(&self, from: i64, to: i64) -> bool {
        let is_clear = |at: Option<i64>| at.is_none_or(|at| at < from || to < at);
        to < self.end
            && self
                .held
                .is_none_or(|held| to < held.from || from > held.to)
            && is_clear(self.new_source)
            && is_clear(self.new_codec)
    }
}
