//! Fields of requests, checked, and pages of answers.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

use super::problem::{Problem, Result};
use crate::access::{LOGIN_RULE, is_login};
use crate::base::Timestamp;
use crate::catalog::{Listed, Listing, MAX_LISTED, timezone_named};
use crate::mail;

/// Items of a page that does not say how many it wants.
const DEFAULT_LIMIT: u32 = 50;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Give it as `after` to get the next page; null: there is none.
    pub next: Option<String>,
}

impl<T> Page<T> {
    pub fn empty() -> Page<T> {
        Page {
            items: Vec::new(),
            next: None,
        }
    }

    pub fn of<U>(listed: Listed<U>, view: impl FnMut(U) -> T) -> Page<T> {
        Page {
            items: listed.items.into_iter().map(view).collect(),
            next: listed.next,
        }
    }
}

/// Which page is asked for.
///
/// # Errors
///
/// A problem of status 422 when `limit` is not from 1 to [`MAX_LISTED`].
pub fn listing(after: Option<String>, limit: Option<u32>) -> Result<Listing> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LISTED).contains(&limit) {
        return Err(Problem::invalid("limit", format!("1 to {MAX_LISTED}")));
    }
    Ok(Listing { after, limit })
}

/// One line of text: what is around it is cut off, and no control character is in it.
///
/// # Errors
///
/// A problem of status 422 when it is shorter or longer, in characters, or holds a control character.
pub fn line(field: &str, text: &str, shortest: usize, longest: usize) -> Result<String> {
    let text = text.trim();
    let length = text.chars().count();
    if !(shortest..=longest).contains(&length) {
        return Err(Problem::invalid(
            field,
            format!("{shortest} to {longest} characters"),
        ));
    }
    if text.chars().any(is_unfit) {
        return Err(Problem::invalid(field, "no control characters"));
    }
    Ok(text.to_owned())
}

/// Text of several lines.
///
/// # Errors
///
/// As [`line`], but for line feeds and tabs.
pub fn text(field: &str, text: &str, longest: usize) -> Result<String> {
    if text.chars().count() > longest {
        return Err(Problem::invalid(
            field,
            format!("at most {longest} characters"),
        ));
    }
    if text
        .chars()
        .any(|one| is_unfit(one) && !"\r\n\t".contains(one))
    {
        return Err(Problem::invalid(
            field,
            "no control characters but line feeds and tabs",
        ));
    }
    Ok(text.to_owned())
}

/// A name to sign in with: see [`is_login`].
///
/// # Errors
///
/// A problem of status 422 when it is not.
pub fn login(field: &str, text: &str) -> Result<String> {
    match is_login(text) {
        true => Ok(text.to_owned()),
        false => Err(Problem::invalid(field, LOGIN_RULE)),
    }
}

/// An e-mail address: a mailbox and a domain, as mail is sent to in practice (the dot-atom form of RFC 5321).
///
/// # Errors
///
/// A problem of status 422 when it is not.
pub fn email(field: &str, text: &str) -> Result<String> {
    let text = text.trim();
    match is_email(text) && mail::is_address(text) {
        true => Ok(text.to_owned()),
        false => Err(Problem::invalid(
            field,
            "an e-mail address such as ann@example.com",
        )),
    }
}

