//! The part of a question that its driver answers: numbers of rows, the first in the order of the answer.

use sqlx::{QueryBuilder, Sqlite};

use super::words::TENANT;
use super::{Driver, NARROW, Party, Plan};
use crate::catalog::reach::{Tenants, Whose};

/// The columns a number is looked for in, their indexes, and what those leave out.
const NUMBER_COLUMNS: [(Party, &str, &str, &str); 4] = [
    (Party::Caller, "caller_normalised", "calls_by_caller", ""),
    (Party::Callee, "callee_normalised", "calls_by_callee", ""),
    (
        Party::Caller,
        "caller_number",
        "calls_by_caller_as_seen",
        " AND i.caller_number <> i.caller_normalised",
    ),
    (
        Party::Callee,
        "callee_number",
        "calls_by_callee_as_seen",
        " AND i.callee_number <> i.callee_normalised",
    ),
];

/// Of those, the ones that are of this party.
pub(super) fn number_columns(
    party: Party,
) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    NUMBER_COLUMNS
        .into_iter()
        .filter(move |(of, ..)| party == Party::Either || party == *of)
        .map(|(_, column, index, only)| (column, index, only))
}

/// Rows of another table that name calls: how they are found, and what joins them to the call `i`.
struct Source {
    from: &'static str,
    join: &'static str,
    /// The name of the row that has the call's start in the index; none: the call's own is in no index that is read.
    at: Option<&'static str>,
}

const BY_CALL_ROW: &str = " CROSS JOIN calls i ON i.call_row = n.call_row";
const BY_CALL_ID: &str = " CROSS JOIN calls i ON i.tenant_id = n.tenant_id AND i.id = n.call_id";

impl Plan {
    pub(super) fn push_branches(&self, sql: &mut QueryBuilder<Sqlite>, driver: Driver) {
        match driver {
            Driver::Number(_) if self.unabridged.is_some() => self.push_newest_branch(sql, driver),
            Driver::Number(party) => {
                for (column, index, only) in number_columns(party) {
                    self.push_call_branch(sql, driver, index, |sql| {
                        self.push_number(sql, "i", column, self.number_of(party));
                        sql.push(only);
                    });
                }
            }
            Driver::Groups => self.push_group_branch(sql),
            Driver::Interaction | Driver::Disposition | Driver::Deleted | Driver::Order => {
                self.push_call_branch(sql, driver, self.index(driver), |sql| {
                    self.push_condition(sql, driver)
                });
            }
            _ => self.push_source_branch(sql, driver),
        }
    }

