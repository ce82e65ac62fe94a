//! Session keys, and what is done with them: one direction of RTP, or of RTCP.

use ctr::cipher::KeyInit;
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use zeroize::{Zeroize, Zeroizing};

use super::Suite;
use super::cipher::{Aes, BLOCK};

/// Bytes of the salt of counter mode; AEAD's is shorter, and is followed by zeros.
const SALT: usize = 14;
/// Bytes of the key of HMAC-SHA1 (RFC 3711 section 5.2).
const AUTH_KEY: usize = 20;

/// Whose session keys are derived: the labels of RFC 3711 section 4.3 begin here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Rtp = 0,
    Rtcp = 3,
}

/// The keys that a stretch of packets is protected with.
#[derive(Clone)]
pub struct Session {
    aes: Aes,
    salt: [u8; SALT],
    auth: Auth,
}

#[derive(Clone)]
enum Auth {
    /// Keyed, and fed nothing yet.
    Hmac(Hmac<Sha1>),
    Ghash(GHash),
}

impl Drop for Session {
    fn drop(&mut self) {
        // The others wipe themselves.
        self.salt.zeroize();
    }
}

impl Session {
    /// Derives the keys for packets whose index divided by the derivation rate is `r` (RFC 3711 section 4.3.1); 0 where they
    /// are derived once. `None` when `key` is no AES key, or `salt` too long for one.
    pub fn derive(
        suite: Suite,
        key: &[u8],
        salt: &[u8],
        protocol: Protocol,
        r: u64,
    ) -> Option<Session> {
        let master = Aes::new(key)?;
        // A salt of AEAD is the upper 96 bits of the 112 that the derivation takes (RFC 7714 section 11).
        let mut master_salt = Zeroizing::new([0; SALT]);
        master_salt.get_mut(..salt.len())?.copy_from_slice(salt);
        let stream = |label: u8, out: &mut [u8]| {
            let label = protocol as u8 + label;
            master.apply(derivation_block(&master_salt, label, r), out);
        };
        let mut session_key = Zeroizing::new([0; 32]);
        let session_key = &mut session_key[..suite.key_len()];
        stream(0, session_key);
        let mut auth_key = Zeroizing::new([0; AUTH_KEY]);
        stream(1, &mut *auth_key);
        let mut session_salt = Zeroizing::new([0; SALT]);
        stream(2, &mut session_salt[..suite.salt_len()]);
        Session::from_keys(suite, session_key, &*auth_key, &session_salt)
    }

    /// From keys that are derived already. AEAD has no `auth_key`.
    pub(super) fn from_keys(
        suite: Suite,
        key: &[u8],
        auth_key: &[u8],
        salt: &[u8; SALT],
    ) -> Option<Session> {
        let aes = Aes::new(key)?;
        let auth = if suite.is_aead() {
            let hash_key = Zeroizing::new(aes.encrypt([0; BLOCK]));
            Auth::Ghash(GHash::new(&(*hash_key).into()))
        } else {
            Auth::Hmac(<Hmac<Sha1> as KeyInit>::new_from_slice(auth_key).ok()?)
        };
        Some(Session {
            aes,
            salt: *salt,
            auth,
        })
    }

    /// Opens one packet: `aad` is authenticated, `body` authenticated and deciphered to the end of `out` (copied where
    /// `is_encrypted` is false), `trailer` authenticated only. With AEAD the trailer is a part of the associated data, and
    /// so is a body that is not encrypted. Nothing is left in `out` when the tag is wrong.
    #[inline]
    pub fn open(&self, parts: &Parts<'_>, tag: &[u8], out: &mut Vec<u8>) -> bool {
        match &self.auth {
            Auth::Hmac(hmac) => {
                let mac = fed(hmac, parts).chain_update(parts.trailer);
                if mac.verify_truncated_left(tag).is_err() {
                    return false;
                }
                self.decipher(parts, self.counter(parts.ssrc, parts.index), out);
            }
            Auth::Ghash(ghash) => {
                let counter = self.aead_counter(parts);
                if !same(&self.aead_tag(ghash, parts, parts.body, counter), tag) {
                    return false;
                }
                self.decipher(parts, next(counter), out);
            }
        }
        true
    }

    fn decipher(&self, parts: &Parts<'_>, counter: [u8; BLOCK], out: &mut Vec<u8>) {
        let from = out.len();
        out.extend_from_slice(parts.body);
        if parts.is_encrypted {
            self.aes.apply(counter, &mut out[from..]);
        }
    }

