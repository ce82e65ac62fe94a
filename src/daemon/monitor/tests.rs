//! A call on a real wire, watched and heard over HTTP.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::Extension;
use serde_json::Value;
use tempfile::TempDir;

use super::Monitor;
use crate::access::Principal;
use crate::api::{self, Api, ApiSettings};
use crate::catalog::Catalog;
use crate::config::Settings;
use crate::daemon::live::{self, Live, Session};
use crate::daemon::pipeline;
use crate::daemon::state::tests::a_state;
use crate::daemon::steering::Steering;
use crate::daemon::webhooks::Webhooks;
use crate::recorder::{Recorder, WhenFull};

/// A loud sample of PCMU, and silence.
const LOUD: u8 = 0x80;
const SILENT: u8 = 0xff;

/// The daemon's parts between a loopback interface and HTTP.
struct House {
    live: Option<Live>,
    http: SocketAddr,
    /// Ports of this house: SIP of both phones, RTP of both.
    ports: [u16; 4],
    _folder: TempDir,
}

/// Ports that nobody else uses at this moment, by being bound.
fn free_ports() -> ([UdpSocket; 4], [u16; 4]) {
    let sockets = [(); 4].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    let ports = [0, 1, 2, 3].map(|n: usize| sockets[n].local_addr().unwrap().port());
    (sockets, ports)
}

impl House {
    /// None where this process may not capture.
    fn build(ports: [u16; 4]) -> Option<House> {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::default();
        settings.capture.interfaces = vec!["lo".into()];
        settings.capture.sip_ports = vec![ports[0], ports[1]];
        let filter = ports.map(|port| format!("udp port {port}")).join(" or ");
        settings.capture.filter = Some(filter);
        settings.storage.root = folder.path().join("recordings");
        std::fs::create_dir_all(&settings.storage.root).unwrap();
        let sources = live::open(&settings).ok()?;
        if sources
            .iter()
            .any(|source| source.state.why_lost().is_some())
        {
            return None;
        }
        let api = Api::new(ApiSettings {
            storage: crate::storage::Layout::new(&settings.storage.root),
            ..ApiSettings::default()
        });
        let (steering, asks) = Steering::bind(folder.path()).unwrap();
        let (mailbox, _webhooks) = Webhooks::new();
        let monitor = Monitor::start(&api, Some(steering.asks()), 4, mailbox).unwrap();
        let names = settings.capture.sources();
        let of_recorder = pipeline::recorder_settings(&settings, &names, WhenFull::Drop);
        let recorder = Recorder::start(of_recorder, |_| {}).unwrap();
        let engine = pipeline::engine_settings(&settings, &names);
        let state = Arc::new(a_state());
        let session = Session::new(engine, recorder, state, None, Some(asks), monitor.following);
        let live = Live::start(sources, session.unwrap(), || {}).unwrap();
        let http = serve(api, folder.path());
        Some(House {
            live: Some(live),
            http,
            ports,
            _folder: folder,
        })
    }

