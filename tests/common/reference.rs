//! What a capture holds, read straightforwardly: every packet put where its timestamp says, no streaming, no limits.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use callreel::base::{Side, Timestamp};
use callreel::capture::CaptureFiles;
use callreel::codec::{Codec, Decoder};
use callreel::rtp::{RtpPacket, samples_between};
use callreel::sip::{self, Message, Method, StartLine};
use callreel::wire::{TcpInterest, Unit, Wire, WireLimits};

use super::audio::correlation;
use super::expected::{Leg, Stream};

/// All fixtures are G.711.
const RATE_HZ: u32 = 8000;
/// A packet's repair of drift is at most this many samples.
const STEP: i64 = 8;
/// How far a packet is looked for after a step that was larger.
const FAR: i64 = 1600;
/// Both sides of a recording stay this close to each other: 20 ms.
const TOGETHER: i64 = 160;
/// The capture's clock is read from the earliest packet of so many samples.
const WINDOW: i64 = 1600;

/// A capture file in memory.
pub struct Capture {
    /// Time of the first packet, of whatever kind.
    pub start: Timestamp,
    datagrams: Vec<Datagram>,
}

struct Datagram {
    time: Timestamp,
    source: String,
    destination: String,
    payload: Vec<u8>,
}

/// One packet of audio with its first sample's place, counted from the recording's start.
struct Placed {
    stream: usize,
    /// By its capture time.
    arrival: i64,
    /// By its stream's first packet and its timestamp.
    position: i64,
    samples: Vec<i16>,
}

/// One side's audio as the capture has it.
pub struct Track {
    packets: Vec<Placed>,
}

/// How a channel compares with a [`Track`].
#[derive(Debug)]
pub struct Likeness {
    /// Pearson's, over the whole channel, at lag 0.
    pub correlation: f64,
    /// For each fifth of a second by the capture's clock, how many samples its earliest packet comes after its place.
    pub delays: BTreeMap<i64, i64>,
    /// Samples that differ.
    pub differing: usize,
    /// One past the last sample of what was sent, where the channel has it.
    pub end: i64,
}

/// A time during which the caller, by its own offers, held the callee.
#[derive(Debug)]
pub struct Hold {
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Capture {
    /// Reads a capture; of one with SRTP, the copy beside it that has none.
    pub fn read(path: &Path) -> Capture {
        let plain = path.with_extension("plain");
        let path = if plain.exists() { &plain } else { path };
        let mut files = CaptureFiles::open(&[PathBuf::from(path)]).unwrap();
        let interest = TcpInterest {
            ports: Vec::new(),
            sniff: sip::looks_like_sip,
        };
        let mut wire = Wire::new(WireLimits::default(), interest);
        let (mut start, mut datagrams) = (None, Vec::new());
        while let Some(packet) = files.next_packet().unwrap() {
            start.get_or_insert(packet.time);
            wire.handle_packet(&packet, &mut |unit| {
                if let Unit::Datagram(datagram) = unit {
                    datagrams.push(Datagram {
                        time: datagram.time,
                        source: datagram.flow.source.to_string(),
                        destination: datagram.flow.destination.to_string(),
                        payload: datagram.payload.to_vec(),
                    });
                }
            });
        }
        let start = start.expect("a fixture has packets");
        Capture { start, datagrams }
    }

    /// `seconds` after the first packet.
    pub fn at(&self, seconds: f64) -> Timestamp {
        Timestamp::from_nanos(self.start.as_nanos() + (seconds * 1e9).round() as i64)
    }

    fn rtp<'c>(&'c self, stream: &'c Stream) -> impl Iterator<Item = (Timestamp, RtpPacket<'c>)> {
        let ssrc = u32::from_str_radix(&stream.ssrc, 16).unwrap();
        self.datagrams
            .iter()
            .filter(|d| d.source == stream.source && d.destination == stream.destination)
            .filter_map(move |d| Some((d.time, RtpPacket::parse(&d.payload)?)))
            .filter(move |(_, rtp)| rtp.ssrc == ssrc && decoder(rtp.payload_type).is_some())
    }

    /// When the first audio of `leg` was captured.
    pub fn first_audio(&self, leg: &Leg) -> Option<Timestamp> {
        let streams = Side::BOTH.into_iter().flat_map(|side| heard(leg, side));
        streams
            .filter_map(|stream| self.rtp(stream).next())
            .map(|(time, _)| time)
            .min()
    }

    /// What `side` said, on a timeline that begins at `zero`.
    pub fn track(&self, leg: &Leg, side: Side, zero: Timestamp) -> Track {
        let mut packets = Vec::new();
        for (index, stream) in heard(leg, side).into_iter().enumerate() {
            let mut anchor = None;
            for (time, rtp) in self.rtp(stream) {
                let (first_at, first) = *anchor.get_or_insert((time, rtp.timestamp));
                let ticks = rtp.timestamp.wrapping_sub(first) as i32;
                let mut samples = Vec::new();
                let decoder = decoder(rtp.payload_type);
                decoder.unwrap().decode(rtp.payload, &mut samples).unwrap();
                packets.push(Placed {
                    stream: index,
                    arrival: samples_between(zero, time, RATE_HZ),
                    position: samples_between(zero, first_at, RATE_HZ) + i64::from(ticks),
                    samples,
                });
            }
        }
        Track { packets }
    }

