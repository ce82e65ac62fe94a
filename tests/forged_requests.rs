//! Requests that somebody else sends into a call between real programs, replayed by the binary: none of them moves a sample, and
//! each is told of.

#[path = "common/replay.rs"]
mod replay;

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use callreel::base::{Endpoint, Timestamp};
use callreel::capture::{CaptureFiles, PcapWriter};
use callreel::sip::{self, Message, Sdp, StartLine};
use callreel::wire::{LinkType, TcpInterest, Unit, Wire, WireLimits};
use replay::{Recorded, Replay};

/// Somebody on the same network as the phones.
const FOREIGN: [u8; 4] = [192, 0, 2, 66];

/// What a forger gets wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    FromTag,
    ToTag,
    NoFromTag,
    NoToTag,
    /// Nothing but where it comes from.
    Source,
    /// The branch: of a CANCEL, which has that of its INVITE.
    Branch,
}

/// When it comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Moment {
    Ringing,
    Talking,
}

/// A capture of one call, and what a forger can know of it.
struct Scene {
    frames: Vec<(Timestamp, Vec<u8>)>,
    invite: String,
    to_tag: String,
    caller: Endpoint,
    callee: Endpoint,
    /// Where the callee expects media.
    media: Endpoint,
    /// Indices of the frames before which a forger speaks.
    ringing: usize,
    talking: usize,
}

impl Scene {
    fn read(fixture: &str) -> Scene {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("fixtures/{fixture}/{fixture}.pcap"));
        let mut wire = Wire::new(
            WireLimits::default(),
            TcpInterest {
                ports: Vec::new(),
                sniff: sip::looks_like_sip,
            },
        );
        let mut files = CaptureFiles::open(&[path]).unwrap();
        let mut scene = Scene {
            frames: Vec::new(),
            invite: String::new(),
            to_tag: String::new(),
            caller: Endpoint::new([0, 0, 0, 0].into(), 0),
            callee: Endpoint::new([0, 0, 0, 0].into(), 0),
            media: Endpoint::new([0, 0, 0, 0].into(), 0),
            ringing: 0,
            talking: 0,
        };
        while let Some(packet) = files.next_packet().unwrap() {
            wire.handle_packet(&packet, &mut |unit| {
                if let Unit::Datagram(datagram) = unit {
                    scene.note(
                        datagram.flow.source,
                        datagram.flow.destination,
                        datagram.payload,
                    );
                }
            });
            scene.frames.push((packet.time, packet.data.to_vec()));
        }
        // A second and a half after the answer, and as much before the end.
        scene.talking = scene.ringing + 150;
        assert!(scene.ringing > 0 && scene.talking + 150 < scene.frames.len());
        scene
    }

    fn note(&mut self, source: Endpoint, destination: Endpoint, payload: &[u8]) {
        let Ok(message) = Message::parse(payload) else {
            return;
        };
        match message.start {
            // The last one is the one that is answered.
            StartLine::Request { .. } if message.method_token() == "INVITE" => {
                self.invite = String::from_utf8(payload.to_vec()).unwrap();
                (self.caller, self.callee) = (source, destination);
            }
            StartLine::Response { status: 200, .. } if self.ringing == 0 => {
                self.ringing = self.frames.len();
                self.to_tag = message.to().unwrap().tag().unwrap().to_owned();
                let sdp = Sdp::parse(message.sdp().unwrap()).unwrap();
                self.media = sdp.media[0].endpoint().unwrap();
            }
            _ => {}
        }
    }

    /// The request of a forger who knows all of the INVITE and its answer but what is `wrong`.
    fn forged(&self, method: &str, wrong: Wrong, moment: Moment) -> Vec<u8> {
        let invite = Message::parse(self.invite.as_bytes()).unwrap();
        let header = |name: &str| invite.header(name).unwrap();
        let number = invite.cseq().unwrap().number;
        let is_cancel = method == "CANCEL";
        let (from, _) = header("From").split_once(";tag=").unwrap();
        let from_tag = match wrong {
            Wrong::FromTag => ";tag=wrong".to_owned(),
            Wrong::NoFromTag => String::new(),
            _ => format!(";tag={}", invite.from().unwrap().tag().unwrap()),
        };
        let to_tag = match wrong {
            Wrong::ToTag => ";tag=wrong".to_owned(),
            Wrong::NoToTag => String::new(),
            _ if is_cancel && moment == Moment::Ringing => String::new(),
            _ => format!(";tag={}", self.to_tag),
        };
        let branch = match is_cancel && wrong != Wrong::Branch {
            true => invite.branch().unwrap(),
            false => "z9hG4bKforged",
        };
        let number = number + if is_cancel { 0 } else { 1 };
        let body = match method {
            "INVITE" | "UPDATE" => format!(
                "v=0\r\no=- 9 9 IN IP4 {0}\r\ns=-\r\nc=IN IP4 {0}\r\nt=0 0\r\nm=audio 7000 RTP/AVP 0\r\n",
                Endpoint::new(FOREIGN.into(), 0).ip()
            ),
            _ => String::new(),
        };
        let kind = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "{method} sip:1002@192.0.2.20:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {};branch={branch}\r\nFrom: {from}{from_tag}\r\n\
             To: {}{to_tag}\r\nCall-ID: {}\r\nCSeq: {number} {method}\r\nMax-Forwards: 70\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            self.caller,
            header("To"),
            header("Call-ID"),
            body.len(),
        )
        .into_bytes()
    }

    /// The capture with what a forger sends: a request and, where that has offered a place for media, media from there.
    fn with(&self, to: &Path, method: &str, wrong: Wrong, moment: Moment) {
        let file = BufWriter::new(File::create(to).unwrap());
        let mut output = PcapWriter::new(file, LinkType::Ethernet).unwrap();
        let mut write = |time, frame: &[u8]| output.write(time, frame, frame.len() as u32).unwrap();
        let before = match moment {
            Moment::Ringing => self.ringing,
            Moment::Talking => self.talking,
        };
        let source = match wrong {
            Wrong::Source => Endpoint::new(FOREIGN.into(), 5060),
            _ => self.caller,
        };
        let mut said = 0;
        for (n, (time, data)) in self.frames.iter().enumerate() {
            if n == before {
                write(
                    *time,
                    &udp(source, self.callee, &self.forged(method, wrong, moment)),
                );
            }
            let speaks = n > before && matches!(method, "INVITE" | "UPDATE");
            if speaks && said < 20 {
                let from = Endpoint::new(FOREIGN.into(), 7000);
                write(*time, &udp(from, self.media, &rtp(said)));
                said += 1;
            }
            write(*time, data);
        }
        output.flush().unwrap();
    }
}

