//! Packets of a network interface, as they pass.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::Error;
use super::filter::PacketFilter;
use super::kernel_stats::{KernelStats, SharedKernelStats};
use super::presence::{Presence, Watch};
use super::session::Session;
use crate::base::Timestamp;
use crate::wire::Packet;

/// How long a batch waits for a packet before it reports an idle interface.
pub(super) const IDLE: Duration = Duration::from_millis(40);

/// How long a stopped capture waits for what the kernel has not handed over: longer than
/// [`RETIRE_MILLIS`](super::session::RETIRE_MILLIS).
const LAST_WAIT: Duration = Duration::from_millis(55);

/// How often an interface is looked after: is it there, what has the kernel dropped.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Longest that a stopped capture works off its backlog.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);

/// How to capture on an interface.
#[derive(Clone, Debug)]
pub struct LiveSettings {
    /// Number of this interface among the sensor's: [`Packet::interface`] of all its packets.
    pub index: u16,
    /// Bytes of a frame that are kept.
    pub snaplen: u32,
    /// Bytes of the ring between the kernel and this process.
    pub ring_bytes: usize,
    /// Also frames that are addressed to others, as on a mirror port.
    pub promiscuous: bool,
    pub filter: PacketFilter,
}

impl Default for LiveSettings {
    /// Everything that SIP on port 5060 may need, with a ring for two seconds at 100,000 packets a second.
    fn default() -> Self {
        LiveSettings {
            index: 0,
            snaplen: 262_144,
            ring_bytes: 64 << 20,
            promiscuous: true,
            filter: PacketFilter::Telephony {
                sip_ports: vec![5060],
            },
        }
    }
}

/// What happens on an interface.
#[derive(Debug)]
pub enum LiveEvent<'a> {
    Packet(Packet<'a>),
    /// No packet for a while (40 ms): time for timers.
    Idle,
    /// No packets will come until [`LiveEvent::Resumed`], for this reason; told again when the reason changes.
    Lost(String),
    /// The interface is back, and being captured on.
    Resumed,
}

/// One interface, captured on by the thread that calls [`LiveInterface::run`] or [`LiveInterface::next_batch`].
///
/// Either it is captured on, or it is lost and looked for every half second. It starts captured on
/// ([`LiveInterface::open`]) or lost ([`LiveInterface::await_interface`]), and each change is one event:
///
/// - captured on: `Packet` and `Idle`; becomes lost with `Lost` when it is deleted, made anew, or set down, has no
///   link, or cannot be read.
/// - lost: `Idle`; captured on with `Resumed` when it is up again and could be opened, or when a packet comes.
pub struct LiveInterface {
    name: String,
    settings: LiveSettings,
    watch: Watch,
    /// Stays while an interface is down: its packets go on when it is up.
    session: Option<Session>,
    /// Why no packets come.
    lost: Option<String>,
    next_look: Instant,
    stats: Arc<SharedKernelStats>,
}

impl LiveInterface {
    /// Starts capturing. Fails when the interface is missing or down, when the process may not capture
    /// (CAP_NET_RAW), or when its filter is wrong.
    pub fn open(name: &str, settings: LiveSettings) -> Result<LiveInterface, Error> {
        let mut interface = LiveInterface::new(name, settings);
        let index = match interface.watch.look() {
            Presence::Up { index } | Presence::Down { index, .. } => index,
            Presence::Gone => 0,
        };
        interface.session = Some(Session::open(name, &interface.settings, index)?);
        if index == 0 {
            interface.watch = Watch::none();
        }
        Ok(interface)
    }

    /// Starts with waiting for an interface that need not be there yet. Fails when its filter is wrong for Ethernet.
    pub fn await_interface(name: &str, settings: LiveSettings) -> Result<LiveInterface, Error> {
        super::session::check_filter(name, &settings.filter)?;
        let mut interface = LiveInterface::new(name, settings);
        interface.lost = Some(String::new());
        Ok(interface)
    }

