//! Requests in a call's name that are not its.

use super::*;

impl Signalling {
    /// Counts a message whose Call-ID is known and whose tags are not; a request that would change the call is remembered with
    /// it.
    pub(super) fn note_foreign(&mut self, envelope: &Envelope<'_, '_>) {
        self.counters.foreign_tags += 1;
        let changes = match envelope.method {
            Method::Bye | Method::Update | Method::Refer | Method::Info | Method::Cancel => true,
            Method::Invite => !envelope.to_tag.is_empty(),
            _ => false,
        };
        if !changes || !envelope.is_request() {
            return;
        }
        let keys = self.by_call_id.get(envelope.call_id);
        for key in keys.into_iter().flatten() {
            let Some(leg) = self.legs.get_mut(key).filter(|leg| leg.is_open()) else {
                continue;
            };
            if leg.vantages.contains(&envelope.flow.vantage) {
                leg.suspicious_requests += 1;
            }
        }
    }
}
