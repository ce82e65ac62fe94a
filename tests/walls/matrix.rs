//! Every cell: operation, role, form of id, whose id.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use callreel::access::{AccessLevel, Preset};
use callreel::base::SYSTEM_TENANT;
use serde_json::{Value, json};
use uuid::Uuid;

use super::document::{Form, Operation, operations};
use super::kinds;
use super::table::{self, Needs, Row};
use super::world::{ACME, Answer, GLOBEX, Somebody, World, canary};

/// Whose the id is that is asked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Own,
    Foreign,
    Nobodys,
}

/// What is expected of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Success,
    NotPermitted,
    /// 404 for a path, 422 or 404 for a body; and what nobody's gets, too.
    Absent,
    /// An answer as if it were nobody's.
    NothingOfIt,
}

fn permitted(who: &Somebody, row: Row) -> bool {
    match row.needs {
        Needs::Permission(resource, operation) => who.principal.may(resource, operation),
        Needs::SignedIn | Needs::Nothing => true,
    }
}

/// Whether somebody reaches every tenant.
fn everywhere(who: &Somebody) -> bool {
    let level = who.principal.level();
    who.principal.home() == SYSTEM_TENANT && level.reaches(AccessLevel::System)
}

fn expected(
    who: &Somebody,
    operation: &Operation,
    row: Row,
    form: Option<&Form>,
    whose: Whose,
) -> Expected {
    if !permitted(who, row) {
        return Expected::NotPermitted;
    }
    let Some(form) = form else {
        return Expected::Success;
    };
    let level = who.principal.level();
    let there = match whose {
        Whose::Own => kinds::is_reached(&form.kind(), level),
        // Nothing moves to another tenant, and nothing has a part in another: only what is new can be another tenant's.
        Whose::Foreign if matches!(form, Form::Body { .. }) => {
            let kind = form.kind();
            everywhere(who) && operation.method == "POST" && (kind == "tenants" || kind == "calls")
        }
        Whose::Foreign => everywhere(who) && form.kind() != "sessions",
        Whose::Nobodys => false,
    };
    match form {
        _ if there => Expected::Success,
        Form::Query { .. } => Expected::NothingOfIt,
        Form::Path { .. } | Form::Body { .. } => Expected::Absent,
    }
}

async fn id_of(world: &World, form: &Form, whose: Whose) -> Uuid {
    let tenant = match whose {
        Whose::Own => ACME,
        Whose::Foreign => GLOBEX,
        Whose::Nobodys => return Uuid::from_u128(0x0dea_0000 + u128::from(world.number())),
    };
    kinds::make(world, &form.kind(), tenant).await
}

/// Asks the operation with one id chosen, all others being those of the tenant that it is asked for; and tells which id.
async fn ask(
    world: &World,
    operation: &Operation,
    row: Row,
    who: Option<&Somebody>,
    chosen: Option<(&Form, Whose)>,
) -> (Answer, Uuid) {
    let far = who.is_some_and(everywhere)
        && chosen.is_some_and(|(form, whose)| {
            whose == Whose::Foreign
                && form.kind() == "tenants"
                && !matches!(form, Form::Path { .. })
        });
    let (around, tenant) = if far {
        (Whose::Foreign, GLOBEX)
    } else {
        (Whose::Own, ACME)
    };
    let mut own = BTreeMap::new();
    for kind in kinds_in(row.body) {
        own.insert(kind.clone(), kinds::make(world, &kind, tenant).await);
    }
    let mut body = match row.body {
        "" => operation.has_body.then(|| json!({})),
        body => Some(world.fill(body, tenant, &own)),
    };
    let (mut path, mut query) = (operation.path.clone(), String::new());
    let (mut parts_of, mut asked_with) = (around, Uuid::nil());
    for form in &operation.ids {
        let whose = match (chosen, form) {
            (Some((one, whose)), _) if one == form => whose,
            // A part of another tenant's thing is that tenant's.
            (_, Form::Path { .. }) => parts_of,
            // Whoever reaches every tenant says which one is meant.
            (_, Form::Body { .. }) if operation.method == "POST" && form.kind() == "tenants" => {
                around
            }
            _ => continue,
        };
        let id = id_of(world, form, whose).await;
        if chosen.is_some_and(|(one, _)| one == form) {
            asked_with = id;
        }
        match form {
            Form::Path { name, .. } => {
                path = path.replace(&format!("{{{name}}}"), &id.to_string());
                if whose == Whose::Foreign {
                    parts_of = whose;
                }
            }
            Form::Query { name } => query = format!("?{name}={id}"),
            Form::Body { name, list } => {
                let value = if *list { json!([id]) } else { json!(id) };
                body.get_or_insert_with(|| json!({}))[name] = value;
            }
        }
    }
    let version: &[(&str, &str)] = match operation.needs_version {
        true => &[("if-match", "*")],
        false => &[],
    };
    let path = path + &query;
    let answer = world
        .ask(who, &operation.method, &path, version, body.as_ref())
        .await;
    (answer, asked_with)
}

