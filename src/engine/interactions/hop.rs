//! Numbers, time and the host between: a leg that leaves the host which another one came to.

use std::net::IpAddr;
use std::time::Duration;

use smallvec::SmallVec;

use super::{Facts, Interactions, Kind, MAX_TOKENS, Member, Token, plain_number};
use crate::base::{Endpoint, Vantage};
use crate::engine::event::LinkReason;
use crate::engine::plan::CallKey;

/// How much later the first of two legs may be seen: a mirror shows two ports of a switch in either order. For so long a leg
/// waits for one that fits by both numbers, before one that fits by one of them is taken.
pub(super) const DISORDER: Duration = Duration::from_millis(200);
/// As the window, where only the number called is the same: many may call it.
const CALLEE_ONLY: Duration = Duration::from_secs(2);

/// Where a leg went, and for whom.
#[derive(Debug)]
pub struct Hop {
    pub(super) vantage: Vantage,
    pub(super) source: Endpoint,
    destination: Endpoint,
    pub(super) caller: SmallVec<[Box<str>; 2]>,
    pub(super) callee: SmallVec<[Box<str>; 2]>,
}

/// How well two legs fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fit {
    key: CallKey,
    /// The callers are the same; the callees are.
    caller: bool,
    callee: bool,
    /// Both callers are known, and are others.
    contradicts: bool,
    /// How much earlier the other leg began; negative where it began later.
    lead_nanos: i64,
}

impl Fit {
    fn both(&self) -> bool {
        self.caller && self.callee
    }

    fn is_within(&self, window: Duration) -> bool {
        let disorder = -(DISORDER.as_nanos() as i64);
        (disorder..=window.as_nanos() as i64).contains(&self.lead_nanos)
    }
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

    /// Whether one of these is the caller's or the callee's.
    pub fn names(&self, number: &str) -> bool {
        let numbers = self.caller.iter().chain(&self.callee);
        numbers.into_iter().any(|known| **known == *number)
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
    /// Links a new leg to the one that came to where it left, and to one that left where it came to, by both numbers.
    pub(super) fn link_hops(&mut self, key: CallKey) {
        let Some(member) = self.members.get(&key) else {
            return;
        };
        let (left, came) = (
            member.hop.tokens(Kind::Left),
            member.hop.tokens(Kind::CameTo),
        );
        let before = self.fits_before(key);
        let after = self.fits(key, &member.hop.tokens_of_destination(), |other, own| {
            own.leads_to(other)
        });
        let window = self.settings.window;
        let exact = |fit: &&Fit| fit.both() && fit.is_within(window);
        let before = before.iter().filter(exact).map(|fit| fit.key).collect();
        let late = |fit: &&Fit| fit.both() && fit.lead_nanos <= DISORDER.as_nanos() as i64;
        // A leg that leaves a host comes of one other.
        let after = (after.iter().filter(late).map(|fit| fit.key))
            .filter(|&other| !self.has_cause(other))
            .collect();
        for candidates in [before, after] {
            self.link_only(key, candidates);
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

    /// Links a leg that waited, and that none fits by both numbers, to the only one that fits by one.
    pub(super) fn settle_hop(&mut self, key: CallKey) {
        let fits = self.fits_before(key);
        if self.has_cause(key) || fits.iter().any(Fit::both) {
            return;
        }
        let window = self.settings.window;
        let suits = |fit: &&Fit| {
            let window = match fit.caller {
                true => window,
                false => window.min(CALLEE_ONLY),
            };
            fit.is_within(window) && self.is_free(fit)
        };
        let (worse, better): (Vec<&Fit>, Vec<&Fit>) =
            fits.iter().filter(suits).partition(|fit| fit.contradicts);
        let candidates = if better.is_empty() { worse } else { better };
        self.link_only(key, candidates.iter().map(|fit| fit.key).collect());
    }

    fn link_only(&mut self, key: CallKey, candidates: SmallVec<[CallKey; 2]>) {
        match candidates[..] {
            [] => {}
            [one] => _ = self.link(one, key, LinkReason::Numbers),
            _ => self.counters.ambiguous += 1,
        }
    }

    /// Whether a leg may have another one, by one number, that leaves where it came to. A PBX that rings many phones has many;
    /// not where both numbers of one are the same, nor for another caller.
    fn is_free(&self, fit: &Fit) -> bool {
        let Some(own) = self.members.get(&fit.key) else {
            return false;
        };
        !self.hops_of(fit.key).any(|(reason, other)| {
            let exact = reason != LinkReason::Numbers
                || share(&own.hop.caller, &other.hop.caller)
                    && share(&own.hop.callee, &other.hop.callee);
            own.hop.leads_to(&other.hop) && (exact || fit.contradicts)
        })
    }

    /// Whether it is known which leg came to where this one left.
    pub(super) fn has_cause(&self, key: CallKey) -> bool {
        let Some(own) = self.members.get(&key) else {
            return false;
        };
        self.hops_of(key)
            .any(|(_, other)| other.hop.leads_to(&own.hop))
    }

    /// Legs that last, and are linked to this one as hops of one call.
    fn hops_of(&self, key: CallKey) -> impl Iterator<Item = (LinkReason, &Member)> {
        let ties = self.ties_of(key).iter();
        ties.filter(|tie| tie.reason.is_hop())
            .filter_map(|tie| Some((tie.reason, &**self.members.get(&tie.other)?)))
            .filter(|(_, other)| other.open)
    }

    /// Legs that came to the host that this one left.
    fn fits_before(&self, key: CallKey) -> Vec<Fit> {
        let tokens = self.members.get(&key).map(|own| own.hop.tokens_of_source());
        self.fits(key, &tokens.unwrap_or_default(), |other, own| {
            other.leads_to(own)
        })
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
                let known = !member.hop.caller.is_empty() && !own.hop.caller.is_empty();
                fits.push(Fit {
                    key: other,
                    caller,
                    callee,
                    contradicts: known && !caller,
                    lead_nanos: own.began.nanos_since(member.began),
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
