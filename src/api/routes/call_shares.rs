//! `/calls/{id}/shares` and `/call-shares`: links by which somebody without an account hears one call; and `/s/{token}`, where they lead.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::access::{
    Event, MAX_PASSWORD_BYTES, Operation, Outcome, Password, Resource, Verdict, random,
};
use crate::api::audio::{self, Asked, AudioFile, Format, Purpose};
use crate::api::caller::{Caller, Client};
use crate::api::calls::{Grant, ShareToken, by, found, now};
use crate::api::fields::{self, Page};
use crate::api::front::HoldsSecret;
use crate::api::problem::{Problem, Result};
use crate::api::request::{Body, Id, Parameters};
use crate::api::sign_in::too_many;
use crate::api::state::Api;
use crate::catalog::{Opened, Share, ShareDraft};

/// The longest life of a link.
const LONGEST: Duration = Duration::from_secs(90 * 86_400);
/// How long the audio can be heard after a link was opened.
const GRANTED: Duration = Duration::from_secs(3600);

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(revoke))
}

/// Those that nobody signs in for.
pub(super) fn public() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(open, open_with_password))
        .routes(routes!(hear))
}

/// A link by which somebody without an account hears one call.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Share)]
struct ShareView {
    id: Uuid,
    call_id: Uuid,
    created_at: String,
    created_by: String,
    reason: String,
    expires_at: String,
    revoked_at: Option<String>,
    has_password: bool,
    max_uses: Option<u64>,
    uses: u64,
    last_used_at: Option<String>,
    /// The path of the link. Only in the answer that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
}

impl ShareView {
    fn new(share: &Share, path: Option<String>) -> ShareView {
        ShareView {
            id: share.id,
            call_id: share.call,
            created_at: share.created_at.to_string(),
            created_by: share.created_by.clone(),
            reason: share.reason.clone(),
            expires_at: share.expires_at.to_string(),
            revoked_at: share.revoked_at.as_ref().map(ToString::to_string),
            has_password: share.password_hash.is_some(),
            max_uses: share.max_uses,
            uses: share.uses,
            last_used_at: share.last_used_at.as_ref().map(ToString::to_string),
            path,
        }
    }
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ShareBody {
    /// For whom, and why.
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
    /// How long the link leads anywhere: at most 90 days.
    #[schema(minimum = 60, maximum = 7776000)]
    expires_in_seconds: u64,
    /// Who opens the link is asked for it. At least 8 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    password: Option<Password>,
    /// How often it can be opened.
    #[serde(default)]
    #[schema(minimum = 1)]
    max_uses: Option<u64>,
}

impl ShareBody {
    async fn draft(self, api: &Api) -> Result<ShareDraft> {
        let life = Duration::from_secs(self.expires_in_seconds);
        if !(Duration::from_secs(60)..=LONGEST).contains(&life) {
            let range = format!("60 to {}", LONGEST.as_secs());
            return Err(Problem::invalid("expires_in_seconds", range));
        }
        if self.max_uses == Some(0) {
            return Err(Problem::invalid("max_uses", "1 or more"));
        }
        Ok(ShareDraft {
            reason: fields::line("reason", &self.reason, 1, 500)?,
            expires_at: now() + life,
            password_hash: match self.password {
                Some(password) => Some(hashed(api, &password).await?),
                None => None,
            },
            max_uses: self.max_uses,
        })
    }
}

async fn hashed(api: &Api, password: &Password) -> Result<String> {
    let length = password.reveal().chars().count();
    if !(8..=128).contains(&length) {
        return Err(Problem::invalid("password", "8 to 128 characters"));
    }
    api.sign_in().hash(password).await
}

/// The links of a call, the newest first.
#[utoipa::path(get, path = "/calls/{id}/shares", tag = "calls", operation_id = "list_call_shares",
    params(("id" = Uuid, Path)), responses((status = 200, body = Page<ShareView>)))]
async fn list(State(api): State<Api>, caller: Caller, Id(id): Id) -> Result<Json<Page<ShareView>>> {
    caller.needs(Resource::Calls, Operation::Share)?;
    let call = found(&api, &caller, id).await?;
    let shares = api.catalog()?.shares(&call).await?;
    Ok(Json(Page {
        items: shares
            .iter()
            .map(|share| ShareView::new(share, None))
            .collect(),
        next: None,
    }))
}

/// A new link. Nobody makes one to what they may not hear.
#[utoipa::path(post, path = "/calls/{id}/shares", tag = "calls", operation_id = "create_call_share",
    params(("id" = Uuid, Path)), request_body = ShareBody, responses((status = 201, body = ShareView)))]
