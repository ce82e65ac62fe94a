//! `a=crypto` lines of a session description (RFC 4568): which suite, which keys, what is different from the usual.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use smallvec::SmallVec;
use thiserror::Error;

use super::scan::trim;
use crate::base::Secret;

/// Keys kept of one line, the first ones; a line with more is refused.
pub const MAX_INLINE_KEYS: usize = 8;
/// Longest master key and salt in base64: twice what the largest suite has.
const MAX_KEY_TEXT: usize = 128;
/// RFC 4568 section 9.2.
const MAX_MKI_LENGTH: usize = 128;
/// A key encrypts no more packets than this (RFC 3711 section 9.2), as a power of two.
const LONGEST_LIFETIME: u32 = 48;
/// RFC 4568 section 6.3.1, as a power of two.
const LARGEST_KDR: u8 = 24;

/// Some phones leave the padding out, or let the last character hold bits that mean nothing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// One line, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CryptoLine<'a> {
    /// The answer repeats the tag of the line that it takes.
    pub tag: u32,
    /// As sent.
    pub suite: &'a str,
    /// At least one.
    pub keys: SmallVec<[InlineKey; 1]>,
    pub session: SessionParameters,
}

/// A master key with its salt, as long as the sender made them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InlineKey {
    pub master: Secret,
    /// Packets after which the sender has to take another key.
    pub lifetime: Option<u64>,
    /// What each packet carries to name this key: bytes in network order, 1 to 128. `None` where packets name none.
    pub mki: Option<SmallVec<[u8; 4]>>,
}

/// What a line says besides suite and keys (RFC 4568 section 6.3). Of no matter to who only listens, and read over: window
/// sizes, and the order and keys of forward error correction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionParameters {
    /// Session keys are derived anew every 2^n packets, 1 to 24; 0 for never.
    pub kdr: u8,
    pub unencrypted_srtp: bool,
    pub unencrypted_srtcp: bool,
    pub unauthenticated_srtp: bool,
}

/// Why a line is refused. Nothing of it is quoted: it holds a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CryptoError {
    #[error("its tag is no number")]
    Tag,
    #[error("it has no key")]
    NoKey,
    #[error("it has more than {MAX_INLINE_KEYS} keys")]
    TooManyKeys,
    #[error("its keys come by another way than inline")]
    Method,
    #[error("its key is not base64")]
    Base64,
    #[error("the lifetime of its key is none")]
    Lifetime,
    #[error("its master key identifier is none")]
    Mki,
    #[error("its keys are not told apart, or some by more bytes than others")]
    MkiMixed,
    #[error("a parameter that may not be ignored is not known, or its value is none")]
    Parameter,
}

