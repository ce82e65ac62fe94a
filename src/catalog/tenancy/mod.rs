//! What the directory is made of besides the configuration: tenants, plans, extensions, and who has which extension when.
//!
//! [`Catalog::directory_rows`] is all of it, for the program itself; nothing of it goes into an answer without a scope.
//! What people ask takes a [`Scope`](crate::access::Scope). Writes are steps of a [`Change`](super::Change).

mod allocations;
mod extensions;
mod plans;
mod rows;
mod tenants;
mod usage;

pub use allocations::{AllocationDraft, AllocationRow, Taken};
pub use extensions::{ExtensionDraft, ExtensionRow, extension_id};
pub use plans::PlanRow;
pub use rows::{DirectoryRows, LoginPolicy};
pub use tenants::{
    MirroredTenant, RegisteredTenant, TenantDraft, TenantStatus, is_slug, slug_of, timezone_named,
};
pub use usage::Usage;

/// Times in files are integers: nanoseconds since 1970.
mod nanos {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::base::Timestamp;

    pub fn serialize<S: Serializer>(at: &Timestamp, out: S) -> Result<S::Ok, S::Error> {
        at.as_nanos().serialize(out)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(input).map(Timestamp::from_nanos)
    }

    pub mod optional {
        use super::*;

        pub fn serialize<S: Serializer>(at: &Option<Timestamp>, out: S) -> Result<S::Ok, S::Error> {
            at.map(Timestamp::as_nanos).serialize(out)
        }

        pub fn deserialize<'de, D: Deserializer<'de>>(
            input: D,
        ) -> Result<Option<Timestamp>, D::Error> {
            Ok(Option::<i64>::deserialize(input)?.map(Timestamp::from_nanos))
        }
    }
}

/// JSON of a column; what cannot be read is nothing.
fn json_of(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_default()
}

#[cfg(test)]
impl super::Catalog {
    pub async fn add_user_for_tests(
        &self,
        tenant: crate::base::TenantId,
        login: &str,
        policy: Option<&str>,
    ) -> crate::base::UserId {
        let id = uuid::Uuid::now_v7();
        sqlx::query(
            "INSERT INTO users (id, tenant_id, login, name, role_id, recording_policy, created_at, changed_at) \
             VALUES (?, ?, ?, ?, ?, ?, 0, 0)",
        )
        .bind(id)
        .bind(tenant.0)
        .bind(login)
        .bind(login)
        .bind(id)
        .bind(policy)
        .execute(&self.writer)
        .await
        .unwrap();
        crate::base::UserId(id)
    }

    pub async fn remove_user_for_tests(
        &self,
        user: crate::base::UserId,
        at: crate::base::Timestamp,
    ) {
        sqlx::query("UPDATE users SET removed_at = ? WHERE id = ?")
            .bind(at.as_nanos())
            .bind(user.0)
            .execute(&self.writer)
            .await
            .unwrap();
    }
}
