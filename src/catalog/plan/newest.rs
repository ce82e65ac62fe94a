//! The newest calls of numbers that begin alike.
//!
//! The calls of each number are in order of time, those of many numbers are not. To look at all of them, for a page of
//! fifty, would be to read thousands of calls; to read the tenant's calls until fifty have such a number is no better
//! where few have. But the index of a number holds the time: the newest are picked from the index alone, and only they are
//! looked at.
//!
//! The index does not say what was deleted or is confidential. A page that comes out short for it is read again, without
//! the short cut.

use sqlx::{QueryBuilder, Sqlite};

use super::branches::number_columns;
use super::{Driver, NARROW, Party, Plan};
use crate::catalog::reach::{Tenants, Whose};
use crate::catalog::{CallQuery, NumberFilter};

/// How many entries of the index are looked through. Of a beginning that more calls have, a page is found sooner by
/// reading the tenant's calls in the order of the answer.
const LOOKED_THROUGH: i64 = if cfg!(test) { 30 } else { 20_000 };

/// Calls that are picked beyond a page for what the index does not know.
const SLACK: i64 = if cfg!(test) { 0 } else { 5 };

impl Plan {
    /// Whether all that is asked for is one tenant's calls of numbers that begin alike, by time; and this is their driver.
    pub(super) fn is_newest_of(&self, driver: Driver) -> bool {
        let Driver::Number(party) = driver else {
            return false;
        };
        let query = &self.query;
        let mut plain = CallQuery {
            tenant: query.tenant,
            from: query.from,
            to: query.to,
            sort: query.sort,
            limit: query.limit,
            after: query.after.clone(),
            ..CallQuery::default()
        };
        let number = match party {
            Party::Caller => &mut plain.caller,
            Party::Callee => &mut plain.callee,
            Party::Either => &mut plain.number,
        };
        *number = self.number_of(party).cloned();
        matches!(number, Some(NumberFilter::Prefix(_)))
            && *query == plain
            && query.sort.column().is_none()
            && matches!(self.reach.tenants, Tenants::One(_))
            && self.reach.whose == Whose::Everybodys
    }

    /// How many entries of its indexes the beginning of a number has, at whatever time: so many are looked through.
    pub(super) fn push_newest_probe(&self, sql: &mut QueryBuilder<Sqlite>, party: Party) {
        for (column, index, only) in number_columns(party) {
            sql.push(" UNION ALL SELECT * FROM (SELECT 1");
            self.push_entries(sql, party, (column, index, only));
            sql.push(" LIMIT +").push_bind(LOOKED_THROUGH + 1).push(")");
        }
    }

    pub(super) fn settle_newest(&mut self, driver: Driver, count: i64) {
        let whole = match count <= NARROW {
            true => driver,
            false => Driver::Order,
        };
        if count <= LOOKED_THROUGH {
            (self.driver, self.unabridged) = (driver, Some(whole));
        } else {
            self.driver = whole;
        }
    }

    /// `newest`: the entries that the page is picked from. `cut`: the time of the last of them, where there may be more;
    /// empty where these are all.
    pub(super) fn push_newest(&self, sql: &mut QueryBuilder<Sqlite>, party: Party) {
        let way = self.way();
        // A call within the tenant has an entry by each of its numbers.
        let picked = 2 * (i64::from(self.query.limit) + 1 + SLACK);
        sql.push("WITH newest (call_row, at) AS MATERIALIZED (SELECT 0, 0 WHERE FALSE");
        for (column, index, only) in number_columns(party) {
            sql.push(" UNION ALL SELECT * FROM (SELECT i.call_row, i.started_at");
            self.push_entries(sql, party, (column, index, only));
            self.push_times(sql, "i");
            sql.push(format_args!(" ORDER BY i.started_at {way} LIMIT +"));
            sql.push_bind(picked).push(")");
        }
        sql.push("), cut (at) AS MATERIALIZED (SELECT at FROM newest");
        sql.push(format_args!(" ORDER BY at {way} LIMIT 1 OFFSET "))
            .push_bind(picked - 1);
        sql.push(") ");
    }

    /// Of the newest, those on this side of the cut: of its own time there may be more.
    pub(super) fn push_newest_branch(&self, sql: &mut QueryBuilder<Sqlite>, driver: Driver) {
        let beyond = if self.query.sort.is_descending() {
            ">"
        } else {
            "<"
        };
        sql.push(
            " UNION SELECT i.call_row FROM newest CROSS JOIN calls i ON i.call_row = newest.call_row \
             WHERE coalesce(newest.at ",
        );
        sql.push(format_args!("{beyond} (SELECT at FROM cut), TRUE)"));
        sql.push(" AND i.tenant_id = t.id");
        self.push_filters(sql, "i", driver);
    }

    fn push_entries(
        &self,
        sql: &mut QueryBuilder<Sqlite>,
        party: Party,
        (column, index, only): (&'static str, &'static str, &'static str),
    ) {
        sql.push(" FROM calls i INDEXED BY ").push(index);
        sql.push(" WHERE i.tenant_id = ")
            .push_bind(self.one_tenant())
            .push(" AND ");
        self.push_number(sql, "i", column, self.number_of(party));
        sql.push(only);
    }
}
