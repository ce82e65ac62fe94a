//! Who has which extension from when to when.

use serde::{Deserialize, Serialize};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};
use uuid::Uuid;

use super::nanos;
use crate::access::{Reach, Scope};
use crate::base::{TenantId, Timestamp, UserId};
use crate::catalog::change::new_id;
use crate::catalog::reach::limit_users;
use crate::catalog::{Catalog, Change, Error, Result};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AllocationRow {
    pub id: Uuid,
    pub tenant: TenantId,
    pub extension: Uuid,
    /// One number of a range or a prefix, as the tenant's country spells it; none: all of the extension.
    pub number: Option<String>,
    pub user: UserId,
    /// The user's.
    pub login: String,
    #[serde(with = "nanos")]
    pub valid_from: Timestamp,
    /// The first moment at which it does not hold any more.
    #[serde(with = "nanos::optional")]
    pub valid_to: Option<Timestamp>,
    pub version: i64,
    #[serde(with = "nanos")]
    pub created_at: Timestamp,
}

impl AllocationRow {
    pub fn holds_at(&self, at: Timestamp) -> bool {
        self.valid_from <= at && self.valid_to.is_none_or(|end| at < end)
    }
}

/// What is to be allocated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllocationDraft {
    pub tenant: TenantId,
    pub extension: Uuid,
    pub number: Option<String>,
    pub user: UserId,
    pub valid_from: Timestamp,
    pub valid_to: Option<Timestamp>,
    /// Who has it at `valid_from` has it until then.
    pub replace: bool,
}

/// Why something cannot be allocated: who has it, when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken(pub AllocationRow);

/// History that is shown of an extension.
const SHOWN: i64 = 500;

const COLUMNS: &str = "SELECT a.id, a.tenant_id, a.extension_id, a.number, a.user_id, u.login, a.valid_from, a.valid_to, \
     a.version, a.created_at FROM allocations a JOIN users u ON u.id = a.user_id WHERE TRUE";

/// Those in force at `now` or later.
pub(super) async fn open(
    connection: &mut SqliteConnection,
    now: Timestamp,
) -> sqlx::Result<Vec<AllocationRow>> {
    let mut sql = QueryBuilder::<Sqlite>::new(COLUMNS);
    sql.push(" AND u.removed_at IS NULL AND (a.valid_to IS NULL OR (a.valid_to > ");
    sql.push_bind(now.as_nanos());
    sql.push(" AND a.valid_to > a.valid_from)) ORDER BY a.tenant_id, a.valid_from, a.id");
    let rows = sql.build().fetch_all(connection).await?;
    rows.iter().map(allocation_of).collect()
}

impl Catalog {
    /// Who had, has and will have the extension, latest first, as far as the scope reaches; at most 500.
    pub async fn allocations(&self, scope: &Scope, extension: Uuid) -> Result<Vec<AllocationRow>> {
        let mut sql = QueryBuilder::<Sqlite>::new(COLUMNS);
        sql.push(" AND a.extension_id = ").push_bind(extension);
        limit_users(&mut sql, scope, "a.tenant_id");
        sql.push(" ORDER BY a.valid_from DESC, a.id DESC LIMIT ");
        sql.push_bind(SHOWN);
        let rows = sql.build().fetch_all(&self.readers).await;
        rows.and_then(|rows| rows.iter().map(allocation_of).collect())
            .map_err(|error| Error::from_sqlx("list allocations", &self.place, error))
    }

    /// Of these logins of a tenant the ones that the scope reaches, in small letters. Logins that are nobody's are reached by
    /// who reaches the whole tenant.
    pub async fn reached_logins(
        &self,
        scope: &Scope,
        tenant: TenantId,
    ) -> Result<Option<Vec<String>>> {
        let groups = match scope.reach() {
            Reach::System => return Ok(None),
            _ if !scope.covers(tenant) => return Ok(Some(Vec::new())),
            Reach::Tenant(_) => return Ok(None),
            Reach::User { login, .. } => return Ok(Some(vec![login.to_lowercase()])),
            Reach::Groups { groups, .. } => groups.clone(),
        };
        let mut sql = QueryBuilder::<Sqlite>::new(
            "SELECT lower(login) FROM users WHERE removed_at IS NULL AND tenant_id = ",
        );
        sql.push_bind(tenant.0).push(" AND group_id IN (");
        let mut list = sql.separated(", ");
        for group in groups.iter() {
            list.push_bind(group.0);
        }
        sql.push(")");
        let logins = sql.build_query_scalar().fetch_all(&self.readers).await;
        logins
            .map(Some)
            .map_err(|error| Error::from_sqlx("look up users", &self.place, error))
    }
}

