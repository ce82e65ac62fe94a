//! `callreel calls show --ladder`: who said what to whom, and when, with the media beside it.

use serde::Serialize;

use super::super::output::{self, harmless};
use crate::base::{Endpoint, Timestamp};
use crate::capture::CaptureFiles;
use crate::sip::{Fault, Message, Sdp, SdpFault, SdpFaults, StartLine};
use crate::storage::{Cause, Sidecar, StoredFile};
use crate::wire::{TcpInterest, Unit, Wire, WireLimits};

/// A ladder, from top to bottom.
#[derive(Debug, Serialize)]
pub struct Ladder {
    /// Hosts in the order in which they appear.
    hosts: Vec<String>,
    rungs: Vec<Rung>,
    /// Messages that were too many to be kept.
    messages_omitted: u64,
}

#[derive(Debug, Serialize)]
struct Rung {
    at: String,
    #[serde(skip)]
    at_ns: i64,
    #[serde(flatten)]
    what: What,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum What {
    Message {
        from: String,
        to: String,
        #[serde(skip)]
        columns: (usize, usize),
        method: Option<String>,
        status: Option<u16>,
        reason: String,
        cseq: String,
        media: Vec<MediaLine>,
        /// What is wrong with the message and its session description, as far as they were kept.
        faults: Vec<&'static str>,
    },
    Media {
        side: crate::base::Side,
        state: &'static str,
        source: String,
        destination: String,
        codec: String,
    },
    Pause {
        state: &'static str,
        who: Option<String>,
        why: Option<String>,
    },
}

/// What a session description says of one medium.
#[derive(Debug, Serialize)]
struct MediaLine {
    kind: String,
    codecs: Vec<String>,
    endpoint: Option<String>,
    direction: String,
}

/// One message of the capture file beside a recording.
struct Seen {
    at: Timestamp,
    from: Endpoint,
    to: Endpoint,
    bytes: Vec<u8>,
}

impl Ladder {
    /// From a sidecar, and the capture file it names.
    ///
    /// # Errors
    /// When that file cannot be read.
    pub fn of(sidecar: &Sidecar, capture: Option<&StoredFile>) -> anyhow::Result<Ladder> {
        let seen = capture.map_or_else(|| Ok(Vec::new()), read)?;
        // One host can be both ends: then ports tell them apart.
        let by_port = seen.iter().any(|one| one.from.ip() == one.to.ip());
        let mut ladder = Ladder {
            hosts: Vec::new(),
            rungs: Vec::new(),
            messages_omitted: sidecar
                .signalling
                .as_ref()
                .map_or(0, |signalling| signalling.omitted),
        };
        for one in &seen {
            ladder.add_message(one, by_port);
        }
        ladder.add_media(sidecar);
        ladder.add_pauses(sidecar);
        ladder.rungs.sort_by_key(|rung| rung.at_ns);
        Ok(ladder)
    }

    fn host(&mut self, endpoint: Endpoint, by_port: bool) -> usize {
        let name = if by_port {
            endpoint.to_string()
        } else {
            endpoint.ip().to_string()
        };
        if let Some(at) = self.hosts.iter().position(|known| *known == name) {
            return at;
        }
        self.hosts.push(name);
        self.hosts.len() - 1
    }

    fn push(&mut self, at: Timestamp, what: What) {
        self.rungs.push(Rung {
            at: at.to_string(),
            at_ns: at.as_nanos(),
            what,
        });
    }

    fn add_message(&mut self, seen: &Seen, by_port: bool) {
        let Ok(message) = Message::parse(&seen.bytes) else {
            return;
        };
        let columns = (self.host(seen.from, by_port), self.host(seen.to, by_port));
        let (method, status, reason) = match message.start {
            StartLine::Request { .. } => (Some(message.method_token().to_owned()), None, ""),
            StartLine::Response { status, reason } => (None, Some(status), reason),
        };
        let what = What::Message {
            from: seen.from.to_string(),
            to: seen.to.to_string(),
            columns,
            method,
            status,
            reason: reason.chars().take(40).collect(),
            cseq: message
                .header("CSeq")
                .unwrap_or_default()
                .chars()
                .take(40)
                .collect(),
            media: message.sdp().map_or_else(Vec::new, media_lines),
            faults: fault_names(&message),
        };
        self.push(seen.at, what);
    }

