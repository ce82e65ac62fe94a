//! Calls that agents report by HEP: kamailio's own reports, and a call sent to the daemon as an agent sends it.

mod common;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use callreel::base::{Endpoint, Timestamp};
use callreel::capture::CaptureFiles;
use callreel::sip;
use callreel::storage::{Kind, Layout};
use callreel::wire::{Hep, HepContent, TcpInterest, TunnelPorts, Unit, Wire, WireLimits};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use common::recording::Recording;
use common::replay::Replay;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{name}/{name}.pcap"))
}

struct Seen {
    time: Timestamp,
    source: Endpoint,
    destination: Endpoint,
    payload: Vec<u8>,
}

/// The datagrams of a capture. `hep`: the ports at which reports are opened.
fn datagrams(capture: &Path, hep: Vec<u16>) -> Vec<Seen> {
    let interest = TcpInterest {
        ports: Vec::new(),
        sniff: sip::looks_like_sip,
    };
    let ports = TunnelPorts {
        hep,
        ..TunnelPorts::default()
    };
    let mut wire = Wire::new(WireLimits::default(), interest).with_tunnel_ports(&ports);
    let mut files = CaptureFiles::open(&[capture.to_owned()]).unwrap();
    let mut seen = Vec::new();
    while let Some(packet) = files.next_packet().unwrap() {
        wire.handle_packet(&packet, &mut |unit| {
            if let Unit::Datagram(datagram) = unit {
                seen.push(Seen {
                    time: datagram.time,
                    source: datagram.flow.source,
                    destination: datagram.flow.destination,
                    payload: datagram.payload.to_vec(),
                });
            }
        });
    }
    seen
}

#[test]
fn kamailios_reports_are_the_messages_it_received_and_sent() {
    let reports = datagrams(&fixture("kamailio-hep"), Vec::new());
    let reports: Vec<Hep<'_>> = reports
        .iter()
        .map(|datagram| Hep::parse(&datagram.payload).unwrap())
        .collect();
    assert_eq!(reports.len(), 13);
    for report in &reports {
        let payload = report.payload().unwrap();
        assert!(sip::Message::parse(payload).is_ok());
        assert_eq!((report.agent, report.content), (2001, HepContent::Sip));
        assert_eq!(report.auth_key, Some(&b"apple tree"[..]));
    }
    // The caller sends to the proxy, the proxy to the callee.
    let ends = |report: &Hep<'_>| format!("{} > {}", report.source, report.destination);
    let invites = reports
        .iter()
        .filter(|report| report.payload().unwrap().starts_with(b"INVITE "));
    assert_eq!(
        invites.map(ends).collect::<Vec<_>>(),
        [
            "192.0.2.10:5060 > 192.0.2.1:5060",
            "198.51.100.1:5060 > 198.51.100.20:5060"
        ]
    );
}

#[test]
fn a_replay_of_reports_finds_their_call() {
    let replay = Replay::run(&[fixture("kamailio-hep")]);
    assert_eq!((replay.exit_code, &*replay.stderr), (Some(0), ""));
    let [call] = &replay.report.calls[..] else {
        panic!("{:#?}", replay.report.calls);
    };
    assert_eq!((&*call.caller, &*call.callee), ("1001", "1002"));
    assert_eq!(
        (&*call.disposition, &*call.end_reason),
        ("no_media", "bye_caller")
    );
    assert_eq!(replay.count("sip_messages"), 13);
}

/// A daemon that hears nothing but agents: it needs no rights.
struct Daemon {
    child: Child,
    folder: TempDir,
    hep: SocketAddr,
    http: SocketAddr,
}

/// One that nobody has at this moment.
fn free_address() -> SocketAddr {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    tcp.local_addr().unwrap()
}

