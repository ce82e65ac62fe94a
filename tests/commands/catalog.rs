//! `callreel catalog`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

use callreel::access::Scope;
use callreel::base::{RecordingId, TenantId};
use callreel::catalog::{CallRecord, FileRecord};
use callreel::simulate::Features;
use callreel::storage::{Kind, Layout, PartFile, RecordingName, StorageLock};

use super::world::{World, callreel};

#[test]
fn a_catalog_that_was_deleted_is_rebuilt_row_by_row() {
    let world = World::new();
    let before = world.records();
    fs::remove_file(world.path("catalog.db")).unwrap();
    let json = world.run(&["catalog", "rebuild", "--json"]).exits(0).json();
    assert_eq!((&json["entered"], &json["kept"]), (&6.into(), &0.into()));
    assert_eq!(world.records(), before);
    world.run(&["catalog", "verify"]).exits(0);
}

#[test]
fn a_rebuild_keeps_calls_without_a_recording() {
    let world = World::with(Features {
        rejected: 60,
        ..Features::default()
    });
    let before = world.records();
    assert!(before.iter().any(|call| call.file.is_none()));
    let done = world.run(&["catalog", "rebuild"]).exits(0);
    assert!(
        done.out
            .contains("without a recording kept, 0 sidecars unreadable"),
        "{}",
        done.out
    );
    assert_eq!(world.records(), before);
}

#[test]
fn a_rebuild_names_the_sidecars_that_it_could_not_read() {
    let world = World::new();
    let (_, sidecar) = world.recordings().remove(0);
    fs::write(&sidecar, "{").unwrap();
    let done = world.run(&["catalog", "rebuild"]).exits(1);
    assert!(done.out.contains("5 recordings entered"), "{}", done.out);
    assert!(done.out.contains(sidecar.to_str().unwrap()), "{}", done.out);
    assert_eq!(
        world.faults(),
        [
            ("sidecar_wrong".to_owned(), sidecar.clone()),
            ("not_catalogued".to_owned(), sidecar.with_extension("wav")),
        ]
    );
}

#[test]
fn a_rebuild_is_refused_while_somebody_records() {
    let world = World::new();
    let before = world.records();
    let lock = StorageLock::acquire(&world.path("recordings")).unwrap();
    let refused = world.run(&["catalog", "rebuild"]).exits(2);
    let pid = format!("process {}", std::process::id());
    assert!(refused.err.contains(&pid), "{}", refused.err);
    assert_eq!(world.records(), before);
    drop(lock);
    world.run(&["catalog", "rebuild"]).exits(0);
    let missing = callreel(
        world.folder.path(),
        &["catalog", "rebuild", "--storage", "nowhere"],
        "",
    );
    assert_eq!(
        missing.exits(2).err,
        "callreel: there is no storage nowhere\n"
    );
}

#[test]
fn a_clean_storage_verifies() {
    let world = World::new();
    let done = world.run(&["catalog", "verify"]).exits(0);
    assert_eq!(done.out, "6 rows, 6 recordings: catalog and disk agree\n");
}

