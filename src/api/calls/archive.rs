//! Many recordings as one ZIP: streamed as it is read, nothing compressed, since audio hardly shrinks.

use std::io::{self, BufReader, BufWriter, Write};

use axum::body::{Body, Bytes};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

use crate::api::live::Place;
use crate::storage::{Kind, Layout, RecordingName, StoredFile};

/// Pieces that wait for a slow client. More are not read from the disk meanwhile.
const WAITING: usize = 4;
const PIECE_BYTES: usize = 256 << 10;

/// A file of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    pub recording: RecordingName,
    /// Of ids and times only.
    pub name: String,
}

/// The archive, as it is being made on a thread for blocking work. A file that cannot be opened is named in `missing.txt`; one
/// that fails later breaks the answer off, so that nobody takes a part for the whole.
///
/// `place` is kept until nobody reads any more.
pub fn pack(layout: Layout, files: Vec<Packed>, place: Place) -> Body {
    let (pieces, received) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let pipe = BufWriter::with_capacity(PIECE_BYTES, Pipe(pieces.clone()));
        if let Err(error) = write(&layout, files, pipe) {
            tracing::info!(%error, "a ZIP was broken off");
            _ = pieces.blocking_send(Err(error));
        }
        drop(place);
    });
    Body::from_stream(ReceiverStream::new(received))
}

fn write(layout: &Layout, files: Vec<Packed>, pipe: impl Write) -> io::Result<()> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .large_file(true);
    let mut zip = ZipWriter::new_stream(pipe);
    let mut missing = Vec::new();
    for Packed { recording, name } in files {
        match StoredFile::open(layout, &recording, Kind::Audio) {
            Ok(file) => {
                zip.start_file(name, options).map_err(io::Error::other)?;
                io::copy(
                    &mut BufReader::with_capacity(PIECE_BYTES, file.reader()),
                    &mut zip,
                )?;
            }
            Err(error) => {
                tracing::warn!(%error, "a recording is missing in a ZIP");
                missing.push(name);
            }
        }
    }
    if !missing.is_empty() {
        zip.start_file("missing.txt", options)
            .map_err(io::Error::other)?;
        zip.write_all((missing.join("\n") + "\n").as_bytes())?;
    }
    zip.finish().map_err(io::Error::other)?.flush()
}

struct Pipe(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(bytes);
        match self.0.blocking_send(Ok(piece)) {
            Ok(()) => Ok(bytes.len()),
            Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
