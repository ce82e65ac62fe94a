//! Recordings that are encrypted where they rest, as their operator meets them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use callreel::storage::RecordingName;
use serde_json::Value;

use super::world::{World, callreel};

/// The first bytes of every file that is encrypted.
const SEALED: &[u8] = b"callreel-sealed\n";

/// Recordings of two tenants, of which the first subscribes to encryption, and what the same calls are without it.
struct Sealed {
    world: World,
    /// Files by their place under the storage, as they are when nothing is encrypted.
    plain: BTreeMap<PathBuf, Vec<u8>>,
}

impl Sealed {
    fn new() -> Sealed {
        let world = World::new();
        for n in [1, 2] {
            let path = world.path(&format!("tenants/tenant{n}.toml"));
            let text = fs::read_to_string(&path).unwrap();
            let text = text.replace("[recording]\n", "[recording]\nsignalling = true\n");
            // Lines stay where they are: attributions name them.
            let text = text.replace("[tenant]\n", "[tenant]\nlanguage = \"en\"\n");
            fs::write(&path, text).unwrap();
        }
        replay(&world);
        let plain = files(&world);
        let config = fs::read_to_string(world.path("callreel.toml")).unwrap();
        let config = config.replace("[storage]\n", "[storage]\nkey_file = \"recordings.key\"\n")
            + "\n[plans.sealed]\nfeatures = [\"encryption\", \"download\"]\n";
        fs::write(world.path("callreel.toml"), config).unwrap();
        let first = world.path("tenants/tenant1.toml");
        let text = fs::read_to_string(&first).unwrap();
        fs::write(
            &first,
            text.replace("language = \"en\"", "plan = \"sealed\""),
        )
        .unwrap();
        replay(&world);
        Sealed { world, plain }
    }

    /// Ids of the recordings of the tenant that encrypts, or of the other.
    fn recordings(&self, sealed: bool) -> Vec<(String, PathBuf)> {
        let calls = self.world.calls(&["--recorded"]).into_iter();
        let calls = calls.filter(|call| (call["tenant"] == "Tenant 1") == sealed);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        calls
            .map(|call| (text(&call["id"]), text(&call["file"]["path"]).into()))
            .collect()
    }

    fn relative(&self, path: &Path) -> PathBuf {
        path.strip_prefix(self.world.path("recordings"))
            .unwrap()
            .to_owned()
    }
}

/// Records the calls anew.
fn replay(world: &World) {
    fs::remove_dir_all(world.path("recordings")).unwrap();
    fs::remove_file(world.path("catalog.db")).unwrap();
    world.run(&["replay", "calls.pcap", "--quiet"]).exits(0);
}

fn files(world: &World) -> BTreeMap<PathBuf, Vec<u8>> {
    let root = world.path("recordings");
    let layout = callreel::storage::Layout::new(&root);
    let found = layout.walk(|path, error| panic!("{}: {error}", path.display()));
    let read = |(name, kind): (RecordingName, _)| {
        let path = name.relative(kind).into();
        (path, fs::read(layout.path(&name, kind)).unwrap())
    };
    found.into_iter().map(read).collect()
}

#[test]
fn a_plan_encrypts_every_file_of_its_tenants_and_of_nobody_else() {
    let sealed = Sealed::new();
    let now = files(&sealed.world);
    let places = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(places(&now), places(&sealed.plain));
    let (ours, others) = (sealed.recordings(true), sealed.recordings(false));
    assert!(ours.len() >= 2 && others.len() >= 2);
    let mut kinds = 0;
    for (path, bytes) in &now {
        let id = path.file_name().unwrap().to_string_lossy()[..36].to_owned();
        let is_ours = ours.iter().any(|(of, _)| *of == id);
        assert_eq!(bytes.starts_with(SEALED), is_ours, "{}", path.display());
        if !is_ours {
            assert!(bytes == &sealed.plain[path], "{}", path.display());
        }
        kinds += usize::from(is_ours);
    }
    assert_eq!(kinds, 3 * ours.len(), "audio, sidecar and messages");
    let numbers = ["1001", "sip:", "Tenant 1"];
    for (path, bytes) in now.iter().filter(|(_, bytes)| bytes.starts_with(SEALED)) {
        let found = |text: &str| {
            bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        };
        assert!(
            !numbers[1..].iter().any(|text| found(text)),
            "{}",
            path.display()
        );
    }
}

