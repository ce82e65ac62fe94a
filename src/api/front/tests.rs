//! All layers together, around routes made for them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Json};
use axum::routing::{get, post};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::server::OverTls;
use super::{Front, HoldsSecret, Settings};
use crate::api::caller::{Caller, ClientAddress, RequestId};

fn routes() -> Router {
    let long = || "{\"a\":\"".to_owned() + &"b".repeat(4000) + "\"}";
    let json_text = move || ([(header::CONTENT_TYPE, "application/json")], long());
    Router::new()
        .route("/who", get(who))
        .route("/slow", post(|_: Bytes| std::future::pending::<()>()))
        .route("/panic", get(panics))
        .route(
            "/length",
            post(|body: Bytes| async move { body.len().to_string() }),
        )
        .route(
            "/long",
            get(move || async move { json_text() }).post(move || async move { json_text() }),
        )
        .route(
            "/audio",
            get(move || async move { ([(header::CONTENT_TYPE, "audio/wav")], long()) }),
        )
        .route(
            "/secret",
            get(move || async move { (axum::Extension(HoldsSecret), json_text()) }),
        )
        .route(
            "/cookie",
            get(move || async move { ([(header::SET_COOKIE, "a=b")], json_text()) }),
        )
        .route("/private", get(|_: Caller| async {}))
}

async fn who(request: Request) -> impl IntoResponse {
    let address = request.extensions().get::<ClientAddress>().map(|a| a.0);
    let id = request
        .extensions()
        .get::<RequestId>()
        .map(|id| id.0.clone());
    Json(json!({ "address": address, "id": id }))
}

async fn panics() -> StatusCode {
    panic!("at the disco")
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }
}

fn front(settings: Settings) -> Arc<Front> {
    Front::new(settings)
}

async fn ask(
    front: &Arc<Front>,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: Body,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut request = request.body(body).unwrap();
    let peer: SocketAddr = "10.0.0.1:4000".parse().unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    if headers.contains(&("test", "tls")) {
        request.extensions_mut().insert(OverTls);
    }
    let (head, body) = front
        .around(routes())
        .oneshot(request)
        .await
        .unwrap()
        .into_parts();
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: body.collect().await.unwrap().to_bytes(),
    }
}

async fn look(path: &str, headers: &[(&str, &str)]) -> Answer {
    ask(
        &front(Settings::default()),
        Method::GET,
        path,
        headers,
        Body::empty(),
    )
    .await
}

#[tokio::test]
async fn a_request_is_called_by_its_clients_name_or_by_one_of_ours() {
    let answer = look("/who", &[("x-request-id", "order-66.a_b")]).await;
    assert_eq!(answer.header("x-request-id"), "order-66.a_b");
    assert_eq!(answer.json()["id"], "order-66.a_b");
    for bad in ["", "a b", "<script>", &"x".repeat(65)] {
        let answer = look("/who", &[("x-request-id", bad)]).await;
        let made: uuid::Uuid = answer.header("x-request-id").parse().unwrap();
        assert_eq!(made.get_version_num(), 7);
        assert_eq!(answer.json()["id"], made.to_string());
    }
}

