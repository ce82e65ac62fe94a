//! A user, as signing in sees it.

use std::sync::Arc;

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteExecutor};
use uuid::Uuid;

use crate::access::{
    AccessLevel, Actor, Lacking, Permissions, Principal, Role, Scope, SignInRules, Standing,
    login_key, preset,
};
use crate::base::{GroupId, RoleId, TenantId, Timestamp, UserId};
use crate::catalog::reach::limit_users;
use crate::catalog::{Catalog, Change, Error, Result};

/// A user with everything that decides, at this moment, whether and as what it may sign in.
#[derive(Clone)]
pub struct Identity {
    pub user: UserId,
    pub tenant: TenantId,
    pub tenant_name: String,
    pub tenant_slug: String,
    pub rules: SignInRules,
    pub login: Arc<str>,
    pub name: String,
    pub email: Option<String>,
    pub role: Role,
    pub managed_groups: Arc<[GroupId]>,
    /// Of the user and of its tenant.
    pub standing: Standing,
    pub must_change_password: bool,
    /// The calls are kept from who may not see what is confidential.
    pub confidential: bool,
    /// argon2id in PHC format.
    pub password_hash: Option<String>,
    pub password_set_at: Option<Timestamp>,
    pub totp: Option<TotpKept>,
}

/// An authenticator's secret, sealed.
#[derive(Clone)]
pub struct TotpKept {
    pub sealed: Vec<u8>,
    /// It has shown a code; until then it opens nothing and is asked for nowhere.
    pub confirmed: bool,
    pub last_step: Option<u64>,
}

/// Neither what it is called nor what opens its door.
impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity({})", self.user)
    }
}

/// A query of identities: its columns, then `$extra` columns, `$from` behind the tables, both literals.
macro_rules! identities {
    ($extra:literal, $from:literal) => {
        concat!(
            "SELECT u.id, u.tenant_id, u.login, u.name, u.email, u.role_id, r.name, r.access_level, r.permissions, \
             u.active = 1 AND u.removed_at IS NULL AND t.status = 'active', u.valid_until, u.must_change_password, \
             t.name, t.slug, CASE WHEN json_valid(t.settings) THEN json_extract(t.settings, '$.sign_in') END, \
             (SELECT group_concat(hex(m.group_id), '') FROM managed_groups m WHERE m.user_id = u.id), \
             c.password_hash, c.password_set_at, c.totp_secret, c.totp_since, c.totp_last_step, u.confidential",
            $extra,
            " FROM users u JOIN registered_tenants t ON t.id = u.tenant_id \
             LEFT JOIN roles r ON r.id = u.role_id AND r.tenant_id = u.tenant_id \
             LEFT JOIN credentials c ON c.user_id = u.id ",
            $from
        )
    };
}
pub(super) use identities;

/// Columns of [`identities`]; what else a query asks for comes behind them.
pub(super) const IDENTITY_COLUMNS: usize = 22;

impl Identity {
    /// The user as who asks, with the rights of this moment.
    pub fn principal(&self) -> Principal {
        let actor = Actor::User {
            id: self.user,
            login: self.login.clone(),
        };
        self.principal_as(actor)
    }

    /// Somebody who acts for the user, with the user's rights.
    pub fn principal_as(&self, actor: Actor) -> Principal {
        let (login, groups) = (self.login.clone(), self.managed_groups.clone());
        Principal::new(actor, self.tenant, login, &self.role, groups)
    }

    /// What `by` lacks to be let in as this user, or to have a program ask in its name.
    pub fn kept_from(&self, by: &Principal) -> Option<Lacking> {
        by.lacks_to_stand_for(self.tenant, &self.login)
            .filter(|_| self.confidential)
    }

    /// The authenticator, if it is one already.
    pub fn authenticator(&self) -> Option<&TotpKept> {
        self.totp.as_ref().filter(|totp| totp.confirmed)
    }

    /// Whether the password has to be changed before anything else.
    pub fn password_spent(&self, now: Timestamp) -> bool {
        let days = self.rules.password.max_age_days.map(u64::from);
        let too_old = days
            .zip(self.password_set_at)
            .is_some_and(|(days, set_at)| {
                now.since(set_at) > std::time::Duration::from_secs(days * 86_400)
            });
        self.must_change_password || too_old
    }
}

impl Catalog {
    /// The user of this login, or of one with the same key, in the tenant of this short name or id. None: there is none; a removed one is none.
    pub async fn identity_by_login(
        &self,
        tenant: TenantId,
        login: &str,
    ) -> Result<Option<Identity>> {
        let sql = sqlx::query(identities!(
            "",
            "WHERE u.tenant_id = ?1 AND (u.login = ?2 OR u.login_key = ?3) AND u.removed_at IS NULL \
             ORDER BY u.login = ?2 DESC LIMIT 1"
        ));
        let sql = sql.bind(tenant.0).bind(login).bind(login_key(login));
        let row = sql.fetch_optional(&self.readers);
        self.identity_read(row.await)
    }

