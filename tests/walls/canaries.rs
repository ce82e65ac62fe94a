//! Any sequence of requests of two tenants' people, for things of both, while calls of both start, are answered and end:
//! nothing of one tenant shows in what the other gets, in its files, in the events it follows, in what its webhooks would be
//! sent, in its audit, or in the log.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};

use callreel::access::Preset;
use callreel::base::{SYSTEM_TENANT, TenantId};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::json;
use sqlx::Row;
use uuid::Uuid;

use super::document::{Form, Operation, operations};
use super::happenings::Happenings;
use super::kinds;
use super::table;
use super::world::{ACME, Answer, GLOBEX, Somebody, World, canary};

/// Sequences that are tried.
const SEQUENCES: u32 = 10_000;

/// One request, in numbers: who, what, and whose things it names.
#[derive(Clone, Debug)]
struct Step {
    actor: usize,
    operation: usize,
    ids: [u8; 4],
    /// Whether query and body name ids where they need not.
    optional: u8,
    /// What happens meanwhile, if anything.
    happening: u8,
}

fn step() -> impl Strategy<Value = Step> {
    let choices = (any::<u8>(), any::<u8>());
    (0..1000_usize, 0..1000_usize, any::<[u8; 4]>(), choices).prop_map(
        |(actor, operation, ids, (optional, happening))| Step {
            actor,
            operation,
            ids,
            optional,
            happening,
        },
    )
}

/// The world, and what is in it by now.
struct Play {
    world: World,
    operations: Vec<Operation>,
    actors: Vec<(TenantId, Somebody)>,
    things: BTreeMap<(TenantId, String), Vec<Uuid>>,
    happenings: Happenings,
    happened: u32,
    /// Files that were taken along with something of the own tenant in them, by operation.
    taken_along: BTreeMap<String, u32>,
}

/// Operations whose answers are files of many things.
const FILES: [&str; 4] = ["export_calls", "export_audit", "zip_calls", "call_audio"];

/// Things that happen between two looks at who is told of them.
const BETWEEN_LOOKS: u32 = 100;

/// Things of a kind and tenant that are remembered.
const REMEMBERED: usize = 8;

impl Play {
    async fn new() -> Play {
        let world = World::new().await;
        let operations = operations();
        let presets = Preset::ALL.into_iter();
        let actors = [ACME, GLOBEX].into_iter().flat_map(|tenant| {
            let of_tenant = presets
                .clone()
                .filter(move |preset| Preset::of_tenant(tenant).any(|one| one == *preset));
            of_tenant.map(move |preset| (tenant, preset))
        });
        let actors = actors
            .map(|(tenant, preset)| (tenant, world.somebody(tenant, preset)))
            .collect();
        let mut things = BTreeMap::new();
        for form in operations.iter().flat_map(|operation| &operation.ids) {
            for tenant in [ACME, GLOBEX] {
                let kind = form.kind();
                if !things.contains_key(&(tenant, kind.clone())) {
                    let made = kinds::make(&world, &kind, tenant).await;
                    things.insert((tenant, kind), vec![made]);
                }
            }
        }
        Play {
            happenings: Happenings::begin(&world).await,
            happened: 0,
            taken_along: BTreeMap::new(),
            world,
            operations,
            actors,
            things,
        }
    }

    fn id(&self, kind: &str, own: TenantId, choice: u8) -> Uuid {
        let other = if own == ACME { GLOBEX } else { ACME };
        let tenant = match choice % 8 {
            0..=3 => other,
            4..=6 => own,
            _ => return Uuid::from_u128(u128::from(choice)),
        };
        let known = &self.things[&(tenant, kind.to_owned())];
        known[usize::from(choice / 8) % known.len()]
    }

