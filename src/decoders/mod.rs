//! Codecs that a program of the operator's decodes: frames in, samples out.
//!
//! In: the payloads of one stream, what SDP said of them, and the path of `ffmpeg`. Out: samples, as many as the frames stand
//! for. The program runs in a sandbox of its own, one short-lived process for a few minutes of audio: no network, no files, no
//! privileges; pipes only ([`sandbox`]). Whatever it does (hang, die, flood, write nonsense), the answer is an [`Error`].
//!
//! Nothing is linked: the licence and the faults of the decoders stay outside the daemon.

mod error;
mod framing;
mod ogg;
mod probe;
mod process;
pub mod sandbox;
mod speex;

pub use error::Error;
pub use framing::{FixedFrames, Frame, Framing};
pub use probe::Abilities;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// The operator's decoder, with its bounds.
#[derive(Debug)]
pub struct Decoders {
    pub settings: Settings,
    /// What the program can, or why it cannot be used; asked once, when it is first needed.
    probed: OnceLock<Result<Abilities, Error>>,
}

/// What a decoder is, and what it may take.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `ffmpeg`.
    pub program: PathBuf,
    /// This program: it becomes the sandbox ([`sandbox::enter`]).
    pub own_program: PathBuf,
    /// For one process.
    pub timeout: Duration,
    pub memory_bytes: u64,
    /// Formats of the operator's, by encoding name in lower case.
    pub formats: BTreeMap<String, FixedFrames>,
}

impl Decoders {
    pub fn new(settings: Settings) -> Decoders {
        Decoders {
            settings,
            probed: OnceLock::new(),
        }
    }

    /// What the program can do. The first question starts it, and takes a tenth of a second.
    ///
    /// # Errors
    /// Why it cannot be used: it is missing, or the sandbox cannot be made.
    pub fn abilities(&self) -> Result<&Abilities, &Error> {
        self.probed
            .get_or_init(|| probe::ask(&self.settings))
            .as_ref()
    }

    /// How payloads in `encoding` are handed to the program; `None` when it cannot decode them.
    pub fn framing(&self, encoding: &str, clock_rate_hz: u32) -> Option<Framing> {
        let framing = Framing::of(encoding, clock_rate_hz, &self.settings.formats)?;
        let abilities = self.abilities().ok()?;
        abilities.can(&framing).then_some(framing)
    }

    /// Decodes frames that follow each other, all of one [`Framing`] and [`Frame::variant`]. `stop` ends it early.
    ///
    /// # Errors
    /// Whatever the program does but give [`Framing::frame_samples`] samples for each frame.
    pub fn decode(
        &self,
        framing: &Framing,
        frames: &[Frame],
        stop: &AtomicBool,
    ) -> Result<Vec<i16>, Error> {
        let Some(first) = frames.first() else {
            return Ok(Vec::new());
        };
        let settling = framing.settling(first.variant);
        let each = framing.frame_samples(first.variant);
        let all = match &settling[..] {
            [] => Cow::Borrowed(frames),
            first => Cow::Owned([first, frames].concat()),
        };
        let mut samples = process::run(
            &self.settings,
            &self.arguments(framing),
            &framing.container(&all),
            each * all.len(),
            stop,
        )?;
        samples.drain(..each * settling.len());
        Ok(samples)
    }

    /// What the program is told of its input.
    fn arguments<'f>(&self, framing: &'f Framing) -> Vec<&'f str> {
        let mut arguments = vec!["-f", framing.needs().1];
        let better = framing.better_decoder();
        if let Some(better) = better.filter(|name| self.abilities().is_ok_and(|a| a.has(name))) {
            arguments.extend(["-c:a", better]);
        }
        arguments
    }
}