    /// Of several trailers, the first under which `tag` is right. Feeds what is before the trailer only once.
    pub fn find_trailer(
        &self,
        parts: &Parts<'_>,
        tag: &[u8],
        mut trailers: impl Iterator<Item = u32>,
    ) -> Option<u32> {
        let Auth::Hmac(hmac) = &self.auth else {
            return None;
        };
        let mac = fed(hmac, parts);
        trailers.find(|trailer| {
            let mac = mac.clone().chain_update(trailer.to_be_bytes());
            mac.verify_truncated_left(tag).is_ok()
        })
    }

    /// The opposite of [`Session::open`]: appends the body to `out`, and gives the tag, of which a suite may take only the
    /// beginning.
    pub fn seal(&self, parts: &Parts<'_>, out: &mut Vec<u8>) -> [u8; 20] {
        let from = out.len();
        let mut tag = [0; 20];
        match &self.auth {
            Auth::Hmac(hmac) => {
                self.decipher(parts, self.counter(parts.ssrc, parts.index), out);
                let body = &out[from..];
                let mac = fed(hmac, &Parts { body, ..*parts }).chain_update(parts.trailer);
                tag.copy_from_slice(&mac.finalize().into_bytes());
            }
            Auth::Ghash(ghash) => {
                let counter = self.aead_counter(parts);
                self.decipher(parts, next(counter), out);
                tag[..BLOCK].copy_from_slice(&self.aead_tag(ghash, parts, &out[from..], counter));
            }
        }
        tag
    }

    /// RFC 3711 section 4.1.1.
    fn counter(&self, ssrc: u32, index: u64) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[..SALT].copy_from_slice(&self.salt);
        xor(&mut block[4..8], &ssrc.to_be_bytes());
        xor(&mut block[8..14], &index.to_be_bytes()[2..]);
        block
    }

    /// The first counter block of GCM, whose nonce is that of RFC 7714 section 8.1: the same for RTCP, whose index has 31 bits.
    fn aead_counter(&self, parts: &Parts<'_>) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[..12].copy_from_slice(&self.salt[..12]);
        xor(&mut block[2..6], &parts.ssrc.to_be_bytes());
        xor(&mut block[6..12], &parts.index.to_be_bytes()[2..]);
        block[15] = 1;
        block
    }

    /// NIST SP 800-38D section 7.1.
    fn aead_tag(
        &self,
        ghash: &GHash,
        parts: &Parts<'_>,
        body: &[u8],
        counter: [u8; BLOCK],
    ) -> [u8; BLOCK] {
        let mut ghash = ghash.clone();
        let clear = if parts.is_encrypted { &[][..] } else { body };
        let body = if parts.is_encrypted { body } else { &[] };
        let aad_len = match (clear, parts.trailer) {
            ([], []) => {
                ghash.update_padded(parts.header);
                parts.header.len()
            }
            _ => {
                let aad = [parts.header, clear, parts.trailer].concat();
                ghash.update_padded(&aad);
                aad.len()
            }
        };
        ghash.update_padded(body);
        let mut lengths = [0; BLOCK];
        lengths[..8].copy_from_slice(&(aad_len as u64 * 8).to_be_bytes());
        lengths[8..].copy_from_slice(&(body.len() as u64 * 8).to_be_bytes());
        ghash.update_padded(&lengths);
        let mut tag: [u8; BLOCK] = ghash.finalize().into();
        xor(&mut tag, &self.aes.encrypt(counter));
        tag
    }
}

/// What a packet is authenticated and deciphered by.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    pub header: &'a [u8],
    pub body: &'a [u8],
    /// What follows the body where the tag is made: the rollover counter of RTP, the index of RTCP.
    pub trailer: &'a [u8],
    pub is_encrypted: bool,
    pub ssrc: u32,
    /// 48 bits.
    pub index: u64,
}

fn fed(hmac: &Hmac<Sha1>, parts: &Parts<'_>) -> Hmac<Sha1> {
    hmac.clone()
        .chain_update(parts.header)
        .chain_update(parts.body)
}

/// RFC 3711 section 4.3.3: the label and `r` at the end of the salt, and two bytes to count blocks with.
fn derivation_block(salt: &[u8; SALT], label: u8, r: u64) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..SALT].copy_from_slice(salt);
    block[7] ^= label;
    xor(&mut block[8..14], &r.to_be_bytes()[2..]);
    block
}

/// The block after the one that GCM's tag is made with.
fn next(mut counter: [u8; BLOCK]) -> [u8; BLOCK] {
    counter[15] = 2;
    counter
}

fn xor(bytes: &mut [u8], with: &[u8]) {
    bytes.iter_mut().zip(with).for_each(|(a, b)| *a ^= b);
}

/// Whether two tags are equal, in the same time wherever they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differ = a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b));
    a.len() == b.len() && differ == 0
}
