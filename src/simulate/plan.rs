//! One call of the scenario: who, from where, with which features, when.

use std::time::Duration;

use smallvec::SmallVec;
use uuid::Uuid;

use super::frame::Path;
use super::random::Random;
use super::{Codec, Features, HoldKind, Scenario};
use crate::base::{Endpoint, PerSide, Side, TenantId};
use crate::rtp::Suite;

pub(super) const MILLISECOND: i64 = 1_000_000;

/// All that is settled about a call before its first packet. Times are nanoseconds since 1970 UTC.
#[derive(Clone, Debug)]
pub(super) struct CallPlan {
    pub index: u32,
    /// Seeds what is drawn while the call goes on.
    pub seed: u64,
    pub tenant: TenantId,
    pub parties: PerSide<Party>,
    pub sip_call_id: String,
    pub vlans: SmallVec<[u16; 2]>,
    pub codec: Codec,
    pub ptime_ms: u16,
    pub fate: Fate,
    pub traits: Traits,
    pub invite: i64,
    /// Of the 200, or of what ends the ringing instead.
    pub answer: i64,
    /// When the callee and the caller start and stop sending.
    pub media: PerSide<(i64, i64)>,
    pub hold: Option<Hold>,
    /// Of the re-INVITE that changes the codec.
    pub codec_change: Option<i64>,
    /// Of the BYE.
    pub end: i64,
    pub srtp: Option<Suite>,
}

#[derive(Clone, Debug)]
pub(super) struct Party {
    pub number: String,
    pub domain: String,
    pub user: Option<String>,
    /// What From, Via and Contact say.
    pub described: Endpoint,
    /// Where its signalling is on the wire.
    pub signalling: Endpoint,
    /// Where SDP says that its media is.
    pub described_media: Endpoint,
    /// Where its media is on the wire.
    pub media: Endpoint,
    pub tag: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Answered,
    Cancelled,
    Rejected(u16),
}

/// The features that this call has, exclusions done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traits {
    pub early_media: bool,
    pub late_offer: bool,
    pub media_ahead: bool,
    pub nat: bool,
    pub vlan: bool,
    pub ipv6: bool,
    pub hold: bool,
    pub codec_change: bool,
    pub tcp: bool,
    pub fragments: bool,
    pub dtmf: bool,
    pub comfort_noise: bool,
    pub ssrc_change: bool,
    pub rtcp: bool,
    pub rtcp_mux: bool,
    pub answer_first: bool,
    pub no_bye: bool,
    pub bye_repeated: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    pub by: Side,
    pub kind: HoldKind,
    /// Of the two re-INVITEs.
    pub from: i64,
    pub to: i64,
}

/// The id of tenant `number`, 1 to 250.
pub fn tenant_id(number: u8) -> TenantId {
    TenantId(Uuid::from_u128(
        0x5349_4d55_4c41_4000_8000_0000_0000_0000 + u128::from(number),
    ))
}

/// The user of extension `place` (0 for 1001) of every tenant: the first few have one.
pub(super) fn extension_user(place: u32) -> Option<String> {
    (place < 10).then(|| format!("user{}", 1001 + place))
}

impl Fate {
    fn draw(features: &Features, index: u32, random: &mut Random) -> Fate {
        let (rejected, cancelled) = (
            random.has(features.rejected),
            random.has(features.cancelled),
        );
        match (rejected, cancelled) {
            (true, _) => Fate::Rejected([486, 404, 603, 480][index as usize % 4]),
            (_, true) => Fate::Cancelled,
            _ => Fate::Answered,
        }
    }
}

impl Traits {
    /// Each feature is drawn, even if another one excludes it: asking for one more changes no other.
    fn draw(features: &Features, fate: Fate, random: &mut Random) -> Traits {
        let tcp = random.has(features.tcp);
        let answer_first = random.has(features.answer_first) && !tcp && fate == Fate::Answered;
        let media_ahead = random.has(features.media_ahead) && !answer_first;
        let late_offer = random.has(features.late_offer) && !media_ahead;
        let is_early = random.has(features.early_media);
        let ipv6 = random.has(features.ipv6);
        Traits {
            early_media: is_early && !late_offer && !media_ahead && !answer_first,
            late_offer,
            tcp,
            fragments: random.has(features.fragments) && !tcp,
            ipv6,
            nat: random.has(features.nat) && !ipv6,
            vlan: random.has(features.vlan),
            hold: random.has(features.hold),
            codec_change: random.has(features.codec_change),
            dtmf: random.has(features.dtmf),
            comfort_noise: random.has(features.comfort_noise),
            ssrc_change: random.has(features.ssrc_change),
            rtcp: random.has(features.rtcp),
            rtcp_mux: random.has(features.rtcp_mux),
            media_ahead,
            answer_first,
            no_bye: random.has(features.no_bye),
            bye_repeated: random.has(features.bye_repeated),
        }
    }
}

