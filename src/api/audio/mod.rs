//! Audio of recordings over HTTP: ranges, renditions, peaks, names of downloads.
//!
//! In: a recording's file and what a client asks of it. Out: an answer whose body is read piece by piece as the client takes
//! it, so that memory does not grow with the length of a call. Nothing is stored: what is not as in the file is computed.

mod answer;
mod file;
mod live;
mod name;
mod ogg;
mod peaks;
mod range;
mod rendition;
mod sessions;

pub use answer::{Asked, Purpose, serve};
pub use file::{AudioFile, Unreadable};
pub use live::endless_wav;
pub use name::download_name;
pub use ogg::OggOpus;
pub use peaks::{MAX_POINTS, Peaks, PeaksCache, SidePeaks};
pub use rendition::Format;
pub use sessions::{Listening, Sessions};

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Transcoding and peaks that are worked on at a time; others wait.
const WORKERS: usize = 2;

/// What requests for audio share.
#[derive(Debug)]
pub struct AudioDesk {
    pub sessions: Sessions,
    pub peaks: PeaksCache,
    pub workers: Arc<Semaphore>,
}

impl Default for AudioDesk {
    fn default() -> Self {
        AudioDesk {
            sessions: Sessions::default(),
            peaks: PeaksCache::default(),
            workers: Arc::new(Semaphore::new(WORKERS)),
        }
    }
}
