//! The routes of calls, as people of several tenants see them.

use std::sync::Arc;

use axum::http::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use super::now;
use crate::access::{Actor, Preset, Principal};
use crate::api::testing::{Asking, World};
use crate::base::{TenantId, UserId};
use crate::catalog::testing::{call, unrecorded};
use crate::catalog::{CallRecord, Disposition};
use crate::storage::{Kind, SampleFormat, StoredFile, WavFormat};

const HOSTILE: &str = "=cmd|'/C calc'!A0<script>alert(1)</script>\u{202e}\u{1b}[31m";

/// Somebody who has just shown again who they are.
pub(super) fn sure<'w>(world: &'w World, slug: &str, preset: Preset, login: &str) -> Asking<'w> {
    let tenant = TenantId(world.tenant(slug));
    let login: Arc<str> = login.into();
    let actor = Actor::User {
        id: UserId(Uuid::from_u128(login.len() as u128)),
        login: login.clone(),
    };
    let role = preset.role(tenant);
    let principal = Principal::new(actor, tenant, login, &role, Arc::new([]));
    world.principal(principal.stepped_up(now()))
}

/// Calls of `acme` (1) and `globex` (2); the recorded ones with files, of which the second one's are encrypted.
pub(in crate::api) async fn with_calls() -> (World, Vec<CallRecord>) {
    let world = World::new().await;
    let mut calls = vec![
        call(1, 1),
        call(1, 2),
        unrecorded(1, 3, Disposition::Encrypted),
        call(2, 4),
    ];
    calls[0].parties.caller.display = HOSTILE.into();
    calls[0].interaction = calls[1].interaction;
    calls[1].participants[0].user = Some("bob".into());
    calls[3].parties.caller.display = "canary of globex".into();
    calls[3].sip_call_id = "canary of globex".into();
    world.catalog.record(&calls).await.unwrap();
    let layout = world.api.settings().storage.clone();
    for name in calls.iter().filter_map(super::recording_name) {
        std::fs::create_dir_all(layout.folder(&name)).unwrap();
        let is_encrypted = name.id.0 == calls[1].id;
        let contents = [
            (Kind::Audio, audio(name.id.0)),
            (Kind::Sidecar, b"{}".to_vec()),
        ];
        for (kind, content) in contents {
            let file = StoredFile::create(&layout, &name, kind, is_encrypted).unwrap();
            file.write_at(&content, 0).unwrap();
        }
    }
    (world, calls)
}

/// A new user of `acme`, as JSON.
pub(in crate::api) async fn hired(world: &World, login: &str, preset: Preset) -> Value {
    let acme = TenantId(world.tenant("acme"));
    let body = json!({
        "login": login, "role_id": preset.role_id(acme).0, "tenant_id": acme.0, "must_change_password": false,
    });
    let root = world.user("system", Preset::RootAdministrator);
    root.post("/users", body).await.expect(201).json()
}

/// A recording whose samples spell its id.
fn audio(id: Uuid) -> Vec<u8> {
    let format = WavFormat {
        sample_format: SampleFormat::Pcm16,
        sample_rate_hz: 8000,
    };
    [format.header(9), id.to_string().into_bytes()].concat()
}

