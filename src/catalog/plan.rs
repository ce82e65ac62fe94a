//! A question as SQL.
//!
//! SQLite would choose its indexes without knowing how many calls a number or a user has (and takes the wrong one on the
//! second page), so the choice is made here, with INDEXED BY: a question is driven by its most telling filter, read in
//! order of time from the index that has it, tenant by tenant.
//!
//! Whatever is asked for is bound; the text of the statement is made of constants alone.

use sqlx::{QueryBuilder, Sqlite};

use super::query::Cursor;
use super::reach::Reach;
use super::row::CALL_AND_TENANT;
use super::text::{CODE_BYTES, NAME_BYTES, after_prefix, fit};
use super::{CallQuery, Disposition, MAX_PAGE, NumberFilter, Result};
use crate::access::Scope;

const ORDER: &str = " ORDER BY c.started_at DESC, c.id DESC, c.tenant_id DESC LIMIT ";

/// How many calls a prefix may have to be driven by; a wider one finds its page sooner by reading calls by time.
/// The tests have few calls.
pub(super) const NARROW_PREFIX: i64 = if cfg!(test) { 5 } else { 2000 };

/// The columns a number is looked for in, their indexes, and what those leave out.
const NUMBER_COLUMNS: [(&str, &str, &str); 4] = [
    ("caller_normalised", "calls_by_caller", ""),
    ("callee_normalised", "calls_by_callee", ""),
    (
        "caller_number",
        "calls_by_caller_as_seen",
        " AND i.caller_number <> i.caller_normalised",
    ),
    (
        "callee_number",
        "calls_by_callee_as_seen",
        " AND i.callee_number <> i.callee_normalised",
    ),
];

/// The filter whose index is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driver {
    User,
    Extension,
    Interaction,
    Number,
    Disposition,
    Time,
}

/// A question that has been checked: its filters in the form they are stored in, its limit in range.
pub(super) struct Plan {
    query: CallQuery,
    reach: Reach,
    after: Option<Cursor>,
    /// Set when a prefix turned out to have many calls.
    pub wide_prefix: bool,
}

impl Plan {
    pub(super) fn new(scope: &Scope, query: &CallQuery) -> Result<Plan> {
        let after = query.after.as_deref().map(Cursor::parse).transpose()?;
        let mut query = query.clone();
        query.limit = query.limit.clamp(1, MAX_PAGE);
        if query.number == Some(NumberFilter::Prefix(String::new())) {
            query.number = None;
        }
        for name in [&mut query.user, &mut query.extension]
            .into_iter()
            .flatten()
        {
            *name = fit(name, NAME_BYTES).into_owned();
        }
        if let Some(NumberFilter::Exact(number) | NumberFilter::Prefix(number)) = &mut query.number
        {
            *number = fit(number, NAME_BYTES).into_owned();
        }
        if let Some(disposition) = &mut query.disposition {
            *disposition = fit(disposition.code(), CODE_BYTES).as_ref().into();
        }
        Ok(Plan {
            reach: Reach::of(scope, query.tenant),
            query,
            after,
            wide_prefix: false,
        })
    }

    pub(super) fn limit(&self) -> usize {
        self.query.limit as usize
    }

    fn driver(&self) -> Driver {
        let query = &self.query;
        let number = query.number.is_some() && !self.wide_prefix;
        // Most calls are recorded: over all tenants, time finds them as soon and without a look at each tenant.
        let disposition = match query.disposition {
            Some(Disposition::Recorded) => self.reach != Reach::All,
            Some(_) => true,
            None => false,
        };
        let drivers = [
            (query.user.is_some(), Driver::User),
            (query.extension.is_some(), Driver::Extension),
            (query.interaction.is_some(), Driver::Interaction),
            (number, Driver::Number),
            (disposition, Driver::Disposition),
        ];
        drivers
            .iter()
            .find(|(given, _)| *given)
            .map_or(Driver::Time, |(_, driver)| *driver)
    }

