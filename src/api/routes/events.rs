//! `/events`: what happens to calls, as it happens.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::watch;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::active_calls::{ActiveCallView, sees};
use crate::access::{Operation, Resource};
use crate::api::caller::Caller;
use crate::api::feed::{CallEvent, EventKind, Followed, Place};
use crate::api::live;
use crate::api::problem::{Problem, Result};
use crate::api::request::Parameters;
use crate::api::state::Api;
use crate::api::watching::{LOOK_EVERY, Watching};
use crate::api::words::StreamedEvent;
use crate::base::TenantId;
use crate::catalog::{Sight, wall_clock};

/// A comment is sent after this long without an event, so that nobody on the way takes the stream for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// Events taken from the feed at a time.
const AT_A_TIME: usize = 100;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(events))
}

/// Something that happened to a call.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct CallEventView {
    /// `call.started`, `call.answered`, `call.ended` or `recording.ready`.
    r#type: &'static str,
    /// When it happened. RFC 3339, UTC.
    timestamp: String,
    data: CallEventData,
}

#[derive(Debug, Serialize, ToSchema)]
struct CallEventData {
    call: ActiveCallView,
    /// Of `call.ended`: why it was over, a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    end_reason: Option<&'static str>,
    /// Of `call.ended` and `recording.ready`: what becomes of its recording, a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    disposition: Option<&'static str>,
    /// Of `recording.ready`: its id in `/calls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    call_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    length_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_bytes: Option<u64>,
}

impl CallEventView {
    fn new(api: &Api, event: &CallEvent) -> CallEventView {
        let mut call = ActiveCallView::new(api, &event.call);
        if event.finished.is_some() || event.stored.is_some() {
            call.state = "ended";
        }
        let finished = event.finished;
        let stored = event.stored;
        CallEventView {
            r#type: event.kind.name(),
            timestamp: event.at.to_string(),
            data: CallEventData {
                call,
                end_reason: finished.map(|finished| finished.reason),
                disposition: finished
                    .and_then(|finished| finished.disposition)
                    .or(stored.map(|stored| stored.disposition)),
                call_id: stored.map(|stored| stored.call_id),
                length_ms: stored.map(|stored| stored.length_ms),
                size_bytes: stored.map(|stored| stored.size_bytes),
            },
        }
    }
}

/// An event as streams and webhooks tell it.
pub(in crate::api) fn as_json(api: &Api, event: &CallEvent) -> Value {
    serde_json::to_value(CallEventView::new(api, event)).unwrap_or_default()
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct EventParameters {
    /// Of this tenant only.
    tenant_id: Option<Uuid>,
    /// Only these, separated by commas: `call.started`, `call.answered`, `call.ended`, `recording.ready`.
    #[param(
        pattern = r"^(call\.(started|answered|ended)|recording\.ready)(,(call\.(started|answered|ended)|recording\.ready))*$"
    )]
    types: Option<String>,
}

/// What happens to calls, as server-sent events; each has the name of its type and, as data, JSON.
///
/// Give the id of the last event as `Last-Event-ID` to get what happened since. Where some of it is forgotten, or the daemon was
/// started anew, the first event is `reset`: read the lists anew. Nothing is told again of a call that was deleted since, or that the
/// caller may not see any more. The stream ends when the caller's rights change.
#[utoipa::path(get, path = "/events", tag = "active calls", operation_id = "follow_events",
    params(EventParameters, ("Last-Event-ID" = Option<String>, Header)),
    responses((status = 200, body = StreamedEvent, content_type = "text/event-stream")))]
async fn events(
    State(api): State<Api>,
    caller: Caller,
    Parameters(parameters): Parameters<EventParameters>,
    headers: HeaderMap,
) -> Result<Response> {
    caller.needs(Resource::Calls, Operation::View)?;
    let kinds = read_kinds(parameters.types.as_deref())?;
    let scope = caller.scope();
    let wanted = parameters.tenant_id.map(TenantId);
    let followed = match (wanted, scope.only_tenant()) {
        (Some(wanted), _) if !scope.covers(wanted) => Followed::Tenant(TenantId(Uuid::nil())),
        (Some(tenant), _) | (None, Some(tenant)) => Followed::Tenant(tenant),
        (None, None) => Followed::All,
    };
    let place = api.live().streams.take(&caller)?;
    let watching = Watching::new(&api, &caller, &headers);
    let sight = watching.begin().await?;
    let feed = &api.live().feed;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let begin = last.map(|id| feed.behind(id));
    let stream = follow(Follower {
        changes: feed.changes(),
        next: begin.flatten().unwrap_or_else(|| feed.newest(followed)),
        is_reset: begin == Some(None),
        api: api.clone(),
        followed,
        kinds,
        watching,
        sight,
        looked: Instant::now(),
        waiting: VecDeque::new(),
        _place: place,
    });
    let heartbeat = KeepAlive::new().interval(HEARTBEAT);
    let mut response = Sse::new(stream).keep_alive(heartbeat).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-store"),
    );
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn read_kinds(text: Option<&str>) -> Result<Vec<EventKind>> {
    let Some(text) = text else {
        return Ok(EventKind::ALL.to_vec());
    };
    let kinds = text.split(',').map(|name| EventKind::named(name.trim()));
    let kinds: Option<Vec<EventKind>> = kinds.collect();
    let names = EventKind::ALL.map(EventKind::name).join(", ");
    kinds.ok_or_else(|| Problem::invalid("types", format!("of {names}")))
}

