//! People and programs of a tenant, as rows.

use callreel::access::{PasswordHasher, Preset};
use callreel::base::{SYSTEM_TENANT, TenantId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::world::{ACME, COST, Somebody, World, canary};

/// The password of everybody who has one.
pub const PASSWORD: &str = "correct horse battery";

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

/// Somebody with [`PASSWORD`].
pub struct Person {
    pub id: Uuid,
    slug: &'static str,
    login: String,
}

/// A new user of the same tenant and with the same role.
pub async fn person(world: &World, like: Option<&Somebody>) -> Person {
    let preset = like.map_or(Preset::Agent, |who| who.preset);
    let (tenant, slug) = match like.map(|who| who.principal.home()) {
        Some(SYSTEM_TENANT) => (SYSTEM_TENANT, "system"),
        _ => (ACME, "acme"),
    };
    let (id, login) = (Uuid::now_v7(), format!("p{}", world.number()));
    sqlx::query("INSERT INTO users (id, tenant_id, login, name, role_id, created_at, changed_at) VALUES (?, ?, ?, ?, ?, 0, 0)")
        .bind(id)
        .bind(tenant.0)
        .bind(&login)
        .bind(canary(tenant))
        .bind(preset.role_id(tenant).0)
        .execute(&world.raw)
        .await
        .unwrap();
    let hash = PasswordHasher::new(COST).hash(&callreel::access::Password::new(PASSWORD.into()));
    sqlx::query(
        "INSERT INTO credentials (user_id, password_hash, password_set_at) VALUES (?, ?, 0)",
    )
    .bind(id)
    .bind(hash)
    .execute(&world.raw)
    .await
    .unwrap();
    Person { id, slug, login }
}

impl Person {
    pub fn credentials(&self, code: Option<&str>) -> Value {
        let mut body = json!({ "tenant": self.slug, "login": self.login, "password": PASSWORD });
        if let Some(code) = code {
            body["code"] = code.into();
        }
        body
    }

    /// The headers of a browser that has signed in.
    pub async fn sign_in(&self, world: &World, code: Option<&str>) -> Vec<(String, String)> {
        let body = self.credentials(code);
        let answer = world
            .ask(None, "POST", "/api/v1/session", &[], Some(&body))
            .await;
        assert_eq!(answer.status, 201, "{}", answer.text());
        let cookie = answer.headers["set-cookie"].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let csrf = answer.json()["csrf_token"].as_str().unwrap().to_owned();
        vec![("cookie".into(), cookie), ("x-csrf-token".into(), csrf)]
    }
}

/// A new token of the service account.
pub async fn token(world: &World, account: Uuid) -> Uuid {
    let body = json!({ "expires_in_days": 1 });
    let path = format!("/api/v1/service-accounts/{account}/tokens");
    let answer = world
        .ask(Some(&world.root()), "POST", &path, &[], Some(&body))
        .await;
    assert_eq!(answer.status, 201, "{path}: {}", answer.text());
    answer.json()["id"].as_str().unwrap().parse().unwrap()
}
