//! Programs that ask with a token.

use std::net::IpAddr;

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};
use uuid::Uuid;

use super::identity::{IDENTITY_COLUMNS, Identity, identities, identity_of, time};
use crate::access::{Actor, Permissions, Principal, Reach, Scope, TokenHash};
use crate::base::{Network, TenantId, Timestamp, UserId};
use crate::catalog::change::{new_id, now};
use crate::catalog::people::{Listed, Listing, Position};
use crate::catalog::{Catalog, Change, Error, Result};

/// Service accounts of a tenant, and tokens of one that can be used, at most.
pub const MAX_SERVICE_ACCOUNTS: i64 = 1000;
pub const MAX_TOKENS: i64 = 20;

/// A program that asks in somebody's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccount {
    pub id: Uuid,
    pub tenant: TenantId,
    pub name: String,
    pub reason: String,
    /// The user who answers for it, and whose rights it has a part of.
    pub responsible: UserId,
    pub responsible_login: String,
    pub permissions: Permissions,
    pub active: bool,
    pub version: i64,
    pub created_at: Timestamp,
    pub changed_at: Timestamp,
}

impl ServiceAccount {
    /// The program as who asks, with its part of the rights of who answers for it.
    pub fn principal(&self, responsible: &Identity) -> Principal {
        let actor = Actor::ServiceAccount {
            id: self.id,
            name: self.name.as_str().into(),
            responsible: self.responsible,
        };
        responsible
            .principal_as(actor)
            .limited_to(&self.permissions)
    }
}

/// What of a service account can be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceAccountDraft {
    pub name: String,
    pub reason: String,
    pub responsible: UserId,
    pub permissions: Permissions,
    pub active: bool,
}

/// A token, without what opens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub id: Uuid,
    pub account: Uuid,
    pub hint: String,
    /// Where it works; empty: everywhere.
    pub networks: Vec<Network>,
    /// Whether it may do what a person has to prove again for.
    pub unattended: bool,
    pub expires_at: Timestamp,
    pub created_at: Timestamp,
    /// Within a minute.
    pub used_at: Option<Timestamp>,
    pub used_from: Option<String>,
    pub revoked_at: Option<Timestamp>,
}

/// A token that is given out.
#[derive(Clone, Debug)]
pub struct TokenDraft {
    pub hash: TokenHash,
    pub hint: String,
    pub networks: Vec<Network>,
    pub unattended: bool,
    pub expires_at: Timestamp,
}

/// A token that somebody asks with, its account, and who answers for it.
#[derive(Clone, Debug)]
pub struct TokenInUse {
    pub token: Token,
    pub account: ServiceAccount,
    pub responsible: Identity,
}

const TOKEN_COLUMNS: usize = 10;

macro_rules! accounts {
    ($from:literal) => {
        concat!(
            "SELECT a.id, a.tenant_id, a.name, a.reason, a.responsible_id, \
             (SELECT w.login FROM users w WHERE w.id = a.responsible_id), a.permissions, a.active, a.version, \
             a.created_at, a.changed_at FROM service_accounts a ",
            $from
        )
    };
}

const TOKENS: &str = "SELECT k.id, k.account_id, k.hint, k.networks, k.unattended, k.expires_at, k.created_at, \
     k.used_at, k.used_from, k.revoked_at FROM tokens k WHERE k.account_id = ? ORDER BY k.created_at DESC, k.id";

impl Catalog {
    /// What a token opens, if there is one of this hash. Whether it may be used now is not asked.
    pub async fn token_in_use(&self, hash: &TokenHash) -> Result<Option<TokenInUse>> {
        let row = sqlx::query(identities!(
            ", k.id, k.account_id, k.hint, k.networks, k.unattended, k.expires_at, k.created_at, k.used_at, \
             k.used_from, k.revoked_at, a.id, a.tenant_id, a.name, a.reason, a.responsible_id, u.login, \
             a.permissions, a.active, a.version, a.created_at, a.changed_at",
            "JOIN service_accounts a ON a.responsible_id = u.id AND a.tenant_id = u.tenant_id \
             JOIN tokens k ON k.account_id = a.id WHERE k.hash = ? AND u.removed_at IS NULL"
        ))
        .bind(hash.bytes().to_vec())
        .fetch_optional(&self.readers)
        .await;
        let read = |row: SqliteRow| {
            Ok(TokenInUse {
                token: token_of(&row, IDENTITY_COLUMNS)?,
                account: account_of(&row, IDENTITY_COLUMNS + TOKEN_COLUMNS)?,
                responsible: identity_of(&row)?,
            })
        };
        row.and_then(|row| row.map(read).transpose())
            .map_err(|error| Error::from_sqlx("look up a token", &self.place, error))
    }

