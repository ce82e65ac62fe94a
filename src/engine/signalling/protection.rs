//! Which keys protect what a side sends, by what both sides said of it (RFC 4568 sections 5.1 and 7.1).

use smallvec::SmallVec;

use super::description::{Description, Descriptions, Secure};
use crate::base::{Secret, Side};
use crate::engine::plan::{Keyless, MediaPlan, Protection};
use crate::rtp::{KeyError, KeyOptions, SrtpKey, Suite};
use crate::sip::{CryptoLine, InlineKey, Media, SessionParameters};

/// Keys that one side may be sending with; with more, those known longest are forgotten.
const MAX_KEYS: usize = 8;

/// One `a=crypto` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// `None` when the line makes no sense.
    tag: Option<u32>,
    keys: Result<SmallVec<[SrtpKey; 1]>, Keyless>,
}

impl Offered {
    /// Every line of a medium.
    pub fn all(media: &Media<'_>) -> SmallVec<[Offered; 1]> {
        media
            .crypto
            .iter()
            .map(|line| Offered::read(line))
            .collect()
    }

    fn read(line: &str) -> Offered {
        let Ok(line) = CryptoLine::parse(line) else {
            return Offered {
                tag: None,
                keys: Err(Keyless::BadKey),
            };
        };
        Offered {
            tag: Some(line.tag),
            keys: keys_of(&line),
        }
    }

    /// Why the line is of no use, if it is of none.
    pub fn refusal(&self) -> Option<Keyless> {
        self.keys.as_ref().err().copied()
    }
}

fn keys_of(line: &CryptoLine<'_>) -> Result<SmallVec<[SrtpKey; 1]>, Keyless> {
    let suite = Suite::named(line.suite).map_err(|_| Keyless::Suite)?;
    if line.session.unauthenticated_srtp {
        return Err(Keyless::Unauthenticated);
    }
    let mut keys = SmallVec::new();
    for inline in &line.keys {
        keys.push(key_of(suite, inline, &line.session, false)?);
        // Which of the two ways to derive its session keys a sender goes cannot be told but by trying.
        if suite.key_len() == 24 {
            keys.push(key_of(suite, inline, &line.session, true)?);
        }
    }
    Ok(keys)
}

/// The lifetime is not kept: it tells the sender when to change the key, and a packet that this key authenticates is the
/// sender's however late it comes.
fn key_of(
    suite: Suite,
    inline: &InlineKey,
    session: &SessionParameters,
    as_libsrtp: bool,
) -> Result<SrtpKey, Keyless> {
    let options = KeyOptions {
        mki: inline.mki.clone().unwrap_or_default(),
        kdr: session.kdr,
        unencrypted: session.unencrypted_srtp,
        as_libsrtp,
    };
    let master: Secret = inline.master.clone();
    SrtpKey::new(suite, master, options).map_err(|error| match error {
        KeyError::NotOptional { .. } => Keyless::Suite,
        KeyError::Length { .. } | KeyError::DerivationRate { .. } => Keyless::BadKey,
    })
}

/// What the two descriptions make of one side's media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Plain,
    /// Plain or SRTP: the other side has not said, or they do not agree.
    Either,
    Sealed,
}

impl Description {
    fn level(&self, others: &[&Description]) -> Level {
        let secured = others.iter().filter(|o| o.secure != Secure::No).count();
        match self.secure {
            Secure::No => Level::Plain,
            Secure::Required if others.is_empty() || secured > 0 => Level::Sealed,
            // Refused in favour of another medium, by an answer that is plain; or just not well answered.
            Secure::Required => Level::Either,
            Secure::Offered if others.is_empty() => Level::Either,
            Secure::Offered if secured == 0 => Level::Plain,
            Secure::Offered if secured == others.len() => Level::Sealed,
            Secure::Offered => Level::Either,
        }
    }

    /// The keys that the side which says this may send with: those of the line that the other side took first.
    fn keys(&self, others: &[&Description]) -> Result<SmallVec<[SrtpKey; 2]>, Keyless> {
        let taken = |offered: &&Offered| {
            let mut tags = others.iter().flat_map(|o| &o.crypto).map(|o| o.tag);
            offered.tag.is_some() && tags.any(|tag| tag == offered.tag)
        };
        let by_dtls = self.dtls && !others.is_empty() && others.iter().all(|o| o.by_dtls());
        if self.crypto.is_empty() || by_dtls {
            return Err(self.other_keying());
        }
        let chosen = || self.crypto.iter().filter(taken);
        let refusal = |mut lines: SmallVec<[&Offered; 4]>| match lines.pop() {
            Some(last) if lines.iter().all(|o| o.keys.is_err()) => last.refusal(),
            _ => None,
        };
        // The line that was taken is of no use, whatever the others are.
        if let Some(reason) = refusal(chosen().collect()) {
            return Err(reason);
        }
        let rest = self.crypto.iter().filter(|offered| !taken(offered));
        let mut keys: SmallVec<[SrtpKey; 2]> = SmallVec::new();
        for key in chosen().chain(rest).flat_map(|o| o.keys.iter().flatten()) {
            if keys.len() < MAX_KEYS && !keys.contains(key) {
                keys.push(key.clone());
            }
        }
        match self.crypto.iter().find_map(Offered::refusal) {
            Some(reason) if keys.is_empty() => Err(reason),
            _ => Ok(keys),
        }
    }

