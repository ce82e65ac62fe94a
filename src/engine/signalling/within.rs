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
            number: envelope.number,
            status: None,
        });
        self.follow_referral(key, envelope, to, replaces.as_ref());
    }

    /// A REFER is refused: what it asked for is not done. One that lacks credentials is mostly sent again with them.
    pub(super) fn handle_refused_refer(
        &mut self,
        key: CallKey,
        by: Side,
        envelope: &Envelope<'_, '_>,
        status: u16,
        orders: &mut Orders,
    ) {
        let Some(leg) = self.leg_on_its_way(key, envelope) else {
            return;
        };
        let is_it = |transfer: &Transfer| {
            (transfer.by, transfer.number) == (by, envelope.number) && transfer.status.is_none()
        };
        let Some(at) = leg.info.transfers.iter().position(is_it) else {
            return;
        };
        let transfers = &mut Arc::make_mut(&mut leg.info).transfers;
        match status {
            401 | 407 => _ = transfers.remove(at),
            _ => transfers[at].status = Some(status),
        }
        self.interactions.withdraw_referral(key);
        self.tell(key, orders);
    }

    /// How a transfer goes, as who was sent elsewhere tells it (RFC 3515 section 2.4.5).
    pub(super) fn handle_notify(
        &mut self,
        key: CallKey,
        by: Side,
        envelope: &Envelope<'_, '_>,
        orders: &mut Orders,
    ) {
        let Some((status, id)) = progress(envelope.message).filter(|(status, _)| *status >= 200)
        else {
            return;
        };
        let Some(leg) = self.leg_on_its_way(key, envelope) else {
            return;
        };
        let is_it = |transfer: &Transfer| {
            transfer.by == by.other() && id.is_none_or(|id| transfer.number == id)
        };
        let Some(at) = leg.info.transfers.iter().rposition(is_it) else {
            return;
        };
        if leg.info.transfers[at].status == Some(status) {
            return;
        }
        Arc::make_mut(&mut leg.info).transfers[at].status = Some(status);
        if status >= 300 {
            self.interactions.withdraw_referral(key);
        }
        self.tell(key, orders);
    }

    /// An open leg, where a message came its way.
    fn leg_on_its_way(&mut self, key: CallKey, envelope: &Envelope<'_, '_>) -> Option<&mut Leg> {
        let leg = self.legs.get_mut(&key)?;
        (leg.is_open() && leg.is_on_its_way(envelope.flow)).then_some(&mut **leg)
    }
}

/// The status that a NOTIFY tells of (RFC 3420), and the CSeq of the REFER that it is about, where it says that.
fn progress(message: &Message<'_>) -> Option<(u16, Option<u32>)> {
    let mut event = message.header("Event")?.split(';').map(str::trim);
    if !event.next()?.eq_ignore_ascii_case("refer") {
        return None;
    }
    let id = event.find_map(|parameter| parameter.strip_prefix("id="));
    let body = std::str::from_utf8(message.body).ok()?.trim_start();
    let status = body.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()?;
    Some((status, id.and_then(|id| id.parse().ok())))
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
