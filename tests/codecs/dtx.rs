//! Senders that keep quiet in pauses: AMR, AMR-WB and G.729 with Annex B, in whole calls, beside what decoders that others wrote
//! make of the same frames (`fixtures/dtx`).

use std::ops::Range;
use std::path::{Path, PathBuf};

use callreel::base::{PerSide, Side};
use callreel::storage::Cause;

use crate::bandwidth_efficient;
use crate::common::audio::{channels, correlation, lag, level, ulaw_wav};
use crate::common::call::{Call, Packet};
use crate::common::replay::Replay;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/dtx")
        .join(name)
}

/// Frames as the encoder gave them; an empty one, or one of AMR that says there is none, is not sent.
fn frames(name: &str) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(fixture(&format!("{name}.frames"))).unwrap();
    let (mut frames, mut rest) = (Vec::new(), &bytes[..]);
    while let Some((&len, behind)) = rest.split_first() {
        let (frame, behind) = behind.split_at(usize::from(len));
        frames.push(frame.to_vec());
        rest = behind;
    }
    frames
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Speech,
    /// A description of silence.
    Silence,
    NotSent,
}

/// By the type that the first octet of a frame of AMR has (RFC 4867 section 5.3).
fn kind_of_amr(frame: &[u8]) -> Kind {
    match frame[0] >> 3 & 15 {
        0..=7 => Kind::Speech,
        // Speech of AMR-WB; silence of AMR.
        8 if frame.len() > 6 => Kind::Speech,
        8 | 9 => Kind::Silence,
        15 => Kind::NotSent,
        other => panic!("a frame of type {other}"),
    }
}

fn kind_of_g729(frame: &[u8]) -> Kind {
    match frame.len() {
        10 => Kind::Speech,
        2 => Kind::Silence,
        0 => Kind::NotSent,
        other => panic!("a frame of {other} bytes"),
    }
}

/// A packet for each payload with its place in frames, each behind a pause marked.
fn sent(payloads: Vec<(usize, Vec<u8>)>, frame_ticks: u32, clock_hz: u32) -> Vec<Packet> {
    let mut packets: Vec<Packet> = Vec::new();
    for (frame, payload) in payloads {
        let mut packet = Packet::nth(frame, frame_ticks, clock_hz, payload);
        packet.number = 65_500u16.wrapping_add(packets.len() as u16);
        let before = packets.last();
        packet.marker = before.is_none_or(|b| packet.timestamp - b.timestamp > 2 * frame_ticks);
        packets.push(packet);
    }
    packets
}

/// One call: how it is said, what is sent, and what must come of it.
struct Pauses<'a> {
    name: &'a str,
    rtpmap: &'a str,
    fmtp: &'a str,
    /// Of each frame.
    kinds: Vec<Kind>,
    /// Samples of a frame at the recording's rate.
    frame: usize,
    packets: Vec<Packet>,
}

