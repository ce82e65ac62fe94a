//! Two tenants and the System tenant, each with its people and things, behind the front of the API.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, Response, header};
use callreel::access::{Actor, PasswordCost, Preset, Principal};
use callreel::api::front::{Door, Front, Settings, serve};
use callreel::api::{Api, ApiSettings, SignInSettings, v1};
use callreel::base::{GroupId, SYSTEM_TENANT, TenantId, Timestamp, UserId};
use callreel::catalog::{Catalog, Home};
use callreel::daemon::tenancy::{Configured, Tenancy, Watching};
use callreel::mail::{Encryption, Mailer, Outbox, Settings as MailSettings};
use http_body_util::BodyExt;
use serde_json::Value;
use sqlx::sqlite::SqlitePool;
use tower::ServiceExt;
use uuid::Uuid;

use super::present::{Asked, Present};

pub const ACME: TenantId = TenantId(Uuid::from_u128(0xacce << 100 | 1));
pub const GLOBEX: TenantId = TenantId(Uuid::from_u128(0x910b << 100 | 2));

/// A text that is in everything of a tenant that has text, and in nothing of another.
pub fn canary(tenant: TenantId) -> &'static str {
    match tenant {
        ACME => "zqacmezq",
        GLOBEX => "zqglobexzq",
        _ => "zqsystemzq",
    }
}

/// A stream of events has no end: what it says at once is everything.
const QUIET: Duration = Duration::from_millis(50);

async fn everything(headers: &HeaderMap, mut body: Body) -> Vec<u8> {
    let kind = headers.get(header::CONTENT_TYPE);
    if kind.is_none_or(|kind| kind != "text/event-stream") {
        return body.collect().await.unwrap().to_bytes().to_vec();
    }
    let mut said = Vec::new();
    while let Ok(Some(frame)) = tokio::time::timeout(QUIET, body.frame()).await {
        said.extend(frame.unwrap().into_data().unwrap_or_default());
    }
    said
}

pub struct World {
    pub api: Api,
    pub catalog: Catalog,
    /// The same file, for what the catalog gives no way to write.
    pub raw: SqlitePool,
    pub present: Arc<Present>,
    front: Arc<Front>,
    router: Router,
    made: AtomicU64,
    watching: Option<Watching>,
    folder: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.watching.take().into_iter().for_each(Watching::finish);
    }
}

/// Passwords whose hashes cost next to nothing.
pub const COST: PasswordCost = PasswordCost {
    memory_kib: 8,
    passes: 1,
};

/// Takes letters, and sends none.
fn outbox() -> Outbox {
    let settings = MailSettings {
        host: "127.0.0.1".into(),
        port: 9,
        encryption: Encryption::None,
        trusted: None,
        credentials: None,
        from: "callreel@callreel.example".into(),
    };
    Outbox::new(Mailer::new(&settings).unwrap()).0
}

