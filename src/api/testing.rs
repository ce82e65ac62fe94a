//! A small world for the tests of routes: two tenants and the System tenant, and people who ask.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;
use uuid::Uuid;

pub use super::feed::tests::call as active_call;
use super::sign_in::SignInSettings;
use super::state::{Api, ApiSettings};
use crate::access::{Actor, Preset, Principal, Role};
use crate::base::{SYSTEM_TENANT, TenantId, UserId};
use crate::catalog::Catalog;
use crate::storage::{Keys, Layout};

/// An API over a catalog of its own.
pub struct World {
    pub catalog: Catalog,
    pub api: Api,
    router: Router,
    folder: tempfile::TempDir,
}

impl World {
    /// With the tenants `acme` and `globex`.
    pub async fn new() -> World {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("catalog.db").display());
        let catalog = Catalog::open(&url).await.unwrap();
        for slug in ["acme", "globex"] {
            catalog.register_for_tests(tenant(slug), slug).await;
        }
        let api = Api::new(ApiSettings {
            storage: Layout::new(folder.path().join("recordings"))
                .with_keys(Arc::new(Keys::at(folder.path().join("recordings.key")))),
            multi_tenancy: true,
            sign_in: sign_in_settings(folder.path()),
            ..ApiSettings::default()
        });
        api.set_catalog(catalog.clone());
        World {
            router: super::v1(api.clone()),
            api,
            catalog,
            folder,
        }
    }

    /// Where the catalog and the storage are.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub fn url(&self) -> String {
        format!("sqlite://{}", self.folder().join("catalog.db").display())
    }

    /// The id of `acme`, `globex` or `system`.
    pub fn tenant(&self, slug: &str) -> Uuid {
        tenant(slug).0
    }

    /// Somebody of the tenant with this role. There is no user of that name in the catalog.
    pub fn user(&self, slug: &str, preset: Preset) -> Asking<'_> {
        self.somebody(slug, &preset.role(tenant(slug)))
    }

    pub fn somebody(&self, slug: &str, role: &Role) -> Asking<'_> {
        let id = UserId(Uuid::from_u128(0xa11 + slug.len() as u128));
        let login: Arc<str> = "ann".into();
        let actor = Actor::User {
            id,
            login: login.clone(),
        };
        self.principal(Principal::new(
            actor,
            tenant(slug),
            login,
            role,
            Arc::new([]),
        ))
    }

    /// A user of the catalog, with the rights of this moment; nobody when there are none.
    pub async fn signed_in(&self, user: &Value) -> Asking<'_> {
        let id = user["id"].as_str().unwrap().parse().unwrap();
        let person = self.catalog.principal_of_user(id).await.unwrap();
        match person {
            Some(person) => self.principal(person.principal()),
            None => self.nobody(),
        }
    }

    /// As [`World::user`].
    pub fn sure(&self, slug: &str, preset: Preset) -> Asking<'_> {
        self.user(slug, preset)
    }

    /// Who has just signed in, which is good as a step-up.
    pub fn principal(&self, principal: Principal) -> Asking<'_> {
        Asking {
            world: self,
            principal: Some(principal.stepped_up(crate::catalog::wall_clock())),
        }
    }

    /// Somebody who has not signed in.
    pub fn nobody(&self) -> Asking<'_> {
        Asking {
            world: self,
            principal: None,
        }
    }

    /// The actions in the tenant's audit, first one first.
    pub async fn audit(&self, slug: &str) -> Vec<String> {
        self.catalog.audited_actions_for_tests(tenant(slug)).await
    }
}

/// With hashes that cost next to nothing.
fn sign_in_settings(folder: &std::path::Path) -> SignInSettings {
    SignInSettings {
        base_url: Some("https://callreel.example".into()),
        reset_url: Some("https://callreel.example/reset-password".into()),
        cost: crate::access::PasswordCost {
            memory_kib: 8,
            passes: 1,
        },
        key_file: folder.join("access.key"),
        ..SignInSettings::default()
    }
}

pub fn tenant(slug: &str) -> TenantId {
    match slug {
        "system" => SYSTEM_TENANT,
        "acme" => TenantId(Uuid::from_u128(0xacc0 << 64 | 1)),
        _ => TenantId(Uuid::from_u128(0xacc0 << 64 | 2)),
    }
}

/// Who asks.
pub struct Asking<'w> {
    world: &'w World,
    principal: Option<Principal>,
}

impl Asking<'_> {
    /// The same, who signed in long ago.
    #[must_use]
    pub fn stale(mut self) -> Self {
        let long_ago = crate::base::Timestamp::from_nanos(0);
        let stale = |principal: Principal| principal.stepped_up(long_ago);
        self.principal = self.principal.map(stale);
        self
    }

    pub async fn get(&self, path: &str) -> Tried {
        self.ask(Method::GET, path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Tried {
        self.ask(Method::POST, path, &[], Some(body)).await
    }

    pub async fn put(&self, path: &str, etag: &str, body: Value) -> Tried {
        let headers = [(header::IF_MATCH.as_str(), etag)];
        self.ask(Method::PUT, path, &headers, Some(body)).await
    }

    pub async fn delete(&self, path: &str, etag: &str) -> Tried {
        let headers = [(header::IF_MATCH.as_str(), etag)];
        self.ask(Method::DELETE, path, &headers, None).await
    }

    /// A path is below `/api/v1`, or whole.
    pub async fn ask(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Tried {
        Tried::read(self.send(method, path, headers, body).await).await
    }

    /// As [`Asking::ask`], of an answer that does not end.
    pub async fn begin(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Response<Body> {
        self.send(method, path, headers, None).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Response<Body> {
        let whole = path.starts_with("/api/v1/")
            || path.starts_with("/s/")
            || path.starts_with("/reset-password");
        let prefix = if whole { "" } else { "/api/v1" };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{prefix}{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map_or(Body::empty(), |body| Body::from(body.to_string()));
        let mut request = request.body(body).unwrap();
        if let Some(principal) = &self.principal {
            request.extensions_mut().insert(principal.clone());
        }
        self.world.router.clone().oneshot(request).await.unwrap()
    }
}

/// An answer.
#[derive(Debug)]
pub struct Tried {
    pub status: StatusCode,
    pub headers: axum::http::HeaderMap,
    pub body: Vec<u8>,
}

impl Tried {
    async fn read(response: Response<Body>) -> Tried {
        let (head, body) = response.into_parts();
        Tried {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes().to_vec(),
        }
    }

    #[track_caller]
    pub fn expect(self, status: u16) -> Tried {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status.as_u16(), status, "{body}");
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: header::HeaderName) -> String {
        self.headers[name].to_str().unwrap().to_owned()
    }

    pub fn etag(&self) -> String {
        self.header(header::ETAG)
    }

    pub fn location(&self) -> String {
        self.header(header::LOCATION)
    }
}
