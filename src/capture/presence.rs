//! Whether an interface is there and up.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Watches one interface through sysfs.
pub(super) struct Watch {
    /// `None` for what libpcap can open and sysfs does not list, such as `any`: taken to be always up.
    folder: Option<PathBuf>,
}

/// What sysfs says about an interface.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// With its index, which changes when an interface is made anew under the same name.
    Up {
        index: u32,
    },
    /// There, and without traffic for this reason.
    Down {
        index: u32,
        reason: String,
    },
    Gone,
}

impl Watch {
    pub(super) fn new(interface: &str) -> Watch {
        Watch::below(Path::new("/sys/class/net"), interface)
    }

    fn below(sysfs: &Path, interface: &str) -> Watch {
        // No interface has such a name, and no path is built from one.
        let unlisted =
            interface.is_empty() || interface.starts_with('.') || interface.contains('/');
        let watched = !unlisted && interface != "any" && sysfs.is_dir();
        Watch {
            folder: watched.then(|| sysfs.join(interface)),
        }
    }

    /// For what libpcap could open and sysfs does not list.
    pub(super) fn none() -> Watch {
        Watch { folder: None }
    }

    pub(super) fn look(&self) -> Presence {
        let Some(folder) = &self.folder else {
            return Presence::Up { index: 0 };
        };
        match look(folder) {
            Ok(presence) => presence,
            Err(_) => Presence::Gone,
        }
    }
}

fn look(folder: &Path) -> io::Result<Presence> {
    let text = |name: &str| fs::read_to_string(folder.join(name));
    let index = text("ifindex")?.trim().parse().unwrap_or(0);
    let flags = text("flags")?;
    let flags = flags.trim().trim_start_matches("0x");
    // IFF_UP
    if u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 0) {
        let reason = "it is administratively down".to_owned();
        return Ok(Presence::Down { index, reason });
    }
    let state = text("operstate")?;
    Ok(match state.trim() {
        // Others pass traffic: "up", and "unknown" for what has no link to lose.
        state @ ("down" | "lowerlayerdown" | "notpresent") => Presence::Down {
            index,
            reason: format!("it has no link (operstate {state})"),
        },
        _ => Presence::Up { index },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(flags: &str, operstate: &str) -> Presence {
        let sysfs = tempfile::tempdir().unwrap();
        let folder = sysfs.path().join("span0");
        fs::create_dir(&folder).unwrap();
        for (name, text) in [("ifindex", "7"), ("flags", flags), ("operstate", operstate)] {
            fs::write(folder.join(name), format!("{text}\n")).unwrap();
        }
        Watch::below(sysfs.path(), "span0").look()
    }

    #[test]
    fn up_down_and_gone_are_told_apart() {
        let up = Presence::Up { index: 7 };
        assert_eq!(state("0x1003", "up"), up);
        assert_eq!(state("0x9", "unknown"), up);
        assert!(matches!(
            state("0x1002", "down"),
            Presence::Down { index: 7, .. }
        ));
        assert!(matches!(
            state("0x1003", "lowerlayerdown"),
            Presence::Down { .. }
        ));
        let sysfs = tempfile::tempdir().unwrap();
        assert_eq!(Watch::below(sysfs.path(), "span0").look(), Presence::Gone);
    }

    #[test]
    fn what_sysfs_does_not_list_is_taken_to_be_up() {
        let always = Presence::Up { index: 0 };
        assert_eq!(Watch::new("any").look(), always);
        assert_eq!(Watch::new("../../etc").look(), always);
        assert_eq!(Watch::below(Path::new("/nowhere"), "span0").look(), always);
    }
}
