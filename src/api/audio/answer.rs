//! The answer to a request for audio.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};
use tokio::sync::Semaphore;

use super::AudioDesk;
use super::file::AudioFile;
use super::name::attachment;
use super::ogg::OggOpus;
use super::range::{Span, Wanted, http_date, wanted};
use super::rendition::{Format, Rendition, read_samples};
use crate::api::problem::{Problem, Result};

/// Bytes read of a file for one step of an answer.
const STEP_BYTES: u64 = 128 << 10;
/// Frames encoded for one step: four seconds at 8 kHz.
const STEP_FRAMES: usize = 32_000;

/// What is done with the audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It is played where it is asked for.
    Playback,
    /// It is kept under this name, as [`download_name`](super::download_name) makes it.
    Download(String),
}

/// What a client asks of a recording.
#[derive(Debug)]
pub struct Asked<'h> {
    pub headers: &'h HeaderMap,
    pub format: Format,
    pub purpose: Purpose,
    /// Only the head of the answer is wanted.
    pub head: bool,
}

/// Answers with audio, or with what of it was asked for. `before` is done before anything is read: nothing is given unless
/// it succeeds. It is not done where the answer holds no audio.
///
/// # Errors
///
/// A problem of status 412 or 416 by the headers, and whatever `before` says.
pub async fn serve(
    desk: &AudioDesk,
    audio: AudioFile,
    asked: Asked<'_>,
    before: impl Future<Output = Result<()>>,
) -> Result<Response> {
    let tag = tag(&audio, asked.format);
    let modified = audio.modified;
    let ranges = asked.format != Format::Ogg;
    let wav = Rendition::new(audio.clone(), asked.format != Format::Stored);
    let length = wav.length();
    let wanted = wanted(asked.headers, length, &tag, modified, ranges);
    let gives_audio = matches!(wanted, Wanted::Whole | Wanted::Parts(_));
    if gives_audio && !asked.head {
        before.await?;
    }
    let mut response = match wanted {
        Wanted::Changed => return Err(Problem::stale()),
        Wanted::Unsatisfiable => return Ok(unsatisfiable(length)),
        Wanted::NotModified => StatusCode::NOT_MODIFIED.into_response(),
        _ if asked.head && !ranges => StatusCode::OK.into_response(),
        Wanted::Whole if !ranges => {
            Body::from_stream(encoded(audio, desk.workers.clone())).into_response()
        }
        Wanted::Whole => whole(wav, asked.format),
        Wanted::Parts(parts) => partial(wav, &parts, asked.format, &audio.fingerprint),
    };
    let headers = response.headers_mut();
    let text = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""));
    headers.insert(header::ETAG, text(&tag));
    headers.insert(header::LAST_MODIFIED, text(&http_date(modified)));
    // What was said is nobody's to find later.
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-store"),
    );
    let units = if ranges { "bytes" } else { "none" };
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static(units));
    let disposition = match &asked.purpose {
        Purpose::Playback => "inline".to_owned(),
        Purpose::Download(name) => attachment(name),
    };
    headers.insert(header::CONTENT_DISPOSITION, text(&disposition));
    if gives_audio && !headers.contains_key(header::CONTENT_TYPE)
        || headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind == "application/octet-stream")
    {
        headers.insert(header::CONTENT_TYPE, text(asked.format.content_type()));
    }
    Ok(response)
}

fn tag(audio: &AudioFile, format: Format) -> String {
    let name = match format {
        Format::Stored => "stored",
        Format::Wav => "wav",
        Format::Ogg => "ogg",
    };
    format!("\"{}-{name}\"", audio.fingerprint)
}

fn unsatisfiable(length: u64) -> Response {
    let title = "The recording has no such part";
    let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "no_such_range", title)
        .detail(format!("it has {length} bytes"));
    let mut response = problem.into_response();
    if let Ok(range) = HeaderValue::from_str(&format!("bytes */{length}")) {
        response.headers_mut().insert(header::CONTENT_RANGE, range);
    }
    response
}

/// A stretch of an answer's body.
#[derive(Clone, Debug)]
enum Piece {
    Text(Bytes),
    Audio(Span),
}

impl Piece {
    fn length(&self) -> u64 {
        match self {
            Piece::Text(text) => text.len() as u64,
            Piece::Audio((from, to)) => to - from,
        }
    }
}

fn whole(wav: Rendition, format: Format) -> Response {
    let length = wav.length();
    of_pieces(wav, vec![Piece::Audio((0, length))], format.content_type())
}

