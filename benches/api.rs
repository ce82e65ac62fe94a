//! How many authenticated reads a running daemon answers, what they cost, and whether recording suffers: `make bench`, or
//! `cargo bench --bench api -- [--calls N] [--seconds N]`.
//!
//! A pair of virtual interfaces is made (as root; without, it says so and ends), `callreel run` records one end, `callreel
//! simulate` sends calls into the other in real time. Meanwhile eight connections ask with a token, one question after the
//! other; then people sign in, four at a time. The whole daemon, what records and what answers, has one core; who sends
//! and who asks have the others. CPU is that of the daemon's threads as the kernel counts it.
//!
//! It ends with an error when reads are fewer than 2,000 a second, when a sign-in costs much more than its hash, and when a
//! packet was lost.

mod veth;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use callreel::access::{Password, PasswordCost, PasswordHasher, Verdict};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

use veth::{Pair, frames_of};

const CONNECTIONS: usize = 8;
/// Who sign in at the same time.
const PEOPLE: usize = 4;
const SIGN_INS: usize = 40;
const PASSWORD: &str = "a long walk over wet meadows";
const ADDRESS: &str = "127.0.0.1:18473";
/// Calls that are in the catalog when it is asked.
const EARLIER: u32 = 200;
/// Reads a second, at least.
const BOUND: f64 = 2000.0;
/// CPU of a sign-in, in times of its hash alone, at most.
const SIGN_IN_BOUND: f64 = 1.25;

fn main() -> ExitCode {
    let options = Options::parse();
    let pair = match Pair::new() {
        Ok(pair) => pair,
        Err(why) => {
            println!("api: not measured: {why}");
            return ExitCode::SUCCESS;
        }
    };
    let folder = tempfile::tempdir().expect("a folder for a while");
    let mut site = Site::new(folder.path(), &pair);
    let cores = Cores::of_this_machine();
    cores.take_one();
    let hash_ms = hash_alone();
    let daemon = site.start();
    cores.take_the_others();
    site.make_people();
    let earlier = site.send(EARLIER, 1, &pair);
    let mut sent = frames_of(earlier);
    let seconds = options.seconds * 4 + 20;
    println!(
        "{} calls at a time are recorded for {seconds} s meanwhile; the daemon has {}\n",
        options.calls,
        cores.named(),
    );
    let sender = site.send(options.calls, seconds, &pair);
    // The first calls are talking by then.
    std::thread::sleep(Duration::from_secs(4));
    let idle = daemon.cpu();
    std::thread::sleep(Duration::from_secs(2));
    let recording = (daemon.cpu() - idle).all / 2.0;

    println!(
        "{:<44} {:>9} {:>12} {:>9} {:>9}",
        "reads, with a token", "reads/s", "per core-s", "p50 ms", "p99 ms"
    );
    let mut is_good = true;
    for path in [
        "/api/v1/me",
        "/api/v1/groups",
        &site.path_of_a_call(),
        "/api/v1/calls?limit=20",
    ] {
        let before = daemon.cpu();
        let answers = hammer(path, &site.token, options.seconds);
        let named = path.split_at(path.len().min(44)).0;
        let rate = answers.print(named, (daemon.cpu() - before).api);
        is_good &= rate >= BOUND;
    }
    let sign_in_ms = sign_in_all(&daemon);
    println!("argon2 alone: {hash_ms:.1} ms of CPU");
    is_good &= sign_in_ms <= hash_ms * SIGN_IN_BOUND;
    sent += frames_of(sender);
    std::thread::sleep(Duration::from_secs(2));
    println!(
        "\nrecording meanwhile: {:.0} % of the core",
        recording * 100.0
    );
    is_good &= veth::print_losses(ADDRESS, sent);
    match is_good {
        true => ExitCode::SUCCESS,
        false => {
            println!("\nshort of what is asked for");
            ExitCode::FAILURE
        }
    }
}

/// Who runs where.
struct Cores {
    all: CpuSet,
}

impl Cores {
    fn of_this_machine() -> Cores {
        let all = sched_getaffinity(None).expect("the cores of this process");
        Cores { all }
    }

    fn first(&self) -> Option<usize> {
        (0..CpuSet::MAX_CPU).find(|core| self.all.is_set(*core))
    }

    /// What begins from here on has the first core.
    fn take_one(&self) {
        let mut one = CpuSet::new();
        one.set(self.first().expect("this process has a core"));
        self.take(&one);
    }

    /// What begins from here on has the others, if there are any.
    fn take_the_others(&self) {
        let mut others = self.all;
        others.unset(self.first().expect("this process has a core"));
        self.take(if others.count() == 0 {
            &self.all
        } else {
            &others
        });
    }

    fn take(&self, cores: &CpuSet) {
        sched_setaffinity(None, cores).expect("a process may choose among its cores");
    }

    fn named(&self) -> &'static str {
        match self.all.count() {
            1 => "the only core, with all others",
            _ => "one core for itself",
        }
    }
}

