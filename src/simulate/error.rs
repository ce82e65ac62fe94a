use std::io;
use std::path::PathBuf;

use crate::base::Timestamp;

/// What can fail while calls are simulated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot simulate with {setting} = {value}: expected {expected}")]
    Scenario {
        setting: &'static str,
        value: String,
        expected: String,
    },
    #[error("cannot write the simulated packet of {time}: {source}")]
    Frame { time: Timestamp, source: io::Error },
    #[error("cannot write {}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot send on interface {name}: {source}")]
    Interface { name: String, source: pcap::Error },
    #[error("nowhere to put the calls: name a capture file or an interface")]
    NoOutput,
}