#[test]
fn what_is_fetched_is_what_would_lie_there_and_the_audit_says_who_fetched_it() {
    let sealed = Sealed::new();
    let (id, path) = sealed.recordings(true).remove(0);
    let place = sealed.relative(&path);
    for (what, extension) in [("audio", "wav"), ("messages", "pcap"), ("sidecar", "json")] {
        let fetch = ["calls", "fetch", &id, "--what", what, "-o", "fetched"];
        sealed.world.run(&fetch).exits(0);
        let fetched = fs::read(sealed.world.path("fetched")).unwrap();
        let plain = &sealed.plain[&place.with_extension(extension)];
        if what == "sidecar" {
            let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
            let (mut now, before) = (json(&fetched), json(plain));
            let mark = now.as_object_mut().unwrap().remove("encrypted_at_rest");
            assert_eq!(mark, Some(Value::Bool(true)));
            assert!(now == before, "{now}\n{before}");
        } else {
            assert!(fetched == *plain, "{what}");
        }
    }
    let audit = sealed.world.run(&["audit", "list", "--json"]).exits(0);
    let fetched = audit.out.matches("calls.download").count();
    assert_eq!(fetched, 3, "{}", audit.out);
    let packets = ["calls", "fetch", &id, "--what", "packets", "-o", "none"];
    let none = sealed.world.run(&packets).exits(1);
    assert!(none.err.contains("No such file"), "{}", none.err);
    assert!(!sealed.world.path("none").exists());
}

#[test]
fn a_file_that_is_not_encrypted_is_fetched_too_without_a_configuration() {
    let world = World::new();
    let line = ["replay", "calls.pcap", "--quiet", "--storage", "trial"];
    callreel(world.folder.path(), &line, "").exits(0);
    let calls = ["calls", "--storage", "trial", "--json"];
    let calls = callreel(world.folder.path(), &calls, "").exits(0).json();
    let id = calls["calls"][0]["id"].as_str().unwrap();
    let fetch = ["calls", "fetch", id, "--storage", "trial", "-o", "fetched"];
    callreel(world.folder.path(), &fetch, "").exits(0);
    let lies_there = calls["calls"][0]["file"]["path"].as_str().unwrap();
    let fetched = fs::read(world.path("fetched")).unwrap();
    assert!(fetched == fs::read(world.folder.path().join(lies_there)).unwrap());
    let nobody = [
        "calls",
        "fetch",
        "00000000-0000-7000-8000-000000000000",
        "-o",
        "x",
    ];
    world.run(&nobody).exits(1);
}

#[test]
fn commands_read_what_is_encrypted_as_anything_else() {
    let sealed = Sealed::new();
    let world = &sealed.world;
    world.run(&["catalog", "verify"]).exits(0);
    let before = world.records();
    fs::remove_file(world.path("catalog.db")).unwrap();
    let rebuilt = world.run(&["catalog", "rebuild", "--json"]).exits(0).json();
    assert_eq!(rebuilt["unreadable"], serde_json::json!([]));
    assert_eq!(world.records(), before);
    let (id, _) = sealed.recordings(true).remove(0);
    let shown = world.run(&["calls", "show", &id]).exits(0).out;
    assert!(
        shown.contains("encrypted: `callreel calls fetch`"),
        "{shown}"
    );
    let ladder = world.run(&["calls", "show", &id, "--ladder"]).exits(0).out;
    assert!(
        ladder.contains("INVITE") && ladder.contains("BYE"),
        "{ladder}"
    );
    let (other, _) = sealed.recordings(false).remove(0);
    let shown = world.run(&["calls", "show", &other]).exits(0).out;
    assert!(!shown.contains("encrypted: `"), "{shown}");
}

#[test]
fn without_its_key_nothing_opens_and_verify_says_so() {
    let sealed = Sealed::new();
    let world = &sealed.world;
    let ours = sealed.recordings(true);
    let (key, away) = (world.path("recordings.key"), world.path("away.key"));
    fs::rename(&key, &away).unwrap();
    let faults = world.faults();
    assert!(faults.iter().all(|(fault, _)| fault == "does_not_open"));
    assert_eq!(
        faults.len(),
        2 * ours.len(),
        "audio and sidecar: {faults:?}"
    );
    let refused = world
        .run(&["calls", "fetch", &ours[0].0, "-o", "fetched"])
        .exits(2);
    assert!(
        refused.err.contains("its key") && refused.err.contains("is not in"),
        "{}",
        refused.err
    );
    assert!(
        !world.path("fetched").exists() && !key.exists(),
        "nothing is made by asking"
    );
    fs::rename(&away, &key).unwrap();
    assert_eq!(world.faults(), []);
    // One tenant's file in the place of another's: it is no file of that one.
    let (one, other) = (&ours[0].1, &ours[1].1);
    fs::copy(one, other).unwrap();
    assert_eq!(
        world.faults(),
        [("does_not_open".to_owned(), other.clone())]
    );
    // Nor is one that anybody could have made.
    let plain = &sealed.plain[&sealed.relative(other)];
    fs::write(other, plain).unwrap();
    assert_eq!(
        world.faults(),
        [("does_not_open".to_owned(), other.clone())]
    );
}

#[test]
fn a_key_stays_in_use_where_not_all_could_be_put_under_another() {
    let sealed = Sealed::new();
    let world = &sealed.world;
    world.run(&["key", "new"]).exits(0);
    let (_, audio) = sealed.recordings(true).remove(0);
    let mut bytes = fs::read(&audio).unwrap();
    bytes[70] ^= 1;
    fs::write(&audio, &bytes).unwrap();
    let done = world.run(&["key", "rewrap", "--json"]).exits(1).json();
    let left = done["left"].as_array().unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["path"], sealed.relative(&audio).to_str().unwrap());
    assert!(fs::read(&audio).unwrap() == bytes);
    let keys = world.run(&["key", "list", "--json"]).exits(0).json();
    assert!(
        keys.as_array()
            .unwrap()
            .iter()
            .all(|key| key["in_use"] == true)
    );
}

