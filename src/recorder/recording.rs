//! One call becoming files: blocks are drawn on a canvas, and the canvas is written at its place.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use smallvec::SmallVec;

use super::Settings;
use super::canvas::{Canvas, silence};
use super::record::{self, Facts};
use super::segments::{Span, Spans};
use super::track::{Drawing, Track};
use crate::base::{PerSide, RecordingId, Side, TenantId, Timestamp};
use crate::codec::{Codec, PayloadFormat};
use crate::engine::event::{BLOCK, Block, CallEnd, CallInfo, Piece, SideBlock};
use crate::storage::{
    Cause, Error, Kind, PartFile, RecordingName, SampleFormat, Sidecar, WavFormat,
};

/// The timeline of a call, and the files it goes to: one for each tenant that owns the call.
#[derive(Debug)]
pub struct Recording {
    start: Timestamp,
    sample_rate_hz: u32,
    /// `None` until the first audio that can be decoded: a call without any leaves no file.
    format: Option<WavFormat>,
    canvas: Option<Canvas>,
    tracks: PerSide<Track>,
    outputs: SmallVec<[Output; 1]>,
    /// Frames that have been written, or left out for good.
    written: u64,
    /// Frames before which a companded file still has holes that are not silence.
    filled: u64,
    packets_dropped: u64,
    /// Blocks that the storage did not take.
    outages: Spans,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Output {
    tenant: TenantId,
    part: Option<PartFile>,
    failing: bool,
}

/// A recording that only has to be committed.
pub struct Finished {
    pub tenant: TenantId,
    pub part: PartFile,
    pub sidecar: Sidecar,
}

/// What became of writing a block.
#[derive(Debug, Default)]
pub struct Trouble {
    /// The first error since all was well.
    pub error: Option<Error>,
    /// Packets that are in no file.
    pub packets: u64,
    /// A storage that had failed took this block.
    pub recovered: bool,
}

impl Recording {
    pub fn new(start: Timestamp, sample_rate_hz: u32) -> Self {
        Recording {
            start,
            sample_rate_hz,
            format: None,
            canvas: None,
            tracks: PerSide {
                caller: Track::new(),
                callee: Track::new(),
            },
            outputs: SmallVec::new(),
            written: 0,
            filled: 0,
            packets_dropped: 0,
            outages: Spans::default(),
            buffer: Vec::new(),
        }
    }

    fn block_frames(&self) -> usize {
        (u64::from(self.sample_rate_hz) * BLOCK.as_millis() as u64 / 1000) as usize
    }

    /// Draws a block and writes it.
    pub fn take_block(
        &mut self,
        mut block: Block,
        info: &CallInfo,
        settings: &Settings,
    ) -> Trouble {
        for side in Side::BOTH {
            let pieces = &mut block.sides[side].pieces;
            if !pieces.is_sorted_by_key(|piece| piece.position) {
                pieces.sort_by_key(|piece| piece.position);
            }
        }
        if self.format.is_none() {
            self.format = first_decodable(&block).map(|codec| self.choose_format(codec, settings));
        }
        let Some(format) = self.format else {
            self.note_undecodable(&block);
            return Trouble::default();
        };
        let mut trouble = self.open_missing(info, settings);
        let no_file = self.outputs.iter().all(|output| output.part.is_none());
        if no_file || trouble.error.as_ref().is_some_and(Error::is_full) {
            self.note_undecodable(&block);
        } else if block.late {
            let patched = self.patch(&block, format);
            trouble.note(patched);
        } else {
            let drawn = self.draw_block(&block, format);
            trouble.note(drawn);
        }
        self.settle(&mut trouble, &block);
        trouble
    }

    fn choose_format(&self, codec: Codec, settings: &Settings) -> WavFormat {
        let sample_format = match codec {
            Codec::Pcma if settings.keep_g711 && self.sample_rate_hz == 8000 => SampleFormat::Alaw,
            Codec::Pcmu if settings.keep_g711 && self.sample_rate_hz == 8000 => SampleFormat::Ulaw,
            _ => SampleFormat::Pcm16,
        };
        WavFormat {
            sample_format,
            sample_rate_hz: self.sample_rate_hz,
        }
    }

