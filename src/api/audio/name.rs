//! What a downloaded recording is called.

use uuid::Uuid;

use crate::base::Timestamp;

/// Characters of a number that are kept.
const LONGEST_NUMBER: usize = 32;

/// `<time>_<caller>_<callee>_<id>.<extension>`: only letters, digits, `+`, `-`, `_` and one full stop, whatever was signalled.
pub fn download_name(
    start: Timestamp,
    caller: &str,
    callee: &str,
    id: Uuid,
    extension: &'static str,
) -> String {
    let utc = start.to_string();
    let time: String = utc
        .chars()
        .take(19)
        .map(|c| if c == ':' { '-' } else { c })
        .collect();
    let id = id.simple().to_string();
    // The end of an id is what tells two calls of one moment apart.
    let id = id.get(id.len() - 12..).unwrap_or_default();
    format!(
        "{time}Z_{}_{}_{id}.{extension}",
        number(caller),
        number(callee)
    )
}

fn number(text: &str) -> String {
    let fits = |c: &char| c.is_ascii_alphanumeric() || *c == '+' || *c == '-';
    let kept: String = text.chars().filter(fits).take(LONGEST_NUMBER).collect();
    match kept.is_empty() {
        true => "unknown".to_owned(),
        false => kept,
    }
}

/// `Content-Disposition` of an attachment, for old and new clients (RFC 6266 appendix D). `name` is as [`download_name`] makes
/// it.
pub fn attachment(name: &str) -> String {
    let escaped = name.replace('+', "%2B");
    format!("attachment; filename=\"{name}\"; filename*=UTF-8''{escaped}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_when_and_who_and_nothing_that_was_made_up() {
        let start = Timestamp::from_secs_nanos(1_800_000_000, 123_000_000);
        let id = Uuid::from_u128(0x0123_4567_89ab_7def_8123_4567_89ab_cdef);
        let long = "9".repeat(5000);
        let name = |caller: &str, callee: &str| download_name(start, caller, callee, id, "wav");
        assert_eq!(
            name("+442079460101", "1001"),
            "2027-01-15T08-00-00Z_+442079460101_1001_456789abcdef.wav"
        );
        let hostile = name("../../\"\r\nSet-Cookie: a=b;<script>", "\u{202e}*#%2e.exe");
        assert_eq!(
            hostile,
            "2027-01-15T08-00-00Z_Set-Cookieabscript_2eexe_456789abcdef.wav"
        );
        assert!(name(&long, "").len() < 100);
        assert!(name("", "***").contains("_unknown_unknown_"));
    }

    #[test]
    fn both_forms_of_a_name_are_given() {
        assert_eq!(
            attachment("a_+44.wav"),
            "attachment; filename=\"a_+44.wav\"; filename*=UTF-8''a_%2B44.wav"
        );
    }
}
