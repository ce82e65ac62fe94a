//! One call becoming files: blocks are drawn on a canvas, and the canvas is written at its place.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::canvas::Rest;
use super::easel::Easel;
use super::level::{Level, frame_len, measure_again};
use super::quality::{Levels, call_quality};
use super::raw::Raw;
use super::record::{self, Facts};
use super::segments::{Span, Spans};
use super::signalling::Messages;
use super::track::{Drawing, Losses, Track};
use super::{Settings, pauses};
use crate::base::{PerSide, Side, TenantId, Timestamp};
use crate::codec::{Codec, PayloadFormat};
use crate::engine::event::{BLOCK, Block, CallEnd, CallInfo, Disposition, Piece};
use crate::storage::{
    Cause, Error, Kind, PartFile, SampleFormat, Sidecar, SignallingRecord, WavFormat,
};

/// A call of which nothing came for so long gives its decoders back. Longer than they remember (`track`), so that a capture that is
/// replayed gives the same samples as the wire did.
const SLEEP: Duration = Duration::from_secs(30);

/// The timeline of a call, and the files it goes to: one for each tenant that owns the call.
#[derive(Debug)]
pub struct Recording {
    pub(super) start: Timestamp,
    pub(super) sample_rate_hz: u32,
    /// `None` until the first audio, decoded or kept raw: a call without any leaves no file.
    pub(super) format: Option<WavFormat>,
    /// What is drawn and not written, while the canvas is lent to others.
    pub(super) rest: Option<Rest>,
    pub(super) tracks: PerSide<Track>,
    pub(super) outputs: SmallVec<[Output; 1]>,
    /// Frames that have been written, or left out for good.
    pub(super) written: u64,
    /// Frames before which a companded file still has holes that are not silence.
    pub(super) filled: u64,
    pub(super) packets_dropped: u64,
    /// Blocks that the storage did not take.
    pub(super) outages: Spans,
    /// The storage did not take the last block.
    failing: bool,
    /// Files were taken away since the last block.
    pub(super) taken: Option<Box<Trouble>>,
    /// Where something of the call is kept raw.
    pub(super) raw: Option<Box<Raw>>,
    levels: Levels,
    /// Frames at which pauses began, as far as they are known.
    pub(super) paused_from: Vec<u64>,
    /// Sides that were drawn on after their level was measured.
    pub(super) is_revised: PerSide<bool>,
    /// Blocks came since [`Recording::rest`] was last asked for.
    is_busy: bool,
    /// Since when none came.
    quiet_since: Option<Instant>,
}

/// One tenant's file; none while the storage refuses it.
#[derive(Debug)]
pub struct Output {
    pub tenant: TenantId,
    pub part: Option<PartFile>,
    /// Frame from which on the call is another tenant's, and the file silent.
    pub until: Option<i64>,
    /// A file that is not where it was, and not gone.
    pub away: Option<Box<PartFile>>,
    /// Packets in the file.
    pub packets: u64,
    /// Packets that were in files which were taken away.
    pub lost: u64,
    /// Frames from the start that were lost with them.
    pub lost_until: u64,
}

impl Output {
    pub fn new(tenant: TenantId, part: Option<PartFile>) -> Output {
        Output {
            tenant,
            part,
            until: None,
            away: None,
            packets: 0,
            lost: 0,
            lost_until: 0,
        }
    }
}

/// A recording that only has to be committed.
pub struct Finished {
    pub tenant: TenantId,
    pub part: PartFile,
    pub sidecar: Sidecar,
}

