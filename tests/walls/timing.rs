//! Work that is done shows as time: what is another's must not take longer, or shorter, than what is nobody's.

use std::time::{Duration, Instant};

use callreel::access::Preset;
use serde_json::json;
use uuid::Uuid;

use super::document::{Form, Operation, operations};
use super::kinds;
use super::matrix::{permitted, placeholder};
use super::table;
use super::world::{ACME, GLOBEX, Somebody, World};

/// Requests of each sort in one measurement.
const ROUNDS: usize = 40;
/// An operation is at fault when this many measurements in a row say so: a machine that was busy with something else is
/// not at fault so often.
const MEASUREMENTS: usize = 8;
/// How much longer one sort may take than the other.
const LONGER: f64 = 1.25;

/// The kinds of things that people name most.
const KINDS: [&str; 9] = [
    "calls",
    "users",
    "groups",
    "roles",
    "extensions",
    "webhooks",
    "service-accounts",
    "call-notes",
    "call-shares",
];

/// Operations on one thing of these kinds that the asker may do.
fn of_one_thing(who: &Somebody) -> Vec<(Operation, Form)> {
    let on_one = operations().into_iter().filter_map(|operation| {
        let [form @ Form::Path { .. }, rest @ ..] = operation.ids.as_slice() else {
            return None;
        };
        let alone = !rest.iter().any(|form| matches!(form, Form::Path { .. }));
        let form = form.clone();
        let fits = alone && KINDS.contains(&&*form.kind());
        (fits && permitted(who, table::of(&operation.id))).then_some((operation, form))
    });
    on_one.collect()
}

async fn time(
    world: &World,
    who: &Somebody,
    operation: &Operation,
    form: &Form,
    id: Uuid,
) -> Duration {
    let row = table::of(&operation.id);
    let body = match row.body {
        "" => operation.has_body.then(|| json!({})),
        body => Some(world.fill(
            &body.replace("{users}", &Uuid::nil().to_string()),
            ACME,
            &Default::default(),
        )),
    };
    let path = operation.path.replace(&placeholder(form), &id.to_string());
    let version = [("if-match", "*")];
    let begin = Instant::now();
    let answer = world
        .ask(Some(who), &operation.method, &path, &version, body.as_ref())
        .await;
    let took = begin.elapsed();
    assert_eq!(
        answer.status,
        404,
        "{} {path}: {}",
        operation.method,
        answer.text()
    );
    took
}

/// How long it takes with another tenant's id, and with nobody's: the quarter of all requests that nothing delayed.
async fn measure(
    world: &World,
    who: &Somebody,
    (operation, form): &(Operation, Form),
    foreign: Uuid,
) -> [Duration; 2] {
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..ROUNDS {
        // Neither sort is always the first.
        for sort in [round % 2, 1 - round % 2] {
            let id = match sort {
                0 => foreign,
                _ => Uuid::from_u128(0x0dea_0000 + u128::from(world.number())),
            };
            times[sort].push(time(world, who, operation, form, id).await);
        }
    }
    times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 4]
    })
}

#[tokio::test]
async fn foreign_and_absent_take_the_same_time() {
    let world = World::new().await;
    let who = world.somebody(ACME, Preset::TenantAdministrator);
    let begin = Instant::now();
    let all = of_one_thing(&who);
    assert!(all.len() > 20, "{}", all.len());
    for one in &all {
        let (operation, form) = one;
        let foreign = kinds::make(&world, &form.kind(), GLOBEX).await;
        let mut said = Vec::new();
        while said.len() < MEASUREMENTS {
            let [foreign, nobodys] = measure(&world, &who, one, foreign).await;
            let ratio = foreign.as_secs_f64() / nobodys.as_secs_f64();
            said.push(format!("foreign {foreign:?}, nobody's {nobodys:?}"));
            if (1.0 / LONGER..LONGER).contains(&ratio) {
                break;
            }
        }
        println!("{}: {}", operation.id, said.join("; "));
        assert!(
            said.len() < MEASUREMENTS,
            "{}: {}",
            operation.id,
            said.join("; ")
        );
    }
    println!("{} operations in {:?}", all.len(), begin.elapsed());
}
