//! HTTP: what programs and operators ask a running daemon.
//!
//! `/api/v1` is for tenants and their people ([`v1`]): every route asks who the caller is, asks the catalog within the
//! caller's scope, and has what it changes audited.
//!
//! In: a [`Service`] that answers, and the address to listen on. Out: `/health` for those who must know whether recording
//! works, `/metrics` for Prometheus, `/status` for who sits at this machine. Nothing here waits for a packet or a disk.

pub mod audio;
mod bare;
mod caller;
mod calls;
mod document;
mod feed;
mod fields;
pub mod front;
mod idempotency;
mod inside;
mod installation;
mod live;
mod password_page;
mod problem;
mod reference;
mod refusals;
mod request;
mod retention;
mod routes;
mod schemas;
mod sensor;
mod sign_in;
mod state;
mod tenancy;
#[cfg(test)]
pub(crate) mod testing;
mod watching;
mod words;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde::Serialize;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use bare::Bare;
use front::{Door, Front, Tls};

pub use audio::{OggOpus, endless_wav};
pub use caller::{Caller, ClientAddress, RequestId};
pub use calls::remove_files;
pub use feed::{CallEvent, EventKind, Feed, Finished, Followed, Stored};
pub use inside::{Answer, Inside, Refused};
pub use installation::{
    HeldExtension, Installation, Kept, KeptPlans, KnownExtension, KnownPlan, NumberOf, Objection,
    users_in_use,
};
pub use live::Live;
pub use password_page::PATH as PASSWORD_PAGE;
pub use refusals::{record_last_refusals, record_refusals};
pub use retention::RetentionView;
pub use routes::AuditRecord;
pub use sensor::{
    Action, ActiveCall, ActiveParticipant, ActiveParty, Container, Hearing, LIVE_RATE_HZ,
    LiveAudio, Sensor, Steered, Steering, Unheard, Unsteered,
};
pub use sign_in::{SignInSettings, housekeeping};
pub use state::{Api, ApiSettings, WebhookSettings};

/// What the daemon answers with. Called on the thread that serves: must not block.
pub trait Service: Send + Sync + 'static {
    fn health(&self) -> Health;
    /// In Prometheus' text format, version 0.0.4.
    fn metrics(&self) -> String;
    /// How the daemon is, in numbers. Nothing about tenants or people.
    fn status(&self) -> serde_json::Value;
}

/// Whether calls are being recorded as configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// None: all is well.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// For programs; stable.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

impl Health {
    pub fn add(&mut self, code: &'static str, message: impl Into<String>) {
        let message = message.into();
        self.problems.push(Problem { code, message });
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address} ({setting}): {reason}")]
    Listen {
        address: SocketAddr,
        setting: &'static str,
        reason: std::io::Error,
    },
    #[error("cannot serve HTTP: {0}")]
    Serve(std::io::Error),
    #[error("cannot use the certificate {path} and its key: {why}")]
    Tls {
        path: std::path::PathBuf,
        why: String,
    },
}

/// Takes the port, so that a taken one is known at start. `setting` is where the address is written.
pub fn listen(address: SocketAddr, setting: &'static str) -> Result<TcpListener, Error> {
    let bind = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|reason| Error::Listen {
        address,
        setting,
        reason,
    })
}

/// The routes of `/api/v1`. Who asks is found out first (`sign_in`).
pub fn v1(api: Api) -> Router {
    let (router, document) = described();
    let once = from_fn_with_state(api.clone(), idempotency::once);
    let asks = from_fn_with_state(api.clone(), sign_in::authenticate);
    let bare = Arc::new(Bare::of(&document));
    let bare = from_fn_with_state(bare, bare::without_parameters);
    let router = router.merge(reference::routes(&document));
    let router = router.merge(password_page::routes());
    router.layer(bare).layer(once).layer(asks).with_state(api)
}

/// The OpenAPI document of `/api/v1`.
pub fn document() -> utoipa::openapi::OpenApi {
    described().1
}

/// An event as streams and webhooks tell it.
pub fn event_as_json(api: &Api, event: &CallEvent) -> serde_json::Value {
    routes::event_as_json(api, event)
}

fn described() -> (Router<Api>, utoipa::openapi::OpenApi) {
    let routes = OpenApiRouter::with_openapi(document::Document::openapi());
    let routes = routes.nest("/api/v1", routes::all());
    let (router, mut document) = routes.merge(routes::public()).split_for_parts();
    document::complete(&mut document);
    (router, document)
}

/// Where is answered.
pub struct Doors {
    /// Plain HTTP, and what is said to operators.
    pub plain: TcpListener,
    /// The API alone.
    pub tls: Option<(TcpListener, Arc<Tls>)>,
}

