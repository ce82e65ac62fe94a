//! The walls of the house: what `ARCHITECTURE.md` says of layers, clocks, files and panics, read from the source itself.

mod source;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::LazyLock;

use source::{Source, read_crate};

/// The rooms with no I/O, no clock, no async and no global state, besides `engine` which uses them.
const CORE: [&str; 6] = ["base", "wire", "sip", "rtp", "codec", "directory"];

/// What a room may use: the core, and the named ones.
enum May {
    UseNothing,
    Use(&'static [&'static str]),
    UseCoreAnd(&'static [&'static str]),
    UseAllAbove,
}

/// Each room, from the ground up, with what it may use of those above it in this table.
const ROOMS: &[(&str, May)] = &[
    ("base", May::UseNothing),
    ("wire", May::Use(&["base"])),
    ("sip", May::Use(&["base"])),
    ("rtp", May::Use(&["base"])),
    ("codec", May::Use(&["base"])),
    ("directory", May::Use(&["base"])),
    ("engine", May::UseCoreAnd(&[])),
    ("capture", May::Use(&["base", "wire"])),
    ("storage", May::Use(&["base"])),
    (
        "simulate",
        May::Use(&["base", "wire", "sip", "rtp", "codec", "capture"]),
    ),
    ("access", May::Use(&["base"])),
    ("catalog", May::Use(&["base", "access"])),
    ("mail", May::Use(&["base"])),
    ("decoders", May::UseNothing),
    (
        "recorder",
        May::UseCoreAnd(&["engine", "storage", "decoders"]),
    ),
    ("delivery", May::Use(&["base", "access", "catalog"])),
    (
        "api",
        May::Use(&[
            "base", "codec", "access", "catalog", "mail", "storage", "delivery",
        ]),
    ),
    ("config", May::Use(&["base", "directory"])),
    ("fuzzing", May::UseCoreAnd(&["engine", "capture", "config"])),
    ("daemon", May::UseAllAbove),
    ("cli", May::UseAllAbove),
];

