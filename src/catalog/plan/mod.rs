//! A question as SQL.
//!
//! SQLite would choose its indexes without knowing how many calls a number or a user has (and takes the wrong one on the
//! second page), so the choice is made here, with INDEXED BY: a question is driven by its most telling filter, read in
//! the order of the answer from the index that has it, tenant by tenant. Where several filters could drive, those that
//! have few calls are found by counting, no further than [`NARROW`].
//!
//! Whatever is asked for is bound; the text of the statement is made of constants alone.

mod branches;
mod filters;
mod groups;
mod newest;
mod words;

use sqlx::{QueryBuilder, Sqlite};

use words::words_of;

use super::query::Cursor;
use super::reach::{Reach, Tenants, Whose};
use super::row::CALL_AND_TENANT;
use super::text::{CODE_BYTES, LINE_BYTES, NAME_BYTES, fit};
use super::{CallQuery, CallState, Disposition, MAX_PAGE, NumberFilter, Result};
use crate::access::Scope;
use crate::base::{GroupId, TenantId};

/// How many calls a filter may have to be driven by though others could; a wider one finds its page sooner by reading
/// calls in the order of the answer. The tests have few calls.
pub(super) const NARROW: i64 = if cfg!(test) { 5 } else { 2000 };

/// How many users of groups are looked at one by one. More than these find their page sooner by reading all calls.
const FEW_USERS: i64 = if cfg!(test) { 2 } else { 5000 };

/// How many notes may have the words that are looked for before it is sooner to read the tenant's notes by time.
const FEW_NOTES: i64 = if cfg!(test) { 2 } else { 100 };

/// The filter whose index is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driver {
    User,
    Extension,
    Interaction,
    Number(Party),
    Category,
    Notes,
    /// The same, by the time of their calls: for words that many notes have.
    NotesByTime,
    Held,
    Pinned,
    Deleted,
    Disposition,
    Groups,
    /// Nothing but the order of the answer.
    Order,
}

/// Which numbers of a call a filter looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Party {
    Caller,
    Callee,
    Either,
}

/// A question that has been checked: its filters in the form they are stored in, its limit in range.
pub(super) struct Plan {
    query: CallQuery,
    reach: Reach,
    after: Option<Cursor>,
    /// The words that notes are searched for, as FTS5 wants them but for the tenant; none when notes are not asked about.
    words: Option<String>,
    driver: Driver,
    /// Users of the groups, as far as they were counted.
    users: i64,
    reads_edge_from_index: bool,
    /// What drives when a page of the newest of a number came out short.
    unabridged: Option<Driver>,
}

impl Plan {
    pub(super) fn new(scope: &Scope, query: &CallQuery) -> Result<Plan> {
        let sort = query.sort;
        let after = query.after.as_deref();
        let after = after.map(|text| Cursor::parse(text, sort)).transpose()?;
        let query = as_stored(query);
        let reach = Reach::of(scope, query.tenant);
        let mut plan = Plan {
            words: query.notes.as_deref().map(words_of),
            query,
            reach,
            after,
            driver: Driver::Order,
            users: 0,
            reads_edge_from_index: false,
            unabridged: None,
        };
        plan.driver = plan.usual_driver();
        Ok(plan)
    }

    pub(super) fn limit(&self) -> usize {
        self.query.limit as usize
    }

    /// The tenant of the group that was asked for, where only that tells which tenant it is.
    pub(super) fn group_to_place(&self) -> Option<GroupId> {
        self.query
            .group
            .filter(|_| self.reach.tenants == Tenants::All)
    }

    /// Takes the question to the tenant of its group; to nobody's calls when there is no such group.
    pub(super) fn place_group(&mut self, tenant: Option<TenantId>) {
        self.reach.tenants = tenant.map_or(Tenants::Nothing, Tenants::One);
    }

    fn number_of(&self, party: Party) -> Option<&NumberFilter> {
        match party {
            Party::Caller => self.query.caller.as_ref(),
            Party::Callee => self.query.callee.as_ref(),
            Party::Either => self.query.number.as_ref(),
        }
    }