impl Change {
    /// The allocation as it is now, if the scope reaches its user.
    pub async fn allocation(&mut self, scope: &Scope, id: Uuid) -> Result<Option<AllocationRow>> {
        let failed = self.failed("look up an allocation");
        let mut sql = QueryBuilder::<Sqlite>::new(COLUMNS);
        sql.push(" AND a.id = ").push_bind(id);
        limit_users(&mut sql, scope, "a.tenant_id");
        let row = sql.build().fetch_optional(self.connection()).await;
        row.and_then(|row| row.as_ref().map(allocation_of).transpose())
            .map_err(failed)
    }

    /// The login of a user of the tenant that the scope reaches and that is not removed.
    pub async fn login_of(
        &mut self,
        scope: &Scope,
        tenant: TenantId,
        user: UserId,
    ) -> Result<Option<String>> {
        let failed = self.failed("look up a user");
        let mut sql = QueryBuilder::<Sqlite>::new(
            // `a` so that the scope's conditions fit.
            "SELECT u.login FROM users u JOIN (SELECT id AS tenant_id FROM registered_tenants) a \
             ON a.tenant_id = u.tenant_id WHERE u.removed_at IS NULL AND u.tenant_id = ",
        );
        sql.push_bind(tenant.0);
        sql.push(" AND u.id = ").push_bind(user.0);
        limit_users(&mut sql, scope, "a.tenant_id");
        let login = sql.build_query_scalar().fetch_optional(self.connection());
        login.await.map_err(failed)
    }

    /// A user of the tenant by login, as it is written.
    pub async fn user_named(
        &mut self,
        tenant: TenantId,
        login: &str,
    ) -> Result<Option<(UserId, String)>> {
        let failed = self.failed("look up a user");
        let sql =
            "SELECT id, login FROM users WHERE tenant_id = ? AND login = ? AND removed_at IS NULL";
        let row: sqlx::Result<Option<(Uuid, String)>> = sqlx::query_as(sql)
            .bind(tenant.0)
            .bind(login)
            .fetch_optional(self.connection())
            .await;
        row.map(|row| row.map(|(id, login)| (UserId(id), login)))
            .map_err(failed)
    }

