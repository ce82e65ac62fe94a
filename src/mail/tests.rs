//! Against aiosmtpd, a mail server in Python.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::*;

/// Prints `port <n>`, then what it was sent: a line with sender and receivers, and the letter in JSON.
const SERVER: &str = r#"
import json, sys
try:
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import AuthResult, LoginPassword
except ImportError:
    print("missing", flush=True)
    sys.exit()

class Handler:
    async def handle_DATA(self, server, session, envelope):
        user = session.auth_data.login.decode() if session.auth_data else None
        print(json.dumps({"from": envelope.mail_from, "to": envelope.rcpt_tos, "user": user,
                          "hello": session.host_name, "text": envelope.content.decode()}), flush=True)
        return "250 taken"
    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 no such person \x1b[31m"
        envelope.rcpt_tos.append(address)
        return "250 OK"

def login(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and data.password == b"opensesame"
    return AuthResult(success=good, auth_data=data)

required = sys.argv[1] == "auth"
controller = Controller(Handler(), hostname="127.0.0.1", port=0, authenticator=login,
                        auth_required=required, auth_require_tls=False)
controller.start()
print("port", controller.server.sockets[0].getsockname()[1], flush=True)
sys.stdin.read()
"#;

struct Server {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    port: u16,
}

impl Server {
    /// None, and a line that says so, where aiosmtpd is not installed.
    fn start(mode: &str) -> Option<Server> {
        let python = std::env::var("CALLREEL_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
        let child = Command::new(python)
            .args(["-c", SERVER, mode])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("skipped: there is no python3");
            return None;
        };
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let Some(port) = first.strip_prefix("port ") else {
            eprintln!("skipped: python3 has no aiosmtpd");
            return None;
        };
        let port = port.parse().unwrap();
        Some(Server { child, lines, port })
    }

    fn settings(&self) -> Settings {
        Settings {
            host: "127.0.0.1".into(),
            port: self.port,
            encryption: Encryption::None,
            trusted: None,
            credentials: None,
            from: "Callreel <callreel@acme.example>".into(),
        }
    }

    fn taken(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn letter(to: &str) -> Letter {
    Letter {
        to: to.into(),
        subject: "Grüße".into(),
        text: Zeroizing::new("Follow this:\nhttps://callreel.example/#x=1\n.\nä\n".into()),
    }
}

#[tokio::test]
async fn a_letter_arrives_as_it_was_written() {
    let Some(mut server) = Server::start("open") else {
        return;
    };
    let (outbox, work) = Outbox::new(Mailer::new(&server.settings()).unwrap());
    outbox.put(letter("alice@acme.example"));
    drop(outbox);
    work.await;
    let taken = server.taken();
    assert_eq!(taken["from"], "callreel@acme.example");
    assert_eq!(taken["to"], serde_json::json!(["alice@acme.example"]));
    assert_eq!(taken["hello"], "acme.example");
    let text = taken["text"].as_str().unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("From: Callreel <callreel@acme.example>"),
        "{head}"
    );
    assert!(head.contains("To: alice@acme.example"), "{head}");
    assert!(head.contains("Subject: =?utf-8?b?"), "{head}");
    assert!(head.contains("Auto-Submitted: auto-generated"), "{head}");
    assert!(head.contains("Content-Type: text/plain"), "{head}");
    assert!(
        body.contains("https://callreel.example/#x=3D1") || body.contains("#x=1"),
        "{body}"
    );
}

#[tokio::test]
async fn a_server_that_asks_for_a_password_gets_it() {
    let Some(mut server) = Server::start("auth") else {
        return;
    };
    let mut settings = server.settings();
    settings.credentials = Some(("callreel".into(), Zeroizing::new("opensesame".into())));
    let mailer = Mailer::new(&settings).unwrap();
    mailer.send(&letter("alice@acme.example")).await.unwrap();
    assert_eq!(server.taken()["user"], "callreel");
    settings.credentials = Some(("callreel".into(), Zeroizing::new("wrong".into())));
    let error = Mailer::new(&settings)
        .unwrap()
        .send(&letter("alice@acme.example"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Send { passing: false, .. }),
        "{error}"
    );
    assert!(!error.to_string().contains("wrong"), "{error}");
}

#[tokio::test]
async fn what_the_server_refuses_for_good_is_not_tried_again() {
    let Some(server) = Server::start("open") else {
        return;
    };
    let mailer = Mailer::new(&server.settings()).unwrap();
    let error = mailer
        .send(&letter("nobody@acme.example"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Send { passing: false, .. }),
        "{error}"
    );
    assert!(!error.to_string().contains('\u{1b}'), "{error}");
}

#[tokio::test]
async fn no_letter_goes_in_the_open_to_a_server_without_tls() {
    let Some(server) = Server::start("open") else {
        return;
    };
    for encryption in [Encryption::StartTls, Encryption::Tls] {
        let settings = Settings {
            encryption,
            ..server.settings()
        };
        let (mailer, letter) = (
            Mailer::new(&settings).unwrap(),
            letter("alice@acme.example"),
        );
        let sent = tokio::time::timeout(Duration::from_secs(25), mailer.send(&letter)).await;
        assert!(sent.unwrap().is_err());
    }
}

#[test]
fn addresses_are_checked() {
    for good in ["alice@acme.example", "a+b@x.co", "\"a b\"@acme.example"] {
        assert!(is_address(good), "{good}");
    }
    let long = format!("{}@acme.example", "a".repeat(300));
    for wrong in [
        "",
        "alice",
        "a@b\r\nBcc: x@y",
        "Alice <alice@acme.example>",
        "a@b, c@d",
        &long,
    ] {
        assert!(!is_address(wrong), "{wrong}");
    }
}

#[test]
fn settings_that_cannot_work_say_which() {
    let settings = Settings {
        host: "mail.example".into(),
        port: 587,
        encryption: Encryption::StartTls,
        trusted: None,
        credentials: Some(("u".into(), Zeroizing::new("p".into()))),
        from: "not an address".into(),
    };
    let error = Mailer::new(&settings).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("mail.from"), "{error}");
    assert_eq!(format!("{settings:?}"), "mail.example:587 StartTls");
}