/// `{roles}` and its like in a body.
fn kinds_in(body: &str) -> Vec<String> {
    let words = body.split('{').filter_map(|part| part.split_once('}'));
    let is_kind = |word: &&str| {
        word.ends_with('s')
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    };
    words
        .map(|(word, _)| word)
        .filter(is_kind)
        .map(str::to_owned)
        .collect()
}

/// The places for ids that name another thing.
fn references(operation: &Operation, row: Row) -> impl Iterator<Item = &Form> {
    operation.ids.iter().filter(move |form| match form {
        Form::Body { name, .. } => !row.own_name.contains(&&**name),
        _ => true,
    })
}

fn is_success(answer: &Answer, row: Row) -> bool {
    (200..300).contains(&answer.status) || row.success.contains(&answer.status)
}

/// Without the id that was asked with, which an answer may repeat.
fn looks(answer: &Answer, id: Uuid) -> String {
    answer.looks().replace(&id.to_string(), "(the id)")
}

struct Findings(Vec<String>);

impl Findings {
    fn expect(&mut self, holds: bool, cell: &str, answer: &Answer) {
        if !holds {
            let text: String = answer.text().chars().take(300).collect();
            self.0.push(format!("{cell}: {} {text}", answer.status));
        }
    }
}

async fn try_cell(
    world: &World,
    operation: &Operation,
    (who, form): (&Somebody, Option<&Form>),
    whose: Whose,
    findings: &mut Findings,
) {
    let row = table::of(&operation.id);
    let (answer, id) = ask(
        world,
        operation,
        row,
        Some(who),
        form.map(|form| (form, whose)),
    )
    .await;
    let expected = expected(who, operation, row, form, whose);
    let (name, role) = (&operation.id, who.preset.name());
    let cell = format!("{name} by {role} with {form:?} of {whose:?} ({expected:?})");
    let status = answer.status;
    let declared = operation.answers.contains(&status.to_string());
    findings.expect(declared, &format!("{cell}: not in the document"), &answer);
    let foreign_text = answer.text().contains(canary(GLOBEX)) && who.principal.home() == ACME;
    findings.expect(
        !foreign_text,
        &format!("{cell}: another tenant's text"),
        &answer,
    );
    match expected {
        Expected::Success => findings.expect(is_success(&answer, row), &cell, &answer),
        Expected::NotPermitted => findings.expect(status == 403, &cell, &answer),
        // Who reaches every tenant reaches the other one's object, and says rightly whose it is.
        Expected::Absent
            if everywhere(who)
                && whose == Whose::Foreign
                && matches!(form, Some(Form::Body { .. })) =>
        {
            let right = is_success(&answer, row) || [404, 422].contains(&status);
            findings.expect(right, &cell, &answer);
        }
        Expected::Absent | Expected::NothingOfIt => {
            let form = form.expect("there is an id");
            let right = match form {
                Form::Path { .. } => status == 404,
                Form::Body { .. } => [404, 422].contains(&status),
                Form::Query { .. } => is_success(&answer, row) || [404, 422].contains(&status),
            };
            findings.expect(right, &cell, &answer);
            let nobodys = Some((form, Whose::Nobodys));
            let (other, other_id) = ask(world, operation, row, Some(who), nobodys).await;
            let same = looks(&answer, id) == looks(&other, other_id);
            let differs = format!("{cell}: not as nobody's: {}", other.looks());
            findings.expect(same, &differs, &answer);
        }
    }
}

#[tokio::test]
async fn every_operation_answers_every_role_as_the_table_says() {
    let world = World::new().await;
    let mut findings = Findings(Vec::new());
    let mut cells = 0;
    for operation in operations() {
        for preset in Preset::ALL {
            let who = world.somebody(ACME, preset);
            if operation.ids.is_empty() {
                try_cell(&world, &operation, (&who, None), Whose::Own, &mut findings).await;
                cells += 1;
            }
            for form in references(&operation, table::of(&operation.id)) {
                for whose in [Whose::Own, Whose::Foreign, Whose::Nobodys] {
                    try_cell(&world, &operation, (&who, Some(form)), whose, &mut findings).await;
                    cells += 1;
                }
            }
        }
    }
    println!("{cells} cells");
    assert!(
        findings.0.is_empty(),
        "{} of {cells} cells:\n{}",
        findings.0.len(),
        findings.0.join("\n")
    );
}

