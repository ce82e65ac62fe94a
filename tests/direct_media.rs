//! Phones that send to each other while a PBX has a call with each of them, through the real program: what each phone said is in the
//! file of either leg, before, during and after that, in its place; and in nobody else's.

#[path = "common/audio.rs"]
mod audio;

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;

use audio::{aligned, channels, correlation, lag};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use callreel::base::{Secret, Timestamp};
use callreel::capture::PcapWriter;
use callreel::codec::linear_to_ulaw;
use callreel::rtp::{KeyOptions, SrtpKey, SrtpSender, Suite};
use callreel::simulate::Voice;
use callreel::storage::{Sidecar, StreamRecord};
use callreel::wire::LinkType;

type At = (u8, u16);

const PBX: u8 = 100;
const A: At = (1, 4000);
const B: At = (2, 5000);
/// Where the PBX receives from A, and from B.
const NEAR_A: At = (PBX, 8000);
const NEAR_B: At = (PBX, 8002);

/// Milliseconds at which media begins, and at which the phones have hung up.
const BEGIN: u32 = 400;
const END: u32 = 9400;

/// What happens, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Scene {
    /// From when to when A, and B, sends to the other one: its leg is told 20 ms before.
    direct_a: (u32, u32),
    direct_b: (u32, u32),
    srtp: bool,
    /// Somebody else names the phones' ends in a call of theirs.
    is_overheard: bool,
}

const USUAL: Scene = Scene {
    direct_a: (3400, 6400),
    direct_b: (3400, 6400),
    srtp: false,
    is_overheard: false,
};

/// One who sends.
struct Sender {
    voice: Voice,
    ssrc: u32,
    seal: Option<SrtpSender>,
}

impl Sender {
    fn new(voice: u64, ssrc: u32, srtp: bool) -> Sender {
        Sender {
            voice: Voice::new(voice),
            ssrc,
            seal: srtp.then(|| SrtpSender::new(key(ssrc as u8), 0)),
        }
    }

    /// The packet of 20 ms that is sent at `ms`: what is said at that moment.
    fn packet(&mut self, ms: u32) -> Vec<u8> {
        let mut packet = vec![0x80, 0];
        packet.extend((ms / 20).to_be_bytes().get(2..).unwrap());
        packet.extend((ms * 8).to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        let first = u64::from(ms) * 8;
        packet.extend((first..first + 160).map(|n| linear_to_ulaw(self.voice.sample(n))));
        match &mut self.seal {
            None => packet,
            Some(sender) => {
                let mut sealed = Vec::new();
                sender.seal(&packet, &mut sealed).unwrap();
                sealed
            }
        }
    }
}

const SUITE: Suite = Suite::AesCm128HmacSha1_80;

fn master(seed: u8) -> Vec<u8> {
    let len = SUITE.key_len() + SUITE.salt_len();
    (0..len)
        .map(|n| seed.wrapping_mul(31).wrapping_add(n as u8))
        .collect()
}

fn key(seed: u8) -> SrtpKey {
    SrtpKey::new(SUITE, Secret::new(master(seed)), KeyOptions::default()).unwrap()
}

/// Who speaks, with the seeds of their keys.
const VOICE_A: u64 = 11;
const VOICE_B: u64 = 12;
const SSRC_A: u32 = 1;
const SSRC_B: u32 = 2;
const SSRC_TO_A: u32 = 3;
const SSRC_TO_B: u32 = 4;

#[derive(Default)]
struct Capture {
    frames: Vec<(u32, Vec<u8>)>,
}

impl Capture {
    fn put(&mut self, ms: u32, from: At, to: At, payload: &[u8]) {
        let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 1, 0, from.0], [10, 1, 0, to.0], 64)
            .udp(from.1, to.1);
        let mut frame = Vec::new();
        builder.write(&mut frame, payload).unwrap();
        self.frames.push((ms, frame));
    }

    fn write(mut self, path: &Path) {
        self.frames.sort_by_key(|(ms, _)| *ms);
        let file = BufWriter::new(File::create(path).unwrap());
        let mut pcap = PcapWriter::new(file, LinkType::Ethernet).unwrap();
        for (ms, frame) in &self.frames {
            let nanos = i64::from(*ms) * 1_000_000;
            let time = Timestamp::from_secs_nanos(1_800_000_000, nanos);
            pcap.write(time, frame, frame.len() as u32).unwrap();
        }
        pcap.flush().unwrap();
    }
}

