//! What a daemon would need of this machine: looked at, and nothing of it changed.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use rustix::fs::{Access, access};
use serde::Serialize;

use crate::config::{Decoders, Encrypt, Plan, Settings};
use crate::daemon::probing;
use crate::daemon::storekeeping::catalog_file;
use crate::storage::Keys;

/// Something that a daemon would miss.
#[derive(Debug, Serialize)]
pub struct Need {
    /// The setting that asks for it.
    pub setting: &'static str,
    pub message: String,
}

/// What is missing for a daemon that runs as this user.
pub fn missing(settings: &Settings) -> Vec<Need> {
    let storage = storage(&settings.storage.root, settings.storage.min_free_mib);
    let found = [
        ("storage.root", storage.err()),
        ("storage.key_file", keys(settings).err()),
        ("catalog.url", catalog(&settings.catalog.url).err()),
    ];
    let mut needs: Vec<Need> = found
        .into_iter()
        .filter_map(|(setting, message)| Some((setting, message?)))
        .map(|(setting, message)| Need { setting, message })
        .collect();
    // Agents that report are enough.
    if settings.capture.hep.is_none() || !settings.capture.interfaces.is_empty() {
        needs.extend(interfaces(&settings.capture.interfaces));
    }
    needs.extend(decoder(&settings.decoders));
    needs
}

fn storage(root: &Path, min_free_mib: u64) -> Result<(), String> {
    let place = root.display();
    match fs::metadata(root) {
        Ok(found) if !found.is_dir() => return Err(format!("{place} is no folder")),
        Ok(_) => writable_folder(root)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let above = existing_above(root);
            writable_folder(above).map_err(|why| format!("{place} cannot be created: {why}"))?;
            return enough_room(above, min_free_mib);
        }
        Err(error) => return Err(format!("cannot look at {place}: {error}")),
    }
    enough_room(root, min_free_mib)
}

/// Where something is to be encrypted, its keys can be read, or made.
fn keys(settings: &Settings) -> Result<(), String> {
    let storage = &settings.storage;
    let path = &storage.key_file;
    let by_plan = settings.plans.values().any(Plan::encrypts);
    let keys = Keys::of_storage(&storage.root, path);
    let missing = keys.missing().map_err(|error| error.to_string())?;
    if let Some(id) = missing.first() {
        let place = path.display();
        return Err(format!(
            "recordings are under the key {id}, which {place} does not have: nobody hears them (is its disk mounted?)"
        ));
    }
    if storage.encrypt == Encrypt::Plans && !by_plan && !path.exists() {
        return Ok(());
    }
    if path.starts_with(&storage.root) {
        let place = path.display();
        return Err(format!(
            "{place} lies among the recordings: a copy of them would have their keys with it"
        ));
    }
    match folder_of(path) {
        _ if path.exists() => Ok(()),
        folder if folder.is_dir() => writable_folder(folder),
        folder => Err(format!("its folder {} does not exist", folder.display())),
    }
}

/// The nearest folder above that exists.
fn existing_above(path: &Path) -> &Path {
    path.ancestors()
        .skip(1)
        .map(|above| match above.as_os_str().is_empty() {
            true => Path::new("."),
            false => above,
        })
        .find(|above| above.exists())
        .unwrap_or(Path::new("/"))
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn writable_folder(folder: &Path) -> Result<(), String> {
    access(folder, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| format!("this user cannot write to {}: {error}", folder.display()))
}

fn enough_room(folder: &Path, min_free_mib: u64) -> Result<(), String> {
    let Ok(disk) = rustix::fs::statvfs(folder) else {
        return Ok(());
    };
    let free_mib = (disk.f_bavail.saturating_mul(disk.f_frsize)) >> 20;
    if free_mib >= min_free_mib {
        return Ok(());
    }
    Err(format!(
        "{free_mib} MiB are free on the disk of {}; nothing is recorded below {min_free_mib} MiB (storage.min_free_mib)",
        folder.display()
    ))
}

/// Opening it would bring its tables up to date, which a check must not do: its file is looked at.
fn catalog(url: &str) -> Result<(), String> {
    if !url.starts_with("sqlite:") {
        return Err("this build knows SQLite catalogs only (\"sqlite:///…\")".into());
    }
    let Some(path) = catalog_file(url) else {
        return Err(format!("{url} names no file"));
    };
    if path.as_os_str() == ":memory:" {
        return Err("a catalog in memory is gone when the daemon stops".into());
    }
    let folder = folder_of(&path);
    if !folder.is_dir() {
        return Err(format!("its folder {} does not exist", folder.display()));
    }
    // SQLite keeps a journal beside the file.
    writable_folder(folder)?;
    if !path.exists() {
        return Ok(());
    }
    access(&path, Access::READ_OK | Access::WRITE_OK)
        .map_err(|error| format!("this user cannot write to {}: {error}", path.display()))?;
    is_database(&path)
}

fn is_database(path: &Path) -> Result<(), String> {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(16).read_to_end(&mut start));
    match read {
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        // SQLite makes a database of an empty file.
        Ok(0) => Ok(()),
        Ok(_) if start == b"SQLite format 3\0" => Ok(()),
        Ok(_) => Err(format!(
            "{} is no SQLite database; `callreel catalog rebuild` makes a new one",
            path.display()
        )),
    }
}

