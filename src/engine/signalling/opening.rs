//! A new leg: its first message, and what is made of it.

use super::*;

impl Signalling {
    /// Enters a new leg; `None` when there are too many.
    pub(super) fn open_leg(
        &mut self,
        envelope: &Envelope<'_, '_>,
        requester: Side,
        from_start: bool,
    ) -> Option<CallKey> {
        if self.open >= self.limits.calls {
            return None;
        }
        self.counters.calls += 1;
        let key = CallKey(self.next_key);
        self.next_key += 1;
        let leg = self.new_leg(key, envelope, requester, from_start);
        self.by_call_id
            .entry(envelope.call_id.into())
            .or_default()
            .push(key);
        self.legs.insert(key, Box::new(leg));
        self.count_recording(key);
        self.open += 1;
        self.list_participants(key);
        self.note_identity(key, requester, envelope.message);
        self.enter(key, envelope);
        self.timers
            .set(LegTimer::Setup(key), envelope.time + self.limits.setup);
        self.timers.set(
            LegTimer::TooLong(key),
            envelope.time + self.limits.longest_call,
        );
        Some(key)
    }

    pub(super) fn new_leg(
        &self,
        key: CallKey,
        envelope: &Envelope<'_, '_>,
        requester: Side,
        from_start: bool,
    ) -> Leg {
        let message = envelope.message;
        let mut parties = PerSide::default();
        parties[requester] = parties::party(message.from());
        parties[requester.other()] = parties::party(message.to());
        let attribution = parties::attribute(
            &self.directory,
            &self.sensor,
            &envelope.request_flow(),
            message,
            None,
        );
        parties::name_parties(&mut parties, &attribution);
        let seed = self.seed(envelope);
        let share = control::share(envelope);
        let owners = parties::owners(&self.directory, &self.sensor, &attribution, share);
        let mut tags = PerSide::default();
        tags[requester] = envelope.from_tag.to_owned();
        tags[requester.other()] = if from_start {
            String::new()
        } else {
            envelope.to_tag.to_owned()
        };
        let info = CallInfo {
            call_id: parties::capped(envelope.call_id),
            interaction: InteractionId(time_ordered(envelope.time, first_ten(&seed))),
            vantage: envelope.flow.vantage,
            invite_at: envelope.time,
            answered_at: None,
            replaces: message
                .replaces()
                .map(|replaces| parties::capped(replaces.call_id)),
            transfers: Vec::new(),
            parties,
            attribution: Arc::new(attribution),
            owners,
            seed,
            links: Vec::new(),
            participants: Vec::new(),
            control: Vec::new(),
            held_by: PerSide::default(),
        };
        let mut leg = Leg::new(
            key,
            envelope.call_id,
            tags,
            from_start,
            info,
            self.directory.clone(),
            envelope.request_flow(),
        );
        leg.share = share;
        leg
    }

    /// 32 bytes that are the same whenever the same INVITE is read at the same place and time, and for no other.
    fn seed(&self, envelope: &Envelope<'_, '_>) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for text in [
            &*self.sensor.name,
            envelope.call_id,
            envelope.from_tag,
            envelope.to_tag,
            envelope.branch,
        ] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        let vantage = &envelope.flow.vantage;
        hasher.update(&vantage.interface.to_le_bytes());
        vantage
            .vlans
            .iter()
            .for_each(|vlan| _ = hasher.update(&vlan.to_le_bytes()));
        hasher.update(&vantage.tunnels.to_bits().to_le_bytes());
        hasher.update(&envelope.time.as_nanos().to_le_bytes());
        *hasher.finalize().as_bytes()
    }
}

pub(super) fn first_ten(seed: &[u8; 32]) -> [u8; 10] {
    seed[..10].try_into().expect("ten of 32 bytes")
}
