//! Calls of the users of groups.
//!
//! Each of the users has calls in order of time, and the page is of all of them. Only users whose newest calls are among
//! the newest of all users have a call on the page: when the page has fifty calls and fifty have been made since ten
//! o'clock, no earlier call is on it. So a few of the newest calls of each user are looked up, where enough of them begin
//! is the edge of the page, and the page is read from there on.
//!
//! Where nothing else is asked, the edge is taken from the index of users alone, which does not say what was deleted or is
//! confidential. A page that comes out short for it is read again, with all conditions.

use sqlx::{QueryBuilder, Sqlite};

use super::{Driver, FEW_USERS, Plan};
use crate::catalog::reach::{Whose, push_ids};
use crate::catalog::{CallQuery, CallState};

/// Calls that the edge leaves for what the index does not know.
const SLACK: i64 = 5;

impl Plan {
    /// The users whose calls are asked for: of the scope's groups and of the one that the question names.
    fn push_users(&self, sql: &mut QueryBuilder<Sqlite>) {
        sql.push(" WHERE u.tenant_id = ")
            .push_bind(self.one_tenant());
        if let Whose::Groups(groups) = &self.reach.whose {
            sql.push(" AND u.group_id IN (");
            push_ids(sql, groups);
            sql.push(")");
        }
        if let Some(group) = self.query.group {
            sql.push(" AND u.group_id = ").push_bind(group.0);
        }
    }

    pub(super) fn push_users_probe(&self, sql: &mut QueryBuilder<Sqlite>) {
        sql.push(" UNION ALL SELECT * FROM (SELECT 1 FROM users u");
        self.push_users(sql);
        sql.push(" LIMIT +").push_bind(FEW_USERS + 1).push(")");
    }

    /// Whether nothing is asked but time and group.
    pub(super) fn is_of_groups_only(&self) -> bool {
        let query = &self.query;
        let plain = CallQuery {
            tenant: query.tenant,
            from: query.from,
            to: query.to,
            group: query.group,
            sort: query.sort,
            limit: query.limit,
            after: query.after.clone(),
            ..CallQuery::default()
        };
        *query == plain && query.state != Some(CallState::Deleted)
    }

    /// `edge`: where enough calls begin to fill a page; empty when all of them together may not. `busy`: the logins that
    /// have a call on this side of it.
    pub(super) fn push_edge(&self, sql: &mut QueryBuilder<Sqlite>) {
        let way = self.way();
        let wanted = i64::from(self.query.limit) + 1 + SLACK;
        // So many of each that there are about twice as many as are wanted.
        let of_each = (2 * wanted / self.users.max(1) + 1).min(wanted);
        sql.push("WITH newest (login, at) AS MATERIALIZED (SELECT u.login, ");
        if of_each == 1 {
            sql.push("(SELECT p.started_at");
            self.push_calls_of(sql, "u", self.reads_edge_from_index);
            sql.push(format_args!(" ORDER BY p.started_at {way} LIMIT 1)"));
            sql.push(" FROM users u");
        } else {
            sql.push(
                "a.started_at FROM users u CROSS JOIN calls a ON a.call_row IN (SELECT p.call_row",
            );
            self.push_calls_of(sql, "u", self.reads_edge_from_index);
            sql.push(format_args!(" ORDER BY p.started_at {way} LIMIT +"))
                .push_bind(of_each)
                .push(")");
        }
        self.push_users(sql);
        sql.push(
            "), edge (at) AS MATERIALIZED (SELECT DISTINCT at FROM newest WHERE at IS NOT NULL",
        );
        sql.push(format_args!(" ORDER BY at {way} LIMIT 1 OFFSET "))
            .push_bind(wanted - 1);
        sql.push("), busy (login) AS MATERIALIZED (SELECT DISTINCT login FROM newest WHERE ");
        self.push_within_edge(sql, "at");
        sql.push(") ");
    }

    /// A time on this side of the edge; any where there is none.
    fn push_within_edge(&self, sql: &mut QueryBuilder<Sqlite>, column: &'static str) {
        let (within, end) = match self.query.sort.is_descending() {
            true => (">=", i64::MIN),
            false => ("<=", i64::MAX),
        };
        sql.push(format_args!(
            "{column} {within} coalesce((SELECT at FROM edge), "
        ));
        sql.push_bind(end).push(")");
    }

    pub(super) fn push_group_branch(&self, sql: &mut QueryBuilder<Sqlite>) {
        let way = self.way();
        sql.push(" UNION SELECT b.call_row FROM busy CROSS JOIN calls b WHERE b.call_row IN (SELECT DISTINCT i.call_row");
        self.push_calls_of(sql, "busy", false);
        sql.push(" AND ");
        self.push_within_edge(sql, "p.started_at");
        sql.push(format_args!(" ORDER BY p.started_at {way}, i.id {way}"));
        self.push_limit(sql);
        sql.push(")");
    }

    /// The calls `i`, by the participants `p`, of the login of `users`; the participants alone where `unchecked`.
    fn push_calls_of(&self, sql: &mut QueryBuilder<Sqlite>, users: &'static str, unchecked: bool) {
        sql.push(" FROM participants p INDEXED BY participants_by_user");
        if !unchecked {
            sql.push(" CROSS JOIN calls i ON i.call_row = p.call_row");
        }
        sql.push(" WHERE p.tenant_id = ")
            .push_bind(self.one_tenant());
        // Compared as it is written, by the index.
        sql.push(format_args!(" AND p.user_name = {users}.login"));
        self.push_times(sql, "p");
        if !unchecked {
            self.push_filters(sql, "i", Driver::Groups);
        }
    }
}