    fn new(name: &str, settings: LiveSettings) -> LiveInterface {
        LiveInterface {
            name: name.to_owned(),
            settings,
            watch: Watch::new(name),
            session: None,
            lost: None,
            next_look: Instant::now(),
            stats: Arc::default(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Captures until `stop` is set, then hands out what the kernel had captured by then. Leaves within 100 ms plus
    /// the time that takes.
    pub fn run(&mut self, stop: &AtomicBool, mut sink: impl FnMut(LiveEvent<'_>)) {
        while !stop.load(Ordering::Relaxed) {
            self.next_batch(&mut sink);
        }
        self.drain(&mut sink);
    }

    /// Hands out the packets that are there, some thousand at most; or waits for some, and says so with
    /// [`LiveEvent::Idle`] if none came.
    pub fn next_batch(&mut self, sink: &mut impl FnMut(LiveEvent<'_>)) {
        if Instant::now() >= self.next_look {
            self.look_after(sink);
        }
        let Some(session) = &mut self.session else {
            thread::sleep(IDLE);
            sink(LiveEvent::Idle);
            return;
        };
        let lost = &mut self.lost;
        let read = session.read(self.settings.index, &mut |packet| {
            if lost.take().is_some() {
                sink(LiveEvent::Resumed);
            }
            sink(LiveEvent::Packet(packet));
        });
        match read {
            Ok(0) => self.wait(sink),
            Ok(_) => {}
            Err(reason) => self.lose(reason, sink),
        }
    }

    /// Hands out what the kernel has captured up to this moment.
    pub fn drain(&mut self, sink: &mut impl FnMut(LiveEvent<'_>)) {
        let Some(session) = &mut self.session else {
            return;
        };
        let (stopped, deadline) = (now(), Instant::now() + DRAIN_LIMIT);
        let mut newest = Timestamp::MIN;
        while newest <= stopped && Instant::now() < deadline {
            let read = session.read(self.settings.index, &mut |packet| {
                newest = packet.time;
                sink(LiveEvent::Packet(packet));
            });
            let more = match read {
                Ok(0) => session.wait(LAST_WAIT).unwrap_or(false),
                Ok(_) => true,
                Err(_) => false,
            };
            if !more {
                break;
            }
        }
        self.read_stats();
    }

    /// What the kernel says it has captured and dropped, at this moment.
    pub fn stats(&mut self) -> KernelStats {
        self.read_stats();
        self.stats.read()
    }

    /// The same for other threads, at most half a second old.
    pub fn shared_stats(&self) -> Arc<SharedKernelStats> {
        Arc::clone(&self.stats)
    }

    fn wait(&mut self, sink: &mut impl FnMut(LiveEvent<'_>)) {
        let Some(session) = &mut self.session else {
            return;
        };
        match session.wait(IDLE) {
            Ok(true) => {}
            Ok(false) => sink(LiveEvent::Idle),
            Err(()) => {
                // The next read takes the error off the socket; the interface may well be gone.
                thread::sleep(Duration::from_millis(10));
                self.next_look = Instant::now();
                sink(LiveEvent::Idle);
            }
        }
    }

    fn look_after(&mut self, sink: &mut impl FnMut(LiveEvent<'_>)) {
        self.next_look = Instant::now() + LOOK_EVERY;
        self.read_stats();
        match self.watch.look() {
            Presence::Gone => self.lose("it does not exist".to_owned(), sink),
            Presence::Down { index, reason } => {
                if self.is_another(index) {
                    self.session = None;
                }
                self.tell_lost(reason, sink);
            }
            Presence::Up { index } => {
                if self.is_another(index) {
                    self.lose("it was made anew".to_owned(), sink);
                }
                self.resume(index, sink);
            }
        }
    }

    fn is_another(&self, index: u32) -> bool {
        self.session
            .as_ref()
            .is_some_and(|session| session.index != index)
    }

    fn resume(&mut self, index: u32, sink: &mut impl FnMut(LiveEvent<'_>)) {
        if self.session.is_none() {
            match Session::open(&self.name, &self.settings, index) {
                Ok(session) => self.session = Some(session),
                Err(error) => return self.tell_lost(error.to_string(), sink),
            }
        }
        if self.lost.take().is_some() {
            sink(LiveEvent::Resumed);
        }
    }

    fn lose(&mut self, reason: String, sink: &mut impl FnMut(LiveEvent<'_>)) {
        self.read_stats();
        self.session = None;
        self.tell_lost(reason, sink);
    }

    fn tell_lost(&mut self, reason: String, sink: &mut impl FnMut(LiveEvent<'_>)) {
        if self.lost.as_ref() != Some(&reason) {
            self.lost = Some(reason.clone());
            sink(LiveEvent::Lost(reason));
        }
    }

    fn read_stats(&mut self) {
        if let Some(session) = &mut self.session {
            session.add_stats(&self.stats);
        }
    }
}

pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp::default() + since.unwrap_or_default()
}