#[test]
fn a_part_that_was_changed_is_found_when_all_is_read() {
    let sealed = Sealed::new();
    let world = &sealed.world;
    assert_eq!(world.faults_found(&["--contents"]), []);
    let (_, audio) = sealed.recordings(true).remove(0);
    let (_, plain) = sealed.recordings(false).remove(0);
    let messages = audio.with_extension("pcap");
    for path in [&audio, &messages, &plain] {
        let mut bytes = fs::read(path).unwrap();
        let last = bytes.len() - 5;
        bytes[last] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    // Nothing says what the bytes of a file that is not encrypted should be.
    let changed = |path: &PathBuf| ("does_not_open".to_owned(), path.clone());
    assert_eq!(world.faults(), []);
    let mut expected = [changed(&audio), changed(&messages)];
    expected.sort();
    assert_eq!(world.faults_found(&["--contents"]), expected);
}

#[test]
fn no_key_is_made_while_the_disk_of_the_right_one_is_not_mounted() {
    let sealed = Sealed::new();
    let world = &sealed.world;
    let (key, away) = (world.path("recordings.key"), world.path("away.key"));
    let used = world.path("recordings/.callreel.keys");
    let (ids, others) = (fs::read(&used).unwrap(), sealed.recordings(false));
    fs::rename(&key, &away).unwrap();
    fs::remove_dir_all(world.path("recordings")).unwrap();
    fs::create_dir(world.path("recordings")).unwrap();
    fs::write(&used, ids).unwrap();
    let replayed = world.run(&["replay", "calls.pcap", "--quiet"]);
    assert!(
        replayed.err.contains("is its disk mounted?"),
        "{}",
        replayed.err
    );
    assert!(!key.exists());
    let now = files(world);
    let names = others
        .iter()
        .map(|(_, path)| sealed.relative(path).with_extension(""));
    assert_eq!(
        now.keys()
            .map(|path| path.with_extension(""))
            .collect::<BTreeSet<_>>(),
        names.collect()
    );
    let listed = world.run(&["key", "list"]).exits(0).out;
    assert!(listed.contains("MISSING"), "{listed}");
    let checked = world.run(&["check"]).exits(0);
    assert!(checked.err.contains("nobody hears them"), "{}", checked.err);
    fs::rename(&away, &key).unwrap();
    world.run(&["replay", "calls.pcap", "--quiet"]).exits(0);
    assert!(files(world).len() > now.len());
    let listed = world.run(&["key", "list", "--json"]).exits(0).json();
    assert_eq!(listed[0]["missing"], false);
}

#[test]
fn what_is_new_is_under_the_newest_key_and_what_was_there_opens_still() {
    let sealed = Sealed::new();
    let world = &sealed.world;
    let list = || world.run(&["key", "list", "--json"]).exits(0).json();
    let first = list();
    let first_id = first[0]["id"].as_str().unwrap().to_owned();
    let made = world.run(&["key", "new", "--json"]).exits(0).json();
    assert_eq!(list().as_array().unwrap().len(), 2);
    assert_eq!(list()[1], made);
    let secret = fs::read_to_string(world.path("recordings.key")).unwrap();
    let told = world.run(&["key", "list"]).exits(0).out;
    assert!(
        secret.lines().all(|line| !told.contains(&line[..64])),
        "{told}"
    );
    let under = |path: &Path| {
        let bytes = fs::read(path).unwrap();
        bytes[24..32]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let (_, old) = sealed.recordings(true).remove(0);
    assert_eq!(under(&old), first_id);
    world.run(&["catalog", "verify"]).exits(0);
    // All that is there is put under it, and the first can go.
    let before = files(world);
    let done = world.run(&["key", "rewrap", "--json"]).exits(0).json();
    assert_eq!(done["files"], 3 * sealed.recordings(true).len());
    assert_eq!(under(&old), made["id"]);
    for (path, bytes) in files(world) {
        assert!(bytes[128..] == before[&path][128..], "{}", path.display());
    }
    assert_eq!(list()[0]["in_use"], false);
    let (first_line, rest) = secret.split_once('\n').unwrap();
    fs::write(world.path("recordings.key"), rest).unwrap();
    assert_eq!(world.faults_found(&["--contents"]), []);
    let done = world.run(&["key", "rewrap"]).exits(0).out;
    assert!(done.starts_with("0 files"), "{done}");
    fs::write(
        world.path("recordings.key"),
        format!("{first_line}\n{rest}"),
    )
    .unwrap();
    replay(world);
    let (_, new) = sealed.recordings(true).remove(0);
    assert_eq!(under(&new), made["id"]);
}
