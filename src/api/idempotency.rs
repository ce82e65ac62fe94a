//! `Idempotency-Key`: a creation that is asked for again, because its answer was lost, happens once.

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use super::front::HoldsSecret;
use super::problem::{Problem, Result};
use super::state::Api;
use crate::access::Principal;
use crate::catalog::{Asked, KeptAnswer, KeyedRequest};

pub(super) const HEADER: &str = "idempotency-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Headers of an answer that are kept with it.
const KEPT: [&str; 3] = ["content-type", "etag", "location"];
/// Bytes of a body that is kept; a longer one is not an answer to a creation.
const MAX_KEPT: usize = 256 * 1024;
/// Bytes of a request's body: the front has bounded it before.
const MAX_BODY: usize = 64 << 20;

/// Lets a POST with a key through once. Around the routes, within who finds out who asks.
pub(super) async fn once(State(api): State<Api>, request: Request, next: Next) -> Response {
    let principal = request.extensions().get::<Principal>().cloned();
    let keyed = request.method() == Method::POST && request.headers().contains_key(HEADER);
    match principal.filter(|_| keyed) {
        None => next.run(request).await,
        Some(principal) => {
            let answer = keyed_answer(api, principal, request, next).await;
            answer.unwrap_or_else(IntoResponse::into_response)
        }
    }
}

async fn keyed_answer(
    api: Api,
    principal: Principal,
    request: Request,
    next: Next,
) -> Result<Response> {
    let key = key_of(request.headers())?;
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY).await;
    let body =
        body.map_err(|_| Problem::malformed("the body did not come whole, or is too large"))?;
    let keyed = KeyedRequest {
        principal: name_of(&principal),
        key,
        hash: hash_of(&principal, &parts.uri.to_string(), &body),
    };
    let catalog = api.catalog()?;
    match catalog.begin_keyed(&keyed).await? {
        Asked::Answered(kept) => again(kept),
        Asked::Unfinished => Err(unfinished()),
        Asked::Another => Err(Problem::invalid(
            "Idempotency-Key",
            "it was sent with another request: take a new one",
        )),
        Asked::First => {
            let request = Request::from_parts(parts, Body::from(body));
            // It is finished also when nobody waits for the answer any more: that is what the key is for.
            let work = tokio::spawn(async move {
                let (answer, kept) = read(next.run(request).await).await;
                let noted = match kept {
                    Some(kept) => catalog.finish_keyed(&keyed, &kept).await,
                    None => catalog.forget_keyed(&keyed).await,
                };
                if let Err(error) = noted {
                    tracing::warn!(%error, "an answer to a request with a key is not kept");
                }
                answer
            });
            work.await.map_err(|_| Problem::internal())
        }
    }
}