/// One dialog.
struct Leg {
    call_id: &'static str,
    numbers: (&'static str, &'static str),
    caller: u8,
    callee: u8,
    srtp: bool,
}

impl Leg {
    fn sdp(&self, at: At, sender: u32) -> String {
        let (profile, crypto) = match self.srtp {
            false => ("AVP", String::new()),
            true => {
                let key = STANDARD.encode(master(sender as u8));
                ("SAVP", format!("a=crypto:1 {SUITE} inline:{key}\r\n"))
            }
        };
        format!(
            "v=0\r\no=- 1 1 IN IP4 10.1.0.{0}\r\ns=-\r\nc=IN IP4 10.1.0.{0}\r\nt=0 0\r\n\
             m=audio {1} RTP/{profile} 0\r\n{crypto}",
            at.0, at.1
        )
    }

    fn say(
        &self,
        capture: &mut Capture,
        ms: u32,
        by_caller: bool,
        first: &str,
        cseq: &str,
        body: &str,
    ) {
        let (from, to) = match by_caller {
            true => (self.caller, self.callee),
            false => (self.callee, self.caller),
        };
        // A request is in the name of who sends it, and its answer too.
        let is_callers = by_caller != first.starts_with("SIP/2.0");
        let to_tag = if cseq == "1 INVITE" && !first.starts_with("SIP") {
            ""
        } else {
            ";tag=t"
        };
        let caller = format!("<sip:{}@x>;tag=f", self.numbers.0);
        let callee = format!("<sip:{}@x>{to_tag}", self.numbers.1);
        let (said_by, said_to) = match is_callers {
            true => (caller, callee),
            false => (callee, caller),
        };
        let text = format!(
            "{first}\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK{0}{1}\r\nFrom: {said_by}\r\nTo: {said_to}\r\n\
             Call-ID: {0}\r\nCSeq: {cseq}\r\nContent-Type: application/sdp\r\nContent-Length: {2}\r\n\r\n{body}",
            self.call_id,
            cseq.replace(' ', ""),
            body.len()
        );
        capture.put(ms, (from, 5060), (to, 5060), text.as_bytes());
    }

    fn set_up(
        &self,
        capture: &mut Capture,
        invite_ms: u32,
        answer_ms: u32,
        offer: &str,
        answer: &str,
    ) {
        self.say(
            capture,
            invite_ms,
            true,
            "INVITE sip:x@x SIP/2.0",
            "1 INVITE",
            offer,
        );
        self.say(
            capture,
            answer_ms,
            false,
            "SIP/2.0 200 OK",
            "1 INVITE",
            answer,
        );
        self.say(
            capture,
            answer_ms + 1,
            true,
            "ACK sip:x@x SIP/2.0",
            "1 ACK",
            "",
        );
    }

    /// A re-INVITE of one side, and its answer 15 ms later.
    fn move_media(
        &self,
        capture: &mut Capture,
        ms: u32,
        by_caller: bool,
        number: u32,
        offer: &str,
        answer: &str,
    ) {
        let cseq = format!("{number} INVITE");
        self.say(
            capture,
            ms,
            by_caller,
            "INVITE sip:x@x SIP/2.0",
            &cseq,
            offer,
        );
        self.say(
            capture,
            ms + 15,
            !by_caller,
            "SIP/2.0 200 OK",
            &cseq,
            answer,
        );
    }

    fn bye(&self, capture: &mut Capture, ms: u32) {
        self.say(capture, ms, true, "BYE sip:x@x SIP/2.0", "9 BYE", "");
        self.say(capture, ms + 5, false, "SIP/2.0 200 OK", "9 BYE", "");
    }
}

