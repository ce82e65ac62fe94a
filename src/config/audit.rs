//! `[audit]`: where the audit is told to, besides the catalog.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::reader::{Fields, Source};
use super::settings::{not_empty, set};

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Audit {
    /// Absent: not told to syslog.
    pub syslog: Option<Syslog>,
    /// JSON Lines, added to as records come. A relative path is relative to the configuration file.
    pub file: Option<PathBuf>,
    /// RFC 5424's facility; 13 is "log audit".
    pub syslog_facility: u8,
}

impl Default for Audit {
    fn default() -> Self {
        Audit {
            syslog: None,
            file: None,
            syslog_facility: 13,
        }
    }
}

/// Where syslog is spoken.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Syslog {
    /// RFC 5426. What does not fit a datagram is cut.
    Udp(SocketAddr),
    /// RFC 6587, with the length before each message.
    Tcp(SocketAddr),
    /// `/dev/log` and its like.
    Unix(PathBuf),
}

pub(super) fn read(
    source: &mut Source<'_>,
    fields: &mut Fields<'_>,
    audit: &mut Audit,
    folder: &Path,
) {
    audit.syslog = fields.parsed(source, "syslog", |text| {
        let address = |text: &str| text.parse().ok();
        let parsed = match text.split_once("://") {
            Some(("udp", at)) => address(at).map(Syslog::Udp),
            Some(("tcp", at)) => address(at).map(Syslog::Tcp),
            Some(("unix", path)) if path.starts_with('/') => Some(Syslog::Unix(path.into())),
            _ => None,
        };
        parsed
            .ok_or("expected \"udp://10.0.0.5:514\", \"tcp://10.0.0.5:601\" or \"unix:///dev/log\"")
    });
    let file = fields.parsed(source, "file", not_empty);
    audit.file = file.map(|file| folder.join(file));
    set(
        &mut audit.syslog_facility,
        fields.integer(source, "syslog_facility", 0..=23),
    );
}
