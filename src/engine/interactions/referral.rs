//! Blind transfers: a side that was told to call somebody else, and the call it then makes.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use super::hop::Hop;
use super::plain_number;
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

    /// The leg whose referral a new one follows, of those that `fits` says it may be of; once.
    pub fn take(
        &mut self,
        hop: &Hop,
        began: Timestamp,
        fits: impl Fn(CallKey) -> bool,
    ) -> Option<CallKey> {
        let over = |oldest: &mut Referral| oldest.at + PATIENCE < began;
        while self.0.pop_front_if(over).is_some() {}
        let at = self.0.iter().position(|referral| {
            referral.vantage == hop.vantage
                && referral.host == hop.source.ip()
                && hop.callee.iter().any(|number| **number == *referral.to)
                && fits(referral.leg)
        })?;
        self.0.remove(at).map(|referral| referral.leg)
    }
}