impl CallPlan {
    /// The call number `index`, whose INVITE is due at `invite`.
    pub fn new(scenario: &Scenario, index: u32, invite: i64) -> CallPlan {
        let mut random = Random::of(scenario.seed, &[0x6361_6c6c, u64::from(index)]);
        let fate = Fate::draw(&scenario.features, index, &mut random);
        let traits = Traits::draw(&scenario.features, fate, &mut random);
        let tenant = (index % u32::from(scenario.tenants)) as u8 + 1;
        let codec = scenario.codecs[index as usize % scenario.codecs.len()];
        let longest_ptime_ms = if codec == Codec::L16Wide { 40 } else { 60 };
        let mut plan = CallPlan {
            index,
            seed: random.next_u64(),
            tenant: tenant_id(tenant),
            parties: parties(scenario, index, tenant, traits.ipv6, &mut random),
            sip_call_id: format!("{index:06}-{:016x}@simulated", random.next_u64()),
            vlans: SmallVec::new(),
            codec,
            ptime_ms: scenario.ptime_ms.min(longest_ptime_ms),
            fate,
            traits,
            invite,
            answer: 0,
            media: PerSide::default(),
            hold: None,
            codec_change: None,
            end: 0,
            srtp: scenario.srtp,
        };
        if traits.nat {
            plan.hide_behind_nat(&mut random);
        }
        if traits.tcp {
            plan.parties.caller.signalling.port = 41_000 + (index % 20_000) as u16;
        }
        if traits.vlan {
            let tags = [1000 + u16::from(tenant), 100 + u16::from(tenant)];
            plan.vlans = tags[2 - usize::from(scenario.vlan_depth.clamp(1, 2))..].into();
        }
        plan.set_times(scenario, &mut random);
        if fate == Fate::Answered {
            plan.set_changes(scenario, &mut random);
        }
        plan
    }

    /// The way of media, or of signalling, from one side to the other.
    pub fn media_path(&self, from: Side, port_offset: u16) -> Path {
        let port = |e: Endpoint| e.with_port(e.port + port_offset);
        self.path(
            port(self.parties[from].media),
            port(self.parties[from.other()].media),
        )
    }

    pub fn signalling_path(&self, from: Side) -> Path {
        self.path(
            self.parties[from].signalling,
            self.parties[from.other()].signalling,
        )
    }

    fn path(&self, source: Endpoint, destination: Endpoint) -> Path {
        Path {
            source,
            destination,
            vlans: self.vlans.clone(),
        }
    }

    /// One side's packets come from other ports than it says, and its address is one of a home network.
    fn hide_behind_nat(&mut self, random: &mut Random) {
        let side = Side::BOTH[random.below(2) as usize];
        let outside_port = 40_000 + 2 * (self.index % 12_000) as u16;
        let host = 10 + random.below(200) as u8;
        let party = &mut self.parties[side];
        party.described = Endpoint::v4([192, 168, 1, host], party.described.port);
        party.described_media = Endpoint::v4([192, 168, 1, host], party.described_media.port);
        party.media.port = outside_port;
    }

