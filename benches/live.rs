//! A busy port, captured live: `make bench`, or `cargo bench --bench live -- [--calls N] [--seconds N]`.
//!
//! A pair of virtual interfaces is made (as root; without, it says so and ends), `callreel run` records one end, `callreel
//! simulate` sends a thousand calls into the other in real time, 100,000 packets a second, for half a minute. CPU is that of the
//! daemon as the kernel counts it. It ends with an error when a packet was dropped anywhere, and when a call is not recorded.

mod veth;

use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use veth::{Pair, frames_of, metric, metrics, print_losses};

const ADDRESS: &str = "127.0.0.1:18474";

fn main() -> ExitCode {
    let (calls, seconds) = options();
    let pair = match Pair::new() {
        Ok(pair) => pair,
        Err(why) => {
            println!("live: not measured: {why}");
            return ExitCode::SUCCESS;
        }
    };
    let folder = std::env::current_dir().expect("a bench runs in its package");
    let folder = tempfile::tempdir_in(folder.join("target")).expect("a folder for a while");
    let daemon = Daemon::start(folder.path(), &pair);
    let idle = daemon.cpu();
    let begun = Instant::now();
    let sent = frames_of(send(calls, seconds, &pair));
    let took = begun.elapsed().as_secs_f64();
    // The last calls are finished by then.
    std::thread::sleep(Duration::from_secs(5));
    let cpu = daemon.cpu() - idle;
    println!(
        "{calls} calls of {seconds} s: {:.0} packets/s for {took:.0} s",
        sent as f64 / took
    );
    println!(
        "the daemon: {cpu:.1} CPU s, {:.0} ns a packet",
        cpu * 1e9 / sent as f64
    );
    let recorded = metric(ADDRESS, "callreel_recordings_finished_total");
    println!("recordings: {recorded}");
    match print_losses(ADDRESS, sent) && recorded == u64::from(calls) {
        true => ExitCode::SUCCESS,
        false => {
            println!("short of what is asked for");
            ExitCode::FAILURE
        }
    }
}

/// Calls and seconds. Unknown words are cargo's own.
fn options() -> (u32, u32) {
    let (mut calls, mut seconds) = (1000, 32);
    let words: Vec<String> = std::env::args().skip(1).collect();
    for pair in words.windows(2) {
        let number = || pair[1].parse().expect("a number");
        match pair[0].as_str() {
            "--calls" => calls = number(),
            "--seconds" => seconds = number(),
            _ => {}
        }
    }
    (calls, seconds)
}

/// So many calls in real time, each of so many seconds.
fn send(calls: u32, seconds: u32, pair: &Pair) -> Child {
    Command::new(env!("CARGO_BIN_EXE_callreel"))
        .args(["simulate", "--interface", &pair.in_front])
        .args(["--calls", &calls.to_string()])
        .args(["--spacing", "0.001", "--ring", "0.1"])
        .args(["--talk", &seconds.to_string()])
        .args(["--truth", "/dev/null"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("callreel runs")
}

/// Told to stop when it is dropped.
struct Daemon(Child);

impl Daemon {
    fn start(folder: &Path, pair: &Pair) -> Daemon {
        let config = pair.configuration(folder, ADDRESS);
        let mut command = Command::new(env!("CARGO_BIN_EXE_callreel"));
        command.arg("run").arg("--config").arg(&config);
        let daemon = Daemon(command.spawn().expect("callreel runs"));
        let begun = Instant::now();
        while metrics(ADDRESS).is_none() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "the daemon does not answer"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        daemon
    }

    /// Seconds of the processor (proc(5), fields 14 and 15).
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id()));
        let stat = stat.expect("the daemon runs");
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let ticks = fields.split_whitespace().skip(11).take(2);
        ticks.filter_map(|n| n.parse::<f64>().ok()).sum::<f64>() / 100.0
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}
