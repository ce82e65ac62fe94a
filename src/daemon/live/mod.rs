//! Packets of interfaces through one engine.
//!
//! In: the interfaces of the configuration, and the address that agents report to, which is one more of them. Out: events
//! to the recorder. With one interface its capture thread runs the
//! engine on what it reads, and nothing is copied. With several, each capture thread copies what it reads into a bounded
//! queue, and one thread merges all by capture time and runs the engine: so that the two halves of a call that come in on
//! two interfaces meet in the order of the wire, as they would in a replay.

mod merge;
mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use self::merge::{Batch, Delivery, Merge};
pub use self::session::{Following, Session};
use super::state::InterfaceState;
use crate::base::Timestamp;
use crate::capture::{
    Error, HepListener, HepSettings, HepStats, LiveEvent, LiveInterface, LiveSettings, PacketFilter,
};
use crate::config::{self, Settings};

/// A packet captured so long ago has been handed out, if its interface was asked since: more than the kernel keeps packets
/// in a block of the ring that is not full.
const REACH: Duration = Duration::from_millis(150);

/// An interface that says nothing for so long, its thread being kept from its work, is not waited for by the others.
const OVERDUE: Duration = Duration::from_millis(500);

/// Batches between the capture threads and the engine's: 64 MiB at most.
const QUEUE_BATCHES: usize = 256;

/// How often the engine's thread looks at the clock when nothing comes.
const TICK: Duration = Duration::from_millis(20);

/// Something that packets come from, and what is told of it.
pub struct Source {
    feed: Feed,
    pub state: Arc<InterfaceState>,
    /// Of agents, where it is they who report.
    pub hep: Option<Arc<HepStats>>,
}

enum Feed {
    Interface(Box<LiveInterface>),
    Hep(Box<HepListener>),
}

