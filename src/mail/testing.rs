//! aiosmtpd, a mail server in Python, for tests.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::{Encryption, Settings};

/// Prints `port <n>`, then what it was sent: a line with sender and receivers, and the letter in JSON.
const SERVER: &str = r#"
import asyncio, json, sys
try:
    from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
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
    return AuthResult(success=good, handled=False, auth_data=data)

def smtp():
    return SMTP(Handler(), authenticator=login, auth_required=sys.argv[1] == "auth", auth_require_tls=False)

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(smtp, "127.0.0.1", 0)
    print("port", server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"#;

/// A mail server on a port of its own.
pub struct Server {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    port: u16,
}

impl Server {
    /// None, and a line that says so, where aiosmtpd is not installed.
    pub fn start(mode: &str) -> Option<Server> {
        let pythons = ["/usr/bin/python3", "python3"];
        let server = pythons.iter().find_map(|python| Server::of(python, mode));
        if server.is_none() {
            eprintln!("skipped: there is no python3 with aiosmtpd");
        }
        server
    }

    fn of(python: &str, mode: &str) -> Option<Server> {
        let mut child = Command::new(python)
            .args(["-c", SERVER, mode])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut lines = BufReader::new(child.stdout.take()?).lines();
        let Some(port) = lines
            .next()
            .and_then(|line| line.ok()?.strip_prefix("port ")?.parse().ok())
        else {
            let _ = child.wait();
            return None;
        };
        Some(Server { child, lines, port })
    }

    pub fn settings(&self) -> Settings {
        Settings {
            host: "127.0.0.1".into(),
            port: self.port,
            encryption: Encryption::None,
            trusted: None,
            credentials: None,
            from: "Callreel <callreel@acme.example>".into(),
        }
    }

    /// The next letter that it took.
    pub fn taken(&mut self) -> serde_json::Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