    fn add_media(&mut self, sidecar: &Sidecar) {
        for stream in &sidecar.streams {
            for (at, state) in [(&stream.first_at, "begins"), (&stream.last_at, "ends")] {
                let Some(at) = Timestamp::from_rfc3339(at) else {
                    continue;
                };
                let what = What::Media {
                    side: stream.side,
                    state,
                    source: stream.source.clone(),
                    destination: stream.destination.clone(),
                    codec: stream.codec.clone(),
                };
                self.push(at, what);
            }
        }
    }

    fn add_pauses(&mut self, sidecar: &Sidecar) {
        let rate = i64::from(sidecar.sample_rate_hz.max(1));
        let pauses = sidecar
            .segments
            .iter()
            .filter(|segment| segment.cause == Cause::Pause)
            .filter(|segment| segment.side == crate::base::Side::Caller);
        for pause in pauses {
            for (samples, state) in [(pause.from, "begins"), (pause.to, "ends")] {
                let nanos = samples as i64 / rate * 1_000_000_000
                    + samples as i64 % rate * 1_000_000_000 / rate;
                let at = Timestamp::from_nanos(sidecar.started_at_ns.saturating_add(nanos));
                let what = What::Pause {
                    state,
                    who: pause.who.clone(),
                    why: pause.why.clone(),
                };
                self.push(at, what);
            }
        }
    }

    /// The ladder as text, `width` characters wide at most where its hosts allow it.
    pub fn text(&self, width: usize, ascii: bool) -> String {
        let look = if ascii { &ASCII } else { &UNICODE };
        let page = Page::new(&self.hosts, width);
        let mut text = page.head(&self.hosts);
        let start = self.rungs.first().map_or(0, |rung| rung.at_ns);
        for rung in &self.rungs {
            let since = (rung.at_ns - start) as f64 / 1e9;
            let time = format!("{since:+9.3}");
            match &rung.what {
                What::Message {
                    columns,
                    media,
                    faults,
                    ..
                } => {
                    text += &page.arrow(&time, *columns, &rung.what.label(), look);
                    for line in media {
                        text += &page.note("", *columns, &line.text(), look);
                    }
                    for fault in faults {
                        let fault = format!("fault: {}", fault.replace('_', " "));
                        text += &page.note("", *columns, &fault, look);
                    }
                }
                other => text += &page.line(&time, &other.label(), look),
            }
        }
        if self.messages_omitted > 0 {
            text += &format!(
                "and {} messages that were not kept\n",
                self.messages_omitted
            );
        }
        match ascii {
            true => text.replace(|c: char| !c.is_ascii(), "?"),
            false => text,
        }
    }
}

impl What {
    fn label(&self) -> String {
        match self {
            What::Message {
                method,
                status,
                reason,
                cseq,
                ..
            } => match (method, status) {
                (Some(method), _) => {
                    let number = cseq.split_whitespace().next().unwrap_or_default();
                    format!("{method} ({number})")
                }
                (None, Some(status)) => format!("{status} {reason} ({cseq})"),
                (None, None) => String::new(),
            },
            What::Media {
                side,
                state,
                source,
                destination,
                codec,
            } => format!("RTP of the {side} {state}: {codec}, {source} to {destination}"),
            What::Pause { state, who, why } => {
                let words = [Some(format!("pause {state}")), who.clone(), why.clone()];
                words.into_iter().flatten().collect::<Vec<_>>().join(", ")
            }
        }
    }
}

impl MediaLine {
    fn text(&self) -> String {
        let codecs = self.codecs.join(" ");
        let endpoint = self.endpoint.as_deref().unwrap_or("no address");
        format!("{} {codecs} {endpoint} {}", self.kind, self.direction)
    }
}

/// Of the message, then of its session description.
fn fault_names(message: &Message<'_>) -> Vec<&'static str> {
    let body = message.sdp().map(SdpFaults::of).unwrap_or_default();
    let head = message.faults();
    let (head, body) = (
        head.iter().map(Fault::name),
        body.iter().map(SdpFault::name),
    );
    head.chain(body).collect()
}

fn media_lines(body: &[u8]) -> Vec<MediaLine> {
    let Ok(sdp) = Sdp::parse(body) else {
        return Vec::new();
    };
    let line = |media: &crate::sip::Media<'_>| MediaLine {
        kind: format!("{:?}", media.kind).to_ascii_lowercase(),
        codecs: (media.formats.iter().take(8))
            .map(|format| match format.encoding {
                "" => format.payload_type.to_string(),
                name => name.chars().take(24).collect(),
            })
            .collect(),
        endpoint: media.endpoint().map(|endpoint| endpoint.to_string()),
        direction: format!("{:?}", media.direction).to_ascii_lowercase(),
    };
    sdp.media.iter().map(line).collect()
}

fn read(capture: &StoredFile) -> anyhow::Result<Vec<Seen>> {
    let mut files = CaptureFiles::of_bytes(capture.path(), capture.read_to_end()?)?;
    let interest = TcpInterest {
        ports: Vec::new(),
        sniff: crate::sip::looks_like_sip,
    };
    let mut wire = Wire::new(WireLimits::default(), interest);
    let mut seen = Vec::new();
    while let Some(packet) = files.next_packet()? {
        wire.handle_packet(&packet, &mut |unit| {
            if let Unit::Datagram(datagram) = unit {
                seen.push(Seen {
                    at: datagram.time,
                    from: datagram.flow.source,
                    to: datagram.flow.destination,
                    bytes: crate::sip::decode_head(datagram.payload).into_owned(),
                });
            }
        });
    }
    Ok(seen)
}

/// The characters that a ladder is made of.
struct Look {
    line: char,
    shaft: char,
    right: char,
    left: char,
}

const ASCII: Look = Look {
    line: '|',
    shaft: '-',
    right: '>',
    left: '<',
};
const UNICODE: Look = Look {
    line: '│',
    shaft: '─',
    right: '▶',
    left: '◀',
};

/// Characters of the column of times.
const TIME: usize = 11;
/// Between two hosts at least.
const NARROWEST: usize = 20;
const WIDEST: usize = 60;

/// Where the hosts' lines are.
struct Page {
    at: Vec<usize>,
    width: usize,
}

impl Page {
    fn new(hosts: &[String], width: usize) -> Page {
        let half = hosts.last().map_or(0, |host| host.chars().count() / 2 + 1);
        let room = width.saturating_sub(TIME + 2 * half);
        let gap = room / hosts.len().saturating_sub(1).max(1);
        let widest = hosts.iter().map(|host| host.chars().count() + 2).max();
        let gap = gap.clamp(
            NARROWEST.max(widest.unwrap_or(0)),
            WIDEST.max(widest.unwrap_or(0)),
        );
        let at = (0..hosts.len()).map(|n| TIME + half + n * gap).collect();
        Page { at, width }
    }

