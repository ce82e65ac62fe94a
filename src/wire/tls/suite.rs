//! Cipher suites (the IANA registry "TLS Cipher Suites"), as far as they are read.

/// How records are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cipher {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20Poly1305,
    /// AES in CBC mode, with a key of so many bytes, and HMAC (RFC 5246 section 6.2.3.2).
    AesCbc {
        key: usize,
        mac: Hash,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha1,
    Sha256,
    Sha384,
}

impl Hash {
    /// Length of its output in bytes.
    pub(super) fn length(self) -> usize {
        match self {
            Hash::Sha1 => 20,
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suite {
    pub cipher: Cipher,
    /// Of the PRF in TLS 1.2, of HKDF in TLS 1.3.
    pub hash: Hash,
}

/// The three suites of TLS 1.3 that are in use (RFC 8446 appendix B.4).
pub(super) fn tls13(id: u16) -> Option<Suite> {
    let (cipher, hash) = match id {
        0x1301 => (Cipher::Aes128Gcm, Hash::Sha256),
        0x1302 => (Cipher::Aes256Gcm, Hash::Sha384),
        0x1303 => (Cipher::ChaCha20Poly1305, Hash::Sha256),
        _ => return None,
    };
    Some(Suite { cipher, hash })
}

/// The suites of TLS 1.2, whatever their key exchange: RFC 5246, 5288, 5289, 5487, 5489, 7905, 8422, 8442.
pub(super) fn tls12(id: u16) -> Option<Suite> {
    let cbc = |key, mac| Cipher::AesCbc { key, mac };
    let (cipher, hash) = match id {
        0x009c | 0x009e | 0x00a0 | 0x00a2 | 0x00a4 | 0x00a6 | 0x00a8 | 0x00aa | 0x00ac | 0xc02b
        | 0xc02d | 0xc02f | 0xc031 | 0xd001 => (Cipher::Aes128Gcm, Hash::Sha256),
        0x009d | 0x009f | 0x00a1 | 0x00a3 | 0x00a5 | 0x00a7 | 0x00a9 | 0x00ab | 0x00ad | 0xc02c
        | 0xc02e | 0xc030 | 0xc032 | 0xd002 => (Cipher::Aes256Gcm, Hash::Sha384),
        0xcca8..=0xccae => (Cipher::ChaCha20Poly1305, Hash::Sha256),
        0x002f..=0x0034
        | 0x008c
        | 0x0090
        | 0x0094
        | 0xc004
        | 0xc009
        | 0xc00e
        | 0xc013
        | 0xc018
        | 0xc035 => (cbc(16, Hash::Sha1), Hash::Sha256),
        0x0035..=0x003a
        | 0x008d
        | 0x0091
        | 0x0095
        | 0xc005
        | 0xc00a
        | 0xc00f
        | 0xc014
        | 0xc019
        | 0xc036 => (cbc(32, Hash::Sha1), Hash::Sha256),
        0x003c
        | 0x003e..=0x0040
        | 0x0067
        | 0x006c
        | 0x00ae
        | 0x00b2
        | 0x00b6
        | 0xc023
        | 0xc025
        | 0xc027
        | 0xc029
        | 0xc037 => (cbc(16, Hash::Sha256), Hash::Sha256),
        0x003d | 0x0068..=0x006b | 0x006d => (cbc(32, Hash::Sha256), Hash::Sha256),
        0x00af | 0x00b3 | 0x00b7 | 0xc024 | 0xc026 | 0xc028 | 0xc02a | 0xc038 => {
            (cbc(32, Hash::Sha384), Hash::Sha384)
        }
        _ => return None,
    };
    Some(Suite { cipher, hash })
}