    /// Gives an extension, or one number of it, to a user. The caller has looked up tenant, extension and user.
    ///
    /// # Errors
    ///
    /// The inner one when somebody has it at that time, and is not replaced.
    pub async fn allocate(
        &mut self,
        draft: &AllocationDraft,
        login: &str,
    ) -> Result<std::result::Result<AllocationRow, Taken>> {
        if draft.replace {
            self.end_those_at(draft).await?;
        }
        if let Some(other) = self.overlapping(draft).await? {
            return Ok(Err(Taken(other)));
        }
        let (at, failed) = (self.at, self.failed("allocate an extension"));
        let row = AllocationRow {
            id: new_id(),
            tenant: draft.tenant,
            extension: draft.extension,
            number: draft.number.clone(),
            user: draft.user,
            login: login.to_owned(),
            valid_from: draft.valid_from,
            valid_to: draft.valid_to,
            version: 1,
            created_at: at,
        };
        sqlx::query(
            "INSERT INTO allocations \
             (id, tenant_id, extension_id, number, user_id, valid_from, valid_to, created_at, changed_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(row.id)
        .bind(row.tenant.0)
        .bind(row.extension)
        .bind(&row.number)
        .bind(row.user.0)
        .bind(row.valid_from.as_nanos())
        .bind(row.valid_to.map(Timestamp::as_nanos))
        .bind(at.as_nanos())
        .bind(at.as_nanos())
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(Ok(row))
    }

    /// Sets the end of an allocation; one that has not begun and ends where it begins is as if it had never been.
    pub async fn end_allocation(
        &mut self,
        allocation: &AllocationRow,
        valid_to: Option<Timestamp>,
    ) -> Result<std::result::Result<AllocationRow, Taken>> {
        let ended = AllocationRow {
            valid_to,
            version: allocation.version + 1,
            ..allocation.clone()
        };
        if let Some(other) = self.overlapping_but(&ended).await? {
            return Ok(Err(Taken(other)));
        }
        let (at, failed) = (self.at, self.failed("end an allocation"));
        sqlx::query("UPDATE allocations SET valid_to = ?, version = version + 1, changed_at = ? WHERE id = ?")
            .bind(valid_to.map(Timestamp::as_nanos))
            .bind(at.as_nanos())
            .bind(allocation.id)
            .execute(self.connection())
            .await
            .map_err(failed)?;
        Ok(Ok(ended))
    }

    /// Whether the user's calls are.
    pub async fn is_confidential(&mut self, user: UserId) -> Result<bool> {
        let failed = self.failed("look up a user");
        let found: sqlx::Result<Option<bool>> =
            sqlx::query_scalar("SELECT confidential FROM users WHERE id = ?")
                .bind(user.0)
                .fetch_optional(self.connection())
                .await;
        found.map(|found| found == Some(true)).map_err(failed)
    }

    /// Users of the tenant whose calls are, also of those who are removed: calls and files name them.
    pub async fn confidential_users(&mut self, tenant: TenantId) -> Result<Vec<String>> {
        let failed = self.failed("look up users");
        let sql = "SELECT login FROM users WHERE tenant_id = ? AND confidential = 1";
        let logins = sqlx::query_scalar(sql).bind(tenant.0);
        let logins = logins.fetch_all(self.connection());
        logins.await.map_err(failed)
    }

    /// Users whose calls are confidential among those who have the extension, or `number` of it, at some time from `from` on; of
    /// all its numbers where `number` says nothing of them.
    pub async fn confidential_holders(
        &mut self,
        extension: Uuid,
        number: Option<&Option<String>>,
        from: Timestamp,
    ) -> Result<Vec<String>> {
        let failed = self.failed("look up allocations");
        let mut sql = QueryBuilder::<Sqlite>::new(
            "SELECT DISTINCT u.login FROM allocations a JOIN users u ON u.id = a.user_id \
             WHERE u.confidential = 1 AND a.extension_id = ",
        );
        sql.push_bind(extension);
        sql.push(" AND (a.valid_to IS NULL OR (a.valid_to > a.valid_from AND a.valid_to > ");
        sql.push_bind(from.as_nanos()).push("))");
        if let Some(number) = number {
            sql.push(" AND a.number IS ").push_bind(number.clone());
        }
        let logins = sql.build_query_scalar().fetch_all(self.connection());
        logins.await.map_err(failed)
    }

    async fn end_those_at(&mut self, draft: &AllocationDraft) -> Result<()> {
        let (at, failed) = (self.at, self.failed("end an allocation"));
        let from = draft.valid_from.as_nanos();
        sqlx::query(
            "UPDATE allocations SET valid_to = ?1, version = version + 1, changed_at = ?2 \
             WHERE extension_id = ?3 AND valid_from < ?1 AND (valid_to IS NULL OR valid_to > ?1) AND number IS ?4",
        )
        .bind(from)
        .bind(at.as_nanos())
        .bind(draft.extension)
        .bind(&draft.number)
        .execute(self.connection())
        .await
        .map_err(failed)?;
        Ok(())
    }

    async fn overlapping(&mut self, draft: &AllocationDraft) -> Result<Option<AllocationRow>> {
        let as_row = AllocationRow {
            id: Uuid::nil(),
            tenant: draft.tenant,
            extension: draft.extension,
            number: draft.number.clone(),
            user: draft.user,
            login: String::new(),
            valid_from: draft.valid_from,
            valid_to: draft.valid_to,
            version: 1,
            created_at: self.at,
        };
        self.overlapping_but(&as_row).await
    }

    /// Another allocation of the same number at the same time. All of an extension and one number of it are the same.
    async fn overlapping_but(&mut self, row: &AllocationRow) -> Result<Option<AllocationRow>> {
        let failed = self.failed("look up allocations");
        let mut sql = QueryBuilder::<Sqlite>::new(COLUMNS);
        sql.push(" AND a.extension_id = ").push_bind(row.extension);
        sql.push(" AND a.id <> ").push_bind(row.id);
        sql.push(" AND (a.valid_to IS NULL OR (a.valid_to > a.valid_from AND a.valid_to > ");
        sql.push_bind(row.valid_from.as_nanos()).push("))");
        if let Some(end) = row.valid_to {
            sql.push(" AND a.valid_from < ").push_bind(end.as_nanos());
        }
        if let Some(number) = &row.number {
            sql.push(" AND (a.number IS NULL OR a.number = ");
            sql.push_bind(number).push(")");
        }
        sql.push(" ORDER BY a.valid_from LIMIT 1");
        let found = sql.build().fetch_optional(self.connection()).await;
        found
            .and_then(|row| row.as_ref().map(allocation_of).transpose())
            .map_err(failed)
    }
}

fn allocation_of(row: &SqliteRow) -> sqlx::Result<AllocationRow> {
    let valid_to: Option<i64> = row.try_get(7)?;
    Ok(AllocationRow {
        id: row.try_get(0)?,
        tenant: TenantId(row.try_get(1)?),
        extension: row.try_get(2)?,
        number: row.try_get(3)?,
        user: UserId(row.try_get(4)?),
        login: row.try_get(5)?,
        valid_from: Timestamp::from_nanos(row.try_get(6)?),
        valid_to: valid_to.map(Timestamp::from_nanos),
        version: row.try_get(8)?,
        created_at: Timestamp::from_nanos(row.try_get(9)?),
    })
}
