//! One RTP stream: what is counted of it, and whose it is.

use std::collections::VecDeque;
use std::time::Duration;

use super::MediaCounters;
use super::moving::Doubt;
use super::pacing::Pacing;
use super::packets::{Counted, Dropped, Kept, NextFit, NotTaken, is_foreign, kept_cost};
use super::protected::Protected;
use super::redundant::HeardTimestamps;
use super::twins::Sharing;
use crate::base::{Flow, Side, Timestamp};
use crate::codec::{Codec, PayloadFormat};
use crate::engine::event::{Hidden, Shared, StreamReport};
use crate::engine::plan::Keyless;
use crate::engine::quality::{Reported, StreamQuality};
use crate::rtp::{
    Arrival, Behind, DigitCollector, Jitter, RtpPacket, SequenceTracker, StreamClock, Suite,
};

/// What tells a stream from every other (ARCHITECTURE.md, "Words"). Directions may share an SSRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamKey {
    pub flow: Flow,
    pub ssrc: u32,
}

/// Whose a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// No plan fits it: the last two seconds of it are kept, its signalling may yet come.
    Nobody,
    Call {
        slot: u32,
        side: Side,
    },
    /// It is the same stream as another one, seen at another vantage too: it fills what that one lacks.
    Copy {
        of: u32,
        slot: u32,
    },
    /// Its call is over. It is remembered so that its last packets are not taken for the beginning of the next call on
    /// the same port.
    Ended,
}

/// What a payload type means in a stream, and what is done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    pub format: PayloadFormat,
    /// Ticks a second of its RTP timestamps, as its sender counts.
    pub ticks_hz: u32,
    /// Its number in the recording's list of formats; `None` while there is no list, or when it is full.
    pub number: Option<u8>,
    /// Why its packets are not the side's audio.
    pub apart: Option<Apart>,
}

/// Why packets of a call's stream are counted and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Apart {
    /// They are encrypted and cannot be opened.
    Encrypted(Keyless),
    /// They are of another medium of the call, at the audio's port.
    OtherMedium,
}

/// What is known of the encryption of a stream. Boxed: most streams have none.
#[derive(Debug, Default)]
pub struct Secrecy {
    /// Of the packets that were opened last.
    pub suite: Option<Suite>,
    /// The packets that could not be opened.
    pub hidden: Option<Hidden>,
    /// Packets that were of no key.
    pub auth_failed: u64,
}

/// What pauses for longer may be another call's when it goes on.
const PAUSE: Duration = Duration::from_millis(200);
/// Codecs told apart within one stream.
const MAX_CODECS: usize = 16;

#[derive(Debug)]
pub struct Stream {
    pub key: StreamKey,
    pub owner: Owner,
    /// How well its owner fits: see `binding`.
    pub score: u8,
    /// Whether other calls have it too.
    pub sharing: Sharing,
    /// Which of its call's streams it is.
    pub ordinal: u16,
    /// What its payload type means, as long as that stays the same; `None` when it has to be looked up.
    pub meaning: Option<Meaning>,
    /// Packets counted with this meaning.
    run: u64,
    pub sequence: SequenceTracker,
    /// `None` until the first packet is placed: the recording's rate is not known before.
    pub clock: Option<StreamClock>,
    /// Number of the first packet that was placed by the clock's anchor; `None` while that is the first.
    pub anchored_by: Option<u32>,
    /// Whether the clock had an anchor.
    was_anchored: bool,
    pub kept: VecDeque<Kept>,
    pub kept_bytes: usize,
    pub digits: DigitCollector,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub bytes: u64,
    pub duplicates: u64,
    pub late: u64,
    pub not_placed: u64,
    pub restarts: u32,
    /// The packet that came last, if a new numbering may begin with it.
    aside: Option<Box<(Kept, NotTaken)>>,
    /// What came last was of another medium of its call.
    pub is_other_medium: bool,
    /// It came beside another stream of its side, for longer than a change takes.
    pub rival: bool,
    /// It waits beside another stream of its side, until its sender is known to be the side.
    pub doubt: Option<Doubt>,
    pub(super) jitter: Jitter,
    /// Number of the packet of audio that was counted last.
    last_number: u64,
    codecs: Vec<(Codec, u64)>,
    /// Where it is SRTP: what opens its packets. Nothing is counted of a packet before it is opened.
    pub protected: Option<Box<Protected>>,
    secrecy: Option<Box<Secrecy>>,
    /// Of a stream that repeats itself (RFC 2198).
    pub heard: Option<Box<HeardTimestamps>>,
    /// The clock that it counts by.
    pub pacing: Pacing,
    /// Packets that lay in pauses, at least in part.
    pub paused: u64,
    /// What RTCP says of it; `None` while nothing was said.
    reported: Option<Box<Reported>>,
}

