//! Numbers, time and the host between: a leg that leaves the host which another one came to.

use std::net::IpAddr;
use std::time::Duration;

use smallvec::SmallVec;

use super::{Facts, Interactions, Kind, MAX_TOKENS, Token, plain_number};
use crate::base::{Endpoint, Timestamp, Vantage};
use crate::engine::event::LinkReason;
use crate::engine::plan::CallKey;

/// How much later the first of two legs may be seen: a mirror shows two ports of a switch in either order.
const DISORDER: Duration = Duration::from_millis(200);
/// As the window, where only the number called is the same: many may call it.
const CALLEE_ONLY: Duration = Duration::from_secs(2);

/// Where a leg went, and for whom.
#[derive(Debug)]
pub struct Hop {
    vantage: Vantage,
    source: Endpoint,
    destination: Endpoint,
    caller: SmallVec<[Box<str>; 2]>,
    callee: SmallVec<[Box<str>; 2]>,
}

/// How well two legs fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fit {
    key: CallKey,
    both: bool,
    caller: bool,
    apart: Duration,
}

impl Hop {
    pub fn new(facts: &Facts<'_>) -> Hop {
        let plain = |users: &[&str]| {
            let mut numbers: SmallVec<[Box<str>; 2]> = SmallVec::new();
            for number in users.iter().filter_map(|user| plain_number(user)) {
                if !numbers.contains(&number.as_str().into()) {
                    numbers.push(number.into());
                }
            }
            numbers
        };
        Hop {
            vantage: facts.vantage,
            source: facts.source,
            destination: facts.destination,
            caller: plain(&facts.caller),
            callee: plain(&facts.callee),
        }
    }

    pub fn shares_number(&self, other: &Hop) -> bool {
        share(&self.caller, &other.caller) || share(&self.callee, &other.callee)
    }

    /// Between the same two hosts, the same way round. On one host it is ports that tell.
    pub fn is_parallel_to(&self, other: &Hop) -> bool {
        if self.source.ip() == self.destination.ip() {
            (self.source, self.destination) == (other.source, other.destination)
        } else {
            (self.source.ip(), self.destination.ip()) == (other.source.ip(), other.destination.ip())
        }
    }

    /// Whether `next` leaves the host that this one came to. On one host it is ports that tell.
    fn leads_to(&self, next: &Hop) -> bool {
        let on_one_host = self.source.ip() == self.destination.ip();
        self.vantage == next.vantage
            && self.destination.ip() == next.source.ip()
            && (!on_one_host || self.destination.port == next.source.port)
            && !self.is_parallel_to(next)
    }

    fn tokens(&self, kind: Kind) -> SmallVec<[Token; 4]> {
        let host = match kind {
            Kind::CameTo => self.destination.ip(),
            _ => self.source.ip(),
        };
        let numbers = self.caller.iter().chain(&self.callee);
        numbers
            .map(|number| token(kind, &self.vantage, host, number))
            .collect()
    }
}

fn share(a: &[Box<str>], b: &[Box<str>]) -> bool {
    a.iter().any(|number| b.contains(number))
}

fn token(kind: Kind, vantage: &Vantage, host: IpAddr, number: &str) -> Token {
    let address = match host {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    let mut place = Vec::with_capacity(24);
    place.extend(vantage.interface.to_le_bytes());
    vantage
        .vlans
        .iter()
        .for_each(|vlan| place.extend(vlan.to_le_bytes()));
    place.extend(vantage.tunnels.to_bits().to_le_bytes());
    Token::of(kind, &[&place, &address, number.as_bytes()])
}

impl Interactions {
    /// Links a new leg to the one that came to where it left, and to one that left where it came to.
    pub(super) fn link_hops(&mut self, key: CallKey) {
        let Some(member) = self.members.get(&key) else {
            return;
        };
        let (left, came) = (
            member.hop.tokens(Kind::Left),
            member.hop.tokens(Kind::CameTo),
        );
        // Who came to the host that this one left; who left the host that this one came to.
        let before = self.fits(key, &member.hop.tokens_of_source(), |other, own| {
            other.leads_to(own)
        });
        let after = self.fits(key, &member.hop.tokens_of_destination(), |other, own| {
            own.leads_to(other)
        });
        let window = self.settings.window;
        for (fits, window) in [(before, window), (after, DISORDER)] {
            match choose(&fits, window) {
                Choice::One(other) => _ = self.link(other, key, LinkReason::Numbers),
                Choice::Several => self.counters.ambiguous += 1,
                Choice::None => {}
            }
        }
        for token in left.into_iter().chain(came) {
            if let Some(member) = self.members.get_mut(&key)
                && member.tokens.len() < MAX_TOKENS
                && !member.tokens.contains(&token)
            {
                member.tokens.push(token);
                self.index.insert(token, key);
            }
        }
    }

    fn fits(
        &self,
        key: CallKey,
        tokens: &[Token],
        is_next: impl Fn(&Hop, &Hop) -> bool,
    ) -> Vec<Fit> {
        let mut fits: Vec<Fit> = Vec::new();
        let Some(own) = self.members.get(&key) else {
            return fits;
        };
        for &other in tokens.iter().flat_map(|token| self.index.get(*token)) {
            let Some(member) = self.members.get(&other) else {
                continue;
            };
            if other == key || !member.open || fits.iter().any(|fit| fit.key == other) {
                continue;
            }
            let caller = share(&member.hop.caller, &own.hop.caller);
            let callee = share(&member.hop.callee, &own.hop.callee);
            if (caller || callee) && is_next(&member.hop, &own.hop) {
                fits.push(Fit {
                    key: other,
                    both: caller && callee,
                    caller,
                    apart: apart(member.began, own.began),
                });
            }
        }
        fits
    }
}

impl Hop {
    /// As legs that came to this one's source are entered.
    fn tokens_of_source(&self) -> SmallVec<[Token; 4]> {
        self.tokens_at(Kind::CameTo, self.source.ip())
    }

    /// As legs that left this one's destination are entered.
    fn tokens_of_destination(&self) -> SmallVec<[Token; 4]> {
        self.tokens_at(Kind::Left, self.destination.ip())
    }

    fn tokens_at(&self, kind: Kind, host: IpAddr) -> SmallVec<[Token; 4]> {
        let numbers = self.caller.iter().chain(&self.callee);
        numbers
            .map(|number| token(kind, &self.vantage, host, number))
            .collect()
    }
}

fn apart(a: Timestamp, b: Timestamp) -> Duration {
    Duration::from_nanos(a.nanos_since(b).unsigned_abs())
}

enum Choice {
    One(CallKey),
    Several,
    None,
}

/// The one leg that fits: by both numbers, or, where none does at any time, by one.
fn choose(fits: &[Fit], window: Duration) -> Choice {
    let both = || fits.iter().filter(|fit| fit.both);
    let chosen: SmallVec<[CallKey; 2]> = if both().next().is_some() {
        both()
            .filter(|fit| fit.apart <= window)
            .map(|fit| fit.key)
            .collect()
    } else {
        fits.iter()
            .filter(|fit| {
                fit.apart
                    <= if fit.caller {
                        window
                    } else {
                        window.min(CALLEE_ONLY)
                    }
            })
            .map(|fit| fit.key)
            .collect()
    };
    match chosen[..] {
        [] => Choice::None,
        [one] => Choice::One(one),
        _ => Choice::Several,
    }
}