    fn head(&self, hosts: &[String]) -> String {
        let mut line = Vec::new();
        for (host, &at) in hosts.iter().zip(&self.at) {
            let from = at.saturating_sub(host.chars().count() / 2);
            put(&mut line, from, host);
        }
        finish(line)
    }

    fn lines(&self, time: &str, look: &Look) -> Vec<char> {
        let mut line = Vec::new();
        put(&mut line, 0, time);
        for &at in &self.at {
            put(&mut line, at, &look.line.to_string());
        }
        line
    }

    fn ends(&self, (from, to): (usize, usize)) -> (usize, usize) {
        let place = |column: usize| self.at.get(column).copied().unwrap_or(TIME);
        (place(from), place(to))
    }

    fn arrow(&self, time: &str, columns: (usize, usize), label: &str, look: &Look) -> String {
        let (from, to) = self.ends(columns);
        let mut line = self.lines(time, look);
        let (low, high) = (from.min(to), from.max(to));
        if low == high {
            put(&mut line, low + 2, &harmless(label));
            return finish(line);
        }
        for at in low + 1..high {
            put(&mut line, at, &look.shaft.to_string());
        }
        let head = match to > from {
            true => (high - 1, look.right),
            false => (low + 1, look.left),
        };
        put(&mut line, head.0, &head.1.to_string());
        let room = (high - low).saturating_sub(7);
        let label = format!(" {} ", shortened(&harmless(label), room));
        put(&mut line, low + 3, &label);
        finish(line)
    }

    fn note(&self, time: &str, columns: (usize, usize), text: &str, look: &Look) -> String {
        let (from, to) = self.ends(columns);
        let mut line = self.lines(time, look);
        let (low, high) = (from.min(to), from.max(to));
        let room = high.saturating_sub(low + 5).max(NARROWEST);
        put(&mut line, low + 4, &shortened(&harmless(text), room));
        finish(line)
    }