fn partial(wav: Rendition, parts: &[Span], format: Format, fingerprint: &str) -> Response {
    let length = wav.length();
    let range = |&(from, to): &Span| format!("bytes {from}-{}/{length}", to.saturating_sub(1));
    let mut response = match parts {
        [one] => {
            let mut response = of_pieces(wav, vec![Piece::Audio(*one)], format.content_type());
            if let Ok(range) = HeaderValue::from_str(&range(one)) {
                response.headers_mut().insert(header::CONTENT_RANGE, range);
            }
            response
        }
        several => {
            let boundary = format!("callreel-{fingerprint}");
            let mut pieces = Vec::new();
            for part in several {
                let head = format!(
                    "\r\n--{boundary}\r\nContent-Type: {}\r\nContent-Range: {}\r\n\r\n",
                    format.content_type(),
                    range(part),
                );
                pieces.extend([Piece::Text(head.into()), Piece::Audio(*part)]);
            }
            pieces.push(Piece::Text(format!("\r\n--{boundary}--\r\n").into()));
            let kind = format!("multipart/byteranges; boundary={boundary}");
            of_pieces(wav, pieces, &kind)
        }
    };
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    response
}

fn of_pieces(wav: Rendition, pieces: Vec<Piece>, content_type: &str) -> Response {
    let length: u64 = pieces.iter().map(Piece::length).sum();
    let mut response = Body::from_stream(read(Arc::new(wav), pieces)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Ok(kind) = HeaderValue::from_str(content_type) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    response
}

/// The pieces, read a step at a time and no sooner than they are wanted.
fn read(wav: Arc<Rendition>, pieces: Vec<Piece>) -> impl Stream<Item = io::Result<Bytes>> {
    let pieces: std::collections::VecDeque<Piece> = pieces.into();
    stream::try_unfold((wav, pieces), |(wav, mut pieces)| async move {
        let span = match pieces.pop_front() {
            None => return Ok(None),
            Some(Piece::Text(text)) => return Ok(Some((text, (wav, pieces)))),
            Some(Piece::Audio(span)) => span,
        };
        let (from, to) = (span.0, span.1.min(span.0 + STEP_BYTES));
        if to < span.1 {
            pieces.push_front(Piece::Audio((to, span.1)));
        }
        let reader = wav.clone();
        let bytes = tokio::task::spawn_blocking(move || reader.read(from, to));
        let bytes = bytes.await.map_err(io::Error::other)??;
        Ok(Some((Bytes::from(bytes), (wav, pieces))))
    })
}

/// A recording being encoded.
struct Encoding {
    audio: AudioFile,
    ogg: Option<OggOpus>,
    at: u64,
}

impl Encoding {
    /// The next pages; empty at the end. Blocks.
    fn step(&mut self) -> io::Result<Vec<u8>> {
        let format = self.audio.info.format;
        let mut samples = Vec::new();
        read_samples(&self.audio, self.at, STEP_FRAMES, &mut samples)?;
        self.at += (samples.len() / 2) as u64;
        let mut ogg = match self.ogg.take() {
            Some(ogg) => ogg,
            None if self.at > 0 && samples.is_empty() => return Ok(Vec::new()),
            None => OggOpus::new(format.sample_rate_hz, 2, false).map_err(io::Error::other)?,
        };
        let mut pages = ogg.push(&samples).map_err(io::Error::other)?;
        if self.at >= self.audio.info.frames {
            pages.extend(ogg.finish().map_err(io::Error::other)?);
            // So that the next step is the end, also of a recording without a sample.
            self.at = self.at.max(1);
        } else {
            self.ogg = Some(ogg);
        }
        Ok(pages)
    }
}

/// The recording as Opus, encoded no sooner than it is wanted, and with others in turn.
fn encoded(audio: AudioFile, workers: Arc<Semaphore>) -> impl Stream<Item = io::Result<Bytes>> {
    let encoding = Encoding {
        audio,
        ogg: None,
        at: 0,
    };
    stream::try_unfold((encoding, workers), |(mut encoding, workers)| async move {
        let turn = workers
            .clone()
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        let step = tokio::task::spawn_blocking(move || {
            let pages = encoding.step();
            drop(turn);
            pages.map(|pages| (pages, encoding))
        });
        let (pages, encoding) = step.await.map_err(io::Error::other)??;
        Ok(match pages.is_empty() {
            true => None,
            false => Some((Bytes::from(pages), (encoding, workers))),
        })
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::process::Command;

    use http_body_util::BodyExt;

    use super::super::file::tests::{TENANT, format, write};
    use super::*;
    use crate::storage::{HEADER_LEN, Keys, Layout, RecordingName, SampleFormat, StoredFile};

    struct Tried {
        status: u16,
        headers: HeaderMap,
        body: Vec<u8>,
        audited: bool,
    }

    impl Tried {
        fn header(&self, name: &str) -> &str {
            self.headers
                .get(name)
                .map_or("", |value| value.to_str().unwrap())
        }
    }

    async fn ask(audio: &AudioFile, kind: Format, head: bool, pairs: &[(&str, &str)]) -> Tried {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(
                name.parse::<header::HeaderName>().unwrap(),
                value.parse().unwrap(),
            );
        }
        let audited = Cell::new(false);
        let asked = Asked {
            headers: &headers,
            format: kind,
            purpose: Purpose::Playback,
            head,
        };
        let before = async {
            audited.set(true);
            Ok(())
        };
        let desk = AudioDesk::default();
        let answer = serve(&desk, audio.clone(), asked, before).await;
        let (head, body) = answer
            .unwrap_or_else(IntoResponse::into_response)
            .into_parts();
        Tried {
            status: head.status.as_u16(),
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes().to_vec(),
            audited: audited.get(),
        }
    }

    fn recording(kind: SampleFormat, frames: usize) -> (tempfile::TempDir, AudioFile, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let format = format(kind, 8000);
        let bytes: Vec<u8> = (0..frames * format.frame_bytes() as usize)
            .map(|n| (n * 7 / 3) as u8)
            .collect();
        let place = write(folder.path(), 1, format, &bytes);
        let audio = AudioFile::open(&Layout::new(folder.path()), TENANT, &place).unwrap();
        let whole = [format.header(frames as u64), bytes].concat();
        (folder, audio, whole)
    }

    #[tokio::test]
    async fn the_whole_and_its_parts_are_what_is_stored() {
        let (_folder, audio, bytes) = recording(SampleFormat::Pcm16, 100_000);
        let whole = ask(&audio, Format::Stored, false, &[]).await;
        assert_eq!(
            (whole.status, whole.body == bytes, whole.audited),
            (200, true, true)
        );
        assert_eq!(whole.header("content-length"), bytes.len().to_string());
        assert_eq!(whole.header("content-type"), "audio/wav");
        assert_eq!(whole.header("accept-ranges"), "bytes");
        let part = ask(
            &audio,
            Format::Stored,
            false,
            &[("range", "bytes=4000-299999")],
        )
        .await;
        assert_eq!(part.status, 206);
        assert_eq!(part.body, bytes[4000..300_000]);
        let range = format!("bytes 4000-299999/{}", bytes.len());
        assert_eq!(part.header("content-range"), range);
        assert_eq!(part.header("etag"), whole.header("etag"));
        let several = [("range", "bytes=0-3,200000-200003,-4")];
        let several = ask(&audio, Format::Stored, false, &several).await;
        assert_eq!(several.status, 206);
        let boundary = several
            .header("content-type")
            .split_once("boundary=")
            .unwrap()
            .1;
        let text = several.body.clone();
        for (from, to) in [(0, 4), (200_000, 200_004), (bytes.len() - 4, bytes.len())] {
            let mut expected = format!(
                "\r\n--{boundary}\r\nContent-Type: audio/wav\r\nContent-Range: bytes {from}-{}/{}\r\n\r\n",
                to - 1,
                bytes.len()
            )
            .into_bytes();
            expected.extend(&bytes[from..to]);
            assert!(
                text.windows(expected.len())
                    .any(|window| window == expected)
            );
        }
        assert_eq!(
            several.header("content-length"),
            several.body.len().to_string()
        );
    }

    #[tokio::test]
    async fn an_encrypted_recording_is_heard_as_any_other() {
        let frames: Vec<u8> = (0..60_000u32).map(|n| (n * 31 % 251) as u8).collect();
        let folder = tempfile::tempdir().unwrap();
        let keys = Arc::new(Keys::at(folder.path().join("recordings.key")));
        let layout = Layout::new(folder.path()).with_keys(keys);
        for kind in [SampleFormat::Pcm16, SampleFormat::Ulaw] {
            let place = write(folder.path(), 1, format(kind, 8000), &frames);
            let open = || AudioFile::open(&layout, TENANT, &place).unwrap();
            let plain = open();
            let (name, of) = RecordingName::parse(place.as_ref()).unwrap();
            let bytes = plain.file.read_to_end().unwrap();
            std::fs::remove_file(plain.file.path()).unwrap();
            let sealed = StoredFile::create(&layout, &name, of, true).unwrap();
            sealed.write_at(&bytes, 0).unwrap();
            let sealed = open();
            assert!(sealed.file.is_encrypted() && !plain.file.is_encrypted());
            let far = [("range", "bytes=4000-4200,50000-50010,-1")];
            let one = [("range", "bytes=8159-12300")];
            for (format, pairs) in [
                (Format::Stored, &[][..]),
                (Format::Stored, &far),
                (Format::Wav, &one),
                (Format::Ogg, &[]),
            ] {
                let (before, now) = (
                    ask(&plain, format, false, pairs).await,
                    ask(&sealed, format, false, pairs).await,
                );
                assert_eq!(now.status, before.status);
                // Boundaries are made of fingerprints, which tell one file from another.
                let body = String::from_utf8_lossy(&now.body);
                let body = body.replace(&sealed.fingerprint, &plain.fingerprint);
                assert!(body == String::from_utf8_lossy(&before.body), "{format:?}");
            }
        }
    }

    #[tokio::test]
    async fn nothing_is_audited_where_nothing_is_heard() {
        let (_folder, audio, bytes) = recording(SampleFormat::Pcm16, 100);
        let head = ask(&audio, Format::Stored, true, &[]).await;
        assert_eq!((head.status, head.audited), (200, false));
        assert_eq!(head.header("content-length"), bytes.len().to_string());
        let tag = head.header("etag").to_owned();
        let again = ask(&audio, Format::Stored, false, &[("if-none-match", &tag)]).await;
        assert_eq!(
            (again.status, again.body.len(), again.audited),
            (304, 0, false)
        );
        let beyond = ask(&audio, Format::Stored, false, &[("range", "bytes=9999-")]).await;
        assert_eq!((beyond.status, beyond.audited), (416, false));
        assert_eq!(
            beyond.header("content-range"),
            format!("bytes */{}", bytes.len())
        );
        let other = ask(&audio, Format::Stored, false, &[("if-match", "\"x\"")]).await;
        assert_eq!((other.status, other.audited), (412, false));
    }

    #[tokio::test]
    async fn what_is_not_audited_is_not_given() {
        let (_folder, audio, _) = recording(SampleFormat::Pcm16, 100);
        let headers = HeaderMap::new();
        let asked = Asked {
            headers: &headers,
            format: Format::Stored,
            purpose: Purpose::Playback,
            head: false,
        };
        let refused = async { Err(Problem::unavailable()) };
        let answer = serve(&AudioDesk::default(), audio, asked, refused).await;
        assert_eq!(answer.unwrap_err().details().status, 503);
    }

    #[tokio::test]
    async fn ranges_of_computed_pcm_are_those_of_the_whole() {
        let (_folder, audio, _) = recording(SampleFormat::Alaw, 100_000);
        let stored = ask(&audio, Format::Stored, false, &[]).await;
        let whole = ask(&audio, Format::Wav, false, &[]).await;
        assert_eq!(whole.body.len() as u64, HEADER_LEN + 400_000);
        assert_ne!(whole.header("etag"), stored.header("etag"));
        let part = ask(
            &audio,
            Format::Wav,
            false,
            &[("range", "bytes=4095-250001")],
        )
        .await;
        assert_eq!(part.body, whole.body[4095..250_002]);
    }

    /// Decoded by ffmpeg, where it is there.
    #[tokio::test]
    async fn opus_is_as_long_as_the_recording() {
        let (folder, audio, _) = recording(SampleFormat::Ulaw, 100_123);
        let answer = ask(&audio, Format::Ogg, false, &[("range", "bytes=0-1")]).await;
        assert_eq!(
            (answer.status, answer.header("accept-ranges")),
            (200, "none")
        );
        assert_eq!(answer.header("content-type"), "audio/ogg; codecs=opus");
        assert!(answer.body.len() < 100_000, "{} bytes", answer.body.len());
        let path = folder.path().join("x.ogg");
        std::fs::write(&path, &answer.body).unwrap();
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(["-v", "error", "-i"]).arg(&path);
        ffmpeg.args(["-f", "s16le", "-ar", "8000", "-"]);
        let Ok(decoded) = ffmpeg.output() else { return };
        assert!(decoded.status.success() && decoded.stderr.is_empty());
        assert!(
            decoded.stdout.len().abs_diff(400_492) <= 8,
            "{}",
            decoded.stdout.len()
        );
    }
}
