mod assembling;
mod confidential;
mod limits;
mod numbers;
mod tenants;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::access::{Feature, Operation, Permissions, Preset, Resource, Role};
use crate::api::testing::{Asking, Tried, World, tenant};
use crate::base::{GroupId, RoleId, SYSTEM_TENANT, Tunnels, UserId};
use crate::catalog::{Catalog, ExtensionRow, Home, RegisteredTenant, TenantDraft, TenantStatus};
use crate::config;
use crate::directory::{CallFacts, Candidate, CandidateSource, Withheld};

const DAEMON: &str = "[plans.gold]\nusers = 3\nfeatures = [\"download\"]\n[plans.small]\nstorage_gib = 1\nminutes_per_month = 10\n";

/// In a file: tenant 99, 10.99.0.0/16, extension 500 pinned to zoe and the range 600-699.
const FILED: &str = "[tenant]\nid = \"00000000-0000-0000-0000-000000000099\"\nname = \"Filed Ltd\"\nplan = \"gold\"\n\n\
    [[match]]\nnetworks = [\"10.99.0.0/16\"]\n\n[[extension]]\nnumber = \"500\"\nuser = \"zoe\"\n\n[[extension]]\nrange = \"600-699\"\n";

fn filed() -> TenantId {
    TenantId(Uuid::from_u128(0x99))
}

fn configured(folder: &Path, daemon: &str, files: &[(&str, &str)]) -> Configured {
    std::fs::create_dir_all(folder.join("tenants")).unwrap();
    std::fs::write(folder.join("callreel.toml"), daemon).unwrap();
    for (name, text) in files {
        std::fs::write(folder.join("tenants").join(name), text).unwrap();
    }
    Configured::new(&config::load(&folder.join("callreel.toml")).unwrap())
}

/// A world with a directory that is kept by a thread, as in the daemon.
struct Running {
    world: World,
    tenancy: Arc<Tenancy>,
    watching: Option<Watching>,
}

impl Running {
    async fn new(daemon: &str, files: &[(&str, &str)]) -> Running {
        let world = World::new().await;
        let configured = configured(world.folder(), daemon, files);
        let (tenancy, nudges) = Tenancy::new(configured, world.folder());
        world.api.set_installation(tenancy.clone());
        let (of_thread, url) = (tenancy.clone(), world.url());
        let start = move || Watching::start(of_thread, Home::new(&url), nudges).unwrap();
        let watching = std::thread::spawn(start).join().unwrap();
        Running {
            world,
            tenancy,
            watching: Some(watching),
        }
    }

    fn root(&self) -> Asking<'_> {
        self.world.user("system", Preset::RootAdministrator)
    }

    fn acme(&self) -> Asking<'_> {
        self.world.user("acme", Preset::TenantAdministrator)
    }

    /// Rules for a tenant that the world has registered.
    async fn give_rules(&self, slug: &str, network: &str) {
        let path = format!("/tenants/{}", self.world.tenant(slug));
        let body = json!({ "name": slug.to_uppercase(), "slug": slug, "rules": { "match": [{ "networks": [network] }] } });
        self.root().put(&path, "*", body).await.expect(200);
    }

    async fn extension(&self, slug: &str, kind: &str, text: &str) -> String {
        let body = json!({ "tenant_id": self.world.tenant(slug), kind: text });
        let made = self.root().post("/extensions", body).await.expect(201);
        made.location()
    }

    async fn user(&self, slug: &str, login: &str) -> UserId {
        self.world
            .catalog
            .add_user_for_tests(tenant(slug), login, None)
            .await
    }

    /// Whose a call from this number would be at this moment: tenant and user.
    fn caller(&self, number: &str, address: &str) -> Option<(TenantId, Option<String>)> {
        caller_of(&self.tenancy.directory().load(), number, address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.watching.take().into_iter().for_each(Watching::finish);
    }
}

fn caller_of(
    directory: &Directory,
    number: &str,
    address: &str,
) -> Option<(TenantId, Option<String>)> {
    let source = CandidateSource::From;
    let caller = [Candidate {
        source,
        user: number,
        host: "",
    }];
    let address = address.parse().unwrap();
    let attribution = directory.attribute(&CallFacts {
        sensor: "",
        interface: "",
        vlans: &[],
        caller_address: address,
        callee_address: address,
        caller: &caller,
        callee: &[],
        headers: &|_| None,
        tunnels: Tunnels::NONE,
    });
    let claim = attribution.caller?;
    Some((claim.tenant, claim.user.map(|user| user.to_string())))
}

fn later(seconds: u64) -> String {
    (wall_clock() + Duration::from_secs(seconds)).to_string()
}

fn items(tried: &Tried) -> Vec<Value> {
    tried.json()["items"].as_array().unwrap().clone()
}
