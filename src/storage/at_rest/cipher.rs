//! The header and the chunks of an encrypted file.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use super::keys::{KeyId, StorageKey};
use crate::storage::{Kind, RecordingName};

const MAGIC: &[u8; 16] = b"callreel-sealed\n";
const VERSION: u8 = 1;
/// Bytes before the first chunk.
const HEADER: u64 = 128;
/// Bytes from the beginning of a chunk to that of the next, but for the first, which ends there too.
pub const CHUNK: u64 = 4096;
const NONCE: usize = 12;
const TAG: usize = 16;
const OVERHEAD: u64 = (NONCE + TAG) as u64;
/// Bytes of content in the first chunk.
const IN_FIRST: u64 = CHUNK - HEADER - OVERHEAD;
/// Bytes of content in any other.
const PER_CHUNK: u64 = CHUNK - OVERHEAD;

/// What a file's key is bound to.
fn binding(name: &RecordingName, kind: Kind) -> Vec<u8> {
    let content: u8 = match kind {
        Kind::Audio | Kind::AudioPart | Kind::AudioHeld | Kind::AudioNew => 1,
        Kind::Sidecar | Kind::SidecarPart | Kind::SidecarNew => 2,
        Kind::Raw | Kind::RawPart => 3,
        Kind::Signalling | Kind::SignallingPart => 4,
    };
    let mut bytes = Vec::with_capacity(MAGIC.len() + 34);
    bytes.extend(MAGIC);
    bytes.extend([VERSION, content]);
    bytes.extend(name.tenant.0.as_bytes());
    bytes.extend(name.id.0.as_bytes());
    bytes
}

/// What an encrypted file begins with.
pub struct Header {
    pub key: KeyId,
    nonce: [u8; 24],
    wrapped: [u8; 48],
}

impl Header {
    pub const LEN: usize = HEADER as usize;

    /// A key of its own for the file of `kind` of the recording with `name`, and the header that holds it.
    pub fn draw(
        storage: &StorageKey,
        name: &RecordingName,
        kind: Kind,
    ) -> io::Result<(Header, FileKey)> {
        let mut own = Zeroizing::new([0; 32]);
        getrandom::fill(own.as_mut_slice()).map_err(io::Error::other)?;
        Ok((
            Header::wrap(&own, storage, name, kind)?,
            FileKey::new(&own)?,
        ))
    }

    fn wrap(
        own: &[u8; 32],
        storage: &StorageKey,
        name: &RecordingName,
        kind: Kind,
    ) -> io::Result<Header> {
        let mut nonce = [0; 24];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let payload = Payload {
            msg: own.as_slice(),
            aad: &binding(name, kind),
        };
        let wrapped = (XChaCha20Poly1305::new(storage.bytes().into()))
            .encrypt(&XNonce::from(nonce), payload)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or_else(|| io::Error::other("a key cannot be encrypted"))?;
        Ok(Header {
            key: storage.id(),
            nonce,
            wrapped,
        })
    }

    /// `None` when the file does not begin like an encrypted one.
    pub fn parse(bytes: &[u8; Header::LEN]) -> Option<Header> {
        let (magic, rest) = bytes.split_first_chunk::<16>()?;
        let (version, rest) = rest.split_first_chunk::<8>()?;
        let (key, rest) = rest.split_first_chunk::<8>()?;
        let (nonce, rest) = rest.split_first_chunk::<24>()?;
        let (wrapped, _) = rest.split_first_chunk::<48>()?;
        (magic == MAGIC && version[0] == VERSION).then_some(Header {
            key: KeyId(*key),
            nonce: *nonce,
            wrapped: *wrapped,
        })
    }

    pub fn to_bytes(&self) -> [u8; Header::LEN] {
        let parts = [MAGIC.as_slice(), &[VERSION], &[0; 7]];
        let parts = parts
            .into_iter()
            .chain([&self.key.0[..], &self.nonce, &self.wrapped]);
        let mut bytes = [0; Header::LEN];
        for (to, from) in bytes.iter_mut().zip(parts.flatten()) {
            *to = *from;
        }
        bytes
    }

    /// The file's key; `None` when the header was changed, or is that of another recording or kind.
    pub fn open(&self, storage: &StorageKey, name: &RecordingName, kind: Kind) -> Option<FileKey> {
        FileKey::new(&*self.unwrap(storage, name, kind)?).ok()
    }

    /// The same header under another key of the storage; `None` as [`Header::open`].
    pub fn rewrap(
        &self,
        from: &StorageKey,
        to: &StorageKey,
        name: &RecordingName,
        kind: Kind,
    ) -> Option<io::Result<Header>> {
        let own = self.unwrap(from, name, kind)?;
        Some(Header::wrap(&own, to, name, kind))
    }

    fn unwrap(
        &self,
        storage: &StorageKey,
        name: &RecordingName,
        kind: Kind,
    ) -> Option<Zeroizing<[u8; 32]>> {
        let payload = Payload {
            msg: &self.wrapped,
            aad: &binding(name, kind),
        };
        let own = (XChaCha20Poly1305::new(storage.bytes().into()))
            .decrypt(&XNonce::from(self.nonce), payload)
            .map(Zeroizing::new)
            .ok()?;
        own.as_slice().try_into().map(Zeroizing::new).ok()
    }
}

/// The key of one file.
pub struct FileKey {
    key: LessSafeKey,
    /// Of the nonces of whoever opened it: with what was written under another prefix no nonce comes twice.
    prefix: [u8; 8],
    /// Chunks written.
    count: AtomicU64,
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileKey(…)")
    }
}

