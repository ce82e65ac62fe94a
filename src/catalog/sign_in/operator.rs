//! What whoever sits at the machine does without anybody signed in: the first user, above all.

use sqlx::Row;
use uuid::Uuid;

use super::identity::{self, Identity};
use crate::access::Principal;
use crate::base::{RoleId, TenantId, UserId};
use crate::catalog::{Change, Profile, Result};

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
    /// [`Error::Taken`](crate::catalog::Error::Taken) when the tenant has, or had, one of this login.
    pub async fn create_user_of_operator(&mut self, draft: &UserDraft) -> Result<UserId> {
        let profile = Profile {
            name: draft.name.clone(),
            email: draft.email.clone(),
            must_change_password: false,
            ..Profile::of_role(draft.role)
        };
        let operator = Principal::operator("");
        let user = self
            .create_user(&operator, draft.tenant, &draft.login, &profile)
            .await?;
        Ok(user.id)
    }

    /// Whether the tenant has users, active or not.
    pub async fn has_users(&mut self, tenant: TenantId) -> Result<bool> {
        let failed = self.failed("look for users");
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM users WHERE tenant_id = ? AND removed_at IS NULL)",
        )
        .bind(tenant.0)
        .fetch_one(self.connection())
        .await
        .map_err(failed)
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
