//! What was written: typed settings of one tenant, as the configuration hands them over.

use std::fmt;
use std::sync::Arc;

use super::control::{ControlRules, Digits};
use super::country::Country;
use super::extension::ExtensionPattern;
use super::rewrite::Rewrite;
use super::rule::{Domain, HeaderTest};
use crate::base::{Network, Side, TenantId, Tunnel};

/// Where something was written.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Place {
    pub file: Arc<str>,
    /// From 1; 0 where there is no line (what the program itself made).
    pub line: u32,
}

impl Place {
    pub fn new(file: impl Into<Arc<str>>, line: u32) -> Place {
        Place {
            file: file.into(),
            line,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// One tenant as its file describes it.
#[derive(Clone, Debug)]
pub struct TenantDefinition {
    pub id: TenantId,
    pub name: Arc<str>,
    /// What its people name it by when they sign in, where that is written.
    pub slug: Option<Arc<str>>,
    /// Name of one of the configuration's plans.
    pub plan: Option<Arc<str>>,
    /// IANA name, for example `Europe/London`; UTC when absent.
    pub timezone: Option<Arc<str>>,
    /// BCP 47 tag, for example `en-GB`.
    pub language: Option<Arc<str>>,
    /// The country whose dialling habits turn national numbers into E.164.
    pub country: Option<Country>,
    pub recording: RecordingPolicy,
    pub candidates: CandidateOrder,
    pub rewrites: Vec<Rewrite>,
    pub rules: Vec<MatchRule>,
    pub extensions: Vec<ExtensionDefinition>,
    pub place: Place,
    pub control: ControlRules,
    /// Users with a policy of their own, by login in any case. It counts as that of each of their extensions.
    pub user_policies: Vec<(Arc<str>, Policy)>,
}

impl TenantDefinition {
    /// A tenant that claims nothing yet.
    pub fn new(id: TenantId, name: impl Into<Arc<str>>, place: Place) -> TenantDefinition {
        TenantDefinition {
            id,
            name: name.into(),
            slug: None,
            plan: None,
            timezone: None,
            language: None,
            country: None,
            recording: RecordingPolicy::default(),
            candidates: CandidateOrder::default(),
            rewrites: Vec::new(),
            rules: Vec::new(),
            extensions: Vec::new(),
            place,
            control: ControlRules::default(),
            user_policies: Vec::new(),
        }
    }
}

/// What of a tenant's calls becomes a recording. The engine reads it; the directory only carries it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RecordingPolicy {
    pub policy: Policy,
    /// Calls with less media than this leave no recording; 0 keeps all.
    pub minimum_seconds: u32,
    /// How many of the legs of one interaction.
    pub legs: Legs,
    /// Recordings of the tenant's calls at the same time, by its plan; absent, as many as there are calls.
    pub concurrent: Option<u32>,
    pub digits: Digits,
    /// The dialog's messages are kept beside the recording.
    pub signalling: bool,
    /// Its recordings are encrypted where they rest, by its plan.
    pub encrypted: bool,
    /// Why no call of the tenant is recorded at present, whatever the policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Withheld>,
}

/// Why a tenant's calls are followed, and not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Withheld {
    /// Its recordings take what its plan gives it of the storage.
    PlanStorage,
    /// It has recorded as many minutes this month as its plan gives it.
    PlanMinutes,
    /// Whoever runs the installation has suspended it.
    Suspended,
}

/// Which legs of an interaction a tenant wants recordings of, where it owns several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Legs {
    #[default]
    All,
    /// One of them: see `recorder::legs`.
    One,
}

/// Which calls of a tenant are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    #[default]
    All,
    None,
    /// Only what somebody asks for while the call lasts.
    OnDemand,
    /// One call in so many.
    Sample {
        percent: u8,
    },
}

/// An extension of a tenant: a pattern, other numbers that mean the same, and the user it is pinned to.
#[derive(Clone, Debug)]
pub struct ExtensionDefinition {
    pub pattern: ExtensionPattern,
    pub aliases: Vec<Alias>,
    /// Login name of the user it is pinned to, or allocated to; absent, it is free to be allocated through the API.
    pub user: Option<Arc<str>>,
    pub place: Place,
    /// In place of the tenant's.
    pub policy: Option<Policy>,
    /// `user` has it by an allocation.
    pub allocated: bool,
}

/// Another number of an extension, such as its direct-dial number.
#[derive(Clone, Debug)]
pub struct Alias {
    pub number: Box<str>,
    pub place: Place,
}

/// When a tenant may claim a call: every key that is not empty must hold, by any of its values.
#[derive(Clone, Debug)]
pub struct MatchRule {
    /// The signalling address of either side lies in one of these.
    pub networks: Vec<Network>,
    /// One of the packet's VLAN tags, at any depth, is one of these.
    pub vlans: Vec<u16>,
    pub interfaces: Vec<Arc<str>>,
    pub sensors: Vec<Arc<str>>,
    /// Host of the candidate's URI. A claim of the sender.
    pub domains: Vec<Domain>,
    /// All of these headers fit. Claims of the sender.
    pub headers: Vec<HeaderTest>,
    /// The operator accepts a rule that names claims only, which any phone can forge.
    pub trust_signalling: bool,
    pub place: Place,
    /// The packet is in one of these tunnels: see [`Tunnels::are_in`](crate::base::Tunnels::are_in).
    pub tunnels: Vec<Tunnel>,
}

