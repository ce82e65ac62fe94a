use std::path::PathBuf;

/// Why a room of secrets could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot use the key file {path} (access.key_file): {reason}", path = path.display())]
    KeyFile { path: PathBuf, reason: String },
}
