//! Messages of a dialog that are to be kept beside its recording.

use super::*;

/// Messages kept of one call; further ones are counted.
const MAX_MESSAGES: u32 = 1000;
/// Bytes of them.
const MAX_BYTES: usize = 512 << 10;

/// What is kept of a call so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeptSignalling {
    messages: u32,
    bytes: usize,
    pub omitted: u64,
}

impl KeptSignalling {
    /// Whether a message of `len` bytes still fits.
    fn admit(&mut self, len: usize) -> bool {
        if self.messages == MAX_MESSAGES || self.bytes + len > MAX_BYTES {
            self.omitted += 1;
            return false;
        }
        self.messages += 1;
        self.bytes += len;
        true
    }
}

impl Signalling {
    /// A message that says nothing of a call is kept with the call in whose dialog it is. Only a NOTIFY, which tells how a transfer
    /// goes (RFC 3515 section 2.4.4), says that the call is alive: OPTIONS are also sent to find that it is not.
    pub(super) fn handle_other(&mut self, envelope: &Envelope<'_, '_>, orders: &mut Orders) {
        match self.find(envelope) {
            Some((key, side)) => {
                let is_notify = envelope.method == Method::Notify;
                if is_notify {
                    self.touch(key, envelope);
                }
                self.keep_message(key, envelope, orders);
                if is_notify && envelope.is_request() {
                    self.handle_notify(key, side, envelope, orders);
                }
            }
            None => self.counters.other_methods += 1,
        }
    }

    /// Hands on a message of a call whose tenant keeps them. Until the answer has told whose call it is, any tenant's that does.
    pub(super) fn keep_message(
        &mut self,
        key: CallKey,
        envelope: &Envelope<'_, '_>,
        orders: &mut Orders,
    ) {
        let Some(leg) = self.legs.get_mut(&key).filter(|leg| leg.is_open()) else {
            return;
        };
        if !leg.keeps_signalling() || !leg.signalling.admit(envelope.bytes.len()) {
            return;
        }
        let message = SignallingMessage {
            at: envelope.time,
            flow: *envelope.flow,
            bytes: envelope.bytes.into(),
        };
        orders.push(Order::Keep(key, Box::new(message)));
    }
}

impl Leg {
    fn keeps_signalling(&self) -> bool {
        let directory = self.directory.as_ref();
        directory.is_some_and(|directory| directory.keeps_signalling())
            && (!self.is_answered()
                || (self.info.owners.iter())
                    .any(|owner| owner.recording.signalling && owner.refusal.is_none()))
    }
}
