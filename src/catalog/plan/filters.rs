//! Filters that do not drive: conditions on calls that were found otherwise.

use sqlx::{QueryBuilder, Sqlite};

use super::branches::number_columns;
use super::{Driver, Party, Plan};
use crate::catalog::reach::push_of_groups;
use crate::catalog::text::after_prefix;
use crate::catalog::{CallQuery, CallState, NumberFilter};

impl Plan {
    /// From when to when, and not before the cursor, as far as the index of time can tell.
    pub(super) fn push_times(&self, sql: &mut QueryBuilder<Sqlite>, table: &'static str) {
        let CallQuery { from, to, sort, .. } = &self.query;
        if let Some(from) = from {
            sql.push(format_args!(" AND {table}.started_at >= "))
                .push_bind(from.as_nanos());
        }
        if let Some(to) = to {
            sql.push(format_args!(" AND {table}.started_at < "))
                .push_bind(to.as_nanos());
        }
        if let Some(after) = self.after
            && sort.column().is_none()
        {
            let beyond = if sort.is_descending() { "<=" } else { ">=" };
            sql.push(format_args!(" AND {table}.started_at {beyond} "))
                .push_bind(after.started_at.as_nanos());
        }
    }

    /// Every filter but the one that drives, on the calls that are named `calls`.
    pub(super) fn push_filters(
        &self,
        sql: &mut QueryBuilder<Sqlite>,
        calls: &'static str,
        driver: Driver,
    ) {
        self.push_times(sql, calls);
        self.push_after(sql, calls);
        for party in [Party::Either, Party::Caller, Party::Callee] {
            if driver != Driver::Number(party) {
                self.push_number_filter(sql, calls, party);
            }
        }
        self.push_people_filters(sql, calls, driver);
        self.push_added_filters(sql, calls, driver);
        self.push_plain_filters(sql, calls);
        self.reach.push_confidential(sql, calls);
    }

    /// What lies behind the cursor.
    fn push_after(&self, sql: &mut QueryBuilder<Sqlite>, calls: &'static str) {
        let sort = self.query.sort;
        let Some(after) = self.after else { return };
        let beyond = if sort.is_descending() { "<" } else { ">" };
        if let Some(column) = sort.column() {
            // For the index: SQLite reads a row of values by its first only.
            sql.push(format_args!(" AND {calls}.{column} {beyond}= "))
                .push_bind(after.value);
            sql.push(format_args!(
                " AND ({calls}.{column}, {calls}.started_at, {calls}.id, {calls}.tenant_id) {beyond} ("
            ));
            sql.push_bind(after.value).push(", ");
        } else {
            sql.push(format_args!(
                " AND ({calls}.started_at, {calls}.id, {calls}.tenant_id) {beyond} ("
            ));
        }
        sql.push_bind(after.started_at.as_nanos())
            .push(", ")
            .push_bind(after.id)
            .push(", ");
        sql.push_bind(after.tenant.0).push(")");
    }

    fn push_number_filter(
        &self,
        sql: &mut QueryBuilder<Sqlite>,
        calls: &'static str,
        party: Party,
    ) {
        let Some(wanted) = self.number_of(party) else {
            return;
        };
        let mut word = " AND (";
        for (column, ..) in number_columns(party) {
            sql.push(std::mem::replace(&mut word, " OR "));
            self.push_number(sql, calls, column, Some(wanted));
        }
        sql.push(")");
    }

    /// Who took part: as the question asks, and as the scope allows.
    fn push_people_filters(
        &self,
        sql: &mut QueryBuilder<Sqlite>,
        calls: &'static str,
        driver: Driver,
    ) {
        let query = &self.query;
        // A driver of the scope's login does not answer for another that was asked for.
        let is_driven = driver == Driver::User && self.login() == query.user.as_deref();
        let user = query.user.as_ref().filter(|_| !is_driven);
        let extension = query
            .extension
            .as_ref()
            .filter(|_| driver != Driver::Extension);
        for (column, name) in [("user_name", user), ("extension", extension)] {
            let Some(name) = name else { continue };
            sql.push(format_args!(
                " AND EXISTS (SELECT 1 FROM participants x WHERE x.call_row = {calls}.call_row"
            ));
            sql.push(format_args!(" AND x.{column} = "))
                .push_bind(name.clone())
                .push(")");
        }
        if let Some(group) = query.group.filter(|_| driver != Driver::Groups) {
            push_of_groups(sql, calls, &[group]);
        }
        if !self.is_of_scope(driver) {
            self.reach.push_whose(sql, calls);
        }
    }

