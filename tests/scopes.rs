//! What must not compile: questions to the catalog without a scope, scopes made by hand, and changes without their record.
//!
//! Each file of `tests/scopes/` says behind its lines, after `//~`, which errors the compiler finds there; one without any
//! compiles, so that nothing else than the missing scope is what fails. They are compiled against the library that these
//! tests were built with: trybuild would build it, and all it depends on, a second time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scopes");

/// A line and the code of the error there.
type Found = BTreeSet<(u64, String)>;

/// The folder that libraries are built into.
fn libraries() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.parent().unwrap().to_owned()
}

/// The library, as it was built last.
fn callreel() -> PathBuf {
    let files = std::fs::read_dir(libraries()).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("libcallreel-") && name.ends_with(".rlib")
    };
    let newest = |path: &PathBuf| path.metadata().unwrap().modified().unwrap();
    files
        .filter(is_it)
        .max_by_key(newest)
        .expect("these tests were built with it")
}

/// The compiler that belongs to the cargo that runs this.
fn compiler() -> PathBuf {
    let beside = std::env::var_os("CARGO").map(|cargo| Path::new(&cargo).with_file_name("rustc"));
    beside
        .filter(|rustc| rustc.is_file())
        .unwrap_or_else(|| "rustc".into())
}

fn compile(case: &Path, out: &Path) -> Found {
    let compiled = Command::new(compiler())
        .args([
            "--edition",
            "2024",
            "--crate-type",
            "bin",
            "--emit",
            "metadata",
        ])
        .args(["--error-format", "json", "--cap-lints", "allow"])
        .arg("--out-dir")
        .arg(out)
        .arg("--extern")
        .arg(format!("callreel={}", callreel().display()))
        .arg("-L")
        .arg(format!("dependency={}", libraries().display()))
        .arg(case)
        .output()
        .unwrap();
    let said = String::from_utf8(compiled.stderr).unwrap();
    let errors = said
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let errors: Vec<Value> = errors.filter(|error| error["level"] == "error").collect();
    assert_eq!(compiled.status.success(), errors.is_empty(), "{said}");
    let place = |error: &Value| {
        let spans = error["spans"].as_array()?;
        let main = spans.iter().find(|span| span["is_primary"] == true)?;
        let code = error["code"]["code"]
            .as_str()
            .unwrap_or_else(|| panic!("{said}"));
        Some((main["line_start"].as_u64()?, code.to_owned()))
    };
    errors.iter().filter_map(place).collect()
}

fn announced(case: &Path) -> Found {
    let text = std::fs::read_to_string(case).unwrap();
    let lines = (1..).zip(text.lines());
    let error = |(number, line): (u64, &str)| {
        let (_, code) = line.split_once("//~ ")?;
        Some((number, code.trim().to_owned()))
    };
    lines.filter_map(error).collect()
}

#[test]
fn no_question_without_a_scope_no_scope_made_by_hand_and_no_change_without_its_record_compiles() {
    let out = tempfile::tempdir().unwrap();
    let mut refused = 0;
    for case in std::fs::read_dir(CASES).unwrap() {
        let case = case.unwrap().path();
        let announced = announced(&case);
        assert_eq!(compile(&case, out.path()), announced, "{}", case.display());
        refused += announced.len();
    }
    assert!(refused >= 9, "{refused}");
}