/// The files of a call that is over.
#[derive(Default)]
pub struct Done {
    pub finished: Vec<Finished>,
    /// Whose were thrown away, and why.
    pub discarded: Vec<(TenantId, Disposition)>,
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
            rest: None,
            tracks: PerSide {
                caller: Track::new(),
                callee: Track::new(),
            },
            outputs: SmallVec::new(),
            written: 0,
            filled: 0,
            packets_dropped: 0,
            outages: Spans::default(),
            failing: false,
            taken: None,
            raw: None,
            levels: Levels::default(),
            paused_from: Vec::new(),
            is_revised: PerSide::default(),
            is_busy: true,
            quiet_since: None,
        }
    }

    pub(super) fn block_frames(&self) -> usize {
        (u64::from(self.sample_rate_hz) * BLOCK.as_millis() as u64 / 1000) as usize
    }

    /// A block may reach into the next one.
    fn canvas_frames(&self) -> usize {
        2 * self.block_frames()
    }

    /// Draws a block and writes it.
    pub fn take_block(
        &mut self,
        block: Block,
        info: &CallInfo,
        settings: &Settings,
        easel: &mut Easel,
    ) -> Trouble {
        easel.mount(self.rest.take(), self.canvas_frames());
        let trouble = self.enter_block(block, info, settings, easel);
        self.rest = easel.dismount();
        trouble
    }

    fn enter_block(
        &mut self,
        mut block: Block,
        info: &CallInfo,
        settings: &Settings,
        easel: &mut Easel,
    ) -> Trouble {
        self.is_busy = true;
        self.gather_raw(&block);
        for side in Side::BOTH {
            let pieces = &mut block.sides[side];
            if !pieces.is_sorted_by_key(|piece| piece.position) {
                pieces.sort_by_key(|piece| piece.position);
            }
        }
        if self.format.is_none() {
            let audio = first_audio(&block, Codec::is_decodable)
                .or_else(|| first_audio(&block, Codec::is_kept_raw));
            self.format = audio.map(|codec| self.choose_format(codec, settings));
        }
        let Some(format) = self.format else {
            self.note_undecodable(&block);
            return Trouble::default();
        };
        self.look_for_files();
        let mut trouble = self.open_missing(info, settings);
        let no_file = self.outputs.iter().all(|output| output.part.is_none());
        let is_drawn = if no_file || trouble.error.as_ref().is_some_and(Error::is_full) {
            self.note_undecodable(&block);
            self.drop_raw();
            false
        } else {
            let drawn = match block.late {
                true => self.patch(&block, format, easel),
                false => self.draw_block(&block, format, easel),
            };
            let is_drawn = drawn.is_ok();
            trouble.note(drawn);
            trouble.join(self.write_raw(info, settings));
            is_drawn
        };
        self.settle(&mut trouble, &block, is_drawn);
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
            for piece in &block.sides[side] {
                self.tracks[side].note(piece, &format_of(block, piece), &[], self.sample_rate_hz);
            }
        }
    }

    fn draw_block(
        &mut self,
        block: &Block,
        format: WavFormat,
        easel: &mut Easel,
    ) -> Result<(), Error> {
        let frames = self.block_frames();
        let begin = block.index as i64 * frames as i64;
        self.begin_canvas(begin, format, easel)?;
        let mut early = Vec::new();
        for side in Side::BOTH {
            self.draw_side(side, block, easel, &mut early);
        }
        self.listen(block, frames, easel);
        let canvas = easel.canvas.as_mut().expect("it was begun above");
        if canvas.is_blank() && early.is_empty() && format.sample_format == SampleFormat::Pcm16 {
            canvas.advance(frames);
            return self.lengthen((begin + frames as i64) as u64, format);
        }
        canvas.render(frames, &mut easel.buffer);
        canvas.advance(frames);
        let wrote = self.write(begin as u64, &easel.buffer, format);
        for (side, position, samples) in early {
            self.write_samples(side, position, &samples, format, easel)?;
        }
        wrote
    }

    /// Measures how loud the sides are of which the block has anything.
    fn listen(&mut self, block: &Block, frames: usize, easel: &Easel) {
        let len = frame_len(self.sample_rate_hz).max(1);
        for side in Side::BOTH {
            if let Some(canvas) = &easel.canvas
                && !block.sides[side].is_empty()
            {
                let level: &mut Level = self.levels[side].get_or_insert_default();
                canvas.listen(side, frames, len, |frame| level.take(frame));
            }
        }
    }

    /// Gives memory back where no block came since this was last called: a call on hold.
    pub fn rest(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_busy) {
            self.quiet_since = None;
            return;
        }
        let since = *self.quiet_since.get_or_insert(now);
        let sleeps = now.duration_since(since) > SLEEP;
        for side in Side::BOTH {
            self.tracks[side].rest();
            if sleeps {
                self.tracks[side].sleep();
            }
        }
    }

    /// Makes the canvas begin at `begin`: what it still holds from before is written first.
    fn begin_canvas(
        &mut self,
        begin: i64,
        format: WavFormat,
        easel: &mut Easel,
    ) -> Result<(), Error> {
        let canvas = easel.canvas(format.sample_format, self.canvas_frames(), begin);
        if canvas.start() == begin {
            return Ok(());
        }
        let from = canvas.start();
        let rest = (begin - from).clamp(0, self.block_frames() as i64) as usize;
        let canvas = easel.canvas.as_mut().expect("it is there by now");
        canvas.render(rest, &mut easel.buffer);
        canvas.begin(begin);
        if rest > 0 {
            self.write(from as u64, &easel.buffer, format)?;
        }
        self.load_what_reaches_in(begin, format, easel)
    }

    fn draw_side(
        &mut self,
        side: Side,
        block: &Block,
        easel: &mut Easel,
        early: &mut Vec<(Side, i64, Vec<i16>)>,
    ) {
        let (Some(canvas), track) = (easel.canvas.as_mut(), &mut self.tracks[side]) else {
            return;
        };
        touch(block, side);
        for piece in &block.sides[side] {
            let payload = block.payload(piece);
            let format = format_of(block, piece);
            let seam = track.note(piece, &format, payload, self.sample_rate_hz);
            match track.decode(piece, &format, payload, self.sample_rate_hz) {
                Drawing::Nothing => {}
                Drawing::Companded(law) => canvas.draw_g711(side, piece.position, payload, law),
                Drawing::Linear(position, samples) => {
                    if position < canvas.start() {
                        early.push((side, position, samples.to_vec()));
                    }
                    canvas.draw(side, position, samples);
                }
                Drawing::Revised(stretches) => {
                    for (position, samples) in stretches {
                        canvas.draw(side, position, &samples);
                        if position < canvas.start() {
                            self.is_revised[side] = true;
                            early.push((side, position, samples));
                        }
                    }
                }
            }
            if let Some((from, to)) = seam {
                canvas.smear(side, from, to);
            }
        }
    }

    pub(super) fn facts(&self, settings: &Settings) -> Facts {
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

    /// Counts what a block lost. `is_drawn`: every file that is open has it.
    fn settle(&mut self, trouble: &mut Trouble, block: &Block, is_drawn: bool) {
        let failed = trouble.error.is_some();
        let is_bad = failed || self.taken.is_some();
        trouble.recovered = std::mem::replace(&mut self.failing, is_bad) && !is_bad;
        let frames = self.block_frames() as u64;
        let (from, to) = (block.index * frames, (block.index + 1) * frames);
        if is_drawn || !failed {
            self.count_kept(block);
            self.count_missed(block, to);
        } else {
            trouble.packets += block.packets();
            self.packets_dropped += block.packets();
            self.outages.push(Span {
                from,
                to,
                cause: Cause::Storage,
            });
        }
        self.own_up(trouble);
    }

    /// Writes what is left, sets length and header, and gives the files that are ready to be committed.
    pub fn finish(
        mut self,
        end: &CallEnd,
        info: &Arc<CallInfo>,
        messages: &Messages,
        settings: &Settings,
        easel: &mut Easel,
    ) -> (Done, Trouble) {
        let mut trouble = Trouble::default();
        let Some(format) = self.format else {
            return (Done::default(), trouble);
        };
        self.look_for_files();
        // What was set aside is written to as long as it is open: it may be back before it is committed.
        self.outputs.iter_mut().for_each(Output::put_back);
        if self.has_anothers(info) {
            trouble.note(self.follow_owners(info, settings));
        }
        easel.mount(self.rest.take(), self.canvas_frames());
        trouble.note(self.write_rest(end, format, easel));
        easel.dismount();
        let holes = self.fill_holes(end.length_samples, format);
        trouble.note(holes);
        for side in Side::BOTH {
            let track = &mut self.tracks[side];
            track.silent(end.length_samples as i64, track.cause_at_end());
        }
        let facts = self.facts(settings);
        let mut done = Done::default();
        for mut output in std::mem::take(&mut self.outputs) {
            let Some(mut part) = output.part.take() else {
                continue;
            };
            if !info
                .owners
                .iter()
                .any(|owner| owner.tenant == output.tenant)
            {
                // It could not be moved to whose it is.
                record::remove(&settings.layout, &part.name);
                continue;
            }
            if let Some(reason) = discard(info, output.tenant, end, &facts) {
                record::remove(&settings.layout, &part.name);
                done.discarded.push((output.tenant, reason));
                continue;
            }
            let sized = part
                .set_len(format.offset_of(end.length_samples))
                .and_then(|()| part.write_at(&format.header(end.length_samples), 0));
            trouble.note(sized);
            let mut sidecar = record::sidecar(&facts, info, output.tenant, &part, Some(end));
            let outages = self.outages.within(output.lost_span(), end.length_samples);
            record::describe_timeline(&mut sidecar, &self.tracks, &outages, end, &facts);
            record::withhold(&mut sidecar, output.until, end.length_samples);
            pauses::describe(
                &mut sidecar,
                info,
                output.tenant,
                &facts,
                Some(end.length_samples),
            );
            sidecar.packets_dropped = self.packets_dropped + output.lost + self.losses().total();
            sidecar.raw = self.raw_record(&part, output.lost > 0);
            add_signalling(&mut part, &mut sidecar, info, messages, end);
            sidecar.quality = Some(call_quality(end, Some(&self.levels)));
            let seconds = end.length_samples as f64 / f64::from(self.sample_rate_hz);
            sidecar.levels = PerSide::of(|side| {
                let level = self.levels[side].as_ref();
                level.map(|level| level.record(seconds))
            });
            for side in Side::BOTH.into_iter().filter(|&side| self.is_revised[side]) {
                let measured = measure_again(&part, &mut sidecar, side);
                trouble.note(measured);
            }
            done.finished.push(Finished {
                tenant: output.tenant,
                part,
                sidecar,
            });
        }
        self.own_up(&mut trouble);
        (done, trouble)
    }

    /// Writes what the last block left on the canvas.
    fn write_rest(
        &mut self,
        end: &CallEnd,
        format: WavFormat,
        easel: &mut Easel,
    ) -> Result<(), Error> {
        let Some(canvas) = &easel.canvas else {
            return Ok(());
        };
        let (begin, frames) = (canvas.start(), self.block_frames() as i64);
        let rest = (end.length_samples as i64 - begin).clamp(0, frames);
        let wrote = self.begin_canvas(begin + rest, format, easel);
        if wrote.is_err() && begin >= 0 {
            self.outages.push(Span {
                from: begin as u64,
                to: (begin + rest) as u64,
                cause: Cause::Storage,
            });
        }
        wrote
    }

    pub fn start(&self) -> Timestamp {
        self.start
    }

    /// Counts packets that never came here: the queue was full.
    pub fn note_dropped(&mut self, packets: u64) {
        self.packets_dropped += packets;
    }

    /// Packets that came and could not be decoded.
    pub fn losses(&self) -> Losses {
        self.tracks.caller.losses + self.tracks.callee.losses
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
    pub(super) fn note(&mut self, result: Result<(), Error>) {
        if let Err(error) = result {
            self.error.get_or_insert(error);
        }
    }

    fn join(&mut self, other: Trouble) {
        self.note(other.error.map_or(Ok(()), Err));
    }
}

/// Why a tenant's file of a call that is over is not to be kept.
fn discard(info: &CallInfo, tenant: TenantId, end: &CallEnd, facts: &Facts) -> Option<Disposition> {
    let owner = info.owners.iter().find(|owner| owner.tenant == tenant)?;
    let shortest =
        u64::from(owner.recording.minimum_seconds) * u64::from(facts.format.sample_rate_hz);
    let too_short = (end.length_samples < shortest).then_some(Disposition::TooShort);
    owner.refusal.or(owner.pending).or(too_short)
}

/// The messages of the dialog, for a tenant that keeps them.
fn add_signalling(
    part: &mut PartFile,
    sidecar: &mut Sidecar,
    info: &CallInfo,
    messages: &Messages,
    end: &CallEnd,
) {
    let owners = info.owners.iter();
    let Some(owner) = owners
        .filter(|owner| owner.recording.signalling)
        .find(|owner| owner.tenant == sidecar.tenant_id)
    else {
        return;
    };
    if let Some(capture) = messages.capture(info, owner.recording.digits, owner.until) {
        let path = part.name.relative(Kind::Signalling);
        sidecar.signalling = Some(SignallingRecord {
            file: path.rsplit('/').next().unwrap_or_default().to_owned(),
            messages: capture.messages,
            size_bytes: capture.bytes.len() as u64,
            omitted: capture.omitted + end.signalling_omitted,
        });
        part.signalling = Some(capture.bytes);
    }
}

/// The format of a piece. Its number always is in the list; a wrong one would be no audio.
pub(super) fn format_of(block: &Block, piece: &Piece) -> PayloadFormat {
    block
        .formats
        .get(usize::from(piece.format))
        .copied()
        .unwrap_or_else(|| PayloadFormat::from_static(127))
}

/// Reads something of each payload: they lie far apart, and reads that do not depend on each other overlap.
fn touch(block: &Block, side: Side) {
    let lines = block.sides[side]
        .iter()
        .flat_map(|piece| block.payload(piece).iter().step_by(64));
    black_box(lines.fold(0, |all, byte| all ^ byte));
}

/// The codec of the first piece that `is_wanted`.
fn first_audio(block: &Block, is_wanted: fn(Codec) -> bool) -> Option<Codec> {
    let pieces = || Side::BOTH.into_iter().flat_map(|side| &block.sides[side]);
    let wanted = pieces().filter(|piece| is_wanted(format_of(block, piece).codec));
    wanted
        .min_by_key(|piece| piece.position)
        .map(|piece| format_of(block, piece).codec)
}
