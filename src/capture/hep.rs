//! Agents elsewhere that report what they see, by HEP over UDP and TCP.
//!
//! In: an address to listen on. Out: [`Packet`]s of [`LinkType::Hep`], whose time is that of their receipt, as if they came
//! from an interface. What is no HEP, comes from elsewhere than allowed, or lacks the password, is counted and dropped.

use std::io::{self, ErrorKind, Read};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::sockopt;

use super::hep_framer::HepFramer;
use super::kernel_stats::SharedKernelStats;
use super::live::{IDLE, LOOK_EVERY, LiveEvent, now};
use super::udp_drops::udp_drops;
use crate::wire::{Hep, LinkType, Packet, looks_like_hep};

/// Connections at the same time; past it the one that has been silent longest is closed.
const MAX_CONNECTIONS: usize = 64;

/// A connection without a byte for so long is closed: its agent may be gone without a word.
const IDLE_CONNECTION: Duration = Duration::from_secs(3600);

/// Datagrams, and reads of a connection, before the others have their turn.
const BATCH: usize = 512;
const READS: usize = 16;

/// Room for datagrams while this thread is kept from its work; the kernel may allow less.
const RECEIVE_BUFFER: usize = 8 << 20;

/// Where and from whom reports are taken.
#[derive(Clone)]
pub struct HepSettings {
    /// Number of this source among the sensor's interfaces.
    pub index: u16,
    /// For UDP and TCP.
    pub listen: SocketAddr,
    pub password: Option<String>,
    /// Whether agents may be at an address.
    pub allowed: Arc<dyn Fn(IpAddr) -> bool + Send + Sync>,
}

