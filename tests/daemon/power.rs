//! A power cut, played through. strace tells what the daemon wrote, renamed and synced, and when; from that follows what a disk may
//! hold after a cut at any moment, and recovery runs on it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use callreel::base::{RecordingId, Timestamp};
use callreel::recorder::{self, WhenFull, recover};
use callreel::storage::{Kind, Layout, RecordingName, Sidecar};
use rustix::process::Signal;

use crate::house::{House, SmallDisk, audio_in, has};

/// What may be lost.
const SECONDS_LOST: f64 = 2.0;

/// System calls that change files, or make changes last.
const TRACED: &str = "openat,write,pwrite64,ftruncate,rename,unlink,fsync,fdatasync,syncfs";

/// What a system call did to a path below the storage's root.
#[derive(Debug)]
enum Deed {
    /// Opened to be written; emptied, if so.
    Open {
        emptied: bool,
    },
    /// At a place, or at the end.
    Write(Option<usize>, Vec<u8>),
    SetLen(usize),
    Rename(PathBuf),
    Remove,
    /// Of a file or a folder.
    Sync,
    SyncAll,
}

#[derive(Debug)]
struct Op {
    begin: f64,
    end: f64,
    path: PathBuf,
    deed: Deed,
}

/// A file by what was written, and by what is safe.
#[derive(Clone, Debug, Default)]
struct Node {
    written: Vec<u8>,
    safe: Vec<u8>,
    /// The shortest it was since it was synced.
    shortest: usize,
}

/// A file system that keeps what it was told to keep, and of the rest as little as it likes.
#[derive(Clone, Debug, Default)]
struct Disk {
    nodes: Vec<Node>,
    names: BTreeMap<PathBuf, usize>,
    safe_names: BTreeMap<PathBuf, usize>,
}

/// What a disk has made of what was not synced.
#[derive(Clone, Copy, Debug)]
enum Unsynced {
    /// Nothing of it.
    Lost,
    /// Files are created, emptied, renamed and removed, and nothing is in them.
    NamesOnly,
    /// All of it, as after a kill.
    Kept,
}

impl Disk {
    fn apply(&mut self, op: &Op) {
        match &op.deed {
            Deed::Open { emptied } => {
                let next = self.nodes.len();
                let node = *self.names.entry(op.path.clone()).or_insert(next);
                if node == next {
                    self.nodes.push(Node::default());
                }
                if *emptied {
                    self.nodes[node].set_len(0);
                }
            }
            Deed::Write(at, bytes) => {
                if let Some(node) = self.node(&op.path) {
                    let at = at.unwrap_or(node.written.len());
                    let len = node.written.len().max(at + bytes.len());
                    node.written.resize(len, 0);
                    node.written[at..at + bytes.len()].copy_from_slice(bytes);
                }
            }
            Deed::SetLen(len) => {
                if let Some(node) = self.node(&op.path) {
                    node.set_len(*len);
                }
            }
            Deed::Rename(to) => {
                if let Some(node) = self.names.remove(&op.path) {
                    self.names.insert(to.clone(), node);
                }
            }
            Deed::Remove => _ = self.names.remove(&op.path),
            Deed::Sync => match self.node(&op.path) {
                Some(node) => node.sync(),
                None => self.sync_folder(&op.path),
            },
            Deed::SyncAll => {
                self.nodes.iter_mut().for_each(Node::sync);
                self.safe_names = self.names.clone();
            }
        }
    }

    fn node(&mut self, path: &Path) -> Option<&mut Node> {
        self.nodes.get_mut(*self.names.get(path)?)
    }

    fn sync_folder(&mut self, folder: &Path) {
        let inside = |path: &Path| path.parent() == Some(folder);
        self.safe_names.retain(|path, _| !inside(path));
        let names = self.names.iter().filter(|(path, _)| inside(path));
        self.safe_names
            .extend(names.map(|(path, node)| (path.clone(), *node)));
    }