fn ids(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn everybody_finds_the_calls_of_the_own_scope_and_no_word_of_others() {
    let (world, calls) = with_calls().await;
    let id = |at: usize| calls[at].id.to_string();
    let list = async |who: &Asking<'_>, path: &str| ids(&who.get(path).await.expect(200).json());
    let ann = world.user("acme", Preset::TenantAdministrator);
    assert_eq!(list(&ann, "/calls").await, [id(2), id(1), id(0)]);
    assert_eq!(list(&ann, "/calls?sort=started_at&limit=1").await, [id(0)]);
    assert_eq!(list(&ann, "/calls?disposition=encrypted").await, [id(2)]);
    let unknown = ann.get("/calls?disposition=bogus").await.expect(422);
    assert_eq!(unknown.json()["field"], "disposition");
    assert_eq!(list(&ann, "/calls?state=none&user=alice").await, [id(2)]);
    assert_eq!(
        list(&ann, "/calls?user=bob&direction=inbound").await,
        [id(1)]
    );
    assert_eq!(list(&ann, "/calls?caller=020%207946%200101").await.len(), 3);
    assert_eq!(list(&ann, "/calls?callee_prefix=02").await, [""; 0]);
    let foreign = format!("/calls?tenant_id={}", world.tenant("globex"));
    assert_eq!(list(&ann, &foreign).await, [""; 0]);
    let root = world.user("system", Preset::RootAdministrator);
    assert_eq!(list(&root, "/calls").await.len(), 4);
    assert_eq!(list(&root, &foreign).await, [id(3)]);
    let bob = sure(&world, "acme", Preset::Agent, "bob");
    assert_eq!(list(&bob, "/calls").await, [id(1)]);
    bob.get(&format!("/calls/{}", id(0))).await.expect(404);
    bob.get(&format!("/calls/{}", id(1))).await.expect(200);
    for path in ["/calls", "/dispositions", &format!("/calls/{}", id(0))] {
        let body = ann.get(path).await.expect(200).body;
        let text = String::from_utf8(body).unwrap();
        assert!(
            !text.contains("canary") && !text.contains(&world.tenant("globex").to_string()),
            "{text}"
        );
    }
    world.nobody().get("/calls").await.expect(401);
}

#[tokio::test]
async fn pages_follow_one_another_and_a_wrong_parameter_is_named() {
    let (world, calls) = with_calls().await;
    let ann = world.user("acme", Preset::Reader);
    let first = ann.get("/calls?limit=2").await.expect(200).json();
    let next = first["next"].as_str().unwrap();
    let second = ann
        .get(&format!("/calls?limit=2&after={next}"))
        .await
        .expect(200)
        .json();
    assert_eq!(ids(&second), [calls[0].id.to_string()]);
    assert_eq!(second["next"], Value::Null);
    ann.get(&format!("/calls?sort=length&after={next}"))
        .await
        .expect(400);
    for (path, field) in [
        ("/calls?from=yesterday", "from"),
        ("/calls?direction=up", "direction"),
        ("/calls?state=lost", "state"),
        ("/calls?sort=colour", "sort"),
        ("/calls?mos_min=7", "mos_min"),
        ("/calls?limit=0", "limit"),
        ("/calls?number=1&number_prefix=1", "number"),
        ("/calls?user=", "user"),
        ("/calls?format=csv", "format"),
    ] {
        let problem = ann.get(path).await.expect(422).json();
        assert_eq!(problem["field"], field, "{path}");
    }
    ann.get("/calls?colour=red").await.expect(400);
}

#[tokio::test]
async fn a_call_says_everything_and_its_hostile_texts_are_harmless() {
    let (world, calls) = with_calls().await;
    let ann = world.user("acme", Preset::TenantAdministrator);
    let answer = ann
        .get(&format!("/calls/{}", calls[0].id))
        .await
        .expect(200);
    let text = String::from_utf8(answer.body.clone()).unwrap();
    assert!(
        !text.contains('<') && !text.contains('\u{202e}') && !text.contains('\u{1b}'),
        "{text}"
    );
    let shown = answer.json();
    assert_eq!(shown["caller"]["name"], HOSTILE);
    assert_eq!(shown["participants"][0]["user"], "alice");
    assert_eq!(shown["attribution"]["verdict"], "owned");
    assert_eq!(
        ids(&json!({ "items": shown["interaction"] })),
        [calls[1].id.to_string()]
    );
    let why = ann.get("/dispositions").await.expect(200).json();
    let all = why["items"].as_array().unwrap();
    let one = all.iter().find(|one| one["code"] == "encrypted").unwrap();
    assert_eq!(
        (&one["calls"], one["text"].as_str().unwrap()),
        (&json!(1), Disposition::Encrypted.text())
    );
}

#[tokio::test]
async fn an_export_is_permitted_sure_audited_and_no_formula() {
    let (world, calls) = with_calls().await;
    let path = "/calls/export?state=recorded";
    world
        .user("acme", Preset::Reader)
        .get(path)
        .await
        .expect(403);
    let unsure = world
        .user("acme", Preset::TenantAdministrator)
        .stale()
        .get(path)
        .await
        .expect(403);
    assert_eq!(
        unsure.json()["type"],
        "urn:callreel:problem:step_up_required"
    );
    assert_eq!(world.audit("acme").await, [""; 0]);
    let ann = sure(&world, "acme", Preset::TenantAdministrator, "ann");
    let csv = ann.get(path).await.expect(200);
    assert_eq!(
        csv.headers["content-disposition"],
        "attachment; filename=\"calls.csv\""
    );
    let text = String::from_utf8(csv.body).unwrap();
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(
        text.contains(",'=cmd|") && !text.contains('\u{202e}') && !text.contains("canary"),
        "{text}"
    );
    assert_eq!(world.audit("acme").await, ["calls.export"]);
    let lines = ann
        .get("/calls/export?format=jsonl&sort=started_at")
        .await
        .expect(200);
    let lines: Vec<Value> = String::from_utf8(lines.body)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["caller"]["name"], HOSTILE);
    assert_eq!(lines[0]["id"], calls[0].id.to_string());
}