    /// Pieces before the first that can be decoded: nothing to draw, but the timeline has begun.
    fn note_undecodable(&mut self, block: &Block) {
        for side in Side::BOTH {
            for piece in &block.sides[side].pieces {
                self.tracks[side].note(piece, &format_of(block, piece), 0);
            }
        }
    }

    fn draw_block(&mut self, block: &Block, format: WavFormat) -> Result<(), Error> {
        let frames = self.block_frames();
        let begin = block.index as i64 * frames as i64;
        self.begin_canvas(begin, format)?;
        let mut early = Vec::new();
        for side in Side::BOTH {
            self.draw_side(side, &block.sides[side], block, &mut early);
        }
        let canvas = self.canvas.as_mut().expect("it was begun above");
        self.buffer.clear();
        canvas.render(frames, &mut self.buffer);
        canvas.advance(frames);
        let wrote = self.write(begin as u64, format);
        for (side, position, samples) in early {
            self.write_samples(side, position, &samples, format)?;
        }
        wrote
    }

    /// Makes the canvas begin at `begin`: what it still holds from before is written first.
    fn begin_canvas(&mut self, begin: i64, format: WavFormat) -> Result<(), Error> {
        let frames = self.block_frames();
        let canvas = self.canvas.get_or_insert_with(|| {
            let mut canvas = Canvas::new(format.sample_format, 2 * frames);
            canvas.begin(begin);
            canvas
        });
        if canvas.start() == begin {
            return Ok(());
        }
        let from = canvas.start();
        let rest = (begin - from).clamp(0, frames as i64) as usize;
        self.buffer.clear();
        canvas.render(rest, &mut self.buffer);
        canvas.begin(begin);
        if rest > 0 {
            self.write(from as u64, format)
        } else {
            Ok(())
        }
    }

    fn draw_side(
        &mut self,
        side: Side,
        pieces: &SideBlock,
        block: &Block,
        early: &mut Vec<(Side, i64, Vec<i16>)>,
    ) {
        let (Some(canvas), track) = (self.canvas.as_mut(), &mut self.tracks[side]) else {
            return;
        };
        for piece in &pieces.pieces {
            let payload = pieces.payload(piece);
            let format = format_of(block, piece);
            let samples = duration(&format, payload.len(), self.sample_rate_hz);
            let seam = track.note(piece, &format, samples);
            match track.decode(piece, &format, payload, self.sample_rate_hz) {
                Drawing::Nothing => {}
                Drawing::Companded(law) => canvas.draw_g711(side, piece.position, payload, law),
                Drawing::Linear(position, samples) => {
                    if position < canvas.start() {
                        early.push((side, position, samples.to_vec()));
                    }
                    canvas.draw(side, position, samples);
                }
            }
            if let Some((from, to)) = seam {
                canvas.smear(side, from, to);
            }
        }
    }

    /// Puts packets that came after their block was written in their places.
    fn patch(&mut self, block: &Block, format: WavFormat) -> Result<(), Error> {
        for side in Side::BOTH {
            for piece in &block.sides[side].pieces {
                let payload = block.sides[side].payload(piece);
                let piece_format = format_of(block, piece);
                let samples = duration(&piece_format, payload.len(), self.sample_rate_hz);
                let rate_hz = self.sample_rate_hz;
                let (position, decoded) =
                    match self.tracks[side].decode(piece, &piece_format, payload, rate_hz) {
                        Drawing::Nothing => continue,
                        Drawing::Linear(position, samples) => (position, samples.to_vec()),
                        Drawing::Companded(law) => {
                            self.patch_at(piece.position, payload.len(), format, |canvas| {
                                canvas.draw_g711(side, piece.position, payload, law);
                            })?;
                            let from = piece.position.max(0) as u64;
                            self.tracks[side]
                                .spans
                                .fill(from, from + samples.max(0) as u64);
                            continue;
                        }
                    };
                self.write_samples(side, position, &decoded, format)?;
                let from = piece.position.max(0) as u64;
                self.tracks[side]
                    .spans
                    .fill(from, from + samples.max(0) as u64);
            }
        }
        Ok(())
    }