impl MatchRule {
    /// A rule without keys, which holds for nothing until it gets one.
    pub fn new(place: Place) -> MatchRule {
        MatchRule {
            networks: Vec::new(),
            vlans: Vec::new(),
            interfaces: Vec::new(),
            sensors: Vec::new(),
            domains: Vec::new(),
            headers: Vec::new(),
            trust_signalling: false,
            place,
            tunnels: Vec::new(),
        }
    }

    /// Whether it names something the network says, not the sender.
    pub fn has_network_fact(&self) -> bool {
        !(self.networks.is_empty()
            && self.vlans.is_empty()
            && self.interfaces.is_empty()
            && self.sensors.is_empty()
            && self.tunnels.is_empty())
    }

    /// Whether it names something the sender says.
    pub fn has_claim(&self) -> bool {
        !(self.domains.is_empty() && self.headers.is_empty())
    }
}

/// Where an identity of a side came from.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum CandidateSource {
    PAssertedIdentity,
    RemotePartyId,
    From,
    Contact,
    /// Contact of the 2xx: who answered.
    AnswerContact,
    /// P-Asserted-Identity of the 2xx: who answered.
    AnswerPAssertedIdentity,
    /// Remote-Party-ID of the 2xx: who answered.
    AnswerRemotePartyId,
    RequestUri,
    To,
    Diversion,
    HistoryInfo,
}

impl CandidateSource {
    pub const ALL: [CandidateSource; 11] = [
        CandidateSource::PAssertedIdentity,
        CandidateSource::RemotePartyId,
        CandidateSource::From,
        CandidateSource::Contact,
        CandidateSource::AnswerContact,
        CandidateSource::AnswerPAssertedIdentity,
        CandidateSource::AnswerRemotePartyId,
        CandidateSource::RequestUri,
        CandidateSource::To,
        CandidateSource::Diversion,
        CandidateSource::HistoryInfo,
    ];

    /// The name used in configuration and reasons.
    pub fn name(self) -> &'static str {
        match self {
            CandidateSource::PAssertedIdentity => "p-asserted-identity",
            CandidateSource::RemotePartyId => "remote-party-id",
            CandidateSource::From => "from",
            CandidateSource::Contact => "contact",
            CandidateSource::AnswerContact => "answer-contact",
            CandidateSource::AnswerPAssertedIdentity => "answer-p-asserted-identity",
            CandidateSource::AnswerRemotePartyId => "answer-remote-party-id",
            CandidateSource::RequestUri => "request-uri",
            CandidateSource::To => "to",
            CandidateSource::Diversion => "diversion",
            CandidateSource::HistoryInfo => "history-info",
        }
    }

    /// Whether it is what a 2xx says of who answered.
    pub fn is_of_answer(self) -> bool {
        matches!(
            self,
            CandidateSource::AnswerContact
                | CandidateSource::AnswerPAssertedIdentity
                | CandidateSource::AnswerRemotePartyId
        )
    }

    pub fn from_name(name: &str) -> Option<CandidateSource> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }
}

impl fmt::Display for CandidateSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// In which order a tenant believes the candidates of each side. A source that is not listed is not believed at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CandidateOrder {
    /// Rank by `CandidateSource as usize`; `UNLISTED` for what is not believed.
    ranks: [[u8; CandidateSource::ALL.len()]; 2],
}

const UNLISTED: u8 = u8::MAX;

impl CandidateOrder {
    pub const CALLER: [CandidateSource; 4] = [
        CandidateSource::PAssertedIdentity,
        CandidateSource::RemotePartyId,
        CandidateSource::From,
        CandidateSource::Contact,
    ];
    pub const CALLEE: [CandidateSource; 7] = [
        CandidateSource::AnswerContact,
        CandidateSource::AnswerPAssertedIdentity,
        CandidateSource::AnswerRemotePartyId,
        CandidateSource::RequestUri,
        CandidateSource::To,
        CandidateSource::Diversion,
        CandidateSource::HistoryInfo,
    ];

    pub fn new(caller: &[CandidateSource], callee: &[CandidateSource]) -> CandidateOrder {
        let ranks = [caller, callee].map(|sources| {
            CandidateSource::ALL.map(|source| {
                let rank = sources.iter().position(|listed| *listed == source);
                rank.and_then(|rank| u8::try_from(rank).ok())
                    .unwrap_or(UNLISTED)
            })
        });
        CandidateOrder { ranks }
    }

    /// Rank of a source on a side, 0 first; `None` when it is not believed.
    pub fn rank(&self, side: Side, source: CandidateSource) -> Option<u8> {
        let [caller, callee] = &self.ranks;
        let ranks = match side {
            Side::Caller => caller,
            Side::Callee => callee,
        };
        ranks
            .get(source as usize)
            .copied()
            .filter(|rank| *rank != UNLISTED)
    }
}

impl Default for CandidateOrder {
    fn default() -> Self {
        CandidateOrder::new(&Self::CALLER, &Self::CALLEE)
    }
}