async fn create(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    Body(body): Body<ShareBody>,
) -> Result<(StatusCode, Extension<HoldsSecret>, Json<ShareView>)> {
    caller.needs(Resource::Calls, Operation::Share)?;
    caller.needs(Resource::Calls, Operation::Playback)?;
    let catalog = api.catalog()?;
    let call = found(&api, &caller, id).await?;
    if call.file_path.is_none() {
        return Err(Problem::conflict(
            "id",
            "there is no recording of this call",
        ));
    }
    let draft = body.draft(&api).await?;
    let key = catalog.share_key(*random::<32>()).await?;
    let mut change = catalog.change().await?;
    let call = change.call_to_mark(&caller.scope(), id).await?;
    let call = call.ok_or_else(Problem::not_found)?;
    let creator = caller.principal.actor().id();
    let share = change
        .create_share(&call, creator, &by(&caller, call.tenant), &draft)
        .await?;
    let event = caller
        .event("calls.share")
        .of_tenant(call.tenant)
        .on("call", id)
        .change(None, Some(state(&share)))
        .because(&share.reason);
    change.commit(event).await?;
    let path = format!("/s/{}", ShareToken(share.id).to_text(&key));
    Ok((
        StatusCode::CREATED,
        Extension(HoldsSecret),
        Json(ShareView::new(&share, Some(path))),
    ))
}

/// Revokes a link: it leads nowhere from now on.
#[utoipa::path(delete, path = "/call-shares/{id}", tag = "calls", operation_id = "revoke_call_share",
    params(("id" = Uuid, Path)), responses((status = 204)))]
async fn revoke(State(api): State<Api>, caller: Caller, Id(id): Id) -> Result<StatusCode> {
    caller.needs(Resource::Calls, Operation::Share)?;
    let mut change = api.catalog()?.change().await?;
    let share = change.share(&caller.scope(), id).await?;
    let share = share.ok_or_else(Problem::not_found)?;
    change.revoke_share(&share).await?;
    let event = caller.event("calls.unshare").of_tenant(share.tenant);
    change
        .commit(
            event
                .on("call", share.call)
                .change(Some(state(&share)), None),
        )
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a link leads to.
#[derive(Debug, Serialize, ToSchema)]
struct SharedCall {
    started_at: String,
    length_ms: u64,
    /// Where its audio can be heard for an hour.
    audio: String,
    expires_at: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct OpenBody {
    #[schema(value_type = String)]
    password: Password,
}

/// Opens a link. A link that is not signed, over, revoked or used up is not there, nor one whose maker may not hear or share
/// the call any more. HEAD says whether it leads anywhere, and is no use of it.
#[utoipa::path(get, path = "/s/{token}", tag = "shares", operation_id = "open_share", security(()),
    params(("token" = String, Path)), responses((status = 200, body = SharedCall)))]
async fn open(
    State(api): State<Api>,
    client: Client,
    method: Method,
    Path(token): Path<String>,
) -> Result<Response> {
    if method == Method::HEAD {
        let (_, Opened { share, .. }) = followed(&api, &token).await?;
        return match share.password_hash {
            Some(_) => Err(wrong_password()),
            None => Ok([(header::CONTENT_TYPE, "application/json")].into_response()),
        };
    }
    let opened = opened(&api, &client, &token, None).await?;
    Ok(opened.into_response())
}

/// Opens a link that has a password.
#[utoipa::path(post, path = "/s/{token}", tag = "shares", operation_id = "open_share_with_password", security(()),
    params(("token" = String, Path)), request_body = OpenBody, responses((status = 200, body = SharedCall)))]
async fn open_with_password(
    State(api): State<Api>,
    client: Client,
    Path(token): Path<String>,
    Body(body): Body<OpenBody>,
) -> Result<Json<SharedCall>> {
    opened(&api, &client, &token, Some(body.password)).await
}

/// The key of links, and what a link leads to, if it leads anywhere.
async fn followed(api: &Api, token: &str) -> Result<([u8; 32], Opened)> {
    let catalog = api.catalog()?;
    let key = catalog.known_share_key().await?;
    let key = key.ok_or_else(Problem::not_found)?;
    let ShareToken(id) = ShareToken::parse(token, &key).ok_or_else(Problem::not_found)?;
    let wanted = catalog.opened_share(id).await?;
    Ok((key, wanted.ok_or_else(Problem::not_found)?))
}

