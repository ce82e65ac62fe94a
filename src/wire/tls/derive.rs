//! Keys out of secrets: the PRF of TLS 1.2 (RFC 5246 section 5), HKDF-Expand-Label of TLS 1.3 (RFC 8446 section 7.1).

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha384};
use zeroize::Zeroizing;

use super::suite::Hash;

/// `length` bytes of the PRF of TLS 1.2.
pub(super) fn prf(
    hash: Hash,
    secret: &[u8],
    label: &[u8],
    seed: &[u8],
    length: usize,
) -> Zeroizing<Vec<u8>> {
    let seed = [label, seed].concat();
    let mut output = Zeroizing::new(Vec::with_capacity(length + hash.length()));
    let mut a = hmac(hash, secret, &[&seed]);
    while output.len() < length {
        output.extend_from_slice(&hmac(hash, secret, &[&a, &seed]));
        a = hmac(hash, secret, &[&a]);
    }
    output.truncate(length);
    output
}

/// HKDF-Expand-Label with an empty context. `length` is at most that of the hash, as it is for all that TLS makes of traffic
/// secrets: so there is one block.
pub(super) fn expand_label(
    hash: Hash,
    secret: &[u8],
    label: &[u8],
    length: usize,
) -> Zeroizing<Vec<u8>> {
    let length = length.min(hash.length());
    let mut info = vec![0, length as u8, 6 + label.len() as u8];
    info.extend_from_slice(b"tls13 ");
    info.extend_from_slice(label);
    info.extend([0, 1]);
    let mut output = hmac(hash, secret, &[&info]);
    output.truncate(length);
    output
}

/// HMAC over the parts, one after the other.
pub(super) fn hmac(hash: Hash, key: &[u8], parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    match hash {
        Hash::Sha1 => mac::<Hmac<sha1::Sha1>>(key, parts),
        Hash::Sha256 => mac::<Hmac<Sha256>>(key, parts),
        Hash::Sha384 => mac::<Hmac<Sha384>>(key, parts),
    }
}

fn mac<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    Zeroizing::new(mac.finalize().into_bytes().to_vec())
}
