//! The header lines of a message or of a part of its body.

use memchr::memchr;
use smallvec::SmallVec;

use super::scan::{Split, cut, cut_around, is_token, trim};

/// Header lines kept of one message, the first ones; later lines are counted in
/// [`Message::dropped_headers`](super::Message::dropped_headers).
pub const MAX_HEADERS: usize = 256;

/// One header, its compact name spelled out, its value trimmed with folding left in.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeaderLine<'a> {
    pub name: &'a str,
    pub value: &'a str,
}

/// All headers in the order they came.
#[derive(Clone, Debug, Default)]
pub(super) struct HeaderTable<'a> {
    lines: SmallVec<[HeaderLine<'a>; 24]>,
    pub junk_lines: usize,
    pub dropped: usize,
    /// The empty line that ends a head was there.
    pub complete: bool,
}

/// Where the last logical line went, so that a folded line after it goes the same way.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    Kept,
    Junk,
    Dropped,
}

impl<'a> HeaderTable<'a> {
    /// Reads header lines up to the empty line that ends them; gives the table and the length of what was read, that
    /// line included.
    pub(super) fn parse(text: &'a str) -> (HeaderTable<'a>, usize) {
        let mut table = HeaderTable::default();
        let mut last = Last::Junk;
        let mut at = 0;
        // Where the value of the header read last begins in `text`.
        let mut value_from = 0;
        while at < text.len() {
            let (line, next) = line_at(text, at);
            if line.is_empty() {
                table.complete = true;
                return (table, next);
            }
            if line.starts_with([' ', '\t']) {
                table.fold(last, text.get(value_from..at + line.len()).unwrap_or(""));
            } else {
                (last, value_from) = table.add(line, at);
            }
            at = next;
        }
        (table, text.len())
    }

    fn add(&mut self, line: &'a str, at: usize) -> (Last, usize) {
        let Some(colon) = memchr(b':', line.as_bytes()) else {
            self.junk_lines += 1;
            return (Last::Junk, at);
        };
        let (name, value) = cut_around(line, colon);
        let name = name.trim_end_matches([' ', '\t']);
        if !is_token(name.as_bytes()) {
            self.junk_lines += 1;
            return (Last::Junk, at);
        }
        if self.lines.len() >= MAX_HEADERS {
            self.dropped += 1;
            return (Last::Dropped, at);
        }
        self.lines.push(HeaderLine {
            name: long_name(name),
            value: trim(value),
        });
        (Last::Kept, at + colon + 1)
    }

    /// A line that begins with a blank goes on with the one before it (RFC 3261 section 7.3.1).
    fn fold(&mut self, last: Last, value: &'a str) {
        match last {
            Last::Kept => {
                if let Some(line) = self.lines.last_mut() {
                    line.value = trim(value);
                }
            }
            Last::Junk => self.junk_lines += 1,
            Last::Dropped => {}
        }
    }

    /// The first header of that name, long or compact, in any case.
    pub(super) fn first(&self, name: &str) -> Option<&'a str> {
        let name = long_name(name);
        self.lines
            .iter()
            .find(|line| line.name.eq_ignore_ascii_case(name))
            .map(|line| line.value)
    }

    /// Every value of that name, comma lists split where the header is a list.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &'a str> {
        let name = long_name(name);
        let single = SINGLE.iter().any(|known| known.eq_ignore_ascii_case(name));
        self.lines
            .iter()
            .filter(move |line| line.name.eq_ignore_ascii_case(name))
            .flat_map(move |line| {
                let (whole, list) = if single {
                    (Some(line.value), "")
                } else {
                    (None, line.value)
                };
                whole.into_iter().chain(Split::list(list))
            })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &HeaderLine<'a>> {
        self.lines.iter()
    }
}

/// The line at byte `at` without its end, and where the next begins.
fn line_at(text: &str, at: usize) -> (&str, usize) {
    let rest = cut(text, at).1;
    match memchr(b'\n', rest.as_bytes()) {
        Some(length) => {
            let line = cut(rest, length).0;
            (line.strip_suffix('\r').unwrap_or(line), at + length + 1)
        }
        None => (rest, text.len()),
    }
}