/// Milliseconds of CPU that it takes to compare a password with its hash, as many at a time as sign in: they share caches.
fn hash_alone() -> f64 {
    let hasher = PasswordHasher::new(PasswordCost::default());
    let password = Password::new(PASSWORD.to_owned());
    let kept = hasher.hash(&password);
    let now = || {
        let time = clock_gettime(ClockId::ProcessCPUTime);
        time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
    };
    let begun = now();
    std::thread::scope(|scope| {
        for _ in 0..PEOPLE {
            scope.spawn(|| {
                for _ in 0..SIGN_INS / PEOPLE {
                    assert_eq!(hasher.verify(&password, Some(&kept)), Verdict::Right);
                }
            });
        }
    });
    (now() - begun) / SIGN_INS as f64
}

struct Options {
    calls: u32,
    seconds: u64,
}

impl Options {
    /// Unknown words are cargo's own.
    fn parse() -> Options {
        let mut options = Options {
            calls: 200,
            seconds: 8,
        };
        let words: Vec<String> = std::env::args().skip(1).collect();
        for pair in words.windows(2) {
            let number = || pair[1].parse().expect("a number");
            match pair[0].as_str() {
                "--calls" => options.calls = number(),
                "--seconds" => options.seconds = u64::from(number()),
                _ => {}
            }
        }
        options
    }
}

/// A configuration, its people, and a token.
struct Site {
    folder: PathBuf,
    config: PathBuf,
    token: String,
}

impl Site {
    fn new(folder: &Path, pair: &Pair) -> Site {
        let config = pair.configuration(folder, ADDRESS);
        Site {
            folder: folder.to_owned(),
            config,
            token: String::new(),
        }
    }

    /// Who signs in, and a token.
    fn make_people(&mut self) {
        let password = self.folder.join("password");
        fs::write(&password, PASSWORD).expect("a password is written");
        let from_file = format!("--password-file={}", password.display());
        for person in 0..PEOPLE {
            let role = "--role=Root Administrator";
            self.callreel(&[
                "user",
                "create",
                &format!("person{person}"),
                role,
                &from_file,
            ]);
        }
        let words = [
            "token",
            "create",
            "bench",
            "--responsible",
            "person0",
            "--reason",
            "a benchmark",
            "--allow",
            "calls:view",
            "--allow",
            "groups:view",
            "--json",
        ];
        let made = self.callreel(&words);
        let made: serde_json::Value = serde_json::from_str(&made).expect("JSON");
        self.token = made["token"].as_str().expect("a token").to_owned();
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_callreel"));
        command.args(words).arg("--config").arg(&self.config);
        command
    }

    fn callreel(&self, words: &[&str]) -> String {
        let done = self.command(words).output().expect("callreel runs");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "callreel {words:?}: {said}");
        String::from_utf8(done.stdout).expect("text")
    }

    fn start(&self) -> Daemon {
        let daemon = Daemon(self.command(&["run"]).spawn().expect("callreel runs"));
        let begun = Instant::now();
        // Who is nobody is told so as soon as there is a catalog to ask.
        while ask("GET", "/api/v1/me", "", "").is_none_or(|answer| answer.0 != 401) {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "the daemon does not answer"
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        daemon
    }

    fn bearer(&self) -> String {
        format!("Authorization: Bearer {}\r\n", self.token)
    }

    /// So many calls in real time, each of so many seconds.
    fn send(&self, calls: u32, seconds: u64, pair: &Pair) -> Child {
        Command::new(env!("CARGO_BIN_EXE_callreel"))
            .args(["simulate", "--interface", &pair.in_front])
            .args(["--calls", &calls.to_string()])
            .args(["--spacing", "0.01", "--ring", "0.2"])
            .args(["--talk", &seconds.to_string()])
            .arg("--truth")
            .arg(self.folder.join("truth.json"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("callreel runs")
    }

    /// Of one of the calls that are over.
    fn path_of_a_call(&self) -> String {
        let (_, page) = ask("GET", "/api/v1/calls?limit=1", &self.bearer(), "").expect("an answer");
        let page: serde_json::Value = serde_json::from_str(&page).expect("JSON");
        let id = page["items"][0]["id"]
            .as_str()
            .expect("calls are in the catalog");
        format!("/api/v1/calls/{id}")
    }
}

/// Seconds of the processor.
struct Cpu {
    /// Of the threads that answer: HTTP, SQLite, passwords.
    api: f64,
    all: f64,
}

impl std::ops::Sub for Cpu {
    type Output = Cpu;

    fn sub(self, earlier: Cpu) -> Cpu {
        Cpu {
            api: self.api - earlier.api,
            all: self.all - earlier.all,
        }
    }
}

/// Told to stop when it is dropped.
struct Daemon(Child);

impl Daemon {
    fn cpu(&self) -> Cpu {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id())).expect("threads");
        let (mut api, mut all) = (0.0, 0.0);
        for task in tasks.flatten() {
            let Ok(stat) = fs::read_to_string(task.path().join("stat")) else {
                continue;
            };
            let Some((name, rest)) = stat
                .split_once('(')
                .and_then(|(_, rest)| rest.rsplit_once(')'))
            else {
                continue;
            };
            let ticks: f64 = rest
                .split_whitespace()
                .skip(11)
                .take(2)
                .filter_map(|n| n.parse::<f64>().ok())
                .sum();
            all += ticks / 100.0;
            if ["control", "sqlx-sqlite", "tokio"]
                .iter()
                .any(|start| name.starts_with(start))
            {
                api += ticks / 100.0;
            }
        }
        Cpu { api, all }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// Answers of one kind of question.
struct Answers {
    took: Duration,
    times: Vec<Duration>,
}

impl Answers {
    /// Prints them; how many there were in a second.
    fn print(mut self, what: &str, cpu: f64) -> f64 {
        self.times.sort();
        let at = |part: f64| {
            let place = ((self.times.len() - 1) as f64 * part) as usize;
            self.times[place].as_secs_f64() * 1e3
        };
        let rate = self.times.len() as f64 / self.took.as_secs_f64();
        println!(
            "{what:<44} {rate:>9.0} {:>12.0} {:>9.2} {:>9.2}",
            self.times.len() as f64 / cpu,
            at(0.5),
            at(0.99)
        );
        rate
    }
}

/// Asks on all connections at once, for as long.
fn hammer(path: &str, token: &str, seconds: u64) -> Answers {
    let begun = Instant::now();
    let until = begun + Duration::from_secs(seconds);
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n");
    let askers: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let request = request.clone();
            std::thread::spawn(move || {
                let mut connection = Connection::open();
                let mut times = Vec::new();
                while Instant::now() < until {
                    let asked = Instant::now();
                    let status = connection.ask(&request).0;
                    assert_eq!(status, 200);
                    times.push(asked.elapsed());
                }
                times
            })
        })
        .collect();
    let times = askers
        .into_iter()
        .flat_map(|asker| asker.join().expect("an asker"))
        .collect();
    Answers {
        took: begun.elapsed(),
        times,
    }
}

