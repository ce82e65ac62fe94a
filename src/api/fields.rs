//! Fields of requests, checked, and pages of answers.

use serde::Serialize;
use utoipa::ToSchema;

use super::problem::{Problem, Result};
use crate::catalog::{Listed, Listing, MAX_LISTED};

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

/// Control characters, and those that make text look like other text than it is (Unicode's bidirectional controls).
fn is_unfit(one: char) -> bool {
    one.is_control() || matches!(one, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
