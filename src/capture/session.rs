//! One opening of an interface through libpcap.

use std::time::Duration;

use pcap::{Active, Capture, Precision};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::Error;
use super::filter::PacketFilter;
use super::kernel_stats::SharedKernelStats;
use super::live::LiveSettings;
use crate::base::Timestamp;
use crate::wire::{LinkType, Packet};

/// How long the kernel keeps packets in a block of the ring that is not full.
pub(super) const RETIRE_MILLIS: i32 = 50;

/// Packets handed out before the caller is asked again.
const BATCH_PACKETS: usize = 4096;

pub(super) struct Session {
    capture: Capture<Active>,
    link: LinkType,
    /// The interface's number in the kernel, 0 where it has none.
    pub(super) index: u32,
    /// What libpcap counted up to the last reading.
    counted: pcap::Stat,
}

impl Session {
    pub(super) fn open(name: &str, settings: &LiveSettings, index: u32) -> Result<Session, Error> {
        let failed = |error: pcap::Error| interface_error(name, message(error));
        let capture = Capture::from_device(name)
            .map_err(failed)?
            // The pseudo device has no promiscuous mode, and libpcap takes asking for it as a failure.
            .promisc(settings.promiscuous && name != "any")
            .snaplen(i32::try_from(settings.snaplen).unwrap_or(i32::MAX))
            .buffer_size(i32::try_from(settings.ring_bytes).unwrap_or(i32::MAX))
            .timeout(RETIRE_MILLIS)
            // With it libpcap leaves the block ring (TPACKET_V3) for one that costs ten times as much.
            .immediate_mode(false)
            .precision(Precision::Nano)
            .open()
            .map_err(failed)?;
        // Blocking, libpcap would sleep until the next packet, however long that takes: `wait` waits instead.
        let mut capture = capture.setnonblock().map_err(failed)?;
        let dlt = capture.get_datalink().0;
        let link = u32::try_from(dlt).ok().and_then(LinkType::from_dlt);
        let link = link.ok_or_else(|| {
            interface_error(name, format!("its link type {dlt} is not supported"))
        })?;
        let filter = settings.filter.expression(link);
        if !filter.is_empty() {
            capture
                .filter(&filter, true)
                .map_err(|error| filter_error(name, filter, error))?;
        }
        let counted = pcap::Stat {
            received: 0,
            dropped: 0,
            if_dropped: 0,
        };
        Ok(Session {
            capture,
            link,
            index,
            counted,
        })
    }

    /// Hands out packets that are there, and says how many. `Err`: the interface cannot be read any more.
    pub(super) fn read(
        &mut self,
        interface: u16,
        sink: &mut impl FnMut(Packet<'_>),
    ) -> Result<usize, String> {
        let link = self.link;
        let handled = self.capture.dispatch(Some(BATCH_PACKETS), |packet| {
            let header = packet.header;
            sink(Packet {
                // The field for microseconds holds nanoseconds, as asked for in `open`.
                time: Timestamp::from_secs_nanos(header.ts.tv_sec, header.ts.tv_usec),
                interface,
                link,
                data: packet.data,
                original_len: header.len,
            });
        });
        handled.map_err(message)
    }

    /// Waits for packets and says whether there are any. `Err`: there is something else to be read, an error.
    pub(super) fn wait(&mut self, at_most: Duration) -> Result<bool, ()> {
        let timeout = Timespec::try_from(at_most).ok();
        let mut sockets = [PollFd::new(&self.capture, PollFlags::IN)];
        match rustix::event::poll(&mut sockets, timeout.as_ref()) {
            Ok(0) | Err(_) => return Ok(false),
            Ok(_) => {}
        }
        let [socket] = &sockets;
        if socket.revents().contains(PollFlags::IN) {
            return Ok(true);
        }
        Err(())
    }

    /// Adds what the kernel counted since the last time.
    pub(super) fn add_stats(&mut self, to: &SharedKernelStats) {
        // An interface that is gone has no more to say.
        if let Ok(counted) = self.capture.stats() {
            to.add(self.counted, counted);
            self.counted = counted;
        }
    }
}

/// Whether a filter can be used, as far as that can be said without the interface.
pub(super) fn check_filter(interface: &str, filter: &PacketFilter) -> Result<(), Error> {
    let filter = filter.expression(LinkType::Ethernet);
    let dead = Capture::dead(pcap::Linktype::ETHERNET)
        .map_err(|error| interface_error(interface, message(error)))?;
    match dead.compile(&filter, true) {
        Ok(_) => Ok(()),
        Err(error) => Err(filter_error(interface, filter, error)),
    }
}

fn interface_error(interface: &str, reason: String) -> Error {
    Error::Interface {
        interface: interface.to_owned(),
        reason,
    }
}

fn filter_error(interface: &str, filter: String, error: pcap::Error) -> Error {
    Error::Filter {
        interface: interface.to_owned(),
        filter,
        reason: message(error),
    }
}

/// libpcap's own words, without the crate's around them.
fn message(error: pcap::Error) -> String {
    match error {
        pcap::Error::PcapError(message) => message,
        other => other.to_string(),
    }
}