    /// The token was used: nothing that the audit keeps.
    pub async fn touch_token(
        &self,
        token: Uuid,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<()> {
        sqlx::query("UPDATE tokens SET used_at = ?, used_from = ? WHERE id = ?")
            .bind(now.as_nanos())
            .bind(from.map(|address| address.to_string()))
            .bind(token)
            .execute(&self.writer)
            .await
            .map(|_| ())
            .map_err(|error| Error::from_sqlx("note the use of a token", &self.place, error))
    }

    /// Service accounts of the scope, by name.
    pub async fn service_accounts(
        &self,
        scope: &Scope,
        listing: &Listing,
    ) -> Result<Listed<ServiceAccount>> {
        let mut sql = in_scope(scope);
        if let Some(after) = listing.position()? {
            sql.push(" AND (a.name, a.id) > (").push_bind(after.name);
            sql.push(" COLLATE NOCASE, ").push_bind(after.id).push(")");
        }
        sql.push(" ORDER BY a.name, a.id LIMIT +");
        sql.push_bind(listing.limit() as i64 + 1);
        let rows = sql.build().fetch_all(&self.readers).await;
        let accounts: sqlx::Result<Vec<ServiceAccount>> =
            rows.and_then(|rows| rows.iter().map(|row| account_of(row, 0)).collect());
        let failed = |error| Error::from_sqlx("list service accounts", &self.place, error);
        Ok(listing.page(accounts.map_err(failed)?, |account| Position {
            name: account.name.clone(),
            id: account.id,
        }))
    }

    /// What a service account may do now. None: there is none, or it or who answers for it is not active. Only for what it
    /// has left behind: requests show a token.
    pub async fn principal_of_account(&self, id: Uuid) -> Result<Option<Principal>> {
        let row = sqlx::query(identities!(
            ", a.id, a.tenant_id, a.name, a.reason, a.responsible_id, u.login, \
             a.permissions, a.active, a.version, a.created_at, a.changed_at",
            "JOIN service_accounts a ON a.responsible_id = u.id AND a.tenant_id = u.tenant_id \
             WHERE a.id = ? AND u.removed_at IS NULL"
        ))
        .bind(id)
        .fetch_optional(&self.readers)
        .await;
        let read = |row: SqliteRow| Ok((account_of(&row, IDENTITY_COLUMNS)?, identity_of(&row)?));
        let found = row
            .and_then(|row| row.map(read).transpose())
            .map_err(|error| Error::from_sqlx("look up a service account", &self.place, error))?;
        let active = found
            .filter(|(account, responsible)| account.active && responsible.standing.is_good(now()));
        Ok(active.map(|(account, responsible)| account.principal(&responsible)))
    }

    /// A service account of the scope, with its tokens, the last one first.
    pub async fn service_account(
        &self,
        scope: &Scope,
        id: Uuid,
    ) -> Result<Option<(ServiceAccount, Vec<Token>)>> {
        let failed = |error| Error::from_sqlx("look up a service account", &self.place, error);
        let mut sql = in_scope(scope);
        sql.push(" AND a.id = ").push_bind(id);
        let row = sql
            .build()
            .fetch_optional(&self.readers)
            .await
            .map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        let tokens = sqlx::query(TOKENS).bind(id).fetch_all(&self.readers).await;
        let tokens = tokens.and_then(|rows| rows.iter().map(|row| token_of(row, 0)).collect());
        Ok(Some((
            account_of(&row, 0).map_err(failed)?,
            tokens.map_err(failed)?,
        )))
    }
}

impl Change {
    /// The service account as it is now, if it is in the scope.
    pub async fn service_account(
        &mut self,
        scope: &Scope,
        id: Uuid,
    ) -> Result<Option<ServiceAccount>> {
        let failed = self.failed("look up a service account");
        let mut sql = in_scope(scope);
        sql.push(" AND a.id = ").push_bind(id);
        let row = sql.build().fetch_optional(self.connection()).await;
        row.and_then(|row| row.map(|row| account_of(&row, 0)).transpose())
            .map_err(failed)
    }

    /// A new service account; its id. None: the tenant has too many.
    ///
    /// # Errors
    ///
    /// [`Error::Taken`] when the tenant has one of this name.
    pub async fn create_service_account(
        &mut self,
        tenant: TenantId,
        draft: &ServiceAccountDraft,
    ) -> Result<Option<Uuid>> {
        let (id, at) = (new_id(), self.at.as_nanos());
        let failed = self.failed("create a service account");
        let done = sqlx::query(
            "INSERT INTO service_accounts (id, tenant_id, name, reason, responsible_id, permissions, active, created_at, \
             changed_at) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8 \
             WHERE (SELECT count(*) FROM service_accounts WHERE tenant_id = ?2) < ?9",
        )
        .bind(id)
        .bind(tenant.0)
        .bind(&draft.name)
        .bind(&draft.reason)
        .bind(draft.responsible.0)
        .bind(json(&draft.permissions))
        .bind(draft.active)
        .bind(at)
        .bind(MAX_SERVICE_ACCOUNTS)
        .execute(self.connection())
        .await;
        let done = done.map_err(|error| Error::taken("name", error, failed))?;
        Ok((done.rows_affected() == 1).then_some(id))
    }

