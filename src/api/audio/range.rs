//! Which bytes are asked for: RFC 9110 sections 13 and 14.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, header};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// Ranges of one request; who asks for more gets everything (section 14.2 allows it).
const MAX_RANGES: usize = 8;
/// Ranges that lie this close are one: the head of a part would take as much.
const NEAR: u64 = 128;

/// Bytes of a representation, first and one past the last.
pub type Span = (u64, u64);

/// What is to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Whole,
    /// In their order, not touching each other. At least one.
    Parts(Vec<Span>),
    /// Nothing that was asked for is there.
    Unsatisfiable,
    /// The client has it already.
    NotModified,
    /// The client means another version.
    Changed,
}

const HTTP_DATE: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);

/// A date as headers have it.
pub fn http_date(at: SystemTime) -> String {
    let at = OffsetDateTime::from(at);
    at.format(&HTTP_DATE).unwrap_or_default()
}

fn read_date(text: &str) -> Option<SystemTime> {
    let date = time::PrimitiveDateTime::parse(text, &HTTP_DATE).ok()?;
    Some(date.assume_utc().into())
}

/// Seconds are all that headers have.
fn whole_seconds(at: SystemTime) -> SystemTime {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

/// Decides what to send of `length` bytes whose strong entity tag is `tag`. `ranges`: parts of it can be sent.
pub fn wanted(
    headers: &HeaderMap,
    length: u64,
    tag: &str,
    modified: SystemTime,
    ranges: bool,
) -> Wanted {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(tags) = text(header::IF_MATCH)
        && !lists(tags, tag)
    {
        return Wanted::Changed;
    }
    match text(header::IF_NONE_MATCH) {
        Some(tags) if lists(tags, tag) => return Wanted::NotModified,
        Some(_) => {}
        None => {
            let since = text(header::IF_MODIFIED_SINCE).and_then(read_date);
            if since.is_some_and(|since| whole_seconds(modified) <= since) {
                return Wanted::NotModified;
            }
        }
    }
    let range = text(header::RANGE).filter(|_| ranges);
    let unchanged = text(header::IF_RANGE).is_none_or(|condition| {
        condition == tag || read_date(condition) == Some(whole_seconds(modified))
    });
    match range {
        Some(range) if unchanged => parse(range, length),
        _ => Wanted::Whole,
    }
}

/// Whether a list of entity tags has this one, or any.
fn lists(tags: &str, tag: &str) -> bool {
    let mut tags = tags.split(',').map(str::trim);
    tags.any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

/// What is no range, or of another unit, is as if it had not been said.
fn parse(text: &str, length: u64) -> Wanted {
    let Some((unit, set)) = text.split_once('=') else {
        return Wanted::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Wanted::Whole;
    }
    let mut spans = Vec::new();
    let specs = set
        .split(',')
        .map(str::trim)
        .filter(|spec| !spec.is_empty());
    for (count, spec) in specs.enumerate() {
        if count == MAX_RANGES {
            return Wanted::Whole;
        }
        match span(spec, length) {
            None => return Wanted::Whole,
            Some(span) => spans.extend(span),
        }
    }
    match spans.is_empty() {
        true => Wanted::Unsatisfiable,
        false => Wanted::Parts(joined(spans)),
    }
}

/// One range; `None` for what is none, an inner `None` for one that holds nothing of what there is.
#[expect(clippy::option_option, reason = "not a range, and an empty one")]
fn span(spec: &str, length: u64) -> Option<Option<Span>> {
    let (first, last) = spec.split_once('-')?;
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number beyond all files is as far as any.
        true if !text.is_empty() => Some(text.parse().unwrap_or(u64::MAX)),
        _ => None,
    };
    let (from, to) = match (first, last) {
        ("", suffix) => (length.saturating_sub(number(suffix)?), length),
        (first, "") => (number(first)?, length),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return None;
            }
            (first, last.saturating_add(1).min(length))
        }
    };
    Some((from < to).then_some((from, to)))
}

