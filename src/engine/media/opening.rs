//! Packets of SRTP on their way: opened before anything is counted of them or placed; kept for a key that may yet be told.

use super::protected::{GivenUp, Opened, Protected, keys};
use super::*;
use crate::engine::plan::{Keyless, Protection};

/// What became of an RTCP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rtcp {
    /// It is as it came.
    Plain,
    /// It was opened.
    Opened,
    /// It is of none of the keys.
    Failed,
    /// It is encrypted, and there is no key.
    Hidden,
}

impl Media {
    /// Takes one RTP packet of a stream that is protected.
    #[inline(never)]
    pub(super) fn handle_protected(
        &mut self,
        id: u32,
        time: Timestamp,
        rtp: &RtpPacket<'_>,
        packet: &[u8],
        sink: &mut impl Sink,
    ) {
        let mut opened = std::mem::take(&mut self.opened);
        let what = self.open_packet(id, time, rtp, packet, &mut opened, sink);
        self.opened = opened;
        match what {
            Opened::Anew => self.open_waiting(id, sink),
            Opened::No => self.keep_sealed(id, time, packet),
            Opened::PlainForGood => self.drop_protection(id),
            Opened::Yes | Opened::Plain => {}
        }
    }

    fn open_packet(
        &mut self,
        id: u32,
        time: Timestamp,
        rtp: &RtpPacket<'_>,
        packet: &[u8],
        opened: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) -> Opened {
        let Some(stream) = self.streams.get_mut(id) else {
            return Opened::Plain;
        };
        let Some(protected) = stream.protected.as_mut() else {
            return Opened::Plain;
        };
        let what = protected.open(time, packet, opened);
        if what == Opened::Anew {
            let suite = protected.suite();
            stream.secrecy().suite = suite;
        }
        match what {
            Opened::Yes | Opened::Anew => {
                stream.last_at = stream.last_at.max(time);
                self.counters.srtp_opened += 1;
                match RtpPacket::parse(opened) {
                    Some(plain) => {
                        let seen = self.store(time, &plain, opened);
                        self.take_in(id, &seen, sink);
                    }
                    // Its padding lies.
                    None => stream.not_placed += 1,
                }
            }
            Opened::Plain | Opened::PlainForGood => {
                stream.last_at = stream.last_at.max(time);
                let seen = self.store(time, rtp, packet);
                self.take_in(id, &seen, sink);
            }
            Opened::No => {}
        }
        what
    }

    /// Keeps a packet that no key opened, and gives up those that waited in vain.
    #[cold]
    fn keep_sealed(&mut self, id: u32, time: Timestamp, packet: &[u8]) {
        // Half of what may be kept is for streams whose signalling has not come.
        let spare = (self.limits.kept_bytes / 2).saturating_sub(self.kept_bytes);
        let kept = self
            .protected(id)
            .and_then(|protected| protected.keep(time, packet, spare));
        match kept {
            Some(cost) => self.kept_bytes += cost,
            None => self.give_up(id, time, packet),
        }
        let patience = self.limits.keep;
        while let Some((waited, cost)) = self
            .protected(id)
            .and_then(|protected| protected.expire(time, patience))
        {
            self.kept_bytes -= cost;
            self.give_up(id, waited.time, &waited.packet);
        }
    }

    fn protected(&mut self, id: u32) -> Option<&mut Protected> {
        self.streams.get_mut(id)?.protected.as_deref_mut()
    }