impl Stream {
    pub fn new(key: StreamKey, first_at: Timestamp) -> Self {
        Stream {
            key,
            owner: Owner::Nobody,
            score: 0,
            sharing: Sharing::default(),
            ordinal: 0,
            meaning: None,
            run: 0,
            sequence: SequenceTracker::default(),
            clock: None,
            anchored_by: None,
            was_anchored: false,
            kept: VecDeque::new(),
            kept_bytes: 0,
            digits: DigitCollector::default(),
            first_at,
            last_at: first_at,
            bytes: 0,
            duplicates: 0,
            late: 0,
            not_placed: 0,
            restarts: 0,
            aside: None,
            is_other_medium: false,
            rival: false,
            doubt: None,
            jitter: Jitter::default(),
            last_number: 0,
            codecs: Vec::new(),
            protected: None,
            secrecy: None,
            heard: None,
            pacing: Pacing::default(),
            paused: 0,
            reported: None,
        }
    }

    /// Reads something of each part, so that all of them are at hand.
    #[inline]
    pub fn touch(&self) -> u64 {
        let clock = self.clock.as_ref().map_or(0, StreamClock::touch);
        let format = self
            .meaning
            .map_or(0, |meaning| meaning.format.clock_rate_hz);
        self.sequence.received()
            ^ self.bytes
            ^ self.run
            ^ clock
            ^ u64::from(format)
            ^ self.kept.len() as u64
            ^ self.jitter.touch()
    }

    /// Forgets what was counted of packets that turn out to have been encrypted: nothing proves that they were the stream's.
    pub fn count_anew(&mut self) {
        let fresh = Stream::new(self.key, self.first_at);
        *self = Stream {
            owner: self.owner,
            score: self.score,
            sharing: self.sharing,
            ordinal: self.ordinal,
            last_at: self.last_at,
            not_placed: self.not_placed,
            secrecy: self.secrecy.take(),
            ..fresh
        };
    }

    /// How many of the packets kept cannot be of a call whose INVITE came at `invite_at`, [`Timestamp::MIN`] where that was not seen:
    /// those older than `oldest`, and those of before the INVITE, unless the stream ran on from them until then.
    pub fn kept_before(&self, invite_at: Timestamp, oldest: Timestamp) -> usize {
        let before = |time: Timestamp| self.kept.partition_point(|packet| packet.time < time);
        let too_old = before(oldest);
        if invite_at == Timestamp::MIN {
            return too_old;
        }
        let mut first = before(invite_at - PAUSE);
        while let (Some(later), Some(earlier)) = (
            self.kept.get(first),
            first.checked_sub(1).and_then(|at| self.kept.get(at)),
        ) && later.time <= earlier.time + PAUSE
        {
            first -= 1;
        }
        first.max(too_old)
    }

    /// Becomes a stream that began with the first of `kept`, or, where nothing is, begins `now`: what it was before is another's. Bytes
    /// that it keeps.
    pub fn begin_anew(&mut self, kept: VecDeque<Kept>, now: Timestamp) -> usize {
        let first_at = kept.front().map_or(now, |packet| packet.time);
        *self = Stream {
            owner: self.owner,
            score: self.score,
            sharing: self.sharing,
            last_at: kept.back().map_or(now, |packet| packet.time),
            ..Stream::new(self.key, first_at)
        };
        for mut packet in kept {
            let Some(rtp) = RtpPacket::parse(&packet.bytes) else {
                continue;
            };
            // They were counted when they came.
            let mut counted = MediaCounters::default();
            let counts = Counted {
                time: packet.time,
                sequence: rtp.sequence,
                timestamp: rtp.timestamp,
                payload_type: rtp.payload_type,
                len: rtp.payload.len() as u16,
            };
            if let Ok(arrived) = self.arrive(&counts, &mut counted) {
                (packet.number, packet.overtaken) = arrived;
                self.keep(packet);
            }
        }
        self.kept_bytes
    }

    pub fn secrecy(&mut self) -> &mut Secrecy {
        self.secrecy.get_or_insert_default()
    }

    /// Notes a packet that is encrypted and cannot be opened.
    #[cold]
    pub fn hide(&mut self, why: Keyless, time: Timestamp) {
        let hidden = self.secrecy().hidden.get_or_insert(Hidden {
            why,
            from: time,
            to: time,
        });
        hidden.why = why;
        hidden.from = hidden.from.min(time);
        hidden.to = hidden.to.max(time);
    }

    /// Whether there is anything to tell of it.
    pub fn was_heard(&self) -> bool {
        self.sequence.received() > 0 || self.secrecy.is_some()
    }

    /// Whether it is told of among its call's audio.
    pub fn is_reported(&self) -> bool {
        let is_audio = |(codec, _): &(Codec, u64)| codec.is_decodable();
        self.was_heard() && (!self.is_other_medium || self.codec_counts().iter().any(is_audio))
    }

