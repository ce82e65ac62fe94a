//! Questions about calls, and the pages that answer them.
//!
//! A page is read in an order without ties, and the next one starts behind the last call of the one before, so no call
//! comes twice or is left out however many are written in between. The order is by start, id and tenant, newest first,
//! unless the question says otherwise.

use uuid::Uuid;

use super::{CallRecord, Direction, Disposition, Error, Result};
use crate::base::{GroupId, InteractionId, TenantId, Timestamp};

/// The most calls on a page.
pub const MAX_PAGE: u32 = 1000;

/// Which calls, and from where on. The default is the newest 50 of all that the scope covers.
///
/// A call is in the answer when every filter holds.
#[derive(Clone, Debug, PartialEq)]
pub struct CallQuery {
    /// Of this tenant only. One outside the scope has no calls.
    pub tenant: Option<TenantId>,
    /// Started at this time or later.
    pub from: Option<Timestamp>,
    /// Started before this time.
    pub to: Option<Timestamp>,
    /// Caller or callee, as seen or as normalised.
    pub number: Option<NumberFilter>,
    /// The caller, as seen or as normalised.
    pub caller: Option<NumberFilter>,
    /// The callee, as seen or as normalised.
    pub callee: Option<NumberFilter>,
    /// Took part under this user name.
    pub user: Option<String>,
    /// Somebody took part who is in this group now.
    pub group: Option<GroupId>,
    /// Took part on this extension.
    pub extension: Option<String>,
    pub interaction: Option<InteractionId>,
    pub direction: Option<Direction>,
    pub disposition: Option<Disposition>,
    /// Without one, calls that were deleted are left out.
    pub state: Option<CallState>,
    /// Only calls with a file.
    pub recorded_only: bool,
    /// Only calls at least this long.
    pub min_length_ms: u64,
    /// Only calls at most this long.
    pub max_length_ms: Option<u64>,
    /// Only calls with a mean opinion score, and one below this.
    pub mos_below: Option<f64>,
    /// Only calls with a mean opinion score of this or more.
    pub mos_at_least: Option<f64>,
    /// A codec's name without its rate, such as `PCMA`, in any case.
    pub codec: Option<String>,
    /// In this category.
    pub category: Option<Uuid>,
    /// One note of the call has a word that begins like each of these words. Without any word no call is found.
    pub notes: Option<String>,
    pub sort: Sort,
    /// Calls on the page: 1 to [`MAX_PAGE`]; what lies outside is taken as the nearest of these.
    pub limit: u32,
    /// Where the page before ended: its [`Page::next`].
    pub after: Option<String>,
}

impl Default for CallQuery {
    fn default() -> Self {
        CallQuery {
            tenant: None,
            from: None,
            to: None,
            number: None,
            caller: None,
            callee: None,
            user: None,
            group: None,
            extension: None,
            interaction: None,
            direction: None,
            disposition: None,
            state: None,
            recorded_only: false,
            min_length_ms: 0,
            max_length_ms: None,
            mos_below: None,
            mos_at_least: None,
            codec: None,
            category: None,
            notes: None,
            sort: Sort::Newest,
            limit: 50,
            after: None,
        }
    }
}

/// A number to look for. Every character stands for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NumberFilter {
    Exact(String),
    /// All numbers that start so; the empty prefix is no filter.
    Prefix(String),
}

/// What there is of a call, or what was done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallState {
    /// There is a recording.
    Recorded,
    /// There is none.
    None,
    /// Nobody may delete it.
    Held,
    /// It has a note that is pinned.
    Pinned,
    /// Somebody deleted it.
    Deleted,
}

impl CallState {
    pub const ALL: [CallState; 5] = [
        CallState::Recorded,
        CallState::None,
        CallState::Held,
        CallState::Pinned,
        CallState::Deleted,
    ];

    pub fn name(self) -> &'static str {
        match self {
            CallState::Recorded => "recorded",
            CallState::None => "none",
            CallState::Held => "held",
            CallState::Pinned => "pinned",
            CallState::Deleted => "deleted",
        }
    }

    pub fn named(name: &str) -> Option<CallState> {
        CallState::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// The order of an answer. Calls that are alike in it follow one another by start, id and tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Sort {
    #[default]
    Newest,
    Oldest,
    Longest,
    Shortest,
    /// By mean opinion score; calls without one are left out. So with [`Sort::WorstHeard`].
    BestHeard,
    WorstHeard,
}

impl Sort {
    pub(super) fn is_descending(self) -> bool {
        matches!(self, Sort::Newest | Sort::Longest | Sort::BestHeard)
    }

    /// What calls are ordered by before their start.
    pub(super) fn column(self) -> Option<&'static str> {
        match self {
            Sort::Newest | Sort::Oldest => None,
            Sort::Longest | Sort::Shortest => Some("length_ms"),
            Sort::BestHeard | Sort::WorstHeard => Some("mos"),
        }
    }

    fn code(self) -> char {
        match self {
            Sort::Newest => 'n',
            Sort::Oldest => 'o',
            Sort::Longest => 'l',
            Sort::Shortest => 's',
            Sort::BestHeard => 'b',
            Sort::WorstHeard => 'w',
        }
    }
}

