//! Walks over header text: quoted strings, angle brackets, lists, parameters, folding.
//!
//! A quote or bracket that is never closed is taken as an ordinary character, from then on without looking for its
//! end again, so that no walk is longer than its text.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memchr3};

/// Whether a byte may stand in a token (RFC 3261 section 25.1).
pub(super) fn is_token_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9'
        | b'-' | b'.' | b'!' | b'%' | b'*' | b'_' | b'+' | b'`' | b'\'' | b'~')
}

pub(super) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&byte| is_token_byte(byte))
}

/// Cuts before byte `at`; all of it before the cut when there is no such place.
pub(super) fn cut(text: &str, at: usize) -> (&str, &str) {
    text.split_at_checked(at).unwrap_or((text, ""))
}

/// Cuts around the byte at `at`, which must be ASCII.
pub(super) fn cut_around(text: &str, at: usize) -> (&str, &str) {
    let (before, rest) = cut(text, at);
    (before, rest.get(1..).unwrap_or(""))
}

/// The text before and after the first `separator` (ASCII); all of it and nothing when there is none.
pub(super) fn cut_at_byte(text: &str, separator: u8) -> (&str, &str) {
    match memchr(separator, text.as_bytes()) {
        Some(at) => cut_around(text, at),
        None => (text, ""),
    }
}

/// White space of a header value: blanks and the line ends of folding.
pub(super) fn trim(text: &str) -> &str {
    text.trim_ascii()
}

/// Where the quoted string ends whose opening quote stands just before `text`: the place of its closing quote.
pub(super) fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr2(b'"', b'\\', text.get(from..)?)?;
        if text.get(at) == Some(&b'"') {
            return Some(at);
        }
        from = at + 2;
    }
}

/// The first `wanted` byte that is not inside a quoted string.
pub(super) fn find_unquoted(text: &str, wanted: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut from = 0;
    loop {
        let at = from + memchr2(wanted, b'"', bytes.get(from..)?)?;
        if bytes.get(at) == Some(&wanted) {
            return Some(at);
        }
        match closing_quote(bytes.get(at + 1..)?) {
            Some(length) => from = at + length + 2,
            None => return memchr(wanted, bytes.get(at + 1..)?).map(|offset| at + 1 + offset),
        }
    }
}

/// What stands between quotes, or the text as it is when it is not quoted.
pub(super) fn unquoted(text: &str) -> &str {
    let text = trim(text);
    match text.strip_prefix('"') {
        Some(inside) => match closing_quote(inside.as_bytes()) {
            Some(end) => cut(inside, end).0,
            None => inside,
        },
        None => text,
    }
}

/// The parts of a text between separators that stand outside quotes (and, for lists, outside `<>`); trimmed, empty
/// parts left out.
#[derive(Clone, Debug)]
pub(super) struct Split<'a> {
    rest: &'a str,
    separator: u8,
    /// Quotes and brackets are still looked for: none was found unclosed so far.
    quotes: bool,
    angles: bool,
}

impl<'a> Split<'a> {
    /// A comma list of header values (RFC 3261 section 7.3.1).
    pub(super) fn list(value: &'a str) -> Self {
        Split {
            rest: value,
            separator: b',',
            quotes: true,
            angles: true,
        }
    }

    /// The parameters of a value or URI, with or without the leading `;`.
    pub(super) fn params(text: &'a str) -> Self {
        Split {
            rest: text,
            separator: b';',
            quotes: true,
            angles: false,
        }
    }

    /// The length of the first part of `rest`.
    fn part_length(&mut self) -> usize {
        let bytes = self.rest.as_bytes();
        let mut from = 0;
        while let Some(tail) = bytes.get(from..) {
            let Some(at) = memchr3(self.separator, b'"', b'<', tail).map(|at| from + at) else {
                break;
            };
            let after = bytes.get(at + 1..).unwrap_or(&[]);
            from = at + 1;
            match bytes.get(at) {
                Some(&found) if found == self.separator => return at,
                Some(b'"') if self.quotes => match closing_quote(after) {
                    Some(length) => from += length + 1,
                    None => self.quotes = false,
                },
                Some(b'<') if self.angles => match memchr(b'>', after) {
                    Some(length) => from += length + 1,
                    None => self.angles = false,
                },
                _ => {}
            }
        }
        bytes.len()
    }
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        while !self.rest.is_empty() {
            let length = self.part_length();
            let (part, rest) = cut_around(self.rest, length);
            self.rest = rest;
            let part = trim(part);
            if !part.is_empty() {
                return Some(part);
            }
        }
        None
    }
}

