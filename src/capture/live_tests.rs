//! Live capture on a pair of virtual interfaces, in a network namespace of its own. Needs root and `ip`.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::hand_made::Seen;
use super::{Error, KernelStats, LiveEvent, LiveInterface, LiveSettings, PacketFilter};
use crate::wire::LinkType;

/// Set in the process that runs inside the namespace.
const INSIDE: &str = "CAPTURE_TEST_INSIDE_NAMESPACE";

/// Runs the body of the test of this name in a fresh network namespace with interfaces `span0` and `phone0`, both ends
/// of one cable. The body runs in a second process, because sysfs shows the namespace it was mounted in.
fn in_namespace(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    if !rustix::process::geteuid().is_root() {
        println!("not root: no live capture is tried");
        return;
    }
    let namespace = format!("capture-test-{}-{test}", std::process::id());
    if !Command::new("ip")
        .args(["netns", "add", &namespace])
        .status()
        .is_ok_and(|s| s.success())
    {
        println!("no network namespace can be made: no live capture is tried");
        return;
    }
    let output = Command::new("ip")
        .args(["netns", "exec", &namespace])
        .arg(std::env::current_exe().unwrap())
        .args([
            &format!("capture::live_tests::{test}"),
            "--exact",
            "--nocapture",
        ])
        .env(INSIDE, "1")
        .output()
        .unwrap();
    ip(&format!("netns del {namespace}"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("1 passed"), "{text}");
}

fn ip(arguments: &str) {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .unwrap();
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

fn make_cable() {
    ip("link add span0 type veth peer name phone0");
    ip("link set span0 up");
    ip("link set phone0 up");
}

fn sender() -> pcap::Capture<pcap::Active> {
    pcap::Capture::from_device("phone0")
        .unwrap()
        .open()
        .unwrap()
}

const MARK: &[u8] = b"from the test: ";

/// A UDP datagram in a frame, with tags.
fn datagram(number: u32, tags: &[u16]) -> Vec<u8> {
    let payload = [MARK, &number.to_be_bytes()].concat();
    let step = etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(40_000, 30_000);
    let mut frame = Vec::new();
    step.write(&mut frame, &payload).unwrap();
    for tpid in tags {
        let [high, low] = tpid.to_be_bytes();
        frame.splice(12..12, [high, low, 0, 7]);
    }
    frame
}

fn number(data: &[u8]) -> Option<u32> {
    let place = data.windows(MARK.len()).position(|window| window == MARK)?;
    let bytes = data.get(place + MARK.len()..)?.first_chunk()?;
    Some(u32::from_be_bytes(*bytes))
}

enum Event {
    Packet(Seen),
    Lost(String),
    Resumed,
}

/// A capture on a thread of its own.
struct Running {
    events: mpsc::Receiver<Event>,
    stop: std::sync::Arc<AtomicBool>,
    thread: std::thread::JoinHandle<KernelStats>,
}

impl Running {
    fn start(mut interface: LiveInterface) -> Running {
        let stop = std::sync::Arc::new(AtomicBool::new(false));
        let (sender, events) = mpsc::channel();
        let flag = stop.clone();
        let thread = std::thread::spawn(move || {
            interface.run(&flag, |event| {
                let event = match event {
                    LiveEvent::Packet(packet) => Event::Packet(Seen::of(&packet)),
                    LiveEvent::Lost(reason) => Event::Lost(reason),
                    LiveEvent::Resumed => Event::Resumed,
                    LiveEvent::Idle => return,
                };
                let _ = sender.send(event);
            });
            interface.stats()
        });
        Running {
            events,
            stop,
            thread,
        }
    }

    /// Stops the capture; all marked packets, what the kernel counted, and how long stopping took.
    fn stop(self) -> (Vec<Seen>, KernelStats, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        let begin = Instant::now();
        let stats = self.thread.join().unwrap();
        let took = begin.elapsed();
        let marked = |event| match event {
            Event::Packet(seen) => number(&seen.data).map(|_| seen),
            _ => None,
        };
        (self.events.iter().filter_map(marked).collect(), stats, took)
    }

    /// Waits for an event that `wanted` knows.
    fn wait_for<T>(&self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let event = self
                .events
                .recv_timeout(left)
                .expect("the event comes within 5 s");
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    }

    fn wait_for_loss(&self) -> String {
        self.wait_for(|event| match event {
            Event::Lost(reason) => Some(reason),
            _ => None,
        })
    }

    fn wait_for_resumption(&self) {
        self.wait_for(|event| matches!(event, Event::Resumed).then_some(()));
    }

    fn wait_for_packet(&self, wanted: u32) {
        self.wait_for(|event| match event {
            Event::Packet(seen) if number(&seen.data) == Some(wanted) => Some(()),
            _ => None,
        });
    }
}

fn open() -> LiveInterface {
    let settings = LiveSettings {
        index: 3,
        ..LiveSettings::default()
    };
    LiveInterface::open("span0", settings).unwrap()
}

#[test]
fn all_packets_sent_before_the_stop_are_handed_out() {
    in_namespace("all_packets_sent_before_the_stop_are_handed_out", || {
        make_cable();
        let mut sender = sender();
        let running = Running::start(open());
        let begin = std::time::SystemTime::now();
        for n in 0..20_000 {
            sender.sendpacket(datagram(n, &[])).unwrap();
        }
        let (packets, stats, took) = running.stop();
        assert_eq!(packets.len(), 20_000);
        assert!(
            packets
                .iter()
                .zip(0..)
                .all(|(seen, n)| number(&seen.data) == Some(n))
        );
        assert!(packets.is_sorted_by_key(|seen| seen.time));
        assert!(
            packets
                .iter()
                .all(|seen| seen.interface == 3 && seen.link == LinkType::Ethernet)
        );
        let begin = begin
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_nanos() as i64;
        let since = packets[0].time.as_nanos() - begin;
        assert!(
            (0..2_000_000_000).contains(&since),
            "{since} ns after the start"
        );
        assert!(packets.iter().any(|seen| seen.time.as_nanos() % 1000 != 0));
        assert!(stats.received >= 20_000 && stats.dropped == 0, "{stats:?}");
        assert!(took < Duration::from_millis(500), "stopping took {took:?}");
    });
}

#[test]
fn a_quiet_capture_stops_within_a_tenth_of_a_second() {
    in_namespace("a_quiet_capture_stops_within_a_tenth_of_a_second", || {
        make_cable();
        // The best of some, for a machine that is busy.
        let stop = || {
            let running = Running::start(open());
            std::thread::sleep(Duration::from_millis(200));
            running.stop().2
        };
        let took = (0..10).map(|_| stop()).find(|took| took.as_millis() <= 100);
        assert!(took.is_some());
    });
}

#[test]
fn the_default_filter_passes_what_it_should_on_a_live_interface() {
    in_namespace(
        "the_default_filter_passes_what_it_should_on_a_live_interface",
        || {
            make_cable();
            let mut sender = sender();
            let running = Running::start(open());
            let mut icmp = datagram(9, &[]);
            icmp[23] = 1;
            let frames = [
                icmp,
                datagram(0, &[]),
                datagram(1, &[0x8100]),
                datagram(2, &[0x88a8]),
                datagram(3, &[0x8100, 0x8100]),
                datagram(4, &[0x8100, 0x88a8]),
            ];
            for frame in &frames {
                sender.sendpacket(&frame[..]).unwrap();
            }
            let (packets, _, _) = running.stop();
            let numbers: Vec<u32> = packets
                .iter()
                .filter_map(|seen| number(&seen.data))
                .collect();
            assert_eq!(numbers, [0, 1, 2, 3, 4]);
            for (seen, frame) in packets.iter().zip(&frames[1..]) {
                assert_eq!(seen.data, *frame, "tags are kept");
            }
        },
    );
}

#[test]
fn a_deleted_interface_is_waited_for() {
    in_namespace("a_deleted_interface_is_waited_for", || {
        make_cable();
        let running = Running::start(open());
        sender().sendpacket(datagram(1, &[])).unwrap();
        running.wait_for_packet(1);
        ip("link del span0");
        let reason = running.wait_for_loss();
        println!("lost: {reason}");
        make_cable();
        running.wait_for_resumption();
        sender().sendpacket(datagram(2, &[])).unwrap();
        running.wait_for_packet(2);
        sender().sendpacket(datagram(3, &[])).unwrap();
        let (packets, stats, _) = running.stop();
        assert_eq!(packets.len(), 1);
        assert!(stats.received >= 3, "{stats:?}");
    });
}

#[test]
fn an_interface_made_anew_at_once_is_found_again() {
    in_namespace("an_interface_made_anew_at_once_is_found_again", || {
        make_cable();
        let running = Running::start(open());
        ip("link del span0");
        make_cable();
        running.wait_for_loss();
        running.wait_for_resumption();
        sender().sendpacket(datagram(2, &[])).unwrap();
        running.wait_for_packet(2);
        running.stop();
    });
}

#[test]
fn an_interface_that_is_down_is_waited_for() {
    in_namespace("an_interface_that_is_down_is_waited_for", || {
        make_cable();
        let running = Running::start(open());
        for (down, up) in [
            ("link set span0 down", "link set span0 up"),
            ("link set phone0 down", "link set phone0 up"),
        ] {
            ip(down);
            println!("lost: {}", running.wait_for_loss());
            ip(up);
            running.wait_for_resumption();
            sender().sendpacket(datagram(2, &[])).unwrap();
            running.wait_for_packet(2);
        }
        running.stop();
    });
}

#[test]
fn an_interface_that_is_not_there_yet_can_be_waited_for() {
    in_namespace(
        "an_interface_that_is_not_there_yet_can_be_waited_for",
        || {
            let missing = LiveInterface::open("span0", LiveSettings::default());
            let error = missing.err().unwrap();
            assert!(matches!(error, Error::Interface { .. }));
            println!("{error}");
            let waiting = LiveInterface::await_interface("span0", LiveSettings::default()).unwrap();
            let running = Running::start(waiting);
            assert!(running.wait_for_loss().contains("does not exist"));
            make_cable();
            running.wait_for_resumption();
            sender().sendpacket(datagram(2, &[])).unwrap();
            running.wait_for_packet(2);
            running.stop();
        },
    );
}

#[test]
fn a_full_ring_is_counted() {
    in_namespace("a_full_ring_is_counted", || {
        make_cable();
        let settings = LiveSettings {
            ring_bytes: 1 << 20,
            ..LiveSettings::default()
        };
        let mut interface = LiveInterface::open("span0", settings).unwrap();
        let mut sender = sender();
        let frame = [datagram(0, &[]), vec![0; 1000]].concat();
        for _ in 0..10_000 {
            sender.sendpacket(&frame[..]).unwrap();
        }
        let mut marked = 0;
        interface.drain(&mut |event| {
            marked += u64::from(matches!(event, LiveEvent::Packet(p) if number(p.data).is_some()));
        });
        let stats = interface.stats();
        assert!(stats.dropped > 0, "{stats:?}");
        assert!(
            marked >= 500 && marked + stats.dropped >= 10_000,
            "{marked} {stats:?}"
        );
        assert_eq!(interface.shared_stats().read(), stats);
    });
}

#[test]
fn the_any_device_and_loopback_are_captured_on() {
    in_namespace("the_any_device_and_loopback_are_captured_on", || {
        ip("link set lo up");
        for (name, link) in [("any", LinkType::LinuxSll), ("lo", LinkType::Ethernet)] {
            let running =
                Running::start(LiveInterface::open(name, LiveSettings::default()).unwrap());
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            let to = socket.local_addr().unwrap();
            socket.send_to(&[MARK, &[0, 0, 0, 8]].concat(), to).unwrap();
            let (packets, _, _) = running.stop();
            assert!(!packets.is_empty(), "{name}");
            assert!(packets.iter().all(|seen| seen.link == link), "{name}");
        }
    });
}

#[test]
fn a_wrong_filter_is_told_in_the_words_of_libpcap() {
    let settings = LiveSettings {
        filter: PacketFilter::Expression("udp prot 5060".to_owned()),
        ..LiveSettings::default()
    };
    let error = LiveInterface::await_interface("span0", settings)
        .err()
        .unwrap();
    let text = error.to_string();
    assert!(
        text.contains("udp prot 5060") && text.contains("syntax error"),
        "{text}"
    );
}
