//! Recordings taken away.

use std::io::ErrorKind;
use std::path::Path;

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
    remove_files(layout, name)?;
    sync_if_there(&layout.folder(name))
}

/// Removes all files of many recordings whose calls are over, and looks after each folder once. Gives those of which all files are
/// gone, and what was wrong with the first of the others.
pub fn remove_recordings(
    layout: &Layout,
    names: &[RecordingName],
) -> (Vec<RecordingName>, Option<Error>) {
    let (mut gone, mut wrong) = (Vec::with_capacity(names.len()), None);
    for name in names {
        match remove_files(layout, name) {
            Ok(()) => gone.push(*name),
            Err(error) => _ = wrong.get_or_insert(error),
        }
    }
    let mut folders: Vec<_> = gone.iter().map(|name| layout.folder(name)).collect();
    folders.sort_unstable();
    folders.dedup();
    for folder in folders {
        if let Err(error) = sync_if_there(&folder) {
            // What of it is safe is not known: all of it is removed again.
            gone.retain(|name| layout.folder(name) != folder);
            wrong.get_or_insert(error);
        }
    }
    (gone, wrong)
}

/// Removes the folders of recordings where they are empty: of days before `before` (year, month, day), and of months and years that
/// were over by then, so that nobody is about to write there.
pub fn remove_empty_folders(layout: &Layout, names: &[RecordingName], before: (u16, u8, u8)) {
    let past = names.iter().filter(|name| name.date < before);
    let mut folders: Vec<_> = past.map(|name| (layout.folder(name), name.date)).collect();
    folders.sort_unstable();
    folders.dedup();
    for (day, (year, month, _)) in folders {
        // One that is not empty is left as it is.
        let (of_month, of_year) = ((year, month) < (before.0, before.1), year < before.0);
        let mut parents = day.ancestors().skip(1);
        let levels = [
            (Some(day.as_path()), true),
            (parents.next(), of_month),
            (parents.next(), of_year),
        ];
        for (folder, _) in levels.into_iter().take_while(|(_, is_past)| *is_past) {
            if folder.is_none_or(|folder| std::fs::remove_dir(folder).is_err()) {
                break;
            }
        }
    }
}

fn remove_files(layout: &Layout, name: &RecordingName) -> Result<(), Error> {
    for kind in KINDS {
        let path = layout.path(name, kind);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io("remove", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn sync_if_there(folder: &Path) -> Result<(), Error> {
    match folder.exists() {
        true => sync_folder(folder),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{RecordingId, SYSTEM_TENANT, Timestamp, time_ordered};

    fn name(number: u8) -> RecordingName {
        let start = Timestamp::from_secs_nanos(1_800_000_000, 0);
        let id = RecordingId(time_ordered(start, [number; 10]));
        RecordingName::new(SYSTEM_TENANT, id, start)
    }

    #[test]
    fn all_files_of_one_recording_go_and_none_of_another() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
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

    #[test]
    fn folders_of_days_that_are_over_go_when_they_are_empty() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        let name = |month, day| RecordingName {
            tenant: SYSTEM_TENANT,
            id: RecordingId(time_ordered(Timestamp::default(), [day; 10])),
            date: (2026, month, day),
        };
        let names = [name(10, 31), name(11, 1), name(11, 2), name(11, 20)];
        for name in &names {
            std::fs::create_dir_all(layout.folder(name)).unwrap();
            std::fs::write(layout.path(name, Kind::Audio), "x").unwrap();
        }
        let kept = layout.path(&name(11, 2), Kind::AudioHeld);
        std::fs::write(&kept, "x").unwrap();
        let (gone, wrong) = remove_recordings(&layout, &names);
        assert!(gone == names && wrong.is_none());
        remove_empty_folders(&layout, &names, (2026, 11, 20));
        let there = |name| layout.folder(&name).exists();
        assert!(!there(name(10, 31)) && !there(name(11, 1)));
        assert!(there(name(11, 2)) && there(name(11, 20)) && kept.exists());
        let year = layout
            .folder(&name(11, 2))
            .ancestors()
            .nth(2)
            .unwrap()
            .to_owned();
        assert!(!year.join("10").exists() && year.join("11").exists());
    }

    #[test]
    fn what_cannot_be_removed_keeps_no_other_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        std::fs::create_dir_all(layout.folder(&name(1))).unwrap();
        // A folder in the place of a file.
        std::fs::create_dir_all(layout.path(&name(1), Kind::Audio).join("x")).unwrap();
        std::fs::write(layout.path(&name(2), Kind::Audio), "x").unwrap();
        let (gone, wrong) = remove_recordings(&layout, &[name(1), name(2)]);
        assert_eq!(gone, [name(2)]);
        assert!(wrong.is_some());
    }
}