#[tokio::test]
async fn notes_are_their_authors_and_are_found() {
    let (world, calls) = with_calls().await;
    let path = format!("/calls/{}/notes", calls[0].id);
    let ann = sure(&world, "acme", Preset::TenantAdministrator, "ann");
    let body = json!({ "text": "Refund promised <b>", "place_ms": 1500, "pinned": true });
    let made = ann.post(&path, body).await.expect(201);
    let length = calls[0].length_ms;
    let past = json!({ "text": "Late", "place_ms": length + 1 });
    for refused in [
        ann.post(&path, past.clone()).await,
        ann.put(&made.location(), "*", past).await,
    ] {
        assert_eq!(refused.expect(422).json()["field"], "place_ms");
    }
    let list = ann.get(&path).await.expect(200).json();
    assert_eq!(list["items"][0]["author"], "ann");
    assert_eq!(
        ids(&ann
            .get("/calls?notes=refund%20prom")
            .await
            .expect(200)
            .json()),
        [calls[0].id.to_string()]
    );
    assert_eq!(
        ids(&ann.get("/calls?state=pinned").await.expect(200).json()).len(),
        1
    );
    let globex = sure(&world, "globex", Preset::TenantAdministrator, "ann");
    assert_eq!(
        ids(&globex.get("/calls?notes=refund").await.expect(200).json()),
        [""; 0]
    );
    globex.get(&path).await.expect(404);
    globex
        .put(&made.location(), "*", json!({ "text": "x" }))
        .await
        .expect(404);
    let carl = sure(&world, "acme", Preset::TenantAdministrator, "carl");
    let other = carl
        .put(
            &made.location(),
            "*",
            json!({ "text": "No refund", "pinned": true }),
        )
        .await;
    assert_eq!(
        other.expect(403).json()["type"],
        "urn:callreel:problem:not_the_author"
    );
    let same = json!({ "text": "Refund promised <b>", "place_ms": 1500, "pinned": false });
    carl.put(&made.location(), "*", same).await.expect(200);
    ann.put(&made.location(), &made.etag(), json!({ "text": "late" }))
        .await
        .expect(412);
    ann.put(&made.location(), "\"2\"", json!({ "text": "Paid" }))
        .await
        .expect(200);
    assert_eq!(
        ids(&ann.get("/calls?notes=refund").await.expect(200).json()),
        [""; 0]
    );
    carl.delete(&made.location(), "*").await.expect(204);
    let empty = ann.post(&path, json!({ "text": " " })).await.expect(422);
    assert_eq!(empty.json()["field"], "text");
    world
        .user("acme", Preset::Reader)
        .post(&path, json!({ "text": "x" }))
        .await
        .expect(403);
    let acts = [
        "call_notes.create",
        "call_notes.edit",
        "call_notes.edit",
        "call_notes.delete",
    ];
    assert_eq!(world.audit("acme").await, acts);
}