struct Follower {
    changes: watch::Receiver<u64>,
    next: Place,
    /// The client's last event is of another time.
    is_reset: bool,
    api: Api,
    followed: Followed,
    kinds: Vec<EventKind>,
    watching: Watching,
    sight: Sight,
    looked: Instant,
    waiting: VecDeque<(u64, Arc<CallEvent>)>,
    _place: live::Place,
}

fn follow(follower: Follower) -> impl Stream<Item = std::result::Result<Event, Infallible>> {
    stream::unfold(follower, |mut follower| async move {
        let event = follower.next_event().await?;
        Some((Ok(event), follower))
    })
}

impl Follower {
    /// The next event that can be seen; `None`: the stream ends.
    async fn next_event(&mut self) -> Option<Event> {
        loop {
            // Also where events come without a pause.
            if self.looked.elapsed() >= LOOK_EVERY {
                self.sight = self.watching.look().await.ok().flatten()?;
                self.looked = Instant::now();
            }
            if std::mem::take(&mut self.is_reset) {
                let why = json!({ "reason": "some events are forgotten: read the lists anew" });
                return Some(
                    Event::default()
                        .event("reset")
                        .retry(RETRY)
                        .data(why.to_string()),
                );
            }
            while let Some((number, event)) = self.waiting.pop_front() {
                if self.kinds.contains(&event.kind) && sees(&self.sight, &event.call) {
                    return Some(self.described(number, &event));
                }
            }
            let more = self.take().await?;
            if more || self.is_reset || !self.waiting.is_empty() {
                continue;
            }
            let patience = LOOK_EVERY.saturating_sub(self.looked.elapsed());
            // What was published since the feed was asked is a change.
            if let Ok(changed) = tokio::time::timeout(patience, self.changes.changed()).await {
                changed.ok()?;
            }
        }
    }

    /// Takes the next events; whether there are more. `None`: nobody can say what of them may be seen.
    async fn take(&mut self) -> Option<bool> {
        self.changes.mark_unchanged();
        let news = self.api.live().feed.since(self.followed, self.next);
        self.is_reset = news.missed;
        let recordings = recordings_of(&news.events);
        let more = news.events.len() > AT_A_TIME;
        self.waiting = news.events.into();
        self.waiting.truncate(AT_A_TIME);
        self.next = match self.waiting.back() {
            Some((number, _)) => Place(number + 1),
            None => news.next,
        };
        self.leave_out(&recordings).await?;
        Some(more)
    }

    /// Of what happened a while ago the catalog is asked again: a call may have been deleted since, or have become another's.
    async fn leave_out(&mut self, recordings: &HashMap<(TenantId, Uuid), Uuid>) -> Option<()> {
        let now = wall_clock();
        let is_old = |event: &CallEvent| event.at > now || now.since(event.at) >= LOOK_EVERY;
        if !self.waiting.iter().any(|(_, event)| is_old(event)) {
            return Some(());
        }
        let catalog = self.api.catalog().ok()?;
        let scope = self.watching.scope();
        let mut asked: HashMap<(TenantId, Uuid), bool> = HashMap::new();
        let mut kept = VecDeque::new();
        for (number, event) in std::mem::take(&mut self.waiting) {
            let (tenant, call) = (event.call.tenant, event.call.id);
            let mut is_kept_from = false;
            for id in std::iter::once(call).chain(recordings.get(&(tenant, call)).copied()) {
                let answer = match asked.get(&(tenant, id)) {
                    Some(answer) => *answer,
                    None => catalog.is_kept_from(&scope, tenant, id).await.ok()?,
                };
                asked.insert((tenant, id), answer);
                is_kept_from |= answer;
            }
            if !is_kept_from {
                kept.push_back((number, event));
            }
        }
        self.waiting = kept;
        Some(())
    }

    fn described(&self, number: u64, event: &CallEvent) -> Event {
        Event::default()
            .id(self.api.live().feed.id_of(number))
            .event(event.kind.name())
            .data(as_json(&self.api, event).to_string())
    }
}

/// The ids that calls have in the catalog: events from before the first media do not say it, those after them do.
fn recordings_of(events: &[(u64, Arc<CallEvent>)]) -> HashMap<(TenantId, Uuid), Uuid> {
    let named = events.iter().filter_map(|(_, event)| {
        let stored = event.stored.map(|stored| stored.call_id);
        let id = stored.or(event.call.recording)?;
        Some(((event.call.tenant, event.call.id), id))
    });
    named.collect()
}

/// After which a client that was cut off comes back.
const RETRY: Duration = Duration::from_secs(3);
