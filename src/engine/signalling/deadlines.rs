//! What happens when nothing is heard for too long, and in the end.

use super::*;

/// Who said goodbye and had no answer, and still speaks after this time, said nothing: somebody else did.
const FORGED: Duration = Duration::from_secs(2);
/// Between two packets of somebody who speaks.
const SPEAKS: Duration = Duration::from_millis(250);

impl Signalling {
    /// Runs the timers due at `now`. `last_media` tells when media of each side of a call was last seen.
    pub fn handle_timeout(
        &mut self,
        now: Timestamp,
        last_media: impl Fn(CallKey) -> PerSide<Option<Timestamp>>,
        orders: &mut Orders,
    ) {
        let media_of = last_media;
        let last_media = |key| media_of(key).iter().filter_map(|(_, at)| *at).max();
        while let Some((at, timer)) = self.timers.pop_due(now) {
            match timer {
                LegTimer::Linger(key) => self.check_bye(key, at, media_of(key), orders),
                LegTimer::Setup(key) => self.check_setup(key, at, &last_media, orders),
                LegTimer::Retry(key) => {
                    if let Some(State::Refused { status }) =
                        self.legs.get(&key).map(|leg| leg.state)
                    {
                        self.end(key, at, EndReason::Rejected { status }, orders);
                    }
                }
                LegTimer::Idle(key) => self.check_idle(key, at, &last_media, orders),
                LegTimer::TooLong(key) => self.end(key, at, EndReason::TooLong, orders),
                LegTimer::Forget(key) => {
                    // Mostly the oldest is the first to be forgotten.
                    match self.over.front() == Some(&key) {
                        true => drop(self.over.pop_front()),
                        false => self.over.retain(|over| *over != key),
                    }
                    self.forget(key);
                }
            }
        }
        self.interactions.handle_timeout(now);
        self.tell_of_links(now, orders);
    }

    /// A while after a BYE: the call is over, unless nobody answered it and who is said to have sent it speaks on.
    fn check_bye(
        &mut self,
        key: CallKey,
        now: Timestamp,
        media: PerSide<Option<Timestamp>>,
        orders: &mut Orders,
    ) {
        let Some(leg) = self.legs.get_mut(&key) else {
            return;
        };
        let State::Ending(bye) = leg.state else {
            return;
        };
        let (by, at) = (bye.by, bye.at);
        let speaks = media[by].is_some_and(|last| last + SPEAKS > now);
        if bye.is_agreed || !speaks {
            self.end(key, at, EndReason::Bye { by }, orders);
        } else if now >= at + FORGED {
            leg.suspicious_requests += 1;
            self.go_on(key);
        } else {
            self.timers.set(LegTimer::Linger(key), now + LINGER);
        }
    }

    /// A call without a final answer: over, unless media says that the answer was missed.
    fn check_setup(
        &mut self,
        key: CallKey,
        at: Timestamp,
        last_media: &impl Fn(CallKey) -> Option<Timestamp>,
        orders: &mut Orders,
    ) {
        let Some(leg) = self.legs.get(&key) else {
            return;
        };
        if leg.cancelled {
            return self.end(key, at, EndReason::Cancelled, orders);
        }
        let heard = last_media(key).map_or(Timestamp::MIN, |media| media.max(leg.last_at));
        if heard + LINGER * 20 > at {
            self.timers.set(LegTimer::Setup(key), heard + LINGER * 20);
        } else {
            self.end(key, at, EndReason::SetupTimeout, orders);
        }
    }

    fn check_idle(
        &mut self,
        key: CallKey,
        at: Timestamp,
        last_media: &impl Fn(CallKey) -> Option<Timestamp>,
        orders: &mut Orders,
    ) {
        let Some(leg) = self.legs.get(&key) else {
            return;
        };
        // Media that never came goes another way: its silence says nothing about the call.
        let media = last_media(key);
        let patience = if leg.on_hold() || media.is_none() {
            self.limits.idle_on_hold
        } else {
            self.limits.idle
        };
        let last = media.map_or(leg.last_at, |media| media.max(leg.last_at));
        let due = last + patience;
        if let Some(since) = leg.reused_since(last) {
            self.end(key, since, EndReason::PortsReused, orders);
        } else if due <= at {
            self.end(key, at, EndReason::MediaTimeout, orders);
        } else if last > at {
            // Of a capture whose clock jumps.
            self.timers.set(LegTimer::Idle(key), due);
        } else {
            // Media may begin, and a hold end, at any time: what to wait for is asked again.
            let again = due.min(at + self.limits.idle);
            self.timers.set(LegTimer::Idle(key), again);
        }
    }

    /// Ends all calls: the capture is over, or the daemon.
    pub fn finish(&mut self, now: Timestamp, reason: EndReason, orders: &mut Orders) {
        self.interactions.handle_timeout(Timestamp::MAX);
        self.tell_of_links(now, orders);
        let mut keys: Vec<CallKey> = self
            .legs
            .values()
            .filter(|leg| leg.is_open())
            .map(|leg| leg.key)
            .collect();
        keys.sort_unstable();
        for key in keys {
            let (at, reason) = match self.legs.get(&key).map(|leg| leg.state) {
                Some(State::Ending(bye)) => (bye.at, EndReason::Bye { by: bye.by }),
                Some(State::Refused { status }) => (now, EndReason::Rejected { status }),
                _ => (now, reason),
            };
            self.end(key, at, reason, orders);
        }
    }
}
