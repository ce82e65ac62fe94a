//! All calls of a scenario, packet by packet in order of time.

use std::cmp::Reverse;
use std::collections::binary_heap::PeekMut;
use std::collections::{BinaryHeap, VecDeque};

use super::plan::{CallPlan, Fate, MILLISECOND, nanos};
use super::signalling::Signalling;
use super::sink::FrameSink;
use super::stream::Stream;
use super::truth::{Disposition, HoldSpan, Truth, TruthCall};
use super::{Error, Scenario};
use crate::base::{PerSide, Side, Timestamp};

/// The packets of a scenario, made one at a time: only calls in progress are in memory, and of these no packet but those
/// that the simulated network holds back.
#[derive(Debug)]
pub struct Simulation {
    scenario: Scenario,
    next_call: u32,
    /// Of the call admitted last.
    last_invite: i64,
    /// Of the latest calls, as many as there may be at a time.
    ends: VecDeque<i64>,
    calls: Vec<Option<Box<ActiveCall>>>,
    free: Vec<u32>,
    due: BinaryHeap<Reverse<Due>>,
    frame: Vec<u8>,
    scratch: Vec<i16>,
    truth: Truth,
}

/// The next packet of one source of one call in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    time: i64,
    /// Place among the calls in progress, times three, plus the source.
    source: u32,
}

const SOURCES: u32 = 3;

#[derive(Debug)]
struct ActiveCall {
    plan: CallPlan,
    signalling: Signalling,
    streams: PerSide<Option<Stream>>,
    sip_frames: u64,
    last_frame: i64,
    /// Sources that have packets to send.
    open: u32,
}

/// No packet of a call is earlier than this before its INVITE is due.
const EARLIEST: i64 = 2_100 * MILLISECOND;

impl Simulation {
    /// # Errors
    ///
    /// [`Error::Scenario`] if a setting is out of its range.
    pub fn new(scenario: &Scenario) -> Result<Simulation, Error> {
        scenario.check()?;
        Ok(Simulation {
            scenario: scenario.clone(),
            next_call: 0,
            last_invite: scenario.start.as_nanos(),
            ends: VecDeque::new(),
            calls: Vec::new(),
            free: Vec::new(),
            due: BinaryHeap::new(),
            frame: Vec::with_capacity(2048),
            scratch: Vec::with_capacity(1024),
            truth: Truth {
                seed: scenario.seed,
                frames: 0,
                bytes: 0,
                unsent: 0,
                calls: Vec::new(),
            },
        })
    }

    /// Gives the next frame to the sink; false when there is none left.
    ///
    /// # Errors
    ///
    /// [`Error::Frame`] if the sink fails.
    pub fn write_next<S: FrameSink + ?Sized>(&mut self, sink: &mut S) -> Result<bool, Error> {
        self.admit();
        let Some(mut top) = self.due.peek_mut() else {
            return Ok(false);
        };
        let Reverse(Due { time, source }) = *top;
        let place = source / SOURCES;
        let call = self.calls[place as usize]
            .as_deref_mut()
            .expect("a source is due only while its call is in progress");
        let next = call.emit(source % SOURCES, time, &mut self.scratch, &mut self.frame);
        if let Some(next) = next {
            top.0.time = next;
            drop(top);
        } else {
            PeekMut::pop(top);
            if call.open == 0 {
                self.retire(place);
            }
        }
        let time = Timestamp::from_nanos(time);
        self.truth.frames += 1;
        self.truth.bytes += self.frame.len() as u64;
        sink.frame(time, &self.frame)
            .map_err(|source| Error::Frame { time, source })?;
        Ok(true)
    }

    /// Frames written so far.
    pub fn frames(&self) -> u64 {
        self.truth.frames
    }

    /// Calls in progress.
    pub fn calls_in_progress(&self) -> usize {
        self.calls.len() - self.free.len()
    }

    /// What was sent, of the calls that are over: all, once [`Simulation::write_next`] has said so.
    pub fn into_truth(mut self) -> Truth {
        self.truth.calls.sort_by_key(|call| call.index);
        self.truth
    }

    /// Lets in every call that may have a packet before the next one.
    fn admit(&mut self) {
        while self.next_call < self.scenario.calls {
            let mut invite = self.last_invite;
            if self.next_call > 0 {
                invite += nanos(self.scenario.spacing);
            }
            let limit = self.scenario.concurrent.unwrap_or(u32::MAX) as usize;
            if self.ends.len() >= limit {
                // Room for what is sent after a BYE, and for media before an INVITE.
                let ahead = nanos(self.scenario.media_ahead);
                let ahead = if self.scenario.features.media_ahead > 0 {
                    ahead
                } else {
                    0
                };
                let end = self
                    .ends
                    .front()
                    .map_or(0, |end| end + ahead + 600 * MILLISECOND);
                invite = invite.max(end);
            }
            if self
                .due
                .peek()
                .is_some_and(|Reverse(due)| due.time < invite - EARLIEST)
            {
                return;
            }
            let plan = CallPlan::new(&self.scenario, self.next_call, invite);
            self.last_invite = invite;
            if self.scenario.concurrent.is_some() {
                self.ends.push_back(plan.end);
                if self.ends.len() > limit {
                    self.ends.pop_front();
                }
            }
            self.next_call += 1;
            self.begin(plan);
        }
    }

