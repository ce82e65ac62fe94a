//! One spelling for each number: separators off, E.164 where the tenant's country says how.

use std::fmt;

use super::country::Country;
use crate::base::Redacted;

/// Longest number or name kept, in bytes. Longer ones fit no extension: E.164 has 15 digits, and names are short.
pub const MAX_NUMBER_LEN: usize = 47;

/// A number or name in the spelling that extensions are compared in. Lives on the stack.
#[derive(Clone, Copy)]
pub struct Number {
    len: u8,
    bytes: [u8; MAX_NUMBER_LEN],
}

/// Fewest digits after an international prefix that make it one; `0011` is an internal extension.
const INTERNATIONAL_DIGITS: usize = 8;
/// Fewest digits in all of a number that begins with its calling code and has no `+`.
const BARE_E164_DIGITS: usize = 10;

impl Number {
    const EMPTY: Number = Number {
        len: 0,
        bytes: [0; MAX_NUMBER_LEN],
    };

    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        let start = usize::from(self.len);
        let end = start + bytes.len();
        self.bytes.get_mut(start..end)?.copy_from_slice(bytes);
        self.len = u8::try_from(end).ok()?;
        Some(())
    }

    fn concat(parts: [&[u8]; 3]) -> Option<Number> {
        let mut number = Number::EMPTY;
        parts.into_iter().try_for_each(|part| number.push(part))?;
        Some(number)
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Number {}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Redacted(self.as_str()).fmt(f)
    }
}

/// The user part of a URI, or a number as someone typed it, in the one spelling.
///
/// `tel:` and visual separators go (RFC 3966 section 5.1.1), percent-encoding is undone, names are lower-cased. With
/// a `country`, what is plainly an international or national number becomes E.164; a short internal extension is
/// never touched. `None` when nothing is left or it is longer than [`MAX_NUMBER_LEN`].
pub fn normalise(user: &str, country: Option<Country>) -> Option<Number> {
    let cleaned = clean(user)?;
    match country {
        Some(country) => Some(internationalise(&cleaned, country).unwrap_or(cleaned)),
        None => Some(cleaned),
    }
}

fn clean(user: &str) -> Option<Number> {
    if user.contains('%') {
        return clean_decoded(&percent_decoded(user)?);
    }
    clean_decoded(user)
}

fn clean_decoded(user: &str) -> Option<Number> {
    let text = without_scheme(user.trim());
    match dialled(text) {
        Some(number) => Some(number),
        None => name(text),
    }
}

fn without_scheme(text: &str) -> &str {
    ["tel:", "sip:", "sips:"]
        .into_iter()
        .find_map(|scheme| {
            let (head, rest) = text.split_at_checked(scheme.len())?;
            head.eq_ignore_ascii_case(scheme).then_some(rest)
        })
        .unwrap_or(text)
}

