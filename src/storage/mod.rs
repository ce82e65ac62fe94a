//! Where recordings live.
//!
//! ```text
//! <root>/<tenant id>/<yyyy>/<mm>/<dd>/<recording id>.wav        the audio
//! <root>/<tenant id>/<yyyy>/<mm>/<dd>/<recording id>.json       the sidecar
//! <root>/<tenant id>/<yyyy>/<mm>/<dd>/<recording id>.wav.part   the audio while the call lasts
//! <root>/<tenant id>/<yyyy>/<mm>/<dd>/<recording id>.json.part  what is known of the call while it lasts
//! <root>/<tenant id>/<yyyy>/<mm>/<dd>/<recording id>.rtp.pcap   packets that could not be decoded, where there are any
//! <root>/<tenant id>/<yyyy>/<mm>/<dd>/<recording id>.wav.held   in place of .wav.part, on demand, until somebody asks for it
//! <root>/<tenant id>/<yyyy>/<mm>/<dd>/<recording id>.pcap       the dialog's messages, where the tenant keeps them
//! <root>/.callreel.lock                                         held by the daemon that writes here
//! <root>/.callreel.keys                                         ids of the keys that recordings are under
//! ```
//!
//! Nothing that came over the wire is ever part of a path. In: bytes and sidecars. Out: files that are whole, or named as
//! unfinished.

mod at_rest;
mod error;
mod file;
mod layout;
mod lock;
mod partition;
mod quality;
mod raw;
mod removal;
mod sidecar;
mod wav;

pub use at_rest::{KeyId, KeyLine, Keys};
pub use error::Error;
pub use file::StoredFile;
pub use layout::{Kind, Layout, RecordingName};
pub use lock::StorageLock;
pub use partition::{
    PartFile, Place, commit, fresh_sidecar, is_being_written, name_sidecar, sync_all,
    write_fresh_sidecar,
};
pub use quality::{LevelRecord, QualityRecord, RtcpRecord, StreamQualityRecord, VoipRecord};
pub use raw::{RAW_HEADER_LEN, RawPacket, RawReader, RawScale, raw_header};
pub use removal::{remove_empty_folders, remove_recording, remove_recordings};
pub use sidecar::{
    AttributionRecord, Cause, ControlRecord, DigitRecord, LinkRecord, ParticipantRecord,
    PartyRecord, RawRecord, RawState, RawStreamRecord, SIDECAR_VERSION, SegmentRecord, Sidecar,
    SignallingRecord, StreamRecord, SuspicionRecord, TransferRecord,
};
pub use wav::{HEADER_LEN, SampleFormat, WavFormat, WavInfo, read_wav_info};