const CORE_MAY_NOT: &[&str] = &[
    "std::env",
    "std::fs",
    "std::io",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::os",
    "std::process",
    "std::sync::mpsc",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

/// Crates that do what the core may not.
const CRATES_OF_THE_SHELL: &[&str] = &[
    "axum",
    "getrandom",
    "indicatif",
    "notify",
    "pcap",
    "rand",
    "rustix",
    "sd_notify",
    "sqlx",
    "tempfile",
    "tokio",
    "tracing",
    "tracing_subscriber",
];

/// Lines of a file before its tests.
const LONGEST_FILE: usize = 600;

static CRATE: LazyLock<Vec<Source>> = LazyLock::new(read_crate);

fn may_use(room: &str, used: &str) -> bool {
    let place = |name: &str| ROOMS.iter().position(|(listed, _)| *listed == name);
    let at = place(room).unwrap_or_else(|| panic!("src/{room} has no row in this test's table"));
    let above = place(used).is_some_and(|used_at| used_at < at);
    above
        && match ROOMS[at].1 {
            May::UseNothing => false,
            May::Use(named) => named.contains(&used),
            May::UseCoreAnd(named) => CORE.contains(&used) || named.contains(&used),
            May::UseAllAbove => true,
        }
}

fn in_core(source: &Source) -> bool {
    source
        .room()
        .is_some_and(|room| room == "engine" || CORE.contains(&room))
}

/// Fails with all of `faults`, one a line.
fn expect_none(what: &str, faults: Vec<String>) {
    assert!(faults.is_empty(), "{what}:\n  {}\n", faults.join("\n  "));
}

/// `path:line: what` for every place where one of `words` stands in a source that `applies`.
fn places(applies: impl Fn(&Source) -> bool, words: &[&str]) -> Vec<String> {
    let mut places = Vec::new();
    for source in CRATE.iter().filter(|source| applies(source)) {
        for word in words {
            let lines = source.words(word).map(|at| source.line(at));
            places
                .extend(lines.map(|line| format!("src/{}:{line}: {word}", source.path.display())));
        }
    }
    places
}

/// Room and line of every path from `source` into a room, whether it is written from the crate's root or by `super`.
fn uses(source: &Source) -> Vec<(usize, String)> {
    let depth = source.modules.len();
    let climbs = vec!["super"; depth].join("::");
    let from_root = source.paths("crate").into_iter();
    let climbing = if depth == 0 {
        Vec::new()
    } else {
        source.paths(&climbs)
    };
    let prefix = |path: &str| match path.strip_prefix("crate::") {
        Some(rest) => rest.to_owned(),
        None => path.trim_start_matches("super::").to_owned(),
    };
    let rooms = from_root
        .chain(climbing)
        .map(|(line, path)| (line, prefix(&path)));
    rooms
        .map(|(line, path)| (line, path.split("::").next().unwrap_or("").to_owned()))
        .collect()
}

#[test]
fn every_room_has_a_row() {
    for room in CRATE.iter().filter_map(Source::room) {
        assert!(
            ROOMS.iter().any(|(name, _)| *name == room),
            "src/{room} has no row in this test's table"
        );
    }
}

#[test]
fn uses_are_seen_at_all() {
    let uses = |path: &str, used: &str| {
        let source = CRATE.iter().find(|source| source.path.ends_with(path));
        uses(source.expect("the file is there"))
            .iter()
            .any(|(_, name)| name == used)
    };
    assert!(uses("engine/mod.rs", "wire") && uses("recorder/mod.rs", "engine"));
    assert!(!uses("wire/mod.rs", "engine"));
}

#[test]
fn rooms_use_only_what_stands_below_them() {
    let mut faults = Vec::new();
    for source in CRATE.iter() {
        let Some(room) = source.room() else { continue };
        for (line, used) in uses(source) {
            let known = ROOMS.iter().any(|(name, _)| *name == used);
            if known && used != room && !may_use(room, &used) {
                faults.push(format!(
                    "src/{}:{line}: {room} uses {used}",
                    source.path.display()
                ));
            }
        }
    }
    expect_none("a room uses what its layer may not", faults);
}

#[test]
fn the_core_has_no_clock_no_files_no_sockets_no_threads() {
    let mut faults = places(
        in_core,
        &[
            "SystemTime",
            "Instant",
            "async",
            "await",
            "now_v7",
            "new_v4",
            "now_utc",
        ],
    );
    for source in CRATE.iter().filter(|source| in_core(source)) {
        let at = |line: usize, what: &str| format!("src/{}:{line}: {what}", source.path.display());
        let std_paths = source.paths("std").into_iter();
        let forbidden =
            std_paths.filter(|(_, path)| CORE_MAY_NOT.iter().any(|no| path.starts_with(no)));
        faults.extend(forbidden.map(|(line, path)| at(line, &path)));
        for name in CRATES_OF_THE_SHELL {
            faults.extend(
                source
                    .paths(name)
                    .into_iter()
                    .map(|(line, path)| at(line, &path)),
            );
        }
    }
    expect_none("the core does what only the shell may", faults);
}

#[test]
fn the_core_has_no_global_state() {
    // Whether logs show people's numbers is a property of the log, set once at start.
    let but_redaction =
        |source: &Source| in_core(source) && !source.path.ends_with("base/redacted.rs");
    let mut faults = places(but_redaction, &["thread_local!", "static mut"]);
    for source in CRATE.iter().filter(|source| but_redaction(source)) {
        for at in source
            .words("static")
            .filter(|&at| !source.code[..at].ends_with('\''))
        {
            let item = &source.code[at..];
            let declared = item.split(['=', ';']).next().unwrap_or("");
            if ["Mutex", "RwLock", "Atomic", "OnceLock", "Cell"]
                .iter()
                .any(|kind| declared.contains(kind))
            {
                faults.push(format!(
                    "src/{}:{}: {}",
                    source.path.display(),
                    source.line(at),
                    declared.trim()
                ));
            }
        }
    }
    expect_none("global state in the core", faults);
}

#[test]
fn unsafe_is_only_in_capture_and_says_why_it_is_sound() {
    let elsewhere = places(|source| source.room() != Some("capture"), &["unsafe"]);
    expect_none("unsafe outside capture/", elsewhere);
    let mut faults = Vec::new();
    for source in CRATE.iter() {
        for line in source.words("unsafe").map(|at| source.line(at)) {
            let mut above = source
                .text
                .lines()
                .take(line)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .take(5);
            if !above.any(|text| text.contains("SAFETY:")) {
                faults.push(format!("src/{}:{line}", source.path.display()));
            }
        }
    }
    expect_none("unsafe without a SAFETY line", faults);
}

#[test]
fn nothing_panics_on_purpose() {
    let words = [
        ".unwrap()",
        ".unwrap_err()",
        "panic!",
        "todo!",
        "unimplemented!",
        "dbg!",
    ];
    expect_none("a panic outside tests", places(|_| true, &words));
}

#[test]
fn only_the_command_line_prints() {
    let words = ["print!", "println!", "eprint!", "eprintln!"];
    expect_none(
        "output outside cli/",
        places(|source| source.room() != Some("cli"), &words),
    );
}

#[test]
fn files_are_short_enough_to_read() {
    let mut faults = Vec::new();
    for source in CRATE.iter() {
        let lines = source.code.trim_end().lines().count();
        if lines > LONGEST_FILE {
            faults.push(format!("src/{}: {lines} lines", source.path.display()));
        }
    }
    expect_none("files that ask to be two", faults);
}

#[test]
fn every_folder_says_what_it_is_for() {
    let mut faults = Vec::new();
    for source in CRATE.iter() {
        let opens_a_folder = source.path.ends_with("mod.rs") || source.path.ends_with("lib.rs");
        if opens_a_folder && !source.text.starts_with("//! ") {
            faults.push(format!("src/{}", source.path.display()));
        }
    }
    expect_none("a folder without a word about itself", faults);
}

#[test]
fn the_code_map_has_every_file_and_none_that_is_gone() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let text = std::fs::read_to_string(path).expect("the page is there");
    let mut folder = "";
    let mut mapped = BTreeSet::new();
    for line in text.lines() {
        if let Some((room, _)) = line
            .strip_prefix("**`")
            .and_then(|rest| rest.split_once("/`**"))
        {
            folder = room;
            mapped.insert(Path::new(room).join("mod.rs"));
        } else if let Some((file, _)) = line
            .strip_prefix("| `")
            .and_then(|rest| rest.split_once(".rs` |"))
            .filter(|(file, _)| !file.contains('`'))
        {
            mapped.insert(Path::new(folder).join(file).with_extension("rs"));
        }
    }
    // `lib.rs` and its like are in the text above the map.
    let there = CRATE
        .iter()
        .map(|source| source.path.clone())
        .filter(|path| path.components().count() > 1);
    let there: BTreeSet<_> = there.collect();
    let faults = there
        .symmetric_difference(&mapped)
        .map(|path| format!("src/{}", path.display()));
    expect_none(
        "in src/ or in ARCHITECTURE.md's code map, but not in both",
        faults.collect(),
    );
}
