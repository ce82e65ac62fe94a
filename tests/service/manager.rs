//! The unit under systemd itself, as process 1 of a container that `fixtures/live/systemd.sh` makes.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/live/systemd.sh");
const PROGRAM: &str = env!("CARGO_BIN_EXE_callreel");

/// systemd, and the container around it; ended with this.
struct Manager {
    script: Child,
    /// Process 1 of the container.
    pid: i32,
    folder: TempDir,
}

impl Manager {
    /// `None`, with the reason printed, where there can be none.
    fn start() -> Option<Manager> {
        if !geteuid().is_root() {
            println!("skipped: a container needs root");
            return None;
        }
        for program in ["/lib/systemd/systemd", "/usr/bin/nsenter", "/usr/bin/curl"] {
            if !Path::new(program).exists() {
                println!("skipped: there is no {program}");
                return None;
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let inner = folder.path().join("container");
        fs::create_dir(&inner).unwrap();
        let mut script = Command::new("bash");
        script
            .arg(SCRIPT)
            .arg(&inner)
            .arg(PROGRAM)
            .stdin(Stdio::null());
        script.stdout(log.try_clone().unwrap()).stderr(log);
        let mut manager = Manager {
            script: script.spawn().unwrap(),
            pid: 0,
            folder,
        };
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(20) {
            sleep(Duration::from_millis(100));
            manager.pid = manager.first_process().unwrap_or(0);
            let listening = manager.pid != 0 && manager.ask(&["is-system-running"]).is_some();
            if listening {
                return Some(manager);
            }
            if manager.script.try_wait().unwrap().is_some() {
                break;
            }
        }
        let log = fs::read_to_string(manager.folder.path().join("log")).unwrap();
        println!("skipped: systemd does not run in a container here: {log}");
        None
    }

    /// The child of `unshare`, which is the script's.
    fn first_process(&self) -> Option<i32> {
        let child = |of: i32| {
            let children = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).ok()?;
            children.split_whitespace().next()?.parse::<i32>().ok()
        };
        let first = child(child(self.script.id() as i32)?)?;
        let name = fs::read_to_string(format!("/proc/{first}/comm")).ok()?;
        (name.trim() == "systemd").then_some(first)
    }

    /// A command inside.
    fn inside(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.pid.to_string()]);
        command
            .args(["-m", "-p", "-n", "-u", "-i", "-C", "-r", "-w"])
            .args(words);
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.inside(words).output().unwrap()
    }

    fn text(&self, words: &[&str]) -> String {
        String::from_utf8_lossy(&self.run(words).stdout)
            .trim()
            .to_owned()
    }

    /// What systemctl says; `None` if it reaches nobody.
    fn ask(&self, words: &[&str]) -> Option<String> {
        let output = self.run(&[&["systemctl"], words].concat());
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        (!said.is_empty() && said != "offline").then_some(said)
    }

    /// A property of the unit.
    fn of_unit(&self, property: &str) -> String {
        self.text(&[
            "systemctl",
            "show",
            "-p",
            property,
            "--value",
            "callreel.service",
        ])
    }

    fn journal(&self) -> String {
        self.text(&[
            "journalctl",
            "-o",
            "cat",
            "--no-pager",
            "-u",
            "callreel.service",
        ])
    }

    #[track_caller]
    fn wait_until(&self, what: &str, holds: impl Fn(&Manager) -> bool) {
        let begin = Instant::now();
        while !holds(self) {
            let patient = begin.elapsed() < Duration::from_secs(20);
            assert!(patient, "waited in vain until {what}:\n{}", self.journal());
            sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // With process 1 its namespaces end.
        if let Some(pid) = Pid::from_raw(self.pid) {
            let _ = kill_process(pid, Signal::KILL);
        } else {
            let _ = self.script.kill();
        }
        let _ = self.script.wait();
    }
}

#[test]
fn systemd_starts_watches_reloads_and_stops_it() {
    let Some(manager) = Manager::start() else {
        return;
    };
    manager.wait_until("it has told that it is ready", |manager| {
        manager.of_unit("ActiveState") == "active"
    });
    let main = manager.of_unit("MainPID");
    let status = manager.text(&["cat", &format!("/proc/{main}/status")]);
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_default().trim().to_owned()
    };
    // CAP_NET_RAW and nothing else, of a user who is not root.
    assert_eq!(field("CapEff:"), "0000000000002000", "{status}");
    assert!(!field("Uid:").starts_with('0'), "{status}");
    manager.wait_until("it says in the journal that it captures", |manager| {
        manager.journal().contains("capturing")
    });
    if Path::new("/usr/bin/ffmpeg").exists() {
        // It may be locked in from within the unit's own walls.
        manager.wait_until("the decoder was tried", |manager| {
            manager
                .journal()
                .contains("are decoded when they have ended")
        });
    }

    // Longer than the watchdog waits.
    sleep(Duration::from_secs(4));
    assert_eq!(manager.of_unit("NRestarts"), "0", "the watchdog is fed");
    assert_eq!(manager.of_unit("MainPID"), main);

    let tenant = "/etc/callreel/tenants/broken.toml";
    manager.run(&["sh", "-c", &format!("echo nonsense > {tenant}")]);
    manager.run(&["systemctl", "reload", "callreel.service"]);
    manager.wait_until("the reload is refused", |manager| {
        manager.journal().contains("the old one stays in use")
    });
    manager.run(&["rm", tenant]);

    manager.run(&["kill", "-STOP", &main]);
    manager.wait_until("the watchdog has ended it and it runs again", |manager| {
        manager.of_unit("NRestarts") == "1" && manager.of_unit("ActiveState") == "active"
    });
    assert_ne!(manager.of_unit("MainPID"), main);

    let calls = [
        "callreel",
        "simulate",
        "--interface",
        "cap1",
        "--calls",
        "5",
        "--talk",
        "60",
    ];
    let spaced = ["--spacing", "0.02", "--ring", "0.1"];
    let mut calls = manager.inside(&[&calls[..], &spaced].concat());
    let mut calls = calls
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    manager.wait_until("five calls have begun", |manager| {
        let metrics = manager.text(&["curl", "-s", "http://127.0.0.1:8080/metrics"]);
        metrics.lines().any(|line| line == "callreel_open_calls 5")
    });
    sleep(Duration::from_secs(2));
    let begin = Instant::now();
    manager.run(&["systemctl", "stop", "callreel.service"]);
    let took = begin.elapsed();
    let _ = calls.kill();
    let _ = calls.wait();
    println!("stopped with five calls in {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(manager.of_unit("Result"), "success");
    let ends = "cat $(find /var/lib/callreel/recordings -name '*.json')";
    let ends = manager.text(&["sh", "-c", ends]);
    assert_eq!(ends.matches("\"shutdown\"").count(), 5, "{ends}");
}
