//! Recordings encrypted where they rest.
//!
//! Every file of such a recording (audio, sidecar, packets, messages) has the name that it would have otherwise, and holds
//!
//! ```text
//! 0     16   "callreel-sealed\n"
//! 16    1    version: 1
//! 17    7    zeros
//! 24    8    which key of the storage the next is encrypted under: BLAKE3 of it
//! 32    24   nonce
//! 56    48   the file's own key, XChaCha20-Poly1305
//! 104   24   zeros
//! 128        chunks, each to the next multiple of 4,096: nonce (12), ciphertext, tag (16), AES-256-GCM with the chunk's number
//! ```
//!
//! The key of a file opens only under the name of its tenant and recording and for its kind of content: a file that lies in
//! the place of another opens nothing. A chunk lies within one page and is written as a whole, so that a kill leaves the one
//! before or the one after, and any part can be read and written without the others. What was changed does not open. What an
//! owner of the disk can do without a key is to cut the end off, which the header of the audio and the sidecar tell, to put
//! back an earlier version of a chunk of the same file, and to put a file that is not encrypted in its place. To shorten a file
//! takes two steps: a kill between them costs the last chunk.
//!
//! In: bytes and their places. Out: the same, and pages that tell nothing without the key.

mod cipher;
mod keys;

pub(super) use cipher::{CHUNK, FileKey, Header, Spot, disk_len, plain_len, spots};
pub use keys::{KeyId, KeyLine, Keys};