impl Scene {
    fn write(&self, path: &Path) {
        let mut capture = Capture::default();
        let srtp = self.srtp;
        let leg = |call_id, caller, callee| Leg {
            call_id,
            numbers: ("1001", "2002"),
            caller,
            callee,
            srtp,
        };
        let (incoming, outgoing) = (leg("in", A.0, PBX), leg("out", PBX, B.0));
        let c = &mut capture;
        let (of_a, of_b) = (incoming.sdp(A, SSRC_A), outgoing.sdp(B, SSRC_B));
        let (to_a, to_b) = (
            incoming.sdp(NEAR_A, SSRC_TO_A),
            outgoing.sdp(NEAR_B, SSRC_TO_B),
        );
        incoming.set_up(c, 0, 350, &of_a, &to_a);
        outgoing.set_up(c, 20, 330, &to_b, &of_b);
        incoming.move_media(c, self.direct_a.0 - 20, false, 2, &of_b, &of_a);
        outgoing.move_media(c, self.direct_b.0 - 20, true, 2, &of_a, &of_b);
        incoming.move_media(c, self.direct_a.1 - 20, false, 3, &to_a, &of_a);
        outgoing.move_media(c, self.direct_b.1 - 20, true, 3, &to_b, &of_b);
        incoming.bye(c, END);
        outgoing.bye(c, END + 10);
        if self.is_overheard {
            let strangers = Leg {
                numbers: ("3001", "3002"),
                ..leg("strangers", 50, 51)
            };
            strangers.set_up(
                c,
                self.direct_a.0 + 500,
                self.direct_a.0 + 700,
                &of_a,
                &of_b,
            );
            strangers.bye(c, END);
        }
        let mut a = Sender::new(VOICE_A, SSRC_A, srtp);
        let mut b = Sender::new(VOICE_B, SSRC_B, srtp);
        let mut to_a = Sender::new(VOICE_B, SSRC_TO_A, srtp);
        let mut to_b = Sender::new(VOICE_A, SSRC_TO_B, srtp);
        // All hops of a packet at once, so that one lag is right for half a second in which the media moves.
        for ms in (BEGIN..END).step_by(20) {
            let is_in = |(from, to): (u32, u32)| (from..to).contains(&ms);
            let (by_a, by_b) = (a.packet(ms), b.packet(ms));
            match is_in(self.direct_a) {
                true => c.put(ms, A, B, &by_a),
                false => {
                    c.put(ms, A, NEAR_A, &by_a);
                    c.put(ms, NEAR_B, B, &to_b.packet(ms));
                }
            }
            match is_in(self.direct_b) {
                true => c.put(ms, B, A, &by_b),
                false => {
                    c.put(ms, B, NEAR_B, &by_b);
                    c.put(ms, NEAR_A, A, &to_a.packet(ms));
                }
            }
        }
        capture.write(path);
    }

    /// The recordings of the real program, by tenant and Call-ID.
    fn record(&self, tenants: &[(&str, &str, &str)]) -> Recorded {
        let folder = tempfile::tempdir().unwrap();
        let capture = folder.path().join("scene.pcap");
        self.write(&capture);
        let (config, storage) = (
            folder.path().join("callreel.toml"),
            folder.path().join("recordings"),
        );
        std::fs::write(&config, "").unwrap();
        std::fs::create_dir(folder.path().join("tenants")).unwrap();
        for (n, (name, network, extensions)) in tenants.iter().enumerate() {
            let text = format!(
                "[tenant]\nid = \"aaaaaaaa-0000-4000-8000-00000000000{n}\"\nname = \"{name}\"\n\n\
                 [[match]]\nnetworks = [\"{network}\"]\n\n[[extension]]\nrange = \"{extensions}\"\n"
            );
            std::fs::write(folder.path().join(format!("tenants/{name}.toml")), text).unwrap();
        }
        let output = Command::new(env!("CARGO_BIN_EXE_callreel"))
            .args(["replay", "--json", "--config"])
            .arg(&config)
            .arg("--storage")
            .arg(&storage)
            .arg(&capture)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let mut files = Vec::new();
        let mut folders = vec![storage];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => files.push(path),
                }
            }
        }
        let is_audio = |path: &PathBuf| path.extension().is_some_and(|e| e == "wav");
        files.retain(is_audio);
        let read = |path: PathBuf| (Sidecar::read(&path.with_extension("json")).unwrap(), path);
        Recorded {
            all: files.into_iter().map(read).collect(),
            _folder: folder,
        }
    }
}

struct Recorded {
    all: Vec<(Sidecar, PathBuf)>,
    _folder: tempfile::TempDir,
}

