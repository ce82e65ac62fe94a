//! The audit read: pages of it, and all of it in the order in which it came.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};
use uuid::Uuid;

use super::audit::{Hash, Record};
use super::audit_chain::KnownRecord;
use super::people::MAX_LISTED;
use super::{Catalog, Error, Listed, Result};
use crate::access::{Outcome, Reach, Scope};
use crate::base::{TenantId, Timestamp};

/// A record of the audit, with the hash that is made of it and of all before it in its tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    pub record: Record,
    pub hash: Hash,
}

/// Which records are asked for. Newest first, where nothing else is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditQuery {
    /// From this time on.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    pub actor: Option<Uuid>,
    /// As it was called, letter for letter.
    pub actor_name: Option<String>,
    /// `users.edit`, or `users.` for all that is done to users.
    pub action: Option<String>,
    pub object: Option<Uuid>,
    pub outcome: Option<Outcome>,
    pub oldest_first: bool,
    /// [`Listed::next`] of the page before.
    pub after: Option<String>,
    /// 1 to [`MAX_LISTED`]; what is out of range is taken as the nearest.
    pub limit: u32,
}

impl AuditEntry {
    /// What is enough to know the record by.
    pub fn known(&self) -> KnownRecord {
        KnownRecord {
            tenant: self.record.tenant,
            number: self.record.number,
            hash: self.hash,
        }
    }
}

pub(super) const COLUMNS: &str = "SELECT a.tenant_id, a.number, a.at, a.actor_kind, a.actor_id, a.actor_name, a.actor_tenant, \
     a.role, a.address, a.request_id, a.action, a.object_kind, a.object_id, a.before, a.after, a.reason, a.outcome, a.hash ";

pub(super) fn entry_of(row: &SqliteRow) -> sqlx::Result<AuditEntry> {
    let hash: Vec<u8> = row.try_get(17)?;
    let record = Record {
        tenant: TenantId(row.try_get(0)?),
        number: row.try_get(1)?,
        at: Timestamp::from_nanos(row.try_get(2)?),
        actor_kind: row.try_get(3)?,
        actor_id: row.try_get(4)?,
        actor_name: row.try_get(5)?,
        actor_tenant: row.try_get(6)?,
        role: row.try_get(7)?,
        address: row.try_get(8)?,
        request_id: row.try_get(9)?,
        action: row.try_get(10)?,
        object_kind: row.try_get(11)?,
        object_id: row.try_get(12)?,
        before: row.try_get(13)?,
        after: row.try_get(14)?,
        reason: row.try_get(15)?,
        outcome: row.try_get(16)?,
    };
    let hash = hash
        .try_into()
        .map_err(|_| sqlx::Error::Decode("a hash of another length".into()))?;
    Ok(AuditEntry { record, hash })
}

/// Records that lie in the scope. The audit is a tenant's as a whole: who reaches only some of its people sees none of it.
fn in_scope(scope: &Scope) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push("FROM audit a WHERE TRUE");
    match scope.reach() {
        Reach::System => {}
        Reach::Tenant(tenant) => {
            sql.push(" AND a.tenant_id = ").push_bind(tenant.0);
        }
        Reach::Groups { .. } | Reach::User { .. } => {
            sql.push(" AND FALSE");
        }
    }
    sql
}

impl AuditQuery {
    fn limit(&self) -> usize {
        self.limit.clamp(1, MAX_LISTED) as usize
    }

    fn narrow(&self, sql: &mut QueryBuilder<Sqlite>) -> Result<()> {
        if let Some(from) = self.from {
            sql.push(" AND a.at >= ").push_bind(from.as_nanos());
        }
        if let Some(until) = self.until {
            sql.push(" AND a.at < ").push_bind(until.as_nanos());
        }
        if let Some(actor) = self.actor {
            sql.push(" AND a.actor_id = ").push_bind(actor);
        }
        if let Some(name) = &self.actor_name {
            sql.push(" AND a.actor_name = ").push_bind(name.clone());
        }
        match self.action.as_deref() {
            Some(all) if all.ends_with('.') => {
                let length = i64::try_from(all.chars().count()).unwrap_or(i64::MAX);
                sql.push(" AND substr(a.action, 1, ").push_bind(length);
                sql.push(") = ").push_bind(all.to_owned());
            }
            Some(one) => {
                sql.push(" AND a.action = ").push_bind(one.to_owned());
            }
            None => {}
        }
        if let Some(object) = self.object {
            sql.push(" AND a.object_id = ").push_bind(object);
        }
        if let Some(outcome) = self.outcome {
            sql.push(" AND a.outcome = ").push_bind(outcome.name());
        }
        if let Some(after) = &self.after {
            let place = Place::parse(after).ok_or(Error::Cursor)?;
            let behind = if self.oldest_first { '>' } else { '<' };
            sql.push(format_args!(
                " AND (a.at, a.tenant_id, a.number) {behind} ("
            ))
            .push_bind(place.at);
            sql.push(", ").push_bind(place.tenant);
            sql.push(", ").push_bind(place.number).push(")");
        }
        Ok(())
    }
}

