//! Records opened: AEAD and CBC with HMAC (RFC 5246 section 6.2.3, RFC 8446 section 5.2).

use aes::cipher::BlockCipherDecrypt;
use aes::{Aes128, Aes256};
use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use chacha20poly1305::ChaCha20Poly1305;
use zeroize::Zeroizing;

use super::derive::{expand_label, hmac, prf};
use super::record::Record;
use super::secrets::Secret;
use super::suite::{Cipher, Hash, Suite};

const BLOCK: usize = 16;
const TAG: usize = 16;
/// The nonce of GCM and ChaCha20-Poly1305.
const NONCE: usize = 12;
/// GCM in TLS 1.2: the part of the nonce that is in each record (RFC 5288 section 3).
const EXPLICIT_NONCE: usize = 8;

/// What was in a record.
pub(super) struct Opened {
    /// As in the header of a record: handshake, application data …
    pub kind: u8,
    pub bytes: Vec<u8>,
}

/// Which side of a connection sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    Client,
    Server,
}

/// Opens the records of one direction, until its keys change. Holds no place in the sequence.
pub(super) struct Opener {
    key: Key,
    /// TLS 1.2 GCM: its first four bytes. CBC: none.
    iv: Zeroizing<Vec<u8>>,
    /// TLS 1.3, with the secret that the next keys are made of.
    traffic: Option<(Hash, Secret)>,
    suite: Suite,
}

enum Key {
    Aes128Gcm(Box<Aes128Gcm>),
    Aes256Gcm(Box<Aes256Gcm>),
    ChaCha20Poly1305(Box<ChaCha20Poly1305>),
    Cbc(Box<CbcKey>),
}

struct CbcKey {
    block: BlockKey,
    mac: Hash,
    mac_key: Zeroizing<Vec<u8>>,
    encrypt_then_mac: bool,
}

enum BlockKey {
    Aes128(Aes128),
    Aes256(Aes256),
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Opener({:?})", self.suite.cipher)
    }
}

impl Opener {
    /// TLS 1.2: out of the master secret and both randoms.
    pub(super) fn of_session(
        suite: Suite,
        master: &Secret,
        client_random: &[u8; 32],
        server_random: &[u8; 32],
        sender: Sender,
        encrypt_then_mac: bool,
    ) -> Option<Opener> {
        let (mac, key, iv) = match suite.cipher {
            Cipher::Aes128Gcm => (0, 16, 4),
            Cipher::Aes256Gcm => (0, 32, 4),
            Cipher::ChaCha20Poly1305 => (0, 32, NONCE),
            Cipher::AesCbc { key, mac } => (mac.length(), key, 0),
        };
        let seed = [&server_random[..], &client_random[..]].concat();
        let length = 2 * (mac + key + iv);
        let block = prf(suite.hash, master.bytes(), b"key expansion", &seed, length);
        // First all of the client's and the server's MAC keys, then their keys, then their IVs.
        let mut rest: &[u8] = &block;
        let mut part = |length: usize| {
            let (client, after) = rest.split_at_checked(length)?;
            let (server, after) = after.split_at_checked(length)?;
            rest = after;
            Some(match sender {
                Sender::Client => client,
                Sender::Server => server,
            })
        };
        let (mac_key, key, iv) = (part(mac)?, part(key)?, part(iv)?);
        let key = match suite.cipher {
            Cipher::AesCbc { mac, .. } => Key::Cbc(Box::new(CbcKey {
                block: BlockKey::new(key)?,
                mac,
                mac_key: Zeroizing::new(mac_key.to_vec()),
                encrypt_then_mac,
            })),
            cipher => Key::aead(cipher, key)?,
        };
        Some(Opener {
            key,
            iv: Zeroizing::new(iv.to_vec()),
            traffic: None,
            suite,
        })
    }

    /// TLS 1.3: out of a traffic secret (RFC 8446 section 7.3).
    pub(super) fn of_traffic(suite: Suite, secret: &Secret) -> Option<Opener> {
        let length = match suite.cipher {
            Cipher::Aes128Gcm => 16,
            _ => 32,
        };
        if secret.bytes().len() != suite.hash.length() {
            return None;
        }
        let key = expand_label(suite.hash, secret.bytes(), b"key", length);
        Some(Opener {
            key: Key::aead(suite.cipher, &key)?,
            iv: expand_label(suite.hash, secret.bytes(), b"iv", NONCE),
            traffic: Some((suite.hash, secret.clone())),
            suite,
        })
    }

    /// TLS 1.3: what follows a KeyUpdate (RFC 8446 section 7.2).
    pub(super) fn next_generation(&self) -> Option<Opener> {
        let (hash, secret) = self.traffic.as_ref()?;
        let next = expand_label(*hash, secret.bytes(), b"traffic upd", hash.length());
        Opener::of_traffic(self.suite, &Secret::new(&next)?)
    }

    /// The content of the record with number `sequence`, if it is that.
    pub(super) fn open(&self, record: &Record, sequence: u64) -> Option<Opened> {
        match (&self.key, &self.traffic) {
            (Key::Cbc(key), _) => key.open(record, sequence),
            (_, Some(_)) => self.open_13(record, sequence),
            (_, None) => self.open_12(record, sequence),
        }
    }

    fn open_13(&self, record: &Record, sequence: u64) -> Option<Opened> {
        let nonce = self.mixed_nonce(sequence)?;
        let mut bytes = self.key.decrypt(&nonce, &record.header, &record.body)?;
        // The type is the last byte that is not padding (RFC 8446 section 5.4).
        let end = bytes.iter().rposition(|&byte| byte != 0)?;
        let kind = bytes.get(end).copied()?;
        bytes.truncate(end);
        Some(Opened { kind, bytes })
    }

