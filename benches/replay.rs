//! Replays simulated captures through the real program and reports what a packet costs.
//!
//! `make bench`, or `cargo bench --bench replay -- [--runs N] [--calls N,N,…] [--folder DIR] [--mix] [--growth]`. With `--mix` half of
//! the calls are G.711, a quarter Opus, a quarter G.729. With `--growth` the same calls come 100 at a time, and all at once: as many
//! packets, and as many bytes in as many files, so that what differs is what a packet costs beside more others. CPU is user and system time
//! of the whole process as the kernel counts it; memory is its peak resident size. Captures are made once and kept in the
//! folder, which should be on the disk that recordings would be on.

mod mixer;
mod phones;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use callreel::simulate::{PcapSink, Scenario, generate};

use mixer::Mixer;

/// How long each call lasts: the same for few and many, since a call costs something besides its packets.
const TALK: Duration = Duration::from_secs(60);
/// Two sides, fifty packets a second.
const PACKETS_A_SECOND: u64 = 100;
/// Calls of the comparison of few and many at a time, and how many few are.
const MANY: u32 = 5000;
const FEW: u32 = 100;
/// Where recordings go, by capture and run.
const RECORDINGS: &str = "recordings";
/// Disk that the comparison takes for [`MANY`] calls: two captures and the recordings.
const MANY_BYTES: u64 = 25 << 30;

fn main() {
    let options = Options::parse();
    std::fs::create_dir_all(&options.folder).expect("the bench folder can be made");
    // What an earlier bench left, if any.
    let recordings = options.folder.join(RECORDINGS);
    let _ = std::fs::remove_dir_all(&recordings);
    print_head();
    match options.growth {
        true => compare_growth(&options),
        false => measure_each(&options),
    }
    let _ = std::fs::remove_dir_all(&recordings);
}

fn measure_each(options: &Options) {
    for &calls in &options.calls {
        let kind = if options.mix { "mix-of-" } else { "" };
        let name = format!("{kind}{calls}-calls-{}-s", TALK.as_secs());
        let scenario = Scenario::benchmark(calls, TALK);
        let capture = capture(&options.folder, &name, &scenario, options.mix);
        median(options, &capture, calls).print(calls, calls);
    }
}

/// What a packet costs when few calls are in progress, and when all of them are.
fn compare_growth(options: &Options) {
    let free = free_bytes(&options.folder);
    let share = free.min(MANY_BYTES) as f64 / MANY_BYTES as f64;
    let calls = ((f64::from(MANY) * share) as u32).max(FEW);
    if calls < MANY {
        println!(
            "{} GB are free: {calls} calls instead of {MANY}",
            free >> 30
        );
    }
    let all = Scenario {
        ring: Duration::from_secs(1),
        ..Scenario::benchmark(calls, TALK)
    };
    let few = Scenario {
        spacing: Duration::from_millis(620),
        concurrent: Some(FEW),
        ..all.clone()
    };
    let [few, all] = [(FEW, few), (calls, all)].map(|(at_once, scenario)| {
        let name = format!("{calls}-calls-{at_once}-at-once");
        let capture = capture(&options.folder, &name, &scenario, false);
        let run = median(options, &capture, calls);
        run.print(calls, at_once);
        // They are large.
        std::fs::remove_file(&capture).expect("the capture was made here");
        (run.user + run.sys).as_secs_f64()
    });
    println!(
        "a packet of {calls} calls at once costs {:.2} times one of {FEW}",
        all / few
    );
}

fn free_bytes(folder: &Path) -> u64 {
    let disk = rustix::fs::statvfs(folder).expect("the bench folder is on a disk");
    disk.f_bavail * disk.f_frsize
}

/// The run of those in the middle.
fn median(options: &Options, capture: &Path, calls: u32) -> Run {
    let mut runs: Vec<Run> = (0..options.runs.max(1))
        .map(|run| replay(&options.folder, capture, calls, run))
        .collect();
    runs.sort_by_key(|run| run.user + run.sys);
    runs.swap_remove(runs.len() / 2)
}

fn print_head() {
    println!(
        "{:>6} {:>9} {:>8} {:>8} {:>8} {:>9} {:>10} {:>12} {:>9}",
        "calls",
        "packets",
        "user s",
        "sys s",
        "wall s",
        "ns/packet",
        "packets/s",
        "peak MB",
        "KB/call"
    );
}

struct Options {
    runs: u32,
    calls: Vec<u32>,
    folder: PathBuf,
    mix: bool,
    growth: bool,
}

impl Options {
    /// Unknown words are cargo's own.
    fn parse() -> Options {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
        let mut options = Options {
            runs: 3,
            calls: vec![1000],
            folder,
            mix: false,
            growth: false,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let mut value = || {
                words
                    .next()
                    .unwrap_or_else(|| panic!("{word} needs a value"))
            };
            match word.as_str() {
                "--runs" => options.runs = value().parse().expect("--runs takes a number"),
                "--mix" => options.mix = true,
                "--growth" => options.growth = true,
                "--folder" => options.folder = value().into(),
                "--calls" => {
                    let numbers = value();
                    let numbers = numbers
                        .split(',')
                        .map(|n| n.parse().expect("--calls takes numbers"));
                    options.calls = numbers.collect();
                }
                _ => {}
            }
        }
        options
    }
}

