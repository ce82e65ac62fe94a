//! Packets lost within this machine, by place (I3): counted where they are lost, told here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::state::State;

/// Losses go on for a while, and are told once in a while.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Packets that were lost in one place since the start.
pub struct Loss<'a> {
    pub place: &'static str,
    /// Where each interface has a place of its own.
    pub interface: Option<&'a str>,
    pub packets: u64,
}

/// Every place where packets can be lost.
pub fn by_place(state: &State) -> Vec<Loss<'_>> {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let mut losses = Vec::new();
    for interface in &state.interfaces {
        let kernel = interface.kernel.read();
        let places = [
            ("kernel", kernel.dropped),
            ("interface", kernel.interface_dropped),
            ("capture_queue", count(&interface.queue_dropped)),
        ];
        losses.extend(places.map(|(place, packets)| Loss {
            place,
            interface: Some(&*interface.name),
            packets,
        }));
    }
    let recorder = &state.recorder;
    let places = [
        ("recorder_queue", count(&recorder.packets_dropped)),
        ("storage", count(&recorder.storage_packets_dropped)),
        ("raw", count(&recorder.raw.packets_dropped)),
    ];
    losses.extend(places.map(|(place, packets)| Loss {
        place,
        interface: None,
        packets,
    }));
    losses
}

/// Writes a line of log where packets were lost.
pub struct Losses {
    state: Arc<State>,
    /// What was told, by place and interface.
    told: BTreeMap<(&'static str, String), u64>,
    next: Instant,
}

impl Losses {
    pub fn new(state: Arc<State>) -> Losses {
        Losses {
            state,
            told: BTreeMap::new(),
            next: Instant::now(),
        }
    }

    /// To be called now and then.
    pub fn tell(&mut self) {
        let now = Instant::now();
        if now < self.next {
            return;
        }
        let mut any = false;
        for loss in by_place(&self.state) {
            let interface = loss.interface.unwrap_or_default();
            let told = self
                .told
                .entry((loss.place, interface.to_owned()))
                .or_default();
            let packets = loss.packets - (*told).min(loss.packets);
            *told = loss.packets;
            if packets > 0 {
                any = true;
                tracing::warn!(place = loss.place, interface, packets, "packets were lost");
            }
        }
        if any {
            self.next = now + TELL_EVERY;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::state::tests::a_state;

    #[test]
    fn what_is_lost_is_told_once_in_a_while() {
        let state = Arc::new(a_state());
        let mut losses = Losses::new(state.clone());
        let told = |losses: &Losses| losses.told.values().sum::<u64>();
        losses.tell();
        state.interfaces[0]
            .queue_dropped
            .fetch_add(3, Ordering::Relaxed);
        losses.tell();
        assert_eq!(told(&losses), 3);
        state
            .recorder
            .packets_dropped
            .fetch_add(4, Ordering::Relaxed);
        losses.tell();
        assert_eq!(told(&losses), 3);
        losses.next = Instant::now();
        losses.tell();
        assert_eq!(told(&losses), 7);
    }
}