    /// What is there when the power is back.
    fn after_a_cut(&self, unsynced: Unsynced) -> impl Iterator<Item = (&Path, &[u8])> {
        let names = match unsynced {
            Unsynced::Lost => &self.safe_names,
            Unsynced::NamesOnly | Unsynced::Kept => &self.names,
        };
        names.iter().map(move |(path, &node)| {
            let node = &self.nodes[node];
            let bytes = match unsynced {
                Unsynced::Lost => &node.safe[..],
                Unsynced::NamesOnly => &node.safe[..node.shortest.min(node.safe.len())],
                Unsynced::Kept => &node.written[..],
            };
            (&**path, bytes)
        })
    }
}

impl Node {
    fn set_len(&mut self, len: usize) {
        self.written.resize(len, 0);
        self.shortest = self.shortest.min(len);
    }

    fn sync(&mut self) {
        self.safe.clone_from(&self.written);
        self.shortest = self.written.len();
    }
}

/// What strace wrote of all threads, in the order in which it took effect: a sync covers what was over when it began.
fn read_trace(folder: &Path, root: &Path) -> Vec<Op> {
    let mut ops = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let text = fs::read(entry.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&text);
        ops.extend(text.lines().filter_map(|line| read_line(line, root)));
    }
    let syncs = |op: &Op| matches!(op.deed, Deed::Sync | Deed::SyncAll);
    let effect = |op: &Op| if syncs(op) { op.begin } else { op.end };
    ops.sort_by(|a: &Op, b: &Op| effect(a).total_cmp(&effect(b)));
    ops
}

/// `TIME NAME(ARGUMENTS) = RESULT <DURATION>`, every string and path in hexadecimal.
fn read_line(line: &str, root: &Path) -> Option<Op> {
    let (time, rest) = line.split_once(' ')?;
    let (call, result) = rest.rsplit_once(") = ")?;
    let (name, arguments) = call.split_once('(')?;
    let (result, took) = result.rsplit_once(" <")?;
    if result.starts_with('-') {
        return None;
    }
    let begin: f64 = time.parse().ok()?;
    let took: f64 = took.trim_end_matches('>').parse().ok()?;
    let arguments: Vec<&str> = arguments.split(", ").collect();
    let at_path = |text: &str| {
        let path = PathBuf::from(String::from_utf8(unhex(text)).ok()?);
        path.strip_prefix(root).map(Path::to_owned).ok()
    };
    let path = at_path(if name == "openat" {
        result
    } else {
        arguments[0]
    })?;
    let number = |n: usize| arguments.get(n)?.parse::<usize>().ok();
    let deed = match name {
        "openat" if arguments[2].contains("O_WRONLY") || arguments[2].contains("O_RDWR") => {
            Deed::Open {
                emptied: arguments[2].contains("O_TRUNC"),
            }
        }
        "write" => Deed::Write(None, written(arguments[1], result)),
        "pwrite64" => Deed::Write(Some(number(3)?), written(arguments[1], result)),
        "ftruncate" => Deed::SetLen(number(1)?),
        "rename" => Deed::Rename(at_path(arguments[1])?),
        "unlink" => Deed::Remove,
        "fsync" | "fdatasync" => Deed::Sync,
        "syncfs" => Deed::SyncAll,
        _ => return None,
    };
    Some(Op {
        begin,
        end: begin + took,
        path,
        deed,
    })
}

/// As many bytes of a string as the call says that it wrote.
fn written(text: &str, result: &str) -> Vec<u8> {
    let mut bytes = unhex(text);
    let len: usize = result.parse().unwrap();
    assert!(len <= bytes.len(), "strace cuts {len} bytes");
    bytes.truncate(len);
    bytes
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.split("\\x").skip(1);
    digits
        .filter_map(|two| u8::from_str_radix(two.get(..2)?, 16).ok())
        .collect()
}