#[test]
fn verify_finds_each_kind_of_damage() {
    let world = World::new();
    let recordings = world.recordings();
    let mut expected = BTreeSet::new();
    let mut expect =
        |fault: &str, path: &Path| expected.insert((fault.to_owned(), path.to_owned()));

    let [missing, longer, header, bare, foreign, unlisted] = recordings.as_slice() else {
        panic!("there are six calls");
    };
    fs::remove_file(&missing.0).unwrap();
    expect("file_missing", &missing.0);

    let mut bytes = fs::read(&longer.0).unwrap();
    bytes.extend([0; 4]);
    fs::write(&longer.0, bytes).unwrap();
    expect("size_differs", &longer.0);

    let mut bytes = fs::read(&header.0).unwrap();
    bytes[..4].copy_from_slice(b"LIST");
    fs::write(&header.0, bytes).unwrap();
    expect("header_wrong", &header.0);

    fs::remove_file(&bare.1).unwrap();
    expect("sidecar_missing", &bare.0);

    fs::copy(&unlisted.1, &foreign.1).unwrap();
    expect("sidecar_wrong", &foreign.1);

    let part = unlisted.0.with_extension("wav.part");
    fs::write(&part, "").unwrap();
    expect("unfinished", &part);

    let records = world.records();
    let of = |path: &Path| {
        let is = |call: &&CallRecord| path.ends_with(&call.file.as_ref().unwrap().path);
        records.iter().find(is).unwrap().clone()
    };
    let gone = of(&unlisted.0);
    world.with_catalog(async |catalog| {
        let removed = catalog
            .remove_missing(&Scope::root(), &[(gone.tenant, gone.id)])
            .await;
        assert_eq!(removed.unwrap(), 1);
    });
    expect("not_catalogued", &unlisted.0);

    // Another tenant's row that points at this one's recording, and one that points outside.
    let other: TenantId = "34c7f1f6-9201-11e5-a739-e03f497dbdff".parse().unwrap();
    let stolen = CallRecord {
        tenant: other,
        ..of(&header.0)
    };
    expect(
        "wrong_tenant",
        Path::new(&stolen.file.as_ref().unwrap().path),
    );
    let outside = CallRecord {
        id: "01586f2b-0000-7000-8000-000000000000".parse().unwrap(),
        file: Some(FileRecord {
            path: "../../etc/passwd".into(),
            ..stolen.file.clone().unwrap()
        }),
        ..stolen.clone()
    };
    expect("wrong_path", Path::new("../../etc/passwd"));
    world.record(&[stolen, outside]);

    let found = world.faults();
    assert_eq!(found.len(), expected.len(), "each once: {found:?}");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    let table = world.run(&["catalog", "verify"]).exits(1);
    assert!(table.out.ends_with(": 9 faults\n"), "{}", table.out);
}

#[test]
fn calls_in_progress_of_a_running_daemon_are_no_fault() {
    let world = World::new();
    let (audio, _) = world.recordings().remove(0);
    let root = world.path("recordings");
    let (mut name, _) = RecordingName::parse(audio.strip_prefix(&root).unwrap()).unwrap();
    name.id = "01586f2b-0000-7000-8000-000000000000"
        .parse()
        .map(RecordingId)
        .unwrap();
    let part = PartFile::create(&Layout::new(&root), name, Kind::AudioPart, false).unwrap();
    assert_eq!(world.faults().len(), 1);
    let _lock = StorageLock::acquire(&root).unwrap();
    let done = world.run(&["catalog", "verify"]).exits(0);
    let expected = format!(
        "6 rows, 6 recordings, 1 in progress in process {}: catalog and disk agree\n",
        std::process::id()
    );
    assert_eq!(done.out, expected);
    // A file that nobody writes is not in progress, whoever runs.
    drop(part);
    let done = world.run(&["catalog", "verify"]).exits(1);
    assert!(
        done.out.contains(", 0 in progress in process"),
        "{}",
        done.out
    );
    assert!(done.out.contains("nobody writes it"), "{}", done.out);
}

#[test]
fn a_damaged_catalog_is_said_and_can_be_rebuilt() {
    let world = World::new();
    let before = world.records();
    fs::write(world.path("catalog.db"), "no database ".repeat(1000)).unwrap();
    let refused = world.run(&["calls"]).exits(2);
    assert!(
        refused
            .err
            .contains("rebuild it from the recordings' sidecars"),
        "{}",
        refused.err
    );
    world.run(&["catalog", "verify"]).exits(2);
    let done = world.run(&["catalog", "rebuild"]).exits(1);
    assert!(done.err.contains("catalog.db.damaged"), "{}", done.err);
    assert_eq!(world.records(), before);
}

#[test]
fn a_running_daemon_is_given_time_to_enter_a_recording() {
    let world = World::new();
    let call = world.records().remove(0);
    world.with_catalog(async |catalog| {
        let of_call = [(call.tenant, call.id)];
        catalog
            .remove_missing(&Scope::root(), &of_call)
            .await
            .unwrap();
    });
    let lock = StorageLock::acquire(&world.path("recordings")).unwrap();
    assert_eq!(world.faults(), []);
    let audio = world.path("recordings").join(&call.file.unwrap().path);
    let sidecar = fs::File::options()
        .append(true)
        .open(audio.with_extension("json"))
        .unwrap();
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    sidecar.set_modified(long_ago).unwrap();
    let missed = [("not_catalogued".to_owned(), audio)];
    assert_eq!(world.faults(), missed);
    drop(lock);
    assert_eq!(world.faults(), missed);
}
