//! `"Alice" <sip:alice@example.com>;tag=1`: the form of From, To, Contact and most headers that name someone.

use std::borrow::Cow;

use memchr::memchr;

use super::scan::{self, closing_quote, cut, cut_around, cut_at_byte, find_unquoted, trim};
use super::uri::Uri;

/// A display name, a URI and the parameters of the header (RFC 3261 section 20.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// Without quotes, escapes and folding left in; empty when there is none. See [`NameAddr::display_text`].
    pub display: &'a str,
    pub uri: Uri<'a>,
    /// The parameters of the header, not of the URI, with or without their leading `;`.
    pub params: &'a str,
    /// The display name stood in quotes: a backslash in it is no character of its own (RFC 3261 section 25.1).
    is_quoted: bool,
}

impl<'a> NameAddr<'a> {
    /// Reads one value. Without `<>`, parameters belong to the header (RFC 3261 section 20). `None` for an empty value
    /// and for the `*` of a Contact that removes all bindings.
    pub fn parse(value: &'a str) -> Option<NameAddr<'a>> {
        let value = trim(value);
        if value == "*" {
            return None;
        }
        let quoted = quoted_display(value);
        let (display, rest) = match quoted {
            Some(found) => found,
            None => match find_unquoted(value, b'<') {
                Some(at) => cut(value, at),
                None => ("", value),
            },
        };
        let (uri, params) = cut_uri(rest);
        Some(NameAddr {
            display: display_without_stray_quote(display),
            uri: Uri::parse(uri)?,
            params,
            is_quoted: quoted.is_some(),
        })
    }

    /// A parameter of the header, unquoted; empty for a flag. Names in any case.
    pub fn param(&self, name: &str) -> Option<&'a str> {
        scan::param(self.params, name)
    }

    /// The tag that names this end of a dialog; an empty one is none.
    pub fn tag(&self) -> Option<&'a str> {
        self.param("tag").filter(|tag| !tag.is_empty())
    }

    /// The display name as a person would read it: quoted pairs undone, on one line, a blank for a tab.
    pub fn display_text(&self) -> Cow<'a, str> {
        let line = scan::unfold(self.display);
        let has_pairs = self.is_quoted && memchr(b'\\', line.as_bytes()).is_some();
        if !has_pairs && memchr(b'\t', line.as_bytes()).is_none() {
            return line;
        }
        let mut text = String::with_capacity(line.len());
        let mut characters = line.chars();
        while let Some(character) = characters.next() {
            let is_pair = self.is_quoted && character == '\\';
            let meant = is_pair.then(|| characters.next()).flatten();
            let meant = meant.unwrap_or(character);
            text.push(if meant == '\t' { ' ' } else { meant });
        }
        Cow::Owned(text)
    }
}

/// A quoted display name and what follows it; `None` when the value starts otherwise or the quote is never closed.
fn quoted_display(value: &str) -> Option<(&str, &str)> {
    let inside = value.strip_prefix('"')?;
    let end = closing_quote(inside.as_bytes())?;
    Some(cut_around(inside, end))
}

/// The display name of `"Bob <sip:…>`, whose quote is never closed, goes without the quote.
fn display_without_stray_quote(display: &str) -> &str {
    let display = trim(display);
    match display.strip_prefix('"') {
        Some(rest) if closing_quote(rest.as_bytes()).is_none() => trim(rest),
        _ => display,
    }
}

