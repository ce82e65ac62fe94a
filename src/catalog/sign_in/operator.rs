//! What whoever sits at the machine does without anybody signed in: the first user, above all.

use sqlx::Row;
use uuid::Uuid;

use super::identity::{self, Identity};
use crate::base::{RoleId, TenantId, UserId};
use crate::catalog::change::new_id;
use crate::catalog::{Change, Error, Result};

/// A user as the command line makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserDraft {
    pub tenant: TenantId,
    pub login: String,
    pub name: String,
    pub email: Option<String>,
    pub role: RoleId,
}

impl Change {
    /// A new user without a password.
    ///
    /// # Errors
    ///
    /// [`Error::Taken`] when the tenant has, or had, one of this login.
    pub async fn create_user_of_operator(&mut self, draft: &UserDraft) -> Result<UserId> {
        let (id, at, failed) = (new_id(), self.at.as_nanos(), self.failed("create a user"));
        let done = sqlx::query(
            "INSERT INTO users (id, tenant_id, login, name, email, role_id, created_at, changed_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7)",
        )
        .bind(id)
        .bind(draft.tenant.0)
        .bind(&draft.login)
        .bind(&draft.name)
        .bind(&draft.email)
        .bind(draft.role.0)
        .bind(at)
        .execute(self.connection())
        .await;
        done.map_err(|error| Error::taken("login", error, failed))?;
        Ok(UserId(id))
    }

    /// The user of an id, as it is now.
    pub async fn identity_of(&mut self, user: UserId) -> Result<Option<Identity>> {
        let failed = self.failed("look up a user");
        identity::by_id(self.connection(), user)
            .await
            .map_err(failed)
    }

    /// A role that the tenant has made, by its name.
    pub async fn role_named(&mut self, tenant: TenantId, name: &str) -> Result<Option<RoleId>> {
        let failed = self.failed("look up a role");
        let row = sqlx::query("SELECT id FROM roles WHERE tenant_id = ? AND name = ?")
            .bind(tenant.0)
            .bind(name)
            .fetch_optional(self.connection())
            .await;
        row.and_then(|row| row.map(|row| row.try_get(0).map(RoleId)).transpose())
            .map_err(failed)
    }

    /// A service account of the tenant, by its name.
    pub async fn service_account_named(
        &mut self,
        tenant: TenantId,
        name: &str,
    ) -> Result<Option<Uuid>> {
        let failed = self.failed("look up a service account");
        let row = sqlx::query("SELECT id FROM service_accounts WHERE tenant_id = ? AND name = ?")
            .bind(tenant.0)
            .bind(name)
            .fetch_optional(self.connection())
            .await;
        row.and_then(|row| row.map(|row| row.try_get(0)).transpose())
            .map_err(failed)
    }
}
