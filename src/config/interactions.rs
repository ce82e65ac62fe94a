//! `[interactions]`: how calls of one conversation are found.

use super::reader::{Fields, Source};

/// Headers that may be named: each is looked for in each INVITE.
const MAX_HEADERS: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Interactions {
    /// Headers whose value is the same in all legs of a conversation, and in no other.
    pub headers: Vec<String>,
    /// How much later than the leg that comes to a PBX the one that leaves it may begin, to be linked by their numbers.
    pub window_seconds: u32,
    /// Whether legs that carry the same audio are linked.
    pub audio: bool,
}

impl Default for Interactions {
    fn default() -> Self {
        Interactions {
            headers: Vec::new(),
            window_seconds: 10,
            audio: true,
        }
    }
}

pub(super) fn read(
    source: &mut Source<'_>,
    fields: &mut Fields<'_>,
    interactions: &mut Interactions,
) {
    for header in fields.strings(source, "headers").unwrap_or_default() {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte);
        if header.value.is_empty() || !header.value.bytes().all(is_token) {
            let message = format!("`{}` is not the name of a header", header.value);
            source.error(header.span, message).help =
                Some("for example \"X-Correlation-ID\"".into());
        } else if interactions.headers.len() == MAX_HEADERS {
            let message = format!("at most {MAX_HEADERS} headers can be named");
            source.error(header.span, message);
        } else {
            interactions.headers.push(header.value.to_owned());
        }
    }
    if let Some(seconds) = fields.integer(source, "window_seconds", 0..=120) {
        interactions.window_seconds = seconds;
    }
    if let Some(audio) = fields.flag(source, "audio") {
        interactions.audio = audio;
    }
}