    /// What could drive, the most telling first.
    fn drivers(&self) -> Vec<Driver> {
        let query = &self.query;
        let number = |party| (self.number_of(party).is_some(), Driver::Number(party));
        let exact = |party| matches!(self.number_of(party), Some(NumberFilter::Exact(_)));
        let exact_first = |(a, b): (Party, Party)| match exact(b) && !exact(a) {
            true => [number(b), number(a)],
            false => [number(a), number(b)],
        };
        let [first, second] = exact_first((Party::Caller, Party::Callee));
        let is_state = |state| query.state == Some(state);
        // Most calls are recorded: over all tenants, time finds them as soon and without a look at each tenant.
        let disposition = match query.disposition {
            Some(Disposition::Recorded) => self.reach.tenants != Tenants::All,
            Some(_) => true,
            None => false,
        };
        let of_groups = query.group.is_some() || matches!(self.reach.whose, Whose::Groups(_));
        let possible = [
            (query.interaction.is_some(), Driver::Interaction),
            (self.words.is_some(), Driver::Notes),
            (is_state(CallState::Held), Driver::Held),
            (is_state(CallState::Pinned), Driver::Pinned),
            (is_state(CallState::Deleted), Driver::Deleted),
            (self.login().is_some(), Driver::User),
            (query.extension.is_some(), Driver::Extension),
            number(Party::Either),
            first,
            second,
            (query.category.is_some(), Driver::Category),
            (disposition, Driver::Disposition),
            (of_groups, Driver::Groups),
        ];
        possible
            .into_iter()
            .filter_map(|(given, driver)| given.then_some(driver))
            .collect()
    }

    /// What drives when nothing is known of how many calls each filter has.
    fn usual_driver(&self) -> Driver {
        let by_order = self.query.sort.column().is_some();
        self.drivers()
            .into_iter()
            .find(|driver| match driver {
                // In another order all calls of the filter would have to be looked at.
                Driver::Number(_) | Driver::Disposition | Driver::Groups => !by_order,
                _ => true,
            })
            .unwrap_or(Driver::Order)
    }

    /// The login whose calls are asked for: by the scope, or by the question.
    fn login(&self) -> Option<&str> {
        match &self.reach.whose {
            Whose::User(login) => Some(login),
            _ => self.query.user.as_deref(),
        }
    }

    /// Filters whose calls are worth counting, for [`Plan::settle`]: each with a statement that counts no further than a
    /// little over [`NARROW`]. None where there is nothing to choose.
    pub(super) fn probes(&self) -> Vec<QueryBuilder<Sqlite>> {
        self.probed()
            .into_iter()
            .map(|driver| self.probe(driver))
            .collect()
    }

    fn probed(&self) -> Vec<Driver> {
        let drivers = self.drivers();
        let is_prefix = |driver: &Driver| match driver {
            Driver::Number(party) => {
                matches!(self.number_of(*party), Some(NumberFilter::Prefix(_)))
            }
            _ => false,
        };
        let may_be_wide =
            |driver: &Driver| is_prefix(driver) || matches!(driver, Driver::Notes | Driver::Groups);
        match drivers.as_slice() {
            // In the order of time an index finds the page, however many there are.
            [only] if self.query.sort.column().is_none() && !may_be_wide(only) => Vec::new(),
            _ => drivers,
        }
    }

