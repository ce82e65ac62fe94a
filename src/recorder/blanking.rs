//! Pauses that are told late: what they cover of files that were written goes.
//!
//! The engine puts nothing that lies in a pause. Of a leg that was found only by its audio to be of a paused conversation, the
//! files have what was said until it was found.

use super::canvas::silence;
use super::raw::Raw;
use super::recording::Recording;
use crate::engine::control::pauses;
use crate::engine::event::CallInfo;
use crate::rtp::samples_between;
use crate::storage::{Error, PartFile, RAW_HEADER_LEN, RawReader, RawScale};

impl Recording {
    /// Makes silent what was written of pauses that were not known yet.
    pub(super) fn follow_pauses(&mut self, info: &CallInfo) -> Result<(), Error> {
        if info.control.is_empty() {
            return Ok(());
        }
        let place = |at| samples_between(self.start, at, self.sample_rate_hz).max(0) as u64;
        let spans = pauses(&info.control).into_iter();
        let spans: Vec<(u64, u64)> = spans
            .map(|pause| (place(pause.from), pause.to.map_or(u64::MAX, place)))
            .collect();
        let mut result = Ok(());
        for &(from, to) in &spans {
            let is_known = self.paused_from.contains(&from);
            if !is_known && from < self.written && from < to {
                result = result.and(self.blank(from, to));
            }
        }
        self.paused_from = spans.iter().map(|(from, _)| *from).collect();
        result
    }

    #[cold]
    fn blank(&mut self, from: u64, to: u64) -> Result<(), Error> {
        let Some(format) = self.format else {
            return Ok(());
        };
        if let Some(rest) = &mut self.rest {
            rest.blank(from, to);
        }
        let end = to.min(self.written);
        let scale = RawScale {
            start: self.start,
            sample_rate_hz: self.sample_rate_hz,
        };
        let byte = silence(format.sample_format);
        let (begin, end) = (format.offset_of(from), format.offset_of(end));
        let mut result = Ok(());
        for output in &mut self.outputs {
            let away = output.away.as_deref_mut();
            for part in output.part.as_mut().into_iter().chain(away) {
                result = result.and(part.fill(byte, begin, end));
                result = result.and(cut_packets(part, scale, from, to));
            }
        }
        result
    }
}

/// Takes the packets that lie in `from..to` out of the file of packets, where there is one.
fn cut_packets(part: &mut PartFile, scale: RawScale, from: u64, to: u64) -> Result<(), Error> {
    let Some(raw) = part.raw() else {
        return Ok(());
    };
    let longest = Raw::longest(scale.sample_rate_hz);
    let mut kept = Vec::new();
    let mut reader = RawReader::of(raw.file(), scale)?;
    while let Some(packet) = reader
        .next_packet()
        .map_err(Error::io("read", raw.path()))?
    {
        // As in the engine, what may reach into a pause goes as a whole.
        let reach = packet.position.saturating_add(longest).max(0) as u64;
        if reach <= from || packet.position.max(0) as u64 >= to {
            packet.encode(scale, &mut kept);
        }
    }
    part.cut_raw(RAW_HEADER_LEN)?;
    part.append_to_raw(&kept)
}