/// Milliseconds of CPU that one takes.
fn sign_in_all(daemon: &Daemon) -> f64 {
    let before = daemon.cpu();
    let begun = Instant::now();
    let people: Vec<_> = (0..PEOPLE)
        .map(|person| {
            std::thread::spawn(move || {
                let body = format!("{{\"login\":\"person{person}\",\"password\":\"{PASSWORD}\"}}");
                let mut times = Vec::new();
                for _ in 0..SIGN_INS / PEOPLE {
                    let asked = Instant::now();
                    let head = "Content-Type: application/json\r\n";
                    let (status, said) =
                        ask("POST", "/api/v1/session", head, &body).expect("an answer");
                    assert!((200..300).contains(&status), "{status}: {said}");
                    times.push(asked.elapsed());
                }
                times
            })
        })
        .collect();
    let times: Vec<_> = people
        .into_iter()
        .flat_map(|one| one.join().expect("a person"))
        .collect();
    let took = begun.elapsed();
    let cpu = (daemon.cpu() - before).api;
    println!();
    let ms = cpu * 1e3 / times.len() as f64;
    Answers { took, times }.print("POST /api/v1/session", cpu);
    println!("a sign-in: {ms:.1} ms of CPU");
    ms
}

/// One question on a connection of its own. None when nobody answers.
fn ask(method: &str, path: &str, head: &str, body: &str) -> Option<(u16, String)> {
    let stream = TcpStream::connect(ADDRESS).ok()?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: bench\r\n{head}Content-Length: {length}\r\n\r\n{body}"
    );
    Some(Connection(BufReader::new(stream)).ask(&request))
}

struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open() -> Connection {
        let address: SocketAddr = ADDRESS.parse().expect("an address");
        Connection(BufReader::new(
            TcpStream::connect(address).expect("a connection"),
        ))
    }

    /// Status and body.
    fn ask(&mut self, request: &str) -> (u16, String) {
        self.0
            .get_mut()
            .write_all(request.as_bytes())
            .expect("the request is sent");
        let mut status = 0;
        let mut length = 0;
        let mut chunked = false;
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("a head");
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            } else if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest
                    .get(..3)
                    .and_then(|code| code.parse().ok())
                    .expect("a status");
            } else if let Some(rest) = line.strip_prefix("content-length:") {
                length = rest.trim().parse().expect("a length");
            } else if line.starts_with("transfer-encoding:") {
                chunked = true;
            }
        }
        let mut body = Vec::new();
        if chunked {
            self.read_chunks(&mut body);
        } else {
            body.resize(length, 0);
            self.0.read_exact(&mut body).expect("a body");
        }
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    fn read_chunks(&mut self, body: &mut Vec<u8>) {
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("a chunk");
            let length = usize::from_str_radix(line.trim(), 16).expect("a chunk's length");
            let mut chunk = vec![0; length + 2];
            self.0.read_exact(&mut chunk).expect("a chunk");
            if length == 0 {
                return;
            }
            chunk.truncate(length);
            body.append(&mut chunk);
        }
    }
}
