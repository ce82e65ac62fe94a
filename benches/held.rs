//! What a call on hold costs: memory of engine and recorder while calls are held for an hour, after two seconds of talk.
//!
//! `make bench`, or `cargo bench --bench held -- [--calls N,N,…] [--folder DIR]`. Each number of calls has a process of its own,
//! which gets its packets through a pipe. Memory is the resident size as the kernel counts it, above that before the first call.

use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use callreel::base::Timestamp;
use callreel::directory::Directory;
use callreel::engine::event::{EndReason, Sink};
use callreel::engine::{Engine, EngineSettings};
use callreel::recorder::{self, Recorder, WhenFull};
use callreel::simulate::{Features, FrameSink, HoldKind, Scenario, Simulation};
use callreel::storage::Layout;
use callreel::wire::{LinkType, Packet};

/// A tenth of it passes before the hold.
const TALK: Duration = Duration::from_secs(20);
/// From the first INVITE until all calls are held and what was said is written.
const UNTIL_HELD: Duration = Duration::from_millis(5500);
const HOLD: Duration = Duration::from_secs(3600);
/// Recorder threads give memory back after some seconds without a block.
const REST: Duration = Duration::from_secs(6);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = words.iter().position(|word| word == name)?;
        words.get(at + 1).cloned()
    };
    let folder = value("--folder").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench"),
        PathBuf::from,
    );
    if let Some(calls) = value("--hold") {
        return hold(calls.parse().expect("--hold takes a number"), &folder);
    }
    println!(
        "{:>6} {:>12} {:>12} {:>9}",
        "calls", "before MB", "held MB", "KiB/call"
    );
    for calls in value("--calls")
        .as_deref()
        .unwrap_or("1000,5000")
        .split(',')
    {
        let calls: u32 = calls.parse().expect("--calls takes numbers");
        let (before, held) = in_a_process(calls, &folder);
        let each = held.saturating_sub(before) as f64 / f64::from(calls);
        let mib = |kib: u64| kib as f64 / 1024.0;
        println!(
            "{calls:>6} {:>12.1} {:>12.1} {each:>9.1}",
            mib(before),
            mib(held)
        );
    }
}

/// Plays the calls to a process; resident KiB there before the first one, and an hour after the last one was put on hold.
fn in_a_process(calls: u32, folder: &Path) -> (u64, u64) {
    let mut child = Command::new(std::env::current_exe().expect("this program has a file"))
        .args(["--hold", &calls.to_string(), "--folder"])
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this program starts again");
    let scenario = Scenario {
        features: Features {
            hold: 100,
            ..Features::default()
        },
        hold: TALK,
        hold_kind: Some(HoldKind::Inactive),
        ..Scenario::benchmark(calls, TALK)
    };
    let mut pipe = Pipe {
        to: BufWriter::new(child.stdin.take().expect("it was piped")),
        until: scenario.start + UNTIL_HELD,
        is_over: false,
    };
    let mut simulation = Simulation::new(&scenario).expect("the scenario is sound");
    while !pipe.is_over && simulation.write_next(&mut pipe).expect("the process reads") {}
    drop(pipe);
    let output = child.wait_with_output().expect("the process ends");
    assert!(output.status.success(), "{}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    let (before, held) = text.trim().split_once(' ').expect("two numbers");
    let number = |text: &str| text.parse().expect("a number");
    (number(before), number(held))
}

/// Frames on their way to the process: time, length, bytes.
struct Pipe {
    to: BufWriter<ChildStdin>,
    until: Timestamp,
    is_over: bool,
}

impl FrameSink for Pipe {
    fn frame(&mut self, time: Timestamp, bytes: &[u8]) -> std::io::Result<()> {
        self.is_over = time >= self.until;
        self.to.write_all(&time.as_nanos().to_le_bytes())?;
        self.to.write_all(&(bytes.len() as u32).to_le_bytes())?;
        self.to.write_all(bytes)
    }
}

/// The process: prints what it has in memory before and while the calls are held.
fn hold(calls: usize, folder: &Path) {
    raise_file_limit();
    let storage = folder.join("held");
    // What an earlier run left, if any.
    let _ = std::fs::remove_dir_all(&storage);
    let mut engine = Engine::new(EngineSettings::default(), Arc::new(Directory::empty()));
    let mut recorder = Recorder::start(settings(&storage), |_| {}).expect("the recorder starts");
    let before = resident_kib();
    let held_at = hear(&mut engine, &mut recorder);
    for minute in 1..=HOLD.as_secs() / 60 {
        engine.handle_timeout(held_at + Duration::from_secs(60 * minute), &mut recorder);
    }
    assert_eq!(engine.open_calls(), calls, "calls that are held");
    std::thread::sleep(REST);
    println!("{before} {}", resident_kib());
    engine.finish(EndReason::EndOfCapture, &mut recorder);
    recorder.finish();
    let _ = std::fs::remove_dir_all(&storage);
}

/// Has the engine hear what comes through the pipe; the time of the last frame.
fn hear(engine: &mut Engine, sink: &mut impl Sink) -> Timestamp {
    let (mut from, mut head, mut data) = (std::io::stdin().lock(), [0; 12], Vec::new());
    let mut last = Timestamp::MIN;
    while from.read_exact(&mut head).is_ok() {
        let (time, len) = head.split_at(8);
        last = Timestamp::from_nanos(i64::from_le_bytes(time.try_into().expect("8 bytes")));
        data.resize(
            u32::from_le_bytes(len.try_into().expect("4 bytes")) as usize,
            0,
        );
        from.read_exact(&mut data).expect("the frame is whole");
        let packet = Packet {
            time: last,
            interface: 0,
            link: LinkType::Ethernet,
            data: &data,
            original_len: data.len() as u32,
        };
        engine.handle_packet(&packet, sink);
    }
    last
}

fn settings(storage: &Path) -> recorder::Settings {
    recorder::Settings {
        layout: Layout::new(storage),
        encrypt_all: false,
        keep_g711: false,
        sensor: "bench".into(),
        interfaces: vec!["span0".into()].into(),
        threads: 2,
        queue_events: 4096,
        when_full: WhenFull::Wait,
        storage_low: Arc::new(AtomicBool::new(false)),
        raw_max_bytes: 1 << 20,
        raw: Arc::default(),
        afterwards: None,
        signalling_bytes: Arc::default(),
    }
}

/// Each recording is an open file.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    setrlimit(Resource::Nofile, raised).expect("the limit of open files can be raised");
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .expect("the kernel tells the resident size")
}
