//! What schemathesis makes of the OpenAPI document: requests that keep to it and requests that do not. No answer of them is a
//! fault of this program, and none is one that the document does not announce.
//!
//! `.ci/setup test` installs it beside the build.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{Next, from_fn};
use callreel::access::Preset;
use callreel::api::Api;
use callreel::base::{SYSTEM_TENANT, TenantId};
use serde_json::Value;

use super::asking::ids_for;
use super::before;
use super::document::{Form, Operation, operations};
use super::happenings::event;
use super::table;
use super::world::{ACME, Somebody, World};

/// How it asks, whoever asks.
const SETTINGS: &str = include_str!("schemathesis.toml");

/// Where `.ci/setup test` puts it: in the folder that is built into, which this program lies in.
fn installed() -> Option<PathBuf> {
    let program = std::env::current_exe().unwrap();
    let mut folders = program.ancestors().skip(1);
    folders.find_map(|folder| {
        let place = folder.join("schemathesis/bin/schemathesis");
        place.is_file().then_some(place)
    })
}

/// Lets whoever has the word in as somebody. It asks for everything that can be asked, its own removal too: rights that were
/// in the catalog would be gone after a while, and every answer would be that nobody is signed in.
fn with_word(routes: Router, word: &str, who: &Somebody) -> Router {
    let (bearer, principal) = (format!("Bearer {word}"), who.principal.clone());
    let let_in = move |mut request: Request, next: Next| {
        let headers = request.headers_mut();
        let is_it = |value: &axum::http::HeaderValue| *value == *bearer;
        if headers.get(AUTHORIZATION).is_some_and(is_it) {
            headers.remove(AUTHORIZATION);
            request.extensions_mut().insert(principal.clone());
        }
        next.run(request)
    };
    routes.layer(from_fn(let_in))
}

/// Words that a parameter of an operation gets more often than not: what is there to be asked for.
async fn words(world: &World, operation: &Operation, who: &Somebody) -> Vec<(String, String)> {
    let ids = ids_for(world, operation, who, ACME).await;
    let mut words = Vec::new();
    for form in &operation.ids {
        let (place, name) = match form {
            Form::Path { name, .. } => (format!("path.{name}"), name),
            Form::Query { name } => (format!("query.{name}"), name),
            Form::Body { name, list: false } => (format!("body.{name}"), name),
            Form::Body { name, list: true } => (format!("body.{name}[*]"), name),
        };
        words.push((place, ids[name].to_string()));
    }
    if operation.path.starts_with("/s/") {
        words.push(("path.token".into(), before::link(world, None).await));
    }
    if operation.needs_version {
        words.push(("header.If-Match".into(), "*".into()));
    }
    let body = table::of(&operation.id).body;
    for (name, word) in [("url", "https://hooks.example.com/"), ("number", "4711")] {
        if body.contains(&format!("\"{name}\"")) {
            words.push((format!("body.{name}"), word.into()));
        }
    }
    words
}

/// The settings, with words for each operation.
async fn settings(world: &World, who: &Somebody) -> String {
    let (mut dictionaries, mut bound) = (String::new(), String::new());
    for operation in operations() {
        let id = &operation.id;
        write!(
            bound,
            "\n[[operations]]\ninclude-operation-id = \"{id}\"\n[operations.parameters]\n"
        )
        .unwrap();
        for (number, (place, word)) in words(world, &operation, who).await.iter().enumerate() {
            let name = format!("{id}_{number}");
            writeln!(dictionaries, "[dictionaries.{name}]\nvalues = [\"{word}\"]").unwrap();
            writeln!(
                bound,
                "\"{place}\" = {{ dictionary = \"{name}\", probability = 0.7 }}"
            )
            .unwrap();
        }
    }
    format!("{SETTINGS}\n{dictionaries}{bound}")
}

/// So that who follows what happens has something to follow.
async fn keep_happening(api: Api) {
    for number in 1_000_000.. {
        let event = event(ACME, number, (number % 251) as u8);
        api.live().feed.publish(event);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Operations that answered with success.
fn succeeded(report: &Path) -> BTreeSet<String> {
    let text = std::fs::read_to_string(report).unwrap();
    let events = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut operations = BTreeSet::new();
    for event in events {
        let recorder = &event["ScenarioFinished"]["recorder"];
        let interactions = recorder["interactions"].as_object().into_iter().flatten();
        for (_, interaction) in interactions {
            let status = interaction["response"]["status_code"].as_u64();
            if status.is_some_and(|status| (200..300).contains(&status)) {
                operations.insert(recorder["label"].as_str().unwrap().to_owned());
            }
        }
    }
    operations
}

/// `at_least`: operations that have to have succeeded. An answer that says only what is wrong proves little.
async fn every_answer_is_announced(tenant: TenantId, preset: Preset, at_least: usize) {
    let Some(program) = installed() else {
        assert!(
            std::env::var_os("CI").is_none(),
            "schemathesis is missing: .ci/setup test installs it"
        );
        println!("skipped: there is no schemathesis; .ci/setup test installs it");
        return;
    };
    let world = World::new().await;
    let who = world.somebody(tenant, preset);
    let folder = world.folder();
    let (file, report) = (
        folder.join("schemathesis.toml"),
        folder.join("report.ndjson"),
    );
    std::fs::write(&file, settings(&world, &who).await).unwrap();
    let word = "let-me-in";
    let address = world.open(|routes| with_word(routes, word, &who));
    tokio::spawn(keep_happening(world.api.clone()));
    let mut command = Command::new(program);
    command
        .arg("--config-file")
        .arg(file)
        .args(["--no-color", "run"])
        .arg(format!("http://{address}/api/v1/openapi.json"))
        .args(["--report", "ndjson", "--report-ndjson-path"])
        .arg(&report)
        .env("CALLREEL_TOKEN", word)
        .current_dir(folder);
    let ran = tokio::task::spawn_blocking(move || command.output());
    let ran = ran.await.unwrap().unwrap();
    println!("{}", String::from_utf8_lossy(&ran.stdout));
    let faults = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{faults}");
    let succeeded = succeeded(&report);
    let all = operations();
    let name = |operation: &Operation| format!("{} {}", operation.method, operation.path);
    let not: Vec<_> = all
        .iter()
        .map(name)
        .filter(|name| !succeeded.contains(name))
        .collect();
    println!(
        "{} of {} operations succeeded; not {not:#?}",
        succeeded.len(),
        all.len()
    );
    assert!(succeeded.len() >= at_least, "only {}", succeeded.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_to_root_is_one_that_the_document_announces() {
    every_answer_is_announced(SYSTEM_TENANT, Preset::RootAdministrator, 80).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_to_a_tenants_administrator_is_one_that_the_document_announces() {
    every_answer_is_announced(ACME, Preset::TenantAdministrator, 65).await;
}