#[tokio::test]
async fn calls_are_sorted_into_categories_of_their_own_tenant() {
    let (world, calls) = with_calls().await;
    let ann = sure(&world, "acme", Preset::TenantAdministrator, "ann");
    let globex = sure(&world, "globex", Preset::TenantAdministrator, "ann");
    let body = json!({ "name": "Complaint", "colour": "#FF0000" });
    let made = ann.post("/call-categories", body.clone()).await.expect(201);
    let foreign = globex.post("/call-categories", body).await.expect(201);
    let put = async |call: &CallRecord, category: &Value| {
        let path = format!(
            "/calls/{}/categories/{}",
            call.id,
            category["id"].as_str().unwrap()
        );
        ann.ask(Method::PUT, &path, &[], None).await
    };
    put(&calls[0], &made.json()).await.expect(204);
    put(&calls[0], &made.json()).await.expect(204);
    put(&calls[0], &foreign.json()).await.expect(404);
    put(&calls[3], &made.json()).await.expect(404);
    let path = format!("/calls?category_id={}", made.json()["id"].as_str().unwrap());
    let found = ann.get(&path).await.expect(200).json();
    assert_eq!(found["items"][0]["categories"][0]["name"], "Complaint");
    assert_eq!(ids(&globex.get(&path).await.expect(200).json()), [""; 0]);
    globex.get(&made.location()).await.expect(404);
    ann.post("/call-categories", json!({ "name": "complaint" }))
        .await
        .expect(409);
    ann.post("/call-categories", json!({ "name": "x", "colour": "red" }))
        .await
        .expect(422);
    ann.delete(&made.location(), &made.etag()).await.expect(204);
    assert_eq!(ids(&ann.get(&path).await.expect(200).json()), [""; 0]);
}

#[tokio::test]
async fn a_tenant_reads_that_the_provider_did_it_and_not_who() {
    let (world, calls) = with_calls().await;
    let rita = sure(&world, "system", Preset::RootAdministrator, "rita");
    let ann = sure(&world, "acme", Preset::TenantAdministrator, "ann");
    let path = |at: usize| format!("/calls/{}", calls[at].id);
    let (notes, hold, shares) = (path(0) + "/notes", path(0) + "/hold", path(0) + "/shares");
    let note = rita
        .post(&notes, json!({ "text": "Heard" }))
        .await
        .expect(201);
    rita.put(&hold, "*", json!({ "reason": "Case 7" }))
        .await
        .expect(200);
    rita.post(
        &shares,
        json!({ "reason": "Court", "expires_in_seconds": 3600 }),
    )
    .await
    .expect(201);
    rita.delete(&format!("{}?reason=asked", path(1)), "*")
        .await
        .expect(204);
    let seen = |json: Value| {
        let text = json.to_string();
        assert!(!text.contains("rita"), "{text}");
        json
    };
    let told = seen(ann.get(&notes).await.expect(200).json());
    assert_eq!(told["items"][0]["author"], "the provider");
    assert!(told["items"][0].get("author_id").is_none_or(Value::is_null));
    let told = seen(ann.get(&path(0)).await.expect(200).json());
    assert_eq!(told["hold"]["held_by"], "the provider");
    let told = seen(ann.get(&shares).await.expect(200).json());
    assert_eq!(told["items"][0]["created_by"], "the provider");
    let told = seen(ann.get(&path(1)).await.expect(200).json());
    assert_eq!(told["deletion"]["deleted_by"], "the provider");
    seen(ann.get("/audit").await.expect(200).json());
    // It stays hers to edit.
    let body = json!({ "text": "Heard twice" });
    rita.put(&note.location(), "*", body.clone())
        .await
        .expect(200);
    ann.put(&note.location(), "*", body).await.expect(403);
}