    /// Takes the counts that [`Plan::probes`] asked for, in their order.
    pub(super) fn settle(&mut self, counts: &[i64]) {
        let probed = self.probed();
        let counted = || probed.iter().zip(counts);
        if let Some((driver, count)) = counted().find(|(driver, _)| self.is_newest_of(**driver)) {
            return self.settle_newest(*driver, *count);
        }
        let narrowest = counted()
            .filter(|(driver, count)| **driver != Driver::Groups && **count <= NARROW)
            .min_by_key(|(_, count)| **count);
        if let Some((driver, count)) = narrowest {
            self.driver = self.in_time(*driver, *count);
            return;
        }
        let is_wide = |driver: &Driver| match driver {
            Driver::Number(party) => {
                matches!(self.number_of(*party), Some(NumberFilter::Prefix(_)))
            }
            Driver::Groups => {
                counted().any(|(counted, count)| *counted == Driver::Groups && *count > FEW_USERS)
            }
            _ => false,
        };
        let by_order = self.query.sort.column().is_some();
        let left = probed.iter().find(|driver| match driver {
            Driver::Number(_) | Driver::Disposition | Driver::Groups if by_order => false,
            driver => !is_wide(driver),
        });
        let users = counted().find(|(driver, _)| **driver == Driver::Groups);
        let users = users.map_or(0, |(_, count)| *count);
        if !probed.is_empty() {
            let driver = left.copied().unwrap_or(Driver::Order);
            self.driver = self.in_time(driver, i64::MAX);
        }
        self.users = users;
        self.reads_edge_from_index = self.driver == Driver::Groups && self.is_of_groups_only();
    }

    /// The driver, or how it is read in the order of time when so many rows are too many to be put in order.
    fn in_time(&self, driver: Driver, count: i64) -> Driver {
        let by_time = self.query.sort.column().is_none();
        match driver {
            Driver::Notes if by_time && count > FEW_NOTES => Driver::NotesByTime,
            _ => driver,
        }
    }

    /// After a page of so many rows: whether it may have come out short, and has to be asked for again.
    pub(super) fn is_to_be_asked_again(&mut self, rows: usize) -> bool {
        let short = rows <= self.limit();
        let unabridged = self.unabridged.take();
        if let Some(driver) = unabridged {
            self.driver = driver;
        }
        (std::mem::take(&mut self.reads_edge_from_index) || unabridged.is_some()) && short
    }

    /// The question as SQL. It gives one call more than the limit when there are more.
    pub(super) fn sql(&self) -> QueryBuilder<Sqlite> {
        let mut sql = QueryBuilder::new("");
        if self.driver == Driver::Groups {
            self.push_edge(&mut sql);
        }
        if let (Driver::Number(party), Some(_)) = (self.driver, self.unabridged) {
            self.push_newest(&mut sql, party);
        }
        sql.push("SELECT ").push(CALL_AND_TENANT);
        match self.driver {
            Driver::Order if self.query.sort.column().is_none() => self.push_by_time(&mut sql),
            driver => {
                sql.push(" FROM tenants t CROSS JOIN calls c WHERE TRUE");
                self.reach.limit(&mut sql, "t.id");
                // The empty first part lets every branch start with UNION.
                sql.push(" AND c.call_row IN (SELECT 0 WHERE FALSE");
                self.push_branches(&mut sql, driver);
                sql.push(")");
            }
        }
        self.push_order(&mut sql, "c");
        sql.push(self.direction("c.tenant_id"));
        self.push_limit(&mut sql);
        sql
    }

    fn push_by_time(&self, sql: &mut QueryBuilder<Sqlite>) {
        let index = match self.reach.tenants {
            Tenants::All => "calls_by_time",
            Tenants::One(_) | Tenants::Nothing => "calls_by_tenant",
        };
        sql.push(" FROM calls c INDEXED BY ").push(index);
        sql.push(" JOIN tenants t ON t.id = c.tenant_id WHERE TRUE");
        self.reach.limit(sql, "c.tenant_id");
        self.push_filters(sql, "c", Driver::Order);
    }

    /// `ORDER BY` what the answer is ordered by, but for the tenant.
    fn push_order(&self, sql: &mut QueryBuilder<Sqlite>, calls: &'static str) {
        let way = self.way();
        sql.push(" ORDER BY ");
        if let Some(column) = self.query.sort.column() {
            sql.push(format_args!("{calls}.{column} {way}, "));
        }
        sql.push(format_args!("{calls}.started_at {way}, {calls}.id {way}"));
    }

    fn direction(&self, column: &'static str) -> String {
        format!(", {column} {}", self.way())
    }

    fn way(&self) -> &'static str {
        match self.query.sort.is_descending() {
            true => "DESC",
            false => "ASC",
        }
    }

    /// With a sign before the number: a statement whose LIMIT is a bare parameter is prepared anew each time it is run,
    /// for SQLite plans by the number (`sqlite3ExprIsInteger`).
    fn push_limit(&self, sql: &mut QueryBuilder<Sqlite>) {
        sql.push(" LIMIT +")
            .push_bind(i64::from(self.query.limit) + 1);
    }
}