fn interfaces(names: &[String]) -> Vec<Need> {
    let need = |message| Need {
        setting: "capture.interfaces",
        message,
    };
    if names.is_empty() {
        let message =
            "no interfaces: `callreel run` has nothing to listen to, only `replay` records";
        return vec![need(message.into())];
    }
    let known: Vec<String> = fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    // Nothing is known of interfaces where there is no sysfs.
    let is_missing =
        |name: &&String| !known.is_empty() && name.as_str() != "any" && !known.contains(name);
    let message = |name: &String| {
        let nearest = known
            .iter()
            .map(|other| (strsim::jaro_winkler(name, other), other))
            .filter(|(likeness, _)| *likeness > 0.8)
            .max_by(|a, b| a.0.total_cmp(&b.0));
        let hint = nearest.map_or_else(String::new, |(_, other)| {
            format!("; did you mean `{other}`?")
        });
        need(format!(
            "there is no interface `{name}` on this machine{hint}"
        ))
    };
    names.iter().filter(is_missing).map(message).collect()
}

/// It is started, locked in, and asked what it can.
fn decoder(settings: &Decoders) -> Option<Need> {
    if settings.ffmpeg.as_os_str().is_empty() {
        return None;
    }
    let reason = probing::probe(settings).err()?;
    Some(Need {
        setting: "decoders.ffmpeg",
        message: format!(
            "{reason}; calls in iLBC, Speex and G.723.1 are kept raw, and `callreel decode` decodes them later (\"\" says that \
             this is meant)"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(folder: &Path) -> Settings {
        let mut settings = Settings::default();
        settings.capture.interfaces = vec!["lo".into()];
        settings.storage.root = folder.join("a/b/recordings");
        settings.storage.min_free_mib = 0;
        settings.decoders.ffmpeg = "".into();
        settings.catalog.url = format!("sqlite://{}/catalog.db", folder.display());
        settings
    }

    #[test]
    fn what_can_be_created_is_not_missed() {
        let folder = tempfile::tempdir().unwrap();
        let found = missing(&settings(folder.path()));
        assert!(found.is_empty(), "{found:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn everything_that_is_missing_is_named_by_its_setting() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("catalog.db"), "not SQLite, for sure").unwrap();
        fs::write(folder.path().join("recordings"), "a file").unwrap();
        let mut settings = settings(folder.path());
        settings.storage.root = folder.path().join("recordings");
        settings.capture.interfaces = vec!["span-that-is-not-there".into()];
        let found = missing(&settings);
        let named: Vec<&str> = found.iter().map(|need| need.setting).collect();
        assert_eq!(named, ["storage.root", "catalog.url", "capture.interfaces"]);
    }

    #[test]
    fn keys_that_cannot_be_made_or_read_or_lie_among_recordings_are_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(folder.path());
        settings.storage.key_file = "/nowhere/recordings.key".into();
        let found = missing(&settings);
        assert!(found.is_empty(), "nothing is to be encrypted: {found:?}");
        settings.storage.encrypt = Encrypt::All;
        let why = |settings: &Settings| {
            let found = missing(settings);
            assert_eq!(found[0].setting, "storage.key_file");
            found[0].message.clone()
        };
        assert!(why(&settings).contains("does not exist"));
        settings.storage.key_file = folder.path().join("recordings.key");
        assert!(missing(&settings).is_empty());
        fs::write(&settings.storage.key_file, "no key\n").unwrap();
        let plan = Plan {
            features: Some(vec!["encryption".into()]),
            ..Plan::default()
        };
        settings.storage.encrypt = Encrypt::Plans;
        settings.plans.insert("sealed".into(), plan);
        assert!(why(&settings).contains("(storage.key_file)"));
        settings.storage.key_file = settings.storage.root.join("recordings.key");
        assert!(why(&settings).contains("among the recordings"));
    }

    #[test]
    fn a_decoder_that_is_not_there_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(folder.path());
        settings.decoders.ffmpeg = folder.path().join("no-ffmpeg");
        let found = missing(&settings);
        assert_eq!(found[0].setting, "decoders.ffmpeg");
        assert!(found[0].message.contains("kept raw"), "{found:?}");
    }

    #[test]
    fn a_disk_without_room_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(folder.path());
        settings.storage.min_free_mib = 1 << 40;
        let found = missing(&settings);
        assert!(found[0].message.contains("MiB are free"), "{found:?}");
    }
}