    /// From the acceptance of each offer in mid-call with which the caller only sends, to that of the next that is not so.
    pub fn holds_by_caller(&self) -> Vec<Hold> {
        let (mut offers, mut holds, mut since) = (Vec::new(), Vec::new(), None);
        for datagram in &self.datagrams {
            let Ok(message) = Message::parse(&datagram.payload) else {
                continue;
            };
            let Some(cseq) = message.cseq().filter(|cseq| cseq.method == Method::Invite) else {
                continue;
            };
            match message.start {
                StartLine::Request {
                    method: Method::Invite,
                    ..
                } => {
                    let body = String::from_utf8_lossy(message.sdp().unwrap_or_default());
                    let holds = body.contains("a=sendonly") || body.contains("a=inactive");
                    offers.push((cseq.number, holds));
                }
                StartLine::Response { status: 200, .. } => {
                    let offer = offers.iter().find(|(number, _)| *number == cseq.number);
                    match (offer, since) {
                        (Some((_, true)), None) => since = Some(datagram.time),
                        (Some((_, false)), Some(from)) => {
                            holds.push(Hold {
                                from,
                                to: datagram.time,
                            });
                            since = None;
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        holds
    }
}

/// The streams of one side, those of other hops left out: of one SSRC the copy that was captured first.
fn heard(leg: &Leg, side: Side) -> Vec<&Stream> {
    let mut heard: Vec<&Stream> = Vec::new();
    for stream in leg.copies(side).flat_map(|voice| &voice.streams) {
        match heard.iter_mut().find(|known| known.ssrc == stream.ssrc) {
            Some(known) if stream.first_s < known.first_s => *known = stream,
            Some(_) => {}
            None => heard.push(stream),
        }
    }
    heard
}

/// Of the payload types that are audio in the fixtures.
fn decoder(payload_type: u8) -> Option<Decoder> {
    match payload_type {
        0 => Decoder::new(Codec::Pcmu),
        8 => Decoder::new(Codec::Pcma),
        _ => None,
    }
}

impl Track {
    /// Compares `channel` with what was sent. A stream whose sender's clock was repaired is followed in its small steps.
    pub fn likeness(&self, channel: &[i16]) -> Likeness {
        let mut expected = vec![0; channel.len()];
        let (mut shift, mut stream, mut end) = (0, 0, 0);
        let mut delays = BTreeMap::new();
        for packet in &self.packets {
            if packet.stream != stream {
                (stream, shift) = (packet.stream, 0);
            }
            shift = packet.shift_in(channel, shift);
            let delay = packet.arrival - packet.position - shift;
            let earliest = delays.entry(packet.arrival / WINDOW).or_insert(delay);
            *earliest = delay.min(*earliest);
            end = end.max(packet.position + shift + packet.samples.len() as i64);
            for (n, &sample) in packet.samples.iter().enumerate() {
                let place = usize::try_from(packet.position + shift + n as i64);
                if let Some(to) = place.ok().and_then(|place| expected.get_mut(place)) {
                    *to = sample;
                }
            }
        }
        let differing = expected.iter().zip(channel).filter(|(a, b)| a != b).count();
        Likeness {
            correlation: correlation(&expected, channel),
            delays,
            differing,
            end,
        }
    }
}

impl Likeness {
    /// Whether the channel is the track, sample for sample.
    pub fn is_exact(&self) -> bool {
        self.correlation >= 0.99 && self.differing == 0
    }

    /// The most that one side is late against the other at any time, where it is too much, in samples.
    pub fn apart(&self, other: &Likeness) -> Option<i64> {
        let both = self
            .delays
            .iter()
            .filter_map(|(window, delay)| Some(delay - other.delays.get(window)?));
        both.max_by_key(|apart| apart.abs())
            .filter(|apart| apart.abs() > TOGETHER)
    }
}

impl Placed {
    /// By how much the packet lies off its place: as much as the one before it, unless it does not fit there.
    fn shift_in(&self, channel: &[i16], before: i64) -> i64 {
        let fits = |shift: i64| {
            let samples = self.samples.iter().enumerate();
            let at = |n: usize| usize::try_from(self.position + shift + n as i64).ok();
            samples
                .filter(|&(n, sample)| at(n).and_then(|at| channel.get(at)) == Some(sample))
                .count()
        };
        // A step of the packet after it overwrites its last samples.
        let whole = self.samples.len() - STEP.unsigned_abs() as usize;
        let best = |reach: i64| {
            let near = before - reach..=before + reach;
            near.map(|shift| (fits(shift), -(shift - before).abs(), shift))
                .max()
        };
        if fits(before) == self.samples.len() {
            return before;
        }
        best(STEP)
            .filter(|(fitting, ..)| *fitting >= whole)
            .or_else(|| best(FAR))
            .map_or(before, |(.., shift)| shift)
    }
}
