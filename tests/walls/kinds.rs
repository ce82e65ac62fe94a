//! Things that ids are of: how one is made for a tenant, and who within the tenant reaches it.

use callreel::access::AccessLevel;
use callreel::base::TenantId;
use serde_json::json;
use uuid::Uuid;

use super::world::World;

/// A new thing of this kind in the tenant; the tenant itself, where that is the kind.
pub async fn make(world: &World, kind: &str, tenant: TenantId) -> Uuid {
    let post = async |path: &str, body: &str| {
        let mut body = world.fill(body, tenant, &Default::default());
        body["tenant_id"] = json!(tenant.0);
        let answer = world
            .ask(Some(&world.root()), "POST", path, &[], Some(&body))
            .await;
        assert_eq!(answer.status, 201, "{path}: {}", answer.text());
        answer.json()["id"].as_str().unwrap().parse().unwrap()
    };
    match kind {
        "tenants" => tenant.0,
        "groups" => post("/api/v1/groups", r#"{"name":"{new}"}"#).await,
        // Nobody's: only looked for.
        "actors" | "objects" => Uuid::from_u128(u128::from(world.number())),
        kind => panic!("no maker for {kind} in tests/walls/kinds.rs"),
    }
}

/// Whether somebody of this level reaches such a thing of the own tenant, as `make` makes it.
pub fn is_reached(kind: &str, level: AccessLevel) -> bool {
    match level {
        AccessLevel::Root | AccessLevel::System => true,
        // A new group is nobody's to look after.
        AccessLevel::ManagedGroups | AccessLevel::User => !["groups"].contains(&kind),
    }
}
