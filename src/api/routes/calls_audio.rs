//! `/calls/{id}/audio` and `/calls/{id}/peaks`: what was said, and how it looks.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::access::{Event, Feature, Operation, Resource};
use crate::api::audio::{
    Asked, AudioFile, Format, Listening, MAX_POINTS, Peaks, Purpose, Unreadable, download_name,
};
use crate::api::caller::Caller;
use crate::api::problem::{Details, Problem, Result};
use crate::api::request::{Id, Parameters};
use crate::api::state::Api;
use crate::base::TenantId;
use crate::catalog::CallRecord;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(audio))
        .routes(routes!(peaks))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct AudioParameters {
    /// `wav`: 16-bit PCM, which every browser plays; `ogg`: Opus, small; `stored`: the file as it is, always a download. Absent,
    /// it is `wav` to play and `stored` to download.
    #[param(inline)]
    format: Option<Format>,
    /// As a file with a name, not to be played at once.
    #[serde(default)]
    download: bool,
}

impl AudioParameters {
    /// Whether the recording is taken along, and not played.
    fn is_download(&self) -> bool {
        self.download || self.format == Some(Format::Stored)
    }

    fn format(&self) -> Format {
        self.format.unwrap_or(match self.download {
            true => Format::Stored,
            false => Format::Wav,
        })
    }
}

/// The audio of a recording: the caller on the left, the callee on the right.
///
/// Ranges can be asked for, but of `ogg`. To listen needs `calls: playback`. To take it along, with `download=true` or as
/// `stored`, needs `calls: download`, and `download` in the plan of the call's tenant. It is audited once, before the first byte: further requests of the same person, from the same address, for the same recording belong to the
/// same listening until half an hour passes without one.
#[utoipa::path(get, path = "/calls/{id}/audio", tag = "calls", operation_id = "call_audio",
    params(("id" = Uuid, Path), AudioParameters,
        ("Range" = Option<String>, Header, description = "RFC 9110 section 14")),
    responses((status = 200, description = "All of it", content_type = "audio/wav"),
        (status = 206, description = "What was asked for", content_type = "audio/wav"),
        (status = 304, description = "The client has it"),
        (status = 409, body = Details, description = "There is no audio, or none yet", content_type = "application/problem+json"),
        (status = 412, body = Details, description = "It is another version", content_type = "application/problem+json"),
        (status = 416, body = Details, description = "There is no such part", content_type = "application/problem+json")))]
async fn audio(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    Parameters(parameters): Parameters<AudioParameters>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    let format = parameters.format();
    let (operation, action) = match parameters.is_download() {
        true => (Operation::Download, "calls.download"),
        false => (Operation::Playback, "calls.playback"),
    };
    caller.needs(Resource::Calls, operation)?;
    let call = find(&api, &caller, id).await?;
    let purpose = match operation {
        Operation::Download => {
            api.needs_feature(call.tenant, Feature::Download)?;
            Purpose::Download(name(&call, format))
        }
        _ => Purpose::Playback,
    };
    let file = open(&api, &call).await?;
    let asked = Asked {
        headers: &headers,
        format,
        purpose,
        head: method == Method::HEAD,
    };
    let before = audited(&api, &caller, call.tenant, id, action);
    crate::api::audio::serve(&api.live().audio, file, asked, before).await
}