    /// Writes the service account as `draft` has it.
    ///
    /// # Errors
    ///
    /// [`Error::Taken`] when the tenant has another of this name.
    pub async fn edit_service_account(
        &mut self,
        id: Uuid,
        draft: &ServiceAccountDraft,
    ) -> Result<()> {
        let at = self.at.as_nanos();
        let failed = self.failed("edit a service account");
        let done = sqlx::query(
            "UPDATE service_accounts SET name = ?, reason = ?, responsible_id = ?, permissions = ?, active = ?, \
             version = version + 1, changed_at = ? WHERE id = ?",
        )
        .bind(&draft.name)
        .bind(&draft.reason)
        .bind(draft.responsible.0)
        .bind(json(&draft.permissions))
        .bind(draft.active)
        .bind(at)
        .bind(id)
        .execute(self.connection())
        .await;
        done.map(|_| ())
            .map_err(|error| Error::taken("name", error, failed))
    }

    /// Removes the service account and its tokens.
    pub async fn remove_service_account(&mut self, id: Uuid) -> Result<()> {
        self.run("DELETE FROM service_accounts WHERE id = ?", |sql| {
            sql.bind(id)
        })
        .await
        .map(|_| ())
    }

    /// A new token of a service account; its id. None: there are too many that still open.
    pub async fn create_token(
        &mut self,
        account: Uuid,
        draft: &TokenDraft,
    ) -> Result<Option<Uuid>> {
        let (id, at) = (new_id(), self.at.as_nanos());
        let networks: Vec<String> = draft.networks.iter().map(ToString::to_string).collect();
        let done = self
            .run(
                "INSERT INTO tokens (id, account_id, hash, hint, networks, unattended, expires_at, created_at) \
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8 WHERE (SELECT count(*) FROM tokens \
                 WHERE account_id = ?2 AND revoked_at IS NULL AND expires_at > ?8) < ?9",
                |sql| {
                    sql.bind(id)
                        .bind(account)
                        .bind(draft.hash.bytes().to_vec())
                        .bind(draft.hint.clone())
                        .bind(json(&networks))
                        .bind(draft.unattended)
                        .bind(draft.expires_at.as_nanos())
                        .bind(at)
                        .bind(MAX_TOKENS)
                },
            )
            .await?;
        Ok((done == 1).then_some(id))
    }

    /// Whether the account had this token, and it was not revoked. It opens nothing afterwards.
    pub async fn revoke_token(&mut self, account: Uuid, token: Uuid) -> Result<bool> {
        let at = self.at.as_nanos();
        let done = self
            .run(
                "UPDATE tokens SET revoked_at = ? WHERE id = ? AND account_id = ? AND revoked_at IS NULL",
                |sql| sql.bind(at).bind(token).bind(account),
            )
            .await?;
        Ok(done == 1)
    }
}

/// Service accounts that lie in the scope: of its tenants. Who looks after groups, or after nobody, sees those that they
/// answer for: none, for accounts are not theirs to manage.
fn in_scope(scope: &Scope) -> QueryBuilder<Sqlite> {
    let mut sql = QueryBuilder::new(accounts!("WHERE TRUE"));
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

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn account_of(row: &SqliteRow, first: usize) -> sqlx::Result<ServiceAccount> {
    let permissions: String = row.try_get(first + 6)?;
    Ok(ServiceAccount {
        id: row.try_get(first)?,
        tenant: TenantId(row.try_get(first + 1)?),
        name: row.try_get(first + 2)?,
        reason: row.try_get(first + 3)?,
        responsible: UserId(row.try_get(first + 4)?),
        responsible_login: row.try_get(first + 5)?,
        // What cannot be read permits nothing.
        permissions: serde_json::from_str(&permissions).unwrap_or_default(),
        active: row.try_get(first + 7)?,
        version: row.try_get(first + 8)?,
        created_at: Timestamp::from_nanos(row.try_get(first + 9)?),
        changed_at: Timestamp::from_nanos(row.try_get(first + 10)?),
    })
}

fn token_of(row: &SqliteRow, first: usize) -> sqlx::Result<Token> {
    let networks: String = row.try_get(first + 3)?;
    let parse = |text: String| text.parse::<Network>().ok();
    let networks = serde_json::from_str::<Vec<String>>(&networks).ok();
    // A list that cannot be read must not become "everywhere".
    let networks =
        networks.and_then(|list| list.into_iter().map(parse).collect::<Option<Vec<_>>>());
    let revoked_at = time(row.try_get(first + 9)?);
    let created_at = Timestamp::from_nanos(row.try_get(first + 6)?);
    Ok(Token {
        id: row.try_get(first)?,
        account: row.try_get(first + 1)?,
        hint: row.try_get(first + 2)?,
        revoked_at: revoked_at.or(networks.is_none().then_some(created_at)),
        networks: networks.unwrap_or_default(),
        unattended: row.try_get(first + 4)?,
        expires_at: Timestamp::from_nanos(row.try_get(first + 5)?),
        created_at,
        used_at: time(row.try_get(first + 7)?),
        used_from: row.try_get(first + 8)?,
    })
}