    fn set_times(&mut self, scenario: &Scenario, random: &mut Random) {
        let ring = if self.traits.answer_first {
            3 * MILLISECOND
        } else if self.traits.media_ahead {
            50 * MILLISECOND
        } else {
            nanos(scenario.ring).max(50 * MILLISECOND)
        };
        self.answer = self.invite + ring;
        self.end = self.answer;
        if self.fate != Fate::Answered {
            return;
        }
        if self.traits.answer_first {
            // The answer stays where it is and the INVITE is seen after it.
            self.invite = self.answer + MILLISECOND;
        }
        let talk =
            nanos(scenario.talk) + random.below(nanos(scenario.talk_spread) as u64 + 1) as i64;
        let after_answer = PerSide {
            caller: self.answer + 25 * MILLISECOND,
            // With a late offer the callee learns from the ACK where to send.
            callee: self.answer + if self.traits.late_offer { 30 } else { 5 } * MILLISECOND,
        };
        self.media = after_answer.map(|from| (from, from + talk));
        if self.traits.media_ahead {
            self.media.callee.0 = self.answer - nanos(scenario.media_ahead);
            self.media.caller.0 = self.media.callee.0 + 7 * MILLISECOND;
        } else if self.traits.early_media {
            self.media.callee.0 = self.invite + 40 * MILLISECOND;
        }
        let ptime = i64::from(self.ptime_ms) * MILLISECOND;
        let last = self.media.caller.1.max(self.media.callee.1);
        // Whatever the network holds back arrives before the BYE.
        let late = nanos(scenario.network.jitter) + i64::from(scenario.network.reorder_by) * ptime;
        self.end = last + late + 40 * MILLISECOND;
    }

    fn set_changes(&mut self, scenario: &Scenario, random: &mut Random) {
        let (from, to) = self.media.caller;
        let (from, talk) = (from.max(self.answer), to - from.max(self.answer));
        // Changes need room for their three-way handshakes.
        if talk < 1000 * MILLISECOND {
            return;
        }
        let turn = HoldKind::ALL[self.index as usize % HoldKind::ALL.len()];
        self.hold = self.traits.hold.then(|| Hold {
            by: Side::BOTH[random.below(2) as usize],
            kind: scenario.hold_kind.unwrap_or(turn),
            from: from + talk / 10,
            to: from + talk / 10 + nanos(scenario.hold).clamp(100 * MILLISECOND, talk * 2 / 5),
        });
        self.codec_change = self.traits.codec_change.then_some(from + talk * 3 / 5);
    }
}

/// Inside to inside, inside to outside, outside to inside, in turn.
fn parties(
    scenario: &Scenario,
    index: u32,
    tenant: u8,
    ipv6: bool,
    random: &mut Random,
) -> PerSide<Party> {
    let round = index / u32::from(scenario.tenants);
    let count = u32::from(scenario.extensions);
    let port = 10_000 + 2 * (index % 15_000) as u16;
    let inside = |place: u32| {
        let ip = if ipv6 {
            Endpoint::v6(
                v6_address(&[0xfd00, tenant.into(), 0, 1001 + place as u16]),
                port,
            )
        } else {
            Endpoint::v4(
                [10, tenant, 1 + (place / 250) as u8, 1 + (place % 250) as u8],
                port,
            )
        };
        let domain = format!("tenant{tenant}.example");
        party(
            (1001 + place).to_string(),
            domain,
            extension_user(place),
            ip,
        )
    };
    let outside = || {
        let ip = if ipv6 {
            Endpoint::v6(
                v6_address(&[0x2001, 0xdb8, 0, 1 + (index % 250) as u16]),
                port,
            )
        } else {
            Endpoint::v4([198, 51, 100, 1 + (index % 250) as u8], port)
        };
        party(
            format!("+442079460{:03}", index % 1000),
            "provider.example".into(),
            None,
            ip,
        )
    };
    let (one, other) = (round % count, (round + 1) % count);
    let mut parties = match round % 3 {
        0 => PerSide {
            caller: inside(one),
            callee: inside(other),
        },
        1 => PerSide {
            caller: inside(one),
            callee: outside(),
        },
        _ => PerSide {
            caller: outside(),
            callee: inside(one),
        },
    };
    parties.caller.tag = format!("{:08x}", random.next_u32());
    parties.callee.tag = format!("{:08x}", random.next_u32());
    parties
}

fn party(number: String, domain: String, user: Option<String>, media: Endpoint) -> Party {
    let signalling = media.with_port(5060);
    Party {
        number,
        domain,
        user,
        described: signalling,
        signalling,
        described_media: media,
        media,
        tag: String::new(),
    }
}

/// The first three groups, then the last one.
fn v6_address(groups: &[u16; 4]) -> [u8; 16] {
    let mut octets = [0; 16];
    for (pair, group) in octets.chunks_exact_mut(2).zip(&groups[..3]) {
        pair.copy_from_slice(&group.to_be_bytes());
    }
    octets[14..].copy_from_slice(&groups[3].to_be_bytes());
    octets
}

pub(super) fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
