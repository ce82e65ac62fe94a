//! A finished recording whose packets were kept raw, decoded since there is a decoder for them.

use std::sync::atomic::AtomicBool;

use super::RawCounters;
use super::afterwards::{complain, draw, own_end, own_part};
use super::decoding::Decoding;
use super::level::measure_again;
use crate::base::{Side, Timestamp};
use crate::decoders::Decoders;
use crate::storage::{
    Error, Kind, Layout, PartFile, RawScale, RawState, RecordingName, Sidecar, StoredFile,
    WavFormat,
};

/// Decodes what can be of the packets beside the recording with `name`, and puts another audio file and another sidecar in
/// the places of the old ones, each in one step (invariant I1); the packets go last. Gives the new sidecar; `None` when
/// nothing can be decoded.
///
/// # Errors
/// When the files cannot be read or written: the old ones are in their places then.
pub fn redecode(
    layout: &Layout,
    name: &RecordingName,
    decoders: &Decoders,
    keep_raw: bool,
) -> Result<Option<Sidecar>, Error> {
    let mut sidecar = Sidecar::load(layout, name, Kind::Sidecar)?;
    let Some(record) = sidecar.raw.clone().filter(|raw| raw.file.is_some()) else {
        return Ok(None);
    };
    let before: Vec<RawState> = record.streams.iter().map(|stream| stream.state).collect();
    if before.iter().all(|state| *state == RawState::Decoded) {
        return Ok(None);
    }
    let scale = RawScale {
        start: Timestamp::from_nanos(sidecar.started_at_ns),
        sample_rate_hz: sidecar.sample_rate_hz,
    };
    let format = WavFormat {
        sample_format: sidecar.format,
        sample_rate_hz: sidecar.sample_rate_hz,
    };
    let packets = StoredFile::open(layout, name, Kind::Raw)?;
    let part = PartFile::copy_of_finished(layout, *name)?;
    let decoding = Decoding {
        decoders,
        counters: &RawCounters::default(),
        stop: &AtomicBool::new(false),
    };
    let end = own_end(&sidecar);
    let decoded = decoding.decode(&packets, scale, &record, &mut |side, position, samples| {
        draw(
            &part,
            format,
            side,
            position,
            own_part(end, position, samples),
        )
    });
    let decoded = match decoded {
        Ok(decoded) if decoded.streams != record.streams => decoded,
        unchanged => {
            part.discard()?;
            return unchanged.map(|_| None);
        }
    };
    complain(&decoded);
    decoded.tell(&mut sidecar);
    sidecar.size_bytes = format.offset_of(sidecar.samples);
    part.set_len(sidecar.size_bytes)?;
    part.write_at(&format.header(sidecar.samples), 0)?;
    for side in Side::BOTH.into_iter().filter(|side| decoded.has(*side)) {
        measure_again(&part, &mut sidecar, side)?;
    }
    let is_done = decoded.is_all() && !keep_raw;
    if let Some(raw) = sidecar.raw.as_mut().filter(|_| is_done) {
        (raw.file, raw.size_bytes) = (None, 0);
    }
    part.replace_finished(layout, &sidecar.to_bytes())?;
    if is_done {
        let path = packets.path();
        std::fs::remove_file(path).map_err(Error::io("remove", path))?;
    }
    Ok(Some(sidecar))
}