    /// The tenant of an id, or else of a short name, whatever its standing; none: there is none.
    pub async fn tenant_named(&self, name: &str) -> Result<Option<TenantId>> {
        let id = name.parse::<Uuid>().ok();
        let row = sqlx::query("SELECT id FROM registered_tenants WHERE slug = ?1 OR id = ?2 ORDER BY id IS ?2 DESC LIMIT 1")
            .bind(name)
            .bind(id)
            .fetch_optional(&self.readers)
            .await;
        row.and_then(|row| row.map(|row| row.try_get(0).map(TenantId)).transpose())
            .map_err(|error| Error::from_sqlx("look up a tenant", &self.place, error))
    }

    /// A user of the scope.
    pub async fn identity(&self, scope: &Scope, id: UserId) -> Result<Option<Identity>> {
        let row = in_scope(scope, id)
            .build()
            .fetch_optional(&self.readers)
            .await;
        self.identity_read(row)
    }

    pub(super) fn identity_read(
        &self,
        row: sqlx::Result<Option<SqliteRow>>,
    ) -> Result<Option<Identity>> {
        row.and_then(|row| row.as_ref().map(identity_of).transpose())
            .map_err(|error| Error::from_sqlx("look up who signs in", &self.place, error))
    }
}

impl Change {
    /// The user as it is now, if it is in the scope.
    pub async fn identity(&mut self, scope: &Scope, id: UserId) -> Result<Option<Identity>> {
        let failed = self.failed("look up who signs in");
        let row = in_scope(scope, id)
            .build()
            .fetch_optional(self.connection())
            .await;
        row.and_then(|row| row.as_ref().map(identity_of).transpose())
            .map_err(failed)
    }
}

/// The user of an id that a row of ours names.
pub(super) async fn by_id(
    executor: impl SqliteExecutor<'_>,
    id: UserId,
) -> sqlx::Result<Option<Identity>> {
    let row = sqlx::query(identities!("", "WHERE u.id = ? AND u.removed_at IS NULL"))
        .bind(id.0)
        .fetch_optional(executor)
        .await?;
    row.as_ref().map(identity_of).transpose()
}

/// As lists of users have it.
fn in_scope(scope: &Scope, id: UserId) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(identities!("", "WHERE u.removed_at IS NULL AND u.id = "));
    sql.push_bind(id.0);
    limit_users(&mut sql, scope, "u.tenant_id");
    sql
}

pub(super) fn identity_of(row: &SqliteRow) -> sqlx::Result<Identity> {
    let tenant = TenantId(row.try_get(1)?);
    let sign_in: Option<String> = row.try_get(14)?;
    let sealed: Option<Vec<u8>> = row.try_get(18)?;
    let since: Option<i64> = row.try_get(19)?;
    let last_step: Option<i64> = row.try_get(20)?;
    Ok(Identity {
        user: UserId(row.try_get(0)?),
        tenant,
        tenant_name: row.try_get(12)?,
        tenant_slug: row.try_get(13)?,
        rules: SignInRules::from_settings(sign_in.as_deref()),
        login: row.try_get::<String, _>(2)?.into(),
        name: row.try_get(3)?,
        email: row.try_get(4)?,
        role: role_of(row, tenant)?,
        managed_groups: groups_of(row.try_get(15)?),
        standing: Standing {
            active: row.try_get(9)?,
            valid_until: time(row.try_get(10)?),
        },
        must_change_password: row.try_get(11)?,
        confidential: row.try_get(21)?,
        password_hash: row.try_get(16)?,
        password_set_at: time(row.try_get(17)?),
        totp: sealed.map(|sealed| TotpKept {
            sealed,
            confirmed: since.is_some(),
            last_step: last_step.and_then(|step| step.try_into().ok()),
        }),
    })
}

/// A role that is not there, or cannot be read, permits nothing.
fn role_of(row: &SqliteRow, tenant: TenantId) -> sqlx::Result<Role> {
    let role_id = RoleId(row.try_get(5)?);
    if let Some(preset) = preset(tenant, role_id) {
        return Ok(preset.role(tenant));
    }
    let name: Option<String> = row.try_get(6)?;
    let level: Option<String> = row.try_get(7)?;
    let permissions: Option<String> = row.try_get(8)?;
    let level = level.and_then(|level| AccessLevel::named(&level));
    let permissions = permissions.and_then(|text| serde_json::from_str::<Permissions>(&text).ok());
    let readable = level.zip(permissions);
    let (access_level, permissions) =
        readable.unwrap_or((AccessLevel::User, Permissions::default()));
    Ok(Role {
        role_id,
        name: name.unwrap_or_default(),
        access_level,
        tenant_id: Some(tenant),
        permissions,
    })
}

/// Ids in hexadecimal, one after the other.
fn groups_of(text: Option<String>) -> Arc<[GroupId]> {
    let text = text.unwrap_or_default();
    let ids = text.as_bytes().chunks(32);
    let ids = ids.filter_map(|id| Uuid::try_parse_ascii(id).ok());
    ids.map(GroupId).collect()
}

pub(super) fn time(nanos: Option<i64>) -> Option<Timestamp> {
    nanos.map(Timestamp::from_nanos)
}