async fn opened(
    api: &Api,
    client: &Client,
    token: &str,
    password: Option<Password>,
) -> Result<Json<SharedCall>> {
    let catalog = api.catalog()?;
    let (key, wanted) = followed(api, token).await?;
    let id = wanted.share.id;
    let event = |outcome| {
        Event::anonymous(wanted.share.tenant, "shares.open")
            .from_address(client.address, client.request_id.clone())
            .on("call", wanted.call.id)
            .change(None, Some(json!({ "share_id": id })))
            .outcome(outcome)
    };
    match tried(api, client, &wanted.share, password).await? {
        Tried::Right => {}
        // Nothing was tried.
        Tried::Nothing => return Err(wrong_password()),
        Tried::Wrong => {
            catalog.audit(event(Outcome::Denied)).await?;
            return Err(wrong_password());
        }
    }
    let mut change = catalog.change().await?;
    // Hashing takes a while: it may have been revoked or used up.
    let Opened { share, call } = change
        .follow_share(id)
        .await?
        .ok_or_else(Problem::not_found)?;
    change.count_share(&share).await?;
    change.commit(event(Outcome::Allowed)).await?;
    let until = (now() + GRANTED).min(share.expires_at);
    let grant = Grant { share: id, until }.to_text(&key);
    Ok(Json(SharedCall {
        started_at: call.started_at.to_string(),
        length_ms: call.length_ms,
        audio: format!("/s/{token}/audio?grant={grant}"),
        expires_at: until.to_string(),
    }))
}

fn wrong_password() -> Problem {
    let title = "The link needs its password";
    Problem::new(StatusCode::FORBIDDEN, "wrong_password", title)
}

/// What came of a password.
enum Tried {
    Right,
    Wrong,
    /// The link has one, and none was given.
    Nothing,
}

/// Passwords of links wait their turn with those of people, and are tried as rarely: of one link, and from one address.
async fn tried(
    api: &Api,
    client: &Client,
    share: &Share,
    given: Option<Password>,
) -> Result<Tried> {
    let Some(hash) = share.password_hash.clone() else {
        return Ok(Tried::Right);
    };
    let Some(given) = given else {
        return Ok(Tried::Nothing);
    };
    if given.reveal().len() > MAX_PASSWORD_BYTES {
        let most = format!("at most {MAX_PASSWORD_BYTES} bytes");
        return Err(Problem::invalid("password", most));
    }
    let (attempts, link, now) = (&api.sign_in().links, share.id.to_string(), now());
    let begun = attempts.begin(&link, client.address, now);
    begun.map_err(|refused| too_many(&refused, now))?;
    if api.sign_in().verify(&given, Some(hash)).await? == Verdict::Wrong {
        return Ok(Tried::Wrong);
    }
    attempts.succeeded(&link, client.address);
    Ok(Tried::Right)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct AudioParameters {
    /// As the opened link said.
    grant: String,
}

/// The audio of a call whose link was opened within the hour.
#[utoipa::path(get, path = "/s/{token}/audio", tag = "shares", operation_id = "shared_audio", security(()),
    params(("token" = String, Path), AudioParameters, ("Range" = Option<String>, Header, description = "RFC 9110 section 14")),
    responses((status = 200, description = "All of it", content_type = "audio/wav"),
        (status = 206, description = "What was asked for", content_type = "audio/wav"),
        (status = 304, description = "The client has it"),
        (status = 412, description = "It is another version"),
        (status = 416, description = "There is no such part")))]
async fn hear(
    State(api): State<Api>,
    Path(token): Path<String>,
    Parameters(parameters): Parameters<AudioParameters>,
    headers: HeaderMap,
) -> Result<Response> {
    let catalog = api.catalog()?;
    let key = catalog.known_share_key().await?;
    let key = key.ok_or_else(Problem::not_found)?;
    let ShareToken(id) = ShareToken::parse(&token, &key).ok_or_else(Problem::not_found)?;
    let grant = Grant::parse(&parameters.grant, &key, now());
    grant
        .filter(|grant| grant.share == id)
        .ok_or_else(Problem::not_found)?;
    let call = catalog.shared_call(id).await?;
    let call = call.ok_or_else(Problem::not_found)?;
    let path = call.file_path.ok_or_else(Problem::not_found)?;
    let layout = api.settings().storage.clone();
    let open = move || AudioFile::open(&layout, call.tenant, &path);
    let opened = tokio::task::spawn_blocking(open).await;
    let file = opened
        .map_err(|_| Problem::internal())?
        .map_err(|_| Problem::not_found())?;
    let asked = Asked {
        headers: &headers,
        format: Format::Wav,
        purpose: Purpose::Playback,
        head: false,
    };
    // Opening the link was audited.
    audio::serve(&api.live().audio, file, asked, async { Ok(()) }).await
}

/// What the audit keeps of a link: never what opens it.
fn state(share: &Share) -> serde_json::Value {
    json!({
        "share_id": share.id, "expires_at": share.expires_at.to_string(), "max_uses": share.max_uses,
        "has_password": share.password_hash.is_some(),
    })
}