/// The directory as a daemon without any configuration keeps it.
fn directory(folder: &Path, url: &str) -> (Arc<Tenancy>, Watching) {
    let file = folder.join("callreel.toml");
    std::fs::write(&file, "").unwrap();
    let configured = Configured::new(&callreel::config::load(&file).unwrap());
    let (tenancy, nudges) = Tenancy::new(configured, folder);
    let (of_thread, url) = (tenancy.clone(), url.to_owned());
    // It has a runtime of its own.
    let start = move || Watching::start(of_thread, Home::new(&url), nudges).unwrap();
    let watching = std::thread::spawn(start).join().unwrap();
    (tenancy, watching)
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Somebody {
    pub preset: Preset,
    pub principal: Principal,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Everything that tells one answer from another, but for the request's own id.
    pub fn looks(&self) -> String {
        let mut headers: Vec<_> = self.headers.iter().collect();
        headers.retain(|(name, _)| *name != "x-request-id" && *name != header::DATE);
        let mut body = self.json();
        if let Some(fields) = body.as_object_mut() {
            fields.remove("request_id");
        }
        let body = match body {
            Value::Null => self.text(),
            body => body.to_string(),
        };
        format!("{} {headers:?} {body}", self.status)
    }
}

impl World {
    pub async fn new() -> World {
        // In memory, where there is such a place.
        let shm = std::path::Path::new("/dev/shm");
        let folder = match shm.is_dir() {
            true => tempfile::tempdir_in(shm).unwrap(),
            false => tempfile::tempdir().unwrap(),
        };
        let url = format!("sqlite://{}", folder.path().join("catalog.db").display());
        let catalog = Catalog::open(&url).await.unwrap();
        let raw = SqlitePool::connect(&url).await.unwrap();
        let api = Api::new(ApiSettings {
            storage: callreel::storage::Layout::new(folder.path().join("recordings")),
            multi_tenancy: true,
            sign_in: SignInSettings {
                base_url: Some("https://callreel.example".into()),
                reset_url: Some("https://callreel.example/reset-password".into()),
                cost: COST,
                key_file: folder.path().join("access.key"),
                ..SignInSettings::default()
            },
            ..ApiSettings::default()
        });
        api.set_catalog(catalog.clone());
        api.set_outbox(outbox());
        let (tenancy, watching) = directory(folder.path(), &url);
        api.set_installation(tenancy);
        let present = Arc::<Present>::default();
        api.live().set_sensor(Arc::new(Asked(present.clone())));
        let front = Front::new(Settings::default());
        let world = World {
            catalog,
            raw,
            present,
            router: front.around(v1(api.clone())),
            api,
            front,
            made: AtomicU64::new(1),
            watching: Some(watching),
            folder,
        };
        for (tenant, slug) in [(ACME, "acme"), (GLOBEX, "globex")] {
            world.register(tenant, slug).await;
        }
        for tenant in [SYSTEM_TENANT, ACME, GLOBEX] {
            world.settle(tenant).await;
        }
        world
    }

    /// Answers at an address of the loopback, as long as the runtime lives.
    pub fn open(&self, around: impl FnOnce(Router) -> Router) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let door = Door {
            listener,
            tls: None,
            routes: around(self.router.clone()),
        };
        let front = self.front.clone();
        tokio::spawn(async move { serve(vec![door], front).await.unwrap() });
        address
    }

    /// What answers, for who asks in a task of its own.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// Where recordings and the catalog are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A tenant has so many webhooks at most.
    pub async fn forget_webhooks(&self, tenant: TenantId) {
        for statement in [
            "DELETE FROM deliveries WHERE webhook_id IN (SELECT id FROM webhooks WHERE tenant_id = ?)",
            "DELETE FROM webhooks WHERE tenant_id = ?",
        ] {
            let done = sqlx::query(statement).bind(tenant.0).execute(&self.raw);
            done.await.unwrap();
        }
    }

    async fn register(&self, tenant: TenantId, slug: &str) {
        sqlx::query("INSERT INTO registered_tenants (id, name, slug, created_at, changed_at) VALUES (?, ?, ?, 0, 0)")
            .bind(tenant.0)
            .bind(canary(tenant))
            .bind(slug)
            .execute(&self.raw)
            .await
            .unwrap();
    }

    /// A group, and in it a user of each preset.
    async fn settle(&self, tenant: TenantId) {
        sqlx::query("INSERT INTO groups (id, tenant_id, name, description, created_at, changed_at) VALUES (?, ?, ?, '', 0, 0)")
            .bind(group(tenant).0)
            .bind(tenant.0)
            .bind(format!("{} team", canary(tenant)))
            .execute(&self.raw)
            .await
            .unwrap();
        for preset in Preset::of_tenant(tenant) {
            sqlx::query(
                "INSERT INTO users (id, tenant_id, login, name, group_id, role_id, created_at, changed_at) \
                 VALUES (?, ?, ?, ?, ?, ?, 0, 0)",
            )
            .bind(user(tenant, preset).0)
            .bind(tenant.0)
            .bind(login(tenant, preset))
            .bind(format!("{} {}", canary(tenant), preset.name()))
            .bind(group(tenant).0)
            .bind(preset.role_id(tenant).0)
            .execute(&self.raw)
            .await
            .unwrap();
        }
    }

    /// The holder of a preset role: of the System tenant where the role is of that, else of the tenant.
    pub fn somebody(&self, tenant: TenantId, preset: Preset) -> Somebody {
        let of_tenant = Preset::of_tenant(tenant).any(|one| one == preset);
        let home = if of_tenant { tenant } else { SYSTEM_TENANT };
        let login: Arc<str> = login(home, preset).into();
        let actor = Actor::User {
            id: user(home, preset),
            login: login.clone(),
        };
        let groups = Arc::new([group(home)]);
        let principal = Principal::new(actor, home, login, &preset.role(home), groups);
        Somebody {
            preset,
            principal: principal.stepped_up(now()),
        }
    }

    pub fn root(&self) -> Somebody {
        self.somebody(SYSTEM_TENANT, Preset::RootAdministrator)
    }

    /// A number that nothing else was made with.
    pub fn number(&self) -> u64 {
        self.made.fetch_add(1, Ordering::Relaxed)
    }

    /// `{new}` and `{kind}` filled in.
    pub fn fill(&self, body: &str, tenant: TenantId, own: &BTreeMap<String, Uuid>) -> Value {
        let new = format!("{} {}", canary(tenant), self.number());
        let mut text = body
            .replace("{new}", &new)
            .replace("{slug}", &format!("s{}", self.number()));
        for (kind, id) in own {
            text = text.replace(&format!("{{{kind}}}"), &id.to_string());
        }
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    pub async fn ask(
        &self,
        who: Option<&Somebody>,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let (head, body) = self
            .send(who, method, path, headers, body)
            .await
            .into_parts();
        Answer {
            status: head.status.as_u16(),
            body: everything(&head.headers, body).await,
            headers: head.headers,
        }
    }

    async fn send(
        &self,
        who: Option<&Somebody>,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Response<Body> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let bytes = match body {
            Some(body) => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        let mut request = request.body(bytes).unwrap();
        if let Some(who) = who {
            request.extensions_mut().insert(who.principal.clone());
        }
        self.router.clone().oneshot(request).await.unwrap()
    }
}

pub fn group(tenant: TenantId) -> GroupId {
    GroupId(Uuid::from_u128(tenant.0.as_u128() ^ 0x6000))
}

pub fn user(tenant: TenantId, preset: Preset) -> UserId {
    let place = Preset::ALL.iter().position(|one| *one == preset).unwrap() as u128;
    UserId(Uuid::from_u128(tenant.0.as_u128() ^ (0x7000 + place)))
}

fn login(tenant: TenantId, preset: Preset) -> String {
    format!("{}.{}", preset.name().replace(' ', "."), canary(tenant)).to_lowercase()
}

/// Everybody has just shown again who they are.
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Timestamp::from_nanos(since.unwrap().as_nanos() as i64)
}