/// A recording as it became without a cut.
struct Whole {
    sidecar: Sidecar,
    samples: Vec<i16>,
}

fn interleaved(layout: &Layout, name: &RecordingName) -> Vec<i16> {
    let audio = audio_in(layout, name);
    let mut reader = hound::WavReader::new(&audio[..]).unwrap();
    reader.samples().map(Result::unwrap).collect()
}

#[test]
fn a_power_cut_at_any_moment_loses_two_seconds_of_a_call_and_nothing_that_was_told() {
    cut_at_any_moment("");
}

#[test]
fn nor_does_it_of_calls_that_are_encrypted() {
    cut_at_any_moment("encrypt = \"all\"\n");
}

/// `storage`: more of what the configuration says of it.
fn cut_at_any_moment(settings: &str) {
    let Some(house) = House::build() else { return };
    let (storage, cut) = (house.storage(), house.folder.path().join("cut"));
    let disks = (SmallDisk::mount(&storage, 64), SmallDisk::mount(&cut, 64));
    let ((Some(_storage), Some(_cut)), true) = (disks, has("strace")) else {
        return;
    };
    let trace = house.folder.path().join("trace");
    fs::create_dir(&trace).unwrap();
    house.configure(&["eth0"], settings);
    let log = trace.join("thread");
    // The daemon stays the child of this test: the tracer is its own.
    let strace = [
        "strace", "-D", "-ff", "-ttt", "-T", "-y", "-xx", "-s", "1048576", "-e", TRACED, "-o",
    ];
    let mut daemon = house.start_under(&[&strace[..], &[log.to_str().unwrap()]].concat());
    // Twelve are over at one time, and made safe together; one is by itself.
    let together = house.begin_simulation(12, 6);
    house.call(1, 1.0, 4);
    together.wait();
    daemon.wait_until("all calls are over", |daemon| {
        daemon.metric("callreel_calls_total", "\"recorded\"") == 13
    });
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait().code(), Some(0));

    let layout = house.layout();
    let whole: BTreeMap<RecordingId, Whole> = house
        .recordings()
        .into_iter()
        .map(|sidecar| {
            let start = Timestamp::from_nanos(sidecar.started_at_ns);
            let name = RecordingName::new(sidecar.tenant_id, sidecar.recording_id, start);
            let samples = interleaved(&layout, &name);
            (sidecar.recording_id, Whole { sidecar, samples })
        })
        .collect();
    assert_eq!(whole.len(), 13);
    let encrypts = !settings.is_empty();
    let mut all = whole.values();
    assert!(all.all(|whole| whole.sidecar.encrypted_at_rest == encrypts));
    let ops = read_trace(&trace, layout.root());
    let (mut disk, mut told, mut at, mut worst) = (Disk::default(), BTreeSet::new(), 0, 0.0f64);
    let (first, moments) = (ops[0].begin, moments(&ops));
    let cuts = moments.len();
    for (moment, unsynced) in moments {
        // A sync that had not ended was none.
        while ops.get(at).is_some_and(|op| op.end <= moment) {
            disk.apply(&ops[at]);
            at += 1;
        }
        let safe = disk.safe_names.keys();
        told.extend(
            safe.filter(|path| path.extension().is_some_and(|e| e == "json"))
                .cloned(),
        );
        lay_out(&disk, unsynced, &cut);
        let lost = judge(house.layout_at(&cut), &whole, &told, moment).unwrap_or_else(|fault| {
            panic!("cut at {:.3} s, {unsynced:?}: {fault}", moment - first)
        });
        worst = worst.max(lost);
    }
    println!(
        "{} system calls, {cuts} cuts: at most {worst:.2} s of a call were lost",
        ops.len()
    );
    assert!(worst > 0.1, "no cut that would show anything");
}