/// The URI and the parameters after it. A bracket that is never closed ends with the value.
fn cut_uri(rest: &str) -> (&str, &str) {
    match find_unquoted(rest, b'<') {
        Some(at) => {
            let (uri, params) = cut_at_byte(cut_around(rest, at).1, b'>');
            (uri, trim(params))
        }
        None => {
            let (uri, params) = cut_at_byte(rest, b';');
            (uri, trim(params))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_addr(value: &str) -> NameAddr<'_> {
        NameAddr::parse(value).unwrap()
    }

    #[test]
    fn the_usual_form_is_read() {
        let alice = name_addr(r#""Alice Smith" <sip:alice@example.com;user=phone>;tag=a1;x"#);
        assert_eq!(alice.display, "Alice Smith");
        assert_eq!((alice.uri.user, alice.uri.host), ("alice", "example.com"));
        assert_eq!(alice.uri.param("user"), Some("phone"));
        assert_eq!(alice.tag(), Some("a1"));
        assert_eq!(alice.param("x"), Some(""));
        assert_eq!(alice.param("user"), None);
    }

    #[test]
    fn unquoted_display_names_are_read() {
        assert_eq!(name_addr("caller<sip:c@h>;tag=3").display, "caller");
        let bell = name_addr("Bell, Alexander <sip:a.g.bell@example.com>;tag=43");
        assert_eq!(bell.display, "Bell, Alexander");
        assert_eq!((bell.uri.user, bell.tag()), ("a.g.bell", Some("43")));
    }

    #[test]
    fn quoted_names_may_hold_separators_and_escaped_quotes() {
        let odd = name_addr(r#""a <sip:x@y>;tag=0, \"b\" \\" <sip:c@h>;tag=1"#);
        assert_eq!(odd.display, r#"a <sip:x@y>;tag=0, \"b\" \\"#);
        assert_eq!(odd.display_text(), r#"a <sip:x@y>;tag=0, "b" \"#);
        assert_eq!((odd.uri.user, odd.tag()), ("c", Some("1")));
    }

    #[test]
    fn quoted_pairs_and_tabs_are_undone_and_an_unquoted_backslash_stays() {
        for (value, text) in [
            (r#""Joe \"JJ\" Doe" <sip:c@h>"#, r#"Joe "JJ" Doe"#),
            (r#""back\\slash" <sip:c@h>"#, r"back\slash"),
            (r#""\a" <sip:c@h>"#, "a"),
            ("\"a\tb\\\tc\" <sip:c@h>", "a b c"),
            ("Joe\tDoe <sip:c@h>", "Joe Doe"),
            (r"DOMAIN\joe <sip:c@h>", r"DOMAIN\joe"),
        ] {
            assert_eq!(name_addr(value).display_text(), text, "{value}");
        }
    }

    #[test]
    fn parameters_without_brackets_belong_to_the_header() {
        let plain = name_addr("sip:+16505552222@ss1.example.net;user=phone;tag=7");
        assert_eq!(plain.uri.text, "sip:+16505552222@ss1.example.net");
        assert_eq!(plain.uri.params, "");
        assert_eq!(plain.param("user"), Some("phone"));
        assert_eq!(plain.tag(), Some("7"));
        assert_eq!(name_addr("tel:+1201;tag=9").uri.user, "+1201");
    }

    #[test]
    fn brackets_hold_the_parameters_of_a_telephone_number() {
        let tel = name_addr("<tel:7042;phone-context=example.com>;tag=1");
        assert_eq!(tel.uri.user, "7042");
        assert_eq!(tel.uri.param("phone-context"), Some("example.com"));
        assert_eq!(tel.tag(), Some("1"));
    }

    #[test]
    fn unclosed_quotes_and_brackets_are_read_around() {
        let user = name_addr("\"Mr. J. User <sip:j.user@example.com>;tag=5");
        assert_eq!((user.display, user.uri.user), ("Mr. J. User", "j.user"));
        assert_eq!(user.tag(), Some("5"));
        assert_eq!(name_addr("Joe <sip:joe@h").uri.host, "h");
    }

    #[test]
    fn folding_and_blanks_are_ignored() {
        let folded = name_addr(
            "\"J Rosenberg \\\\\\\"\"\r\n  <sip:jdrosen@example.com>\r\n  ;\r\n  tag = 98asjd8",
        );
        assert_eq!(folded.display_text(), "J Rosenberg \\\"");
        assert_eq!(folded.uri.user, "jdrosen");
        assert_eq!(folded.tag(), Some("98asjd8"));
        assert_eq!(name_addr("\"T\" < sip:t@h >").uri.host, "h");
    }

    #[test]
    fn brackets_in_a_quoted_parameter_are_no_brackets() {
        let plain = name_addr("sip:a@h;x=\"<sip:b@i>\";tag=1");
        assert_eq!((plain.uri.user, plain.tag()), ("a", Some("1")));
    }

    #[test]
    fn nothing_is_no_address() {
        assert_eq!(NameAddr::parse(" "), None);
        assert_eq!(NameAddr::parse("*"), None);
        assert_eq!(NameAddr::parse("\"only a name\""), None);
        assert_eq!(name_addr("<sip:a@h>;tag=").tag(), None);
    }
}