/// The value of a parameter in `;name=value;flag`, unquoted; empty for a flag. Names in any case.
pub(super) fn param<'a>(params: &'a str, name: &str) -> Option<&'a str> {
    Split::params(params).find_map(|part| {
        let (found, value) = cut_at_byte(part, b'=');
        trim(found)
            .eq_ignore_ascii_case(name)
            .then(|| unquoted(value))
    })
}

/// A header value on one line: each line end with the blanks around it becomes one blank (RFC 3261 section 7.3.1).
pub fn unfold(value: &str) -> Cow<'_, str> {
    if memchr2(b'\r', b'\n', value.as_bytes()).is_none() {
        return Cow::Borrowed(value);
    }
    let mut line = String::with_capacity(value.len());
    for piece in value.split(['\r', '\n']).map(trim) {
        if !piece.is_empty() && !line.is_empty() {
            line.push(' ');
        }
        line.push_str(piece);
    }
    Cow::Owned(line)
}

/// Undoes `%41` escapes (RFC 3986 section 2.1). A `%` without two hexadecimal digits stays; what is not UTF-8
/// afterwards becomes U+FFFD.
pub(super) fn percent_decoded(text: &str) -> Cow<'_, str> {
    if memchr(b'%', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = (byte == b'%').then(|| hex_byte(tail)).flatten();
        decoded.push(escaped.unwrap_or(byte));
        let used = if escaped.is_some() { 2 } else { 0 };
        rest = tail.get(used..).unwrap_or(&[]);
    }
    let decoded = String::from_utf8(decoded)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Cow::Owned(decoded)
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let high = char::from(*digits.first()?).to_digit(16)?;
    let low = char::from(*digits.get(1)?).to_digit(16)?;
    u8::try_from(high * 16 + low).ok()
}

/// The number at the start of a text; `None` without one, or past `u32`.
pub(super) fn leading_number(text: &str) -> Option<u32> {
    let text = trim(text);
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    cut(text, digits).0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_split_outside_quotes_and_brackets() {
        let parts: Vec<_> = Split::list(r#" "a, b" <sip:c,d@e>;x="1,2" ,, f , "\",g" "#).collect();
        assert_eq!(parts, [r#""a, b" <sip:c,d@e>;x="1,2""#, "f", r#""\",g""#]);
    }

    #[test]
    fn unclosed_quotes_and_brackets_are_ordinary() {
        assert_eq!(Split::list("\"a,b").collect::<Vec<_>>(), ["\"a", "b"]);
        assert_eq!(Split::list("<a,b").collect::<Vec<_>>(), ["<a", "b"]);
        assert_eq!(find_unquoted("\"a<b", b'<'), Some(2));
        assert_eq!(find_unquoted("\"a<\"<b", b'<'), Some(4));
    }

    #[test]
    fn many_unclosed_quotes_cost_one_walk() {
        let hostile = "\\\",".repeat(40_000);
        assert_eq!(Split::list(&hostile).count(), 40_000);
        let hostile = "<\",".repeat(40_000);
        assert!(Split::list(&hostile).count() > 0);
    }

    #[test]
    fn params_are_found_in_any_case_with_blanks_and_quotes() {
        let params = ";A = 1 ; flag;q=\"x;y\" ;\r\n tag = 98asjd8";
        assert_eq!(param(params, "a"), Some("1"));
        assert_eq!(param(params, "FLAG"), Some(""));
        assert_eq!(param(params, "q"), Some("x;y"));
        assert_eq!(param(params, "tag"), Some("98asjd8"));
        assert_eq!(param(params, "none"), None);
    }

    #[test]
    fn folding_becomes_one_blank() {
        assert_eq!(unfold("a\r\n  b\r\n\t c"), "a b c");
        assert_eq!(unfold("plain"), "plain");
    }

    #[test]
    fn percent_escapes_are_undone_where_they_are_escapes() {
        assert_eq!(percent_decoded("%75se%72%"), "user%");
        assert_eq!(percent_decoded("%C3%A9%ZZ"), "é%ZZ");
        assert_eq!(percent_decoded("%ff"), "\u{fffd}");
        assert_eq!(percent_decoded("null-%00"), "null-\0");
    }
}
