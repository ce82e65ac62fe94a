//! What is decoded by a program of the operator's, and what is kept when nobody does.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::reader::{Fields, Source};
use super::settings::set;

/// Codecs that a program of the operator's decodes, and what is kept when nobody does.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Decoders {
    /// `ffmpeg`, run in a sandbox when a call has ended; empty: nothing is decoded that way.
    pub ffmpeg: PathBuf,
    /// Sandboxes at a time.
    pub processes: u32,
    /// For five minutes of audio; what takes longer has failed.
    pub timeout_seconds: u32,
    /// Address space of one sandbox.
    pub memory_mib: u32,
    /// Calls that wait for a decoder; past it a call is finished with its packets undecoded.
    pub queue_calls: u32,
    /// Keep the packets even when all of them were decoded.
    pub keep_raw: bool,
    /// Packets kept of one recording.
    pub raw_max_mib: u32,
    /// Further formats, by their encoding names.
    pub formats: BTreeMap<String, DecoderFormat>,
}

/// How `ffmpeg` takes a codec of frames that all have the same length.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct DecoderFormat {
    /// `-f` of the input.
    pub demuxer: String,
    pub frame_bytes: u32,
    /// Samples of one frame, at `sample_rate_hz`.
    pub frame_samples: u32,
    pub sample_rate_hz: u32,
}

impl Default for Decoders {
    fn default() -> Self {
        Decoders {
            ffmpeg: "/usr/bin/ffmpeg".into(),
            processes: 1,
            timeout_seconds: 60,
            memory_mib: 1024,
            queue_calls: 1024,
            keep_raw: false,
            raw_max_mib: 256,
            formats: BTreeMap::new(),
        }
    }
}

/// Reads `[decoders]`.
pub(super) fn read(source: &mut Source<'_>, fields: &mut Fields<'_>, decoders: &mut Decoders) {
    let program = fields.parsed(source, "ffmpeg", |text| {
        match text.is_empty() || text.starts_with('/') {
            true => Ok(PathBuf::from(text)),
            false => Err("expected an absolute path such as \"/usr/bin/ffmpeg\", or \"\" for none"),
        }
    });
    set(&mut decoders.ffmpeg, program);
    let mut bounded =
        |key, target: &mut u32, range| set(target, fields.integer(source, key, range));
    bounded("processes", &mut decoders.processes, 1..=64);
    bounded("timeout_seconds", &mut decoders.timeout_seconds, 1..=600);
    bounded("memory_mib", &mut decoders.memory_mib, 256..=16_384);
    bounded("queue_calls", &mut decoders.queue_calls, 1..=65_536);
    bounded("raw_max_mib", &mut decoders.raw_max_mib, 1..=65_536);
    set(&mut decoders.keep_raw, fields.flag(source, "keep_raw"));
    for (name, mut format) in fields.named_tables(source, "formats") {
        let read = read_format(source, &mut format);
        format.finish(source);
        if let Some(read) = read {
            decoders.formats.insert(name.to_ascii_lowercase(), read);
        }
    }
}

/// `None`, and an error, when anything of it is missing.
fn read_format(source: &mut Source<'_>, fields: &mut Fields<'_>) -> Option<DecoderFormat> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let demuxer = fields.parsed(source, "demuxer", |text| {
        match !text.is_empty() && text.chars().all(is_name) {
            true => Ok(text.to_owned()),
            false => Err("expected the name of a demuxer, as `ffmpeg -demuxers` lists it"),
        }
    });
    let frame_bytes = fields.integer(source, "frame_bytes", 1..=65_535);
    let frame_samples = fields.integer(source, "frame_samples", 1..=48_000);
    let sample_rate_hz = fields.integer(source, "sample_rate_hz", 8000..=48_000);
    let format = (|| {
        Some(DecoderFormat {
            demuxer: demuxer?,
            frame_bytes: frame_bytes?,
            frame_samples: frame_samples?,
            sample_rate_hz: sample_rate_hz?,
        })
    })();
    if format.is_none() {
        let message =
            "a format needs `demuxer`, `frame_bytes`, `frame_samples` and `sample_rate_hz`";
        source.error(fields.span_of("demuxer"), message);
    }
    format
}
