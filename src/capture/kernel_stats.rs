//! What the kernel captured and dropped before anyone here saw it.

use std::sync::atomic::{AtomicU64, Ordering};

/// Packets since the interface was opened, over all times it was opened again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelStats {
    /// Passed the filter, dropped or not.
    pub received: u64,
    /// Dropped because the ring was full.
    pub dropped: u64,
    /// Dropped by the interface or its driver.
    pub interface_dropped: u64,
}

/// [`KernelStats`] that the capturing thread writes and any thread reads.
#[derive(Debug, Default)]
pub struct SharedKernelStats {
    received: AtomicU64,
    dropped: AtomicU64,
    interface_dropped: AtomicU64,
}

impl SharedKernelStats {
    pub fn read(&self) -> KernelStats {
        KernelStats {
            received: self.received.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            interface_dropped: self.interface_dropped.load(Ordering::Relaxed),
        }
    }

    /// Adds so many.
    pub(super) fn count(&self, received: u64, dropped: u64) {
        self.received.fetch_add(received, Ordering::Relaxed);
        self.dropped.fetch_add(dropped, Ordering::Relaxed);
    }

    /// Adds what was counted between two readings; libpcap's counters are 32 bits and wrap.
    pub(super) fn add(&self, before: pcap::Stat, after: pcap::Stat) {
        let counters = [
            (&self.received, before.received, after.received),
            (&self.dropped, before.dropped, after.dropped),
            (&self.interface_dropped, before.if_dropped, after.if_dropped),
        ];
        for (counter, before, after) in counters {
            counter.fetch_add(u64::from(after.wrapping_sub(before)), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_go_on_when_those_of_libpcap_wrap() {
        let stat = |received| pcap::Stat {
            received,
            dropped: 1,
            if_dropped: 0,
        };
        let shared = SharedKernelStats::default();
        shared.add(stat(0), stat(u32::MAX));
        shared.add(stat(u32::MAX), stat(9));
        assert_eq!(shared.read().received, u64::from(u32::MAX) + 10);
        assert_eq!(shared.read().dropped, 0);
    }
}
