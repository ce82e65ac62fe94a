//! Calls that found no room: each is counted, and told of as far as a flood allows.

use super::*;

/// Refused calls told of in one second of capture time: a person wants to find a call, not a flood.
const TOLD_A_SECOND: u32 = 100;
/// Refused calls remembered, so that a repeated INVITE is not told of again.
const REMEMBERED: usize = 256;

/// What was told lately.
#[derive(Debug, Default)]
pub(super) struct Refused {
    call_ids: VecDeque<Box<str>>,
    second: i64,
    told: u32,
}

impl Refused {
    /// Whether the refusal of a call is to be told.
    fn admits(&mut self, call_id: &str, time: Timestamp) -> bool {
        if self.call_ids.iter().any(|known| **known == *call_id) {
            return false;
        }
        let second = time.as_millis().div_euclid(1000);
        if std::mem::replace(&mut self.second, second) != second {
            self.told = 0;
        }
        if self.told == TOLD_A_SECOND {
            return false;
        }
        self.told += 1;
        if self.call_ids.len() == REMEMBERED {
            self.call_ids.pop_front();
        }
        self.call_ids.push_back(call_id.into());
        true
    }
}

impl Signalling {
    /// Counts an INVITE for which there is no room, and tells that it was not followed.
    #[cold]
    pub(super) fn refuse(&mut self, envelope: &Envelope<'_, '_>, orders: &mut Orders) {
        self.counters.calls_refused += 1;
        if !self.refused.admits(envelope.call_id, envelope.time) {
            return;
        }
        let key = CallKey(self.next_key);
        self.next_key += 1;
        let mut info = self.new_leg(key, envelope, Side::Caller, true).info;
        for owner in &mut Arc::make_mut(&mut info).owners {
            owner.refusal = Some(Disposition::Capacity);
        }
        orders.push(Order::Tell(key, info.clone()));
        orders.push(Order::End(Box::new(SignallingEnd {
            call: key,
            info,
            ended_at: envelope.time,
            reason: EndReason::Capacity,
            status: None,
            holds: Vec::new(),
            digits: Vec::new(),
            suspicious_requests: 0,
            signalling_omitted: 0,
            heard: Default::default(),
        })));
    }
}