/// Headers whose commas separate nothing: one value a line (RFC 3261 section 7.3.1 and table 2), or free text. `From`
/// and its kin are here for display names that hold a comma without quotes.
const SINGLE: [&str; 15] = [
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Refer-To",
    "Referred-By",
    "Reply-To",
    "Subject",
    "User-Agent",
    "Server",
    "Date",
    "WWW-Authenticate",
    "Authorization",
    "Proxy-Authenticate",
    "Proxy-Authorization",
];

/// The long name of a compact one (IANA's registry of SIP header fields); any other name as it is.
fn long_name(name: &str) -> &str {
    let &[letter] = name.as_bytes() else {
        return name;
    };
    match letter.to_ascii_lowercase() {
        b'a' => "Accept-Contact",
        b'b' => "Referred-By",
        b'c' => "Content-Type",
        b'd' => "Request-Disposition",
        b'e' => "Content-Encoding",
        b'f' => "From",
        b'i' => "Call-ID",
        b'j' => "Reject-Contact",
        b'k' => "Supported",
        b'l' => "Content-Length",
        b'm' => "Contact",
        b'n' => "Identity-Info",
        b'o' => "Event",
        b'r' => "Refer-To",
        b's' => "Subject",
        b't' => "To",
        b'u' => "Allow-Events",
        b'v' => "Via",
        b'x' => "Session-Expires",
        b'y' => "Identity",
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> HeaderTable<'_> {
        HeaderTable::parse(text).0
    }

    #[test]
    fn every_compact_name_is_its_long_name() {
        for (compact, long) in [
            ("a", "accept-contact"),
            ("b", "referred-by"),
            ("c", "content-type"),
            ("d", "request-disposition"),
            ("e", "content-encoding"),
            ("f", "from"),
            ("i", "call-id"),
            ("j", "reject-contact"),
            ("k", "supported"),
            ("l", "content-length"),
            ("m", "contact"),
            ("n", "identity-info"),
            ("o", "event"),
            ("r", "refer-to"),
            ("s", "subject"),
            ("t", "to"),
            ("u", "allow-events"),
            ("v", "via"),
            ("x", "session-expires"),
            ("y", "identity"),
        ] {
            let text = format!("{compact}: 1\r\n{}: 2\r\n\r\n", compact.to_uppercase());
            let table = table(&text);
            assert_eq!(table.first(long), Some("1"), "{compact}");
            assert_eq!(table.first(compact), Some("1"), "{compact}");
            assert_eq!(table.values(long).count(), 2, "{compact}");
        }
        assert_eq!(table("q: 1\r\n").first("Q"), Some("1"));
    }

    #[test]
    fn folded_lines_belong_to_the_header_before() {
        let table = table("TO :\r\n sip:a@b ;\r\n\ttag = 1\r\nX: 2\r\n\r\nbody: no\r\n");
        assert_eq!(table.first("to"), Some("sip:a@b ;\r\n\ttag = 1"));
        assert_eq!(table.first("x"), Some("2"));
        assert_eq!(table.first("body"), None);
        assert!(table.complete);
    }

    #[test]
    fn a_blank_folded_line_ends_nothing() {
        let table = table("A-B: 1\r\n \r\n  2\r\nC-D: 3\r\n\r\n");
        assert_eq!(table.first("a-b"), Some("1\r\n \r\n  2"));
        assert_eq!(table.first("c-d"), Some("3"));
    }

    #[test]
    fn junk_lines_are_counted_and_skipped() {
        let table = table(" before: all\nFrom: x\n???\n: none\na b: c\n folded junk\nTo: y\n\n");
        assert_eq!(table.junk_lines, 5);
        assert_eq!(table.first("from"), Some("x"));
        assert_eq!(table.first("to"), Some("y"));
    }

    #[test]
    fn lines_past_the_cap_are_counted() {
        let text = "X-Y: 1\n".repeat(MAX_HEADERS + 9) + " fold\n\n";
        let table = table(&text);
        assert_eq!(table.values("x-y").count(), MAX_HEADERS);
        assert_eq!(table.dropped, 9);
        assert!(table.complete);
    }

    #[test]
    fn a_head_without_an_end_is_read_as_far_as_it_goes() {
        let table = table("From: x\r\nTo: y\r");
        assert_eq!(table.first("to"), Some("y"));
        assert!(!table.complete);
    }
}