    /// The index of `calls` that a driver reads.
    fn index(&self, driver: Driver) -> &'static str {
        match driver {
            Driver::Interaction => "calls_by_interaction",
            Driver::Disposition => "calls_by_disposition",
            Driver::Deleted => "calls_by_deletion",
            _ => match self.query.sort.column() {
                Some("mos") => "calls_by_mos",
                Some(_) => "calls_by_length",
                None => "calls_by_tenant",
            },
        }
    }

    fn push_condition(&self, sql: &mut QueryBuilder<Sqlite>, driver: Driver) {
        let query = &self.query;
        match driver {
            Driver::Interaction => {
                sql.push("i.interaction_id = ")
                    .push_bind(query.interaction.map(|id| id.0));
            }
            Driver::Disposition => {
                let code = query.disposition.as_ref();
                sql.push("i.disposition = ")
                    .push_bind(code.map(|disposition| disposition.code().to_owned()));
            }
            Driver::Deleted => {
                sql.push("i.deleted_at IS NOT NULL");
            }
            _ => {
                sql.push("TRUE");
            }
        }
    }

    /// The first calls of tenant `t` that the driver's condition and all other filters let through.
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
        self.push_order(sql, "i");
        self.push_limit(sql);
        sql.push(")");
    }

    fn source(driver: Driver) -> Source {
        let (from, join, at) = match driver {
            Driver::User => (
                "participants n INDEXED BY participants_by_user",
                BY_CALL_ROW,
                Some("n"),
            ),
            Driver::Extension => (
                "participants n INDEXED BY participants_by_extension",
                BY_CALL_ROW,
                Some("n"),
            ),
            Driver::Category => (
                "categorized_calls n INDEXED BY categorized_calls_by_category",
                BY_CALL_ID,
                Some("n"),
            ),
            Driver::Held => (
                "call_holds n INDEXED BY call_holds_by_time",
                BY_CALL_ID,
                Some("n"),
            ),
            Driver::Pinned => (
                "call_notes n INDEXED BY call_notes_pinned",
                BY_CALL_ID,
                Some("n"),
            ),
            Driver::NotesByTime => (
                "call_notes n INDEXED BY call_notes_by_time",
                BY_CALL_ID,
                Some("n"),
            ),
            _ => (
                "note_words w CROSS JOIN call_notes n ON n.note_row = w.rowid",
                BY_CALL_ID,
                None,
            ),
        };
        Source { from, join, at }
    }

    /// What the rows `n` of another table are found by, of tenant `t`.
    fn push_source_condition(&self, sql: &mut QueryBuilder<Sqlite>, driver: Driver) {
        sql.push(" n.tenant_id = t.id");
        match driver {
            Driver::User => {
                sql.push(" AND n.user_name = ")
                    .push_bind(self.login().map(str::to_owned));
            }
            Driver::Extension => {
                sql.push(" AND n.extension = ")
                    .push_bind(self.query.extension.clone());
            }
            Driver::Category => {
                sql.push(" AND n.category_id = ")
                    .push_bind(self.query.category);
            }
            Driver::Pinned => {
                sql.push(" AND n.pinned = 1");
            }
            Driver::Notes => self.push_words(sql),
            Driver::NotesByTime => self.push_has_words(sql, "n"),
            _ => {}
        }
    }

    /// The condition on `w`, the words of a note of tenant `t`: what others wrote is not read.
    fn push_words(&self, sql: &mut QueryBuilder<Sqlite>) {
        match self.words.as_deref() {
            None | Some("") => {
                sql.push(" AND FALSE");
            }
            Some(words) => {
                sql.push(" AND w.note_words MATCH replace(")
                    .push_bind(words.to_owned())
                    .push(format_args!(", '{TENANT}', hex(t.id))"));
            }
        }
    }

    /// `FROM` and `WHERE` of the words `w` that are looked for, of the tenants that are reached.
    fn push_words_of_reach(&self, sql: &mut QueryBuilder<Sqlite>) {
        sql.push(" FROM tenants t CROSS JOIN note_words w WHERE TRUE");
        self.push_words(sql);
        self.reach.limit(sql, "t.id");
    }

    /// The condition that the note `notes` has the words: such notes are found once for the question, not for each tenant
    /// or note.
    pub(super) fn push_has_words(&self, sql: &mut QueryBuilder<Sqlite>, notes: &'static str) {
        sql.push(format_args!(" AND {notes}.note_row IN (SELECT w.rowid"));
        self.push_words_of_reach(sql);
        sql.push(")");
    }

    fn push_source_branch(&self, sql: &mut QueryBuilder<Sqlite>, driver: Driver) {
        let source = Plan::source(driver);
        // A call that several rows name is found once.
        sql.push(format_args!(
            " UNION SELECT * FROM (SELECT DISTINCT i.call_row FROM {}{} WHERE",
            source.from, source.join
        ));
        self.push_source_condition(sql, driver);
        if let Some(at) = source.at {
            self.push_times(sql, at);
        }
        self.push_filters(sql, "i", driver);
        match source.at {
            // The order of the index: the call's own start is the same, but SQLite does not know.
            Some(at) if self.query.sort.column().is_none() => {
                let way = self.way();
                sql.push(format_args!(" ORDER BY {at}.started_at {way}, i.id {way}"));
            }
            _ => self.push_order(sql, "i"),
        }
        self.push_limit(sql);
        sql.push(")");
    }

    /// A count of what a driver would read, up to somewhat above [`NARROW`].
    pub(super) fn probe(&self, driver: Driver) -> QueryBuilder<Sqlite> {
        let mut sql = QueryBuilder::new("SELECT count(*) FROM (SELECT 1 WHERE FALSE");
        match driver {
            Driver::Number(party) if self.is_newest_of(driver) => {
                self.push_newest_probe(&mut sql, party);
            }
            Driver::Number(party) => {
                for (column, index, only) in number_columns(party) {
                    self.push_call_probe(&mut sql, index, |sql| {
                        self.push_number(sql, "i", column, self.number_of(party));
                        sql.push(only);
                    });
                }
            }
            Driver::Groups => self.push_users_probe(&mut sql),
            // The words alone: no note is looked up to count it.
            Driver::Notes => {
                sql.push(" UNION ALL SELECT * FROM (SELECT 1");
                self.push_words_of_reach(&mut sql);
                sql.push(" LIMIT +").push_bind(NARROW + 1).push(")");
            }
            Driver::Interaction | Driver::Disposition | Driver::Deleted | Driver::Order => {
                self.push_call_probe(&mut sql, self.index(driver), |sql| {
                    self.push_condition(sql, driver)
                });
            }
            _ => {
                let source = Plan::source(driver);
                sql.push(format_args!(
                    " UNION ALL SELECT * FROM (SELECT 1 FROM tenants t CROSS JOIN {} WHERE",
                    source.from
                ));
                self.push_source_condition(&mut sql, driver);
                if let Some(at) = source.at {
                    self.push_times(&mut sql, at);
                }
                self.reach.limit(&mut sql, "t.id");
                sql.push(" LIMIT +").push_bind(NARROW + 1).push(")");
            }
        }
        sql.push(")");
        sql
    }

    fn push_call_probe(
        &self,
        sql: &mut QueryBuilder<Sqlite>,
        index: &'static str,
        condition: impl FnOnce(&mut QueryBuilder<Sqlite>),
    ) {
        sql.push(
            " UNION ALL SELECT * FROM (SELECT 1 FROM tenants t CROSS JOIN calls i INDEXED BY ",
        )
        .push(index);
        sql.push(" ON i.tenant_id = t.id WHERE ");
        condition(sql);
        self.push_times(sql, "i");
        self.reach.limit(sql, "t.id");
        sql.push(" LIMIT +").push_bind(NARROW + 1).push(")");
    }

    /// Whether the calls of the driver are of whom the scope reaches, without a further look.
    pub(super) fn is_of_scope(&self, driver: Driver) -> bool {
        match &self.reach.whose {
            Whose::Everybodys => true,
            Whose::User(_) => driver == Driver::User,
            Whose::Groups(_) => driver == Driver::Groups,
        }
    }

    pub(super) fn one_tenant(&self) -> Option<uuid::Uuid> {
        match self.reach.tenants {
            Tenants::One(tenant) => Some(tenant.0),
            Tenants::All | Tenants::Nothing => None,
        }
    }
}