    /// Counts a packet that was not opened: it was no media of the call.
    #[cold]
    fn give_up(&mut self, id: u32, time: Timestamp, packet: &[u8]) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        let Some(protected) = &stream.protected else {
            return;
        };
        if let Owner::Call { slot, .. } = stream.owner
            && let Some(call) = self.calls.get(slot)
            && let Some(second) = packet.get(1)
            && call.is_other_medium(second & 0x7f)
        {
            stream.is_other_medium = true;
            self.counters.other_media += 1;
            return;
        }
        let why = protected.why_closed();
        match protected.given_up() {
            GivenUp::Failed => {
                stream.secrecy().auth_failed += 1;
                self.counters.srtp_auth_failed += 1;
            }
            GivenUp::Unopened => {
                stream.not_placed += 1;
                self.counters.encrypted += 1;
            }
        }
        if stream.secrecy().suite.is_none() {
            stream.hide(why, time);
        }
        let Owner::Call { slot, side } = stream.owner else {
            return;
        };
        let Some(call) = self.calls.get_mut(slot) else {
            return;
        };
        call.heard.encrypted = true;
        if stream.meaning.is_none() && packet.len() > 1 {
            // What it would have been, for the stream's report.
            let format = call.format(side, packet[1] & 0x7f);
            stream.mean(Some(Meaning {
                format,
                ticks_hz: format.ticks_hz(),
                number: None,
                apart: None,
            }));
        }
    }

    /// Tries the packets that wait once more: there is another key, or another rollover counter, or no key is needed.
    pub(super) fn open_waiting(&mut self, id: u32, sink: &mut impl Sink) {
        let Some(protected) = self.protected(id) else {
            return;
        };
        let (waiting, bytes) = protected.take_waiting();
        self.kept_bytes -= bytes;
        for waited in waiting {
            self.take_sealed(id, waited.time, &waited.packet, sink);
        }
    }

    /// Takes a packet of the group that may have to be opened.
    #[cold]
    pub(super) fn take_stored(&mut self, id: u32, seen: &Seen, sink: &mut impl Sink) {
        let mut packet = std::mem::take(&mut self.sealed);
        packet.clear();
        packet.extend_from_slice(self.payloads.bytes(seen.packet));
        self.take_sealed(id, seen.time, &packet, sink);
        self.sealed = packet;
    }

    /// Takes a packet that was kept whole, as if it came now.
    pub(super) fn take_sealed(
        &mut self,
        id: u32,
        time: Timestamp,
        packet: &[u8],
        sink: &mut impl Sink,
    ) {
        // Encrypted padding may seem to lie.
        let Some(rtp) = RtpPacket::parse(packet).or_else(|| RtpPacket::parse_sealed(packet)) else {
            return;
        };
        match self.streams.get(id).map(|stream| &stream.protected) {
            Some(Some(_)) => self.handle_protected(id, time, &rtp, packet, sink),
            Some(None) => {
                let seen = self.store(time, &rtp, packet);
                self.take_in(id, &seen, sink);
            }
            None => {}
        }
    }

    /// Takes a datagram that would be RTP if its padding did not lie: of a stream that is protected, whose padding cannot be
    /// seen. Whether it was one.
    #[cold]
    pub fn handle_sealed_rtp(
        &mut self,
        time: Timestamp,
        flow: &Flow,
        packet: &[u8],
        sink: &mut impl Sink,
    ) -> bool {
        let Some(rtp) = RtpPacket::parse_sealed(packet) else {
            return false;
        };
        let key = StreamKey {
            flow: *flow,
            ssrc: rtp.ssrc,
        };
        let hash = self.hasher.hash_one(key);
        let known = self.find_stream(&key, hash);
        let opened = || match self.expects_srtp(flow) {
            true => self.open_stream(key, hash, time, sink),
            false => None,
        };
        let Some(id) = known.or_else(opened) else {
            return false;
        };
        if self.protected(id).is_none() {
            return false;
        }
        self.counters.rtp_packets += 1;
        self.handle_protected(id, time, &rtp, packet, sink);
        self.for_twins(id, |media, twin| {
            if media.protected(twin).is_some() {
                media.handle_protected(twin, time, &rtp, packet, sink);
            }
        });
        true
    }

    /// Whether a call says that what goes that way is protected.
    fn expects_srtp(&self, flow: &Flow) -> bool {
        let candidates = self
            .endpoints
            .candidates(flow.vantage, flow.source, flow.destination);
        let mut plans = candidates.iter().filter_map(|candidate| {
            let call = self.calls.get(candidate.slot)?;
            Some(&call.plan.sides[candidate.sender].protection)
        });
        plans.any(|protection| *protection != Protection::None)
    }

    /// Makes a stream what the plan of its call says, and takes in what waited for that.
    pub(super) fn protect(&mut self, id: u32, sink: &mut impl Sink) {
        let Some(stream) = self.streams.get_mut(id) else {
            return;
        };
        let Owner::Call { slot, side } = stream.owner else {
            return;
        };
        let Some(call) = self.calls.get(slot) else {
            return;
        };
        let protection = &call.plan.sides[side].protection;
        let Some(protected) = &mut stream.protected else {
            let was_plain = stream.sequence.received() > 0;
            stream.protected = Protected::of(protection, was_plain).map(Box::new);
            return;
        };
        let is_needed = protected.follow(protection);
        let (waiting, bytes) = protected.take_waiting();
        self.kept_bytes -= bytes;
        if !is_needed {
            stream.protected = None;
        }
        for waited in waiting {
            self.take_sealed(id, waited.time, &waited.packet, sink);
        }
    }

    /// SRTP is over: what waited was of no key.
    #[cold]
    pub(super) fn drop_protection(&mut self, id: u32) {
        let Some(protected) = self.protected(id) else {
            return;
        };
        let (waiting, bytes) = protected.take_waiting();
        self.kept_bytes -= bytes;
        for waited in &waiting {
            self.give_up(id, waited.time, &waited.packet);
        }
        if let Some(stream) = self.streams.get_mut(id) {
            stream.protected = None;
        }
    }

    /// Opens an RTCP packet into `out`, if it is protected. Its sender is found by the addresses of its RTP: those that SDP
    /// names with its own, or else the ports before or the same.
    #[cold]
    pub fn open_rtcp(&mut self, flow: &Flow, packet: &[u8], out: &mut Vec<u8>) -> Rtcp {
        debug_assert!(self.is_settled());
        let what = self.try_rtcp(flow, packet, out);
        match what {
            Rtcp::Plain => {}
            Rtcp::Opened => self.counters.srtcp_opened += 1,
            Rtcp::Failed => self.counters.srtcp_auth_failed += 1,
            Rtcp::Hidden => self.counters.srtcp_encrypted += 1,
        }
        what
    }

    fn try_rtcp(&self, flow: &Flow, packet: &[u8], out: &mut Vec<u8>) -> Rtcp {
        let sources = self.rtp_places(flow.vantage, flow.source);
        let destinations = self.rtp_places(flow.vantage, flow.destination);
        let pairs = sources
            .iter()
            .flat_map(|&source| destinations.iter().map(move |&to| (source, to)));
        let mut what = Rtcp::Plain;
        for (source, destination) in pairs {
            let candidates = self.endpoints.candidates(flow.vantage, source, destination);
            for candidate in candidates {
                let Some(call) = self.calls.get(candidate.slot) else {
                    continue;
                };
                let protection = &call.plan.sides[candidate.sender].protection;
                let open = |key: &crate::rtp::SrtpKey, out: &mut Vec<u8>| {
                    key.open_rtcp(packet, out).is_ok()
                };
                match protection {
                    Protection::None => continue,
                    _ if keys(protection).is_some_and(|keys| keys.iter().any(|k| open(k, out))) => {
                        return Rtcp::Opened;
                    }
                    Protection::Keyed {
                        maybe_plain: true, ..
                    } => continue,
                    Protection::Keyed { .. } => what = Rtcp::Failed,
                    Protection::Awaited | Protection::Keyless(_) if what == Rtcp::Plain => {
                        what = Rtcp::Hidden;
                    }
                    Protection::Awaited | Protection::Keyless(_) => {}
                }
            }
        }
        what
    }

    /// Takes note that the two ends of a flow have agreed on keys by ZRTP: what they send from now on is encrypted.
    #[cold]
    pub fn note_zrtp(&mut self, flow: &Flow) {
        let candidates = self
            .endpoints
            .candidates(flow.vantage, flow.source, flow.destination);
        let best = candidates.iter().max_by_key(|candidate| candidate.score);
        let exact = candidates.iter().filter(|candidate| candidate.exact);
        let slots: SmallVec<[u32; 4]> = best.into_iter().chain(exact).map(|c| c.slot).collect();
        for slot in slots {
            let Some(call) = self.calls.get_mut(slot) else {
                continue;
            };
            call.zrtp = true;
            for &id in &call.streams {
                if let Some(stream) = self.streams.get_mut(id) {
                    stream.mean(None);
                }
            }
        }
    }
}

/// The time of the first packet of a call of which one came at `time`: of the other side some may wait for their key.
#[cold]
pub(super) fn first_to_come(
    call: &MediaCall,
    streams: &Slots<Stream>,
    time: Timestamp,
) -> Timestamp {
    let streams = call.streams.iter().filter_map(|&id| streams.get(id));
    let waiting = streams.filter_map(|stream| stream.protected.as_ref()?.waits_since());
    waiting.fold(time, Timestamp::min)
}

impl MediaCall {
    /// Why what `side` sends cannot be opened.
    pub(super) fn keyless(&self, side: Side) -> Option<Keyless> {
        match self.plan.sides[side].protection {
            Protection::Keyless(reason) => Some(reason),
            Protection::None if self.zrtp => Some(Keyless::Zrtp),
            _ => None,
        }
    }
}