    fn request(&self, method: &str, path: &str) -> TcpStream {
        let mut client = TcpStream::connect(self.http).unwrap();
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let head =
            format!("{method} /api/v1{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        client.write_all(head.as_bytes()).unwrap();
        client
    }

    fn json(&self, method: &str, path: &str) -> Value {
        let mut answer = String::new();
        self.request(method, path)
            .read_to_string(&mut answer)
            .unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// The only call in progress, when it is as `wanted`.
    fn call(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let calls = self.json("GET", "/active-calls");
            if let Some([call]) = calls["items"].as_array().map(Vec::as_slice)
                && wanted(call)
            {
                return call.clone();
            }
            assert!(begin.elapsed() < Duration::from_secs(5), "{calls}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.live.take().map(Live::finish);
    }
}

fn serve(api: Api, folder: &Path) -> SocketAddr {
    let url = format!("sqlite://{}", folder.join("catalog.db").display());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(async {
            api.set_catalog(Catalog::open(&url).await.unwrap());
            let router = api::v1(api).layer(Extension(Principal::operator("ops")));
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            ready.send(()).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
    });
    is_ready.recv().unwrap();
    address
}

/// Two phones in a call, of which the caller says something loud now and then.
struct Phones {
    stop: Arc<AtomicBool>,
    /// When each loud packet was sent.
    loud: Arc<Mutex<Vec<Instant>>>,
    thread: JoinHandle<()>,
}

fn message(ports: [u16; 4], first: &str, cseq: &str, to_tag: &str, rtp: u16) -> String {
    let body = match rtp {
        0 => String::new(),
        port => format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"
        ),
    };
    format!(
        "{first}\r\nVia: SIP/2.0/UDP 127.0.0.1:{};branch=z9hG4bK{}\r\nFrom: <sip:1001@x>;tag=a\r\n\
         To: <sip:1002@x>{to_tag}\r\nCall-ID: heard-{}\r\nCSeq: {cseq}\r\nContact: <sip:x@127.0.0.1>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
        ports[0],
        cseq.len(),
        ports[0],
        body.len(),
    )
}

impl Phones {
    fn call(sockets: [UdpSocket; 4], ports: [u16; 4]) -> Phones {
        let [caller, callee, caller_rtp, callee_rtp] = sockets;
        let say = |from: &UdpSocket, to: u16, text: String| {
            from.send_to(text.as_bytes(), ("127.0.0.1", to)).unwrap();
        };
        let invite = message(
            ports,
            "INVITE sip:1002@127.0.0.1 SIP/2.0",
            "1 INVITE",
            "",
            ports[2],
        );
        say(&caller, ports[1], invite);
        std::thread::sleep(Duration::from_millis(300));
        let ok = message(ports, "SIP/2.0 200 OK", "1 INVITE", ";tag=b", ports[3]);
        say(&callee, ports[0], ok);
        let ack = message(
            ports,
            "ACK sip:1002@127.0.0.1 SIP/2.0",
            "1 ACK",
            ";tag=b",
            0,
        );
        say(&caller, ports[1], ack);
        let (stop, loud) = (
            Arc::new(AtomicBool::new(false)),
            Arc::<Mutex<Vec<_>>>::default(),
        );
        let (of_thread, times) = (stop.clone(), loud.clone());
        let thread = std::thread::spawn(move || {
            let begin = Instant::now();
            for n in 0u16.. {
                if of_thread.load(Ordering::Relaxed) {
                    break;
                }
                let due = begin + Duration::from_millis(20) * u32::from(n);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                let is_loud = n % 25 == 24;
                for (socket, to, ssrc, fill) in [
                    (
                        &caller_rtp,
                        ports[3],
                        1u32,
                        if is_loud { LOUD } else { SILENT },
                    ),
                    (&callee_rtp, ports[2], 2, SILENT),
                ] {
                    let mut packet = vec![0x80, 0];
                    packet.extend(n.to_be_bytes());
                    packet.extend((u32::from(n) * 160).to_be_bytes());
                    packet.extend(ssrc.to_be_bytes());
                    packet.extend([fill; 160]);
                    socket.send_to(&packet, ("127.0.0.1", to)).unwrap();
                }
                if is_loud {
                    times.lock().unwrap().push(Instant::now());
                }
            }
            let bye = message(
                ports,
                "BYE sip:1002@127.0.0.1 SIP/2.0",
                "2 BYE",
                ";tag=b",
                0,
            );
            caller
                .send_to(bye.as_bytes(), ("127.0.0.1", ports[1]))
                .unwrap();
            let ok = message(ports, "SIP/2.0 200 OK", "2 BYE", ";tag=b", 0);
            callee
                .send_to(ok.as_bytes(), ("127.0.0.1", ports[0]))
                .unwrap();
        });
        Phones { stop, loud, thread }
    }

    fn hang_up(self) -> Vec<Instant> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.loud.lock().unwrap().clone()
    }
}

/// Head and body of an answer, and when so many bytes of the body were there.
type Heard = (String, Vec<u8>, Vec<(usize, Instant)>);

/// The body of a chunked answer, with the moment at which each byte was there.
struct Listener {
    thread: JoinHandle<Heard>,
}

impl Listener {
    fn begin(mut stream: TcpStream) -> Listener {
        let thread = std::thread::spawn(move || {
            let (mut raw, mut arrived) = (Vec::new(), Vec::new());
            let mut room = [0; 65_536];
            while let Ok(len @ 1..) = stream.read(&mut room) {
                raw.extend_from_slice(&room[..len]);
                arrived.push((raw.len(), Instant::now()));
            }
            let end = raw.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
            let head = String::from_utf8_lossy(&raw[..end]).into_owned();
            let (mut body, mut times, mut at) = (Vec::new(), Vec::new(), end);
            while let Some(line) = raw[at..].windows(2).position(|w| w == b"\r\n") {
                let size = std::str::from_utf8(&raw[at..at + line]).unwrap();
                let size = usize::from_str_radix(size, 16).unwrap();
                let (from, to) = (at + line + 2, (at + line + 2 + size).min(raw.len()));
                body.extend_from_slice(&raw[from..to]);
                let there = arrived.iter().find(|(len, _)| *len >= to);
                times.extend(there.map(|(_, at)| (body.len(), *at)));
                at = (to + 2).min(raw.len());
                if size == 0 {
                    break;
                }
            }
            (head, body, times)
        });
        Listener { thread }
    }