    /// A count, up to somewhat above [`NARROW_PREFIX`], of the calls under the prefix; none when no prefix would drive.
    pub(super) fn prefix_probe(&self) -> Option<QueryBuilder<Sqlite>> {
        let prefix = matches!(self.query.number, Some(NumberFilter::Prefix(_)));
        if !prefix || self.driver() != Driver::Number {
            return None;
        }
        let mut sql = QueryBuilder::new("SELECT count(*) FROM (SELECT 1 WHERE FALSE");
        for (column, index, only) in NUMBER_COLUMNS {
            sql.push(
                " UNION ALL SELECT * FROM (SELECT 1 FROM tenants t CROSS JOIN calls i INDEXED BY ",
            )
            .push(index);
            sql.push(" ON i.tenant_id = t.id WHERE ");
            self.push_number(&mut sql, "i", column);
            sql.push(only);
            self.reach.limit(&mut sql, "t.id");
            sql.push(" LIMIT ").push_bind(NARROW_PREFIX + 1).push(")");
        }
        sql.push(")");
        Some(sql)
    }

    /// The question as SQL. It gives one call more than the limit when there are more.
    pub(super) fn sql(&self) -> QueryBuilder<Sqlite> {
        let mut sql = QueryBuilder::new("SELECT ");
        sql.push(CALL_AND_TENANT);
        match self.driver() {
            Driver::Time => self.push_by_time(&mut sql),
            driver => {
                sql.push(" FROM tenants t CROSS JOIN calls c WHERE TRUE");
                self.reach.limit(&mut sql, "t.id");
                // The empty first part lets every branch start with UNION.
                sql.push(" AND c.call_row IN (SELECT 0 WHERE FALSE");
                self.push_branches(&mut sql, driver);
                sql.push(")");
            }
        }
        sql.push(ORDER).push_bind(i64::from(self.query.limit) + 1);
        sql
    }

    fn push_by_time(&self, sql: &mut QueryBuilder<Sqlite>) {
        let index = match self.reach {
            Reach::All => "calls_by_time",
            Reach::One(_) | Reach::Nothing => "calls_by_tenant",
        };
        sql.push(" FROM calls c INDEXED BY ").push(index);
        sql.push(" JOIN tenants t ON t.id = c.tenant_id WHERE TRUE");
        self.reach.limit(sql, "c.tenant_id");
        self.push_filters(sql, "c", Driver::Time);
    }

    fn push_branches(&self, sql: &mut QueryBuilder<Sqlite>, driver: Driver) {
        let query = &self.query;
        match driver {
            Driver::User => self.push_participant_branch(sql, driver, "user_name", &query.user),
            Driver::Extension => {
                self.push_participant_branch(sql, driver, "extension", &query.extension)
            }
            Driver::Interaction => {
                self.push_call_branch(sql, driver, "calls_by_interaction", |sql| {
                    sql.push("i.interaction_id = ")
                        .push_bind(query.interaction.map(|id| id.0));
                })
            }
            Driver::Disposition => {
                self.push_call_branch(sql, driver, "calls_by_disposition", |sql| {
                    let code = query
                        .disposition
                        .as_ref()
                        .map(|disposition| disposition.code().to_owned());
                    sql.push("i.disposition = ").push_bind(code);
                })
            }
            Driver::Number | Driver::Time => {
                for (column, index, only) in NUMBER_COLUMNS {
                    self.push_call_branch(sql, driver, index, |sql| {
                        self.push_number(sql, "i", column);
                        sql.push(only);
                    });
                }
            }
        }
    }

    /// The newest calls of tenant `t` that the driver's condition and all other filters let through.
    fn push_call_branch(
        &self,
        sql: &mut QueryBuilder<Sqlite>,
        driver: Driver,
        index: &'static str,
        condition: impl FnOnce(&mut QueryBuilder<Sqlite>),
    ) {
        sql.push(" UNION SELECT * FROM (SELECT i.call_row FROM calls i INDEXED BY ")
            .push(index);
        sql.push(" WHERE i.tenant_id = t.id AND ");
        condition(sql);
        self.push_filters(sql, "i", driver);
        sql.push(" ORDER BY i.started_at DESC, i.id DESC LIMIT ")
            .push_bind(i64::from(self.query.limit) + 1)
            .push(")");
    }