#[tokio::test]
async fn whatever_goes_wrong_is_a_problem_document_that_names_the_request() {
    let asked = [("x-request-id", "r1")];
    for (path, status, kind) in [
        ("/nothing", 404, "not_found"),
        ("/length", 405, "method_not_allowed"),
        ("/private", 401, "unauthenticated"),
        ("/panic", 500, "internal"),
    ] {
        let answer = look(path, &asked).await;
        assert_eq!(answer.status, status, "{path}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem = answer.json();
        assert_eq!(problem["type"], format!("urn:callreel:problem:{kind}"));
        assert_eq!(
            (&problem["status"], &problem["request_id"]),
            (&status.into(), &"r1".into())
        );
        assert_eq!(
            answer.header("content-length"),
            answer.body.len().to_string()
        );
    }
    assert_eq!(look("/length", &[]).await.header("allow"), "POST");
    assert_eq!(
        look("/private", &[]).await.header("www-authenticate"),
        "Bearer"
    );
}

#[tokio::test]
async fn a_panic_is_counted_and_says_nothing() {
    let front = front(Settings::default());
    let answer = ask(&front, Method::GET, "/panic", &[], Body::empty()).await;
    assert!(!String::from_utf8_lossy(&answer.body).contains("disco"));
    assert_eq!(front.counters.panics.load(Ordering::Relaxed), 1);
    let answered: Vec<_> = front.counters.answers().collect();
    assert_eq!(answered[4], ("5xx", 1));
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read() {
    let front = front(Settings {
        max_body: 100,
        ..Settings::default()
    });
    let length = |length: usize, declared: bool| {
        let body = vec![b'x'; length];
        let chunks = body
            .chunks(10)
            .map(Bytes::copy_from_slice)
            .map(Ok::<_, std::io::Error>);
        let stream = futures_util::stream::iter(chunks.collect::<Vec<_>>());
        let body = match declared {
            true => Body::from(body),
            false => Body::from_stream(stream),
        };
        let declared = declared.then(|| length.to_string());
        let front = front.clone();
        async move {
            let headers = declared.iter().map(|length| ("content-length", &**length));
            let headers: Vec<_> = headers.collect();
            let answer = ask(&front, Method::POST, "/length", &headers, body).await;
            (answer.status, answer.json()["type"].clone())
        }
    };
    let too_large = (413, json!("urn:callreel:problem:too_large"));
    assert_eq!(length(100, true).await.0, 200);
    assert_eq!(length(100, false).await.0, 200);
    assert_eq!(length(101, true).await, too_large);
    assert_eq!(length(101, false).await, too_large);
    assert_eq!(front.counters.too_large_requests.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_503_and_a_body_that_does_is_408() {
    let front = front(Settings {
        patience: Duration::from_millis(50),
        ..Settings::default()
    });
    let late = ask(&front, Method::POST, "/slow", &[], "x".into()).await;
    assert_eq!((late.status, late.header("retry-after")), (503, "10"));
    assert_eq!(late.json()["type"], "urn:callreel:problem:timeout");
    let drip = futures_util::stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        Some((Ok::<_, std::io::Error>("x"), ()))
    });
    let slow = ask(&front, Method::POST, "/slow", &[], Body::from_stream(drip)).await;
    assert_eq!((slow.status, slow.header("connection")), (408, "close"));
    assert_eq!(front.counters.timed_out_requests.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn more_requests_than_there_are_places_are_asked_to_come_again() {
    let front = front(Settings::default());
    let places = front
        .places
        .acquire_many(super::MAX_REQUESTS as u32)
        .await
        .unwrap();
    let answer = ask(&front, Method::GET, "/who", &[], Body::empty()).await;
    assert_eq!((answer.status, answer.header("retry-after")), (503, "1"));
    drop(places);
    let answer = ask(&front, Method::GET, "/who", &[], Body::empty()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(front.counters.refused_requests.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn who_reads_no_answers_gets_no_more_of_them() {
    let front = front(Settings {
        max_connections_per_address: 2,
        ..Settings::default()
    });
    let routes = front.around(routes());
    let ask = async |client: [u8; 4]| {
        let mut request = Request::builder().uri("/long").body(Body::empty()).unwrap();
        let peer = SocketAddr::from((client, 4711));
        request.extensions_mut().insert(ConnectInfo(peer));
        routes.clone().oneshot(request).await.unwrap()
    };
    let client = [198, 51, 100, 7];
    let unread = [ask(client).await, ask(client).await];
    let refused = ask(client).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(
        ask([198, 51, 100, 8]).await.status(),
        200,
        "others are answered"
    );
    let [first, _second] = unread;
    first.into_body().collect().await.unwrap();
    assert_eq!(ask(client).await.status(), 200);
}

#[tokio::test]
async fn text_is_compressed_and_audio_and_secrets_are_not() {
    let gzip = [("accept-encoding", "gzip, br")];
    let coding = |answer: Answer| answer.header("content-encoding").to_owned();
    assert_eq!(coding(look("/long", &gzip).await), "gzip");
    assert_eq!(coding(look("/long", &[]).await), "");
    for path in ["/audio", "/secret", "/cookie", "/who"] {
        assert_eq!(coding(look(path, &gzip).await), "", "{path}");
    }
    let front = front(Settings::default());
    let posted = ask(&front, Method::POST, "/long", &gzip, Body::empty()).await;
    assert_eq!((posted.status, coding(posted)), (200, String::new()));
}

#[tokio::test]
async fn browsers_are_told_to_do_nothing_with_answers() {
    for path in ["/who", "/nothing", "/panic"] {
        let answer = look(path, &[]).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(
            answer
                .header("content-security-policy")
                .contains("frame-ancestors 'none'")
        );
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("strict-transport-security"), "");
    }
    // A browser that is given the address of audio plays it in a page that this holds for.
    let of = async |path| {
        look(path, &[])
            .await
            .header("content-security-policy")
            .to_owned()
    };
    assert!(
        of("/audio")
            .await
            .contains("default-src 'none'; media-src 'self'; frame-ancestors 'none'")
    );
    assert!(!of("/who").await.contains("media-src"));
    let answer = look("/who", &[("test", "tls")]).await;
    assert_eq!(
        answer.header("strict-transport-security"),
        "max-age=31536000"
    );
}

#[tokio::test]
async fn a_trusted_proxy_says_who_asks_and_others_do_not() {
    let said = [
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
    ];
    let answer = look("/who", &said).await;
    assert_eq!(answer.json()["address"], "10.0.0.1");
    assert_eq!(answer.header("strict-transport-security"), "");
    let front = front(Settings {
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        ..Settings::default()
    });
    let answer = ask(&front, Method::GET, "/who", &said, Body::empty()).await;
    assert_eq!(answer.json()["address"], "203.0.113.7");
    assert_eq!(
        answer.header("strict-transport-security"),
        "max-age=31536000"
    );
    let lie = [said[0], ("forwarded", "for=127.0.0.1")];
    let answer = ask(&front, Method::GET, "/who", &lie, Body::empty()).await;
    assert_eq!(answer.json()["type"], "urn:callreel:problem:malformed");
}
