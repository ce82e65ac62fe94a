//! Notes on calls.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};
use uuid::Uuid;

use super::CallToMark;
use crate::access::Scope;
use crate::base::{TenantId, Timestamp, UserId};
use crate::catalog::change::new_id;
use crate::catalog::reach::Reach;
use crate::catalog::{Catalog, Change, Error, Result};

/// Notes that a call has, at most.
pub const MAX_NOTES: u64 = 500;

/// What somebody wrote about a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub id: Uuid,
    pub tenant: TenantId,
    pub call: Uuid,
    /// None: a program wrote it, or who runs the machine.
    pub author: Option<UserId>,
    pub author_name: String,
    /// Milliseconds from the start of the audio; none: it is of the call as a whole.
    pub place_ms: Option<u64>,
    pub text: String,
    pub is_pinned: bool,
    pub created_at: Timestamp,
    pub edited_at: Option<Timestamp>,
    pub version: i64,
}

/// What of a note can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteDraft {
    pub place_ms: Option<u64>,
    pub text: String,
    pub is_pinned: bool,
}

const COLUMNS: &str = "SELECT id, tenant_id, call_id, author_id, author_name, place_ms, text, pinned, created_at, edited_at, \
     version FROM call_notes WHERE TRUE";

fn of_call(call: &CallToMark) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push(" AND tenant_id = ").push_bind(call.tenant.0);
    sql.push(" AND call_id = ").push_bind(call.id);
    sql
}

impl Catalog {
    /// The call's notes: those that are pinned first, then by their places in the audio.
    pub async fn notes(&self, call: &CallToMark) -> Result<Vec<Note>> {
        let mut sql = of_call(call);
        sql.push(" ORDER BY pinned DESC, coalesce(place_ms, -1), note_row");
        let rows = sql.build().fetch_all(&self.readers).await;
        rows.and_then(|rows| rows.iter().map(note_of).collect())
            .map_err(|error| Error::from_sqlx("list notes", &self.place, error))
    }
}

impl Change {
    /// The note, if its call is in the scope and was not deleted.
    pub async fn note(&mut self, scope: &Scope, id: Uuid) -> Result<Option<Note>> {
        let failed = self.failed("look up a note");
        let mut sql = QueryBuilder::<Sqlite>::new(COLUMNS);
        sql.push(" AND id = ").push_bind(id);
        Reach::of(scope, None).limit(&mut sql, "tenant_id");
        let row = sql.build().fetch_optional(self.connection()).await;
        let note = row.and_then(|row| row.as_ref().map(note_of).transpose());
        let note = note.map_err(failed)?;
        // Where there is no note there is no call of its id either; but it takes the same time to say so.
        let of = note.as_ref().map_or(id, |note| note.call);
        let call = self.call_to_mark(scope, of).await?;
        let is_of = |note: &Note| call.is_some_and(|call| call.tenant == note.tenant);
        Ok(note.filter(is_of))
    }

    /// A new note.
    ///
    /// # Errors
    ///
    /// [`Error::TooMany`] when the call has [`MAX_NOTES`].
    pub async fn add_note(
        &mut self,
        call: &CallToMark,
        author: Option<UserId>,
        author_name: &str,
        draft: &NoteDraft,
    ) -> Result<Note> {
        let (at, failed) = (self.at, self.failed("write a note"));
        let id = new_id();
        let done = sqlx::query(
            "INSERT INTO call_notes (id, tenant_id, call_id, started_at, author_id, author_name, place_ms, text, \
             pinned, created_at, version) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1 \
             WHERE (SELECT count(*) FROM call_notes WHERE tenant_id = ? AND call_id = ?) < ?",
        )
        .bind(id)
        .bind(call.tenant.0)
        .bind(call.id)
        .bind(call.started_at.as_nanos())
        .bind(author.map(|author| author.0))
        .bind(author_name)
        .bind(draft.place_ms.map(place))
        .bind(&draft.text)
        .bind(draft.is_pinned)
        .bind(at.as_nanos())
        .bind(call.tenant.0)
        .bind(call.id)
        .bind(place(MAX_NOTES))
        .execute(self.connection())
        .await
        .map_err(failed)?;
        if done.rows_affected() == 0 {
            return Err(Error::TooMany { what: "notes" });
        }
        Ok(Note {
            id,
            tenant: call.tenant,
            call: call.id,
            author,
            author_name: author_name.to_owned(),
            place_ms: draft.place_ms,
            text: draft.text.clone(),
            is_pinned: draft.is_pinned,
            created_at: at,
            edited_at: None,
            version: 1,
        })
    }

    pub async fn edit_note(&mut self, note: &Note, draft: &NoteDraft) -> Result<Note> {
        let (at, failed) = (self.at, self.failed("edit a note"));
        sqlx::query(
            "UPDATE call_notes SET place_ms = ?, text = ?, pinned = ?, edited_at = ?, version = version + 1 WHERE id = ?",
        )
        .bind(draft.place_ms.map(place))
        .bind(&draft.text)
        .bind(draft.is_pinned)
        .bind(at.as_nanos())
        .bind(note.id)
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(Note {
            place_ms: draft.place_ms,
            text: draft.text.clone(),
            is_pinned: draft.is_pinned,
            edited_at: Some(at),
            version: note.version + 1,
            ..note.clone()
        })
    }

    pub async fn remove_note(&mut self, note: &Note) -> Result<()> {
        let failed = self.failed("remove a note");
        sqlx::query("DELETE FROM call_notes WHERE id = ?")
            .bind(note.id)
            .execute(self.connection())
            .await
            .map(|_| ())
            .map_err(failed)
    }
}

/// The database counts to 2^63 - 1.
fn place(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn note_of(row: &SqliteRow) -> sqlx::Result<Note> {
    let place: Option<i64> = row.try_get(5)?;
    let edited: Option<i64> = row.try_get(9)?;
    Ok(Note {
        id: row.try_get(0)?,
        tenant: TenantId(row.try_get(1)?),
        call: row.try_get(2)?,
        author: row.try_get::<Option<Uuid>, _>(3)?.map(UserId),
        author_name: row.try_get(4)?,
        place_ms: place.and_then(|place| u64::try_from(place).ok()),
        text: row.try_get(6)?,
        is_pinned: row.try_get(7)?,
        created_at: Timestamp::from_nanos(row.try_get(8)?),
        edited_at: edited.map(Timestamp::from_nanos),
        version: row.try_get(10)?,
    })
}