/// Has the audit say that the recording is listened to, unless this is part of a listening that it knows of.
async fn audited(
    api: &Api,
    caller: &Caller,
    tenant: TenantId,
    id: Uuid,
    action: &'static str,
) -> Result<()> {
    let sessions = &api.live().audio.sessions;
    let actor = caller.principal.actor();
    let listening = Listening {
        actor: (actor.kind(), actor.id(), actor.name().to_owned()),
        address: caller.address,
        tenant,
        recording: id,
        action,
    };
    if sessions.goes_on(&listening, Instant::now()) {
        return Ok(());
    }
    let event: Event = caller.event(action).of_tenant(tenant).on("call", id);
    api.catalog()?.audit(event).await?;
    sessions.begin(listening, Instant::now());
    Ok(())
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct PeaksParameters {
    /// Into how many stretches the recording is divided.
    #[param(minimum = 1, maximum = 10000)]
    points: Option<u32>,
}

/// Points of an answer that does not say how many it wants.
const DEFAULT_POINTS: u32 = 1000;

/// How a recording looks: the extremes of each side in equal stretches.
#[utoipa::path(get, path = "/calls/{id}/peaks", tag = "calls", operation_id = "call_peaks",
    params(("id" = Uuid, Path), PeaksParameters),
    responses((status = 200, body = Peaks),
        (status = 409, body = Details, description = "There is no audio, or none yet", content_type = "application/problem+json")))]
async fn peaks(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    Parameters(parameters): Parameters<PeaksParameters>,
) -> Result<Response> {
    caller.needs(Resource::Calls, Operation::Playback)?;
    let points = parameters.points.unwrap_or(DEFAULT_POINTS);
    if !(1..=MAX_POINTS).contains(&points) {
        return Err(Problem::invalid("points", format!("1 to {MAX_POINTS}")));
    }
    let call = find(&api, &caller, id).await?;
    let file = open(&api, &call).await?;
    let desk = &api.live().audio;
    let body = match desk.peaks.find(&file.fingerprint, points) {
        Some(body) => body,
        None => {
            let turn = desk.workers.clone().acquire_owned().await;
            let fingerprint = file.fingerprint.clone();
            let read = tokio::task::spawn_blocking(move || {
                let peaks = Peaks::of(&file, points);
                drop(turn);
                peaks
            });
            let peaks = read.await.map_err(std::io::Error::other).flatten();
            let peaks =
                peaks.map_err(|error| unreadable(Unreadable::Storage(error.to_string())))?;
            let body = Arc::new(serde_json::to_vec(&peaks).unwrap_or_default());
            desk.peaks.keep(&fingerprint, points, body.clone());
            body
        }
    };
    let kind = (header::CONTENT_TYPE, "application/json");
    let cache = (header::CACHE_CONTROL, "private, no-store");
    Ok(([kind, cache], body.to_vec()).into_response())
}

/// The call, if it is in the caller's scope.
async fn find(api: &Api, caller: &Caller, id: Uuid) -> Result<CallRecord> {
    let found = api.catalog()?.call(&caller.scope(), id).await?;
    match found.into_iter().next() {
        Some(call) if call.deleted_at.is_some() => Err(Problem::not_found()),
        Some(call) => Ok(call),
        None => Err(in_progress(api, caller, id).await?),
    }
}

/// Why there is no call of this id in the catalog: it lasts still, or is none that the caller could know.
async fn in_progress(api: &Api, caller: &Caller, id: Uuid) -> Result<Problem> {
    let Ok(sensor) = api.live().sensor() else {
        return Ok(Problem::not_found());
    };
    let scope = caller.scope();
    let sight = api.catalog()?.sight(&scope).await?;
    let calls = sensor.active_calls(scope.only_tenant()).into_iter();
    let is_it = calls
        .filter(|call| call.recording == Some(id) || call.id == id)
        .any(|call| super::active_calls::sees(&sight, &call));
    Ok(match is_it {
        true => no_audio("in_progress", "the call is not over"),
        false => Problem::not_found(),
    })
}

fn no_audio(code: &str, why: impl Into<String>) -> Problem {
    Problem::new(StatusCode::CONFLICT, code, "There is no audio of this call").detail(why)
}