impl Catalog {
    /// A page of the audit.
    ///
    /// # Errors
    ///
    /// [`Error::Cursor`] when `after` is not of a page of this catalog.
    pub async fn audit_page(
        &self,
        scope: &Scope,
        query: &AuditQuery,
    ) -> Result<Listed<AuditEntry>> {
        let mut sql = in_scope(scope);
        query.narrow(&mut sql)?;
        sql.push(match query.oldest_first {
            true => " ORDER BY a.at, a.tenant_id, a.number LIMIT ",
            false => " ORDER BY a.at DESC, a.tenant_id DESC, a.number DESC LIMIT ",
        });
        sql.push_bind(query.limit() as i64 + 1);
        let rows = sql.build().fetch_all(&self.readers).await;
        let entries: sqlx::Result<Vec<AuditEntry>> =
            rows.and_then(|rows| rows.iter().map(entry_of).collect());
        let mut items =
            entries.map_err(|error| Error::from_sqlx("read the audit", &self.place, error))?;
        let more = items.len() > query.limit();
        items.truncate(query.limit());
        let last = items.last().filter(|_| more);
        let next = last.map(|last| Place::of(&last.record).to_text());
        Ok(Listed { items, next })
    }

    /// The next records after a position, oldest first, each with its own. For whoever runs the program on the machine that
    /// holds the files: it takes all tenants' audit elsewhere.
    pub async fn audit_since(&self, position: i64, limit: u32) -> Result<Vec<(i64, AuditEntry)>> {
        let text = format!(
            "{COLUMNS}, o.position FROM audit_order o JOIN audit a ON a.tenant_id = o.tenant_id AND a.number = o.number \
             WHERE o.position > ? ORDER BY o.position LIMIT +?"
        );
        let failed = |error| Error::from_sqlx("follow the audit", &self.place, error);
        let rows = sqlx::query(sqlx::AssertSqlSafe(text))
            .bind(position)
            .bind(limit)
            .fetch_all(&self.readers)
            .await;
        let entry = |row: &SqliteRow| Ok((row.try_get(18)?, entry_of(row)?));
        let entries: sqlx::Result<Vec<_>> = rows.and_then(|rows| rows.iter().map(entry).collect());
        entries.map_err(failed)
    }

    /// How many records the audit has, over all tenants.
    pub async fn audit_length(&self) -> Result<i64> {
        let failed = |error| Error::from_sqlx("count the audit", &self.place, error);
        let last = sqlx::query_scalar("SELECT coalesce(max(position), 0) FROM audit_order");
        last.fetch_one(&self.readers).await.map_err(failed)
    }

    /// How far a follower of this name has come.
    pub async fn audit_follower(&self, name: &str) -> Result<i64> {
        let failed = |error| Error::from_sqlx("follow the audit", &self.place, error);
        let position = sqlx::query_scalar("SELECT position FROM audit_followers WHERE name = ?");
        let position: Option<i64> = position
            .bind(name)
            .fetch_optional(&self.readers)
            .await
            .map_err(failed)?;
        Ok(position.unwrap_or(0))
    }

    /// Tenants of whose chains a follower of this name was told anything.
    pub async fn told_chains(&self, name: &str) -> Result<Vec<TenantId>> {
        let failed = |error| Error::from_sqlx("follow the audit", &self.place, error);
        let position = self.audit_follower(name).await?;
        let text = "SELECT DISTINCT tenant_id FROM audit_order WHERE position <= ?";
        let tenants = sqlx::query_scalar(text).bind(position);
        let tenants: Vec<Uuid> = tenants.fetch_all(&self.readers).await.map_err(failed)?;
        Ok(tenants.into_iter().map(TenantId).collect())
    }

    /// Notes how far a follower has come.
    pub async fn set_audit_follower(&self, name: &str, position: i64) -> Result<()> {
        let failed = |error| Error::from_sqlx("follow the audit", &self.place, error);
        let text = "INSERT INTO audit_followers (name, position) VALUES (?, ?) \
             ON CONFLICT (name) DO UPDATE SET position = excluded.position";
        let write = sqlx::query(text).bind(name).bind(position);
        write
            .execute(&self.writer)
            .await
            .map(|_| ())
            .map_err(failed)
    }
}

/// Where a page ends.
struct Place {
    at: i64,
    tenant: Uuid,
    number: i64,
}

impl Place {
    fn of(record: &Record) -> Place {
        Place {
            at: record.at.as_nanos(),
            tenant: record.tenant.0,
            number: record.number,
        }
    }

    fn to_text(&self) -> String {
        let bytes = [
            &self.at.to_be_bytes()[..],
            self.tenant.as_bytes(),
            &self.number.to_be_bytes(),
        ];
        BASE64_URL_SAFE_NO_PAD.encode(bytes.concat())
    }

    fn parse(text: &str) -> Option<Place> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (at, rest) = bytes.split_first_chunk()?;
        let (tenant, rest) = rest.split_first_chunk()?;
        Some(Place {
            at: i64::from_be_bytes(*at),
            tenant: Uuid::from_bytes(*tenant),
            number: i64::from_be_bytes(rest.try_into().ok()?),
        })
    }
}