    /// What people added to calls.
    fn push_added_filters(
        &self,
        sql: &mut QueryBuilder<Sqlite>,
        calls: &'static str,
        driver: Driver,
    ) {
        let of_call = |table: &str| {
            format!(
                " AND EXISTS (SELECT 1 FROM {table} a WHERE a.tenant_id = {calls}.tenant_id AND a.call_id = {calls}.id"
            )
        };
        if let Some(category) = self.query.category.filter(|_| driver != Driver::Category) {
            sql.push(of_call("categorized_calls"))
                .push(" AND a.category_id = ")
                .push_bind(category)
                .push(")");
        }
        match self.query.state {
            Some(CallState::Held) if driver != Driver::Held => {
                sql.push(of_call("call_holds")).push(")");
            }
            Some(CallState::Pinned) if driver != Driver::Pinned => {
                sql.push(of_call("call_notes")).push(" AND a.pinned = 1)");
            }
            _ => {}
        }
        if self.words.is_some() && !matches!(driver, Driver::Notes | Driver::NotesByTime) {
            sql.push(of_call("call_notes"));
            self.push_has_words(sql, "a");
            sql.push(")");
        }
    }

    /// The filters that look at one column of the call.
    fn push_plain_filters(&self, sql: &mut QueryBuilder<Sqlite>, calls: &'static str) {
        let query = &self.query;
        sql.push(match query.state {
            Some(CallState::Deleted) => format!(" AND {calls}.deleted_at IS NOT NULL"),
            _ => format!(" AND {calls}.deleted_at IS NULL"),
        });
        if let Some(interaction) = query.interaction {
            sql.push(format_args!(" AND {calls}.interaction_id = "))
                .push_bind(interaction.0);
        }
        if let Some(disposition) = &query.disposition {
            sql.push(format_args!(" AND {calls}.disposition = "))
                .push_bind(disposition.code().to_owned());
        }
        if let Some(direction) = query.direction {
            sql.push(format_args!(" AND {calls}.direction = "))
                .push_bind(direction.name());
        }
        if query.recorded_only || query.state == Some(CallState::Recorded) {
            sql.push(format_args!(" AND {calls}.file_path IS NOT NULL"));
        }
        if query.state == Some(CallState::None) {
            sql.push(format_args!(" AND {calls}.file_path IS NULL"));
        }
        self.push_measures(sql, calls);
    }

    fn push_measures(&self, sql: &mut QueryBuilder<Sqlite>, calls: &'static str) {
        let query = &self.query;
        let length = |millis: u64| i64::try_from(millis).unwrap_or(i64::MAX);
        if query.min_length_ms > 0 {
            sql.push(format_args!(" AND {calls}.length_ms >= "))
                .push_bind(length(query.min_length_ms));
        }
        if let Some(most) = query.max_length_ms {
            sql.push(format_args!(" AND {calls}.length_ms <= "))
                .push_bind(length(most));
        }
        if let Some(below) = query.mos_below {
            sql.push(format_args!(" AND {calls}.mos < "))
                .push_bind(below);
        }
        if let Some(least) = query.mos_at_least {
            sql.push(format_args!(" AND {calls}.mos >= "))
                .push_bind(least);
        }
        if query.sort.column() == Some("mos") {
            sql.push(format_args!(" AND {calls}.mos IS NOT NULL"));
        }
        if let Some(codec) = &query.codec {
            // Names stand between blanks; a rate may follow behind a slash.
            let codecs = format!("replace(' ' || lower({calls}.codec) || ' ', '/', ' /')");
            sql.push(format_args!(" AND instr({codecs}, "))
                .push_bind(format!(" {codec} "))
                .push(") > 0");
        }
    }

    /// The condition that this column is the number, or starts with the prefix. A range, not LIKE: it has no wildcards,
    /// minds upper and lower case, and reads the index.
    pub(super) fn push_number(
        &self,
        sql: &mut QueryBuilder<Sqlite>,
        calls: &'static str,
        column: &'static str,
        wanted: Option<&NumberFilter>,
    ) {
        match wanted {
            None => {
                sql.push("TRUE");
            }
            Some(NumberFilter::Exact(number)) => {
                sql.push(format_args!("{calls}.{column} = "))
                    .push_bind(number.clone());
            }
            Some(NumberFilter::Prefix(prefix)) => {
                sql.push(format_args!("({calls}.{column} >= "))
                    .push_bind(prefix.clone());
                if let Some(bound) = after_prefix(prefix) {
                    sql.push(format_args!(" AND {calls}.{column} < "))
                        .push_bind(bound);
                }
                sql.push(")");
            }
        }
    }
}
