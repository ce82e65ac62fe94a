//! Links by which somebody without an account hears a call: who guesses, whose right they rest on, and what is kept of them.

use axum::http::Method;
use serde_json::{Value, json};

use super::tests::{hired, with_calls};
use crate::access::Preset;
use crate::api::testing::{Tried, World};

/// Follows a link, with a password or without.
async fn follow(world: &World, link: &str, password: Option<&str>) -> Tried {
    let nobody = world.nobody();
    match password {
        None => nobody.ask(Method::GET, link, &[], None).await,
        Some(password) => {
            let body = Some(json!({ "password": password }));
            nobody.ask(Method::POST, link, &[], body).await
        }
    }
}

#[tokio::test]
async fn a_password_of_a_link_is_guessed_a_few_times_only() {
    let (world, calls) = with_calls().await;
    let lea = hired(&world, "lea", Preset::TenantAdministrator).await;
    let lea = world.signed_in(&lea).await;
    let mut links = Vec::new();
    for call in &calls[..2] {
        let body =
            json!({ "reason": "x", "expires_in_seconds": 3600, "password": "correct horse" });
        let path = format!("/calls/{}/shares", call.id);
        let made = lea.post(&path, body).await.expect(201).json();
        links.push(made["path"].as_str().unwrap().to_owned());
    }
    let before = world.audit("acme").await.len();
    let guesses = (0..100).map(|guess| {
        let (world, link) = (&world, &links[0]);
        async move { follow(world, link, Some(&format!("guess {guess}"))).await }
    });
    let answers = futures_util::future::join_all(guesses).await;
    let wrong = answers.iter().filter(|one| one.status == 403).count();
    let waits: Vec<&Tried> = answers.iter().filter(|one| one.status == 429).collect();
    assert_eq!((wrong, waits.len()), (5, 95));
    assert!(
        waits
            .iter()
            .all(|one| one.headers.contains_key("retry-after"))
    );
    // Who asks without one has guessed nothing.
    for _ in 0..20 {
        follow(&world, &links[0], None).await.expect(403);
    }
    assert_eq!(world.audit("acme").await.len(), before + 5);
    // Not even the right one is tried now; another link is another.
    follow(&world, &links[0], Some("correct horse"))
        .await
        .expect(429);
    follow(&world, &links[1], Some("correct horse"))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_link_leads_nowhere_without_the_right_of_who_made_it() {
    let (world, calls) = with_calls().await;
    let root = world.user("system", Preset::RootAdministrator);
    let path = format!("/calls/{}/shares", calls[0].id);
    let body = || json!({ "reason": "x", "expires_in_seconds": 3600 });
    for (login, loss) in [
        ("deactivated", Some(json!({ "active": false }))),
        (
            "demoted",
            Some(json!({ "role_id": role(&world, Preset::Agent) })),
        ),
        (
            "expired",
            Some(json!({ "valid_until": "2020-01-01T00:00:00Z" })),
        ),
        ("removed", None),
    ] {
        let maker = hired(&world, login, Preset::TenantAdministrator).await;
        let made = world.signed_in(&maker).await.post(&path, body()).await;
        let link = made.expect(201).json()["path"].as_str().unwrap().to_owned();
        let opened = follow(&world, &link, None).await.expect(200).json();
        let audio = opened["audio"].as_str().unwrap();
        follow(&world, audio, None).await.expect(200);
        let user = format!("/users/{}", maker["id"].as_str().unwrap());
        match loss {
            Some(loss) => drop(root.put(&user, "*", loss).await.expect(200)),
            None => drop(root.delete(&user, "*").await.expect(204)),
        }
        for gone in [&link, audio] {
            follow(&world, gone, None).await.expect(404);
        }
    }
}

#[tokio::test]
async fn a_link_of_a_program_rests_on_who_answers_for_it() {
    let (world, calls) = with_calls().await;
    let lea = hired(&world, "lea", Preset::TenantAdministrator).await;
    let person = world.signed_in(&lea).await;
    let account = json!({
        "name": "CRM", "reason": "sends links", "permissions": { "calls": ["view", "playback", "share"] },
    });
    let account = person.post("/service-accounts", account).await.expect(201);
    let id = account.json()["id"].as_str().unwrap().parse().unwrap();
    let program = world.catalog.principal_of_account(id).await.unwrap();
    let path = format!("/calls/{}/shares", calls[0].id);
    let body = json!({ "reason": "x", "expires_in_seconds": 3600 });
    let made = world.principal(program.unwrap()).post(&path, body).await;
    let link = made.expect(201).json()["path"].as_str().unwrap().to_owned();
    follow(&world, &link, None).await.expect(200);
    let fewer = json!({
        "name": "CRM", "reason": "sends links", "permissions": { "calls": ["view"] },
    });
    let edited = person
        .put(&account.location(), "*", fewer)
        .await
        .expect(200);
    follow(&world, &link, None).await.expect(404);
    let more = json!({
        "name": "CRM", "reason": "sends links", "permissions": { "calls": ["view", "playback", "share"] },
    });
    let edited = person
        .put(&account.location(), &edited.etag(), more)
        .await
        .expect(200);
    follow(&world, &link, None).await.expect(200);
    person
        .delete(&account.location(), &edited.etag())
        .await
        .expect(204);
    follow(&world, &link, None).await.expect(404);
}

#[tokio::test]
async fn a_link_is_told_once_and_kept_nowhere() {
    let (world, calls) = with_calls().await;
    let lea = hired(&world, "lea", Preset::TenantAdministrator).await;
    let lea = world.signed_in(&lea).await;
    let path = format!("/calls/{}/shares", calls[0].id);
    let body = || Some(json!({ "reason": "x", "expires_in_seconds": 3600 }));
    let key = [("idempotency-key", "k1")];
    let made = lea.ask(Method::POST, &path, &key, body()).await.expect(201);
    let link = made.json()["path"].as_str().unwrap().to_owned();
    let files = std::fs::read_dir(world.folder()).unwrap();
    for file in files
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file())
    {
        let bytes = std::fs::read(&file).unwrap();
        let held = bytes
            .windows(link.len())
            .any(|part| part == link.as_bytes());
        assert!(!held, "{}", file.display());
    }
    let again = lea.ask(Method::POST, &path, &key, body()).await.expect(409);
    assert_eq!(again.json()["type"], "urn:callreel:problem:told_once");
}

fn role(world: &World, preset: Preset) -> Value {
    let acme = crate::base::TenantId(world.tenant("acme"));
    json!(preset.role_id(acme).0)
}
