//! The bytes of a capture, whatever packed them: plain, gzip or zstd, told apart by content.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Error;
use super::error::is_standard_input;

/// Bytes of packed input that are read at once.
const PACKED_BYTES: usize = 128 * 1024;

/// An opened capture, before anything is known about its format.
pub(super) struct Input {
    /// The unpacked bytes.
    pub(super) reader: Box<dyn Read + Send>,
    /// Bytes read from the file itself so far.
    pub(super) progress: Arc<AtomicU64>,
    /// `None` when the file itself has it plain.
    pub(super) packing: Option<&'static str>,
}

/// Opens a path, `-` being standard input, and unpacks it if it is packed.
pub(super) fn open(path: &Path) -> Result<Input, Error> {
    let failed = |source| Error::Open {
        path: path.to_owned(),
        source,
    };
    let file = open_file(path).map_err(failed)?;
    let progress = Arc::new(AtomicU64::new(0));
    let counted = Counted {
        file,
        progress: Arc::clone(&progress),
    };
    let (reader, packing) = unpack(counted).map_err(failed)?;
    Ok(Input {
        reader,
        progress,
        packing,
    })
}

/// Size of the file in bytes; `None` for a pipe.
pub(super) fn size(path: &Path) -> Option<u64> {
    let file = if is_standard_input(path) {
        open_file(path).ok()?.metadata().ok()?
    } else {
        std::fs::metadata(path).ok()?
    };
    file.is_file().then_some(file.len())
}

fn open_file(path: &Path) -> io::Result<File> {
    if is_standard_input(path) {
        // A second descriptor, because the buffer of `std::io::stdin` would copy every byte once more.
        return io::stdin().as_fd().try_clone_to_owned().map(File::from);
    }
    let file = File::open(path)?;
    // Advice only: a pipe has none to take.
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
    Ok(file)
}

type Unpacked = (Box<dyn Read + Send>, Option<&'static str>);

fn unpack(mut input: Counted) -> io::Result<Unpacked> {
    let mut magic = [0; 4];
    let mut len = 0;
    while let Some(spare) = magic.get_mut(len..).filter(|spare| !spare.is_empty()) {
        match input.read(spare) {
            Ok(0) => break,
            Ok(count) => len += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let start = magic.get(..len).unwrap_or_default().to_vec();
    let whole = Cursor::new(start).chain(input);
    Ok(match magic {
        [0x1f, 0x8b, ..] => {
            let packed = BufReader::with_capacity(PACKED_BYTES, whole);
            let reader = flate2::bufread::MultiGzDecoder::new(packed);
            (Box::new(reader), Some("gzip"))
        }
        // The second is a frame to be skipped, which parallel packers write first.
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
            let packed = BufReader::with_capacity(PACKED_BYTES, whole);
            let reader = zstd::stream::read::Decoder::with_buffer(packed)?;
            (Box::new(reader), Some("zstd"))
        }
        _ => (Box::new(whole), None),
    })
}

/// Counts what is read from a file, for progress bars.
struct Counted {
    file: File,
    progress: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into)?;
        self.progress.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