    /// Writes samples of one side over what the file has.
    fn write_samples(
        &mut self,
        side: Side,
        position: i64,
        samples: &[i16],
        format: WavFormat,
    ) -> Result<(), Error> {
        self.patch_at(position, samples.len(), format, |canvas| {
            canvas.draw(side, position, samples)
        })
    }

    /// Reads a stretch of the files back, draws on it, and writes it again. What lies on the canvas, not in the files yet, is
    /// drawn there.
    fn patch_at(
        &mut self,
        position: i64,
        len: usize,
        format: WavFormat,
        draw: impl Fn(&mut Canvas),
    ) -> Result<(), Error> {
        if let Some(canvas) = &mut self.canvas {
            draw(canvas);
        }
        let on_canvas = self.canvas.as_ref().map_or(i64::MAX, Canvas::start);
        let begin = position.max(0);
        let frames = (position + len as i64).min(on_canvas) - begin;
        if frames <= 0 {
            return Ok(());
        }
        self.fill_holes(begin as u64, format)?;
        let mut bytes =
            vec![silence(format.sample_format); frames as usize * format.frame_bytes() as usize];
        let mut patch = Canvas::new(format.sample_format, frames as usize);
        patch.begin(begin);
        let present = self.written.saturating_sub(begin as u64).min(frames as u64);
        let present_bytes = (present * format.frame_bytes()) as usize;
        for output in &mut self.outputs {
            let Some(part) = &output.part else { continue };
            part.read_at(&mut bytes[..present_bytes], format.offset_of(begin as u64))?;
            patch.load(&bytes);
            draw(&mut patch);
            self.buffer.clear();
            patch.render(frames as usize, &mut self.buffer);
            part.write_at(&self.buffer, format.offset_of(begin as u64))?;
        }
        self.written = self.written.max(begin as u64 + frames as u64);
        self.filled = self.filled.max(self.written);
        Ok(())
    }

    /// Writes the buffer at frame `begin` of every file.
    fn write(&mut self, begin: u64, format: WavFormat) -> Result<(), Error> {
        self.fill_holes(begin, format)?;
        let mut result = Ok(());
        for output in &mut self.outputs {
            if let Some(part) = &output.part
                && let Err(error) = part.write_at(&self.buffer, format.offset_of(begin))
            {
                output.failing = true;
                result = Err(error);
            }
        }
        if result.is_ok() {
            self.written = self
                .written
                .max(begin + self.buffer.len() as u64 / format.frame_bytes());
            self.filled = self.filled.max(self.written);
        }
        result
    }

    /// A hole in a file reads as zeros, which is silence in PCM and a loud click in A-law: there it is filled.
    fn fill_holes(&mut self, to: u64, format: WavFormat) -> Result<(), Error> {
        if format.sample_format == SampleFormat::Pcm16 || to <= self.filled {
            return Ok(());
        }
        let chunk = vec![silence(format.sample_format); 64 << 10];
        let (mut at, end) = (format.offset_of(self.filled), format.offset_of(to));
        while at < end {
            let len = (end - at).min(chunk.len() as u64);
            for part in self
                .outputs
                .iter()
                .filter_map(|output| output.part.as_ref())
            {
                part.write_at(&chunk[..len as usize], at)?;
            }
            at += len;
        }
        self.filled = to;
        Ok(())
    }