async fn open(api: &Api, call: &CallRecord) -> Result<AudioFile> {
    let Some(file) = &call.file else {
        let why = format!("it was not recorded: {}", call.disposition.code());
        return Err(no_audio("not_recorded", why));
    };
    let (layout, tenant) = (api.settings().storage.clone(), call.tenant);
    let path = file.path.clone();
    let opened = tokio::task::spawn_blocking(move || AudioFile::open(&layout, tenant, &path)).await;
    opened.map_err(|_| Problem::internal())?.map_err(unreadable)
}

fn unreadable(why: Unreadable) -> Problem {
    match why {
        Unreadable::Gone => no_audio("audio_removed", "its file was removed"),
        Unreadable::Storage(error) => {
            tracing::warn!(error, "a recording cannot be read");
            let title = "The storage does not give this recording";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "storage_away", title).retry_after(30)
        }
    }
}

fn name(call: &CallRecord, format: Format) -> String {
    let (caller, callee) = (&call.parties.caller.number, &call.parties.callee.number);
    download_name(call.started_at, caller, callee, call.id, format.extension())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use axum::http::Method;
    use serde_json::json;

    use super::*;
    use crate::access::{Permissions, Preset, Role};
    use crate::api::testing::{Asking, Tried, World};
    use crate::catalog::testing::{call, unrecorded};
    use crate::storage::{SampleFormat, WavFormat};

    /// Writes the file that the catalog says a call has: a second of A-law.
    fn record(world: &World, call: &CallRecord) -> Vec<u8> {
        let format = WavFormat {
            sample_format: SampleFormat::Alaw,
            sample_rate_hz: 8000,
        };
        let frames: Vec<u8> = (0..16_000u32).map(|n| (n % 251) as u8).collect();
        let bytes = [format.header(8000), frames].concat();
        let place = &call.file.as_ref().unwrap().path;
        let path = world.api.settings().storage.root().join(Path::new(place));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &bytes).unwrap();
        bytes
    }

    async fn world() -> (World, CallRecord, Vec<u8>) {
        let world = World::new().await;
        let mut one = call(1, 1);
        one.parties.caller.number = "+44\r\n\"<b>20".into();
        let bytes = record(&world, &one);
        let calls = [
            one.clone(),
            call(1, 2),
            unrecorded(1, 3, crate::catalog::Disposition::NoMedia),
        ];
        world.catalog.record(&calls).await.unwrap();
        (world, one, bytes)
    }

    async fn ask(asking: &Asking<'_>, path: &str, headers: &[(&str, &str)]) -> Tried {
        asking.ask(Method::GET, path, headers, None).await
    }

    fn header<'t>(tried: &'t Tried, name: &str) -> &'t str {
        tried
            .headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    #[tokio::test]
    async fn one_listening_is_audited_once_however_many_ranges_it_takes() {
        let (world, call, bytes) = world().await;
        let ann = world.user("acme", Preset::TenantAdministrator);
        let path = format!("/calls/{}/audio", call.id);
        let first = ask(&ann, &path, &[("range", "bytes=0-99")])
            .await
            .expect(206);
        assert_eq!(&first.body[..4], b"RIFF");
        let rest = ask(
            &ann,
            &path,
            &[("range", "bytes=100-"), ("if-range", &first.etag())],
        )
        .await;
        let played = [first.body, rest.expect(206).body].concat();
        assert_eq!(played.len(), 4096 + 32_000);
        assert_eq!(world.audit("acme").await, ["calls.playback"]);
        let saved = ask(&ann, &format!("{path}?download=true&format=wav"), &[])
            .await
            .expect(200);
        assert_eq!(saved.body.len(), 4096 + 32_000);
        let name = header(&saved, "content-disposition");
        assert!(
            name.starts_with("attachment; filename=\"2023-11-14T22-13-21Z_+44b20_1001_"),
            "{name}"
        );
        assert_eq!(
            world.audit("acme").await,
            ["calls.playback", "calls.download"]
        );
        let head = ann.ask(Method::HEAD, &path, &[], None).await.expect(200);
        let length = played.len().to_string();
        assert_eq!(header(&head, "content-length"), length);
        assert_eq!(world.audit("acme").await.len(), 2);
        let own = ask(&ann, &format!("{path}?download=true"), &[]).await;
        assert_eq!(own.expect(200).body, bytes);
    }

    #[tokio::test]
    async fn who_may_only_listen_is_not_given_the_file() {
        let (world, call, bytes) = world().await;
        let path = format!("/calls/{}/audio", call.id);
        let reader = world.user("acme", Preset::Reader);
        for query in ["", "?format=wav", "?format=ogg"] {
            let played = reader.get(&format!("{path}{query}")).await.expect(200);
            assert_eq!(header(&played, "content-disposition"), "inline");
        }
        for query in [
            "?format=stored",
            "?download=true",
            "?download=true&format=ogg",
        ] {
            let problem = reader.get(&format!("{path}{query}")).await.expect(403);
            assert_eq!(problem.json()["detail"], "it needs calls: download");
        }
        let ann = world.user("acme", Preset::TenantAdministrator);
        let saved = ann.get(&format!("{path}?format=stored")).await.expect(200);
        assert!(header(&saved, "content-disposition").starts_with("attachment"));
        assert_eq!(saved.body, bytes);
        let actions = world.audit("acme").await;
        assert_eq!(actions, ["calls.playback", "calls.download"]);
    }

    #[tokio::test]
    async fn who_may_not_hear_does_not_and_what_is_not_there_is_said_to_who_may_know() {
        let (world, call, _) = world().await;
        let path = format!("/calls/{}/audio", call.id);
        world.nobody().get(&path).await.expect(401);
        let ann = world.user("acme", Preset::TenantAdministrator);
        let deaf = Role {
            permissions: {
                let mut few = Permissions::default();
                few.allow(Resource::Calls, &[Operation::View]);
                few
            },
            ..Preset::TenantAdministrator.role(crate::api::testing::tenant("acme"))
        };
        let deaf = world.somebody("acme", &deaf);
        let problem = deaf.get(&path).await.expect(403);
        assert_eq!(problem.json()["detail"], "it needs calls: playback");
        let foreign = world.user("globex", Preset::TenantAdministrator);
        let absent = format!("/calls/{}/audio", Uuid::from_u128(7));
        let (one, two) = (foreign.get(&path).await, foreign.get(&absent).await);
        assert_eq!(one.expect(404).json(), two.expect(404).json());
        let gone = format!("/calls/{}/audio", crate::catalog::testing::call(1, 2).id);
        let problem = ann.get(&gone).await.expect(409);
        assert_eq!(problem.json()["type"], "urn:callreel:problem:audio_removed");
        let never = format!("/calls/{}/audio", crate::catalog::testing::call(1, 3).id);
        let problem = ann.get(&never).await.expect(409);
        assert_eq!(problem.json()["detail"], "it was not recorded: no_media");
        ann.get("/calls/seven/audio").await.expect(404);
        ann.get(&format!("{path}?format=mp3")).await.expect(400);
        assert_eq!(world.audit("acme").await, [""; 0]);
    }

    #[tokio::test]
    async fn peaks_are_computed_once() {
        let (world, call, _) = world().await;
        let ann = world.user("acme", Preset::TenantAdministrator);
        let path = format!("/calls/{}/peaks?points=4", call.id);
        let first = ann.get(&path).await.expect(200).json();
        assert_eq!(
            (&first["points"], &first["duration_ms"]),
            (&json!(4), &json!(1000))
        );
        assert_eq!(first["caller"]["max"].as_array().unwrap().len(), 4);
        assert_eq!(ann.get(&path).await.expect(200).json(), first);
        for points in ["0", "10001"] {
            let path = format!("/calls/{}/peaks?points={points}", call.id);
            ann.get(&path).await.expect(422);
        }
        let foreign = world.user("globex", Preset::TenantAdministrator);
        foreign.get(&path).await.expect(404);
    }
}