impl Daemon {
    fn start(hep: SocketAddr, more: &str) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        let http = free_address();
        let place = folder.path().display();
        let config = format!(
            "[capture.hep]\nlisten = \"{hep}\"\n{more}[storage]\nroot = \"recordings\"\nmin_free_mib = 4\n\
             [catalog]\nurl = \"sqlite://{place}/catalog.db\"\n[api]\nlisten = \"{http}\"\n"
        );
        std::fs::write(folder.path().join("callreel.toml"), config).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_callreel"))
            .arg("run")
            .arg("--config")
            .arg(folder.path().join("callreel.toml"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Daemon {
            child,
            folder,
            hep,
            http,
        };
        daemon.wait_until("it has started", |daemon| {
            daemon
                .get("/health")
                .is_some_and(|body| !body.contains("starting"))
        });
        daemon
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.http).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    fn metric(&self, name: &str) -> u64 {
        let page = self.get("/metrics").unwrap();
        let line = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    }

    fn wait_until(&self, what: &str, is: impl Fn(&Daemon) -> bool) {
        let until = Instant::now() + Duration::from_secs(20);
        while !is(self) {
            assert!(Instant::now() < until, "not: {what}");
            sleep(Duration::from_millis(50));
        }
    }

    /// Ends it; the recordings it made.
    fn stop(mut self) -> Vec<Recording> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        let layout = Layout::new(self.folder.path().join("recordings"));
        let files = layout.walk(|path, error| panic!("{}: {error}", path.display()));
        let sidecars = files.iter().filter(|(_, kind)| *kind == Kind::Sidecar);
        sidecars
            .map(|(name, _)| Recording::read(&layout.path(name, Kind::Audio)))
            .collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn chunk(kind: u16, content: &[u8]) -> Vec<u8> {
    let length = content.len() as u16 + 6;
    [
        &[0, 0][..],
        &kind.to_be_bytes(),
        &length.to_be_bytes(),
        content,
    ]
    .concat()
}

/// What an agent would send of a datagram that passed it at `time`.
fn report(agent: u32, password: &str, time: Timestamp, seen: &Seen) -> Vec<u8> {
    let octets = |endpoint: &Endpoint| match endpoint.ip() {
        std::net::IpAddr::V4(ip) => ip.octets(),
        std::net::IpAddr::V6(_) => panic!("the fixture is IPv4"),
    };
    let is_sip = sip::looks_like_sip(&seen.payload);
    let (seconds, nanos) = (
        time.as_nanos() / 1_000_000_000,
        time.as_nanos() % 1_000_000_000,
    );
    let body = [
        chunk(1, &[2]),
        chunk(2, &[17]),
        chunk(3, &octets(&seen.source)),
        chunk(4, &octets(&seen.destination)),
        chunk(7, &seen.source.port.to_be_bytes()),
        chunk(8, &seen.destination.port.to_be_bytes()),
        chunk(9, &(seconds as u32).to_be_bytes()),
        chunk(10, &(nanos as u32 / 1000).to_be_bytes()),
        chunk(11, &[if is_sip { 1 } else { 4 }]),
        chunk(12, &agent.to_be_bytes()),
        chunk(14, password.as_bytes()),
        chunk(15, &seen.payload),
    ]
    .concat();
    [&b"HEP3"[..], &(body.len() as u16 + 6).to_be_bytes(), &body].concat()
}

/// The same call under another Call-ID.
fn renamed(payload: &[u8], agent: u32) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(payload) else {
        return payload.to_vec();
    };
    text.replace("Call-ID: ", &format!("Call-ID: {agent}-"))
        .into_bytes()
}

#[test]
fn a_call_that_agents_report_is_recorded_as_if_it_passed_here() {
    let original = Replay::run(&[fixture("sipp-pcmu")]);
    let original = Recording::read(original.report.calls[0].file.as_ref().unwrap());
    let call = datagrams(&fixture("sipp-pcmu"), Vec::new());
    let daemon = Daemon::start(free_address(), "password = \"right\"\n");
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut tcp = TcpStream::connect(daemon.hep).unwrap();

    let began = Instant::now();
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos() as i64;
    // The reports come 100 ms after what they report.
    let base = clock - 100_000_000;
    for seen in &call {
        let after = seen.time.since(call[0].time);
        sleep(after.saturating_sub(began.elapsed()));
        let time = Timestamp::from_nanos(base + after.as_nanos() as i64);
        let of = |agent| Seen {
            payload: renamed(&seen.payload, agent),
            ..*seen
        };
        let (first, second) = (
            report(2001, "right", time, &of(2001)),
            report(2002, "right", time, &of(2002)),
        );
        udp.send_to(&first, daemon.hep).unwrap();
        // In two pieces, as it happens.
        let (head, tail) = second.split_at(second.len() / 2);
        tcp.write_all(head).unwrap();
        tcp.write_all(tail).unwrap();
        udp.send_to(&report(2003, "wrong", time, &of(2003)), daemon.hep)
            .unwrap();
    }
    daemon.wait_until("both calls are over", |daemon| {
        daemon.metric("callreel_calls_total{disposition=\"recorded\"}") == 2
    });
    assert_eq!(
        daemon.metric("callreel_hep_packets_total"),
        2 * call.len() as u64
    );
    assert_eq!(
        daemon.metric("callreel_hep_refused_password_total"),
        call.len() as u64
    );
    assert_eq!(daemon.metric("callreel_wire_hep_clock_off_total"), 0);

    let mut recordings = daemon.stop();
    recordings.sort_by(|a, b| a.sidecar.vantage.cmp(&b.sidecar.vantage));
    let vantages: Vec<&str> = recordings.iter().map(|r| &*r.sidecar.vantage).collect();
    assert_eq!(vantages, ["hep tunnel hep:2001", "hep tunnel hep:2002"]);
    for recording in &recordings {
        assert_eq!(recording.sidecar.end_reason.as_deref(), Some("bye_caller"));
        assert!(
            recording.channels == original.channels,
            "{}",
            recording.sidecar.vantage
        );
    }
}

#[test]
fn an_address_that_is_taken_is_told_and_waited_for() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let daemon = Daemon::start(taken.local_addr().unwrap(), "");
    let health = daemon.get("/health").unwrap();
    assert!(health.starts_with("HTTP/1.1 503"), "{health}");
    assert!(
        health.contains("interface_lost") && health.contains("capture.hep.listen"),
        "{health}"
    );
    drop(taken);
    daemon.wait_until("it listens", |daemon| {
        daemon.get("/health").unwrap().starts_with("HTTP/1.1 200")
    });
    assert!(daemon.stop().is_empty());
}
