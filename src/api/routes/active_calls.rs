//! `/active-calls`: calls in progress, what can be done about them, and how they sound.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::access::{Feature, Operation, Outcome, Resource};
use crate::api::caller::Caller;
use crate::api::calls::by;
use crate::api::fields::{self, Page};
use crate::api::problem::{Details, Problem, Result};
use crate::api::request::{Id, OptionalBody, Parameters};
use crate::api::sensor::{
    Action, ActiveCall, ActiveParticipant, ActiveParty, Container, Hearing, LiveAudio, Steering,
    Unheard,
};
use crate::api::state::Api;
use crate::api::tenancy;
use crate::api::watching::{LOOK_EVERY, Watching};
use crate::api::words::ActiveState;
use crate::base::Side;
use crate::catalog::Sight;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(keep))
        .routes(routes!(stop))
        .routes(routes!(live))
}

/// A call in progress.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::api) struct ActiveCallView {
    /// The same from the first INVITE to the end. It is not that of `/calls`: that is `recording.id`.
    pub id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<Uuid>,
    pub interaction_id: Uuid,
    pub sip_call_id: String,
    /// `ringing`, `talking` or `held`.
    pub state: &'static str,
    /// RFC 3339, UTC.
    pub started_at: String,
    pub answered_at: Option<String>,
    pub recording: RecordingView,
    pub caller: PartyView,
    pub callee: PartyView,
    /// The tenant's own people who take part, or took.
    pub participants: Vec<ParticipantView>,
}

/// What is being recorded of a call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::api) struct RecordingView {
    /// `waiting` for the first media, `recording`, `paused`, `pending` (it will not be kept unless somebody asks for it) or
    /// `not_recorded`.
    pub state: &'static str,
    /// The call's id in `/calls` once it is over; known from the first media on.
    pub id: Option<Uuid>,
    pub since: Option<String>,
    /// Why it is not recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
}

/// A side of a call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::api) struct PartyView {
    pub number: String,
    pub display: String,
    /// Where it is one of the tenant's.
    pub extension: Option<String>,
    pub user: Option<String>,
    /// It keeps the other side waiting.
    pub holds: bool,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::api) struct ParticipantView {
    /// `caller` or `callee`.
    pub side: &'static str,
    /// Login.
    pub user: Option<String>,
    pub extension: Option<String>,
    pub number: String,
    pub from: String,
    pub to: Option<String>,
}

impl ActiveCallView {
    pub(in crate::api) fn new(api: &Api, call: &ActiveCall) -> ActiveCallView {
        ActiveCallView {
            id: call.id,
            tenant_id: tenancy::shown(api, call.tenant),
            interaction_id: call.interaction,
            sip_call_id: call.sip_call_id.clone(),
            state: state_of(call),
            started_at: call.invited_at.to_string(),
            answered_at: call.answered_at.map(|at| at.to_string()),
            recording: RecordingView::new(call),
            caller: PartyView::new(&call.parties.caller, call.held_by.caller),
            callee: PartyView::new(&call.parties.callee, call.held_by.callee),
            participants: call.participants.iter().map(ParticipantView::new).collect(),
        }
    }
}

fn state_of(call: &ActiveCall) -> &'static str {
    match call.answered_at {
        None => "ringing",
        Some(_) if call.held_by.caller || call.held_by.callee => "held",
        Some(_) => "talking",
    }
}

impl RecordingView {
    fn new(call: &ActiveCall) -> RecordingView {
        let state = match call {
            ActiveCall {
                not_recorded: Some(_),
                ..
            } => "not_recorded",
            ActiveCall {
                heard_since: None, ..
            } => "waiting",
            ActiveCall {
                is_paused: true, ..
            } => "paused",
            ActiveCall {
                is_pending: true, ..
            } => "pending",
            _ => "recording",
        };
        let since = call.heard_since.filter(|_| call.not_recorded.is_none());
        RecordingView {
            state,
            id: call.recording,
            since: since.map(|since| since.to_string()),
            reason: call.not_recorded,
        }
    }
}

impl PartyView {
    fn new(party: &ActiveParty, holds: bool) -> PartyView {
        PartyView {
            number: party.number.clone(),
            display: party.display.clone(),
            extension: party.extension.clone(),
            user: party.user.clone(),
            holds,
        }
    }
}

impl ParticipantView {
    fn new(participant: &ActiveParticipant) -> ParticipantView {
        ParticipantView {
            side: match participant.side {
                Side::Caller => "caller",
                Side::Callee => "callee",
            },
            user: participant.user.clone(),
            extension: participant.extension.clone(),
            number: participant.number.clone(),
            from: participant.from.to_string(),
            to: participant.to.map(|to| to.to_string()),
        }
    }
}