impl Recorded {
    /// Whether the recording of a leg has what both phones said from `from` on, until `to`, and where it belongs.
    fn assert_hears(&self, call_id: &str, tenant: &str, (from, to): (u32, u32), what: &str) {
        let found = self
            .all
            .iter()
            .find(|(sidecar, _)| sidecar.call_id == call_id);
        let (sidecar, path) = found.unwrap_or_else(|| panic!("{call_id} is not recorded: {what}"));
        assert_eq!(sidecar.tenant, tenant, "{call_id}: {what}");
        let (rate_hz, heard) = channels(path);
        assert_eq!(rate_hz, 8000);
        let start_ns = sidecar.started_at_ns - 1_800_000_000_000_000_000;
        for (channel, voice) in heard.iter().zip([VOICE_A, VOICE_B]) {
            let voice = Voice::new(voice);
            // Half a second at a time.
            for ms in (from..to - 499).step_by(500) {
                let first = u64::from(ms) * 8;
                let said: Vec<i16> = (first..first + 4000).map(|n| voice.sample(n)).collect();
                let place = (i64::from(ms) * 1_000_000 - start_ns) / 125_000;
                let place = usize::try_from(place.max(0)).unwrap();
                let part = channel.get(place..channel.len().min(place + 4000)).unwrap();
                let lag = lag(&said, part, 160);
                let (said, part) = aligned(&said, part, lag);
                let likeness = correlation(said, part);
                assert!(
                    likeness > 0.97,
                    "{call_id} at {ms} ms: {likeness} {lag}: {what}"
                );
                assert!(lag.abs() <= 160, "{call_id} at {ms} ms: {lag}: {what}");
            }
        }
        // What went elsewhere meanwhile is a gap in the numbers of the streams through the PBX.
        let is_direct = |stream: &&StreamRecord| {
            !stream.source.contains(".100:") && !stream.destination.contains(".100:")
        };
        let direct: Vec<_> = sidecar.streams.iter().filter(is_direct).collect();
        assert_eq!(direct.len(), 2, "{call_id}: {what}");
        for stream in direct {
            assert_eq!(
                (stream.lost, stream.duplicates),
                (0, 0),
                "{call_id}: {what}"
            );
        }
    }
}

const TENANTS: [(&str, &str, &str); 3] = [
    ("red", "10.1.0.1/32", "1000-1099"),
    ("blue", "10.1.0.2/32", "2000-2099"),
    ("green", "10.1.0.50/31", "3000-3099"),
];

#[test]
fn each_tenant_has_all_that_both_phones_said() {
    // How much later one leg is told than the other.
    for (later_a, later_b) in [(0, 0), (60, 0), (0, 60), (0, 400), (400, 0), (1500, 0)] {
        for srtp in [false, true] {
            let scene = Scene {
                direct_a: (USUAL.direct_a.0 + later_a, USUAL.direct_a.1),
                direct_b: (USUAL.direct_b.0 + later_b, USUAL.direct_b.1),
                srtp,
                ..USUAL
            };
            let recorded = scene.record(&TENANTS);
            let what = format!("{scene:?}");
            assert_eq!(recorded.all.len(), 2, "{what}");
            recorded.assert_hears("in", "red", (BEGIN, END), &what);
            recorded.assert_hears("out", "blue", (BEGIN, END), &what);
        }
    }
}

#[test]
fn who_names_the_phones_hears_nothing_of_them_and_takes_nothing() {
    let scene = Scene {
        is_overheard: true,
        ..USUAL
    };
    let recorded = scene.record(&TENANTS);
    assert_eq!(recorded.all.len(), 2, "the strangers have no recording");
    recorded.assert_hears("in", "red", (BEGIN, END), "overheard");
    recorded.assert_hears("out", "blue", (BEGIN, END), "overheard");
}

#[test]
fn without_tenants_both_legs_are_heard_too_and_one_replay_is_like_the_other() {
    let recorded = [USUAL.record(&[]), USUAL.record(&[])];
    let bytes = |recorded: &Recorded| {
        let mut all: Vec<Vec<u8>> = Vec::new();
        for (sidecar, path) in &recorded.all {
            assert_eq!(sidecar.tenant, "System");
            all.push(std::fs::read(path).unwrap());
            all.push(std::fs::read(path.with_extension("json")).unwrap());
        }
        all.sort();
        all
    };
    assert_eq!(bytes(&recorded[0]), bytes(&recorded[1]));
    for leg in ["in", "out"] {
        recorded[0].assert_hears(leg, "System", (BEGIN, END), "no tenants");
    }
}
