//! Changes that people make: each is one transaction, with what the audit says of it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::{Sqlite, SqliteConnection, Transaction};

use super::{Catalog, Error, Result, audit};
use crate::access::Event;
use crate::base::Timestamp;

/// A change that has begun. It ends with [`Change::commit`], which takes what the audit keeps of it; dropped before, it
/// leaves nothing behind. So there is no change without its record, and no record of a change that was not made.
#[derive(Debug)]
#[must_use = "a change that is not committed is undone"]
pub struct Change {
    transaction: Transaction<'static, Sqlite>,
    pub(super) place: Arc<str>,
    /// When it began; the time of its rows and its records.
    pub(super) at: Timestamp,
    events: Vec<Event>,
}

impl Catalog {
    /// Begins a change. Nobody else writes until it ends.
    ///
    /// # Errors
    ///
    /// [`Error::Busy`] when another program holds the catalog for five seconds, [`Error::Gone`] when its file is not there any
    /// more.
    pub async fn change(&self) -> Result<Change> {
        self.check_place()?;
        let begun = self.writer.begin_with("BEGIN IMMEDIATE").await;
        Ok(Change {
            transaction: begun
                .map_err(|error| Error::from_sqlx("begin a change", &self.place, error))?,
            place: self.place.clone(),
            at: now(),
            events: Vec::new(),
        })
    }

    /// Writes what somebody is about to do that changes no row: playback, export. Only after this may it be done.
    pub async fn audit(&self, event: Event) -> Result<()> {
        self.change().await?.commit(event).await
    }
}

impl Change {
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }

    pub(super) fn failed(&self, what: &'static str) -> impl FnOnce(sqlx::Error) -> Error + use<> {
        let place = self.place.clone();
        move |error| Error::from_sqlx(what, &place, error)
    }

    /// One more record of the same change: for another tenant, or another object.
    pub fn also(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Makes the change and its records, all or nothing.
    pub async fn commit(mut self, event: Event) -> Result<()> {
        let failed = self.failed("write the audit");
        self.events.insert(0, event);
        let events = std::mem::take(&mut self.events);
        let at = self.at;
        audit::append(self.connection(), at, &events)
            .await
            .map_err(failed)?;
        let failed = self.failed("commit a change");
        self.transaction.commit().await.map_err(failed)
    }
}

/// The time of the machine.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let nanos = since.map_or(0, |since| since.as_nanos());
    Timestamp::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
}

/// A new id: a UUIDv7 of this moment.
pub(super) fn new_id() -> uuid::Uuid {
    uuid::Uuid::now_v7()
}
