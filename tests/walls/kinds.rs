//! Things that ids are of: how one is made for a tenant, and who within the tenant reaches it.

use callreel::access::AccessLevel;
use callreel::base::TenantId;
use serde_json::json;
use uuid::Uuid;

use super::calls;
use super::sign_in;
use super::world::{Somebody, World, canary};

/// A new thing of this kind in the tenant; the tenant itself, where that is the kind.
pub async fn make(world: &World, kind: &str, tenant: TenantId) -> Uuid {
    let post = async |path: &str, body: &str| {
        let mut body = world.fill(body, tenant, &Default::default());
        body["tenant_id"] = json!(tenant.0);
        let answer = world
            .ask(Some(&world.root()), "POST", path, &[], Some(&body))
            .await;
        assert_eq!(answer.status, 201, "{path}: {}", answer.text());
        let made = answer.json();
        let id = made["id"].as_str().or(made["role_id"].as_str());
        id.unwrap().parse().unwrap()
    };
    let of_call = async |path: &str, body: &str| {
        let body = world.fill(body, tenant, &Default::default());
        let root = world.root();
        let answer = world.ask(Some(&root), "POST", path, &[], Some(&body)).await;
        assert_eq!(answer.status, 201, "{path}: {}", answer.text());
        answer.json()["id"].as_str().unwrap().parse().unwrap()
    };
    match kind {
        "tenants" => tenant.0,
        "calls" => calls::make(world, tenant).await.id,
        "interactions" => calls::make(world, tenant).await.interaction.unwrap().0,
        "call-notes" => {
            let call = calls::make(world, tenant).await.id;
            of_call(
                &format!("/api/v1/calls/{call}/notes"),
                r#"{"text":"{new}"}"#,
            )
            .await
        }
        "call-shares" => {
            let call = calls::make(world, tenant).await.id;
            let body = r#"{"reason":"{new}","expires_in_seconds":3600}"#;
            of_call(&format!("/api/v1/calls/{call}/shares"), body).await
        }
        "call-categories" | "categories" => {
            post("/api/v1/call-categories", r#"{"name":"{new}"}"#).await
        }
        "active-calls" => world.present.begin(tenant, world.number()),
        "webhooks" => {
            world.forget_webhooks(tenant).await;
            post("/api/v1/webhooks", super::table::WEBHOOK).await
        }
        "groups" | "managed-groupss" => post("/api/v1/groups", r#"{"name":"{new}"}"#).await,
        "customers" => of_call("/api/v1/tenants", r#"{"name":"{new}"}"#).await,
        "plans" => of_call("/api/v1/plans", r#"{"name":"{slug}"}"#).await,
        "extensions" => post("/api/v1/extensions", super::table::EXTENSION).await,
        "allocations" => {
            let extension = post("/api/v1/extensions", super::table::EXTENSION).await;
            allocate(world, extension, tenant).await
        }
        "users" | "responsibles" => sign_in::user(world, tenant).await,
        "service-accounts" => sign_in::service_account(world, tenant).await,
        "roles" => {
            let body = r#"{"name":"{new}","access_level":"user","permissions":{"calls":["view"]}}"#;
            post("/api/v1/roles", body).await
        }
        // Nobody's: only looked for.
        "actors" | "objects" | "sessions" | "tokens" | "support-access" => {
            Uuid::from_u128(u128::from(world.number()))
        }
        kind => panic!("no maker for {kind} in tests/walls/kinds.rs"),
    }
}

/// Gives an extension of the tenant to a new user.
pub async fn allocate(world: &World, extension: Uuid, tenant: TenantId) -> Uuid {
    let user = sign_in::user(world, tenant).await;
    let path = format!("/api/v1/extensions/{extension}/allocations");
    let (root, body) = (world.root(), json!({ "user_id": user }));
    let answer = world
        .ask(Some(&root), "POST", &path, &[], Some(&body))
        .await;
    assert_eq!(answer.status, 201, "{path}: {}", answer.text());
    answer.json()["id"].as_str().unwrap().parse().unwrap()
}

/// A time in which somebody supports the tenant.
pub async fn support(world: &World, by: &Somebody, tenant: TenantId) -> Uuid {
    let path = "/api/v1/support-access";
    let body = json!({ "tenant_id": tenant.0, "reason": canary(tenant), "minutes": 5 });
    let answer = world.ask(Some(by), "POST", path, &[], Some(&body)).await;
    assert_eq!(answer.status, 201, "{path}: {}", answer.text());
    answer.json()["id"].as_str().unwrap().parse().unwrap()
}

/// Whether somebody of this level reaches such a thing of the own tenant, as `make` makes it.
pub fn is_reached(kind: &str, level: AccessLevel) -> bool {
    match level {
        // Everybody's own.
        _ if kind == "sessions" => true,
        AccessLevel::Root | AccessLevel::System => true,
        // A new group is nobody's to look after, a new call has nobody in it, and a new user is in no group.
        AccessLevel::ManagedGroups | AccessLevel::User => ![
            "groups",
            "managed-groupss",
            "calls",
            "interactions",
            "call-notes",
            "call-shares",
            "active-calls",
            "extensions",
            "allocations",
            "webhooks",
            "users",
            "responsibles",
            "service-accounts",
        ]
        .contains(&kind),
    }
}
