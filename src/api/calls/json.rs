//! JSON whose bytes are harmless wherever they end up: what HTML, a terminal or a reader's eye could take for something
//! else than text is written as an escape. The values are the same.

use std::io::{self, Write};

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::ser::Formatter;

use crate::api::problem::Problem;
use crate::base::is_harmful;

/// An answer in such JSON.
#[derive(Debug)]
pub struct Harmless<T>(pub T);

impl<T: Serialize> IntoResponse for Harmless<T> {
    fn into_response(self) -> Response {
        let Ok(body) = to_harmless_json(&self.0) else {
            return Problem::internal().into_response();
        };
        let kind = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, kind)], body).into_response()
    }
}

pub fn to_harmless_json(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Escaping);
    value.serialize(&mut serializer)?;
    Ok(out)
}

struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if fragment.bytes().all(is_plain) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut rest = fragment;
        while let Some(at) = rest.find(is_escaped) {
            let (plain, from) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut characters = from.chars();
            for unit in characters.next().iter().flat_map(units) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

/// Of bytes that are a whole text: most texts are nothing else.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !b"<>&'".contains(&byte)
}

fn is_escaped(c: char) -> bool {
    "<>&'".contains(c) || is_harmful(c) || c == '\u{feff}'
}

fn units(c: &char) -> Vec<u16> {
    c.encode_utf16(&mut [0; 2]).to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_value_stays_and_the_bytes_are_harmless(text in "[a<>&'\"\\\\\u{202e}\u{7f}\u{85}\u{0}\n\u{2028}é\u{1f600}]{0,20}") {
            let json = to_harmless_json(&text).unwrap();
            let written = std::str::from_utf8(&json).unwrap();
            prop_assert!(!written.chars().any(is_escaped), "{}", written);
            prop_assert_eq!(serde_json::from_str::<String>(written).unwrap(), text);
        }
    }
}
