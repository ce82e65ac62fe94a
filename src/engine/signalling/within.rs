//! What is said within a call besides its media: keys pressed (INFO) and transfers (REFER, Replaces).

use super::*;
use crate::engine::event::{Digit, Transfer};
use crate::sip::Replaces;

/// Transfers kept of one call.
const MAX_NOTES: usize = 256;

impl Signalling {
    /// A key sent in the body of an INFO (`application/dtmf-relay`, `application/dtmf`), once however often it is repeated.
    pub(super) fn handle_info(
        &mut self,
        key: CallKey,
        by: Side,
        envelope: &Envelope<'_, '_>,
        orders: &mut Orders,
    ) {
        let Some(pressed) = info_key(envelope.message) else {
            return;
        };
        let Some(leg) = self.legs.get_mut(&key).filter(|leg| leg.is_open()) else {
            return;
        };
        if leg.settle(by, envelope.number) {
            let digit = Digit {
                by,
                at: envelope.time,
                key: pressed,
            };
            self.press(key, digit, KeySource::Signalling, orders);
        }
    }

    /// One side sends the other elsewhere (RFC 3515), perhaps to take the place of another call (RFC 3891).
    pub(super) fn handle_refer(&mut self, key: CallKey, by: Side, envelope: &Envelope<'_, '_>) {
        let Some(target) = envelope.message.addresses("Refer-To").next() else {
            return;
        };
        let Some(leg) = self.legs.get_mut(&key).filter(|leg| leg.is_open()) else {
            return;
        };
        if !leg.settle(by, envelope.number) || leg.info.transfers.len() == MAX_NOTES {
            return;
        }
        let embedded = target.uri.embedded_header("Replaces");
        let replaces = embedded.as_deref().and_then(Replaces::parse);
        let to = parties::capped(&target.uri.user_decoded());
        Arc::make_mut(&mut leg.info).transfers.push(Transfer {
            by,
            at: envelope.time,
            to: to.clone(),
            replaces: replaces.map(|replaces| parties::capped(replaces.call_id)),
        });
        self.follow_referral(key, envelope, to, replaces.as_ref());
    }
}

fn info_key(message: &Message<'_>) -> Option<char> {
    let content = message.header("Content-Type")?.to_ascii_lowercase();
    let body = std::str::from_utf8(message.body).ok()?;
    let signal = if content.starts_with("application/dtmf-relay") {
        let value = |line: &str| {
            let (name, value) = line.split_once('=')?;
            name.trim()
                .eq_ignore_ascii_case("signal")
                .then(|| value.trim().to_owned())
        };
        body.lines().find_map(value)?
    } else if content.starts_with("application/dtmf") {
        body.trim().to_owned()
    } else {
        return None;
    };
    let mut signal = signal.chars();
    let key = signal.next()?.to_ascii_uppercase();
    (signal.next().is_none() && "0123456789*#ABCD".contains(key)).then_some(key)
}
