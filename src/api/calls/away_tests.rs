//! I7: what has to be audited first is refused while it cannot be, and has no effect; and all of it works again afterwards.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::Method;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::tests::{sure, with_calls};
use crate::access::{Event, Preset, Principal};
use crate::api::feed::tests::call;
use crate::api::sensor::{
    ActiveCall, Hearing, LiveAudio, Sensor, Steered, Steering, Unheard, Unsteered,
};
use crate::api::testing::{Asking, Tried, World, tenant};
use crate::base::{TenantId, Timestamp};
use crate::catalog::{CallRecord, Catalog};
use crate::storage::Kind;

const PATIENCE: Duration = Duration::from_millis(150);

/// A daemon with one call, and what was asked of it.
#[derive(Default)]
struct Daemon(Mutex<Vec<&'static str>>);

impl Sensor for Arc<Daemon> {
    fn active_calls(&self, _: Option<TenantId>) -> Vec<ActiveCall> {
        vec![call(tenant("acme"), 1)]
    }

    fn control(&self, _: Steering) -> BoxFuture<'_, Result<Steered, Unsteered>> {
        self.0.lock().unwrap().push("control");
        let done = Steered {
            calls: 1,
            changed: 1,
            at: Timestamp::default(),
        };
        Box::pin(async move { Ok(done) })
    }

    fn listen(&self, _: &ActiveCall, _: Hearing) -> Result<LiveAudio, Unheard> {
        self.0.lock().unwrap().push("listen");
        let (sender, chunks) = mpsc::channel(4);
        sender.try_send(Bytes::from_static(b"some audio")).unwrap();
        Ok(LiveAudio { chunks })
    }
}

/// Calls, the second of which is held, and the catalog that the API asks.
struct Scene {
    world: World,
    calls: Vec<CallRecord>,
    daemon: Arc<Daemon>,
    asked: Catalog,
}

impl Scene {
    async fn new() -> Scene {
        let (world, calls) = with_calls().await;
        let asked = Catalog::impatient_for_tests(&world.url(), PATIENCE).await;
        world.api.set_catalog(asked.clone());
        let daemon = Arc::<Daemon>::default();
        world.api.live().set_sensor(Arc::new(daemon.clone()));
        let scene = Scene {
            world,
            calls,
            daemon,
            asked,
        };
        let hold = format!("/calls/{}/hold", scene.calls[1].id);
        let body = json!({ "reason": "Case 7" });
        scene.ann().put(&hold, "*", body).await.expect(200);
        scene
    }

