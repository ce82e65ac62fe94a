//! What `fixtures/` says of its captures: `expected.json`, and what `variants.py` makes of one of them.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use callreel::base::{PerSide, Side};
use serde::Deserialize;

/// One capture, with what must be found in it.
#[derive(Debug, Deserialize)]
pub struct Expected {
    capture: String,
    calls: Vec<Leg>,
    #[serde(skip)]
    folder: PathBuf,
}

/// One entry of `calls`. Times are seconds from the first packet of the file.
#[derive(Clone, Debug, Deserialize)]
pub struct Leg {
    pub call_id: String,
    pub caller: String,
    pub callee: String,
    pub invite_s: f64,
    pub answer_s: Option<f64>,
    pub end_s: Option<f64>,
    pub answered: bool,
    pub sides: PerSide<Option<Voice>>,
    #[serde(default)]
    pub digits: PerSide<Option<String>>,
    pub recorded: bool,
    pub length_s: Option<f64>,
    /// Further hops that this dialog was seen at.
    #[serde(skip)]
    pub hops: Vec<Leg>,
}

/// What one side sent.
#[derive(Clone, Debug, Deserialize)]
pub struct Voice {
    pub codec: String,
    pub lost: u64,
    pub level_dbfs: f64,
    pub streams: Vec<Stream>,
}

impl Voice {
    /// Packets of all kinds.
    pub fn packets(&self) -> u64 {
        self.streams.iter().map(|stream| stream.packets).sum()
    }
}

#[derive(Clone, Debug, Deserialize)]
pub struct Stream {
    pub source: String,
    pub destination: String,
    pub ssrc: String,
    pub packets: u64,
    pub first_s: f64,
    pub level_dbfs: Option<f64>,
}

impl Expected {
    /// Of every capture in `fixtures/`, by name.
    pub fn all() -> Vec<Expected> {
        let mut paths: Vec<PathBuf> = entries(&fixtures())
            .into_iter()
            .filter(|path| path.is_dir())
            .flat_map(|folder| entries(&folder))
            .filter(|path| path.to_string_lossy().ends_with("expected.json"))
            .collect();
        paths.sort();
        paths.iter().map(|path| Expected::read(path)).collect()
    }

    /// Of the capture that gives folder `name` its name.
    pub fn of(name: &str) -> Expected {
        Expected::read(&fixtures().join(name).join("expected.json"))
    }

    fn read(path: &Path) -> Expected {
        let text = fs::read_to_string(path).unwrap();
        let expected: Expected =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let folder = path.parent().unwrap().to_owned();
        Expected { folder, ..expected }
    }

    pub fn name(&self) -> &str {
        self.capture.trim_end_matches(".pcap")
    }

    pub fn capture(&self) -> PathBuf {
        self.folder.join(&self.capture)
    }

    /// The calls as a recorder at one vantage tells them: one dialog on its way through a proxy on the capturing host is seen
    /// at each hop, and is one call, whose audio is heard once. Its times are those of the hop that has them first.
    pub fn calls(&self) -> Vec<Leg> {
        let mut calls: Vec<Leg> = Vec::new();
        for leg in &self.calls {
            let is_hop = |call: &&mut Leg| {
                call.call_id == leg.call_id
                    && leg.invite_s <= call.end_s.unwrap_or(f64::INFINITY)
                    && leg.callee == call.callee
            };
            match calls.iter_mut().find(is_hop) {
                Some(call) => call.add_hop(leg),
                None => calls.push(leg.clone()),
            }
        }
        calls
    }
}

impl Leg {
    fn add_hop(&mut self, hop: &Leg) {
        let earlier = |a: Option<f64>, b: Option<f64>| a.into_iter().chain(b).reduce(f64::min);
        self.answer_s = earlier(self.answer_s, hop.answer_s);
        self.end_s = earlier(self.end_s, hop.end_s);
        self.hops.push(hop.clone());
    }

    /// What `side` sent, as each hop shows it.
    pub fn copies(&self, side: Side) -> impl Iterator<Item = &Voice> {
        std::iter::once(self)
            .chain(&self.hops)
            .filter_map(move |leg| leg.sides[side].as_ref())
    }
}

/// What `variants.py` says of one file.
#[derive(Debug, Deserialize)]
pub struct Variant {
    pub file: String,
    pub expects: Differences,
}

/// What must be found other than in the original: see the script.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Differences {
    pub calls: Option<usize>,
    #[serde(default)]
    pub extra_packets: bool,
    #[serde(default)]
    pub lost: PerSide<Option<u64>>,
    pub media_lead_s: Option<f64>,
    pub starts_s: Option<i64>,
    #[serde(default)]
    pub invite_late: bool,
    #[serde(default)]
    pub no_end: bool,
    #[serde(default)]
    pub no_invite: bool,
    pub gap: Option<String>,
    pub damaged: Option<f64>,
    pub addresses: Option<BTreeMap<String, String>>,
    pub tunnel: Option<String>,
}

/// Makes the variants of a capture in `folder`; `None` where there is no Python to run the script.
pub fn make_variants(capture: &Path, folder: &Path) -> Option<Vec<Variant>> {
    let script = fixtures().join("variants.py");
    let made = Command::new("python3")
        .arg(script)
        .arg(capture)
        .arg(folder)
        .output();
    let made = match made {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        made => made.unwrap(),
    };
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    let text = fs::read(folder.join("variants.json")).unwrap();
    Some(serde_json::from_slice(&text).unwrap())
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect()
}