impl Pauses<'_> {
    /// Stretches of frames that satisfy `is`, in samples.
    fn stretches(&self, is: impl Fn(Kind) -> bool) -> Vec<Range<usize>> {
        let mut stretches: Vec<Range<usize>> = Vec::new();
        for (n, _) in self.kinds.iter().enumerate().filter(|(_, kind)| is(**kind)) {
            let (from, to) = (n * self.frame, (n + 1) * self.frame);
            match stretches.last_mut() {
                Some(last) if last.end == from => last.end = to,
                _ => stretches.push(from..to),
            }
        }
        stretches
    }

    fn check(self, reference: &[i16]) {
        let folder = tempfile::tempdir().unwrap();
        let (what, path) = (self.name, folder.path().join("call.pcap"));
        let whole = self.kinds.len() * self.frame;
        let call = Call {
            rtpmap: self.rtpmap,
            fmtp: self.fmtp,
            others: "",
            packets: PerSide {
                caller: self.packets.clone(),
                callee: Vec::new(),
            },
            bye_ms: 8000,
        };
        call.write(&path);
        let replay = Replay::run(&[path]);
        let line = &replay.report.calls[0];
        assert_eq!((&*line.disposition, line.packets_lost), ("recorded", 0));
        let audio = line.file.as_ref().unwrap();
        let (_, [heard, _]) = channels(audio);
        assert_eq!(heard.len(), reference.len(), "{what}");
        assert_eq!(heard.len(), whole, "{what}");
        for speech in self.stretches(|kind| kind == Kind::Speech) {
            let (ours, theirs) = (&heard[speech.clone()], &reference[speech.clone()]);
            let like = correlation(ours, theirs);
            let later = lag(theirs, ours, 100);
            println!("{what}: {speech:?} {like:.5}, {later} later");
            assert!(like >= 0.99, "{what}, {speech:?}: {like:.4}");
            assert_eq!(later, 0, "{what}, {speech:?}");
        }
        let quiet = self.stretches(|kind| kind != Kind::Speech);
        assert!(quiet.len() >= 2, "{what}: it keeps quiet");
        for pause in &quiet {
            // What a receiver makes up is soft; of it nothing is in a recording.
            assert!(level(&reference[pause.clone()]) < -50.0, "{what}");
            assert!(heard[pause.clone()].iter().all(|&s| s == 0), "{what}");
        }
        let sidecar = line.recorded().unwrap().sidecar;
        let told = sidecar.segments.iter().filter(|s| s.side == Side::Caller);
        let told: Vec<_> = told
            .map(|s| (s.from as usize..s.to as usize, s.cause))
            .collect();
        let expected: Vec<_> = quiet
            .into_iter()
            .map(|pause| (pause, Cause::ComfortNoise))
            .collect();
        assert_eq!(told, expected, "{what}");
        assert_eq!(sidecar.packets_dropped, 0, "{what}");
    }
}

/// AMR in `name`'s frames, octet-aligned or not.
fn amr(name: &str, rtpmap: &str, frame: usize, clock_hz: u32, octet_aligned: bool) {
    let all = frames(name);
    let kinds: Vec<Kind> = all.iter().map(|frame| kind_of_amr(frame)).collect();
    let payloads = all.into_iter().enumerate().zip(&kinds);
    let payloads = payloads
        .filter(|(_, kind)| **kind != Kind::NotSent)
        .map(|((n, frame), _)| {
            let aligned = [&[0xf0], &frame[..]].concat();
            let payload = match octet_aligned {
                true => aligned,
                false => bandwidth_efficient(&[aligned], clock_hz == 16_000),
            };
            (n, payload)
        });
    let packets = sent(payloads.collect(), frame as u32, clock_hz);
    let pauses = Pauses {
        name,
        rtpmap,
        fmtp: if octet_aligned { "octet-align=1" } else { "" },
        kinds,
        frame,
        packets,
    };
    pauses.check(&ulaw_wav(&fixture(&format!("{name}.wav"))));
}

#[test]
fn amr_that_keeps_quiet_in_pauses_is_heard_where_it_speaks() {
    for octet_aligned in [true, false] {
        amr("amr", "AMR/8000", 160, 8000, octet_aligned);
    }
}

#[test]
fn amr_wb_that_keeps_quiet_in_pauses_is_heard_where_it_speaks() {
    for octet_aligned in [true, false] {
        amr("amr-wb", "AMR-WB/16000", 320, 16_000, octet_aligned);
    }
}

/// Two frames a packet; a description of silence ends the packet that it is in (RFC 3551 section 4.5.6).
#[test]
fn g729_with_annex_b_is_heard_where_it_speaks() {
    let all = frames("g729b");
    let kinds: Vec<Kind> = all.iter().map(|frame| kind_of_g729(frame)).collect();
    let mut payloads: Vec<(usize, Vec<u8>)> = Vec::new();
    for (n, frame) in all.iter().enumerate().filter(|(_, f)| !f.is_empty()) {
        match payloads.last_mut() {
            Some((first, payload)) if payload.len() == 10 && *first + 1 == n => {
                payload.extend(frame)
            }
            _ => payloads.push((n, frame.clone())),
        }
    }
    let pauses = Pauses {
        name: "g729b",
        rtpmap: "G729/8000",
        fmtp: "annexb=yes",
        kinds,
        frame: 80,
        packets: sent(payloads, 80, 8000),
    };
    pauses.check(&ulaw_wav(&fixture("g729b.wav")));
}