/// Five times a second; and, since names are what is most often ahead of bytes, after whatever changes them.
fn moments(ops: &[Op]) -> Vec<(f64, Unsynced)> {
    let (first, last) = (ops[0].begin, ops[ops.len() - 1].end);
    let fifths = (0..=((last - first) * 5.0) as u32 + 1).map(|n| first + f64::from(n) / 5.0);
    let any = [Unsynced::Lost, Unsynced::NamesOnly, Unsynced::Kept];
    let regular = fifths.flat_map(|moment| any.map(|unsynced| (moment, unsynced)));
    let names = ops
        .iter()
        .filter(|op| !matches!(op.deed, Deed::Write(..) | Deed::Sync | Deed::SyncAll));
    let mut moments: Vec<_> = regular
        .chain(names.map(|op| (op.end, Unsynced::NamesOnly)))
        .collect();
    moments.sort_by(|a, b| a.0.total_cmp(&b.0));
    moments
}

fn lay_out(disk: &Disk, unsynced: Unsynced, root: &Path) {
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }
    for (path, bytes) in disk.after_a_cut(unsynced) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// Recovers, and compares with what was said. Gives the most seconds of a call that are lost.
fn judge(
    layout: Layout,
    whole: &BTreeMap<RecordingId, Whole>,
    told: &BTreeSet<PathBuf>,
    moment: f64,
) -> Result<f64, String> {
    let root = layout.root();
    let recovered = recover(&settings(&layout));
    if !recovered.failed.is_empty() {
        return Err(format!("{:?}", recovered.failed));
    }
    let mut found = BTreeMap::new();
    for (name, kind) in layout.walk(|_, _| {}) {
        if kind == Kind::Sidecar {
            let sidecar = Sidecar::load(&layout, &name, kind).map_err(|error| error.to_string())?;
            let path = layout
                .path(&name, kind)
                .strip_prefix(root)
                .unwrap()
                .to_owned();
            let samples = interleaved(&layout, &name);
            found.insert(name.id, (path, sidecar, samples));
        }
    }
    let mut worst = 0.0f64;
    for (id, whole) in whole {
        let rate = f64::from(whole.sidecar.sample_rate_hz);
        let start = whole.sidecar.started_at_ns as f64 / 1e9;
        let length = whole.samples.len() as f64 / 2.0 / rate;
        let there = (moment - start).clamp(0.0, length);
        let Some((path, sidecar, samples)) = found.get(id) else {
            if there > SECONDS_LOST {
                return Err(format!("{id} is lost after {there:.2} s"));
            }
            worst = worst.max(there);
            continue;
        };
        let lost = there - samples.len() as f64 / 2.0 / rate;
        worst = worst.max(lost);
        let is_whole = *samples == whole.samples && sidecar.end_reason == whole.sidecar.end_reason;
        if told.contains(path) && !is_whole {
            return Err(format!("{id} was told of and is {:?}", sidecar.end_reason));
        }
        // The last block may be longer than the call: its end is cut off when the call is over.
        let (said, behind) = samples.split_at(samples.len().min(whole.samples.len()));
        let is_prefix = whole.samples.starts_with(said) && behind.iter().all(|sample| *sample == 0);
        let is_named = sidecar.caller.number == whole.sidecar.caller.number;
        if lost > SECONDS_LOST || !is_prefix || !(is_named || there < SECONDS_LOST) {
            return Err(format!(
                "{id}: {lost:.2} s of {there:.2} s lost, as it was said: {is_prefix}, by whom: {is_named}, {:?}",
                sidecar.end_reason
            ));
        }
    }
    Ok(worst)
}

fn settings(layout: &Layout) -> recorder::Settings {
    recorder::Settings {
        layout: layout.clone(),
        encrypt_all: false,
        keep_g711: false,
        sensor: "test".into(),
        interfaces: Arc::new([]),
        threads: 1,
        queue_events: 16,
        when_full: WhenFull::Wait,
        storage_low: Arc::default(),
        raw_max_bytes: 1 << 20,
        raw: Arc::default(),
        afterwards: None,
        signalling_bytes: Arc::default(),
    }
}