    fn by_dtls(&self) -> bool {
        self.dtls && self.crypto.is_empty()
    }

    /// How media is keyed where no line of the description does it.
    fn other_keying(&self) -> Keyless {
        if self.dtls {
            Keyless::Dtls
        } else if self.zrtp {
            Keyless::Zrtp
        } else {
            Keyless::NoKey
        }
    }
}

impl Descriptions {
    /// How what `side` sends is protected, as far as both sides have said.
    pub fn protection(&self, side: Side) -> Protection {
        let (own, others) = (self.said_by(side), self.said_by(side.other()));
        let settled = settled(&own, &others);
        match self.pending.as_deref() {
            // An offer is in force as soon as it is answered, which may be seen after the first packet.
            Some((by, _, offer)) if *by == side && offer.secure != Secure::No => {
                with_offer(settled, offer)
            }
            _ => settled,
        }
    }

    /// What is in force; while phones ring, what each of them said.
    fn said_by(&self, side: Side) -> SmallVec<[&Description; 2]> {
        match &self.agreed[side] {
            Some(agreed) => SmallVec::from_slice(&[agreed]),
            None if side == Side::Callee => self.forks.iter().map(|(_, d)| d).collect(),
            None => SmallVec::new(),
        }
    }
}

fn settled(own: &[&Description], others: &[&Description]) -> Protection {
    if own.is_empty() {
        return unsaid(others);
    }
    let mut keys: SmallVec<[SrtpKey; 2]> = SmallVec::new();
    let (mut maybe_plain, mut keyless) = (false, None);
    for description in own {
        let level = description.level(others);
        maybe_plain |= level != Level::Sealed;
        if level == Level::Plain {
            continue;
        }
        match description.keys(others) {
            Ok(found) => keys.extend(found),
            Err(reason) => keyless = Some(reason),
        }
    }
    let zrtp = own.iter().any(|d| d.zrtp) && others.iter().any(|d| d.zrtp);
    match keyless {
        _ if !keys.is_empty() => {
            keys.truncate(MAX_KEYS);
            Protection::Keyed {
                keys: keys[..].into(),
                maybe_plain,
            }
        }
        Some(reason) if !maybe_plain => Protection::Keyless(reason),
        // Both speak ZRTP: they will, a moment after the first packet (RFC 6189 section 8).
        _ if zrtp => Protection::Keyless(Keyless::Zrtp),
        _ => Protection::None,
    }
}

/// Of a side that has said nothing yet: it is taken to want what the other side wants.
fn unsaid(others: &[&Description]) -> Protection {
    if others.iter().any(|d| !d.crypto.is_empty()) {
        return Protection::Awaited;
    }
    let required = others.iter().find(|d| d.secure == Secure::Required);
    required.map_or(Protection::None, |d| Protection::Keyless(d.other_keying()))
}

fn with_offer(settled: Protection, offer: &Description) -> Protection {
    let Ok(offered) = offer.keys(&[]) else {
        return settled;
    };
    match settled {
        Protection::Keyless(_) => settled,
        Protection::None => Protection::Keyed {
            keys: offered[..].into(),
            maybe_plain: true,
        },
        Protection::Awaited => Protection::Keyed {
            keys: offered[..].into(),
            maybe_plain: false,
        },
        Protection::Keyed { keys, maybe_plain } => Protection::Keyed {
            keys: joined(&keys, &offered),
            maybe_plain,
        },
    }
}

/// Packets under an earlier key may be on their way when a new one is agreed on, and come late.
pub fn keep_keys(plan: &mut MediaPlan, before: &MediaPlan) {
    for side in Side::BOTH {
        if let Protection::Keyed { keys, .. } = &mut plan.sides[side].protection
            && let Protection::Keyed { keys: earlier, .. } = &before.sides[side].protection
        {
            *keys = joined(keys, earlier);
        }
    }
}

/// The keys of both, each once, at most [`MAX_KEYS`].
fn joined(first: &[SrtpKey], then: &[SrtpKey]) -> std::sync::Arc<[SrtpKey]> {
    let mut keys: SmallVec<[SrtpKey; 4]> = first.into();
    for key in then {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    keys.truncate(MAX_KEYS);
    keys[..].into()
}
