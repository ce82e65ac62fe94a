//! Secrets of TLS sessions, as key-log files have them.

use std::collections::VecDeque;
use std::fmt;

use zeroize::{Zeroize, Zeroizing};

use crate::base::WireMap;

/// The longest line that holds a secret: a label, 64 and 128 hexadecimal digits, and room.
pub const MAX_LINE_BYTES: usize = 512;
/// The longest secret of any cipher suite.
const MAX_SECRET: usize = 64;

/// The random bytes of a ClientHello: what a session's secrets are found by.
pub(super) type ClientRandom = [u8; 32];

/// Bytes that are wiped when they are dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// `None` for more bytes than any secret has.
    pub fn new(bytes: &[u8]) -> Option<Secret> {
        (bytes.len() <= MAX_SECRET).then(|| Secret(Zeroizing::new(bytes.to_vec())))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What a secret is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// TLS 1.2: the master secret.
    Master,
    /// TLS 1.3: the handshake of one side,
    ClientHandshake,
    ServerHandshake,
    /// and what it sends after it.
    ClientTraffic,
    ServerTraffic,
}

impl Label {
    const NAMES: [(&'static [u8], Label); 5] = [
        (b"CLIENT_RANDOM", Label::Master),
        (b"CLIENT_HANDSHAKE_TRAFFIC_SECRET", Label::ClientHandshake),
        (b"SERVER_HANDSHAKE_TRAFFIC_SECRET", Label::ServerHandshake),
        (b"CLIENT_TRAFFIC_SECRET_0", Label::ClientTraffic),
        (b"SERVER_TRAFFIC_SECRET_0", Label::ServerTraffic),
    ];

    fn takes(self, length: usize) -> bool {
        match self {
            Label::Master => length == 48,
            _ => length == 32 || length == 48,
        }
    }
}

/// One secret of one session.
#[derive(Clone, Debug)]
pub struct LoggedSecret {
    pub(super) client_random: ClientRandom,
    pub(super) label: Label,
    pub(super) secret: Secret,
}

/// What a line of a key-log file is.
#[derive(Debug)]
pub enum Line {
    Secret(LoggedSecret),
    /// A comment, an empty line, or a secret that is of no use here: exporters, early data, RSA premasters.
    Other,
    Malformed,
}

/// Reads one line, without its end.
pub fn parse_line(line: &[u8]) -> Line {
    let line = line.trim_ascii();
    if line.is_empty() || line.starts_with(b"#") {
        return Line::Other;
    }
    let mut words = line
        .split(|byte| byte.is_ascii_whitespace())
        .filter(|word| !word.is_empty());
    let (Some(name), Some(random), Some(secret), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Line::Malformed;
    };
    let Some(&(_, label)) = Label::NAMES.iter().find(|(known, _)| *known == name) else {
        let is_label = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'-';
        return match name.iter().all(is_label) {
            true => Line::Other,
            false => Line::Malformed,
        };
    };
    let mut client_random = [0; 32];
    let mut bytes = [0; MAX_SECRET];
    let parsed = hex(random, &mut client_random).filter(|&length| length == 32);
    let secret = parsed
        .and_then(|_| hex(secret, &mut bytes))
        .filter(|&length| label.takes(length))
        .and_then(|length| Secret::new(bytes.get(..length)?));
    bytes.zeroize();
    match secret {
        Some(secret) => Line::Secret(LoggedSecret {
            client_random,
            label,
            secret,
        }),
        None => Line::Malformed,
    }
}

/// Hexadecimal digits into `to`; how many bytes they are.
fn hex(digits: &[u8], to: &mut [u8]) -> Option<usize> {
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    let to = to.get_mut(..pairs.len())?;
    for (byte, &[high, low]) in to.iter_mut().zip(pairs) {
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = (digit(high)? << 4 | digit(low)?) as u8;
    }
    Some(pairs.len())
}

/// The secrets of many sessions.
///
/// Cap: so many sessions; the one that was first heard of is forgotten first, counted.
#[derive(Debug)]
pub struct KeyLog {
    sessions: WireMap<ClientRandom, Session>,
    order: VecDeque<ClientRandom>,
    max_sessions: usize,
}

#[derive(Debug, Default)]
struct Session {
    secrets: [Option<Secret>; 5],
}

impl KeyLog {
    pub fn new(max_sessions: usize) -> KeyLog {
        KeyLog {
            sessions: WireMap::default(),
            order: VecDeque::new(),
            max_sessions: max_sessions.max(1),
        }
    }

    /// Takes a secret in. Gives how many sessions were forgotten for it.
    pub fn add(&mut self, logged: LoggedSecret) -> u64 {
        let random = logged.client_random;
        let mut evicted = 0;
        if !self.sessions.contains_key(&random) {
            while self.order.len() >= self.max_sessions
                && let Some(oldest) = self.order.pop_front()
            {
                self.sessions.remove(&oldest);
                evicted += 1;
            }
            self.order.push_back(random);
        }
        let session = self.sessions.entry(random).or_default();
        if let Some(place) = session.secrets.get_mut(logged.label as usize) {
            *place = Some(logged.secret);
        }
        evicted
    }

    pub(super) fn find(&self, random: &ClientRandom, label: Label) -> Option<&Secret> {
        let session = self.sessions.get(random)?;
        session.secrets.get(label as usize)?.as_ref()
    }

    /// Sessions that are known.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}
