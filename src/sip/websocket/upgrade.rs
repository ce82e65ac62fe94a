//! The HTTP/1.1 upgrade that a WebSocket connection begins with (RFC 6455 section 4, RFC 7118 section 4).

use memchr::memchr;

/// The longest request or response, up to its empty line: browsers send cookies.
pub const MAX_UPGRADE_BYTES: usize = 16 << 10;

/// Whether bytes begin a request that asks for a WebSocket connection, or the answer that grants one. For the first
/// segment of connections on ports that nobody named: cheap.
#[inline]
pub fn looks_like_upgrade(bytes: &[u8]) -> bool {
    match bytes.first() {
        Some(b'G') => bytes.starts_with(b"GET ") && names_websocket(bytes),
        Some(b'H') => bytes.starts_with(b"HTTP/1.1 101"),
        _ => false,
    }
}

/// The first few hundred bytes say `websocket`, in whatever case.
fn names_websocket(bytes: &[u8]) -> bool {
    const NAME: &[u8] = b"websocket";
    bytes
        .windows(NAME.len())
        .any(|window| window.eq_ignore_ascii_case(NAME))
}

/// Reads one direction up to the end of its upgrade.
///
/// Where a server refuses, and the client asks again, what lies between is skipped line by line.
#[derive(Debug, Default)]
pub struct Upgrade {
    /// The head, whole lines and a part of one.
    head: Vec<u8>,
    /// Where the line that is being read begins.
    line: usize,
}

/// What [`Upgrade::push`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpgradeStep {
    /// More is needed.
    More,
    /// The head ends so many bytes into what was pushed; frames follow, of SIP.
    Sip(usize),
    /// The same, but it is not about SIP.
    Other(usize),
    /// What is there is too long, or none.
    Nothing,
}

impl Upgrade {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) -> UpgradeStep {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..)
            && let Some(length) = memchr(b'\n', rest)
        {
            self.head
                .extend_from_slice(rest.get(..=length).unwrap_or_default());
            at += length + 1;
            if let Some(about_sip) = self.end_line() {
                return match about_sip {
                    true => UpgradeStep::Sip(at),
                    false => UpgradeStep::Other(at),
                };
            }
            if self.head.len() > MAX_UPGRADE_BYTES {
                return UpgradeStep::Nothing;
            }
        }
        self.head
            .extend_from_slice(bytes.get(at..).unwrap_or_default());
        match self.head.len() > MAX_UPGRADE_BYTES {
            true => UpgradeStep::Nothing,
            false => UpgradeStep::More,
        }
    }

    /// Memory held, in bytes.
    pub fn held_bytes(&self) -> usize {
        self.head.capacity()
    }

    /// A line is whole. At the end of a head that upgrades: whether it is about SIP.
    fn end_line(&mut self) -> Option<bool> {
        let line = self.head.get(self.line..).unwrap_or_default().trim_ascii();
        let (first, empty) = (self.line == 0, line.is_empty());
        let begins = line.starts_with(b"GET ") || line.starts_with(b"HTTP/1.");
        if first && !begins {
            self.head.clear();
            return None;
        }
        self.line = self.head.len();
        if !empty {
            return None;
        }
        let head = std::mem::take(&mut self.head);
        self.line = 0;
        upgrades(&head)
    }
}

/// Whether a head asks for an upgrade, or grants it, and whether to SIP.
fn upgrades(head: &[u8]) -> Option<bool> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let start = lines.next()?;
    let granted = start.split(' ').nth(1) == Some("101");
    if start.starts_with("HTTP/1.") && !granted {
        return None;
    }
    let has = |name: &str, token: &str| {
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(header, _)| header.trim().eq_ignore_ascii_case(name))
            .flat_map(|(_, value)| value.split(','))
            .any(|value| value.trim().eq_ignore_ascii_case(token))
    };
    has("Upgrade", "websocket").then(|| has("Sec-WebSocket-Protocol", "sip"))
}
