//! Another configuration while calls run: valid as a whole, or the old one stays.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::log::Dial;
use super::state::State;
use super::systemd;
use super::tenancy::Configured;
use crate::config::{self, Loaded, Settings};

/// What is taken over while the daemon runs. Of all other settings a change is only named.
const AT_RUN_TIME: &[&str] = &[
    "log.level",
    "plans",
    "storage.min_free_mib",
    "tenancy.multi",
    "tenancy.system_name",
    "tenancy.tenants",
];

/// Who asks for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// SIGHUP: says what it did in any case.
    ByOperator,
    /// A file changed that may be part of the configuration, or may not.
    ByChange,
}

/// Knows what is in use.
pub struct Reload {
    path: PathBuf,
    settings: Settings,
    /// What the configuration in use was read from.
    read: Vec<Print>,
    /// Why the one on the disk is not in use.
    refused: Option<String>,
    state: Arc<State>,
    dial: Dial,
    watch: Watch,
}

impl Reload {
    /// `changed` is called, perhaps often, when a file of the configuration may have changed.
    pub fn new(
        path: &Path,
        loaded: Loaded,
        state: Arc<State>,
        dial: Dial,
        changed: impl Fn() + Clone + Send + 'static,
    ) -> Reload {
        let mut watch = Watch::new(changed);
        watch.look_at(&loaded);
        Reload {
            path: path.to_owned(),
            read: prints(&loaded.files),
            settings: loaded.settings,
            refused: None,
            state,
            dial,
            watch,
        }
    }

    pub fn reload(&mut self, asked: Asked) {
        if asked == Asked::ByOperator {
            systemd::reloading();
        }
        match config::load(&self.path) {
            Ok(loaded) => self.take(loaded, asked),
            Err(error) => self.refuse(error.render(false), asked),
        }
        if asked == Asked::ByOperator {
            systemd::ready();
        }
    }

    fn take(&mut self, loaded: Loaded, asked: Asked) {
        let read = prints(&loaded.files);
        if asked == Asked::ByChange && read == self.read && self.refused.is_none() {
            return;
        }
        if let Err(contradictions) = self.state.tenancy.configure(Configured::new(&loaded)) {
            let what = contradictions.join("\n");
            return self.refuse(
                format!("it contradicts what is in the catalog:\n{what}"),
                asked,
            );
        }
        self.read = read;
        self.refused = None;
        let reloads = &self.state.reloads;
        reloads.done.fetch_add(1, Ordering::Relaxed);
        reloads.last_successful.store(true, Ordering::Relaxed);
        self.watch.look_at(&loaded);
        for warning in &loaded.warnings {
            let text = config::render(std::slice::from_ref(warning), false);
            tracing::warn!("in the configuration:\n{text}");
        }
        let tenants = loaded.directory.tenants().count();
        self.apply(loaded.settings);
        tracing::info!(tenants, "the configuration was read again and is in use");
    }

    fn apply(&mut self, new: Settings) {
        let later = changed_settings(&self.settings, &new);
        if !later.is_empty() {
            let settings = later.join(", ");
            tracing::warn!(settings, "these settings change with the next start");
        }
        let min_free = &self.state.storage.min_free_mib;
        min_free.store(new.storage.min_free_mib, Ordering::Relaxed);
        if new.log.level != self.settings.log.level {
            self.dial.set(new.log.level);
        }
        // What changes with the next start is named each time until then.
        self.settings.log.level = new.log.level;
    }

    fn refuse(&mut self, errors: String, asked: Asked) {
        if asked == Asked::ByChange && self.refused.as_ref() == Some(&errors) {
            return;
        }
        let reloads = &self.state.reloads;
        reloads.failed.fetch_add(1, Ordering::Relaxed);
        reloads.last_successful.store(false, Ordering::Relaxed);
        tracing::error!("the configuration is not valid, and the old one stays in use:\n{errors}");
        self.refused = Some(errors);
    }
}

/// Settings with another value, but those that are taken over: `capture.interfaces`.
fn changed_settings(old: &Settings, new: &Settings) -> Vec<String> {
    let as_json = |settings| serde_json::to_value(settings).unwrap_or_default();
    let (old, new) = (as_json(old), as_json(new));
    let mut changed = Vec::new();
    for (section, old) in old.as_object().into_iter().flatten() {
        let new = new.get(section);
        for (key, old) in old.as_object().into_iter().flatten() {
            let name = format!("{section}.{key}");
            let taken = |known: &&str| **known == name || *known == section;
            if new.and_then(|new| new.get(key)) != Some(old) && !AT_RUN_TIME.iter().any(taken) {
                changed.push(name);
            }
        }
    }
    changed
}

/// What tells a file from the one that was there before.
type Print = (PathBuf, Option<SystemTime>, u64);

fn prints(files: &[PathBuf]) -> Vec<Print> {
    let print = |path: &PathBuf| {
        let found = std::fs::metadata(path).ok();
        let modified = found.as_ref().and_then(|found| found.modified().ok());
        let len = found.map_or(0, |found| found.len());
        (path.clone(), modified, len)
    };
    files.iter().map(print).collect()
}

/// Looks at the folders of the configuration: editors replace files, and new ones appear.
struct Watch {
    changed: Box<dyn Fn() -> Box<dyn Fn() + Send>>,
    watcher: Option<RecommendedWatcher>,
    folders: Vec<PathBuf>,
    complained: bool,
}

impl Watch {
    fn new(changed: impl Fn() + Clone + Send + 'static) -> Watch {
        Watch {
            changed: Box::new(move || Box::new(changed.clone())),
            watcher: None,
            folders: Vec::new(),
            complained: false,
        }
    }