fn key_of(headers: &HeaderMap) -> Result<String> {
    let key = headers
        .get(HEADER)
        .and_then(|key| key.to_str().ok())
        .unwrap_or("");
    let fits = (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    match fits {
        true => Ok(key.to_owned()),
        false => Err(
            Problem::malformed("1 to 255 printable characters without spaces")
                .field("Idempotency-Key"),
        ),
    }
}

fn name_of(principal: &Principal) -> String {
    let actor = principal.actor();
    let id = actor
        .id()
        .map_or_else(|| actor.name().to_owned(), |id| id.to_string());
    format!("{}:{id}", actor.kind())
}

/// Of what is asked, and of the rights it is asked with: who has lost some does not get an answer from before.
fn hash_of(principal: &Principal, uri: &str, body: &[u8]) -> [u8; 32] {
    let rights = format!(
        "{:?} {:?} {}",
        principal.level(),
        principal.permissions(),
        principal.tenant().0
    );
    let mut hasher = blake3::Hasher::new_derive_key("callreel keyed request v1");
    for part in [rights.as_bytes(), uri.as_bytes(), body] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

fn unfinished() -> Problem {
    let title = "This request came before, and is not answered yet";
    Problem::new(StatusCode::CONFLICT, "unfinished", title)
        .detail("wait for its answer; if there is none, look whether the thing is there and take a new key")
        .retry_after(1)
}

/// The answer, and what is to be kept of it: nothing where nothing was created.
async fn read(answer: Response) -> (Response, Option<KeptAnswer>) {
    if answer.status() != StatusCode::CREATED {
        return (answer, None);
    }
    let secret = answer.extensions().get::<HoldsSecret>().is_some()
        || answer.headers().contains_key("set-cookie");
    let (parts, body) = answer.into_parts();
    let Ok(bytes) = to_bytes(body, MAX_KEPT).await else {
        return (Problem::internal().into_response(), None);
    };
    let header = |name: &&str| {
        let value = parts.headers.get(*name)?.to_str().ok()?;
        Some(((*name).to_owned(), Value::from(value)))
    };
    let headers: Map<String, Value> = KEPT.iter().filter_map(header).collect();
    let kept = KeptAnswer {
        status: parts.status.as_u16(),
        headers: Value::from(headers).to_string(),
        body: (!secret).then(|| bytes.to_vec()),
    };
    (Response::from_parts(parts, Body::from(bytes)), Some(kept))
}

/// The answer that was given before.
fn again(kept: KeptAnswer) -> Result<Response> {
    let Some(body) = kept.body else {
        let title = "It was done, and what was answered is told once";
        return Err(Problem::new(StatusCode::CONFLICT, "told_once", title));
    };
    let mut answer = Response::new(Body::from(body));
    *answer.status_mut() = StatusCode::from_u16(kept.status).unwrap_or_default();
    let headers: Map<String, Value> = serde_json::from_str(&kept.headers).unwrap_or_default();
    for (name, value) in headers {
        let name = HeaderName::try_from(name);
        let value = HeaderValue::try_from(value.as_str().unwrap_or_default());
        if let (Ok(name), Ok(value)) = (name, value) {
            answer.headers_mut().insert(name, value);
        }
    }
    answer
        .headers_mut()
        .insert(REPLAYED, HeaderValue::from_static("true"));
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::access::Preset;
    use crate::api::testing::{Asking, Tried, World};

    async fn create(who: &Asking<'_>, key: &str, name: &str) -> Tried {
        let body = Some(json!({ "name": name }));
        who.ask(Method::POST, "/groups", &[(HEADER, key)], body)
            .await
    }

    #[tokio::test]
    async fn a_creation_that_is_sent_twice_creates_once() {
        let world = World::new().await;
        let ann = world.user("acme", Preset::TenantAdministrator);
        let first = create(&ann, "k1", "Sales").await.expect(201);
        let second = create(&ann, "k1", "Sales").await.expect(201);
        assert_eq!(first.body, second.body);
        assert_eq!(
            (first.location(), first.etag()),
            (second.location(), second.etag())
        );
        assert_eq!(second.headers["idempotency-replayed"], "true");
        assert_eq!(world.audit("acme").await, ["groups.create"]);
        let other = create(&ann, "k1", "Marketing").await.expect(422);
        assert_eq!(other.json()["field"], "Idempotency-Key");
        create(&ann, "k2", "Marketing").await.expect(201);
    }

    #[tokio::test]
    async fn what_failed_may_be_sent_again() {
        let world = World::new().await;
        let ann = world.user("acme", Preset::TenantAdministrator);
        create(&ann, "k1", "").await.expect(422);
        create(&ann, "k1", "Sales").await.expect(201);
        for bad in ["", "a b", &"x".repeat(256)] {
            assert_eq!(
                create(&ann, bad, "x").await.expect(400).json()["field"],
                "Idempotency-Key"
            );
        }
    }

    #[tokio::test]
    async fn nobody_gets_anothers_answer_or_one_that_is_beyond_their_rights() {
        let world = World::new().await;
        let ann = world.user("acme", Preset::TenantAdministrator);
        create(&ann, "k1", "Sales").await.expect(201);
        let foreign = world.user("globex", Preset::TenantAdministrator);
        let made = create(&foreign, "k1", "Sales").await.expect(201);
        assert!(!made.headers.contains_key("idempotency-replayed"));
        // The same person with fewer rights.
        let reader = world.user("acme", Preset::Reader);
        create(&reader, "k1", "Sales").await.expect(422);
        world
            .nobody()
            .ask(
                Method::POST,
                "/groups",
                &[(HEADER, "k1")],
                Some(json!({ "name": "x" })),
            )
            .await
            .expect(401);
    }
}