/// Whether a call in progress can be seen.
pub(in crate::api) fn sees(sight: &Sight, call: &ActiveCall) -> bool {
    let logins = call
        .participants
        .iter()
        .filter_map(|one| one.user.as_deref());
    sight.sees(call.tenant, logins)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListParameters {
    /// Of this tenant only.
    tenant_id: Option<Uuid>,
    /// `ringing`, `talking` or `held`.
    #[param(value_type = Option<ActiveState>, inline)]
    state: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// Items of a page.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// Calls in progress, newest first.
#[utoipa::path(get, path = "/active-calls", tag = "active calls", operation_id = "list_active_calls",
    params(ListParameters), responses((status = 200, body = Page<ActiveCallView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Json<Page<ActiveCallView>>> {
    caller.needs(Resource::Calls, Operation::View)?;
    let Some(scope) = tenancy::narrowed(&caller, parameters.tenant_id) else {
        return Ok(Json(Page::empty()));
    };
    let limit = fields::listing(None, parameters.limit)?.limit as usize;
    let wanted = match parameters.state.as_deref() {
        None => None,
        Some(state) if ["ringing", "talking", "held"].contains(&state) => Some(state),
        Some(_) => return Err(Problem::invalid("state", "ringing, talking or held")),
    };
    let after = parameters.after.as_deref().map(read_cursor).transpose()?;
    let sight = api.catalog()?.sight(&scope).await?;
    let mut calls = api.live().sensor()?.active_calls(scope.only_tenant());
    calls.retain(|call| {
        wanted.is_none_or(|state| state_of(call) == state)
            && after.is_none_or(|after| place(call) < after)
            && sees(&sight, call)
    });
    calls.sort_unstable_by_key(|call| std::cmp::Reverse(place(call)));
    let more = calls.len() > limit;
    calls.truncate(limit);
    let next = calls
        .last()
        .filter(|_| more)
        .map(|last| cursor(place(last)));
    let items = calls
        .iter()
        .map(|call| ActiveCallView::new(&api, call))
        .collect();
    Ok(Json(Page { items, next }))
}

/// A place in the list, which is in falling order of it.
type Place = (i64, Uuid);

fn place(call: &ActiveCall) -> Place {
    (call.invited_at.as_nanos(), call.id)
}

fn cursor((at, id): Place) -> String {
    URL_SAFE_NO_PAD.encode([&at.to_be_bytes()[..], id.as_bytes()].concat())
}

fn read_cursor(text: &str) -> Result<Place> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let bytes: Option<[u8; 24]> = bytes.and_then(|bytes| bytes.try_into().ok());
    let malformed = || Problem::malformed("use the `next` of the page before").field("after");
    let bytes = bytes.ok_or_else(malformed)?;
    let (at, id) = (bytes.first_chunk(), bytes.last_chunk());
    let (at, id) = at.zip(id).ok_or_else(malformed)?;
    Ok((i64::from_be_bytes(*at), Uuid::from_bytes(*id)))
}

/// The call, if it lasts and the caller can see it, and what else the caller can see. `id`: its own, or that of its recording.
async fn find(api: &Api, caller: &Caller, id: Uuid) -> Result<(ActiveCall, Sight)> {
    let scope = caller.scope();
    let sight = api.catalog()?.sight(&scope).await?;
    let calls = api.live().sensor()?.active_calls(scope.only_tenant());
    let is_it = |call: &ActiveCall| call.id == id || call.recording == Some(id);
    let mut found = calls.into_iter().filter(is_it);
    let call = found.find(|call| sees(&sight, call));
    Ok((call.ok_or_else(Problem::not_found)?, sight))
}

/// One call in progress.
#[utoipa::path(get, path = "/active-calls/{id}", tag = "active calls", operation_id = "show_active_call",
    params(("id" = Uuid, Path)), responses((status = 200, body = ActiveCallView)))]
async fn show(State(api): State<Api>, caller: Caller, Id(id): Id) -> Result<Json<ActiveCallView>> {
    caller.needs(Resource::Calls, Operation::View)?;
    let (call, _) = find(&api, &caller, id).await?;
    Ok(Json(ActiveCallView::new(&api, &call)))
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
struct ControlView {
    /// Calls in progress of the conversation that you can see.
    calls: u32,
    /// Of these, the ones for which it changed something.
    changed: u32,
    /// From when on it is in force. RFC 3339, UTC.
    at: String,
}

/// Why it is asked.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ControlBody {
    /// For the audit and the recording's sidecar.
    #[serde(default)]
    #[schema(max_length = 200)]
    reason: String,
}

/// Nothing of what is said from now on is recorded, until it is resumed. It holds for all calls of the conversation that are the
/// tenant's, also for those that you cannot see: the same words are said on all of them. A body is not needed.
#[utoipa::path(post, path = "/active-calls/{id}/pause", tag = "active calls", operation_id = "pause_active_call",
    params(("id" = Uuid, Path)), request_body(content = Option<ControlBody>, content_type = "application/json"),
    responses((status = 200, body = ControlView)))]
