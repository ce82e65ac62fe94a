//! Blind transfers: a side that was told to call somebody else, and the call it then makes.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use super::{Facts, plain_number};
use crate::base::{Timestamp, Vantage};
use crate::engine::plan::CallKey;

/// How long after a REFER its INVITE may come.
const PATIENCE: Duration = Duration::from_secs(30);
/// Referrals that wait for their INVITE; beyond it the oldest goes.
const MAX_REFERRALS: usize = 1024;

/// That whoever received a REFER will call a number (RFC 3515).
#[derive(Clone, Debug)]
pub struct Referral {
    /// The leg it was said in.
    pub leg: CallKey,
    pub at: Timestamp,
    pub vantage: Vantage,
    /// Who received it.
    pub host: IpAddr,
    /// User part of the target.
    pub to: String,
}

#[derive(Debug, Default)]
pub struct Referrals(VecDeque<Referral>);

impl Referrals {
    pub fn push(&mut self, mut referral: Referral) {
        let Some(number) = plain_number(&referral.to) else {
            return;
        };
        referral.to = number;
        if self.0.len() == MAX_REFERRALS {
            self.0.pop_front();
        }
        self.0.push_back(referral);
    }

    /// The leg whose referral a new one follows; once.
    pub fn take(&mut self, facts: &Facts<'_>) -> Option<CallKey> {
        while self
            .0
            .front()
            .is_some_and(|oldest| oldest.at + PATIENCE < facts.began)
        {
            self.0.pop_front();
        }
        let follows = |referral: &Referral| {
            let called = facts.callee.iter().filter_map(|user| plain_number(user));
            referral.vantage == facts.vantage
                && referral.host == facts.source.ip()
                && called.into_iter().any(|number| number == referral.to)
        };
        let at = self.0.iter().position(follows)?;
        self.0.remove(at).map(|referral| referral.leg)
    }
}