/// Answers, for ever. To be called within a tokio runtime.
pub async fn serve(
    doors: Doors,
    service: Arc<dyn Service>,
    api: Api,
    front: Arc<Front>,
) -> Result<(), Error> {
    let v1 = v1(api);
    let plain = Door {
        listener: doors.plain,
        tls: None,
        routes: front.around(routes(service).merge(v1.clone())),
    };
    let secure = doors.tls.map(|(listener, tls)| Door {
        listener,
        tls: Some(tls),
        routes: front.around(v1),
    });
    let doors = std::iter::once(plain).chain(secure);
    front::serve(doors.collect(), front).await
}

fn routes(service: Arc<dyn Service>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .with_state(service)
}

async fn health(State(service): State<Arc<dyn Service>>) -> Response {
    #[derive(Serialize)]
    struct Body {
        status: &'static str,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        reasons: Vec<Problem>,
    }
    let Health { problems } = service.health();
    let (code, status) = match problems.is_empty() {
        true => (StatusCode::OK, "ok"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "failing"),
    };
    let body = Body {
        status,
        reasons: problems,
    };
    (code, Json(body)).into_response()
}

/// For who collects them here or on the operator's own network: a proxy asks for others.
async fn metrics(State(service): State<Arc<dyn Service>>, headers: HeaderMap) -> Response {
    if front::is_forwarded(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], service.metrics()).into_response()
}

/// For who is on this machine: it says how large the installation is, and what is wrong with it. A proxy on this machine
/// asks for others, whether it is trusted or not.
async fn status(
    State(service): State<Arc<dyn Service>>,
    ConnectInfo(client): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    let forwarded = front::is_forwarded(&headers);
    match client.ip().to_canonical().is_loopback() && !forwarded {
        true => Json(service.status()).into_response(),
        false => StatusCode::FORBIDDEN.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use super::*;

    struct Answers(Health);

    impl Service for Answers {
        fn health(&self) -> Health {
            self.0.clone()
        }

        fn metrics(&self) -> String {
            "callreel_packets_total 7\n".into()
        }

        fn status(&self) -> serde_json::Value {
            serde_json::json!({ "status": "ok" })
        }
    }

    /// The answer to one request, head and body.
    fn ask(health: Health, path: &str) -> String {
        ask_with(health, path, "")
    }

    fn ask_with(health: Health, path: &str, header: &str) -> String {
        let listener = listen("127.0.0.1:0".parse().unwrap(), "api.listen").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let doors = Doors {
            plain: listener,
            tls: None,
        };
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let api = Api::new(ApiSettings::default());
            let front = Front::new(front::Settings::default());
            runtime.block_on(async {
                tokio::select! {
                    served = serve(doors, Arc::new(Answers(health)), api, front) => served,
                    _ = stopped => Ok(()),
                }
            })
        });
        let mut client = TcpStream::connect(address).unwrap();
        write!(
            client,
            "GET {path} HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        stop.send(()).unwrap();
        server.join().unwrap().unwrap();
        answer
    }

    #[test]
    fn health_is_200_or_503_with_reasons() {
        let answer = ask(Health::default(), "/health");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("{\"status\":\"ok\"}"), "{answer}");
        let mut health = Health::default();
        health.add("storage_low", "3 MiB are free");
        let answer = ask(health, "/health");
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(
            answer.ends_with(
                r#"{"status":"failing","reasons":[{"code":"storage_low","message":"3 MiB are free"}]}"#
            ),
            "{answer}"
        );
    }

    #[test]
    fn metrics_are_text_and_other_paths_do_not_exist() {
        let answer = ask(Health::default(), "/metrics");
        assert!(answer.contains("content-type: text/plain; version=0.0.4"));
        assert!(answer.ends_with("callreel_packets_total 7\n"));
        assert!(ask(Health::default(), "/").starts_with("HTTP/1.1 404 "));
    }

    #[test]
    fn the_status_is_json() {
        let answer = ask(Health::default(), "/status");
        assert!(answer.contains("content-type: application/json"));
        assert!(answer.ends_with("{\"status\":\"ok\"}"), "{answer}");
    }

    #[test]
    fn nobody_behind_a_proxy_learns_how_the_installation_is() {
        for path in ["/status", "/metrics"] {
            for header in [
                "X-Forwarded-For: 203.0.113.7",
                "Forwarded: for=203.0.113.7",
                "X-Real-IP: 203.0.113.7",
                "Via: 1.1 proxy.example",
            ] {
                let answer = ask_with(Health::default(), path, &format!("{header}\r\n"));
                assert!(answer.starts_with("HTTP/1.1 403 "), "{path}: {answer}");
                assert!(!answer.contains("callreel_"), "{path}: {answer}");
            }
        }
    }

    #[test]
    fn a_taken_port_is_an_error_that_names_the_setting() {
        let first = listen("127.0.0.1:0".parse().unwrap(), "api.listen").unwrap();
        let taken = listen(first.local_addr().unwrap(), "api.listen").unwrap_err();
        assert!(taken.to_string().contains("api.listen"), "{taken}");
    }
}