    fn begin(&mut self, plan: CallPlan) {
        let stream = |side| Stream::new(&self.scenario, &plan, side);
        let mut call = Box::new(ActiveCall {
            signalling: Signalling::new(&plan),
            streams: PerSide {
                caller: stream(Side::Caller),
                callee: stream(Side::Callee),
            },
            plan,
            sip_frames: 0,
            last_frame: 0,
            open: 0,
        });
        let place = self.free.pop().unwrap_or_else(|| {
            self.calls.push(None);
            self.calls.len() as u32 - 1
        });
        for source in 0..SOURCES {
            if let Some(time) = call.next_time(source) {
                call.open += 1;
                self.due.push(Reverse(Due {
                    time,
                    source: place * SOURCES + source,
                }));
            }
        }
        self.calls[place as usize] = Some(call);
    }

    fn retire(&mut self, place: u32) {
        if let Some(call) = self.calls[place as usize].take() {
            self.free.push(place);
            self.truth.calls.push(call.into_truth());
        }
    }
}

impl ActiveCall {
    fn next_time(&mut self, source: u32) -> Option<i64> {
        match source {
            0 => self.signalling.next_time(),
            1 => self.streams.caller.as_mut()?.next_time(),
            _ => self.streams.callee.as_mut()?.next_time(),
        }
    }

    /// Puts a source's next packet in `frame` and says when its next one is due.
    fn emit(
        &mut self,
        source: u32,
        time: i64,
        scratch: &mut Vec<i16>,
        frame: &mut Vec<u8>,
    ) -> Option<i64> {
        self.last_frame = time;
        let stream = match source {
            0 => {
                self.sip_frames += 1;
                self.signalling.emit(&self.plan, frame);
                None
            }
            1 => self.streams.caller.as_mut(),
            _ => self.streams.callee.as_mut(),
        };
        if let Some(stream) = stream {
            stream.emit(scratch, frame);
        }
        let next = self.next_time(source);
        if next.is_none() {
            self.open -= 1;
        }
        next
    }

    fn into_truth(self) -> TruthCall {
        let plan = self.plan;
        let side = |stream: Option<Stream>| stream.map(Stream::into_truth).unwrap_or_default();
        let sides = PerSide {
            caller: side(self.streams.caller),
            callee: side(self.streams.callee),
        };
        let is_heard = sides.iter().any(|(_, side)| !side.delivered().is_empty());
        let disposition = match plan.fate {
            Fate::Answered if is_heard => Disposition::Recorded,
            Fate::Answered => Disposition::NoMedia,
            Fate::Cancelled => Disposition::Cancelled,
            Fate::Rejected(status) => Disposition::Rejected(status),
        };
        let answered = plan.fate == Fate::Answered;
        let has_bye = answered && !plan.traits.no_bye;
        let hold = plan.hold.map(|hold| HoldSpan {
            by: hold.by,
            kind: hold.kind,
            from_ns: hold.from + 10 * MILLISECOND,
            to_ns: hold.to + 10 * MILLISECOND,
        });
        TruthCall {
            index: plan.index,
            sip_call_id: plan.sip_call_id,
            caller: plan.parties.caller.number,
            callee: plan.parties.callee.number,
            tenant: plan.tenant,
            users: PerSide {
                caller: plan.parties.caller.user,
                callee: plan.parties.callee.user,
            },
            disposition,
            started_ns: plan.invite,
            answered_ns: answered.then_some(plan.answer),
            ended_ns: if has_bye || !answered {
                plan.end
            } else {
                self.last_frame
            },
            has_bye,
            holds: hold.into_iter().collect(),
            sip_frames: self.sip_frames,
            sides,
        }
    }
}

/// Sends a whole scenario to a sink and says what was sent.
///
/// # Errors
///
/// [`Error::Scenario`] if a setting is out of its range, [`Error::Frame`] if the sink fails.
pub fn generate<S: FrameSink + ?Sized>(scenario: &Scenario, sink: &mut S) -> Result<Truth, Error> {
    generate_with(scenario, sink, |_| {})
}

/// As [`generate`], with a word after every thousandth frame: how many there were.
///
/// # Errors
///
/// As [`generate`].
pub fn generate_with<S: FrameSink + ?Sized>(
    scenario: &Scenario,
    sink: &mut S,
    mut progress: impl FnMut(u64),
) -> Result<Truth, Error> {
    let mut simulation = Simulation::new(scenario)?;
    while simulation.write_next(sink)? {
        if simulation.frames() % 1000 == 0 {
            progress(simulation.frames());
        }
    }
    let last = Timestamp::from_nanos(simulation.last_invite);
    sink.finish()
        .map_err(|source| Error::Frame { time: last, source })?;
    let mut truth = simulation.into_truth();
    truth.unsent = sink.unsent();
    truth.shift(sink.shift_ns());
    Ok(truth)
}
