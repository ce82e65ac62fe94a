//! The audit as syslog messages: RFC 5424 over UDP (RFC 5426), TCP with the length before each message (RFC 6587), or the
//! socket of this machine's syslog.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::LazyLock;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket, UnixDatagram};

use super::Error;
use crate::api::AuditRecord;
use crate::catalog::AuditEntry;
use crate::config::Syslog;

/// Bytes that a receiver must be able to take over UDP (RFC 5424, section 6.1, says 2048 should be).
const MAX_DATAGRAM: usize = 8192;
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

pub struct SyslogTarget {
    place: Syslog,
    facility: u8,
    /// Of TCP: kept open.
    stream: Option<TcpStream>,
}

impl SyslogTarget {
    pub fn new(place: Syslog, facility: u8) -> SyslogTarget {
        SyslogTarget {
            place,
            facility,
            stream: None,
        }
    }

    pub async fn tell<'e>(
        &mut self,
        entries: impl Iterator<Item = &'e AuditEntry>,
    ) -> Result<(), Error> {
        let facility = self.facility;
        let messages = entries
            .map(|entry| message(facility, entry))
            .collect::<Vec<_>>();
        let sent = tokio::time::timeout(PATIENCE, self.send(&messages)).await;
        let sent = sent.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        if sent.is_err() {
            self.stream = None;
        }
        sent.map_err(|reason| Error::Syslog {
            place: format!("{:?}", self.place),
            reason,
        })
    }

    async fn send(&mut self, messages: &[String]) -> std::io::Result<()> {
        match &self.place {
            Syslog::Udp(address) => {
                let any: SocketAddr = match address {
                    SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
                    SocketAddr::V6(_) => ([0; 16], 0).into(),
                };
                let socket = UdpSocket::bind(any).await?;
                socket.connect(address).await?;
                for message in messages {
                    socket.send(cut(message)).await?;
                }
            }
            Syslog::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                for message in messages {
                    socket.send(cut(message)).await?;
                }
            }
            Syslog::Tcp(address) => {
                let stream = match self.stream.take() {
                    Some(stream) if is_open(&stream) => stream,
                    _ => TcpStream::connect(address).await?,
                };
                let stream = self.stream.insert(stream);
                for message in messages {
                    let framed = format!("{} {message}", message.len());
                    stream.write_all(framed.as_bytes()).await?;
                }
                stream.flush().await?;
            }
        }
        Ok(())
    }
}

/// Whether the other end has not closed it. It never sends anything.
fn is_open(stream: &TcpStream) -> bool {
    let read = stream.try_read(&mut [0; 1]);
    matches!(read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Cut at a character, to what fits.
fn cut(message: &str) -> &[u8] {
    let end = message.floor_char_boundary(MAX_DATAGRAM);
    message.get(..end).unwrap_or_default().as_bytes()
}

static HOST: LazyLock<String> = LazyLock::new(|| {
    let name = rustix::system::uname();
    printable(&name.nodename().to_string_lossy(), 255)
});

/// A record as one message: what searches want as structured data, all of it as JSON in the text.
///
/// `<PRI>1 TIME HOST callreel PID audit [audit@32473 tenant="…" number="…" …] {"…": …}`
fn message(facility: u8, entry: &AuditEntry) -> String {
    let record = AuditRecord::whole(entry.clone());
    // 5 is "notice", 4 "warning".
    let severity = if record.outcome == "allowed" { 5 } else { 4 };
    let priority = u32::from(facility) * 8 + severity;
    let time = millis(&record.at);
    let (host, process) = (&*HOST, std::process::id());
    let mut text = format!("<{priority}>1 {time} {host} callreel {process} audit [{ELEMENT}");
    let tenant = record.tenant_id.to_string();
    let number = record.number.to_string();
    let fields = [
        ("tenant", &tenant),
        ("number", &number),
        ("action", &record.action),
        ("outcome", &record.outcome),
        ("hash", &record.hash),
    ];
    for (name, value) in fields {
        // Writing to a string does not fail.
        let _ = write!(text, " {name}=\"{}\"", escaped(value));
    }
    let json = serde_json::to_string(&record).unwrap_or_default();
    text + "] " + &json
}

/// The number that RFC 5612 gives to examples: Callreel has none of its own.
const ELEMENT: &str = "audit@32473";

/// What may not stand in a parameter's value (RFC 5424, section 6.3.3).
fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '"' | '\\' | ']' => escaped.extend(['\\', c]),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Letters that header fields may have, or `-` where there are none.
fn printable(text: &str, longest: usize) -> String {
    let kept: String = text
        .chars()
        .filter(char::is_ascii_graphic)
        .take(longest)
        .collect();
    match kept.is_empty() {
        true => "-".into(),
        false => kept,
    }
}

/// RFC 5424 has at most six digits after the second; a record has nine.
fn millis(at: &str) -> String {
    match at.split_once('.') {
        Some((seconds, fraction)) => {
            let digits: String = fraction
                .chars()
                .take_while(char::is_ascii_digit)
                .take(6)
                .collect();
            format!("{seconds}.{digits}Z")
        }
        None => at.to_owned(),
    }
}