/// The question with its texts as they would be stored, and without filters that filter nothing.
fn as_stored(query: &CallQuery) -> CallQuery {
    let mut query = query.clone();
    query.limit = query.limit.clamp(1, MAX_PAGE);
    for number in [&mut query.number, &mut query.caller, &mut query.callee] {
        match number {
            Some(NumberFilter::Prefix(prefix)) if prefix.is_empty() => *number = None,
            Some(NumberFilter::Exact(text) | NumberFilter::Prefix(text)) => {
                *text = fit(text, NAME_BYTES).into_owned();
            }
            None => {}
        }
    }
    for name in [&mut query.user, &mut query.extension]
        .into_iter()
        .flatten()
    {
        *name = fit(name, NAME_BYTES).into_owned();
    }
    if let Some(disposition) = &mut query.disposition {
        *disposition = fit(disposition.code(), CODE_BYTES).as_ref().into();
    }
    if let Some(codec) = &mut query.codec {
        *codec = fit(codec, LINE_BYTES).to_ascii_lowercase();
    }
    query
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use uuid::Uuid;

    use super::super::testing::*;
    use super::super::{CallRecord, Catalog, Sort};
    use super::*;
    use crate::access::AccessLevel;
    use crate::base::{InteractionId, TenantId, Timestamp};

    fn any_number_filter() -> impl Strategy<Value = NumberFilter> {
        (any::<bool>(), any_number()).prop_map(|(exact, number)| match exact {
            true => NumberFilter::Exact(number),
            false => NumberFilter::Prefix(number),
        })
    }

    fn any_query() -> impl Strategy<Value = CallQuery> {
        use proptest::option::{of, weighted};
        let time = || weighted(0.3, (-1..9i64).prop_map(Timestamp::from_nanos));
        let name = || weighted(0.2, "[ab%_]");
        let party = || weighted(0.15, any_number_filter());
        let numbers = (weighted(0.4, any_number_filter()), party(), party());
        let rest = (
            weighted(0.2, 0..4u128),
            weighted(0.2, any_disposition()),
            any::<bool>(),
            0..2u64,
            1..6u32,
            weighted(0.2, Just(4.0)),
        );
        let more = (
            weighted(0.1, any_direction()),
            weighted(0.3, any_state()),
            weighted(0.1, 0..3u64),
            weighted(0.1, Just(3.5)),
            weighted(
                0.1,
                prop_oneof![
                    Just("pcma"),
                    Just("OPUS"),
                    Just("g722"),
                    Just("48000"),
                    Just("")
                ],
            ),
            weighted(0.15, (0..3u128).prop_map(category)),
            weighted(0.15, "(ca|CATA|dog|fish|ete|'|)( fi| E)?"),
            any_sort(),
            weighted(0.15, (0..3u128).prop_map(group)),
        );
        (
            of(0..13u128),
            time(),
            time(),
            numbers,
            name(),
            name(),
            rest,
            more,
        )
            .prop_map(
                |(owner, from, to, (number, caller, callee), user, extension, rest, more)| {
                    CallQuery {
                        tenant: owner.filter(|_| user.is_some()).map(tenant),
                        from,
                        to,
                        number,
                        caller,
                        callee,
                        user,
                        group: None,
                        extension,
                        interaction: rest.0.map(|id| InteractionId(Uuid::from_u128(id))),
                        direction: more.0,
                        disposition: rest.1,
                        state: more.1,
                        recorded_only: rest.2,
                        min_length_ms: rest.3,
                        max_length_ms: more.2,
                        mos_below: rest.5,
                        mos_at_least: more.3,
                        codec: more.4.map(str::to_owned),
                        category: more.5,
                        notes: more.6,
                        sort: more.7,
                        limit: rest.4,
                        after: None,
                    }
                },
            )
    }

    /// A question that asks for nothing but calls of numbers that begin alike, or for words of notes.
    fn any_plain_query() -> impl Strategy<Value = CallQuery> {
        use proptest::option::weighted;
        let time = || weighted(0.3, (-1..9i64).prop_map(Timestamp::from_nanos));
        let number = || any_number().prop_map(|number| Some(NumberFilter::Prefix(number)));
        let plain = CallQuery::default;
        let asked = prop_oneof![
            2 => number().prop_map(move |number| CallQuery { number, ..plain() }),
            1 => number().prop_map(move |caller| CallQuery { caller, ..plain() }),
            1 => number().prop_map(move |callee| CallQuery { callee, ..plain() }),
            2 => "(ca|d|fi|e)".prop_map(move |notes| CallQuery { notes: Some(notes), ..plain() }),
        ];
        let sort = prop_oneof![2 => Just(Sort::Newest), 2 => Just(Sort::Oldest), 1 => any_sort()];
        (asked, time(), time(), sort, 1..6u32).prop_map(|(asked, from, to, sort, limit)| {
            CallQuery {
                from,
                to,
                sort,
                limit,
                ..asked
            }
        })
    }

    fn any_tenants_scope() -> impl Strategy<Value = Scope> {
        prop_oneof![
            1 => (0..13u128).prop_map(|owner| Scope::tenant(tenant(owner))),
            3 => any::<bool>().prop_map(|all| scope_of(AccessLevel::System, "a", &[], all)),
        ]
    }

    fn any_state() -> impl Strategy<Value = CallState> {
        prop_oneof![
            Just(CallState::Recorded),
            Just(CallState::None),
            Just(CallState::Held),
            Just(CallState::Pinned),
            Just(CallState::Deleted),
        ]
    }

    fn any_sort() -> impl Strategy<Value = Sort> {
        prop_oneof![
            3 => Just(Sort::Newest),
            1 => Just(Sort::Oldest),
            1 => Just(Sort::Longest),
            1 => Just(Sort::Shortest),
            1 => Just(Sort::BestHeard),
            1 => Just(Sort::WorstHeard),
        ]
    }

    fn any_scope() -> impl Strategy<Value = Scope> {
        let groups = proptest::collection::vec((0..3u128).prop_map(group), 0..3);
        prop_oneof![
            1 => Just(Scope::root()),
            1 => (0..13u128).prop_map(|owner| Scope::tenant(tenant(owner))),
            1 => any::<bool>().prop_map(|all| scope_of(AccessLevel::System, "a", &[], all)),
            2 => ("[ab%]", any::<bool>()).prop_map(|(login, all)| scope_of(AccessLevel::User, &login, &[], all)),
            2 => (groups, any::<bool>())
                .prop_map(|(groups, all)| scope_of(AccessLevel::ManagedGroups, "a", &groups, all)),
        ]
    }

    fn keys<'a>(
        calls: impl IntoIterator<Item = &'a CallRecord>,
    ) -> Vec<(Timestamp, Uuid, TenantId)> {
        calls
            .into_iter()
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
            added in proptest::collection::vec(any_added(), 60),
            questions in proptest::collection::vec((any_scope(), any_query()), 16),
            plain in proptest::collection::vec((any_tenants_scope(), any_plain_query()), 12),
        ) {
            block_on(async {
                let catalog = in_memory().await;
                catalog.record(&calls).await.unwrap();
                add(&catalog, &calls, &added).await;
                for (scope, query) in questions.iter().chain(&plain) {
                    let fits = |(call, added): &(&CallRecord, &Added)| shows(scope, call) && holds(query, call, added);
                    let mut expected: Vec<&CallRecord> =
                        calls.iter().zip(&added).filter(fits).map(|(call, _)| call).collect();
                    expected.sort_by_key(|call| rank(query.sort, call));
                    if query.sort.is_descending() {
                        expected.reverse();
                    }
                    let found = all_pages(&catalog, scope, query).await;
                    prop_assert_eq!(keys(&found), keys(expected.into_iter()), "{:?} {:?}", scope, query);
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
                    query.after = after.map(|call| Cursor::behind(call, query.sort).to_text());
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