    fn push_participant_branch(
        &self,
        sql: &mut QueryBuilder<Sqlite>,
        driver: Driver,
        column: &'static str,
        name: &Option<String>,
    ) {
        let index = if driver == Driver::User {
            "participants_by_user"
        } else {
            "participants_by_extension"
        };
        sql.push(" UNION SELECT * FROM (SELECT i.call_row FROM participants p INDEXED BY ")
            .push(index);
        sql.push(" CROSS JOIN calls i ON i.call_row = p.call_row WHERE p.tenant_id = t.id AND p.")
            .push(column);
        sql.push(" = ").push_bind(name.clone());
        // Who called himself is found once.
        sql.push(" AND NOT EXISTS (SELECT 1 FROM participants q WHERE q.call_row = p.call_row");
        sql.push(" AND q.ordinal < p.ordinal AND q.")
            .push(column)
            .push(" = p.")
            .push(column)
            .push(")");
        self.push_times(sql, "p");
        self.push_filters(sql, "i", driver);
        sql.push(" ORDER BY p.started_at DESC, i.id DESC LIMIT ")
            .push_bind(i64::from(self.query.limit) + 1)
            .push(")");
    }

    fn push_times(&self, sql: &mut QueryBuilder<Sqlite>, table: &'static str) {
        let CallQuery { from, to, .. } = &self.query;
        if let Some(from) = from {
            sql.push(format_args!(" AND {table}.started_at >= "))
                .push_bind(from.as_nanos());
        }
        if let Some(to) = to {
            sql.push(format_args!(" AND {table}.started_at < "))
                .push_bind(to.as_nanos());
        }
        if let Some(after) = self.after {
            sql.push(format_args!(" AND {table}.started_at <= "))
                .push_bind(after.started_at.as_nanos());
        }
    }