    /// Opens the files that should be there and are not.
    fn open_missing(&mut self, info: &CallInfo, settings: &Settings) -> Trouble {
        let mut trouble = Trouble::default();
        if settings.storage_low.load(Ordering::Relaxed) {
            trouble.note(Err(low_on_space(settings)));
            return trouble;
        }
        for owner in info.owners.iter().filter(|owner| owner.refusal.is_none()) {
            if !self
                .outputs
                .iter()
                .any(|output| output.tenant == owner.tenant)
            {
                self.outputs.push(Output {
                    tenant: owner.tenant,
                    part: None,
                    failing: false,
                });
            }
        }
        let facts = self.facts(settings);
        for output in self
            .outputs
            .iter_mut()
            .filter(|output| output.part.is_none())
        {
            let name = RecordingName::new(
                output.tenant,
                info.recording_id(output.tenant, self.start),
                self.start,
            );
            let opened = PartFile::create(&settings.layout, name).and_then(|part| {
                part.write_at(&facts.format.header(0), 0)?;
                let sidecar = record::sidecar(&facts, info, output.tenant, &name, None);
                record::write_interim(&settings.layout, &name, &sidecar)?;
                Ok(part)
            });
            match opened {
                Ok(part) => {
                    output.part = Some(part);
                    // Another tenant's file may be there already: this one tells the same from the start.
                    trouble.recovered |= std::mem::take(&mut output.failing);
                }
                Err(error) => {
                    output.failing = true;
                    trouble.note(Err(error));
                }
            }
        }
        trouble
    }

    fn facts(&self, settings: &Settings) -> Facts {
        Facts {
            start: self.start,
            format: self.format.unwrap_or(WavFormat {
                sample_format: SampleFormat::Pcm16,
                sample_rate_hz: self.sample_rate_hz,
            }),
            sensor: settings.sensor.clone(),
            interfaces: settings.interfaces.clone(),
        }
    }

    /// Counts what a block lost.
    fn settle(&mut self, trouble: &mut Trouble, block: &Block) {
        let failed = trouble.error.is_some();
        for output in self
            .outputs
            .iter_mut()
            .filter(|output| output.part.is_some())
        {
            if failed {
                output.failing = true;
            } else {
                trouble.recovered |= std::mem::take(&mut output.failing);
            }
        }
        if failed {
            trouble.packets += block.packets();
            self.packets_dropped += block.packets();
            let frames = self.block_frames() as u64;
            let from = block.index * frames;
            self.outages.push(Span {
                from,
                to: from + frames,
                cause: Cause::Storage,
            });
        }
    }

    /// News of the call while it is recorded: its files follow their owners, and the interim sidecars say what is known.
    pub fn update(&mut self, info: &CallInfo, settings: &Settings) -> Result<(), Error> {
        if self.outputs.is_empty() {
            return Ok(());
        }
        self.follow_owners(info, settings)?;
        let facts = self.facts(settings);
        for output in &self.outputs {
            if let Some(part) = &output.part {
                let sidecar = record::sidecar(&facts, info, output.tenant, &part.name, None);
                record::write_interim(&settings.layout, &part.name, &sidecar)?;
            }
        }
        Ok(())
    }

    /// The answer may tell that the call is another tenant's. A file whose tenant lost the call moves to the one that has it; a
    /// tenant that joins gets a copy; what is nobody's any more goes.
    fn follow_owners(&mut self, info: &CallInfo, settings: &Settings) -> Result<(), Error> {
        let owns = |tenant: TenantId| {
            info.owners
                .iter()
                .any(|o| o.tenant == tenant && o.refusal.is_none())
        };
        let newcomers: SmallVec<[TenantId; 2]> = info
            .owners
            .iter()
            .filter(|o| {
                o.refusal.is_none() && self.outputs.iter().all(|output| output.tenant != o.tenant)
            })
            .map(|o| o.tenant)
            .collect();
        for tenant in newcomers {
            let id = info.recording_id(tenant, self.start);
            self.admit(tenant, id, owns, settings)?;
        }
        for output in self.outputs.iter().filter(|output| !owns(output.tenant)) {
            if let Some(part) = &output.part {
                record::remove(&settings.layout, &part.name);
            }
        }
        self.outputs.retain(|output| owns(output.tenant));
        Ok(())
    }

