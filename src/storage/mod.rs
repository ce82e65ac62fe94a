//! Where recordings live.
//!
//! ```text
//! <root>/<tenant id>/<yyyy>/<mm>/<dd>/<recording id>.wav        the audio
//! <root>/<tenant id>/<yyyy>/<mm>/<dd>/<recording id>.json       the sidecar
//! <root>/<tenant id>/<yyyy>/<mm>/<dd>/<recording id>.wav.part   the audio while the call lasts
//! <root>/<tenant id>/<yyyy>/<mm>/<dd>/<recording id>.json.part  what is known of the call while it lasts
//! <root>/.callreel.lock                                         held by the daemon that writes here
//! ```
//!
//! Nothing that came over the wire is ever part of a path. In: bytes and sidecars. Out: files that are whole, or named as
//! unfinished.

mod error;
mod layout;
mod lock;
mod partition;
mod sidecar;
mod wav;

pub use error::Error;
pub use layout::{Kind, Layout, RecordingName};
pub use lock::StorageLock;
pub use partition::{PartFile, commit, sync_all};
pub use sidecar::{
    AttributionRecord, Cause, DigitRecord, PartyRecord, SIDECAR_VERSION, SegmentRecord, Sidecar,
    StreamRecord, TransferRecord,
};
pub use wav::{HEADER_LEN, SampleFormat, WavFormat, WavInfo, read_wav_info};