    fn ann(&self) -> Asking<'_> {
        sure(&self.world, "acme", Preset::TenantAdministrator, "ann")
    }

    /// Everything that has to be in the audit before it is done, in an order in which all of it can be.
    fn acts(&self) -> Vec<(Method, String, Option<Value>)> {
        let (first, held) = (self.calls[0].id, self.calls[1].id);
        let call = |rest: &str| format!("/calls/{first}{rest}");
        let active = |rest: &str| format!("/active-calls/{}{rest}", Uuid::from_u128(1));
        let reason = |text: &str| Some(json!({ "reason": text }));
        vec![
            (Method::GET, call("/audio"), None),
            (Method::GET, call("/audio?download=true"), None),
            (Method::GET, "/calls/export?state=recorded".into(), None),
            (
                Method::POST,
                "/calls/zip".into(),
                Some(json!({ "ids": [first] })),
            ),
            (
                Method::POST,
                call("/shares"),
                Some(json!({ "reason": "For the lawyer", "expires_in_seconds": 3600 })),
            ),
            (Method::PUT, format!("/calls/{held}/hold"), reason("Case 8")),
            (Method::DELETE, format!("/calls/{held}/hold"), None),
            (Method::DELETE, format!("/calls/{first}"), None),
            (Method::GET, active("/live"), None),
            (Method::POST, active("/pause"), reason("card number")),
            (Method::POST, active("/stop"), None),
            (
                Method::POST,
                "/groups".into(),
                Some(json!({ "name": "Sales" })),
            ),
        ]
    }

    async fn try_all(&self, answered: impl Fn(&str, Tried)) {
        let ann = self.ann();
        for (method, path, body) in self.acts() {
            let what = format!("{method} {path}");
            let headers = [("if-match", "*")];
            answered(&what, ann.ask(method, &path, &headers, body).await);
        }
    }

    /// All that could have been done is as it was.
    async fn nothing_was_done(&self, trouble: &str) {
        assert_eq!(*self.daemon.0.lock().unwrap(), [""; 0], "{trouble}");
        let layout = self.world.api.settings().storage.clone();
        for call in &self.calls[..2] {
            let name = super::recording_name(call).unwrap();
            assert!(layout.path(&name, Kind::Audio).exists(), "{trouble}");
        }
        let audit = self.world.audit("acme").await;
        assert!(
            audit
                .iter()
                .all(|action| action == "calls.hold" || action == "filler"),
            "{trouble}: {audit:?}"
        );
        let ann = self.ann();
        let held = ann.get("/calls?state=held").await.expect(200).json();
        assert_eq!(held["items"].as_array().unwrap().len(), 1, "{trouble}");
        let shares = format!("/calls/{}/shares", self.calls[0].id);
        assert_eq!(
            ann.get(&shares).await.expect(200).json()["items"],
            json!([])
        );
        assert_eq!(
            ann.get("/groups").await.expect(200).json()["items"],
            json!([])
        );
    }

    async fn refuses_all(&self, trouble: &str) {
        self.try_all(|what, answer| {
            assert_eq!(answer.status.as_u16(), 503, "{trouble}: {what}");
            let again = answer.headers.get("retry-after");
            assert!(again.is_some(), "{trouble}: {what} says not when");
            assert!(
                !answer.body.windows(4).any(|part| part == b"RIFF"),
                "{what}"
            );
        })
        .await;
        // What changes nothing is answered, or says the same, which it does where the file is not the one that was opened.
        let ann = self.ann();
        let read = [
            format!("/calls/{}", self.calls[0].id),
            "/calls".into(),
            "/groups".into(),
        ];
        for path in read {
            let status = ann.get(&path).await.status.as_u16();
            let answered = status == 200 && !["missing", "replaced"].contains(&trouble);
            assert!(answered || status == 503, "{trouble}: {path} {status}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_audited_is_refused_and_has_no_effect_and_later_all_works() {
    let scene = Scene::new().await;

    let other = Catalog::open(&scene.world.url()).await.unwrap();
    let writing = other.change().await.unwrap();
    scene.refuses_all("locked").await;
    drop(writing);
    scene.nothing_was_done("locked").await;

    scene.asked.fill_disk_for_tests(true).await;
    let mut fillers = 0;
    loop {
        // The shortest record there can be: what finds no room then never will.
        let filler = Event::by(&Principal::operator(""), "filler").of_tenant(tenant("acme"));
        match scene.asked.audit(filler).await {
            Ok(()) => fillers += 1,
            Err(error) => break assert!(error.to_string().contains("no room left"), "{error}"),
        }
        assert!(fillers < 10_000, "the disk is never full");
    }
    scene.refuses_all("full").await;
    scene.asked.fill_disk_for_tests(false).await;
    scene.nothing_was_done("full").await;

    let path = scene.world.folder().join("catalog.db");
    let aside = scene.world.folder().join("aside.db");
    std::fs::rename(&path, &aside).unwrap();
    scene.refuses_all("missing").await;
    assert!(!path.exists(), "no other is made in its place");
    std::fs::write(&path, "").unwrap();
    scene.refuses_all("replaced").await;
    std::fs::rename(&aside, &path).unwrap();
    scene.nothing_was_done("missing").await;

    scene
        .try_all(|what, answer| {
            let status = answer.status.as_u16();
            assert!((200..300).contains(&status), "{what}: {status}");
        })
        .await;
    let audit = scene.world.audit("acme").await;
    let done: Vec<&str> = (audit.iter().map(String::as_str))
        .filter(|action| *action != "filler")
        .collect();
    assert_eq!(
        done,
        [
            "calls.hold",
            "calls.playback",
            "calls.download",
            "calls.export",
            "calls.download",
            "calls.share",
            "calls.hold",
            "calls.release",
            "calls.delete",
            "calls.live_monitor",
            "calls.pause",
            "calls.stop",
            "groups.create",
        ]
    );
    assert_eq!(
        *scene.daemon.0.lock().unwrap(),
        ["listen", "control", "control"]
    );
    let verified = scene.asked.verify_audit(&[]).await.unwrap();
    assert!(verified.iter().all(|chain| chain.broken.is_none()));
}