impl Feed {
    fn next_batch(&mut self, sink: &mut impl FnMut(LiveEvent<'_>)) {
        match self {
            Feed::Interface(interface) => interface.next_batch(sink),
            Feed::Hep(listener) => listener.next_batch(sink),
        }
    }

    fn drain(&mut self, sink: &mut impl FnMut(LiveEvent<'_>)) {
        match self {
            Feed::Interface(interface) => interface.drain(sink),
            Feed::Hep(listener) => listener.drain(sink),
        }
    }
}

/// Opens all configured interfaces, and listens to agents where that is configured; what is missing, down or taken is
/// waited for.
///
/// # Errors
///
/// Where waiting would be in vain: the filter is wrong, or the process may not capture.
pub fn open(settings: &Settings) -> Result<Vec<Source>, Error> {
    let names = settings.capture.interfaces.iter();
    let interfaces = names
        .zip(0..)
        .map(|(name, index)| Source::open(name, live_settings(settings, index)));
    let mut sources: Vec<Source> = interfaces.collect::<Result<_, Error>>()?;
    if let Some(hep) = &settings.capture.hep {
        let index = u16::try_from(sources.len()).unwrap_or(u16::MAX);
        sources.push(Source::listen(hep, index));
    }
    Ok(sources)
}

fn hep_settings(hep: &config::Hep, index: u16) -> HepSettings {
    let networks = hep.networks.clone();
    HepSettings {
        index,
        listen: hep.listen,
        password: hep
            .password
            .as_ref()
            .map(|password| password.reveal().to_owned()),
        allowed: Arc::new(move |address| {
            networks.is_empty() || networks.iter().any(|network| network.holds(address))
        }),
    }
}

fn live_settings(settings: &Settings, index: u16) -> LiveSettings {
    let capture = &settings.capture;
    LiveSettings {
        index,
        snaplen: capture.snaplen,
        ring_bytes: (capture.ring_mib as usize) << 20,
        promiscuous: capture.promiscuous,
        filter: match &capture.filter {
            Some(expression) => PacketFilter::Expression(expression.clone()),
            None => PacketFilter::Telephony {
                sip_ports: [&*capture.sip_ports, &*capture.tls_ports].concat(),
            },
        },
    }
}

impl Source {
    fn open(name: &str, settings: LiveSettings) -> Result<Source, Error> {
        let (interface, lost) = match LiveInterface::open(name, settings.clone()) {
            Ok(interface) => (interface, None),
            Err(Error::Interface { reason, .. }) if !is_forbidden(&reason) => {
                tracing::warn!(interface = name, reason, "an interface is waited for");
                (
                    LiveInterface::await_interface(name, settings)?,
                    Some(reason),
                )
            }
            Err(error) => return Err(error),
        };
        let state = Arc::new(InterfaceState::new(name, interface.shared_stats(), lost));
        Ok(Source {
            feed: Feed::Interface(Box::new(interface)),
            state,
            hep: None,
        })
    }

    fn listen(hep: &config::Hep, index: u16) -> Source {
        let (listener, lost) = HepListener::open(hep_settings(hep, index));
        if let Some(reason) = &lost {
            tracing::warn!(reason, "the address for HEP is waited for");
        }
        let state = InterfaceState::new(config::HEP_SOURCE, listener.shared_stats(), lost);
        Source {
            hep: Some(listener.stats()),
            feed: Feed::Hep(Box::new(listener)),
            state: Arc::new(state),
        }
    }
}

/// libpcap tells a process without CAP_NET_RAW from a missing interface by its words only.
fn is_forbidden(reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    reason.contains("permission") || reason.contains("not permitted")
}

/// The threads between wire and recorder.
pub struct Live {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Live {
    /// Starts capturing. `ended` is called when a thread ends, whether it was told to or not.
    pub fn start(
        mut sources: Vec<Source>,
        session: Session,
        ended: impl Fn() + Clone + Send + 'static,
    ) -> std::io::Result<Live> {
        let mut live = Live {
            stop: Arc::default(),
            threads: Vec::new(),
        };
        let lanes = sources.len();
        if lanes == 1
            && let Some(source) = sources.pop()
        {
            let stop = live.stop.clone();
            let name = format!("capture-{}", source.state.name);
            live.spawn(name, ended, move || {
                capture_and_follow(source, session, &stop)
            })?;
            return Ok(live);
        }
        let (queue, deliveries) = sync_channel(QUEUE_BATCHES);
        live.spawn("engine".to_owned(), ended.clone(), move || {
            follow(session, &deliveries, lanes);
        })?;
        for (source, lane) in sources.into_iter().zip(0..) {
            let (stop, queue) = (live.stop.clone(), queue.clone());
            let name = format!("capture-{}", source.state.name);
            live.spawn(name, ended.clone(), move || {
                capture_and_copy(source, lane, &queue, &stop);
            })?;
        }
        Ok(live)
    }

    fn spawn(
        &mut self,
        name: String,
        ended: impl Fn() + Send + 'static,
        work: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        let work = move || {
            let _bell = OnDrop(ended);
            work();
        };
        let thread = std::thread::Builder::new().name(name).spawn(work)?;
        self.threads.push(thread);
        Ok(())
    }

    /// Takes what has been captured up to now, ends all calls and waits until they are on the disk. Whether all threads
    /// came to a good end.
    pub fn finish(self) -> bool {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.threads.into_iter().map(JoinHandle::join);
        // All are waited for.
        ended.filter(Result::is_err).count() == 0
    }
}

/// Also rings when a thread panics.
struct OnDrop<F: Fn()>(F);

impl<F: Fn()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn capture_and_follow(source: Source, mut session: Session, stop: &AtomicBool) {
    let Source {
        mut feed, state, ..
    } = source;
    while !stop.load(Ordering::Relaxed) {
        // Taken before the interface is asked: however long this thread is kept waiting after it, no packet of before
        // this moment less REACH comes later.
        let asked_at = wall_clock();
        feed.next_batch(&mut |event| match event {
            LiveEvent::Packet(packet) => session.handle_packet(&packet),
            LiveEvent::Idle => session.advance(asked_at - REACH),
            LiveEvent::Lost(reason) => state.lost(reason),
            LiveEvent::Resumed => state.resumed(),
        });
        session.between_batches();
    }
    feed.drain(&mut |event| {
        if let LiveEvent::Packet(packet) = event {
            session.handle_packet(&packet);
        }
    });
    session.finish();
}

fn capture_and_copy(source: Source, lane: u16, queue: &SyncSender<Delivery>, stop: &AtomicBool) {
    let Source {
        mut feed, state, ..
    } = source;
    let mut batch = Batch::new(lane);
    while !stop.load(Ordering::Relaxed) {
        let asked_at = wall_clock();
        feed.next_batch(&mut |event| match event {
            LiveEvent::Packet(packet) => {
                if !batch.push(&packet) {
                    hand_on(&mut batch, queue, &state);
                    batch.push(&packet);
                }
            }
            LiveEvent::Idle => {
                let until = asked_at - REACH;
                // Lost, it is said again soon.
                let _ = queue.try_send(Delivery::Silence { lane, until });
            }
            LiveEvent::Lost(reason) => state.lost(reason),
            LiveEvent::Resumed => state.resumed(),
        });
        hand_on(&mut batch, queue, &state);
    }
    feed.drain(&mut |event| {
        if let LiveEvent::Packet(packet) = event
            && !batch.push(&packet)
        {
            // The engine's thread works until the last sender is gone: it can be waited for.
            let _ = queue.send(Delivery::Packets(batch.take()));
            batch.push(&packet);
        }
    });
    let _ = queue.send(Delivery::Packets(batch.take()));
}

/// A wire does not wait: what finds no room is counted.
fn hand_on(batch: &mut Batch, queue: &SyncSender<Delivery>, state: &InterfaceState) {
    if batch.is_empty() {
        return;
    }
    let (batch, packets) = (batch.take(), batch.len() as u64);
    if queue.try_send(Delivery::Packets(batch)).is_err() {
        state.queue_dropped.fetch_add(packets, Ordering::Relaxed);
    }
}

fn follow(mut session: Session, deliveries: &Receiver<Delivery>, lanes: usize) {
    let mut merge = Merge::new(lanes);
    loop {
        match deliveries.recv_timeout(TICK) {
            Ok(delivery) => {
                merge.take(delivery);
                let more = deliveries.try_iter().take(QUEUE_BATCHES);
                more.for_each(|delivery| merge.take(delivery));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let complete = merge.release(wall_clock() - OVERDUE, &mut |packet| {
            session.handle_packet(packet);
        });
        session.advance(complete);
        session.between_batches();
    }
    merge.release(Timestamp::MAX, &mut |packet| session.handle_packet(packet));
    session.finish();
}

/// The clock that the kernel stamps packets with.
fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp::default() + since.unwrap_or_default()
}
