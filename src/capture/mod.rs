//! Where packets come from: capture files, network interfaces, and agents elsewhere.
//!
//! In: paths of capture files ([`CaptureFiles`]: pcap and pcapng, plain, gzip or zstd, merged by time) or the name of
//! an interface ([`LiveInterface`]: libpcap), or an address that agents report to ([`HepListener`]). Out: [`Packet`](crate::wire::Packet)s in the order they were captured,
//! each a view into the reader's own buffer: nothing is copied or allocated for a packet.
//!
//! A file that is damaged is read on after the damage, and a cable that is pulled is waited for. What was lost on the
//! way is counted: [`FileCounters`], [`KernelStats`].

mod compressed;
mod error;
mod file;
mod filter;
mod hep;
mod hep_framer;
mod interfaces;
mod kernel_stats;
mod keylog;
mod live;
mod merge;
mod pcap_format;
mod pcapng_block;
mod pcapng_format;
mod pcapng_interface;
mod presence;
mod session;
mod udp_drops;
mod window;
mod writer;

#[cfg(test)]
mod conversions;
#[cfg(test)]
mod hand_made;
#[cfg(test)]
mod live_tests;

pub use error::Error;
pub use file::FileCounters;
pub use filter::{PacketFilter, default_filter, default_filter_for};
pub use hep::{HepListener, HepSettings, HepStats};
pub use kernel_stats::{KernelStats, SharedKernelStats};
pub use keylog::{KeyLogCounters, KeyLogFile};
pub use live::{LiveEvent, LiveInterface, LiveSettings};
pub use merge::CaptureFiles;
pub use writer::PcapWriter;