    fn end(self) -> Heard {
        self.thread.join().unwrap()
    }
}

/// When each loud stretch of the left channel of a WAV of 48 kHz was at the client.
fn loud_at(body: &[u8], times: &[(usize, Instant)]) -> Vec<Instant> {
    let (mut found, mut quiet) = (Vec::new(), 1000);
    for (n, frame) in body[44..].as_chunks::<4>().0.iter().enumerate() {
        let left = i16::from_le_bytes([frame[0], frame[1]]);
        if left.unsigned_abs() > 10_000 {
            if quiet > 2400 {
                let place = 44 + 4 * n + 4;
                found.extend(
                    times
                        .iter()
                        .find(|(len, _)| *len >= place)
                        .map(|(_, at)| *at),
                );
            }
            quiet = 0;
        } else {
            quiet += 1;
        }
    }
    found
}

/// Whether the program takes the bytes without a word, or is not there.
fn is_read_by(mut program: Command, bytes: &[u8]) -> bool {
    program.stdin(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = program.spawn() else {
        return true;
    };
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    let done = child.wait_with_output().unwrap();
    done.status.success() && done.stderr.is_empty()
}

#[test]
fn a_call_is_watched_paused_and_heard_less_than_half_a_second_behind_the_wire() {
    let (sockets, ports) = free_ports();
    let Some(house) = House::build(ports) else {
        return;
    };
    let phones = Phones::call(sockets, house.ports);
    let call = house.call(|call| call["recording"]["state"] == "recording");
    assert_eq!(
        (&call["state"], &call["caller"]["number"]),
        (&"talking".into(), &"1001".into())
    );
    let path = format!("/active-calls/{}", call["id"].as_str().unwrap());
    let listener = Listener::begin(house.request("GET", &format!("{path}/live")));
    let ogg = Listener::begin(house.request("GET", &format!("{path}/live?format=ogg")));
    std::thread::sleep(Duration::from_secs(6));
    let paused = house.json("POST", &format!("{path}/pause"));
    assert_eq!(
        (&paused["calls"], &paused["changed"]),
        (&1.into(), &1.into()),
        "{paused}"
    );
    let paused_at = Instant::now();
    house.call(|call| call["recording"]["state"] == "paused");
    std::thread::sleep(Duration::from_millis(1500));
    let sent = phones.hang_up();
    let (head, body, times) = listener.end();
    assert!(head.contains("content-type: audio/wav"), "{head}");
    let heard = loud_at(&body, &times);
    let mut delays: Vec<Duration> = heard
        .iter()
        .filter_map(|heard| {
            let before = sent.iter().rev().find(|sent| *sent <= heard)?;
            Some(*heard - *before)
        })
        .collect();
    delays.sort_unstable();
    let (median, max) = (delays[delays.len() / 2], delays[delays.len() - 1]);
    eprintln!("{} impulses: median {median:?}, max {max:?}", delays.len());
    assert!(delays.len() >= 9, "{delays:?}");
    // A machine that is busy elsewhere holds up one or the other.
    assert!(median < Duration::from_millis(500), "{delays:?}");
    // What was on its way when the pause began may take as long as the slowest before it.
    let late = paused_at + Duration::from_millis(200) + max;
    assert!(
        heard.iter().all(|at| *at < late),
        "a pause is silence for listeners too"
    );
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-f", "wav", "-i", "-", "-f", "null", "-"]);
    assert!(
        is_read_by(ffmpeg, &body),
        "ffmpeg reads a WAV without an end"
    );
    let (head, body, _) = ogg.end();
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-f", "ogg", "-i", "-", "-f", "null", "-"]);
    assert!(is_read_by(ffmpeg, &body), "ffmpeg reads Opus");
    assert!(head.contains("content-type: audio/ogg"), "{head}");
    assert!(
        body.starts_with(b"OggS") && body.len() > 10_000,
        "{}",
        body.len()
    );
    assert_eq!(
        house.json("GET", "/active-calls")["items"],
        serde_json::json!([])
    );
    assert_eq!(house.json("POST", &format!("{path}/keep"))["status"], 404);
}