#[tokio::test]
async fn a_held_call_is_deleted_by_nobody_and_another_is_gone_with_its_files() {
    let (world, calls) = with_calls().await;
    let layout = world.api.settings().storage.clone();
    let file = |at: usize, kind| layout.path(&super::recording_name(&calls[at]).unwrap(), kind);
    let path = |at: usize| format!("/calls/{}", calls[at].id);
    let hold = path(0) + "/hold";
    world
        .user("acme", Preset::TenantAdministrator)
        .stale()
        .delete(&path(0), "*")
        .await
        .expect(403);
    let ann = sure(&world, "acme", Preset::TenantAdministrator, "ann");
    ann.put(&hold, "*", json!({ "reason": "Case 7" }))
        .await
        .expect(200);
    assert_eq!(
        ids(&ann.get("/calls?state=held").await.expect(200).json()),
        [calls[0].id.to_string()]
    );
    let root = sure(&world, "system", Preset::RootAdministrator, "root");
    for who in [&ann, &root] {
        assert_eq!(
            who.delete(&path(0), "*").await.expect(409).json()["type"],
            "urn:callreel:problem:held"
        );
        // Nor with the conversation it is of; then nothing of it is deleted.
        who.delete(&(path(1) + "?interaction=true"), "*")
            .await
            .expect(409);
    }
    assert!(file(0, Kind::Audio).exists() && file(1, Kind::Audio).exists());
    world
        .user("acme", Preset::TenantAdministrator)
        .stale()
        .delete(&hold, "*")
        .await
        .expect(403);
    ann.delete(&hold, "*").await.expect(204);
    ann.delete(&(path(1) + "?interaction=true&reason=asked"), "*")
        .await
        .expect(204);
    for kind in [Kind::Audio, Kind::Sidecar] {
        assert!(!file(0, kind).exists() && !file(1, kind).exists());
        assert!(file(3, kind).exists());
    }
    assert_eq!(
        ids(&ann.get("/calls").await.expect(200).json()),
        [calls[2].id.to_string()]
    );
    ann.delete(&path(0), "*").await.expect(404);
    ann.delete(&path(3), "*").await.expect(404);
    let shown = ann.get(&path(0)).await.expect(200).json();
    assert_eq!(
        (&shown["deletion"]["reason"], &shown["file"]),
        (&json!("asked"), &Value::Null)
    );
    let deleted = "There was a recording; it was deleted.";
    assert_eq!(shown["disposition_text"], deleted);
    let listed = ann.get("/calls?state=deleted").await.expect(200).json();
    assert_eq!(ids(&listed).len(), 2);
    for call in listed["items"].as_array().unwrap() {
        assert_eq!(call["disposition_text"], deleted);
        assert!(call["deleted_at"].is_string() && call["file"].is_null());
    }
    world.catalog.record(&calls).await.unwrap();
    assert_eq!(ids(&ann.get("/calls").await.expect(200).json()).len(), 1);
    assert_eq!(
        world.audit("acme").await,
        [
            "calls.hold",
            "calls.release",
            "calls.delete",
            "calls.delete"
        ]
    );
}

#[tokio::test]
async fn a_recording_that_the_storage_takes_after_its_call_was_deleted_does_not_stay() {
    let (world, calls) = with_calls().await;
    let layout = world.api.settings().storage.clone();
    let name = super::recording_name(&calls[0]).unwrap();
    let refused = CallRecord {
        disposition: Disposition::DiskError,
        file: None,
        ..calls[0].clone()
    };
    world.catalog.record(&[refused]).await.unwrap();
    // As it waits.
    let finished = [Kind::Audio, Kind::Sidecar].map(|kind| layout.path(&name, kind));
    let waiting = [Kind::AudioPart, Kind::SidecarPart].map(|kind| layout.path(&name, kind));
    for (from, to) in finished.iter().zip(&waiting) {
        std::fs::rename(from, to).unwrap();
    }
    let ann = sure(&world, "acme", Preset::TenantAdministrator, "ann");
    let path = format!("/calls/{}", calls[0].id);
    ann.delete(&path, "*").await.expect(204);
    assert!(waiting.iter().all(|path| !path.exists()));
    assert!(ann.get(&path).await.expect(200).json()["deletion"]["files_gone_at"].is_string());

    // It was taken at the same moment, and is told of only now; or a start found it.
    for path in &finished {
        std::fs::write(path, "late").unwrap();
    }
    world.catalog.record(&calls).await.unwrap();
    let removed = super::remove_files(&world.catalog, &layout).await.unwrap();
    assert_eq!(removed.left, 0);
    assert!(finished.iter().all(|path| !path.exists()));
    assert!(world.catalog.removals(10).await.unwrap().is_empty());
    let shown = ann.get(&path).await.expect(200).json();
    assert_eq!(
        (&shown["deletion"]["deleted_by"], &shown["file"]),
        (&json!("ann"), &Value::Null)
    );
}

