//! I7 in a real daemon: while the catalog cannot be written, what has to be audited is refused, calls are recorded and can be
//! paused, and all of it is in the audit afterwards.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use callreel::storage::Cause;
use serde_json::{Value, json};

use crate::house::{Daemon, House, PROGRAM, SmallDisk};

/// A status, whether the answer says when to come again, and its body.
pub type Answer = (u16, bool, Value);

/// Somebody with a token.
pub struct Client<'h> {
    house: &'h House,
    token: String,
}

impl Client<'_> {
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let mut curl = self.house.inside("curl");
        curl.args(["-s", "-m", "30", "-i", "-X", method, "-o", "-"]);
        curl.args(["-H", &format!("Authorization: Bearer {}", self.token)]);
        if let Some(body) = body {
            curl.args([
                "-H",
                "Content-Type: application/json",
                "-d",
                &body.to_string(),
            ]);
        }
        curl.arg(format!("http://127.0.0.1:8080/api/v1{path}"));
        let output = curl.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let again = head.to_ascii_lowercase().contains("\r\nretry-after:");
        let body = serde_json::from_str(body).unwrap_or_default();
        (status.unwrap_or(0), again, body)
    }

    pub fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None)
    }
}

fn callreel(house: &House, words: &[&str], config_after: usize) -> String {
    let mut command = Command::new(PROGRAM);
    command.args(&words[..config_after]).arg("--config");
    command.arg(house.config()).args(&words[config_after..]);
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{words:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

pub fn client(house: &House) -> Client<'_> {
    let password = house.folder.path().join("password");
    fs::write(&password, "correct horse battery 77\n").unwrap();
    let file = password.display().to_string();
    callreel(
        house,
        &["user", "create", "root", "--password-file", &file],
        1,
    );
    let mut words = vec!["token", "create", "crm", "--responsible", "root"];
    words.extend(["--reason", "trial", "--unattended", "--json"]);
    for allowed in [
        "calls:view",
        "calls:playback",
        "calls:download",
        "calls:export",
        "calls:delete",
        "calls:control",
        "calls:live_monitor",
        "audit:view",
    ] {
        words.extend(["--allow", allowed]);
    }
    let made: Value = serde_json::from_str(&callreel(house, &words, 1)).unwrap();
    let token = made["token"].as_str().unwrap().to_owned();
    Client { house, token }
}

/// What keeps the catalog from being written, for as long as it lives.
enum Trouble {
    Locked(Child),
    Full(PathBuf),
    Gone { path: PathBuf, aside: PathBuf },
}

impl Trouble {
    fn lock(path: &Path) -> Trouble {
        const HOLD: &str = "import sqlite3, sys\n\
            c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=20)\n\
            c.execute('BEGIN IMMEDIATE')\nprint('held', flush=True)\nsys.stdin.read()\n";
        let mut python = Command::new("python3");
        python.args(["-c", HOLD]).arg(path);
        python.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python.spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Trouble::Locked(child)
    }

    fn take_away(path: &Path) -> Trouble {
        let aside = path.with_extension("aside");
        fs::rename(path, &aside).unwrap();
        let path = path.to_owned();
        Trouble::Gone { path, aside }
    }
}

impl Drop for Trouble {
    fn drop(&mut self) {
        match self {
            Trouble::Locked(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            Trouble::Full(filler) => _ = fs::remove_file(filler),
            Trouble::Gone { path, aside } => _ = fs::rename(aside, path),
        }
    }
}

/// Asks for all that has to be audited first, at the same time: each may wait for the catalog for seconds.
fn refused(client: &Client<'_>, recorded: &str, active: &str) {
    let zip = json!({ "ids": [recorded] });
    let asked = [
        ("GET", format!("/calls/{recorded}/audio"), None),
        (
            "GET",
            format!("/calls/{recorded}/audio?download=true"),
            None,
        ),
        ("GET", "/calls/export".to_owned(), None),
        ("POST", "/calls/zip".to_owned(), Some(zip)),
        ("DELETE", format!("/calls/{recorded}"), None),
        ("GET", format!("/active-calls/{active}/live"), None),
        ("POST", format!("/active-calls/{active}/pause"), None),
        ("POST", format!("/active-calls/{active}/stop"), None),
    ];
    std::thread::scope(|scope| {
        for (method, path, body) in &asked {
            scope.spawn(move || {
                let (status, again, body) = client.ask(method, path, body.as_ref());
                assert_eq!((status, again), (503, true), "{method} {path}: {body}");
            });
        }
    });
}

/// While its file is away, and while another one is in its place, nothing is read from the catalog either, and health says why.
fn unread(daemon: &mut Daemon<'_>, client: &Client<'_>, path: &Path) {
    for why in ["was taken away", "another file"] {
        for asked in ["/calls", "/users", "/me", "/audit"] {
            let (status, again, body) = client.get(asked);
            assert_eq!((status, again), (503, true), "{why}: {asked}: {body}");
        }
        let (status, health) = daemon.health();
        assert_eq!(status, 503, "{health}");
        assert!(
            health.contains("catalog_away") && health.contains(why),
            "{health}"
        );
        let (_, status) = daemon.get("/status").unwrap();
        let status: Value = serde_json::from_str(&status).unwrap();
        assert_eq!(status["catalog"]["away"], true, "{status}");
        // An empty catalog of another's making, for as long as every thread needs to look.
        match path.exists() {
            true => fs::remove_file(path).unwrap(),
            false => {
                fs::write(path, "").unwrap();
                sleep(Duration::from_secs(6));
            }
        }
    }
}

/// The calls in progress, as soon as there is one.
fn active(daemon: &mut Daemon<'_>, client: &Client<'_>) -> String {
    let mut found = Value::Null;
    daemon.wait_until("the call is in progress", |_| {
        found = client.get("/active-calls").2["items"][0].clone();
        found["recording"]["state"] == "recording"
    });
    found["id"].as_str().unwrap().to_owned()
}

/// How often the audit has the action, by an operator.
fn by_operator(client: &Client<'_>, action: &str) -> usize {
    let (status, _, page) = client.get(&format!("/audit?action={action}"));
    assert_eq!(status, 200, "{page}");
    let items = page["items"].as_array().unwrap().iter();
    items
        .filter(|item| item["actor"]["kind"] == "operator")
        .count()
}

#[test]
fn what_cannot_be_audited_is_refused_while_calls_are_recorded_and_can_be_paused() {
    let Some(house) = House::build() else { return };
    let folder = house.folder.path().join("catalog");
    let Some(disk) = SmallDisk::mount(&folder, 64) else {
        return;
    };
    house.configure(&["eth0"], "[access]\nkey_file = \"access.key\"\n");
    let config = fs::read_to_string(house.config()).unwrap();
    let config = config.replace("catalog.db", "catalog/catalog.db");
    fs::write(house.config(), config).unwrap();
    let mut daemon = house.start();
    let client = client(&house);
    house.call(1, 1.0, 1);
    let mut recorded = Value::Null;
    daemon.wait_until("the catalog has a call", |_| {
        recorded = client.get("/calls").2["items"][0]["id"].clone();
        recorded.is_string()
    });
    let recorded = recorded.as_str().unwrap().to_owned();
    let path = folder.join("catalog.db");
    let begin: [(&str, &dyn Fn() -> Trouble); 3] = [
        ("locked", &|| Trouble::lock(&path)),
        ("full", &|| Trouble::Full(disk.fill_up_to(0))),
        ("gone", &|| Trouble::take_away(&path)),
    ];
    for (number, (name, begin)) in begin.into_iter().enumerate() {
        let calls = house.begin_calls(1, 1.0, 18);
        let call = active(&mut daemon, &client);
        let trouble = begin();
        refused(&client, &recorded, &call);
        if name == "gone" {
            unread(&mut daemon, &client, &path);
        }
        // A card number cannot wait.
        let id = newest_recording(&daemon);
        let asked = Instant::now();
        for action in ["pause", "resume"] {
            let words = [
                "calls",
                "control",
                &id,
                action,
                "--why",
                "card number",
                "--json",
            ];
            let answer: Value = serde_json::from_str(&callreel(&house, &words, 1)).unwrap();
            assert_eq!(answer["changed"], 1, "{name}: {answer}");
            sleep(Duration::from_millis(500));
        }
        println!("{name}: paused and resumed within {:?}", asked.elapsed());
        assert!(asked.elapsed() < Duration::from_secs(4), "{name}");
        assert!(
            daemon.metric("callreel_audit_waiting_records", "") >= 1,
            "{name}"
        );
        calls.wait();
        daemon.wait_until("the call is recorded", |_| {
            house.recordings().len() == number + 2
        });
        drop(trouble);
        daemon.wait_until("it is in the audit", |daemon| {
            daemon.metric("callreel_audit_waiting_records", "") == 0
        });
        for action in ["calls.pause", "calls.resume"] {
            assert_eq!(by_operator(&client, action), number + 1, "{name}");
        }
        daemon.wait_until("the catalog has the call", |_| {
            client.get("/calls").2["items"].as_array().map(Vec::len) == Some(number + 2)
        });
        // To listen now would be a listening that is known the next time.
        assert_eq!(client.get("/calls/export").0, 200, "{name}");
    }
    assert_eq!(
        client.ask("DELETE", &format!("/calls/{recorded}"), None).0,
        204
    );
    let (log, dropped) = (
        daemon.log(),
        daemon.metric("callreel_dropped_packets_total", ""),
    );
    assert_eq!(dropped, 0, "{log}");
    assert_eq!(daemon.stop().0.code(), Some(0));
    let recordings = house.recordings();
    assert_eq!(recordings.len(), 3, "one was deleted");
    for sidecar in recordings {
        assert_eq!(sidecar.end_reason.as_deref(), Some("bye_caller"));
        let mut segments = sidecar.segments.iter();
        assert!(segments.any(|segment| segment.cause == Cause::Pause));
    }
    let verified = callreel(&house, &["audit", "verify"], 1);
    println!("{verified}");
}

/// The id of the recording that began last, as the log has it.
fn newest_recording(daemon: &Daemon<'_>) -> String {
    let log = daemon.log();
    let mut lines = log.lines().filter(|line| line.contains("recording begun"));
    let (_, rest) = lines.next_back().unwrap().split_once("recording=").unwrap();
    rest.split(' ').next().unwrap().to_owned()
}

fn audited(house: &House, words: &[&str]) -> (bool, String) {
    let mut command = Command::new(PROGRAM);
    command.arg("audit").arg("--config").arg(house.config());
    let output = command.args(words).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&output.stdout) + &text(&output.stderr);
    (output.status.success(), said)
}

#[test]
fn an_orderly_stop_leaves_the_audit_whole_and_heads_that_vanish_are_told() {
    let Some(house) = House::build() else { return };
    house.configure(&["eth0"], "");
    let mut daemon = house.start();
    let client = client(&house);
    let refuse = || {
        for _ in 0..3 {
            assert_eq!(client.ask("GET", "/groups", None).0, 403);
        }
    };
    refuse();
    let times = || {
        let (_, exported) = audited(&house, &["export", "--action", "groups.view"]);
        let records = exported.lines().map(|line| {
            let record: Value = serde_json::from_str(line).unwrap();
            record["after"]["times"].as_u64().unwrap()
        });
        records.collect::<Vec<_>>()
    };
    daemon.wait_until("the first is in the audit", |_| !times().is_empty());
    sleep(Duration::from_millis(1500));
    refuse();
    let log = daemon.log();
    assert!(!log.contains("panicked"), "{log}");
    let (status, took) = daemon.stop();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(6), "{took:?}");
    assert_eq!(times().iter().sum::<u64>(), 6);
    let (is_sound, said) = audited(&house, &["verify"]);
    assert!(is_sound, "{said}");
    let heads = house.folder.path().join("catalog.db.audit-heads");
    let text = fs::read_to_string(&heads).unwrap();
    let (_, head) = said.rsplit_once("  as it was written").unwrap();
    assert!(head.trim().is_empty() && !text.is_empty());

    fs::remove_file(&heads).unwrap();
    let mut daemon = house.start();
    daemon.wait_until("it is said", |daemon| {
        daemon.metric("callreel_audit_gaps_total", "") == 1
    });
    assert!(daemon.log().contains("audit acknowledge"));
    daemon.stop();
    let (is_sound, said) = audited(&house, &["verify"]);
    assert!(
        !is_sound && said.contains("the file of heads was gone"),
        "{said}"
    );
    assert!(audited(&house, &["acknowledge", "--reason", "a test"]).0);
    let (is_sound, said) = audited(&house, &["verify"]);
    assert!(is_sound, "{said}");
}
