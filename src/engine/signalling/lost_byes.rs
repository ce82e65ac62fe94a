//! Calls whose BYE was not seen: what tells all the same that they are over.
//!
//! The answer to the BYE, where a mirror shows one direction only. And a later call that receives where this one did, of the same
//! hosts, while nothing was heard of this one since it began: phones and PBXs do not use a port twice at a time.

use std::net::IpAddr;

use super::*;
use crate::base::Endpoint;

/// After a later call has a place of this one.
const REUSED: Duration = Duration::from_secs(10);

/// Where a side receives, and which host signals for it: behind each NAT are the same private addresses.
pub(super) type Place = (Vantage, IpAddr, Endpoint);

/// Who receives where, by the latest that said so. Entries live and die with their calls.
pub(super) type Places = WireMap<Place, CallKey>;

impl Signalling {
    /// Takes the answer to a BYE that was not seen. It ends the call as the BYE does: unless who is said to have sent it speaks on.
    pub(super) fn infer_bye(
        &mut self,
        key: CallKey,
        asked: Side,
        envelope: &Envelope<'_, '_>,
        status: u16,
    ) {
        if matches!(status, 200..=299 | 481) && !self.goes_on_with_another(key) {
            self.handle_bye(key, asked, envelope);
        }
    }

    /// Notes where an answered call receives, and whose places these were before.
    pub(super) fn claim_places(&mut self, key: CallKey) {
        let Some(leg) = self
            .legs
            .get(&key)
            .filter(|leg| leg.state == State::Answered)
        else {
            return;
        };
        let places = leg.receives_at();
        if places == leg.places {
            return;
        }
        let (began, now) = (leg.from_start.then_some(leg.info.invite_at), leg.last_at);
        self.release_places(key);
        for (_, place) in places.iter() {
            let before = place.and_then(|place| self.places.insert(place, key));
            let Some(before) = before.and_then(|before| self.legs.get_mut(&before)) else {
                continue;
            };
            for side in Side::BOTH {
                if before.places[side] == *place {
                    before.reused[side] = began;
                }
            }
            let before_key = before.key;
            if before.asleep.is_some() {
                self.lay_to_rest(before_key);
            } else if before.is_open() && began.is_some() {
                self.timers.set(LegTimer::Idle(before_key), now + REUSED);
            }
        }
        if let Some(leg) = self.legs.get_mut(&key) {
            leg.places = places;
            leg.reused = PerSide::default();
        }
    }

    /// The places of a call are its no more.
    pub(super) fn release_places(&mut self, key: CallKey) {
        let Some(leg) = self.legs.get_mut(&key) else {
            return;
        };
        for (_, place) in std::mem::take(&mut leg.places).iter() {
            if let Some(place) = place
                && self.places.get(place) == Some(&key)
            {
                self.places.remove(place);
            }
        }
    }
}

impl Leg {
    fn receives_at(&self) -> PerSide<Option<Place>> {
        PerSide::of(|side| {
            let host = match side {
                Side::Caller => self.route.source.ip(),
                Side::Callee => self.route.destination.ip(),
            };
            let endpoint = self.descriptions.agreed[side].as_ref()?.endpoint?;
            Some((self.info.vantage, host, endpoint))
        })
    }

    /// When a later call began that has the places of this one, of which nothing was heard since `last`. One that is on hold may
    /// have lent its port to another call of the same phone.
    pub(super) fn reused_since(&self, last: Timestamp) -> Option<Timestamp> {
        let since = |side: Side| self.reused[side].filter(|since| last < *since);
        match (since(Side::Caller), since(Side::Callee)) {
            (Some(caller), Some(callee)) => Some(caller.min(callee)),
            (one, other) => one.or(other).filter(|_| !self.on_hold()),
        }
    }
}
