//! Finishing what a run that was broken off has left (invariant I2).

use std::ops::Range;
use std::path::Path;

use super::canvas::silence;
use super::{Settings, pauses, raw, record};
use crate::base::{Side, Timestamp};
use crate::storage::{
    Cause, Error, HEADER_LEN, Kind, Layout, PartFile, RAW_HEADER_LEN, RawRecord, RecordingName,
    SegmentRecord, Sidecar, StoredFile, WavFormat, WavInfo, commit, name_sidecar, read_wav_info,
    write_fresh_sidecar,
};

/// What recovery found.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Recordings that are finished now, with the path of their audio, relative to the root.
    pub recordings: Vec<(Box<Sidecar>, String)>,
    /// Files without a sample in them, or without an audio file: taken away.
    pub empty: u64,
    /// Calls recorded on demand for which nobody had asked: thrown away.
    pub not_kept: u64,
    pub failed: Vec<Error>,
}

/// Recordings finished together.
const BATCH: usize = 256;

/// Finishes every unfinished file under the root: header set to the length that is there, sidecar written with
/// `end_reason` "recovered". Nobody else may be writing: hold the lock.
pub fn recover(settings: &Settings) -> Recovered {
    let mut recovered = Recovered::default();
    let layout = &settings.layout;
    let files = layout.walk(|path, error| {
        tracing::error!(path = %path.display(), %error, "recovery cannot read a folder");
    });
    let mut parts = Vec::new();
    for (name, kind) in files {
        match kind {
            // It went with the file that it belonged to.
            _ if !layout.path(&name, kind).exists() => {}
            Kind::AudioPart => match finish_part(layout, name) {
                Ok(Some(part)) => parts.push(part),
                Ok(None) => recovered.empty += 1,
                Err(error) => recovered.failed.push(error),
            },
            // The audio was renamed already and its sidecar was not; or there never was a sample.
            Kind::SidecarPart if layout.path(&name, Kind::Audio).exists() => {
                match finish_renamed(layout, name) {
                    Ok(sidecar) => recovered
                        .recordings
                        .push((Box::new(sidecar), name.relative(Kind::Audio))),
                    Err(error) => recovered.failed.push(error),
                }
            }
            Kind::RawPart
                if !layout.path(&name, Kind::AudioPart).exists()
                    && !layout.path(&name, Kind::AudioHeld).exists()
                    && !layout.path(&name, Kind::Audio).exists() =>
            {
                recovered.failed.push(orphan(layout, &name));
            }
            Kind::SidecarPart
                if !layout.path(&name, Kind::AudioPart).exists()
                    && !layout.path(&name, Kind::AudioHeld).exists() =>
            {
                recovered.empty += 1;
                let _ = std::fs::remove_file(layout.path(&name, kind));
            }
            // Nobody had asked for it.
            Kind::AudioHeld => {
                recovered.not_kept += 1;
                record::remove(layout, &name);
            }
            Kind::SignallingPart => _ = std::fs::remove_file(layout.path(&name, kind)),
            _ => {}
        }
    }
    while !parts.is_empty() {
        let batch: Vec<_> = parts.drain(..parts.len().min(BATCH)).collect();
        commit_batch(layout, batch, &mut recovered);
    }
    recovered
}

/// Packets without a recording: nobody but a person can have taken that away. They stay.
fn orphan(layout: &Layout, name: &RecordingName) -> Error {
    let path = layout.path(name, Kind::RawPart);
    Error::io("find the recording of", &path)(std::io::ErrorKind::NotFound.into())
}

fn commit_batch(layout: &Layout, batch: Vec<(PartFile, Sidecar)>, recovered: &mut Recovered) {
    let (parts, sidecars): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|(part, sidecar)| ((part, sidecar.to_bytes()), sidecar))
        .unzip();
    let failed = commit(layout, &parts);
    for (n, sidecar) in sidecars.into_iter().enumerate() {
        if !failed.iter().any(|(other, _)| *other == n) {
            recovered
                .recordings
                .push((Box::new(sidecar), parts[n].0.name.relative(Kind::Audio)));
        }
    }
    recovered
        .failed
        .extend(failed.into_iter().map(|(_, error)| error));
}

