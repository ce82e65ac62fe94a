//! Recordings taken away.

use std::io::ErrorKind;

use super::{Error, Kind, Layout, RecordingName, partition::sync_folder};

/// Every file of a recording. Those of one that waits to be finished go first: what is renamed meanwhile is found under its other name. The
/// sidecar goes last: whoever is stopped on the way finds the recording again.
const KINDS: [Kind; 10] = [
    Kind::AudioPart,
    Kind::RawPart,
    Kind::SignallingPart,
    Kind::SidecarPart,
    Kind::Audio,
    Kind::AudioNew,
    Kind::Raw,
    Kind::Signalling,
    Kind::SidecarNew,
    Kind::Sidecar,
];

/// Removes all files of a recording whose call is over. Those that are gone already are no error.
pub fn remove_recording(layout: &Layout, name: &RecordingName) -> Result<(), Error> {
    for kind in KINDS {
        let path = layout.path(name, kind);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io("remove", &path)(error));
            }
            _ => {}
        }
    }
    let folder = layout.folder(name);
    match folder.exists() {
        true => sync_folder(&folder),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{RecordingId, SYSTEM_TENANT, Timestamp, time_ordered};

    #[test]
    fn all_files_of_one_recording_go_and_none_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        let start = Timestamp::from_secs_nanos(1_800_000_000, 0);
        let name = |number| {
            let id = RecordingId(time_ordered(start, [number; 10]));
            RecordingName::new(SYSTEM_TENANT, id, start)
        };
        for number in [1, 2] {
            std::fs::create_dir_all(layout.folder(&name(number))).unwrap();
            for kind in KINDS {
                std::fs::write(layout.path(&name(number), kind), "x").unwrap();
            }
        }
        remove_recording(&layout, &name(1)).unwrap();
        remove_recording(&layout, &name(1)).unwrap();
        for kind in KINDS {
            assert!(!layout.path(&name(1), kind).exists());
            assert!(layout.path(&name(2), kind).exists());
        }
        remove_recording(&Layout::new(folder.path().join("elsewhere")), &name(1)).unwrap();
    }
}