    async fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let (tenant, who) = self.actors[step.actor % self.actors.len()].clone();
        let operation = self.operations[step.operation % self.operations.len()].clone();
        let row = table::of(&operation.id);
        let mut own = BTreeMap::new();
        for ((of, kind), known) in &self.things {
            if *of == tenant {
                own.insert(kind.clone(), known[0]);
            }
        }
        let mut body = match row.body {
            "" => operation.has_body.then(|| json!({})),
            body => Some(self.world.fill(body, tenant, &own)),
        };
        let mut path = operation.path.clone();
        let mut query = Vec::new();
        for (place, form) in operation.ids.iter().enumerate() {
            let id = self.id(
                &form.kind(),
                tenant,
                step.ids[place % 4].wrapping_add(place as u8),
            );
            let wanted = step.optional >> (place % 8) & 1 == 1;
            match form {
                Form::Path { name, .. } => {
                    path = path.replace(&format!("{{{name}}}"), &id.to_string())
                }
                Form::Query { name } if wanted => query.push(format!("{name}={id}")),
                Form::Body { name, list } if wanted && !row.own_name.contains(&&**name) => {
                    let value = if *list { json!([id]) } else { json!(id) };
                    body.get_or_insert_with(|| json!({}))[name] = value;
                }
                _ => {}
            }
        }
        if operation.id == "export_calls" && step.optional & 64 != 0 {
            query.push("format=jsonl".to_owned());
        }
        let path = match query.is_empty() {
            true => path,
            false => format!("{path}?{}", query.join("&")),
        };
        let version = [("if-match", "*")];
        let answer = self
            .world
            .ask(
                Some(&who),
                &operation.method,
                &path,
                &version,
                body.as_ref(),
            )
            .await;
        let seen = shown(tenant, &answer).map_err(|why| {
            TestCaseError::fail(format!("{} {path} showed {why}", operation.method))
        })?;
        prop_assert!(answer.status < 500, "{} {path}: {seen}", operation.method);
        if FILES.contains(&&*operation.id) && seen.contains(canary(tenant)) {
            let format = path.split_once("format=").map_or("", |(_, format)| format);
            let taken = format!("{} {format}", operation.id);
            *self.taken_along.entry(taken).or_default() += 1;
        }
        if answer.status == 201 {
            self.remember(tenant, &operation.path, &answer.json());
        }
        Ok(())
    }

    /// One step in eight something happens to a call of either tenant.
    async fn happen(&mut self, step: &Step) -> Result<(), TestCaseError> {
        if !step.happening.is_multiple_of(8) {
            return Ok(());
        }
        let tenant = if step.happening & 8 == 0 {
            ACME
        } else {
            GLOBEX
        };
        self.happenings
            .happen(&self.world, tenant, step.happening / 16)
            .await;
        self.happened += 1;
        match self.happened % BETWEEN_LOOKS {
            0 => self.look().await,
            _ => Ok(()),
        }
    }

    async fn look(&mut self) -> Result<(), TestCaseError> {
        let looked = self.happenings.look(&self.world).await;
        looked.map_err(TestCaseError::fail)
    }

    fn remember(&mut self, tenant: TenantId, path: &str, made: &serde_json::Value) {
        let kind = path.rsplit('/').next().unwrap_or_default().to_owned();
        let id = made["id"].as_str().and_then(|id| id.parse().ok());
        if let (Some(id), Some(known)) = (id, self.things.get_mut(&(tenant, kind))) {
            if known.len() == REMEMBERED {
                known.remove(0);
            }
            known.push(id);
        }
    }

    /// Everything there is, as files: each has something of the own tenant in it, and nothing of another.
    async fn take_everything_along(&self) {
        for tenant in [ACME, GLOBEX] {
            let who = self.world.somebody(tenant, Preset::TenantAdministrator);
            let call = kinds::make(&self.world, "calls", tenant).await;
            let packed = json!({ "ids": [call] });
            for (path, body) in [
                ("/api/v1/calls/export", None),
                ("/api/v1/calls/export?format=jsonl", None),
                ("/api/v1/audit/export", None),
                ("/api/v1/calls/zip", Some(&packed)),
            ] {
                let method = if body.is_some() { "POST" } else { "GET" };
                let answer = self.world.ask(Some(&who), method, path, &[], body).await;
                assert_eq!(answer.status, 200, "{path}: {}", answer.text());
                let seen = shown(tenant, &answer).unwrap();
                assert!(seen.contains(canary(tenant)), "{path}: {seen}");
            }
        }
    }

    /// What is kept of everything that was done.
    async fn check_audit(&self) {
        let rows = sqlx::query(
            "SELECT tenant_id, actor_name, role, action, object_kind, before, after, reason FROM audit WHERE tenant_id <> ?",
        );
        // The System tenant's is about its customers.
        let rows = rows.bind(SYSTEM_TENANT.0);
        let rows = rows.fetch_all(&self.world.raw).await.unwrap();
        assert!(!rows.is_empty());
        for row in rows {
            let tenant = TenantId(row.get(0));
            let texts: Vec<String> = (1..8)
                .map(|at| row.get::<Option<String>, _>(at).unwrap_or_default())
                .collect();
            let text = texts.join(" ");
            for other in [ACME, GLOBEX].into_iter().filter(|one| *one != tenant) {
                // The makers are the System tenant's: root's name is no other tenant's.
                assert!(
                    !text.contains(canary(other)),
                    "in the audit of {}: {text}",
                    canary(tenant)
                );
            }
        }
        let chains = self.world.catalog.verify_audit(&[]).await.unwrap();
        assert!(
            chains.iter().all(|chain| chain.broken.is_none()),
            "{chains:?}"
        );
    }
}

/// All of an answer, if it holds nothing of another tenant; else what it holds.
fn shown(tenant: TenantId, answer: &Answer) -> Result<String, String> {
    let seen = format!("{:?} {}", answer.headers, answer.text());
    let others = [ACME, GLOBEX, SYSTEM_TENANT]
        .into_iter()
        .filter(|one| *one != tenant);
    match others.map(canary).find(|other| seen.contains(other)) {
        Some(other) => Err(format!("{other}: {seen}")),
        None => Ok(seen),
    }
}

/// Log lines of this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_sequence_of_requests_shows_anything_of_another_tenant() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::INFO)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // Connections are closed within a runtime, also when the test fails.
    let _entered = runtime.enter();
    let play = tokio::sync::Mutex::new(runtime.block_on(Play::new()));
    let config = Config {
        cases: SEQUENCES,
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let outcome = runner.run(&proptest::collection::vec(step(), 1..8), |steps| {
        runtime.block_on(async {
            let mut play = play.lock().await;
            for step in &steps {
                play.take(step).await?;
                play.happen(step).await?;
            }
            Ok(())
        })
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    runtime.block_on(async {
        let mut play = play.lock().await;
        play.look().await.unwrap();
        play.happenings.check();
        println!("files with own rows: {:?}", play.taken_along);
        play.take_everything_along().await;
        play.check_audit().await;
    });
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for tenant in [ACME, GLOBEX] {
        assert!(
            !log.contains(canary(tenant)),
            "people's text is in the log:\n{log}"
        );
    }
}