    fn admit(
        &mut self,
        tenant: TenantId,
        id: RecordingId,
        owns: impl Fn(TenantId) -> bool,
        settings: &Settings,
    ) -> Result<(), Error> {
        let name = RecordingName::new(tenant, id, self.start);
        if let Some(output) = self.outputs.iter_mut().find(|output| !owns(output.tenant)) {
            if let Some(part) = &mut output.part {
                let before = settings.layout.path(&part.name, Kind::SidecarPart);
                part.move_to(&settings.layout, name)?;
                // It is written anew beside the moved file.
                let _ = std::fs::remove_file(before);
            }
            output.tenant = tenant;
            return Ok(());
        }
        let part = match self.outputs.iter().find_map(|output| output.part.as_ref()) {
            Some(original) => Some(original.copy_to(&settings.layout, name)?),
            None => None,
        };
        self.outputs.push(Output {
            tenant,
            part,
            failing: false,
        });
        Ok(())
    }

    /// Writes what is left, sets length and header, and gives the files that are ready to be committed.
    pub fn finish(
        mut self,
        end: &CallEnd,
        info: &Arc<CallInfo>,
        settings: &Settings,
    ) -> (Vec<Finished>, Trouble) {
        let mut trouble = Trouble::default();
        let Some(format) = self.format else {
            return (Vec::new(), trouble);
        };
        if let Some(canvas) = &self.canvas {
            let (begin, frames) = (canvas.start(), self.block_frames() as i64);
            let rest = (end.length_samples as i64 - begin).clamp(0, frames);
            let wrote = self.begin_canvas(begin + rest, format);
            trouble.note(wrote);
        }
        let holes = self.fill_holes(end.length_samples, format);
        trouble.note(holes);
        for side in Side::BOTH {
            let track = &mut self.tracks[side];
            track.silent(end.length_samples as i64, track.cause_at_end());
        }
        let facts = self.facts(settings);
        let mut finished = Vec::new();
        for output in std::mem::take(&mut self.outputs) {
            let Some(part) = output.part else { continue };
            let sized = part
                .set_len(format.offset_of(end.length_samples))
                .and_then(|()| part.write_at(&format.header(end.length_samples), 0));
            trouble.note(sized);
            let mut sidecar = record::sidecar(&facts, info, output.tenant, &part.name, Some(end));
            record::describe_timeline(&mut sidecar, &self.tracks, &self.outages, end, &facts);
            sidecar.packets_dropped = self.packets_dropped;
            finished.push(Finished {
                tenant: output.tenant,
                part,
                sidecar,
            });
        }
        (finished, trouble)
    }

    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// Counts packets that never came here: the queue was full.
    pub fn note_dropped(&mut self, packets: u64) {
        self.packets_dropped += packets;
    }

    /// Accounts for the blocks that were lost on their way, before the one with `index`, so that their silence has a cause.
    pub fn note_lost_blocks(&mut self, index: u64, cause: Cause) {
        let to = index as i64 * self.block_frames() as i64;
        for side in Side::BOTH {
            self.tracks[side].silent(to, cause);
        }
    }
}

impl Trouble {
    fn note(&mut self, result: Result<(), Error>) {
        if let Err(error) = result {
            self.error.get_or_insert(error);
        }
    }
}

fn low_on_space(settings: &Settings) -> Error {
    Error::io(
        "write below the space that is to stay free on",
        settings.layout.root(),
    )(ErrorKind::StorageFull.into())
}

/// The format of a piece. Its number always is in the list; a wrong one would be no audio.
fn format_of(block: &Block, piece: &Piece) -> PayloadFormat {
    block
        .formats
        .get(usize::from(piece.format))
        .copied()
        .unwrap_or_else(|| PayloadFormat::from_static(127))
}

fn first_decodable(block: &Block) -> Option<Codec> {
    let pieces = || {
        Side::BOTH
            .into_iter()
            .flat_map(|side| &block.sides[side].pieces)
    };
    let decodable = pieces().filter(|piece| format_of(block, piece).codec.is_decodable());
    decodable
        .min_by_key(|piece| piece.position)
        .map(|piece| format_of(block, piece).codec)
}

/// Samples of the recording that a payload lasts.
fn duration(format: &PayloadFormat, len: usize, rate_hz: u32) -> i64 {
    let samples = i64::from(format.codec.samples_in(len).unwrap_or(0));
    match format.codec.sample_rate_hz() {
        rate if rate == rate_hz => samples,
        rate => samples * i64::from(rate_hz) / i64::from(rate.max(1)),
    }
}