/// Sets header and length of an audio file and makes its sidecar; `None` for a file without samples, which goes.
fn finish_part(layout: &Layout, name: RecordingName) -> Result<Option<(PartFile, Sidecar)>, Error> {
    let mut part = PartFile::reopen(layout, name)?;
    let known = interim(layout, &name);
    let lost = mend(&part, &known)?;
    let mut info = match read_wav_info(part.file()) {
        Ok(info) => info,
        Err(Error::NotWav { .. }) if part.size_bytes()? <= HEADER_LEN => {
            record::remove(layout, &name);
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let raw = finish_raw(&mut part, &info, &known)?;
    // Its last packets are behind the audio, where nothing else was heard.
    info.frames = info.frames.max(raw.as_ref().map_or(0, |raw| raw.end));
    if info.frames == 0 {
        record::remove(layout, &name);
        return Ok(None);
    }
    part.set_len(info.format.offset_of(info.frames))?;
    part.write_at(&info.format.header(info.frames), 0)?;
    let mut sidecar = sidecar_of(layout, &name, &info, known);
    sidecar.encrypted_at_rest = part.is_encrypted();
    sidecar.raw = raw.map(|raw| raw.named(&name));
    describe_lost(&mut sidecar, &info, &lost);
    Ok(Some((part, sidecar)))
}

/// Makes an encrypted file whole of which a power cut left chunks half written: silence in their places, and a header as the run that was
/// broken off knew it. Gives what of the content is lost.
fn mend(part: &PartFile, known: &Sidecar) -> Result<Vec<Range<u64>>, Error> {
    let lost = part.file().mend(silence(known.format))?;
    if lost.iter().any(|range| range.start < HEADER_LEN) {
        let format = WavFormat {
            sample_format: known.format,
            sample_rate_hz: known.sample_rate_hz,
        };
        part.write_at(&format.header(0), 0)?;
    }
    if !lost.is_empty() {
        let (path, chunks) = (part.path().display(), lost.len());
        tracing::warn!(%path, chunks, "parts of an encrypted recording were half written: they are silent");
    }
    Ok(lost)
}

/// Says of both sides where a file was mended.
fn describe_lost(sidecar: &mut Sidecar, info: &WavInfo, lost: &[Range<u64>]) {
    let frame = |offset: u64| {
        let behind_header = offset.saturating_sub(HEADER_LEN);
        (behind_header.div_ceil(info.format.frame_bytes())).min(info.frames)
    };
    for range in lost {
        let (from, to) = (frame(range.start), frame(range.end));
        let sides = Side::BOTH.into_iter().filter(|_| from < to);
        let segments = sides.map(|side| SegmentRecord::new(side, from, to, Cause::Storage));
        sidecar.segments.extend(segments);
    }
}

/// Cuts the packets behind the last whole one, and says what they are; one without any goes.
fn finish_raw(
    part: &mut PartFile,
    info: &WavInfo,
    known: &Sidecar,
) -> Result<Option<raw::Survey>, Error> {
    let torn = part.raw().map(|raw| raw.file().mend(0)).transpose()?;
    // What is behind a chunk that was half written cannot be told apart any more.
    match torn.iter().flatten().next() {
        Some(torn) if torn.start < RAW_HEADER_LEN => part.remove_raw()?,
        Some(torn) => part.cut_raw(torn.start)?,
        None => {}
    }
    let start = Timestamp::from_nanos(known.started_at_ns);
    let Some(raw) = part.raw() else {
        return Ok(None);
    };
    let survey = raw::survey(
        raw.file(),
        start,
        info.format.sample_rate_hz,
        known.raw.clone(),
    );
    let survey = match survey {
        Ok(survey) if survey.record.packets > 0 => survey,
        // It was just being begun.
        Ok(_) => {
            part.remove_raw()?;
            return Ok(None);
        }
        Err(_) if part.raw_bytes() <= RAW_HEADER_LEN => {
            part.remove_raw()?;
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    part.cut_raw(survey.whole_bytes)?;
    Ok(Some(survey))
}

/// The audio has its name and the sidecar has not: the run ended between the two.
fn finish_renamed(layout: &Layout, name: RecordingName) -> Result<Sidecar, Error> {
    let file = StoredFile::open(layout, &name, Kind::Audio)?;
    let info = read_wav_info(&file)?;
    let mut sidecar = match Sidecar::load(layout, &name, Kind::SidecarPart) {
        // It is the final one: only its name is missing.
        Ok(sidecar) if sidecar.end_reason.is_some() => sidecar,
        _ => {
            let mut sidecar = sidecar_of(layout, &name, &info, interim(layout, &name));
            sidecar.raw = renamed_raw(layout, &name, &sidecar)?;
            sidecar
        }
    };
    sidecar.encrypted_at_rest = file.is_encrypted();
    let bytes = sidecar.to_bytes();
    write_fresh_sidecar(layout, &name, &bytes, file.is_encrypted())?.sync()?;
    name_sidecar(layout, &name)?;
    Ok(sidecar)
}

/// What is in the packets that have their name already.
fn renamed_raw(
    layout: &Layout,
    name: &RecordingName,
    sidecar: &Sidecar,
) -> Result<Option<RawRecord>, Error> {
    if !layout.path(name, Kind::Raw).exists() {
        return Ok(None);
    }
    let file = StoredFile::open(layout, name, Kind::Raw)?;
    let start = Timestamp::from_nanos(sidecar.started_at_ns);
    let survey = raw::survey(&file, start, sidecar.sample_rate_hz, sidecar.raw.clone())?;
    Ok(Some(survey.named(name)))
}

/// The interim sidecar completed with what the file tells; without one, only what path and file tell.
fn sidecar_of(
    layout: &Layout,
    name: &RecordingName,
    info: &WavInfo,
    mut sidecar: Sidecar,
) -> Sidecar {
    let rate = i64::from(info.format.sample_rate_hz);
    let length_ns = (info.frames as i64).saturating_mul(1_000_000_000) / rate;
    let ended_at = Timestamp::from_nanos(sidecar.started_at_ns.saturating_add(length_ns));
    sidecar.ended_at = Some(ended_at.to_string());
    sidecar.ended_at_ns = Some(ended_at.as_nanos());
    sidecar.end_reason = Some("recovered".to_owned());
    sidecar.format = info.format.sample_format;
    sidecar.sample_rate_hz = info.format.sample_rate_hz;
    sidecar.samples = info.frames;
    sidecar.size_bytes = info.format.offset_of(info.frames);
    // A pause that lasted when the run ended lasts to the end of what is there.
    pauses::settle(&mut sidecar, Some(info.frames));
    sidecar.pending = None;
    // Written last, it may lie there and not be the whole.
    let _ = std::fs::remove_file(layout.path(name, Kind::Signalling));
    sidecar
}

/// What the run knew of the call, or what its name tells.
fn interim(layout: &Layout, name: &RecordingName) -> Sidecar {
    match Sidecar::load(layout, name, Kind::SidecarPart) {
        Ok(sidecar) if sidecar.recording_id == name.id && sidecar.tenant_id == name.tenant => {
            sidecar
        }
        _ => bare_sidecar(name, &layout.path(name, Kind::SidecarPart)),
    }
}

fn bare_sidecar(name: &RecordingName, interim: &Path) -> Sidecar {
    tracing::warn!(path = %interim.display(), "an interim sidecar is missing or damaged: parties of the call are unknown");
    let start = name
        .id
        .0
        .get_timestamp()
        .map_or(Timestamp::default(), |time| {
            let (seconds, nanos) = time.to_unix();
            Timestamp::from_secs_nanos(seconds as i64, i64::from(nanos))
        });
    let mut sidecar = Sidecar::empty(name.id, name.tenant, start);
    sidecar.audio = name
        .relative(Kind::Audio)
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned();
    sidecar
}