/// The capture of a scenario, made if it is not there.
fn capture(folder: &Path, name: &str, scenario: &Scenario, mix: bool) -> PathBuf {
    let path = folder.join(format!("{name}.pcap"));
    if !path.exists() {
        let part = path.with_extension("part");
        let mut sink = PcapSink::create(&part).expect("the capture can be made");
        let written = if mix {
            generate(scenario, &mut Mixer::new(sink))
        } else {
            generate(scenario, &mut sink)
        };
        written.expect("the capture can be written");
        std::fs::rename(&part, &path).expect("the capture gets its name");
    }
    // Into the page cache.
    let mut file = std::fs::File::open(&path).expect("the capture is there");
    let mut buffer = vec![0; 1 << 20];
    while file.read(&mut buffer).is_ok_and(|read| read > 0) {}
    path
}

struct Run {
    user: Duration,
    sys: Duration,
    wall: Duration,
    peak_kib: u64,
}

/// Uses as much memory for files as the run will. On a virtual machine, memory that was free for a while is the host's, and to
/// get it back costs more than to write to it.
fn claim_memory(folder: &Path, calls: u32) {
    let path = folder.join("memory");
    let mut file = std::fs::File::create(&path).expect("the bench folder takes files");
    // 16-bit stereo at 8 kHz, and something over.
    let bytes = u64::from(calls) * TALK.as_secs() * 40_000;
    let zeros = vec![0; 1 << 20];
    for _ in 0..bytes >> 20 {
        file.write_all(&zeros).expect("the disk has room");
    }
    drop(file);
    std::fs::remove_file(&path).expect("it was made just now");
}

/// Replays the capture and checks that every call is whole.
fn replay(folder: &Path, capture: &Path, calls: u32, run: u32) -> Run {
    let name = capture.file_stem().expect("the capture has a name");
    let storage = folder.join(RECORDINGS).join(name).join(run.to_string());
    std::fs::create_dir_all(&storage).expect("the bench folder takes folders");
    claim_memory(folder, calls);
    rustix::fs::sync();
    let before = children_ticks();
    let begin = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_callreel"))
        .arg("replay")
        .arg(capture)
        .arg("--storage")
        .arg(&storage)
        .arg("--json")
        .stdout(Stdio::piped())
        .spawn()
        .expect("callreel starts");
    let mut output = child.stdout.take().expect("it was piped");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).map(|_| text)
    });
    let mut peak_kib = 0;
    let status = loop {
        peak_kib = peak_kib.max(peak_of(child.id()));
        if let Some(status) = child.try_wait().expect("callreel can be waited for") {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let wall = begin.elapsed();
    let after = children_ticks();
    assert!(status.success(), "callreel failed: {status}");
    check(
        &reader
            .join()
            .expect("the reader does not panic")
            .expect("the report is text"),
        calls,
    );
    empty(&storage);
    Run {
        user: after.0 - before.0,
        sys: after.1 - before.1,
        wall,
        peak_kib,
    }
}

/// Gives back the disk that the files of a run take, and keeps the files: ext4 gives the place of a file that was removed to
/// no other for some minutes (`recently_deleted`), and searches on at the expense of who makes one.
fn empty(folder: &Path) {
    for entry in std::fs::read_dir(folder)
        .expect("the folder is there")
        .flatten()
    {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            empty(&entry.path());
        } else {
            let file = std::fs::File::create(entry.path());
            file.expect("the file can be emptied");
        }
    }
}

fn check(report: &str, calls: u32) {
    let report: serde_json::Value = serde_json::from_str(report).expect("the report is JSON");
    let whole = report["calls"]
        .as_array()
        .expect("it lists calls")
        .iter()
        .filter(|call| {
            let length = call["length_s"].as_f64().unwrap_or(0.0);
            call["disposition"] == "recorded"
                && call["packets_lost"] == 0
                && length > TALK.as_secs_f64() - 0.1
        });
    assert_eq!(whole.count(), calls as usize, "calls that are whole");
}

/// User and system time of all children that were waited for (proc(5), fields 16 and 17).
fn children_ticks() -> (Duration, Duration) {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("proc is mounted");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    // Field 3 is the first behind the name; ticks are hundredths of a second on Linux.
    let ticks =
        |field: usize| Duration::from_millis(fields[field - 3].parse::<u64>().unwrap_or(0) * 10);
    (ticks(16), ticks(17))
}

fn peak_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or(0)
}

impl Run {
    /// Of `calls` calls, of which so many are in progress at a time.
    fn print(&self, calls: u32, at_once: u32) {
        let packets = (u64::from(calls) * TALK.as_secs() * PACKETS_A_SECOND) as f64;
        let cpu = (self.user + self.sys).as_secs_f64();
        println!(
            "{at_once:>6} {packets:>9} {:>8.2} {:>8.2} {:>8.2} {:>9.0} {:>10.0} {:>12.1} {:>9.1}",
            self.user.as_secs_f64(),
            self.sys.as_secs_f64(),
            self.wall.as_secs_f64(),
            cpu * 1e9 / packets,
            packets / self.wall.as_secs_f64(),
            self.peak_kib as f64 / 1024.0,
            self.peak_kib as f64 / f64::from(at_once),
        );
    }
}