#[tokio::test]
async fn a_zip_holds_what_was_asked_for_under_names_of_times_and_ids() {
    let (world, calls) = with_calls().await;
    let ann = sure(&world, "acme", Preset::TenantAdministrator, "ann");
    let ask = async |ids: Value| ann.post("/calls/zip", json!({ "ids": ids })).await;
    ask(json!([calls[0].id, calls[3].id])).await.expect(404);
    ask(json!([])).await.expect(422);
    ask(json!([calls[2].id])).await.expect(409);
    assert_eq!(world.audit("acme").await, [""; 0]);
    let answer = ask(json!([calls[0].id, calls[1].id])).await.expect(200);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("calls.zip");
    std::fs::write(&path, &answer.body).unwrap();
    // Python reads what Rust wrote.
    let script = "import sys,zipfile\nz=zipfile.ZipFile(sys.argv[1])\nassert z.testzip() is None\nfor n in sorted(z.namelist()): print(n, z.read(n)[-36:].decode())";
    let output = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(&path)
        .output()
        .unwrap();
    let listing = String::from_utf8(output.stdout).unwrap();
    let line = |at: usize, time: &str| format!("{time}_{0}.wav {0}\n", calls[at].id);
    assert_eq!(
        listing,
        line(0, "20231114T221321Z") + &line(1, "20231114T221322Z")
    );
    assert_eq!(
        world.audit("acme").await,
        ["calls.download", "calls.download"]
    );
    world
        .user("acme", Preset::Agent)
        .post("/calls/zip", json!({ "ids": [calls[0].id] }))
        .await
        .expect(403);
}

#[tokio::test]
async fn a_link_leads_to_one_call_until_it_is_used_up_or_revoked() {
    let (world, calls) = with_calls().await;
    let lea = hired(&world, "lea", Preset::TenantAdministrator).await;
    let ann = world.signed_in(&lea).await;
    let path = format!("/calls/{}/shares", calls[0].id);
    let body = json!({ "reason": "For the lawyer", "expires_in_seconds": 3600, "password": "correct horse", "max_uses": 1 });
    let made = ann.post(&path, body).await.expect(201).json();
    let link = made["path"].as_str().unwrap().to_owned();
    let stranger = world.nobody();
    stranger
        .ask(Method::GET, &link, &[], None)
        .await
        .expect(403);
    let wrong = json!({ "password": "battery staple" });
    stranger
        .ask(Method::POST, &link, &[], Some(wrong))
        .await
        .expect(403);
    let right = json!({ "password": "correct horse" });
    let opened = stranger
        .ask(Method::POST, &link, &[], Some(right.clone()))
        .await
        .expect(200)
        .json();
    let place = opened["audio"].as_str().unwrap();
    let heard = stranger
        .ask(Method::GET, place, &[], None)
        .await
        .expect(200);
    assert_eq!(heard.body, audio(calls[0].id));
    assert_eq!(heard.headers["content-type"], "audio/wav");
    stranger
        .ask(Method::POST, &link, &[], Some(right))
        .await
        .expect(404);
    let body = json!({ "reason": "Again", "expires_in_seconds": 3600 });
    let second = ann.post(&path, body).await.expect(201).json();
    let link = second["path"].as_str().unwrap().to_owned();
    let opened = stranger
        .ask(Method::GET, &link, &[], None)
        .await
        .expect(200)
        .json();
    let revoke = format!("/call-shares/{}", second["id"].as_str().unwrap());
    ann.delete(&revoke, "*").await.expect(204);
    stranger
        .ask(Method::GET, &link, &[], None)
        .await
        .expect(404);
    stranger
        .ask(Method::GET, opened["audio"].as_str().unwrap(), &[], None)
        .await
        .expect(404);
    stranger
        .ask(Method::GET, "/s/AAAA", &[], None)
        .await
        .expect(404);
    let shown = ann.get(&path).await.expect(200).json();
    assert_eq!(shown["items"][1]["uses"], 1);
    assert!(shown["items"][0].get("path").is_none());
    sure(&world, "globex", Preset::TenantAdministrator, "ann")
        .get(&path)
        .await
        .expect(404);
    // That a password was asked for is nothing that somebody did.
    let acts = [
        "users.create",
        "calls.share",
        "shares.open",
        "shares.open",
        "calls.share",
        "shares.open",
        "calls.unshare",
    ];
    assert_eq!(world.audit("acme").await, acts);
}

