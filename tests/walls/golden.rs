//! The OpenAPI document as it is published: a change of the API is a change of this file, to be seen in review.

use std::path::Path;

use super::document::document;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/walls/openapi.json");

/// `UPDATE_GOLDEN=1 cargo test --test walls` writes it anew.
#[test]
fn the_document_is_the_one_that_was_reviewed() {
    let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &text).unwrap();
        return;
    }
    let golden = std::fs::read_to_string(Path::new(GOLDEN)).unwrap_or_default();
    let differs = text
        .lines()
        .zip(golden.lines())
        .position(|(ours, theirs)| ours != theirs);
    assert!(
        text == golden,
        "the OpenAPI document is not tests/walls/openapi.json (line {:?}): UPDATE_GOLDEN=1 cargo test --test walls writes it anew",
        differs.map(|at| at + 1)
    );
}

#[test]
fn the_document_is_openapi_3_1_and_every_operation_has_a_name_of_its_own() {
    let document = document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let operations = super::document::operations();
    let mut names: Vec<_> = operations.iter().map(|one| &one.id).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), operations.len());
}

/// The part before the next quotation mark of whatever follows `start`.
fn quoted_behind<'t>(text: &'t str, start: &'t str) -> impl Iterator<Item = &'t str> {
    text.split(start)
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
}

#[test]
fn whatever_the_document_refers_to_is_in_it() {
    let document = document();
    let text = document.to_string();
    for name in quoted_behind(&text, "#/components/schemas/") {
        let schema = &document["components"]["schemas"][name];
        assert!(schema.is_object(), "{name}");
    }
}