#[tokio::test]
async fn who_has_not_signed_in_gets_nothing() {
    let world = World::new().await;
    for operation in operations() {
        let row = table::of(&operation.id);
        let (answer, _) = ask(&world, &operation, row, None, None).await;
        match row.needs {
            Needs::Nothing => assert_ne!(answer.status, 500, "{}: {}", operation.id, answer.text()),
            _ => assert_eq!(answer.status, 401, "{}: {}", operation.id, answer.text()),
        }
    }
}

#[test]
fn the_table_has_the_operations_of_the_document_and_no_other() {
    let in_document: BTreeSet<String> = operations().into_iter().map(|one| one.id).collect();
    let in_table: BTreeSet<String> = table::TABLE
        .iter()
        .map(|row| row.operation.to_owned())
        .collect();
    let odd: Vec<_> = in_document.symmetric_difference(&in_table).collect();
    assert!(
        odd.is_empty(),
        "in the document or in tests/walls/table.rs, but not in both: {odd:?}"
    );
    assert_eq!(in_table.len(), table::TABLE.len(), "a row is there twice");
}

#[tokio::test]
async fn what_is_no_id_is_nobodys() {
    let world = World::new().await;
    for operation in operations() {
        let row = table::of(&operation.id);
        let Some(form @ Form::Path { .. }) = operation.ids.first() else {
            continue;
        };
        let who = world.root();
        if operation.ids.len() > 1 || !row.body.is_empty() {
            continue;
        }
        let absent = ask(
            &world,
            &operation,
            row,
            Some(&who),
            Some((form, Whose::Nobodys)),
        )
        .await;
        let path = operation.path.replace(&placeholder(form), "seven");
        let version = [("if-match", "*")];
        let body = operation.has_body.then(|| json!({}));
        let answer = world
            .ask(
                Some(&who),
                &operation.method,
                &path,
                &version,
                body.as_ref(),
            )
            .await;
        assert_eq!(
            answer.looks(),
            looks(&absent.0, absent.1),
            "{}",
            operation.id
        );
    }
}

fn placeholder(form: &Form) -> String {
    match form {
        Form::Path { name, .. } | Form::Query { name } | Form::Body { name, .. } => {
            format!("{{{name}}}")
        }
    }
}

/// Work done shows as time: what is another's must not take longer, or shorter, than what is nobody's.
#[tokio::test]
async fn foreign_and_absent_take_the_same_time() {
    const ROUNDS: usize = 60;
    let world = World::new().await;
    let who = world.somebody(ACME, Preset::TenantAdministrator);
    for operation in operations() {
        let row = table::of(&operation.id);
        let Some(form @ Form::Path { .. }) = operation.ids.first() else {
            continue;
        };
        if operation.method != "GET" || operation.ids.len() > 1 || !permitted(&who, row) {
            continue;
        }
        let mut times = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (whose, times) in [Whose::Foreign, Whose::Nobodys].into_iter().zip(&mut times) {
                let id = id_of(&world, form, whose).await;
                let path = operation.path.replace(&placeholder(form), &id.to_string());
                let begin = Instant::now();
                let answer = world.ask(Some(&who), "GET", &path, &[], None).await;
                times.push(begin.elapsed());
                assert_eq!(answer.status, 404, "{}", operation.id);
            }
        }
        let [foreign, nobodys] = times.map(median);
        let ratio = foreign.as_secs_f64() / nobodys.as_secs_f64();
        println!(
            "{}: foreign {foreign:?}, nobody's {nobodys:?}",
            operation.id
        );
        assert!(
            (0.33..3.0).contains(&ratio),
            "{}: {foreign:?} and {nobodys:?}",
            operation.id
        );
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// For `looks`: keeps the helper types of JSON in use.
#[test]
fn an_answer_is_compared_without_its_request_id() {
    let with = |id: &str| Answer {
        status: 404,
        headers: Default::default(),
        body: json!({ "request_id": id, "title": "x" })
            .to_string()
            .into_bytes(),
    };
    assert_eq!(with("a").looks(), with("b").looks());
    let other = Answer {
        body: Value::from("x").to_string().into_bytes(),
        ..with("a")
    };
    assert_ne!(with("a").looks(), other.looks());
}
