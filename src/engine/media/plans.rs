//! Calls as plans tell them: where their media is expected, and what is said of it in the end.

use std::sync::Arc;

use super::*;
use crate::base::PerSide;
use crate::engine::quality;

/// What media says of a call that is over.
#[derive(Debug)]
pub struct MediaEnd {
    pub disposition: Disposition,
    pub length_samples: u64,
    pub streams: Vec<StreamReport>,
    /// Packets from where no side said it would send.
    pub suspicious_packets: u64,
    /// As [`super::super::event::CallEnd::may_send`].
    pub may_send: PerSide<bool>,
}

impl MediaEnd {
    /// Of a call for which no media was ever expected.
    pub fn nothing(answered: bool) -> MediaEnd {
        let disposition = if answered {
            Disposition::NoMedia
        } else {
            Disposition::NotAnswered
        };
        MediaEnd {
            disposition,
            length_samples: 0,
            streams: Vec::new(),
            suspicious_packets: 0,
            may_send: PerSide::default(),
        }
    }
}

impl Media {
    /// Takes a plan: a new call, or a change of one, told of `now`. Streams that were waiting for it are placed.
    pub fn handle_plan(&mut self, plan: Arc<MediaPlan>, now: Timestamp, sink: &mut impl Sink) {
        let slot = match self.by_key.get(&plan.call) {
            Some(&slot) => {
                self.withdraw(slot);
                let call = self
                    .calls
                    .get_mut(slot)
                    .expect("the key table names calls that are there");
                call.record = plan.record;
                let paused_otherwise = call.plan.pauses != plan.pauses;
                call.note_directions(&plan);
                call.plan = plan;
                if paused_otherwise {
                    call.cut_pauses(&self.payloads);
                }
                for id in call.streams.clone() {
                    if let Some(stream) = self.streams.get_mut(id) {
                        stream.mean(None);
                    }
                    self.count_for(id, |media| media.protect(id, sink));
                }
                slot
            }
            None => {
                let key = plan.call;
                let slot = self.calls.insert(MediaCall::new(plan));
                self.by_key.insert(key, slot);
                slot
            }
        };
        let places = self.publish(slot);
        for (vantage, endpoint, _) in places {
            self.offer_streams_at(vantage, endpoint, now, sink);
        }
        self.share_anew(slot, now, sink);
    }

    /// Those who have a stream of the call in `slot` too may not any more, or others may: at the places that its plan names they were
    /// asked.
    fn share_anew(&mut self, slot: u32, now: Timestamp, sink: &mut impl Sink) {
        let Some(call) = self.calls.get(slot) else {
            return;
        };
        for id in call.streams.clone() {
            let is_shared = |stream: &Stream| stream.sharing != Sharing::Alone;
            if self.streams.get(id).is_some_and(is_shared)
                && let Some(first) = self.first_of(id)
            {
                self.share(first, None, now, sink);
            }
        }
    }

    /// Enters the endpoints of the call in `slot`: those of its plan, then those learned.
    fn publish(&mut self, slot: u32) -> SmallVec<[(Vantage, Endpoint, Side); 4]> {
        let Some(call) = self.calls.get(slot) else {
            return SmallVec::new();
        };
        let places = call.planned_places();
        for &(vantage, endpoint, side) in &places {
            self.endpoints.insert(
                vantage,
                endpoint,
                Receiver {
                    slot,
                    side,
                    learned: false,
                },
            );
        }
        for &(vantage, endpoint, side) in &call.learned {
            self.endpoints.insert(
                vantage,
                endpoint,
                Receiver {
                    slot,
                    side,
                    learned: true,
                },
            );
        }
        for (rtcp, rtp) in call.rtcp_places() {
            self.rtcp_places.insert(rtcp, rtp);
        }
        places
    }

