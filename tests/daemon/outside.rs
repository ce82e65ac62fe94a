//! What the daemon shares with other programs: a certificate that somebody renews, and a syslog daemon that is told the audit.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::Signal;

use crate::house::{Daemon, House, PROGRAM, has};

/// A connection that stays: prints the certificate it was shown, and a status for each line it reads.
const CLIENT: &str = r#"
import socket, ssl, sys
context = ssl._create_unverified_context()
s = context.wrap_socket(socket.create_connection(("127.0.0.1", 8443), 5))
print(s.getpeercert(True).hex(), flush=True)
for line in sys.stdin:
    s.sendall(b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
    data = b""
    while b"\r\n\r\n" not in data:
        data += s.recv(65536)
    head, body = data.split(b"\r\n\r\n", 1)
    lengths = [l for l in head.split(b"\r\n") if l.lower().startswith(b"content-length")]
    while len(body) < int(lengths[0].split(b":")[1]):
        body += s.recv(65536)
    print(head.split(b" ")[1].decode(), flush=True)
"#;

struct Client {
    child: Child,
    asks: ChildStdin,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    /// In hexadecimal.
    certificate: String,
}

impl Client {
    fn connect(house: &House) -> Client {
        let mut python = house.inside("python3");
        python.args(["-c", CLIENT]);
        python.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python.spawn().unwrap();
        let asks = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let certificate = lines.next().expect("it connects").unwrap();
        Client {
            child,
            asks,
            lines,
            certificate,
        }
    }

    fn ask(&mut self) -> String {
        writeln!(self.asks).unwrap();
        self.lines.next().expect("it is answered").unwrap()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes a new certificate and its key; the certificate in hexadecimal.
fn renew(house: &House) -> String {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let write = |name: &str, text: String| fs::write(house.folder.path().join(name), text).unwrap();
    // Both at once for whoever looks: the daemon is told by a signal, and looks by itself only now and then.
    write("key.pem", made.signing_key.serialize_pem());
    write("cert.pem", made.cert.pem());
    let bytes = made.cert.der().iter();
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_renewed_certificate_is_in_use_after_a_signal_and_open_connections_live_on() {
    let Some(house) = House::build() else { return };
    house.configure(
        &["eth0"],
        "[api.tls]\nlisten = \"127.0.0.1:8443\"\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n",
    );
    let first = renew(&house);
    let mut daemon = house.start();
    let mut old = Client::connect(&house);
    assert_eq!(old.certificate, first);
    assert_eq!(old.ask(), "200");

    let second = renew(&house);
    daemon.signal(Signal::HUP);
    daemon.wait_until("it is read", |daemon| {
        daemon.metric("callreel_api_certificate_reloads_total", "") >= 1
    });
    daemon.wait_until("new connections are shown it", |_| {
        Client::connect(&house).certificate == second
    });
    assert_eq!(old.ask(), "200", "who was there before goes on");

    // Cut off in the middle, as a copy that was broken off leaves it.
    let path = house.folder.path().join("cert.pem");
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_until("it is refused", |daemon| {
        daemon.metric("callreel_api_certificate_refusals_total", "") >= 1
    });
    let log = daemon.log();
    assert!(
        log.contains("cert.pem") && log.contains("the certificate that was in use stays"),
        "{log}"
    );
    assert_eq!(Client::connect(&house).certificate, second);
    assert_eq!(old.ask(), "200");
    let third = renew(&house);
    daemon.signal(Signal::HUP);
    daemon.wait_until("the mended one is shown", |_| {
        Client::connect(&house).certificate == third
    });
    drop(old);
    assert_eq!(daemon.stop().0.code(), Some(0));
}

/// rsyslogd with a configuration, files and ports of its own.
struct Rsyslog<'h> {
    house: &'h House,
    child: Child,
}

impl<'h> Rsyslog<'h> {
    fn start(house: &'h House) -> Rsyslog<'h> {
        let folder = house.folder.path().display().to_string();
        let config = format!(
            "global(workDirectory=\"{folder}\" maxMessageSize=\"64k\")\n\
             module(load=\"imudp\")\nmodule(load=\"imtcp\")\nmodule(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             template(name=\"all\" type=\"string\" \
             string=\"%inputname% %pri% %app-name% %msgid% %structured-data%%msg:::drop-last-lf%\\n\")\n\
             ruleset(name=\"all\") {{ action(type=\"omfile\" file=\"{folder}/heard\" template=\"all\") }}\n\
             input(type=\"imudp\" address=\"127.0.0.1\" port=\"5140\" ruleset=\"all\")\n\
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"6010\" ruleset=\"all\")\n\
             input(type=\"imuxsock\" Socket=\"{folder}/log.sock\" useSpecialParser=\"off\" ruleset=\"all\" \
             RateLimit.Interval=\"0\")\n"
        );
        let path = house.folder.path().join("rsyslog.conf");
        fs::write(&path, config).unwrap();
        let mut command = house.inside("rsyslogd");
        command.arg("-n").arg("-f").arg(&path);
        command
            .arg("-i")
            .arg(house.folder.path().join("rsyslog.pid"));
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        // It makes its socket once it listens.
        for _ in 0..100 {
            if house.folder.path().join("log.sock").exists() {
                break;
            }
            sleep(Duration::from_millis(50));
        }
        Rsyslog { house, child }
    }

    fn heard(&self) -> Vec<String> {
        let text = fs::read_to_string(self.house.folder.path().join("heard")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Rsyslog<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(self.house.folder.path().join("log.sock"));
    }
}

/// Something for the audit.
fn make_user(house: &House, login: &str) {
    let made = Command::new(PROGRAM)
        .args(["user", "--config"])
        .arg(house.config())
        .args(["create", login, "--one-time", "--role", "Administrator"])
        .args(["--name", "Ünal \"x\" ]"])
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
}

fn told(daemon: &Daemon<'_>) -> u64 {
    daemon.metric("callreel_audit_told_total", "\"syslog\"")
}

#[test]
fn a_real_syslog_daemon_has_every_record_of_the_audit() {
    if !has("rsyslogd") {
        return;
    }
    let Some(house) = House::build() else { return };
    let socket = format!("unix://{}/log.sock", house.folder.path().display());
    for (number, place) in ["tcp://127.0.0.1:6010", "udp://127.0.0.1:5140", &socket]
        .into_iter()
        .enumerate()
    {
        let _ = fs::remove_file(house.folder.path().join("heard"));
        house.configure(&["eth0"], &format!("[audit]\nsyslog = \"{place}\"\n"));
        let mut rsyslog = Rsyslog::start(&house);
        let mut daemon = house.start();
        let login = format!("ann{number}");
        make_user(&house, &login);
        let has = |rsyslog: &Rsyslog<'_>, login: &str| {
            let user = |line: &&String| line.contains("\"users.create\"") && line.contains(login);
            rsyslog.heard().iter().filter(user).count()
        };
        daemon.wait_until("it is told", |_| has(&rsyslog, &login) == 1);
        let heard = rsyslog.heard();
        let line = heard.iter().find(|line| line.contains(&login)).unwrap();
        let (head, json) = line.split_once('{').unwrap_or((line, ""));
        // Facility 13, "log audit", and severity 5, "notice".
        assert!(
            head.contains(" 109 callreel audit [audit@32473 tenant="),
            "{line}"
        );
        let record: serde_json::Value = serde_json::from_str(&format!("{{{json}")).unwrap();
        assert_eq!(record["action"], "users.create");
        assert!(record.to_string().contains("Ünal \\\"x\\\" ]"), "{record}");

        // What comes while nobody listens waits. UDP cannot know.
        if place.starts_with("udp") {
            continue;
        }
        drop(rsyslog);
        let before = told(&daemon);
        let later = format!("bob{number}");
        make_user(&house, &later);
        if place.starts_with("unix") {
            daemon.wait_until("it is said", |daemon| {
                daemon.metric("callreel_audit_failures_total", "\"syslog\"") >= 1
            });
            assert_eq!(told(&daemon), before);
        }
        rsyslog = Rsyslog::start(&house);
        daemon.wait_until("it is told later", |_| has(&rsyslog, &later) == 1);
        daemon.stop();
    }
}
