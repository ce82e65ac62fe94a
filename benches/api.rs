//! How many authenticated reads a running daemon answers, what they cost, and whether recording suffers: `make bench`, or
//! `cargo bench --bench api -- [--calls N] [--seconds N]`.
//!
//! A pair of virtual interfaces is made (as root; without, it says so and ends), `callreel run` records one end, `callreel
//! simulate` sends calls into the other in real time. Meanwhile eight connections ask with a token, one question after the
//! other. Then people sign in, four at a time. CPU is that of the daemon's threads as the kernel counts it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 8;
/// Who sign in at the same time.
const PEOPLE: usize = 4;
const SIGN_INS: usize = 40;
const PASSWORD: &str = "a long walk over wet meadows";
const ADDRESS: &str = "127.0.0.1:18473";

fn main() {
    let options = Options::parse();
    let pair = match Pair::new() {
        Ok(pair) => pair,
        Err(why) => return println!("api: not measured: {why}"),
    };
    let folder = tempfile::tempdir().expect("a folder for a while");
    let site = Site::new(folder.path(), &pair);
    let daemon = site.start();
    let mut sender = site.send(&options, &pair);
    // The first calls are talking by then.
    std::thread::sleep(Duration::from_secs(3));

    println!(
        "{:<44} {:>9} {:>12} {:>9} {:>9}",
        "reads, with a token", "reads/s", "per core-s", "p50 ms", "p99 ms"
    );
    for path in ["/api/v1/me", "/api/v1/groups", "/api/v1/calls?limit=20"] {
        let before = daemon.cpu();
        let answers = hammer(path, &site.token, options.seconds);
        answers.print(path, (daemon.cpu() - before).api);
    }
    sign_in_all(&daemon);
    let sent = sender.wait().expect("simulate ends");
    assert!(sent.success(), "simulate failed");
    std::thread::sleep(Duration::from_secs(2));
    daemon.print_losses();
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

/// Two interfaces, what goes into one comes out of the other. They go with it.
struct Pair {
    in_front: String,
    behind: String,
}

impl Pair {
    fn new() -> Result<Pair, String> {
        let number = std::process::id() % 10_000;
        let pair = Pair {
            in_front: format!("crba{number}"),
            behind: format!("crbb{number}"),
        };
        ip(&[
            "link",
            "add",
            &pair.in_front,
            "type",
            "veth",
            "peer",
            "name",
            &pair.behind,
        ])?;
        for name in [&pair.in_front, &pair.behind] {
            ip(&["link", "set", name, "up"])?;
        }
        Ok(pair)
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let _ = ip(&["link", "del", &self.in_front]);
    }
}

fn ip(words: &[&str]) -> Result<(), String> {
    let Output { status, stderr, .. } = Command::new("ip")
        .args(words)
        .output()
        .map_err(|error| format!("ip cannot be run: {error}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&stderr).trim().to_owned()),
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
        let config = folder.join("callreel.toml");
        let text = format!(
            "[capture]\ninterfaces = [\"{}\"]\n[storage]\nroot = \"{}\"\nmin_free_mib = 1\n[catalog]\nurl = \"sqlite://{}\"\n\
             [api]\nlisten = \"{ADDRESS}\"\n[access]\nkey_file = \"{}\"\n[log]\nlevel = \"warn\"\n",
            pair.behind,
            folder.join("recordings").display(),
            folder.join("catalog.db").display(),
            folder.join("access.key").display(),
        );
        fs::create_dir(folder.join("recordings")).expect("a folder for recordings");
        fs::write(&config, text).expect("the configuration is written");
        let mut site = Site {
            folder: folder.to_owned(),
            config,
            token: String::new(),
        };
        let password = folder.join("password");
        fs::write(&password, PASSWORD).expect("a password is written");
        let from_file = format!("--password-file={}", password.display());
        for person in 0..PEOPLE {
            site.callreel(&["user", "create", &format!("person{person}"), &from_file]);
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
        let made = site.callreel(&words);
        let made: serde_json::Value = serde_json::from_str(&made).expect("JSON");
        site.token = made["token"].as_str().expect("a token").to_owned();
        site
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
        while ask("GET", "/api/v1/me", &self.bearer(), "").is_none_or(|answer| answer.0 != 200) {
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

    /// Calls in real time, for as long as all that is measured takes.
    fn send(&self, options: &Options, pair: &Pair) -> Child {
        let seconds = options.seconds * 3 + 20;
        println!(
            "{} calls at a time are recorded for {seconds} s meanwhile\n",
            options.calls
        );
        Command::new(env!("CARGO_BIN_EXE_callreel"))
            .args(["simulate", "--interface", &pair.in_front])
            .args([
                "--calls",
                &options.calls.to_string(),
                "--spacing",
                "0.01",
                "--ring",
                "0.2",
            ])
            .args(["--talk", &seconds.to_string()])
            .arg("--truth")
            .arg(self.folder.join("truth.json"))
            .stdout(Stdio::null())
            .spawn()
            .expect("callreel runs")
    }
}

/// Seconds of the processor.
struct Cpu {
    /// Of the threads that answer: HTTP, SQLite, passwords.
    api: f64,
}

impl std::ops::Sub for Cpu {
    type Output = Cpu;

    fn sub(self, earlier: Cpu) -> Cpu {
        Cpu {
            api: self.api - earlier.api,
        }
    }
}

/// Told to stop when it is dropped.
struct Daemon(Child);

impl Daemon {
    fn cpu(&self) -> Cpu {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id())).expect("threads");
        let mut api = 0.0;
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
            if ["control", "sqlx-sqlite", "tokio"]
                .iter()
                .any(|start| name.starts_with(start))
            {
                api += ticks / 100.0;
            }
        }
        Cpu { api }
    }

    fn print_losses(&self) {
        let (_, metrics) = ask("GET", "/metrics", "", "").expect("metrics");
        let wanted = [
            "callreel_packets_total",
            "callreel_dropped_packets_total",
            "callreel_rtp_packets_total",
        ];
        println!("\nrecording meanwhile");
        for line in metrics
            .lines()
            .filter(|line| wanted.iter().any(|name| line.starts_with(name)))
        {
            println!("  {line}");
        }
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
    fn print(mut self, what: &str, cpu: f64) {
        self.times.sort();
        let at = |part: f64| {
            let place = ((self.times.len() - 1) as f64 * part) as usize;
            self.times[place].as_secs_f64() * 1e3
        };
        println!(
            "{what:<44} {:>9.0} {:>12.0} {:>9.2} {:>9.2}",
            self.times.len() as f64 / self.took.as_secs_f64(),
            self.times.len() as f64 / cpu,
            at(0.5),
            at(0.99)
        );
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

fn sign_in_all(daemon: &Daemon) {
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
    println!(
        "\nsign-ins: {:.1} ms of CPU each",
        cpu * 1e3 / times.len() as f64
    );
    Answers { took, times }.print("POST /api/v1/session", cpu);
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