async fn pause(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    OptionalBody(body): OptionalBody<ControlBody>,
) -> Result<Json<ControlView>> {
    control(&api, &caller, id, (Action::Pause, "calls.pause"), &body).await
}

/// The recording goes on, of all calls of the conversation that are the tenant's.
#[utoipa::path(post, path = "/active-calls/{id}/resume", tag = "active calls", operation_id = "resume_active_call",
    params(("id" = Uuid, Path)), request_body(content = Option<ControlBody>, content_type = "application/json"),
    responses((status = 200, body = ControlView)))]
async fn resume(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    OptionalBody(body): OptionalBody<ControlBody>,
) -> Result<Json<ControlView>> {
    control(&api, &caller, id, (Action::Resume, "calls.resume"), &body).await
}

/// What is recorded on demand is kept, from the beginning of the call on. It holds for the calls of the conversation that you can
/// see.
#[utoipa::path(post, path = "/active-calls/{id}/keep", tag = "active calls", operation_id = "keep_active_call",
    params(("id" = Uuid, Path)), request_body(content = Option<ControlBody>, content_type = "application/json"),
    responses((status = 200, body = ControlView)))]
async fn keep(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    OptionalBody(body): OptionalBody<ControlBody>,
) -> Result<Json<ControlView>> {
    control(&api, &caller, id, (Action::Keep, "calls.keep"), &body).await
}

/// The call is not recorded. What was recorded of it is thrown away. It holds for the calls of the conversation that you can see.
#[utoipa::path(post, path = "/active-calls/{id}/stop", tag = "active calls", operation_id = "stop_active_call",
    params(("id" = Uuid, Path)), request_body(content = Option<ControlBody>, content_type = "application/json"),
    responses((status = 200, body = ControlView)))]
async fn stop(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    OptionalBody(body): OptionalBody<ControlBody>,
) -> Result<Json<ControlView>> {
    control(&api, &caller, id, (Action::Stop, "calls.stop"), &body).await
}

async fn control(
    api: &Api,
    caller: &Caller,
    id: Uuid,
    (action, audited): (Action, &'static str),
    body: &ControlBody,
) -> Result<Json<ControlView>> {
    caller.needs(Resource::Calls, Operation::Control)?;
    let reason = fields::line("reason", &body.reason, 0, 200)?;
    let (call, sight) = find(api, caller, id).await?;
    let seen = conversation(api, &call, &sight)?;
    let ids: Vec<Uuid> = seen.iter().map(|call| call.id).collect();
    let event = caller
        .event(audited)
        .of_tenant(call.tenant)
        .on("call", call.id)
        .change(None, Some(serde_json::json!({ "calls": ids })));
    let event = match reason.is_empty() {
        true => event,
        false => event.because(&reason),
    };
    let catalog = api.catalog()?;
    catalog.audit(event.clone()).await?;
    let asked = Steering {
        action,
        interaction: call.interaction,
        tenant: call.tenant,
        seen: (!sight.sees_all_of(call.tenant)).then(|| seen.iter().map(|call| call.key).collect()),
        who: by(caller, call.tenant),
        why: reason,
    };
    match api.live().sensor()?.control(asked).await {
        Ok(done) if done.calls > 0 => Ok(Json(ControlView {
            calls: done.calls,
            changed: done.changed,
            at: done.at.to_string(),
        })),
        Ok(_) => {
            catalog.audit(event.outcome(Outcome::Failed)).await?;
            Err(Problem::not_found())
        }
        Err(_) => {
            catalog.audit(event.outcome(Outcome::Failed)).await?;
            let title = "The recorder did not answer";
            Err(
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "recorder_busy", title)
                    .retry_after(2),
            )
        }
    }
}