    fn withdraw(&mut self, slot: u32) {
        let Some(call) = self.calls.get(slot) else {
            return;
        };
        for (vantage, endpoint, _) in call
            .planned_places()
            .into_iter()
            .chain(call.learned.iter().copied())
        {
            self.endpoints.remove(vantage, endpoint, slot);
        }
        for (rtcp, _) in call.rtcp_places() {
            self.rtcp_places.remove(&rtcp);
        }
    }

    /// Places what still waits for packets that agree with it.
    fn place_all_kept(&mut self, call: &mut MediaCall, sink: &mut impl Sink) {
        for id in call.streams.clone() {
            if let Some(stream) = self.streams.get_mut(id)
                && let Owner::Call { side, .. } = stream.owner
            {
                let mut placing = Placing {
                    stream,
                    call,
                    side,
                    payloads: &mut self.payloads,
                    counters: &mut self.counters,
                };
                placing.place_kept(&mut self.kept_bytes, sink);
            }
        }
    }

    /// Who was in doubt until the end was not the side.
    fn drop_all_doubted(&mut self, slot: u32) {
        let streams = self.calls.get(slot).map(|call| call.streams.clone());
        for id in streams.into_iter().flatten() {
            if let Some(stream) = self.streams.get(id)
                && stream.doubt.is_some()
                && let Owner::Call { side, .. } = stream.owner
            {
                self.drop_doubted(id, slot, side);
            }
        }
    }

    /// Ends a call: hands on what is open, and reports. `None` for a call that no plan was made for.
    ///
    /// `pad_to`: time up to which the timeline is the call's, though nothing may have been heard.
    pub fn end_call(
        &mut self,
        key: CallKey,
        pad_to: Option<Timestamp>,
        answered: bool,
        sink: &mut impl Sink,
    ) -> Option<MediaEnd> {
        self.end_trials(*self.by_key.get(&key)?, Timestamp::MAX, sink);
        let slot = self.by_key.remove(&key)?;
        self.withdraw(slot);
        self.timers.cancel(MediaTimer::BlockDue(key));
        for id in self.calls.get(slot)?.streams.clone() {
            self.count_for(id, |media| media.drop_protection(id));
        }
        self.drop_all_doubted(slot);
        let mut call = self.calls.remove(slot)?;
        self.place_all_kept(&mut call, sink);
        if call.timeline.is_some() {
            call.settle(&mut self.streams, &mut self.payloads, true, sink);
        }
        let mut streams = std::mem::take(&mut call.departed);
        for id in std::mem::take(&mut call.streams) {
            let Some(stream) = self.streams.get(id) else {
                continue;
            };
            // What a copy heard was counted with the stream that it is a copy of. One that was claimed by its addresses and
            // never sent says nothing.
            if let Owner::Call { side, .. } = stream.owner
                && stream.is_reported()
            {
                streams.push(self.report(id, stream, side));
            }
            self.end_stream(id);
        }
        let mut length_samples = 0;
        if let Some(timeline) = &mut call.timeline {
            while let Some(block) = timeline.close(&mut self.payloads) {
                sink.event(Event::Block { call: key, block });
            }
            let padded = pad_to.map_or(0, |to| timeline.position_at(to));
            length_samples = timeline.end().max(padded).max(0) as u64;
        }
        quality::conclude(&mut streams);
        let disposition = call.heard.disposition(answered);
        self.arm_sweep();
        Some(MediaEnd {
            disposition,
            length_samples,
            streams,
            suspicious_packets: call.suspicious_packets,
            may_send: call.may_send,
        })
    }

    /// The call of a stream is over. Another one that has it too goes on with it.
    fn end_stream(&mut self, id: u32) {
        match self.streams.get(id).map(|stream| stream.sharing) {
            None => return,
            Some(Sharing::Twin) => return self.forget_twin(self.first_of(id), id),
            Some(Sharing::First) if self.hand_on(id) => return,
            Some(Sharing::First | Sharing::Alone) => {}
        }
        if let Some(stream) = self.streams.get_mut(id) {
            stream.owner = Owner::Ended;
            self.orphans.push_back((id, stream.key));
        }
        self.twins.forget_counts(id);
    }
}