    /// Whether a packet of it takes more than to be counted and placed.
    #[inline]
    pub fn is_special(&self) -> bool {
        self.protected.is_some() | (self.sharing == Sharing::First)
    }

    /// Whether it belongs to a call that is not over.
    pub fn is_owned(&self) -> bool {
        matches!(self.owner, Owner::Call { .. } | Owner::Copy { .. })
    }

    /// Whether `other` is the same stream seen elsewhere: the same packets between the same hosts.
    pub fn is_copy_of(&self, other: &Stream) -> bool {
        let (own, of) = (&self.key.flow, &other.key.flow);
        self.key.ssrc == other.key.ssrc
            && own.vantage != of.vantage
            && (own.source, own.destination) == (of.source, of.destination)
    }

    /// Counts a packet: its extended number, and whether a newer one had come. One that came before, or so long ago that nobody
    /// can tell, is not taken.
    #[inline(always)]
    pub fn arrive(
        &mut self,
        packet: &Counted,
        counters: &mut MediaCounters,
    ) -> Result<(u64, bool), NotTaken> {
        let is_foreign = |behind: Behind| {
            let numbers = self.last_number as i64 - behind.number as i64;
            let is_first_copy = self.duplicates == 0 || self.aside.is_some();
            let fit = packet.fit(self.meaning.as_ref(), &self.jitter, numbers);
            is_foreign(behind, fit, is_first_copy)
        };
        let arrived = match self.sequence.arrive(packet.sequence, is_foreign) {
            Arrival::InOrder { number } => (number, false),
            Arrival::Late { number } => {
                self.late += 1;
                counters.late += 1;
                (number, true)
            }
            Arrival::Restarted { number } => {
                self.restarts += 1;
                (number, false)
            }
            Arrival::Duplicate => {
                self.duplicates += 1;
                counters.duplicates += 1;
                return Err(NotTaken::Duplicate);
            }
            Arrival::TooOld => {
                self.not_placed += 1;
                counters.not_placed += 1;
                return Err(NotTaken::TooOld);
            }
        };
        self.bytes += u64::from(packet.len);
        Ok(arrived)
    }

    /// Keeps the packet that came last and was not taken, if a new numbering may begin with it.
    #[cold]
    pub fn set_aside(&mut self, why: NotTaken, sequence: u16, packet: impl FnOnce() -> Kept) {
        let may_begin = self.sequence.may_restart_after(sequence);
        self.aside = may_begin.then(|| Box::new((packet(), why)));
    }

    pub fn has_aside(&self) -> bool {
        self.aside.is_some()
    }

    /// The packet that a new numbering began with, whose second is `number`. What it was counted as when it came is taken back.
    #[cold]
    pub fn take_aside(&mut self, number: u64) -> Option<Kept> {
        let (mut first, why) = *self.aside.take()?;
        if !self.sequence.began_with(number - 1) {
            return None;
        }
        match why {
            NotTaken::Duplicate => self.duplicates -= 1,
            NotTaken::TooOld => self.not_placed -= 1,
        }
        first.number = number - 1;
        self.bytes += first.bytes.len() as u64;
        Some(first)
    }

    /// Notes that the packet with that number anchors the clock; what was kept until then is placed by it too.
    #[cold]
    pub fn note_anchor(&mut self, number: u32) {
        let first = self.kept.front().map_or(number, |kept| kept.number as u32);
        self.anchored_by = Some(first).filter(|_| self.was_anchored);
        self.was_anchored = true;
    }

    /// Goes on where another stream of its sender stopped.
    #[cold]
    pub fn go_on_with(&mut self, clock: StreamClock) {
        self.clock = Some(clock);
        self.was_anchored = true;
    }

    /// How a packet would fit as the next of this stream. `None` while too little is known of it.
    #[cold]
    pub fn compare_next(&self, sequence: u16, time: Timestamp, timestamp: u32) -> Option<NextFit> {
        let ahead = i64::from(self.sequence.ahead_of(sequence)?);
        // Of the newest packets some may have been no audio.
        let audio = ahead + self.sequence.newest().saturating_sub(self.last_number) as i64;
        Some(NextFit {
            ahead,
            fit: self.jitter.compare(-audio, time, timestamp)?,
            packet_nanos: self.jitter.packet_duration().as_nanos() as i64,
        })
    }

    /// Forgets its place on a timeline: it is another call's from now on.
    pub fn unplace(&mut self) {
        self.clock = None;
        self.anchored_by = None;
        self.was_anchored = false;
    }

    /// Whether a packet of audio comes as many ticks after the one before as they do.
    #[inline(always)]
    pub fn keeps_pace(&self, timestamp: u32) -> bool {
        self.jitter.is_expected(timestamp)
    }

