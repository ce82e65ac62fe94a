//! Settings to an engine and a recorder, joined: what `run` and `replay` have in common.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::{self, AudioFormat, Encrypt, Settings, Unattributed};
use crate::decoders::{self, Decoders, FixedFrames};
use crate::engine::EngineSettings;
use crate::engine::interactions::InteractionSettings;
use crate::engine::media::MediaLimits;
use crate::engine::signalling::{Sensor, SignallingLimits};
use crate::engine::streams::StreamLimits;
use crate::recorder::{self, Afterwards, WhenFull};
use crate::storage::{Keys, Layout};
use crate::wire::{TunnelPorts, WireLimits};

/// How long ciphertext waits for its secret. Programs write a secret before they use it, or soon after; the file is looked at
/// several times a second.
const KEY_WAIT: Duration = Duration::from_secs(10);

/// The name of this sensor: as configured, or the host's.
pub fn sensor_name(settings: &Settings) -> Arc<str> {
    match &settings.sensor.name {
        Some(name) => name.as_str().into(),
        None => {
            let host = rustix::system::uname();
            host.nodename().to_string_lossy().into()
        }
    }
}

/// What the engine needs of the settings. `interfaces`: names by `Vantage::interface`.
pub fn engine_settings(settings: &Settings, interfaces: &[Arc<str>]) -> EngineSettings {
    let seconds = |seconds: u32| Duration::from_secs(u64::from(seconds));
    let engine = &settings.engine;
    EngineSettings {
        sensor: Sensor {
            name: sensor_name(settings),
            interfaces: interfaces.to_vec(),
            keep_unattributed: settings.tenancy.unattributed == Unattributed::Keep,
        },
        sip_ports: settings.capture.sip_ports.clone(),
        wire: WireLimits::default(),
        signalling: SignallingLimits {
            calls: engine.max_calls as usize,
            setup: seconds(engine.setup_timeout_seconds),
            idle: seconds(engine.media_timeout_seconds),
            idle_on_hold: seconds(engine.hold_timeout_seconds),
            longest_call: Duration::from_secs(u64::from(settings.recorder.max_call_hours) * 3600),
            interactions: InteractionSettings {
                headers: settings.interactions.headers.clone(),
                window: seconds(settings.interactions.window_seconds),
                audio: settings.interactions.audio,
            },
        },
        tls_ports: settings.capture.tls_ports.clone(),
        streams: StreamLimits {
            key_wait: match settings.capture.tls_keylog {
                Some(_) => KEY_WAIT,
                None => Duration::ZERO,
            },
            ..StreamLimits::default()
        },
        media: MediaLimits {
            streams: engine.max_calls as usize * 4 + 8192,
            kept_bytes: (engine.orphan_media_mib as usize) << 20,
            keep: Duration::from_millis(u64::from(engine.orphan_media_ms)),
            reorder_window: Duration::from_millis(u64::from(engine.reorder_window_ms)),
        },
        tunnel_ports: tunnel_ports(settings),
    }
}

fn tunnel_ports(settings: &Settings) -> TunnelPorts {
    let tunnels = settings.capture.tunnels.clone();
    TunnelPorts {
        vxlan: tunnels.vxlan,
        geneve: tunnels.geneve,
        gtp_u: tunnels.gtp,
        l2tp: tunnels.l2tp,
        tzsp: tunnels.tzsp,
        hep: tunnels.hep.unwrap_or_default(),
    }
}

/// Each recording in progress is an open file: as many as this process may have.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, limit = ?limit.current, "the number of open files cannot be raised");
    }
}

/// Where recordings live, for who writes there for long.
pub fn storage(settings: &Settings) -> Layout {
    let keys = Keys::of_storage(&settings.storage.root, &settings.storage.key_file);
    // Known from the start on, should the file vanish before they are used first. What is wrong with it is told when they are.
    let _ = keys.list();
    Layout::watched(&settings.storage.root).with_keys(Arc::new(keys))
}

/// Says which keys are not there that recordings are under.
fn tell_missing_keys(keys: &Keys) {
    for id in keys.missing().unwrap_or_default() {
        let path = keys.path().display();
        tracing::error!(%path, key = %id, "recordings are under a key that the file does not have: nobody hears them (is its disk mounted?)");
    }
}

/// What the recorder needs of the settings.
pub fn recorder_settings(
    settings: &Settings,
    interfaces: &[Arc<str>],
    when_full: WhenFull,
) -> recorder::Settings {
    let layout = storage(settings);
    layout.keys().into_iter().for_each(tell_missing_keys);
    recorder::Settings {
        layout,
        encrypt_all: settings.storage.encrypt == Encrypt::All,
        keep_g711: settings.storage.format == AudioFormat::G711,
        sensor: sensor_name(settings),
        interfaces: interfaces.into(),
        threads: recorder_threads(settings.recorder.threads),
        queue_events: settings.recorder.queue_blocks as usize,
        when_full,
        storage_low: Arc::new(AtomicBool::new(false)),
        raw_max_bytes: u64::from(settings.decoders.raw_max_mib) << 20,
        raw: Arc::default(),
        afterwards: afterwards(&settings.decoders),
        signalling_bytes: Arc::default(),
    }
}

/// The operator's decoder, where there is one.
fn afterwards(settings: &config::Decoders) -> Option<Afterwards> {
    if settings.ffmpeg.as_os_str().is_empty() || !settings.ffmpeg.exists() {
        return None;
    }
    Some(Afterwards {
        decoders: Arc::new(decoders(settings)),
        processes: settings.processes as usize,
        queue_calls: settings.queue_calls as usize,
        keep_raw: settings.keep_raw,
        stop: Arc::default(),
    })
}

/// The operator's decoder.
pub fn decoders(settings: &config::Decoders) -> Decoders {
    let formats = settings.formats.iter().map(|(name, format)| {
        let frames = FixedFrames {
            demuxer: format.demuxer.clone(),
            frame_bytes: format.frame_bytes as usize,
            frame_samples: format.frame_samples as usize,
            sample_rate_hz: format.sample_rate_hz,
        };
        (name.clone(), frames)
    });
    Decoders::new(decoders::Settings {
        program: settings.ffmpeg.clone(),
        // This very program, whatever was installed in its place since.
        own_program: "/proc/self/exe".into(),
        timeout: Duration::from_secs(settings.timeout_seconds.into()),
        memory_bytes: u64::from(settings.memory_mib) << 20,
        formats: formats.collect(),
    })
}

/// 0 in the settings: as many as there are processors, at most eight.
fn recorder_threads(configured: u32) -> usize {
    match configured {
        0 => std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(8),
        threads => threads as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tunnels_are_looked_for_where_the_wire_would() {
        assert_eq!(tunnel_ports(&Settings::default()), TunnelPorts::default());
    }
}
