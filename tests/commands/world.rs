//! A storage that `replay` filled, and the program run on it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use assert_cmd::Command;
use callreel::access::Scope;
use callreel::catalog::{CallQuery, CallRecord, Catalog};
use callreel::simulate::{Features, PcapSink, Scenario, Truth, generate};
use serde_json::Value;
use tempfile::TempDir;

/// What a command printed.
pub struct Output {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Output {
    #[track_caller]
    pub fn exits(self, code: i32) -> Output {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }
}

pub fn callreel(folder: &Path, line: &[&str], input: &str) -> Output {
    let done = Command::new(env!("CARGO_BIN_EXE_callreel"))
        .current_dir(folder)
        .args(line)
        .write_stdin(input)
        .output()
        .unwrap();
    Output {
        code: done.status.code(),
        out: String::from_utf8(done.stdout).unwrap(),
        err: String::from_utf8(done.stderr).unwrap(),
    }
}

/// A folder with a configuration of two tenants, and recordings of their calls.
pub struct World {
    pub folder: TempDir,
    pub truth: Truth,
}

impl World {
    /// Six calls, long enough for what they are to have.
    pub fn with(features: Features) -> World {
        let folder = tempfile::tempdir().unwrap();
        let seconds = if features.dtmf > 0 { 4 } else { 1 };
        let scenario = Scenario {
            calls: 6,
            talk: Duration::from_secs(seconds),
            spacing: Duration::from_millis(300),
            features,
            ..Scenario::default()
        };
        scenario.write_config(folder.path()).unwrap();
        let mut sink = PcapSink::create(&folder.path().join("calls.pcap")).unwrap();
        let truth = generate(&scenario, &mut sink).unwrap();
        drop(sink);
        let world = World { folder, truth };
        world.run(&["replay", "calls.pcap", "--quiet"]).exits(0);
        world
    }

    pub fn new() -> World {
        World::with(Features::default())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command in the folder with its configuration.
    pub fn run(&self, line: &[&str]) -> Output {
        self.run_with_input(line, "")
    }

    pub fn run_with_input(&self, line: &[&str], input: &str) -> Output {
        let config = ["--config", "callreel.toml"];
        callreel(self.folder.path(), &[line, &config].concat(), input)
    }

    /// The calls that a search finds.
    pub fn calls(&self, filters: &[&str]) -> Vec<Value> {
        let found = self.run(&[&["calls", "--json"], filters].concat()).exits(0);
        found.json()["calls"].as_array().unwrap().clone()
    }

    /// Audio and sidecar of each recording.
    pub fn recordings(&self) -> Vec<(PathBuf, PathBuf)> {
        let calls = self.calls(&["--recorded"]);
        let audio = calls
            .iter()
            .map(|call| PathBuf::from(call["file"]["path"].as_str().unwrap()));
        audio
            .map(|path| (path.clone(), path.with_extension("json")))
            .collect()
    }

    pub fn with_catalog<T>(&self, work: impl AsyncFnOnce(&Catalog) -> T) -> T {
        let url = format!("sqlite://{}", self.path("catalog.db").display());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let catalog = Catalog::open(&url).await.unwrap();
            let done = work(&catalog).await;
            catalog.close().await;
            done
        })
    }

    pub fn records(&self) -> Vec<CallRecord> {
        self.with_catalog(async |catalog| {
            let query = CallQuery {
                limit: 1000,
                ..CallQuery::default()
            };
            catalog.calls(&Scope::root(), &query).await.unwrap().calls
        })
    }

    pub fn record(&self, calls: &[CallRecord]) {
        self.with_catalog(async |catalog| catalog.record(calls).await.unwrap());
    }

    /// What `catalog verify` finds: faults and the recordings they are about.
    pub fn faults(&self) -> Vec<(String, PathBuf)> {
        self.faults_found(&[])
    }

    pub fn faults_found(&self, options: &[&str]) -> Vec<(String, PathBuf)> {
        let found = self.run(&[&["catalog", "verify", "--json"], options].concat());
        let json = found.json();
        let findings = json["findings"].as_array().unwrap();
        assert_eq!(
            found.code,
            Some(i32::from(!findings.is_empty())),
            "{}",
            found.err
        );
        let fault = |finding: &Value| {
            let text = |key: &str| finding[key].as_str().unwrap().to_owned();
            (text("fault"), text("path").into())
        };
        findings.iter().map(fault).collect()
    }
}