    fn look_at(&mut self, loaded: &Loaded) {
        let folders = folders(loaded);
        if folders == self.folders && self.watcher.is_some() {
            return;
        }
        match self.start(&folders) {
            Ok(watcher) => {
                self.watcher = Some(watcher);
                self.folders = folders;
            }
            Err(error) => {
                if !std::mem::replace(&mut self.complained, true) {
                    tracing::warn!(%error, "changes of the configuration are not seen: SIGHUP reads it again");
                }
            }
        }
    }

    fn start(&self, folders: &[PathBuf]) -> notify::Result<RecommendedWatcher> {
        let changed = (self.changed)();
        let mut watcher = notify::recommended_watcher(move |event| {
            if is_change(event) {
                changed();
            }
        })?;
        for folder in folders {
            watcher.watch(folder, RecursiveMode::NonRecursive)?;
        }
        Ok(watcher)
    }
}

/// Those that are there.
fn folders(loaded: &Loaded) -> Vec<PathBuf> {
    let parent = |file: &PathBuf| match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let of_files = loaded.files.iter().map(parent);
    let mut folders: Vec<PathBuf> = of_files.chain(loaded.folders.iter().cloned()).collect();
    folders.sort_unstable();
    folders.dedup();
    folders.retain(|folder| folder.is_dir());
    folders
}

/// Not what only reads; and of files with other names than TOML's only those that come and go, as folders and links do:
/// a database beside the configuration is written to all day.
fn is_change(event: notify::Result<notify::Event>) -> bool {
    let Ok(event) = event else {
        // It may have been one.
        return true;
    };
    let toml = |path: &PathBuf| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
    };
    match event.kind {
        EventKind::Access(_) => false,
        EventKind::Create(_) | EventKind::Remove(_) => true,
        _ => event.paths.is_empty() || event.paths.iter().any(toml) || event.need_rescan(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AudioFormat;
    use crate::daemon::state::tests::a_state;

    fn write(folder: &Path, name: &str, text: &str) {
        std::fs::create_dir_all(folder.join("tenants")).unwrap();
        std::fs::write(folder.join(name), text).unwrap();
    }

    const TENANT: &str = "[tenant]\nid = \"34c7f1f6-9201-11e5-a739-e03f497dbdff\"\nname = \"Acme\"\n\n[[match]]\nnetworks = [\"10.0.0.0/8\"]\n\n[[extension]]\nnumber = \"1001\"\n";

    fn reload_of(folder: &Path) -> (Reload, Arc<State>) {
        write(folder, "callreel.toml", "");
        write(folder, "tenants/acme.toml", TENANT);
        let loaded = config::load(&folder.join("callreel.toml")).unwrap();
        let state = Arc::new(a_state());
        state.tenancy.configure(Configured::new(&loaded)).unwrap();
        let dial = crate::daemon::log::start(&config::Log::default());
        let path = folder.join("callreel.toml");
        let reload = Reload::new(&path, loaded, state.clone(), dial, || {});
        (reload, state)
    }

    fn counts(state: &State) -> (u64, u64, bool) {
        let reloads = &state.reloads;
        (
            reloads.done.load(Ordering::Relaxed),
            reloads.failed.load(Ordering::Relaxed),
            reloads.last_successful.load(Ordering::Relaxed),
        )
    }

    #[test]
    fn a_broken_file_leaves_the_old_directory_and_a_good_one_replaces_it() {
        let folder = tempfile::tempdir().unwrap();
        let (mut reload, state) = reload_of(folder.path());
        let first = state.directory.load_full();
        write(folder.path(), "tenants/acme.toml", "[tenant\n");
        reload.reload(Asked::ByChange);
        reload.reload(Asked::ByChange);
        assert!(Arc::ptr_eq(&first, &state.directory.load_full()));
        assert_eq!(counts(&state), (0, 1, false));
        let renamed = TENANT.replace("Acme", "Acme Limited");
        write(folder.path(), "tenants/acme.toml", &renamed);
        reload.reload(Asked::ByChange);
        assert_eq!(counts(&state), (1, 1, true));
        let second = state.directory.load_full();
        assert!(
            second
                .tenants()
                .any(|tenant| &*tenant.name == "Acme Limited")
        );
    }

    #[test]
    fn what_did_not_change_is_read_again_only_for_an_operator() {
        let folder = tempfile::tempdir().unwrap();
        let (mut reload, state) = reload_of(folder.path());
        reload.reload(Asked::ByChange);
        assert_eq!(counts(&state), (0, 0, true));
        reload.reload(Asked::ByOperator);
        assert_eq!(counts(&state), (1, 0, true));
    }

    #[test]
    fn a_directory_is_kept_while_the_engine_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let (mut reload, state) = reload_of(folder.path());
        let of_engine = state.directory.load_full();
        reload.reload(Asked::ByOperator);
        state.tenancy.tidy();
        assert_eq!(Arc::strong_count(&of_engine), 2);
        let held = Arc::downgrade(&of_engine);
        drop(of_engine);
        state.tenancy.tidy();
        assert!(held.upgrade().is_none());
    }

    #[test]
    fn settings_that_need_a_start_are_named_and_others_are_not() {
        let mut new = Settings::default();
        new.capture.interfaces.push("span1".into());
        new.storage.format = AudioFormat::G711;
        new.storage.min_free_mib = 7;
        new.plans.insert("basic".into(), config::Plan::default());
        assert_eq!(
            changed_settings(&Settings::default(), &new),
            ["capture.interfaces", "storage.format"]
        );
    }
}
