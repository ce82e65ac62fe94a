//! People and programs of a tenant, as rows.

use callreel::access::Preset;
use callreel::base::TenantId;
use uuid::Uuid;

use super::world::{World, canary};

/// A new agent.
pub async fn user(world: &World, tenant: TenantId) -> Uuid {
    let (id, number) = (Uuid::now_v7(), world.number());
    sqlx::query("INSERT INTO users (id, tenant_id, login, name, role_id, created_at, changed_at) VALUES (?, ?, ?, ?, ?, 0, 0)")
        .bind(id)
        .bind(tenant.0)
        .bind(format!("{}{number}", canary(tenant)))
        .bind(format!("{} {number}", canary(tenant)))
        .bind(Preset::Agent.role_id(tenant).0)
        .execute(&world.raw)
        .await
        .unwrap();
    id
}

/// A new service account that may do nothing, and has no token.
pub async fn service_account(world: &World, tenant: TenantId) -> Uuid {
    let (id, number) = (Uuid::now_v7(), world.number());
    let responsible = user(world, tenant).await;
    sqlx::query(
        "INSERT INTO service_accounts (id, tenant_id, name, reason, responsible_id, permissions, created_at, changed_at) \
         VALUES (?, ?, ?, ?, ?, '{}', 0, 0)",
    )
    .bind(id)
    .bind(tenant.0)
    .bind(format!("{} {number}", canary(tenant)))
    .bind(canary(tenant))
    .bind(responsible)
    .execute(&world.raw)
    .await
    .unwrap();
    id
}