    /// Every filter but the one that drives, on the calls that are named `calls`.
    fn push_filters(&self, sql: &mut QueryBuilder<Sqlite>, calls: &'static str, driver: Driver) {
        let query = &self.query;
        self.push_times(sql, calls);
        if let Some(after) = self.after {
            sql.push(format_args!(
                " AND ({calls}.started_at, {calls}.id, {calls}.tenant_id) < ("
            ));
            sql.push_bind(after.started_at.as_nanos())
                .push(", ")
                .push_bind(after.id)
                .push(", ");
            sql.push_bind(after.tenant.0).push(")");
        }
        if query.number.is_some() && driver != Driver::Number {
            let mut word = " AND (";
            for (column, ..) in NUMBER_COLUMNS {
                sql.push(std::mem::replace(&mut word, " OR "));
                self.push_number(sql, calls, column);
            }
            sql.push(")");
        }
        let user = query.user.as_ref().filter(|_| driver != Driver::User);
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
                .push_bind(name.as_str())
                .push(")");
        }
        self.push_plain_filters(sql, calls);
    }

    /// The filters that look at one column of the call.
    fn push_plain_filters(&self, sql: &mut QueryBuilder<Sqlite>, calls: &'static str) {
        let query = &self.query;
        if let Some(interaction) = query.interaction {
            sql.push(format_args!(" AND {calls}.interaction_id = "))
                .push_bind(interaction.0);
        }
        if let Some(disposition) = &query.disposition {
            sql.push(format_args!(" AND {calls}.disposition = "))
                .push_bind(disposition.code());
        }
        if query.recorded_only {
            sql.push(format_args!(" AND {calls}.file_path IS NOT NULL"));
        }
        if query.min_length_ms > 0 {
            let least = i64::try_from(query.min_length_ms).unwrap_or(i64::MAX);
            sql.push(format_args!(" AND {calls}.length_ms >= "))
                .push_bind(least);
        }
        if let Some(below) = query.mos_below {
            sql.push(format_args!(" AND {calls}.mos < "))
                .push_bind(below);
        }
    }

    /// The condition that this column is the number, or starts with the prefix. A range, not LIKE: it has no wildcards,
    /// minds upper and lower case, and reads the index.
    fn push_number(
        &self,
        sql: &mut QueryBuilder<Sqlite>,
        calls: &'static str,
        column: &'static str,
    ) {
        match &self.query.number {
            None => {
                sql.push("TRUE");
            }
            Some(NumberFilter::Exact(number)) => {
                sql.push(format_args!("{calls}.{column} = "))
                    .push_bind(number.as_str());
            }
            Some(NumberFilter::Prefix(prefix)) => {
                sql.push(format_args!("({calls}.{column} >= "))
                    .push_bind(prefix.as_str());
                if let Some(bound) = after_prefix(prefix) {
                    sql.push(format_args!(" AND {calls}.{column} < "))
                        .push_bind(bound);
                }
                sql.push(")");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use uuid::Uuid;

    use super::super::testing::*;
    use super::super::{CallRecord, Catalog};
    use super::*;
    use crate::base::{InteractionId, TenantId, Timestamp};

    fn any_query() -> impl Strategy<Value = CallQuery> {
        use proptest::option::{of, weighted};
        let time = || weighted(0.3, (-1..9i64).prop_map(Timestamp::from_nanos));
        let name = || weighted(0.2, "[ab%_]");
        let number = weighted(0.5, (any::<bool>(), any_number()));
        let rest = (
            weighted(0.2, 0..4u128),
            weighted(0.2, any_disposition()),
            any::<bool>(),
            0..2u64,
            1..6u32,
            weighted(0.2, Just(4.0)),
        );
        (of(0..13u128), time(), time(), number, name(), name(), rest).prop_map(
            |(owner, from, to, number, user, extension, rest)| CallQuery {
                tenant: owner.filter(|_| user.is_some()).map(tenant),
                from,
                to,
                number: number.map(|(exact, number)| match exact {
                    true => NumberFilter::Exact(number),
                    false => NumberFilter::Prefix(number),
                }),
                user,
                extension,
                interaction: rest.0.map(|id| InteractionId(Uuid::from_u128(id))),
                disposition: rest.1,
                recorded_only: rest.2,
                min_length_ms: rest.3,
                mos_below: rest.5,
                limit: rest.4,
                after: None,
            },
        )
    }

    fn any_scope() -> impl Strategy<Value = Scope> {
        prop_oneof![
            Just(Scope::root()),
            (0..13u128).prop_map(|owner| Scope::tenant(tenant(owner)))
        ]
    }

    fn keys(calls: &[CallRecord]) -> Vec<(Timestamp, Uuid, TenantId)> {
        calls
            .iter()
            .map(|call| (call.started_at, call.id, call.tenant))
            .collect()
    }

    async fn all_pages(catalog: &Catalog, scope: &Scope, query: &CallQuery) -> Vec<CallRecord> {
        let (mut query, mut calls) = (query.clone(), Vec::new());
        loop {
            let page = catalog.calls(scope, &query).await.unwrap();
            assert!(page.calls.len() <= query.limit as usize);
            assert!(page.next.is_none() || page.calls.len() == query.limit as usize);
            calls.extend(page.calls);
            match page.next {
                Some(next) => {
                    assert_ne!(
                        query.after,
                        Some(next.clone()),
                        "the page after this one is this one"
                    );
                    query.after = Some(next);
                }
                None => return calls,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn pages_hold_what_a_plain_filter_finds_once_and_in_order(
            calls in any_calls(),
            questions in proptest::collection::vec((any_scope(), any_query()), 12),
        ) {
            block_on(async {
                let catalog = in_memory().await;
                catalog.record(&calls).await.unwrap();
                for (scope, query) in &questions {
                    let mut expected: Vec<CallRecord> =
                        calls.iter().filter(|call| scope.covers(call.tenant) && holds(query, call)).cloned().collect();
                    expected.sort_by_key(|call| std::cmp::Reverse((call.started_at, call.id, call.tenant)));
                    let found = all_pages(&catalog, scope, query).await;
                    prop_assert_eq!(keys(&found), keys(&expected), "{:?} {:?}", scope, query);
                }
                Ok(())
            })?;
        }

        #[test]
        fn a_tenants_answers_hold_nothing_of_another_tenant(
            calls in any_calls(),
            own in 0..13u128,
            queries in proptest::collection::vec((any_query(), proptest::option::of(0..40usize)), 8),
        ) {
            let mut calls = calls;
            calls.iter_mut().for_each(mark);
            let (own, scope) = (tenant(own), Scope::tenant(tenant(own)));
            block_on(async {
                let catalog = in_memory().await;
                catalog.record(&calls).await.unwrap();
                let mut answers = String::new();
                for (mut query, after) in queries {
                    let after = after.and_then(|at| calls.get(at));
                    query.after = after.map(|call| Cursor::behind(call).to_text());
                    answers += &format!("{:?}", catalog.calls(&scope, &query).await.unwrap());
                    let (from, to) = (query.from, query.to);
                    let counts = catalog.dispositions(&scope, from, to).await.unwrap();
                    let inside = |call: &&CallRecord| {
                        from.is_none_or(|from| call.started_at >= from) && to.is_none_or(|to| call.started_at < to)
                    };
                    let expected = calls.iter().filter(|call| call.tenant == own).filter(inside).count() as u64;
                    prop_assert_eq!(counts.iter().map(|(_, calls)| calls).sum::<u64>(), expected);
                }
                for call in &calls {
                    answers += &format!("{:?}", catalog.call(&scope, call.id).await.unwrap());
                    answers += &format!("{:?}", catalog.files(&scope, Some((call.tenant, call.id)), 99).await.unwrap());
                    if let Some(id) = call.interaction {
                        let seen = catalog.interaction(&scope, id).await.unwrap();
                        prop_assert!(seen.iter().all(|row| row.tenant == own));
                    }
                }
                answers += &format!("{:?}", catalog.files(&scope, None, 99).await.unwrap());
                answers += &format!("{:?}", catalog.tenants(&scope).await.unwrap());
                for other in calls.iter().map(|call| call.tenant).filter(|other| *other != own) {
                    prop_assert!(!answers.contains(&canary(other)), "{} sees {}: {}", own, other, answers);
                    prop_assert!(!answers.contains(&other.to_string()), "{} sees {}: {}", own, other, answers);
                }
                Ok(())
            })?;
        }
    }

    fn canary(owner: TenantId) -> String {
        format!("canary of {owner}")
    }

    /// Writes the owner into every text of the call that is not looked for.
    fn mark(call: &mut CallRecord) {
        let canary = canary(call.tenant);
        for text in [
            &mut call.tenant_name,
            &mut call.sip_call_id,
            &mut call.sensor,
            &mut call.vantage,
            &mut call.end_reason,
            &mut call.codec,
            &mut call.parties.caller.display,
            &mut call.parties.callee.display,
        ] {
            text.clone_from(&canary);
        }
        call.attribution = serde_json::json!({ "canary": canary });
        if let Some(file) = &mut call.file {
            file.path = format!("{canary}/{}", call.id);
            file.format.clone_from(&canary);
        }
        for who in &mut call.participants {
            (who.number, who.display) = (canary.clone(), canary.clone());
        }
    }

    #[tokio::test]
    async fn who_called_himself_is_found_once_and_hides_nobody() {
        let catalog = in_memory().await;
        let to_self = |number| {
            let mut call = call(1, number);
            call.participants = vec![call.participants[0].clone(); 2];
            call
        };
        let calls: Vec<_> = (0..7).map(to_self).collect();
        catalog.record(&calls).await.unwrap();
        let user = CallQuery {
            user: Some("alice".into()),
            limit: 2,
            ..CallQuery::default()
        };
        let extension = CallQuery {
            extension: Some("1001".into()),
            limit: 2,
            ..CallQuery::default()
        };
        for query in [user, extension] {
            assert_eq!(all_pages(&catalog, &Scope::root(), &query).await.len(), 7);
        }
    }

    #[tokio::test]
    async fn wildcards_and_quotes_stand_for_themselves() {
        let catalog = in_memory().await;
        let mut odd = call(1, 1);
        odd.parties.caller.number = "100%_'; DROP TABLE calls; --".into();
        catalog.record(&[odd.clone(), call(1, 2)]).await.unwrap();
        let find = async |prefix: &str| {
            let number = Some(NumberFilter::Prefix(prefix.into()));
            catalog
                .calls(
                    &Scope::root(),
                    &CallQuery {
                        number,
                        ..CallQuery::default()
                    },
                )
                .await
                .unwrap()
                .calls
        };
        assert_eq!(find("100%_'").await, [odd]);
        assert_eq!(find("%").await, []);
        assert_eq!(find("1__").await, []);
        assert_eq!(find("").await.len(), 2);
    }
}