/// The calls in progress of the call's conversation that are the tenant's and can be seen, in the order of their ids.
fn conversation(api: &Api, call: &ActiveCall, sight: &Sight) -> Result<Vec<ActiveCall>> {
    let mut calls = api.live().sensor()?.active_calls(Some(call.tenant));
    calls.retain(|other| other.interaction == call.interaction && sees(sight, other));
    calls.sort_unstable_by_key(|call| call.id);
    Ok(calls)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum LiveFormat {
    /// Opus: few bytes, of which Chrome gathers 32 KiB at a time, several seconds. For programs and narrow lines.
    Ogg,
    /// 16-bit PCM.
    #[default]
    Wav,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum LiveMix {
    /// The caller on the left, the callee on the right.
    #[default]
    Stereo,
    /// Both in one channel.
    Mono,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum LiveRate {
    /// 48 kHz: browsers begin to play, and stay behind, by a number of bytes.
    #[default]
    Browser,
    /// That of the recording: 8 or 16 kHz, a sixth or a third of the bytes.
    Native,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct LiveParameters {
    /// Of a WAV.
    #[serde(default)]
    #[param(inline)]
    rate: LiveRate,
    #[serde(default)]
    #[param(inline)]
    format: LiveFormat,
    #[serde(default)]
    #[param(inline)]
    mix: LiveMix,
}

/// A call as it is heard, about 0.2 s behind the wire, until it is over.
///
/// Pauses are silence. Who takes it too slowly, or loses the right to hear it, is left.
#[utoipa::path(get, path = "/active-calls/{id}/live", tag = "active calls", operation_id = "hear_active_call",
    params(("id" = Uuid, Path), LiveParameters),
    responses((status = 200, description = "Audio without an end that is known", content_type = "audio/wav"),
        (status = 409, body = Details, description = "The call is not recorded", content_type = "application/problem+json")))]
async fn live(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    Parameters(parameters): Parameters<LiveParameters>,
    headers: HeaderMap,
    method: Method,
) -> Result<Response> {
    caller.needs(Resource::Calls, Operation::LiveMonitor)?;
    let (call, _) = find(&api, &caller, id).await?;
    api.needs_feature(call.tenant, Feature::LiveMonitor)?;
    if let Some(why) = call.not_recorded {
        let title = "There is nothing to hear";
        return Err(Problem::new(StatusCode::CONFLICT, "not_recorded", title)
            .detail(format!("the call is not recorded: {why}")));
    }
    let (container, kind) = match parameters.format {
        LiveFormat::Ogg => (Container::Ogg, "audio/ogg; codecs=opus"),
        LiveFormat::Wav => (Container::Wav, "audio/wav"),
    };
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        let event = caller.event("calls.live_monitor").of_tenant(call.tenant);
        api.catalog()?.audit(event.on("call", call.id)).await?;
        let hearing = Hearing {
            container,
            is_mixed: parameters.mix == LiveMix::Mono,
            is_native: parameters.rate == LiveRate::Native,
        };
        let audio = api
            .live()
            .sensor()?
            .listen(&call, hearing)
            .map_err(unheard)?;
        Body::from_stream(while_allowed(
            audio,
            Watching::new(&api, &caller, &headers),
            api,
            call,
        ))
    };
    let mut response = body.into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "private, no-store"),
        (header::ACCEPT_RANGES, "none"),
        // A proxy that gathers what it hands on would make it late.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

fn unheard(why: Unheard) -> Problem {
    match why {
        Unheard::Over => Problem::not_found(),
        Unheard::TooMany => {
            let title = "As many listen as may";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_listeners", title)
                .retry_after(10)
        }
    }
}

/// The audio, for as long as the call can be seen.
fn while_allowed(
    audio: LiveAudio,
    watching: Watching,
    api: Api,
    call: ActiveCall,
) -> impl stream::Stream<Item = std::io::Result<Bytes>> {
    let look = tokio::time::interval_at(tokio::time::Instant::now() + LOOK_EVERY, LOOK_EVERY);
    let state = (audio, watching, api, call, look);
    stream::unfold(
        state,
        |(mut audio, watching, api, call, mut look)| async move {
            loop {
                tokio::select! {
                    chunk = audio.chunks.recv() => {
                        return chunk.map(|chunk| (Ok(chunk), (audio, watching, api, call, look)));
                    }
                    _ = look.tick() => {
                        if !still(&watching, &api, &call).await {
                            return None;
                        }
                    }
                }
            }
        },
    )
}

async fn still(watching: &Watching, api: &Api, call: &ActiveCall) -> bool {
    if api
        .needs_feature(call.tenant, Feature::LiveMonitor)
        .is_err()
    {
        return false;
    }
    let Ok(Some(sight)) = watching.look().await else {
        return false;
    };
    let Ok(sensor) = api.live().sensor() else {
        return false;
    };
    // Who takes part may have changed. What is over ends by itself.
    let now = sensor.active_calls(Some(call.tenant)).into_iter();
    let mut same = now.filter(|now| now.id == call.id);
    same.all(|now| sees(&sight, &now))
}
