//! Text that came over the wire, made fit to store.
//!
//! Lengths are far above what phones send and keep a hostile row small: a call's texts take at most 8 KiB, and its
//! attribution 64 KiB.

use std::borrow::Cow;

/// Bytes of a number, a display name, a user or an extension.
pub const NAME_BYTES: usize = 256;
/// Bytes of a SIP Call-ID, a vantage point or a list of codecs.
pub const LINE_BYTES: usize = 512;
/// Bytes of a code: disposition, end reason, file format.
pub const CODE_BYTES: usize = 64;
/// Bytes of a file's path. A longer one is refused, for a path cut short is another path.
pub const PATH_BYTES: usize = 1024;
/// Bytes of the attribution as JSON. A longer one is left out.
pub const ATTRIBUTION_BYTES: usize = 64 * 1024;

/// `text` without NUL and at most `max` bytes long, whole characters only.
///
/// PostgreSQL refuses NUL in a text, and SQLite's functions stop at it: U+FFFD takes its place.
pub fn fit(text: &str, max: usize) -> Cow<'_, str> {
    if !text.contains('\0') {
        return Cow::Borrowed(head(text, max));
    }
    // A replacement is longer than what it replaces, so the cut comes last.
    let mut clean = head(text, max).replace('\0', "\u{fffd}");
    clean.truncate(head(&clean, max).len());
    Cow::Owned(clean)
}

fn head(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or(text)
}

/// The first text in byte order behind every text that starts with `prefix`; none when there is no such text.
pub fn after_prefix(prefix: &str) -> Option<String> {
    let mut bound = prefix.to_owned();
    while let Some(last) = bound.pop() {
        // `..=` over characters steps over the surrogates' gap.
        if let Some(next) = (last..=char::MAX).nth(1) {
            bound.push(next);
            return Some(bound);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_fits_is_short_clean_and_stays(text in any::<String>(), max in 0usize..40) {
            let fitted = fit(&text, max);
            prop_assert!(fitted.len() <= max && !fitted.contains('\0'));
            prop_assert_eq!(fit(&fitted, max), fitted.clone());
            if text.len() <= max && !text.contains('\0') {
                prop_assert_eq!(&*fitted, &*text);
            }
        }

        #[test]
        fn a_text_is_between_prefix_and_bound_exactly_when_it_starts_so(
            text in "[a-c%_\u{d7ff}\u{e000}\u{10ffff}]{0,5}",
            prefix in "[a-c%_\u{d7ff}\u{e000}\u{10ffff}]{1,3}",
        ) {
            let below = after_prefix(&prefix).is_none_or(|bound| text < bound);
            prop_assert_eq!(text.starts_with(&prefix), text >= prefix && below);
        }
    }
}