    /// A line that is no arrow: it may cover the hosts' lines.
    fn line(&self, time: &str, text: &str, look: &Look) -> String {
        let mut line = self.lines(time, look);
        let from = self.at.first().map_or(TIME, |at| at + 2);
        let room = self.width.saturating_sub(from).max(NARROWEST);
        put(&mut line, from, &shortened(&harmless(text), room));
        finish(line)
    }
}

fn put(line: &mut Vec<char>, at: usize, text: &str) {
    for (n, c) in text.chars().enumerate() {
        if line.len() <= at + n {
            line.resize(at + n + 1, ' ');
        }
        if let Some(place) = line.get_mut(at + n) {
            *place = c;
        }
    }
}

fn finish(line: Vec<char>) -> String {
    let text: String = line.into_iter().collect();
    text.trim_end().to_owned() + "\n"
}

fn shortened(text: &str, room: usize) -> String {
    let count = text.chars().count();
    match count <= room {
        true => text.to_owned(),
        false => text
            .chars()
            .take(room.saturating_sub(1))
            .chain(['~'])
            .collect(),
    }
}

/// Whether the locale has characters that are no ASCII.
pub fn locale_is_utf8() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty());
    let name = set.unwrap_or_default().to_ascii_lowercase();
    name.contains("utf-8") || name.contains("utf8")
}

/// Characters of a line: the terminal's, or what COLUMNS says, or 100.
pub fn width() -> usize {
    let columns = std::env::var("COLUMNS").ok();
    let said = columns.and_then(|columns| columns.parse().ok());
    let measured = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    said.or_else(measured).unwrap_or(100).clamp(40, 400)
}

/// Prints the ladder of a recording.
pub fn print(sidecar: &Sidecar, capture: Option<&StoredFile>, ascii: bool) -> anyhow::Result<()> {
    let ladder = Ladder::of(sidecar, capture)?;
    if capture.is_none() {
        output::print(
            "the signalling of this call was not kept ([recording] signalling = true)\n\n",
        );
    }
    output::print(&ladder.text(width(), ascii || !locale_is_utf8()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(at: i64, columns: (usize, usize), label: &str) -> Rung {
        Rung {
            at: String::new(),
            at_ns: at * 1_000_000,
            what: What::Message {
                from: String::new(),
                to: String::new(),
                columns,
                method: Some(label.into()),
                status: None,
                reason: String::new(),
                cseq: "1 INVITE".into(),
                media: vec![MediaLine {
                    kind: "audio".into(),
                    codecs: vec!["PCMU".into()],
                    endpoint: Some("10.0.0.1:4000".into()),
                    direction: "sendrecv".into(),
                }],
                faults: Vec::new(),
            },
        }
    }

    #[test]
    fn arrows_go_from_host_to_host() {
        let ladder = Ladder {
            hosts: vec!["10.0.0.1".into(), "10.0.0.2".into()],
            rungs: vec![
                message(0, (0, 1), "INVITE"),
                message(1500, (1, 0), "BYE\u{1b}[2J\n"),
            ],
            messages_omitted: 0,
        };
        let text = ladder.text(70, true);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(
            lines[1].contains("+0.000") && lines[1].contains("|-- INVITE (1) --"),
            "{text}"
        );
        assert!(
            lines[1].ends_with("->|") && lines[3].contains("|<- BYE"),
            "{text}"
        );
        assert!(
            lines[2].contains("audio PCMU 10.0.0.1:4000 sendrecv"),
            "{text}"
        );
        assert!(
            lines.iter().all(|line| line.chars().count() <= 70),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'));
        assert!(text.is_ascii() && text.contains("BYE?[2J?"), "{text}");
        assert!(ladder.text(70, false).contains("▶│"));
    }

    #[test]
    fn faults_of_a_message_stand_below_it() {
        let mut rung = message(0, (0, 1), "INVITE");
        if let What::Message { faults, .. } = &mut rung.what {
            faults.extend(["date_invalid", "rfc2543"]);
        }
        let ladder = Ladder {
            hosts: vec!["10.0.0.1".into(), "10.0.0.2".into()],
            rungs: vec![rung],
            messages_omitted: 0,
        };
        let text = ladder.text(70, true);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[3].contains("fault: date invalid"), "{text}");
        assert!(lines[4].contains("fault: rfc2543"), "{text}");
    }

    #[test]
    fn many_hosts_keep_their_distance() {
        let hosts: Vec<String> = (0..6).map(|n| format!("10.0.0.{n}")).collect();
        let page = Page::new(&hosts, 60);
        assert!(page.at.windows(2).all(|two| two[1] - two[0] >= NARROWEST));
    }

    #[test]
    fn times_of_sidecars_are_read() {
        let at = Timestamp::from_rfc3339("2026-11-22T08:00:00.250000Z").unwrap();
        assert_eq!(at.to_string(), "2026-11-22T08:00:00.250000Z");
    }
}
