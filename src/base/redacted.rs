//! Text about people that logs must not show.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set once at start when the operator logs at debug level or below; a property of the log, not of the calls.
static REVEAL: AtomicBool = AtomicBool::new(false);

/// Lets [`Redacted`] show its text from now on: for logs at debug level.
pub fn reveal_people(reveal: bool) {
    REVEAL.store(reveal, Ordering::Relaxed);
}

/// A number, name or address of a person. `Display` and `Debug` hide all but its length and last two characters;
/// the text itself is reached by name, where it is meant: `redacted.0`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Redacted<T>(pub T);

impl<T: AsRef<str>> fmt::Display for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.as_ref();
        if REVEAL.load(Ordering::Relaxed) {
            return write!(f, "{}", text.escape_debug());
        }
        let count = text.chars().count();
        let shown = if count > 4 { 2 } else { 0 };
        f.write_str("…")?;
        text.chars()
            .skip(count - shown)
            .try_for_each(|c| write!(f, "{}", c.escape_debug()))
    }
}

impl<T: AsRef<str>> fmt::Debug for Redacted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hides_all_but_the_end() {
        assert_eq!(Redacted("+442079460101").to_string(), "…01");
        assert_eq!(Redacted("1001").to_string(), "…");
        assert_eq!(Redacted("ab\u{1b}[31mcd\n").to_string(), "…d\\n");
    }
}