macro_rules! stats {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What came from agents, since the start: written by the listening thread, read by any.
        #[derive(Debug, Default)]
        pub struct HepStats {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        impl HepStats {
            const COUNT: usize = [$(stringify!($name)),*].len();

            /// Every counter by its name.
            pub fn named(&self) -> [(&'static str, u64); Self::COUNT] {
                [$((stringify!($name), self.$name.load(Ordering::Relaxed))),*]
            }
        }
    };
}

stats! {
    /// Packets handed on.
    packets,
    /// Packets and connections from addresses that are not allowed.
    refused_address,
    /// Packets without the password, or with another.
    refused_password,
    /// Datagrams that are no HEP.
    malformed,
    /// Connections begun.
    connections,
    /// Connections closed because what came was no HEP.
    connections_broken,
    /// Connections closed to make room for others.
    connections_evicted,
    /// Connections closed because nothing came.
    connections_idle,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// One address, listened on by the thread that calls [`HepListener::next_batch`].
///
/// An address that cannot be had is tried again each half second, and said to be lost meanwhile.
pub struct HepListener {
    gate: Gate,
    listen: SocketAddr,
    sockets: Option<Sockets>,
    agents: Vec<Agent>,
    /// Why there are no sockets.
    lost: Option<String>,
    next_look: Instant,
    buffer: Box<[u8]>,
    kernel: Arc<SharedKernelStats>,
    kernel_dropped: u64,
}

struct Sockets {
    udp: UdpSocket,
    tcp: TcpListener,
}

/// A connection.
struct Agent {
    stream: TcpStream,
    framer: HepFramer,
    heard: Instant,
}

/// What lets packets through.
struct Gate {
    settings: HepSettings,
    stats: Arc<HepStats>,
}

impl HepListener {
    /// Starts listening, or with waiting for the address: then says why.
    pub fn open(settings: HepSettings) -> (HepListener, Option<String>) {
        let mut listener = HepListener {
            listen: settings.listen,
            gate: Gate {
                settings,
                stats: Arc::default(),
            },
            sockets: None,
            agents: Vec::new(),
            lost: None,
            next_look: Instant::now(),
            buffer: vec![0; 1 << 16].into(),
            kernel: Arc::default(),
            kernel_dropped: 0,
        };
        match listener.bind() {
            Ok(sockets) => listener.sockets = Some(sockets),
            Err(reason) => listener.lost = Some(reason),
        }
        let lost = listener.lost.clone();
        (listener, lost)
    }

    pub fn stats(&self) -> Arc<HepStats> {
        Arc::clone(&self.gate.stats)
    }

    /// What the kernel dropped of datagrams, at most half a second old.
    pub fn shared_stats(&self) -> Arc<SharedKernelStats> {
        Arc::clone(&self.kernel)
    }

    /// Where it listens, over UDP and over TCP: for an address with port 0.
    pub fn addresses(&self) -> Option<[SocketAddr; 2]> {
        let sockets = self.sockets.as_ref()?;
        Some([
            sockets.udp.local_addr().ok()?,
            sockets.tcp.local_addr().ok()?,
        ])
    }

    /// Hands out what is there, some thousand packets at most; or waits for some, and says so with [`LiveEvent::Idle`] if
    /// none came.
    pub fn next_batch(&mut self, sink: &mut impl FnMut(LiveEvent<'_>)) {
        if Instant::now() >= self.next_look {
            self.look_after(sink);
        }
        let ready = match &self.sockets {
            Some(sockets) => sockets.wait(&self.agents, IDLE),
            None => {
                thread::sleep(IDLE);
                Vec::new()
            }
        };
        if ready.is_empty() {
            sink(LiveEvent::Idle);
            return;
        }
        self.read(&ready, sink);
    }

    /// Hands out what had come up to this moment.
    pub fn drain(&mut self, sink: &mut impl FnMut(LiveEvent<'_>)) {
        // An agent that goes on sending is not waited for.
        for _ in 0..BATCH {
            let Some(sockets) = &self.sockets else { return };
            let ready = sockets.wait(&self.agents, Duration::ZERO);
            if ready.is_empty() {
                return;
            }
            self.read(&ready, sink);
        }
    }

    /// `ready`: the datagrams' socket, the listener, then the connections.
    fn read(&mut self, ready: &[bool], sink: &mut impl FnMut(LiveEvent<'_>)) {
        let Some(sockets) = &self.sockets else { return };
        let mut ready = ready.iter().copied();
        if ready.next() == Some(true) {
            read_datagrams(&sockets.udp, &mut self.buffer, &self.gate, sink);
        }
        let accept = ready.next() == Some(true);
        let (gate, buffer) = (&self.gate, &mut self.buffer);
        self.agents
            .retain_mut(|agent| ready.next() != Some(true) || agent.read(buffer, gate, sink));
        if accept {
            self.accept();
        }
    }

    fn accept(&mut self) {
        let Some(sockets) = &self.sockets else { return };
        while let Ok((stream, from)) = sockets.tcp.accept() {
            if !self.gate.admits(from.ip()) || stream.set_nonblocking(true).is_err() {
                continue;
            }
            let _ = sockopt::set_socket_keepalive(&stream, true);
            if self.agents.len() >= MAX_CONNECTIONS {
                let heard = self.agents.iter().map(|agent| agent.heard).enumerate();
                if let Some((silent, _)) = heard.min_by_key(|(_, heard)| *heard) {
                    self.agents.swap_remove(silent);
                    count(&self.gate.stats.connections_evicted);
                }
            }
            count(&self.gate.stats.connections);
            self.agents.push(Agent {
                stream,
                framer: HepFramer::default(),
                heard: Instant::now(),
            });
        }
    }

    fn look_after(&mut self, sink: &mut impl FnMut(LiveEvent<'_>)) {
        self.next_look = Instant::now() + LOOK_EVERY;
        let idle = |agent: &mut Agent| agent.heard.elapsed() < IDLE_CONNECTION;
        let before = self.agents.len();
        self.agents.retain_mut(idle);
        let closed = (before - self.agents.len()) as u64;
        let stats = &self.gate.stats;
        stats.connections_idle.fetch_add(closed, Ordering::Relaxed);
        match &self.sockets {
            Some(sockets) => {
                let dropped = udp_drops(&sockets.udp).unwrap_or(self.kernel_dropped);
                let more = dropped.saturating_sub(self.kernel_dropped);
                self.kernel.count(0, more);
                self.kernel_dropped = dropped;
            }
            None => match self.bind() {
                Ok(sockets) => {
                    self.sockets = Some(sockets);
                    self.lost = None;
                    sink(LiveEvent::Resumed);
                }
                Err(reason) if self.lost.as_ref() != Some(&reason) => {
                    self.lost = Some(reason.clone());
                    sink(LiveEvent::Lost(reason));
                }
                Err(_) => {}
            },
        }
    }

    fn bind(&self) -> Result<Sockets, String> {
        let address = self.listen;
        let failed = |how: &str, error: io::Error| {
            format!("cannot listen on {address} over {how} (capture.hep.listen): {error}")
        };
        let udp = UdpSocket::bind(address).and_then(|udp| {
            udp.set_nonblocking(true)?;
            // As much as the kernel allows.
            let _ = sockopt::set_socket_recv_buffer_size(&udp, RECEIVE_BUFFER);
            Ok(udp)
        });
        let tcp = TcpListener::bind(address).and_then(|tcp| {
            tcp.set_nonblocking(true)?;
            Ok(tcp)
        });
        Ok(Sockets {
            udp: udp.map_err(|error| failed("UDP", error))?,
            tcp: tcp.map_err(|error| failed("TCP", error))?,
        })
    }
}

impl Sockets {
    /// Which sockets have something, in the order of [`HepListener::read`]; nothing when none has.
    fn wait(&self, agents: &[Agent], at_most: Duration) -> Vec<bool> {
        let timeout = Timespec::try_from(at_most).ok();
        let own = [self.udp.as_fd(), self.tcp.as_fd()];
        let connections = agents.iter().map(|agent| agent.stream.as_fd());
        let mut sockets: Vec<PollFd<'_>> = own
            .into_iter()
            .chain(connections)
            .map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::IN))
            .collect();
        match rustix::event::poll(&mut sockets, timeout.as_ref()) {
            Ok(0) | Err(_) => Vec::new(),
            Ok(_) => sockets
                .iter()
                .map(|socket| !socket.revents().is_empty())
                .collect(),
        }
    }
}

fn read_datagrams(
    udp: &UdpSocket,
    buffer: &mut [u8],
    gate: &Gate,
    sink: &mut impl FnMut(LiveEvent<'_>),
) {
    for _ in 0..BATCH {
        let Ok((length, from)) = udp.recv_from(buffer) else {
            return;
        };
        let datagram = buffer.get(..length).unwrap_or_default();
        if !gate.admits(from.ip()) {
            continue;
        }
        if !looks_like_hep(datagram) {
            count(&gate.stats.malformed);
            continue;
        }
        gate.hand_on(datagram, sink);
    }
}

impl Agent {
    /// Takes what has come. `false`: the connection is over.
    fn read(
        &mut self,
        buffer: &mut [u8],
        gate: &Gate,
        sink: &mut impl FnMut(LiveEvent<'_>),
    ) -> bool {
        for _ in 0..READS {
            let length = match self.stream.read(buffer) {
                Ok(0) => return false,
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return false,
            };
            self.heard = Instant::now();
            let bytes = buffer.get(..length).unwrap_or_default();
            let mut hand_on = |packet: &[u8]| gate.hand_on(packet, sink);
            if self.framer.push(bytes, &mut hand_on).is_err() {
                count(&gate.stats.connections_broken);
                return false;
            }
        }
        true
    }
}

impl Gate {
    fn admits(&self, address: IpAddr) -> bool {
        let admitted = (self.settings.allowed)(address.to_canonical());
        if !admitted {
            count(&self.stats.refused_address);
        }
        admitted
    }

    fn hand_on(&self, packet: &[u8], sink: &mut impl FnMut(LiveEvent<'_>)) {
        if let Some(password) = &self.settings.password {
            let key = Hep::parse(packet).ok().and_then(|hep| hep.auth_key);
            if !key.is_some_and(|key| is_same(key, password.as_bytes())) {
                count(&self.stats.refused_password);
                return;
            }
        }
        count(&self.stats.packets);
        sink(LiveEvent::Packet(Packet {
            time: now(),
            interface: self.settings.index,
            link: LinkType::Hep,
            data: packet,
            original_len: u32::try_from(packet.len()).unwrap_or(u32::MAX),
        }));
    }
}

/// Takes the same time wherever they differ.
fn is_same(given: &[u8], wanted: &[u8]) -> bool {
    let differing = given
        .iter()
        .zip(wanted)
        .fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == wanted.len() && std::hint::black_box(differing) == 0
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const REPORT: &[u8] = b"HEP3\0\x1c\0\0\0\x01\0\x07\x02\0\0\0\x0e\0\x0fpassword1";

    /// A whole report of an agent with a password.
    fn report(password: &[u8]) -> Vec<u8> {
        let chunks: [(u8, &[u8]); 8] = [
            (1, &[2]),
            (3, &[10, 0, 0, 1]),
            (4, &[10, 0, 0, 2]),
            (7, &[0x13, 0xc4]),
            (8, &[0x13, 0xc4]),
            (11, &[1]),
            (14, password),
            (15, b"INVITE"),
        ];
        let body: Vec<u8> = chunks
            .iter()
            .flat_map(|(kind, content)| {
                let head = [0, 0, 0, *kind, 0, content.len() as u8 + 6];
                [&head[..], content].concat()
            })
            .collect();
        [&b"HEP3\0"[..], &[body.len() as u8 + 6], &body].concat()
    }

    fn listener(password: Option<&str>, allowed: fn(IpAddr) -> bool) -> HepListener {
        let listen = "127.0.0.1:0".parse().unwrap();
        let (listener, lost) = HepListener::open(HepSettings {
            index: 3,
            listen,
            password: password.map(str::to_owned),
            allowed: Arc::new(allowed),
        });
        assert_eq!(lost, None);
        listener
    }

    /// What comes until there is so much, or nothing for a while.
    fn heard(listener: &mut HepListener, expected: usize) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        let until = Instant::now() + Duration::from_secs(5);
        let mut idle = 0;
        while Instant::now() < until && packets.len() < expected && idle < 10 {
            listener.next_batch(&mut |event| match event {
                LiveEvent::Packet(packet) => {
                    assert_eq!((packet.link, packet.interface), (LinkType::Hep, 3));
                    packets.push(packet.data.to_vec());
                }
                _ => idle += 1,
            });
        }
        packets
    }

    fn counted(listener: &HepListener, name: &str) -> u64 {
        let named = listener.stats().named();
        named.iter().find(|(known, _)| *known == name).unwrap().1
    }

    #[test]
    fn datagrams_are_packets_and_what_is_no_report_is_counted() {
        let mut listener = listener(None, |_| true);
        let [udp, _] = listener.addresses().unwrap();
        let agent = UdpSocket::bind("127.0.0.1:0").unwrap();
        for datagram in [REPORT, b"GET / HTTP/1.1", REPORT] {
            agent.send_to(datagram, udp).unwrap();
        }
        assert_eq!(heard(&mut listener, 2), [REPORT, REPORT]);
        assert_eq!(counted(&listener, "malformed"), 1);
    }

    #[test]
    fn connections_are_cut_into_packets_and_closed_on_nonsense() {
        let mut listener = listener(None, |_| true);
        let [_, tcp] = listener.addresses().unwrap();
        let mut agent = TcpStream::connect(tcp).unwrap();
        agent.write_all(&REPORT[..5]).unwrap();
        assert!(heard(&mut listener, 1).is_empty());
        agent.write_all(&[&REPORT[5..], REPORT].concat()).unwrap();
        assert_eq!(heard(&mut listener, 2), [REPORT, REPORT]);
        agent.write_all(&[REPORT, b"nonsense"].concat()).unwrap();
        assert_eq!(heard(&mut listener, 2), [REPORT]);
        assert_eq!(counted(&listener, "connections_broken"), 1);
        let mut byte = [0];
        agent
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        assert_eq!(agent.read(&mut byte).unwrap_or(0), 0);
    }

    #[test]
    fn the_connection_that_is_silent_longest_makes_room() {
        let mut listener = listener(None, |_| true);
        let [_, tcp] = listener.addresses().unwrap();
        let mut agents = Vec::new();
        for _ in 0..=MAX_CONNECTIONS {
            let mut agent = TcpStream::connect(tcp).unwrap();
            agent.write_all(REPORT).unwrap();
            agents.push(agent);
            assert_eq!(heard(&mut listener, 1).len(), 1);
        }
        assert_eq!(listener.agents.len(), MAX_CONNECTIONS);
        assert_eq!(counted(&listener, "connections_evicted"), 1);
        agents[1].write_all(REPORT).unwrap();
        assert_eq!(heard(&mut listener, 1).len(), 1);
    }

    #[test]
    fn a_password_and_networks_keep_others_out() {
        let mut listener = listener(Some("password1"), |_| true);
        let [udp, _] = listener.addresses().unwrap();
        let agent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let right = report(b"password1");
        for packet in [
            report(b"password2"),
            report(b"password"),
            b"HEP3\0\x06".to_vec(),
        ] {
            agent.send_to(&packet, udp).unwrap();
        }
        agent.send_to(&right, udp).unwrap();
        assert_eq!(heard(&mut listener, 1), [right]);
        assert_eq!(counted(&listener, "refused_password"), 3);
        let mut listener = self::listener(None, |address| address.is_ipv6());
        let [udp, tcp] = listener.addresses().unwrap();
        agent.send_to(REPORT, udp).unwrap();
        let _connection = TcpStream::connect(tcp).unwrap();
        assert!(heard(&mut listener, 1).is_empty());
        assert_eq!(counted(&listener, "refused_address"), 2);
    }

    #[test]
    fn an_address_that_is_taken_is_waited_for() {
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (mut listener, lost) = HepListener::open(HepSettings {
            index: 0,
            listen: taken.local_addr().unwrap(),
            password: None,
            allowed: Arc::new(|_| true),
        });
        assert!(lost.unwrap().contains("over UDP (capture.hep.listen)"));
        drop(taken);
        let (mut resumed, until) = (false, Instant::now() + Duration::from_secs(5));
        while !resumed && Instant::now() < until {
            listener.next_batch(&mut |event| resumed |= matches!(event, LiveEvent::Resumed));
        }
        assert!(resumed && listener.addresses().is_some());
    }

    #[test]
    fn datagrams_that_the_kernel_dropped_are_counted() {
        let mut listener = listener(None, |_| true);
        let [udp, _] = listener.addresses().unwrap();
        let socket = &listener.sockets.as_ref().unwrap().udp;
        sockopt::set_socket_recv_buffer_size(socket, 4096).unwrap();
        let agent = UdpSocket::bind("127.0.0.1:0").unwrap();
        let report = [REPORT, &[0; 1000]].concat();
        (0..200).for_each(|_| _ = agent.send_to(&report, udp));
        let received = heard(&mut listener, 200).len() as u64;
        listener.next_look = Instant::now();
        listener.next_batch(&mut |_| {});
        let dropped = listener.shared_stats().read().dropped;
        assert!(dropped > 0);
        assert_eq!(received + dropped, 200);
    }
}
