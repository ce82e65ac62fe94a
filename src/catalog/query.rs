//! Questions about calls, and the pages that answer them.
//!
//! A page is read newest first, and the next one starts behind the last call of the one before, so no call comes twice
//! or is left out however many are written in between. The order is by start, id and tenant.

use uuid::Uuid;

use super::{CallRecord, Disposition, Error, Result};
use crate::base::{InteractionId, TenantId, Timestamp};

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
    /// Took part under this user name.
    pub user: Option<String>,
    /// Took part on this extension.
    pub extension: Option<String>,
    pub interaction: Option<InteractionId>,
    pub disposition: Option<Disposition>,
    /// Only calls with a file.
    pub recorded_only: bool,
    /// Only calls at least this long.
    pub min_length_ms: u64,
    /// Only calls with a mean opinion score, and one below this.
    pub mos_below: Option<f64>,
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
            user: None,
            extension: None,
            interaction: None,
            disposition: None,
            recorded_only: false,
            min_length_ms: 0,
            mos_below: None,
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

/// A part of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Newest first.
    pub calls: Vec<CallRecord>,
    /// Give it as [`CallQuery::after`] for the calls that follow; none when these were the last. Its text means nothing
    /// to others and may change from version to version.
    pub next: Option<String>,
}

/// A place between two calls of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) started_at: Timestamp,
    pub(super) id: Uuid,
    pub(super) tenant: TenantId,
}

impl Cursor {
    pub(super) fn behind(call: &CallRecord) -> Cursor {
        Cursor {
            started_at: call.started_at,
            id: call.id,
            tenant: call.tenant,
        }
    }

    pub(super) fn to_text(self) -> String {
        // All bits above the sign, so that the number is written without one.
        let at = self.started_at.as_nanos() as u64;
        format!("{at:016x}{}{}", self.id.simple(), self.tenant.0.simple())
    }

    pub(super) fn parse(text: &str) -> Result<Cursor> {
        let fields = || {
            let (at, ids) = text.split_at_checked(16)?;
            let (id, tenant) = ids.split_at_checked(32)?;
            let at = u64::from_str_radix(at, 16).ok()?;
            Some(Cursor {
                started_at: Timestamp::from_nanos(at as i64),
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
            let cursor = Cursor { started_at: at, id: Uuid::from_u128(id), tenant: tenant(1) };
            prop_assert_eq!(Cursor::parse(&cursor.to_text()).unwrap(), cursor);
            prop_assert!(Cursor::parse(&text).is_err());
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
