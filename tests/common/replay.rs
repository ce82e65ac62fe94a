//! The real binary run on capture files, and what it left behind.

#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use callreel::base::PerSide;
use callreel::storage::Sidecar;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

/// What one `callreel replay` did.
pub struct Replay {
    pub storage: TempDir,
    pub exit_code: Option<i32>,
    pub report: Report,
    pub stderr: String,
}

/// What it printed.
#[derive(Debug, Deserialize)]
pub struct Report {
    pub calls: Vec<CallLine>,
    pub summary: BTreeMap<String, Value>,
}

/// One call as it was told.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct CallLine {
    pub call_id: String,
    pub time: String,
    pub answered_at: Option<String>,
    pub caller: String,
    pub callee: String,
    pub codec: String,
    pub length_s: f64,
    pub packets_lost: u64,
    pub packets_expected: u64,
    pub disposition: String,
    pub end_reason: String,
    pub status: Option<u16>,
    pub file: Option<PathBuf>,
    pub interaction_id: String,
    pub links: Vec<Link>,
}

/// Another call of the same interaction.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Link {
    pub call_id: String,
    pub reason: String,
}

/// A recording read back from the disk.
pub struct Recorded {
    pub sidecar: Sidecar,
    pub wav: Vec<u8>,
    /// What `hound` says of it.
    pub frames: u64,
    pub sample_rate_hz: u32,
    pub channels: u16,
    /// Root mean square of the whole channel, in dB below full scale; minus infinity when every sample is 0.
    pub level: PerSide<f64>,
}

impl Replay {
    /// Runs `callreel replay` on `files` into a new storage.
    pub fn run<P: AsRef<Path>>(files: &[P]) -> Replay {
        let storage = tempfile::tempdir().expect("a temporary folder");
        let output = Command::new(env!("CARGO_BIN_EXE_callreel"))
            .arg("replay")
            .args(files.iter().map(AsRef::as_ref))
            .arg("--json")
            .arg("--storage")
            .arg(storage.path())
            .args(files.iter().flat_map(|file| beside(file.as_ref())))
            .output()
            .expect("the binary starts");
        let empty = || Report {
            calls: Vec::new(),
            summary: BTreeMap::new(),
        };
        Replay {
            storage,
            exit_code: output.status.code(),
            // Where it could not begin it says nothing.
            report: match &*output.stdout {
                [] => empty(),
                told => serde_json::from_slice(told).expect("it tells a report"),
            },
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// A number of the summary.
    pub fn count(&self, name: &str) -> u64 {
        self.report
            .summary
            .get(name)
            .and_then(Value::as_u64)
            .unwrap_or_else(|| panic!("the summary has no {name}: {}", self.stderr))
    }

    /// Whether any thread of it panicked; the recorder outlives a panic, so the exit code does not say.
    pub fn panicked(&self) -> bool {
        self.stderr.contains("panicked") || !matches!(self.exit_code, Some(0..=3))
    }

    /// The call with a Call-ID that only one call has.
    pub fn call(&self, call_id: &str) -> Option<&CallLine> {
        self.report
            .calls
            .iter()
            .find(|call| call.call_id == call_id)
    }

    /// Recordings and sidecars by their paths inside the storage, and whatever should not be there either.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.storage.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("a folder of the storage") {
                let path = entry.expect("an entry of the storage").path();
                let inside = path.strip_prefix(self.storage.path()).unwrap().to_owned();
                if path.is_dir() {
                    folders.push(path);
                } else if inside.components().count() > 1 {
                    found.insert(inside, std::fs::read(&path).unwrap());
                }
            }
        }
        found
    }
}

/// Flags for what stands beside a capture: the key log of its TLS sessions, the configuration that it takes.
fn beside(capture: &Path) -> Vec<OsString> {
    let (keylog, config) = (
        capture.with_extension("keylog"),
        capture.with_file_name("callreel.toml"),
    );
    let there = [("--keylog", keylog), ("--config", config)].into_iter();
    let there = there.filter(|(_, path)| path.exists());
    there
        .flat_map(|(flag, path)| [flag.into(), path.into_os_string()])
        .collect()
}

impl CallLine {
    /// Reads back what the call was recorded to.
    pub fn recorded(&self) -> Option<Recorded> {
        self.file.as_deref().map(Recorded::read)
    }
}

impl Recorded {
    pub fn read(wav: &Path) -> Recorded {
        let sidecar = Sidecar::read(&wav.with_extension("json")).expect("a sidecar");
        let mut reader = hound::WavReader::open(wav).expect("hound reads the recording");
        let spec = reader.spec();
        let frames = u64::from(reader.duration());
        let mut energy = PerSide {
            caller: 0.0,
            callee: 0.0,
        };
        for (n, sample) in reader.samples::<i16>().enumerate() {
            let side = if n % 2 == 0 {
                &mut energy.caller
            } else {
                &mut energy.callee
            };
            *side += f64::from(sample.expect("hound reads every sample")).powi(2);
        }
        Recorded {
            sidecar,
            wav: std::fs::read(wav).unwrap(),
            frames,
            sample_rate_hz: spec.sample_rate,
            channels: spec.channels,
            level: energy.map(|energy| 10.0 * (energy / frames as f64 / 32768f64.powi(2)).log10()),
        }
    }
}

/// The folder of public captures, or `None`, said aloud.
pub fn public_captures() -> Option<PathBuf> {
    let folder = std::env::var_os("CALLREEL_CAPTURES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/captures"),
        PathBuf::from,
    );
    if folder.is_dir() {
        return Some(folder);
    }
    println!("no public captures at {}: nothing tested", folder.display());
    None
}