#[tokio::test]
async fn confidential_calls_are_seen_by_who_took_part_and_by_who_may_see_them() {
    let (world, calls) = with_calls().await;
    let ann = world.user("acme", Preset::TenantAdministrator);
    let sales = ann.post("/groups", json!({ "name": "Sales" })).await;
    let sales = sales.expect(201).json()["id"].clone();
    let acme = TenantId(world.tenant("acme"));
    // Both in the group; alice is confidential. The calls of both are told apart by who took part.
    for (login, confidential) in [("alice", true), ("bob", false)] {
        let body = json!({
            "login": login, "name": login, "role_id": Preset::Agent.role(acme).role_id.0, "group_id": sales,
            "confidential": confidential,
        });
        ann.post("/users", body).await.expect(201);
    }
    let somebody = |preset: Preset, tenant: TenantId, login: &str| {
        let login: Arc<str> = login.into();
        let actor = Actor::User {
            id: UserId(Uuid::from_u128(7)),
            login: login.clone(),
        };
        let groups = Arc::new([sales.as_str().unwrap().parse().unwrap()]);
        Principal::new(actor, tenant, login, &preset.role(tenant), groups)
    };
    let list = async |who: Principal| {
        let asking = world.principal(who);
        let listed = ids(&asking.get("/calls?state=recorded").await.expect(200).json());
        for call in &calls[..2] {
            let status = asking.get(&format!("/calls/{}", call.id)).await.status;
            assert_eq!(status == 200, listed.contains(&call.id.to_string()));
        }
        listed
    };
    let (of_alice, of_bob) = (calls[0].id.to_string(), calls[1].id.to_string());
    let both = [of_bob.clone(), of_alice.clone()];
    for preset in [Preset::Supervisor, Preset::Reader] {
        assert_eq!(list(somebody(preset, acme, "alice")).await, both);
        assert_eq!(
            list(somebody(preset, acme, "carol")).await,
            [of_bob.as_str()]
        );
    }
    assert_eq!(
        list(somebody(Preset::Agent, acme, "alice")).await,
        [of_alice]
    );
    // A namesake elsewhere is somebody else.
    let globex = TenantId(world.tenant("globex"));
    let foreign = list(somebody(Preset::Reader, globex, "alice")).await;
    assert!(!both.iter().any(|id| foreign.contains(id)));
}

#[tokio::test]
async fn who_looks_whether_a_link_leads_anywhere_does_not_use_it_up() {
    let (world, calls) = with_calls().await;
    let lea = hired(&world, "lea", Preset::TenantAdministrator).await;
    let ann = world.signed_in(&lea).await;
    let shares = format!("/calls/{}/shares", calls[0].id);
    let body = json!({ "reason": "for the customer", "expires_in_seconds": 3600, "max_uses": 1 });
    let made = ann.post(&shares, body).await.expect(201).json();
    let link = made["path"].as_str().unwrap();
    let look = || async { world.nobody().ask(Method::HEAD, link, &[], None).await };
    for _ in 0..3 {
        let looked = look().await.expect(200);
        assert_eq!(looked.headers["content-type"], "application/json");
        assert!(looked.body.is_empty());
    }
    assert_eq!(world.audit("acme").await, ["users.create", "calls.share"]);
    world
        .nobody()
        .ask(Method::GET, link, &[], None)
        .await
        .expect(200);
    look().await.expect(404);
    world
        .nobody()
        .ask(Method::GET, link, &[], None)
        .await
        .expect(404);
}
