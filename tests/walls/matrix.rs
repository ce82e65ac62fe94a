//! Every cell: operation, role, form of id, whose id.

use std::collections::BTreeSet;

use callreel::access::Preset;
use serde_json::{Value, json};
use uuid::Uuid;

use super::asking::{Whose, ask, everywhere};
use super::document::{Form, Operation, operations};
use super::kinds;
use super::table::{self, Needs, Row};
use super::world::{ACME, Answer, GLOBEX, Somebody, World, canary};

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

pub fn permitted(who: &Somebody, row: Row) -> bool {
    match row.needs {
        Needs::Permission(resource, operation) => who.principal.may(resource, operation),
        Needs::SignedIn | Needs::Nothing => true,
    }
}

/// Whether the id that is asked with is of something that is there for the asker.
fn is_there(who: &Somebody, operation: &Operation, form: &Form, whose: Whose) -> bool {
    let level = who.principal.level();
    let mut things = operation
        .ids
        .iter()
        .filter(|form| matches!(form, Form::Path { .. }));
    let kind = form.kind();
    match (whose, form) {
        (Whose::Nobodys, _) => false,
        (Whose::Own, _) => {
            kinds::is_reached(&kind, level)
                && things.all(|one| kinds::is_reached(&one.kind(), level))
        }
        // Nothing moves to another tenant, and nothing has a part in another: only what is new can be another tenant's.
        (Whose::Foreign, Form::Body { .. }) => {
            everywhere(who) && operation.method == "POST" && (kind == "tenants" || kind == "calls")
        }
        (Whose::Foreign, Form::Query { .. }) => everywhere(who),
        (Whose::Foreign, Form::Path { .. }) => {
            let is_persons = kind == "sessions" || kind == "support-access";
            everywhere(who) && !is_persons && things.next() == Some(form)
        }
    }
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
    let far_enough = who.principal.level().reaches(row.level);
    let there = far_enough && form.is_none_or(|form| is_there(who, operation, form, whose));
    let may_more = row
        .also
        .is_none_or(|(resource, verb)| who.principal.may(resource, verb));
    match form {
        _ if there && !may_more => Expected::NotPermitted,
        _ if there => Expected::Success,
        Some(Form::Query { .. }) => Expected::NothingOfIt,
        _ => Expected::Absent,
    }
}

/// The places for ids that name another thing.
fn references(operation: &Operation, row: Row) -> impl Iterator<Item = &Form> {
    operation.ids.iter().filter(move |form| match form {
        Form::Body { name, .. } => !row.own_name.contains(&&**name),
        _ => true,
    })
}

fn is_success(answer: &Answer) -> bool {
    (200..300).contains(&answer.status)
}

/// Without the id that was asked with, which an answer may repeat.
fn looks(answer: &Answer, id: Uuid) -> String {
    answer.looks().replace(&id.to_string(), "(the id)")
}

#[derive(Default)]
struct Findings {
    wrong: Vec<String>,
    /// Operations that somebody succeeded with who should.
    succeeded: BTreeSet<String>,
}

impl Findings {
    fn expect(&mut self, holds: bool, cell: &str, answer: &Answer) {
        if !holds {
            let text: String = answer.text().chars().take(300).collect();
            self.wrong.push(format!("{cell}: {} {text}", answer.status));
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
        Expected::Success => {
            findings.expect(is_success(&answer) || row.never.is_some(), &cell, &answer);
            if is_success(&answer) {
                findings.succeeded.insert(operation.id.clone());
            }
        }
        Expected::NotPermitted => findings.expect(status == 403, &cell, &answer),
        // Who reaches every tenant reaches the other one's object, and says rightly whose it is.
        Expected::Absent
            if everywhere(who)
                && whose == Whose::Foreign
                && matches!(form, Some(Form::Body { .. })) =>
        {
            let right = is_success(&answer) || [404, 422].contains(&status);
            findings.expect(right, &cell, &answer);
        }
        Expected::Absent | Expected::NothingOfIt => {
            let Some(form) = form else {
                return findings.expect(status == 404, &cell, &answer);
            };
            let right = match form {
                Form::Path { .. } => status == 404,
                Form::Body { .. } => [404, 422].contains(&status),
                Form::Query { .. } => is_success(&answer) || [404, 422].contains(&status),
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
    let mut findings = Findings::default();
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
    for row in table::TABLE {
        if findings.succeeded.contains(row.operation) == row.never.is_some() {
            let why = row.never.unwrap_or("nobody succeeded who should");
            findings.wrong.push(format!("{}: {why}", row.operation));
        }
    }
    let wrong = findings.wrong;
    assert!(
        wrong.is_empty(),
        "{} of {cells} cells:\n{}",
        wrong.len(),
        wrong.join("\n")
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

pub fn placeholder(form: &Form) -> String {
    match form {
        Form::Path { name, .. } | Form::Query { name } | Form::Body { name, .. } => {
            format!("{{{name}}}")
        }
    }
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