fn rtp(n: u8) -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, n, 0, 0];
    packet.extend((u16::from(n) * 160).to_be_bytes());
    packet.extend([0, 0, 0, 0x66]);
    packet.extend([0x10; 160]);
    packet
}

fn udp(source: Endpoint, destination: Endpoint, payload: &[u8]) -> Vec<u8> {
    let octets = |endpoint: Endpoint| match endpoint.ip() {
        std::net::IpAddr::V4(ip) => ip.octets(),
        std::net::IpAddr::V6(_) => panic!("the fixtures are IPv4"),
    };
    let builder = etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4(octets(source), octets(destination), 64)
        .udp(source.port, destination.port);
    let mut frame = Vec::with_capacity(builder.size(payload.len()));
    builder.write(&mut frame, payload).unwrap();
    frame
}

fn only(replay: &Replay) -> Recorded {
    assert_eq!(replay.exit_code, Some(0), "{}", replay.stderr);
    assert_eq!(replay.report.calls.len(), 1);
    replay.report.calls[0].recorded().unwrap()
}

/// Every forgery in `forged`, beside the call as it was.
fn assert_nothing_moves(fixture: &str, forged: &[(&str, Wrong, Moment)]) {
    let scene = Scene::read(fixture);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf { folder.path().join(format!("{name}.pcap")) };
    let untouched =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{fixture}/{fixture}.pcap"));
    let alone = Replay::run(&[untouched]);
    let due = only(&alone);
    assert!(due.sidecar.suspicious.is_empty());
    for &(method, wrong, moment) in forged {
        let name = format!("{method} {wrong:?} {moment:?}");
        scene.with(&path("forged"), method, wrong, moment);
        let replay = Replay::run(&[path("forged")]);
        let found = only(&replay);
        assert!(found.wav == due.wav, "{name}: the audio is another one");
        let told = |kind: &str| {
            let of_kind = found.sidecar.suspicious.iter().find(|one| one.kind == kind);
            of_kind.map_or(0, |one| one.count)
        };
        assert_eq!(told("foreign_requests"), 1, "{name}");
        let speaks = matches!(method, "INVITE" | "UPDATE");
        assert_eq!(told("foreign_media"), if speaks { 20 } else { 0 }, "{name}");
        let (is, was) = (&found.sidecar, &due.sidecar);
        assert_eq!(is.end_reason, was.end_reason, "{name}");
        assert_eq!(is.segments, was.segments, "{name}");
        assert_eq!(is.participants, was.participants, "{name}");
    }
}

#[test]
fn forged_requests_in_a_call_move_no_sample_and_are_told_of() {
    let wrong = [
        Wrong::FromTag,
        Wrong::ToTag,
        Wrong::NoFromTag,
        Wrong::NoToTag,
        Wrong::Source,
    ];
    let methods = ["BYE", "INVITE", "UPDATE"];
    let forged: Vec<_> = (methods.iter())
        .flat_map(|method| wrong.map(|wrong| (*method, wrong, Moment::Talking)))
        .collect();
    assert_nothing_moves("sipp-pcmu", &forged);
}

/// While it rings, and the caller was asked for credentials before; and when it was answered.
#[test]
fn forged_cancels_move_no_sample_and_are_told_of() {
    let wrong = [
        Wrong::FromTag,
        Wrong::ToTag,
        Wrong::NoFromTag,
        Wrong::Source,
        Wrong::Branch,
    ];
    let forged: Vec<_> = ([Moment::Ringing, Moment::Talking].iter())
        .flat_map(|moment| wrong.map(|wrong| ("CANCEL", wrong, *moment)))
        .collect();
    for fixture in ["sipp-pcmu", "sipp-auth", "sipp-early-media"] {
        assert_nothing_moves(fixture, &forged);
    }
}