/// Undoes percent-encoding (RFC 3986 section 2.1); a `%` that starts no escape stays. `None` when the result is no text.
fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escape = tail.first_chunk::<2>().and_then(|pair| hex(*pair));
        match (byte, escape) {
            (b'%', Some(value)) => {
                out.push(value);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(out).ok()
}

fn hex([high, low]: [u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// The digits of something dialled, a leading `+` kept; `None` when it is a name, or too long.
fn dialled(text: &str) -> Option<Number> {
    let mut number = Number::EMPTY;
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'0'..=b'9' | b'*' | b'#' => number.push(&[byte])?,
            b'+' if number.len == 0 => number.push(b"+")?,
            // "+44 (0)20": the trunk prefix is written for people, and not dialled from abroad.
            b'(' if tail.starts_with(b"0)") && number.bytes.starts_with(b"+") => {
                rest = tail.get(2..).unwrap_or_default();
            }
            b' ' | b'-' | b'.' | b'(' | b')' | b'/' => {}
            _ => return None,
        }
    }
    let dialled = number.as_bytes().iter().any(|byte| *byte != b'+');
    dialled.then_some(number)
}

/// A name: compared without regard to ASCII case, as the PBXs in the field do (RFC 3261 section 19.1.4 would not).
fn name(text: &str) -> Option<Number> {
    if text.is_empty() {
        return None;
    }
    let mut number = Number::EMPTY;
    number.push(text.as_bytes())?;
    number.bytes.make_ascii_lowercase();
    Some(number)
}

/// E.164 for what is plainly a public number by the habits of `country`; `None` leaves it as it is.
fn internationalise(number: &Number, country: Country) -> Option<Number> {
    let digits = number.as_bytes();
    let code = country.calling_code().as_bytes();
    let trunk = country.trunk_prefix().as_bytes();
    if let Some(rest) = digits.strip_prefix(b"+") {
        // "+440207…": a trunk prefix that should not be there.
        let rest = rest.strip_prefix(code)?.strip_prefix(b"0")?;
        return (trunk == b"0" && country.has_digits(rest.len()))
            .then(|| Number::concat([b"+", code, rest]))?;
    }
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    if let Some(rest) = digits.strip_prefix(country.international_prefix().as_bytes())
        && (INTERNATIONAL_DIGITS..=15).contains(&rest.len())
        && !rest.starts_with(b"0")
    {
        return Number::concat([b"+", rest, b""]);
    }
    if let Some(rest) = digits.strip_prefix(code)
        && digits.len() >= BARE_E164_DIGITS
        && country.has_digits(rest.len())
    {
        return Number::concat([b"+", digits, b""]);
    }
    // The North American plan dials ten digits with or without its "1".
    let whole_numbers = trunk.is_empty() || trunk == code;
    let national = match digits.strip_prefix(trunk) {
        Some(rest) if !trunk.is_empty() && country.has_digits(rest.len()) => rest,
        _ if whole_numbers && country.has_digits(digits.len()) => digits,
        _ => return None,
    };
    Number::concat([b"+", code, national])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spelled(user: &str, country: &str) -> String {
        let country = Country::from_iso(country);
        normalise(user, country).map_or_else(String::new, |n| n.as_str().to_owned())
    }

    #[test]
    fn separators_and_schemes_go() {
        assert_eq!(spelled("tel:+44-20-7946-0101", ""), "+442079460101");
        assert_eq!(spelled("+44 (0)20 7946.0101", ""), "+442079460101");
        assert_eq!(spelled(" 10 01 ", ""), "1001");
        assert_eq!(spelled("%2B442079460101", ""), "+442079460101");
        assert_eq!(spelled("*98#", ""), "*98#");
        assert_eq!(spelled("Alice.Smith", ""), "alice.smith");
        assert_eq!(spelled("100%", ""), "100%");
        assert_eq!(spelled("", ""), "");
        assert_eq!(spelled("+", ""), "+");
    }

    #[test]
    fn public_numbers_become_e164() {
        assert_eq!(spelled("020 7946 0101", "GB"), "+442079460101");
        assert_eq!(spelled("00442079460101", "GB"), "+442079460101");
        assert_eq!(spelled("442079460101", "GB"), "+442079460101");
        assert_eq!(spelled("+4402079460101", "GB"), "+442079460101");
        assert_eq!(spelled("0033 1 23 45 67 89", "GB"), "+33123456789");
        assert_eq!(spelled("(212) 555-0123", "US"), "+12125550123");
        assert_eq!(spelled("12125550123", "US"), "+12125550123");
        assert_eq!(spelled("011442079460101", "US"), "+442079460101");
        assert_eq!(spelled("0612345678", "IT"), "+390612345678");
        assert_eq!(spelled("612345678", "ES"), "+34612345678");
        assert_eq!(spelled("84951234567", "RU"), "+74951234567");
    }

    #[test]
    fn internal_extensions_stay_as_they_are() {
        for country in Country::codes() {
            for number in [
                "1", "10", "101", "1001", "0011", "00123", "10012", "0123", "100123", "*98",
            ] {
                assert_eq!(spelled(number, country), number, "{country}");
            }
        }
    }

    #[test]
    fn what_is_too_long_is_nothing() {
        assert_eq!(normalise(&"1".repeat(48), None), None);
        assert_eq!(spelled(&"1".repeat(47), ""), "1".repeat(47));
    }

    proptest! {
        #[test]
        fn any_text_has_a_stable_spelling(user in "\\PC{0,60}", index in 0_usize..90) {
            let country = Country::codes().nth(index).and_then(Country::from_iso);
            if let Some(once) = normalise(&user, country) {
                let text = once.as_str().to_owned();
                prop_assert!(!text.is_empty());
                if text.starts_with('+') {
                    prop_assert_eq!(normalise(&text, country).map(|n| n.as_str().to_owned()), Some(text));
                }
            }
        }
    }
}