impl<'a> CryptoLine<'a> {
    /// Reads what follows `a=crypto:`.
    ///
    /// # Errors
    /// When the line makes no sense, or asks for what may not be ignored and is not known.
    pub fn parse(text: &'a str) -> Result<CryptoLine<'a>, CryptoError> {
        let mut words = text.split_ascii_whitespace();
        let tag = words.next().unwrap_or("");
        // At most nine digits (RFC 4568 section 9.1).
        let tag = number(tag, 9).ok_or(CryptoError::Tag)? as u32;
        let suite = words.next().ok_or(CryptoError::NoKey)?;
        let keys = read_keys(words.next().ok_or(CryptoError::NoKey)?)?;
        let mut session = SessionParameters::default();
        words.try_for_each(|word| session.read(word))?;
        Ok(CryptoLine {
            tag,
            suite,
            keys,
            session,
        })
    }
}

/// `inline:…;inline:…`.
fn read_keys(text: &str) -> Result<SmallVec<[InlineKey; 1]>, CryptoError> {
    let mut keys = SmallVec::new();
    for param in text.split(';').filter(|param| !param.is_empty()) {
        if keys.len() == MAX_INLINE_KEYS {
            return Err(CryptoError::TooManyKeys);
        }
        keys.push(read_key(param)?);
    }
    let first = keys.first().ok_or(CryptoError::NoKey)?;
    // Where there are several, each packet says which; all say it in as many bytes (RFC 4568 section 6.1).
    let mki_len = |key: &InlineKey| key.mki.as_ref().map(SmallVec::len);
    let alike = keys.iter().all(|key| mki_len(key) == mki_len(first));
    if !alike || keys.len() > 1 && first.mki.is_none() {
        return Err(CryptoError::MkiMixed);
    }
    Ok(keys)
}

/// `inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4`, lifetime and identifier left out as a rule.
fn read_key(param: &str) -> Result<InlineKey, CryptoError> {
    let (method, info) = param.split_once(':').ok_or(CryptoError::Method)?;
    if !trim(method).eq_ignore_ascii_case("inline") {
        return Err(CryptoError::Method);
    }
    let mut parts = info.split('|');
    let text = trim(parts.next().unwrap_or(""));
    if text.is_empty() || text.len() > MAX_KEY_TEXT {
        return Err(CryptoError::Base64);
    }
    let master = BASE64.decode(text).map_err(|_| CryptoError::Base64)?;
    let mut key = InlineKey {
        master: Secret::new(master),
        lifetime: None,
        mki: None,
    };
    let mut part = parts.next();
    if let Some(text) = part.filter(|text| !text.contains(':')) {
        if !text.is_empty() {
            key.lifetime = Some(lifetime(text).ok_or(CryptoError::Lifetime)?);
        }
        part = parts.next();
    }
    if let Some(text) = part {
        key.mki = Some(identifier(text).ok_or(CryptoError::Mki)?);
    }
    match parts.next() {
        Some(_) => Err(CryptoError::Mki),
        None => Ok(key),
    }
}

/// `2^20` or `1048576`.
fn lifetime(text: &str) -> Option<u64> {
    let packets = match text.split_once('^') {
        Some(("2", power)) => {
            let power = number(power, 2).filter(|&power| power <= LONGEST_LIFETIME.into())?;
            1 << power
        }
        Some(_) => return None,
        None => number(text, 15)?,
    };
    (1..=1 << LONGEST_LIFETIME)
        .contains(&packets)
        .then_some(packets)
}

/// `1:4`: the number 1 in four bytes.
fn identifier(text: &str) -> Option<SmallVec<[u8; 4]>> {
    let (value, length) = text.split_once(':')?;
    let length = number(length, 3)? as usize;
    if !(1..=MAX_MKI_LENGTH).contains(&length) {
        return None;
    }
    // Numbers past 64 bits are within the grammar and in no device.
    let value = number(value, 19)?.to_be_bytes();
    let mut bytes: SmallVec<[u8; 4]> = SmallVec::from_elem(0, length.saturating_sub(8));
    let (spare, used) = value.split_at(8usize.saturating_sub(length));
    if spare.iter().any(|&byte| byte != 0) {
        return None;
    }
    bytes.extend_from_slice(used);
    Some(bytes)
}

/// Digits only, and no more of them than that (19 at most fit).
fn number(text: &str, digits: usize) -> Option<u64> {
    let plain =
        !text.is_empty() && text.len() <= digits && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

impl SessionParameters {
    fn read(&mut self, word: &str) -> Result<(), CryptoError> {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("KDR") {
            let kdr = number(value, 2).and_then(|kdr| u8::try_from(kdr).ok());
            self.kdr = kdr
                .filter(|kdr| *kdr <= LARGEST_KDR)
                .ok_or(CryptoError::Parameter)?;
        } else if is("UNENCRYPTED_SRTP") {
            self.unencrypted_srtp = true;
        } else if is("UNENCRYPTED_SRTCP") {
            self.unencrypted_srtcp = true;
        } else if is("UNAUTHENTICATED_SRTP") {
            self.unauthenticated_srtp = true;
        } else if !(is("WSH") || is("FEC_ORDER") || is("FEC_KEY") || name.starts_with('-')) {
            // What may be ignored begins with a hyphen (RFC 4568 section 6.3.7).
            return Err(CryptoError::Parameter);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "crypto_tests.rs"]
mod tests;