fn is_email(text: &str) -> bool {
    let Some((mailbox, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let in_mailbox = |one: char| {
        one.is_alphanumeric() || (one.is_ascii_punctuation() && !r#"()<>[]:;@\,""#.contains(one))
    };
    let dotted = |text: &str, fits: &dyn Fn(&str) -> bool| text.split('.').all(fits);
    let atom = |atom: &str| !atom.is_empty() && atom.chars().all(in_mailbox);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|one| one.is_alphanumeric() || one == '-')
    };
    mailbox.len() <= 64 && dotted(mailbox, &atom) && dotted(domain, &label)
}

/// A time zone of the IANA's table, as it is written there.
///
/// # Errors
///
/// A problem of status 422 when the table has none of this name.
pub fn timezone(field: &str, text: &str) -> Result<String> {
    match timezone_named(text) {
        Some(name) => Ok(name.to_owned()),
        None => Err(Problem::invalid(
            field,
            "a time zone such as Europe/London or UTC",
        )),
    }
}

/// A time of RFC 3339, such as `2027-01-31T00:00:00Z`, to the microsecond; none where there is none.
///
/// # Errors
///
/// A problem of status 422 when it is not one, or outside the years 1970 to 2200.
pub fn optional_time(field: &str, text: Option<&str>) -> Result<Option<Timestamp>> {
    text.map(|text| time(field, text)).transpose()
}

fn time(field: &str, text: &str) -> Result<Timestamp> {
    let nanos = Timestamp::from_rfc3339(text).map(Timestamp::as_nanos);
    let in_range = nanos.filter(|nanos| (0..LATEST).contains(nanos));
    in_range
        .map(|nanos| Timestamp::from_nanos(nanos - nanos % 1000))
        .ok_or_else(|| Problem::invalid(field, "a time such as 2027-01-31T00:00:00Z"))
}

/// 2200-01-01, in nanoseconds.
const LATEST: i64 = 7_258_118_400_000_000_000;

/// For a field that may be absent: what is there has been given, null too.
///
/// # Errors
///
/// When what is there is no `T`.
pub fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// For a field that is an object: serde would take a list for one too, its items for the fields in their order.
///
/// # Errors
///
/// When what is there is no object, or no `T`.
pub fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<T, D::Error> {
    struct Object<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<T, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map))
        }
    }

    deserializer.deserialize_map(Object(PhantomData))
}

/// Control characters, and those that make text look like other text than it is (Unicode's bidirectional controls).
fn is_unfit(one: char) -> bool {
    one.is_control() || matches!(one, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_what_can_be_seen_without_spaces() {
        for good in [
            "ann",
            "Zoë",
            "ann@acme.example",
            "o'neil+1",
            "田中",
            &"x".repeat(64),
        ] {
            assert_eq!(login("login", good).unwrap(), good);
        }
        for bad in [
            "",
            " ann",
            "an n",
            "an\u{a0}n",
            "an\tn",
            "an\0n",
            "an\u{200b}n",
            "an\u{202e}n",
            "an\u{feff}n",
            &"x".repeat(65),
        ] {
            assert!(login("login", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_email_address_cannot_carry_a_second_header_or_address() {
        for good in [
            "ann@example.com",
            "ann.o'neil+callreel@mail.example.co.uk",
            "zoë@exämple.de",
            "ann@localhost",
        ] {
            assert_eq!(email("email", good).unwrap(), good);
        }
        for bad in [
            "",
            "ann",
            "@example.com",
            "ann@",
            "ann@@example.com",
            "ann@example..com",
            "ann@-x.com",
            ".ann@example.com",
            "ann@example.com\r\nBcc: eve@evil.example",
            "ann@example.com, eve@evil.example",
            "<ann@example.com>",
            "ann b@example.com",
            "\"ann\"@example.com",
        ] {
            assert!(email("email", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_time_zone_is_one_that_there_is() {
        for (given, kept) in [
            ("Europe/London", "Europe/London"),
            (" europe/london", "Europe/London"),
            ("UTC", "UTC"),
            (
                "America/Argentina/Buenos_Aires",
                "America/Argentina/Buenos_Aires",
            ),
            ("Asia/Calcutta", "Asia/Calcutta"),
        ] {
            assert_eq!(timezone("timezone", given).unwrap(), kept);
        }
        for bad in [
            "Mars/Phobos",
            "",
            "Europe",
            "Europe/London/",
            "../UTC",
            "CET+1",
        ] {
            assert!(timezone("timezone", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_time_reads_back_as_it_is_shown() {
        let at = time("valid_until", "2027-01-31T01:30:00.123456789+01:00").unwrap();
        assert_eq!(at.to_string(), "2027-01-31T00:30:00.123456Z");
        assert_eq!(time("valid_until", &at.to_string()).unwrap(), at);
        for bad in [
            "",
            "tomorrow",
            "2027-01-31",
            "2027-02-30T00:00:00Z",
            "9999-01-01T00:00:00Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert!(time("valid_until", bad).is_err(), "{bad}");
        }
    }
}