fn joined(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut joined: Vec<Span> = Vec::new();
    for (from, to) in spans {
        match joined.last_mut() {
            Some(last) if from <= last.1.saturating_add(NEAR) => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(pairs: &[(&str, &str)]) -> Wanted {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name: header::HeaderName = name.parse().unwrap();
            headers.insert(name, value.parse().unwrap());
        }
        // The example of RFC 9110 section 5.6.7.
        let modified = UNIX_EPOCH + Duration::new(784_111_777, 5);
        wanted(&headers, 10_000, "\"abc\"", modified, true)
    }

    fn range(text: &str) -> Wanted {
        ask(&[("range", text)])
    }

    /// The examples of RFC 9110 section 14.1.2, for a representation of 10,000 bytes.
    #[test]
    fn ranges_are_read_as_the_rfc_has_them() {
        let parts = |spans: &[Span]| Wanted::Parts(spans.to_vec());
        assert_eq!(range("bytes=0-499"), parts(&[(0, 500)]));
        assert_eq!(range("bytes=500-999"), parts(&[(500, 1000)]));
        assert_eq!(range("bytes=-500"), parts(&[(9500, 10_000)]));
        assert_eq!(range("bytes=9500-"), parts(&[(9500, 10_000)]));
        assert_eq!(range("bytes=0-0,-1"), parts(&[(0, 1), (9999, 10_000)]));
        assert_eq!(
            range("bytes= 0-999, 4500-5499, -1000"),
            parts(&[(0, 1000), (4500, 5500), (9000, 10_000)])
        );
        assert_eq!(range("bytes=500-700,601-999"), parts(&[(500, 1000)]));
        assert_eq!(range("bytes=0-99999999999999999999"), parts(&[(0, 10_000)]));
        assert_eq!(range("bytes=-20000"), parts(&[(0, 10_000)]));
    }

    #[test]
    fn what_is_not_there_is_unsatisfiable_and_what_is_no_range_is_ignored() {
        assert_eq!(range("bytes=10000-"), Wanted::Unsatisfiable);
        assert_eq!(range("bytes=20000-20001,-0"), Wanted::Unsatisfiable);
        for text in [
            "bytes=5-4",
            "bytes=a-b",
            "bytes=1",
            "items=0-5",
            "bytes",
            "bytes=+1-2",
            "bytes=--1",
        ] {
            assert_eq!(range(text), Wanted::Whole, "{text}");
        }
        let many = "0-0,".repeat(MAX_RANGES + 1);
        assert_eq!(range(&format!("bytes={many}")), Wanted::Whole);
    }

    #[test]
    fn a_range_of_another_version_is_the_whole_of_this_one() {
        let of = |condition| ask(&[("range", "bytes=0-1"), ("if-range", condition)]);
        let part = Wanted::Parts(vec![(0, 2)]);
        assert_eq!(of("\"abc\""), part);
        assert_eq!(of("\"other\""), Wanted::Whole);
        assert_eq!(of("W/\"abc\""), Wanted::Whole, "a weak tag names no bytes");
        assert_eq!(of("Sun, 06 Nov 1994 08:49:37 GMT"), part);
        assert_eq!(of("Sun, 06 Nov 1994 08:49:38 GMT"), Wanted::Whole);
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        for tags in ["\"abc\"", "W/\"abc\"", "\"x\", \"abc\"", "*"] {
            assert_eq!(ask(&[("if-none-match", tags)]), Wanted::NotModified);
            assert_eq!(ask(&[("if-match", tags)]), Wanted::Whole);
        }
        assert_eq!(ask(&[("if-match", "\"x\"")]), Wanted::Changed);
        let since = |date| ask(&[("if-modified-since", date)]);
        assert_eq!(since("Sun, 06 Nov 1994 08:49:37 GMT"), Wanted::NotModified);
        assert_eq!(since("Sun, 06 Nov 1994 08:49:36 GMT"), Wanted::Whole);
        assert_eq!(since("yesterday"), Wanted::Whole);
        let at = UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(http_date(at), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