    /// Number of the last packet of audio.
    pub fn last_number(&self) -> u64 {
        self.last_number
    }

    /// Counts a packet of audio that is no duplicate.
    #[inline]
    pub fn count_audio(&mut self, time: Timestamp, timestamp: u32, number: u64) {
        self.last_number = number;
        if self.jitter.update(time, timestamp) {
            self.sequence.discard(number);
        }
    }

    /// What RTCP says of it, to be added to, and what the sensor has of it.
    pub fn reported(&mut self) -> (&mut Reported, &SequenceTracker) {
        (self.reported.get_or_insert_default(), &self.sequence)
    }

    /// Counts one packet for the codec of its present meaning.
    #[inline]
    pub fn count_codec(&mut self) {
        self.run += 1;
    }

    /// Changes what the payload type means.
    pub fn mean(&mut self, meaning: Option<Meaning>) {
        self.codecs = self.codec_counts();
        self.run = 0;
        if let Some(meaning) = meaning
            && meaning.format.codec != Codec::TelephoneEvent
        {
            self.jitter.set_rate(meaning.ticks_hz);
        }
        if self.meaning.map(|before| before.format) != meaning.map(|after| after.format) {
            self.doubt_pace();
        }
        self.meaning = meaning;
    }

    /// Packets by codec.
    fn codec_counts(&self) -> Vec<(Codec, u64)> {
        let mut codecs = self.codecs.clone();
        let Some(meaning) = self.meaning else {
            return codecs;
        };
        let codec = meaning.format.codec;
        if let Some((_, count)) = codecs.iter_mut().find(|(known, _)| *known == codec) {
            *count += self.run;
        } else if codecs.len() < MAX_CODECS {
            codecs.push((codec, self.run));
        }
        codecs
    }

    /// Keeps a packet that cannot be placed yet; how many bytes that takes.
    pub fn keep(&mut self, kept: Kept) -> usize {
        let cost = kept_cost(kept.bytes.len());
        self.kept.push_back(kept);
        self.kept_bytes += cost;
        cost
    }

    /// Forgets the oldest packet kept; how many bytes that gave back.
    pub fn drop_oldest_kept(&mut self) -> usize {
        let Some(kept) = self.kept.pop_front() else {
            return 0;
        };
        self.not_placed += 1;
        let cost = kept_cost(kept.bytes.len());
        self.kept_bytes -= cost;
        cost
    }

    /// Takes all that was kept; how many bytes that gave back.
    pub fn take_kept(&mut self) -> (VecDeque<Kept>, usize) {
        (
            std::mem::take(&mut self.kept),
            std::mem::take(&mut self.kept_bytes),
        )
    }

    /// Drops what waited while its sender was in doubt.
    #[cold]
    pub fn doubted(&mut self) -> Dropped {
        let (kept, bytes) = self.take_kept();
        let packets = kept.len() as u64;
        (self.doubt, self.not_placed) = (None, self.not_placed + packets);
        Dropped { packets, bytes }
    }

    pub fn report(&self, side: Side) -> StreamReport {
        let codecs = self.codec_counts();
        let most = codecs
            .iter()
            .max_by_key(|(codec, count)| (codec.is_audio(), *count));
        StreamReport {
            side,
            flow: self.key.flow,
            ssrc: self.key.ssrc,
            codec: most.map_or(Codec::from_static(127), |(codec, _)| *codec),
            first_at: self.first_at,
            last_at: self.last_at,
            packets: self.sequence.received(),
            bytes: self.bytes,
            expected: self.sequence.expected(),
            lost: self.sequence.lost(),
            duplicates: self.duplicates,
            late: self.late,
            not_placed: self.not_placed + self.kept.len() as u64,
            restarts: self.restarts,
            jitter: self.jitter.last(),
            drift_samples: self.clock.as_ref().map_or(0, StreamClock::drift_samples),
            srtp: self.secrecy.as_ref().and_then(|secrecy| secrecy.suite),
            hidden: self.secrecy.as_ref().and_then(|secrecy| secrecy.hidden),
            auth_failed: self.secrecy.as_ref().map_or(0, |s| s.auth_failed),
            paused: self.paused,
            other_clock: self.pacing.told(),
            shared: Shared::default(),
            quality: self.quality(),
        }
    }

    /// What is known before the call is over.
    fn quality(&self) -> StreamQuality {
        let reports = |reported: &Reported| Box::new(reported.reports(&self.sequence));
        StreamQuality {
            jitter_mean: self.jitter.mean(),
            jitter_largest: self.jitter.largest(),
            packet_duration: self.jitter.packet_duration(),
            clock_rate_hz: self.jitter.rate_hz(),
            bursts: self.sequence.bursts(),
            reports: self.reported.as_deref().map(reports),
            rating: None,
            counted: true,
        }
    }
}
