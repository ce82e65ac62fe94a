//! Lists of objects, page by page.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::super::{Error, Result};

/// Objects of a page, at most.
pub const MAX_LISTED: u32 = 500;

/// Which page of a list that is in order of names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// [`Listed::next`] of the page before.
    pub after: Option<String>,
    /// 1 to [`MAX_LISTED`]; what is out of range is taken as the nearest.
    pub limit: u32,
}

/// A page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T> {
    pub items: Vec<T>,
    /// Where the next page begins; none: this was the last.
    pub next: Option<String>,
}

/// The last object of a page: its place in the order of names, and its id among those of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct Position {
    pub name: String,
    pub id: Uuid,
}

impl Position {
    fn to_text(&self) -> String {
        let bytes = [self.id.as_bytes(), self.name.as_bytes()].concat();
        BASE64_URL_SAFE_NO_PAD.encode(bytes)
    }

    fn parse(text: &str) -> Option<Position> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (id, name) = bytes.split_at_checked(16)?;
        Some(Position {
            id: Uuid::from_slice(id).ok()?,
            name: String::from_utf8(name.to_vec()).ok()?,
        })
    }
}

impl Listing {
    pub(in super::super) fn limit(&self) -> usize {
        self.limit.clamp(1, MAX_LISTED) as usize
    }

    /// Where the page begins.
    ///
    /// # Errors
    ///
    /// [`Error::Cursor`] when it is no text of [`Listed::next`].
    pub(in super::super) fn position(&self) -> Result<Option<Position>> {
        let parse = |text: &String| Position::parse(text).ok_or(Error::Cursor);
        self.after.as_ref().map(parse).transpose()
    }

    /// A page of `rows`, of which one more was asked for than fit.
    pub(in super::super) fn page<T>(
        &self,
        mut rows: Vec<T>,
        position: impl Fn(&T) -> Position,
    ) -> Listed<T> {
        let more = rows.len() > self.limit();
        rows.truncate(self.limit());
        let next = rows
            .last()
            .filter(|_| more)
            .map(|last| position(last).to_text());
        Listed { items: rows, next }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_position_reads_back(name in any::<String>(), id: u128) {
            let position = Position { name, id: Uuid::from_u128(id) };
            prop_assert_eq!(Position::parse(&position.to_text()), Some(position));
        }

        #[test]
        fn any_text_is_read_without_harm(text in any::<String>()) {
            let _ = Position::parse(&text);
        }
    }
}