/// A part of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// In the order that was asked for.
    pub calls: Vec<CallRecord>,
    /// Give it as [`CallQuery::after`] for the calls that follow; none when these were the last. Its text means nothing
    /// to others and may change from version to version.
    pub next: Option<String>,
}

/// A place between two calls of an order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cursor {
    pub(super) sort: Sort,
    /// Of [`Sort::column`]; zero where there is none.
    pub(super) value: f64,
    pub(super) started_at: Timestamp,
    pub(super) id: Uuid,
    pub(super) tenant: TenantId,
}

impl Cursor {
    pub(super) fn behind(call: &CallRecord, sort: Sort) -> Cursor {
        let value = match sort {
            Sort::Newest | Sort::Oldest => 0.0,
            // Exact up to 2^53 ms: 285,000 years.
            Sort::Longest | Sort::Shortest => call.length_ms as f64,
            Sort::BestHeard | Sort::WorstHeard => call.quality.mos.unwrap_or_default(),
        };
        Cursor {
            sort,
            value,
            started_at: call.started_at,
            id: call.id,
            tenant: call.tenant,
        }
    }

    pub(super) fn to_text(self) -> String {
        // All bits above the sign, so that the number is written without one.
        let at = self.started_at.as_nanos() as u64;
        format!(
            "{}{:016x}{at:016x}{}{}",
            self.sort.code(),
            self.value.to_bits(),
            self.id.simple(),
            self.tenant.0.simple()
        )
    }

    /// `sort`: that of the question, which the page before had too.
    pub(super) fn parse(text: &str, sort: Sort) -> Result<Cursor> {
        let fields = || {
            let (value, rest) = text.strip_prefix(sort.code())?.split_at_checked(16)?;
            let (at, ids) = rest.split_at_checked(16)?;
            let (id, tenant) = ids.split_at_checked(32)?;
            let number = |text: &str| {
                let is_hex = text.bytes().all(|b| b.is_ascii_hexdigit());
                is_hex.then(|| u64::from_str_radix(text, 16).ok())?
            };
            Some(Cursor {
                sort,
                value: Some(f64::from_bits(number(value)?)).filter(|value| value.is_finite())?,
                started_at: Timestamp::from_nanos(number(at)? as i64),
                id: Uuid::try_parse(id).ok()?,
                tenant: TenantId(Uuid::try_parse(tenant).ok()?),
            })
        };
        fields().ok_or(Error::Cursor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::*;
    use super::*;
    use crate::access::Scope;

    proptest! {
        #[test]
        fn a_cursor_reads_back_and_any_other_text_is_refused(at in any::<i64>(), id: u128, text in any::<String>()) {
            let at = Timestamp::from_nanos(at);
            let sort = Sort::Longest;
            let cursor = Cursor { sort, value: 7.5, started_at: at, id: Uuid::from_u128(id), tenant: tenant(1) };
            prop_assert_eq!(Cursor::parse(&cursor.to_text(), sort).unwrap(), cursor);
            prop_assert!(Cursor::parse(&cursor.to_text(), Sort::Newest).is_err());
            prop_assert!(Cursor::parse(&text, sort).is_err());
        }
    }

    #[tokio::test]
    async fn calls_written_between_pages_neither_repeat_nor_hide_any() {
        let catalog = in_memory().await;
        let early: Vec<_> = (100..110).map(|number| call(1, number)).collect();
        catalog.record(&early).await.unwrap();
        let mut query = CallQuery {
            limit: 3,
            ..CallQuery::default()
        };
        let mut found = Vec::new();
        for extra in 0.. {
            let page = catalog.calls(&Scope::root(), &query).await.unwrap();
            found.extend(page.calls);
            catalog.record(&[call(1, 200 + extra)]).await.unwrap();
            let Some(next) = page.next else { break };
            query.after = Some(next);
        }
        let newest_first: Vec<_> = early.into_iter().rev().collect();
        assert_eq!(found, newest_first);
    }

    #[tokio::test]
    async fn a_limit_out_of_range_is_taken_as_the_nearest() {
        let catalog = in_memory().await;
        let calls: Vec<_> = (0..1100).map(|number| call(1, number)).collect();
        catalog.record(&calls).await.unwrap();
        for (limit, expected) in [(0, 1), (1, 1), (1000, 1000), (u32::MAX, 1000)] {
            let query = CallQuery {
                limit,
                ..CallQuery::default()
            };
            assert_eq!(
                catalog
                    .calls(&Scope::root(), &query)
                    .await
                    .unwrap()
                    .calls
                    .len(),
                expected
            );
        }
    }
}
