//! What can go wrong with a catalog.

use std::sync::Arc;

use sqlx::migrate::MigrateError;

/// What was attempted, on which catalog, and why it failed. Never holds anything of a call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is wrong, or what it names cannot be opened or created.
    #[error("cannot open the catalog {place}: {why}")]
    Open { place: Arc<str>, why: String },

    /// Its tables were made by a later version of the program; nothing was changed.
    #[error(
        "the catalog {place} was written by a newer version of this program \
         (its schema is {found}, this version knows up to {known}): upgrade, or use another catalog"
    )]
    Newer {
        place: Arc<str>,
        found: i64,
        known: i64,
    },

    #[error("cannot bring the tables of the catalog {place} up to date: {source}")]
    Migrate {
        place: Arc<str>,
        source: Box<MigrateError>,
    },

    /// The file that was opened is not at its place any more: it was taken away, or another one was put there.
    #[error("the file of the catalog {place} was taken away, or replaced by another")]
    Gone { place: Arc<str> },

    /// Somebody else held the lock for all of the time that was waited. Trying again later may help.
    #[error("cannot {what}: the catalog {place} is locked by another program or task")]
    Busy { what: &'static str, place: Arc<str> },

    /// The file is not what SQLite or this program wrote. `callreel catalog rebuild` makes a new one from the sidecars.
    #[error(
        "cannot {what}: the catalog {place} is damaged ({why}); rebuild it from the recordings' sidecars"
    )]
    Damaged {
        what: &'static str,
        place: Arc<str>,
        why: String,
    },

    #[error("cannot {what}: no room left on the disk of the catalog {place}")]
    Full { what: &'static str, place: Arc<str> },

    #[error("cannot {what} in the catalog {place}: {source}")]
    Query {
        what: &'static str,
        place: Arc<str>,
        source: sqlx::Error,
    },

    /// A file of the catalog could not be moved or synced.
    #[error("cannot {what} {path}: {source}")]
    File {
        what: &'static str,
        path: String,
        source: std::io::Error,
    },

    /// The call `id` cannot be stored as it is; nothing of its batch was.
    #[error("cannot record the call {id}: its {field} {why}")]
    Refused {
        id: uuid::Uuid,
        field: &'static str,
        why: &'static str,
    },

    /// Another object has what only one can have.
    #[error("there is one with this {field} already")]
    Taken { field: &'static str },

    /// The call is held: nobody deletes it.
    #[error("the call is held")]
    Held,

    /// There is no room for another.
    #[error("it has as many {what} as it can have")]
    TooMany { what: &'static str },

    /// People's rights stand against the change.
    #[error(transparent)]
    Objection(#[from] super::Objection),

    /// The text given as [`CallQuery::after`](super::CallQuery::after) was not made by a page of this catalog.
    #[error("not a position in a list of calls: use the `next` of the page before")]
    Cursor,
}

pub type Result<T> = std::result::Result<T, Error>;

/// SQLite's primary result codes (<https://www.sqlite.org/rescode.html>), the low byte of the extended ones.
mod code {
    pub const BUSY: i32 = 5;
    pub const LOCKED: i32 = 6;
    pub const CORRUPT: i32 = 11;
    pub const FULL: i32 = 13;
    pub const NOT_A_DATABASE: i32 = 26;
}

fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(code::BUSY | code::LOCKED))
}

impl Error {
    /// What was asked contradicts what is there, and will at any time.
    pub fn is_refusal(&self) -> bool {
        let Error::Query { source, .. } = self else {
            return false;
        };
        let error = source.as_database_error();
        error.is_some_and(|error| {
            error.is_foreign_key_violation()
                || error.is_check_violation()
                || error.is_unique_violation()
        })
    }

    /// An error of a statement that fails when another row has the same `field`.
    pub(super) fn taken(
        field: &'static str,
        error: sqlx::Error,
        failed: impl FnOnce(sqlx::Error) -> Error,
    ) -> Error {
        let unique = error.as_database_error();
        match unique.is_some_and(|error| error.is_unique_violation()) {
            true => Error::Taken { field },
            false => failed(error),
        }
    }

    /// Sorts an error of the database by what the caller can do about it.
    pub(super) fn from_sqlx(what: &'static str, place: &Arc<str>, source: sqlx::Error) -> Error {
        let place = place.clone();
        if let sqlx::Error::PoolTimedOut = source {
            return Error::Busy { what, place };
        }
        if let sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_) = source {
            return Error::Damaged {
                what,
                place,
                why: source.to_string(),
            };
        }
        if is_busy(&source) {
            return Error::Busy { what, place };
        }
        match primary_code(&source) {
            Some(code::CORRUPT | code::NOT_A_DATABASE) => Error::Damaged {
                what,
                place,
                why: source.to_string(),
            },
            Some(code::FULL) => Error::Full { what, place },
            _ => Error::Query {
                what,
                place,
                source,
            },
        }
    }

    pub(super) fn from_migration(place: &Arc<str>, known: i64, source: MigrateError) -> Error {
        const WHAT: &str = "bring its tables up to date";
        match source {
            MigrateError::VersionMissing(found) => Error::Newer {
                place: place.clone(),
                found,
                known,
            },
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)
                if primary_code(&error).is_some_and(|code| code != 1) =>
            {
                Error::from_sqlx(WHAT, place, error)
            }
            source => Error::Migrate {
                place: place.clone(),
                source: Box::new(source),
            },
        }
    }
}
