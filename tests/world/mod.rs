//! A simulated world, recorded by the real program, and what must hold for whatever happened in it.
//!
//! In: a [`Scenario`]. Out: a [`World`]: what was sent, what `callreel replay` said, and the recordings it left.

mod judge;

pub use judge::judge;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::process::Command;

use callreel::base::{PerSide, Timestamp};
use callreel::capture::PcapWriter;
use callreel::simulate::{Scenario, Truth, TruthCall, generate};
use callreel::storage::{
    HEADER_LEN, Kind, Layout, SampleFormat, Sidecar, StoredFile, read_wav_info,
};
use callreel::wire::LinkType;
use serde_json::Value;
use tempfile::TempDir;

/// Frames with their capture times, as `simulate` makes them.
pub type Frames = Vec<(Timestamp, Vec<u8>)>;

pub struct World {
    pub scenario: Scenario,
    pub truth: Truth,
    /// Of `replay --json`.
    pub report: Value,
    pub recordings: Vec<Recording>,
    _folder: TempDir,
}

pub struct Recording {
    pub sidecar: Sidecar,
    /// Relative to the storage root, with `/` between its parts.
    pub relative: String,
    pub path: PathBuf,
}

impl World {
    /// Generates the scenario and replays it with its tenants, as 16-bit PCM.
    pub fn record(scenario: &Scenario) -> World {
        World::record_as(scenario, "pcm16")
    }

    /// The same with `storage.format` as given.
    pub fn record_as(scenario: &Scenario, format: &str) -> World {
        let folder = tempfile::tempdir().unwrap();
        let (frames, truth) = simulate(scenario);
        let capture = folder.path().join("calls.pcap");
        write_capture(&capture, &frames);
        let config = write_config(scenario, folder.path(), format);
        let storage = folder.path().join("storage");
        let report = replay(Some(&config), &[&capture], &storage);
        World {
            scenario: scenario.clone(),
            truth,
            report,
            recordings: recordings(&storage),
            _folder: folder,
        }
    }

    /// Replays a stored capture of `simulate` with the tenants of `scenario`.
    pub fn stored(name: &str, scenario: Scenario) -> World {
        let folder = tempfile::tempdir().unwrap();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures")
            .join(name);
        let truth = std::fs::read(fixture.join(format!("{name}.truth.json"))).unwrap();
        let config = write_config(&scenario, folder.path(), "pcm16");
        let storage = folder.path().join("storage");
        let capture = fixture.join(format!("{name}.pcap"));
        let report = replay(Some(&config), &[&capture], &storage);
        World {
            scenario,
            truth: serde_json::from_slice(&truth).unwrap(),
            report,
            recordings: recordings(&storage),
            _folder: folder,
        }
    }

    /// The one recording of a call.
    pub fn recording(&self, call: &TruthCall) -> Option<&Recording> {
        let mut own = self
            .recordings
            .iter()
            .filter(|recording| recording.sidecar.call_id == call.sip_call_id);
        let first = own.next();
        assert!(
            own.next().is_none(),
            "{} has two recordings",
            call.sip_call_id
        );
        first
    }
}

impl Recording {
    /// Both channels, as hound reads them.
    pub fn samples(&self) -> PerSide<Vec<i16>> {
        let mut reader = hound::WavReader::open(&self.path).unwrap();
        let spec = reader.spec();
        assert_eq!(
            (spec.channels, spec.bits_per_sample, spec.sample_rate),
            (2, 16, self.sidecar.sample_rate_hz)
        );
        assert_eq!(u64::from(reader.duration()), self.sidecar.samples);
        let all: Vec<i16> = reader.samples().map(Result::unwrap).collect();
        let side = |channel| all.iter().copied().skip(channel).step_by(2).collect();
        PerSide {
            caller: side(0),
            callee: side(1),
        }
    }

    /// Both channels of a G.711 file: the bytes as they are.
    pub fn companded(&self) -> PerSide<Vec<u8>> {
        let info = read_wav_info(&StoredFile::as_it_is(&self.path).unwrap()).unwrap();
        assert_ne!(info.format.sample_format, SampleFormat::Pcm16);
        assert!(info.complete, "{}", self.path.display());
        assert_eq!(info.frames, self.sidecar.samples);
        let all = fs::read(&self.path).unwrap().split_off(HEADER_LEN as usize);
        let side = |channel| all.iter().copied().skip(channel).step_by(2).collect();
        PerSide {
            caller: side(0),
            callee: side(1),
        }
    }
}

pub fn simulate(scenario: &Scenario) -> (Frames, Truth) {
    let mut frames = Frames::new();
    let truth = generate(scenario, &mut frames).unwrap();
    (frames, truth)
}

pub fn write_capture<'f>(path: &Path, frames: impl IntoIterator<Item = &'f (Timestamp, Vec<u8>)>) {
    let file = BufWriter::new(File::create(path).unwrap());
    let mut writer = PcapWriter::new(file, LinkType::Ethernet).unwrap();
    for (time, frame) in frames {
        writer.write(*time, frame, frame.len() as u32).unwrap();
    }
    writer.flush().unwrap();
}

/// The scenario's tenants, and the daemon's file, whose path is returned.
pub fn write_config(scenario: &Scenario, folder: &Path, format: &str) -> PathBuf {
    scenario.write_config(folder).unwrap();
    let path = folder.join("callreel.toml");
    let text = fs::read_to_string(&path).unwrap();
    let with_format = text.replace(
        "[storage]\n",
        &format!("[storage]\nformat = \"{format}\"\n"),
    );
    assert_ne!(text, with_format);
    fs::write(&path, with_format).unwrap();
    path
}

/// Runs `callreel replay --json`, which must end well and say nothing on standard error.
pub fn replay(config: Option<&Path>, captures: &[&Path], storage: &Path) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_callreel"));
    command.arg("replay").args(captures).arg("--json");
    command.arg("--storage").arg(storage);
    if let Some(config) = config {
        command.arg("--config").arg(config);
    }
    let output = command.output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complaint}", output.status);
    assert_eq!(complaint, "");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Every recording under a storage root: whole ones only, each with its sidecar.
pub fn recordings(storage: &Path) -> Vec<Recording> {
    let layout = Layout::new(storage);
    let found = layout.walk(|path, error| panic!("{}: {error}", path.display()));
    let audio = found.iter().filter(|(_, kind)| *kind == Kind::Audio);
    let recordings: Vec<Recording> = audio
        .map(|(name, _)| Recording {
            sidecar: Sidecar::read(&layout.path(name, Kind::Sidecar)).unwrap(),
            relative: name.relative(Kind::Audio),
            path: layout.path(name, Kind::Audio),
        })
        .collect();
    // Payload types that nobody named leave packets beside the audio.
    let packets = found.iter().filter(|(_, kind)| *kind == Kind::Raw);
    assert_eq!(
        found.len() - packets.count(),
        2 * recordings.len(),
        "something is left unfinished"
    );
    assert_eq!(
        files(storage).len(),
        found.len(),
        "other files lie in the storage"
    );
    recordings
}

/// The content of every file below a folder, by relative path; without the catalog and the lock beside the tenants.
pub fn files(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if folder != root {
                let relative = path.strip_prefix(root).unwrap().to_owned();
                found.insert(relative, fs::read(&path).unwrap());
            }
        }
    }
    found
}