impl FileKey {
    fn new(bytes: &[u8; 32]) -> io::Result<FileKey> {
        let mut prefix = [0; 8];
        getrandom::fill(&mut prefix).map_err(io::Error::other)?;
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(refused)?;
        Ok(FileKey {
            key: LessSafeKey::new(key),
            prefix,
            count: AtomicU64::new(0),
        })
    }

    /// Appends the chunk with this number, and with what `content` appends.
    ///
    /// # Errors
    /// What `content` says; and after 2^32 chunks written, since no nonce may come twice.
    pub fn seal(
        &self,
        number: u64,
        out: &mut Vec<u8>,
        content: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
    ) -> io::Result<()> {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let count = u32::try_from(count)
            .map_err(|_| io::Error::other("too many parts of one file were written"))?;
        let mut nonce = [0; NONCE];
        nonce[..8].copy_from_slice(&self.prefix);
        nonce[8..].copy_from_slice(&count.to_le_bytes());
        out.extend(nonce);
        let begin = out.len();
        content(out)?;
        let tag = self.key.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(number.to_le_bytes()),
            &mut out[begin..],
        );
        out.extend_from_slice(tag.map_err(refused)?.as_ref());
        Ok(())
    }

    /// The content of a chunk; `None` when it is not what was written there.
    pub fn open<'a>(&self, number: u64, chunk: &'a mut [u8]) -> Option<&'a [u8]> {
        let (nonce, sealed) = chunk.split_first_chunk_mut::<NONCE>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let content = (self.key)
            .open_in_place(nonce, Aad::from(number.to_le_bytes()), sealed)
            .ok()?;
        Some(content)
    }
}

fn refused(_: ring::error::Unspecified) -> io::Error {
    io::Error::other("the cipher refuses")
}

/// Where a chunk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    pub number: u64,
    /// Bytes of the content that it can hold.
    pub content: Range<u64>,
    /// Where it begins in the file.
    pub offset: u64,
}

impl Spot {
    fn with_number(number: u64) -> Spot {
        let begin = match number {
            0 => 0,
            n => IN_FIRST + (n - 1) * PER_CHUNK,
        };
        let end = IN_FIRST + number * PER_CHUNK;
        let offset = match number {
            0 => HEADER,
            n => n * CHUNK,
        };
        Spot {
            number,
            content: begin..end,
            offset,
        }
    }

    fn at(position: u64) -> Spot {
        let number = match position.checked_sub(IN_FIRST) {
            None => 0,
            Some(behind) => 1 + behind / PER_CHUNK,
        };
        Spot::with_number(number)
    }

    /// Bytes in the file of a chunk with so much content.
    pub fn sealed_len(content: u64) -> u64 {
        content + OVERHEAD
    }
}

/// The chunks that hold `range` of the content.
pub fn spots(range: Range<u64>) -> impl Iterator<Item = Spot> {
    let first = Spot::at(range.start).number;
    let end = match range.is_empty() {
        true => first,
        false => Spot::at(range.end - 1).number + 1,
    };
    (first..end).map(Spot::with_number)
}

/// Bytes of a file with `content` bytes.
pub fn disk_len(content: u64) -> u64 {
    match content.checked_sub(1) {
        None => HEADER,
        Some(last) => {
            let spot = Spot::at(last);
            spot.offset + Spot::sealed_len(content - spot.content.start)
        }
    }
}

/// Bytes of content in a file of `len` bytes. A chunk that was cut off within what surrounds its content has none.
pub fn plain_len(len: u64) -> u64 {
    let Some(last) = len.checked_sub(1).filter(|last| *last >= HEADER) else {
        return 0;
    };
    let spot = Spot::with_number(last / CHUNK);
    spot.content.start + (len - spot.offset).saturating_sub(OVERHEAD)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn chunks_end_where_pages_do() {
        assert_eq!(disk_len(0), HEADER);
        assert_eq!(disk_len(IN_FIRST), CHUNK);
        assert_eq!(disk_len(IN_FIRST + 1), CHUNK + OVERHEAD + 1);
        assert_eq!(disk_len(IN_FIRST + PER_CHUNK), 2 * CHUNK);
        let offsets: Vec<u64> = spots(0..IN_FIRST + 2 * PER_CHUNK)
            .map(|spot| spot.offset)
            .collect();
        assert_eq!(offsets, [HEADER, CHUNK, 2 * CHUNK]);
    }

    proptest! {
        #[test]
        fn lengths_come_back(content in 0u64..1 << 40) {
            prop_assert_eq!(plain_len(disk_len(content)), content);
        }

        #[test]
        fn chunks_lie_side_by_side_and_hold_what_was_asked_for(from in 0u64..20_000, len in 0u64..20_000) {
            let found: Vec<Spot> = spots(from..from + len).collect();
            for pair in found.windows(2) {
                prop_assert_eq!(pair[0].content.end, pair[1].content.start);
                let end = pair[0].offset + Spot::sealed_len(pair[0].content.end - pair[0].content.start);
                prop_assert_eq!(end, pair[1].offset);
            }
            if let (Some(first), Some(last)) = (found.first(), found.last()) {
                prop_assert!(first.content.contains(&from));
                prop_assert!(last.content.contains(&(from + len - 1)));
            }
            prop_assert_eq!(found.is_empty(), len == 0);
        }
    }
}