    fn open_12(&self, record: &Record, sequence: u64) -> Option<Opened> {
        let (nonce, sealed) = match self.suite.cipher {
            Cipher::ChaCha20Poly1305 => (self.mixed_nonce(sequence)?, &*record.body),
            _ => {
                let (explicit, sealed) = record.body.split_at_checked(EXPLICIT_NONCE)?;
                let nonce = [&self.iv, explicit].concat();
                (*nonce.first_chunk()?, sealed)
            }
        };
        let length = sealed.len().checked_sub(TAG)?;
        let bound = bound(record, sequence, length);
        let bytes = self.key.decrypt(&nonce, &bound, sealed)?;
        Some(Opened {
            kind: record.kind(),
            bytes,
        })
    }

    fn mixed_nonce(&self, sequence: u64) -> Option<[u8; NONCE]> {
        let mut nonce = *self.iv.first_chunk::<NONCE>()?;
        let low = nonce.iter_mut().skip(NONCE - 8);
        low.zip(sequence.to_be_bytes())
            .for_each(|(byte, more)| *byte ^= more);
        Some(nonce)
    }
}

/// What TLS 1.2 binds to a record's content: its number, type, version and length.
fn bound(record: &Record, sequence: u64, length: usize) -> [u8; 13] {
    let mut bound = [0; 13];
    bound[..8].copy_from_slice(&sequence.to_be_bytes());
    bound[8..11].copy_from_slice(&record.header[..3]);
    bound[11..].copy_from_slice(&(length as u16).to_be_bytes());
    bound
}

impl Key {
    fn aead(cipher: Cipher, key: &[u8]) -> Option<Key> {
        Some(match cipher {
            Cipher::Aes128Gcm => Key::Aes128Gcm(Box::new(Aes128Gcm::new_from_slice(key).ok()?)),
            Cipher::Aes256Gcm => Key::Aes256Gcm(Box::new(Aes256Gcm::new_from_slice(key).ok()?)),
            Cipher::ChaCha20Poly1305 => {
                Key::ChaCha20Poly1305(Box::new(ChaCha20Poly1305::new_from_slice(key).ok()?))
            }
            Cipher::AesCbc { .. } => return None,
        })
    }

    fn decrypt(&self, nonce: &[u8; NONCE], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let payload = Payload { msg: sealed, aad };
        match self {
            Key::Aes128Gcm(key) => key.decrypt(nonce.into(), payload),
            Key::Aes256Gcm(key) => key.decrypt(nonce.into(), payload),
            Key::ChaCha20Poly1305(key) => key.decrypt(nonce.into(), payload),
            Key::Cbc(_) => return None,
        }
        .ok()
    }
}

impl CbcKey {
    fn open(&self, record: &Record, sequence: u64) -> Option<Opened> {
        let bytes = match self.encrypt_then_mac {
            true => self.open_encrypt_then_mac(record, sequence)?,
            false => self.open_mac_then_encrypt(record, sequence)?,
        };
        Some(Opened {
            kind: record.kind(),
            bytes,
        })
    }

    /// RFC 7366 section 3.
    fn open_encrypt_then_mac(&self, record: &Record, sequence: u64) -> Option<Vec<u8>> {
        let split = record.body.len().checked_sub(self.mac.length())?;
        let (sealed, mac) = record.body.split_at_checked(split)?;
        let bound = bound(record, sequence, sealed.len());
        if *hmac(self.mac, &self.mac_key, &[&bound, sealed]) != *mac {
            return None;
        }
        let mut bytes = self.decrypt(sealed)?;
        bytes.truncate(unpadded(&bytes)?);
        Some(bytes)
    }

    /// RFC 5246 section 6.2.3.2. Nobody learns from how long it takes: nothing is answered.
    fn open_mac_then_encrypt(&self, record: &Record, sequence: u64) -> Option<Vec<u8>> {
        let mut bytes = self.decrypt(&record.body)?;
        let length = unpadded(&bytes)?.checked_sub(self.mac.length())?;
        let (content, rest) = bytes.split_at_checked(length)?;
        let mac = rest.get(..self.mac.length())?;
        let bound = bound(record, sequence, length);
        if *hmac(self.mac, &self.mac_key, &[&bound, content]) != *mac {
            return None;
        }
        bytes.truncate(length);
        Some(bytes)
    }

    /// An explicit IV, then blocks.
    fn decrypt(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (blocks, []) = sealed.as_chunks::<BLOCK>() else {
            return None;
        };
        let (iv, blocks) = blocks.split_first()?;
        let mut bytes = Vec::with_capacity(blocks.len() * BLOCK);
        let mut before = iv;
        for block in blocks {
            let plain = self.block.decrypt(*block);
            bytes.extend(plain.iter().zip(before).map(|(byte, mask)| byte ^ mask));
            before = block;
        }
        Some(bytes)
    }
}

/// Length without padding, each byte of which says how much more there is.
fn unpadded(bytes: &[u8]) -> Option<usize> {
    let &last = bytes.last()?;
    let length = bytes.len().checked_sub(usize::from(last) + 1)?;
    bytes
        .get(length..)?
        .iter()
        .all(|&byte| byte == last)
        .then_some(length)
}

impl BlockKey {
    fn new(key: &[u8]) -> Option<BlockKey> {
        match key.len() {
            16 => Aes128::new_from_slice(key).ok().map(BlockKey::Aes128),
            _ => Aes256::new_from_slice(key).ok().map(BlockKey::Aes256),
        }
    }

    fn decrypt(&self, block: [u8; BLOCK]) -> [u8; BLOCK] {
        let mut block = block.into();
        match self {
            BlockKey::Aes128(key) => key.decrypt_block(&mut block),
            BlockKey::Aes256(key) => key.decrypt_block(&mut block),
        }
        block.into()
    }
}
