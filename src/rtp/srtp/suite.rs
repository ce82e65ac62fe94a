//! The crypto suites of SDES, and the lengths of their parts.

use std::fmt;

use thiserror::Error;

/// A suite that can be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suite {
    AesCm128HmacSha1_80,
    AesCm128HmacSha1_32,
    Aes192CmHmacSha1_80,
    Aes192CmHmacSha1_32,
    Aes256CmHmacSha1_80,
    Aes256CmHmacSha1_32,
    AeadAes128Gcm,
    AeadAes256Gcm,
}

/// Why a suite cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SuiteError {
    /// Registered, and in no device that is known: F8, SEED, and what has no tag or no encryption.
    #[error("the suite is not supported")]
    Unsupported,
    #[error("the suite is not known")]
    Unknown,
}

/// Suites by their names: RFC 4568 section 6.2, RFC 6188 section 4, RFC 7714 section 14.1. Older phones and libraries turn
/// the length and the mode of RFC 6188's around.
const NAMES: &[(&str, Suite)] = &[
    ("AES_CM_128_HMAC_SHA1_80", Suite::AesCm128HmacSha1_80),
    ("AES_CM_128_HMAC_SHA1_32", Suite::AesCm128HmacSha1_32),
    ("AES_192_CM_HMAC_SHA1_80", Suite::Aes192CmHmacSha1_80),
    ("AES_192_CM_HMAC_SHA1_32", Suite::Aes192CmHmacSha1_32),
    ("AES_256_CM_HMAC_SHA1_80", Suite::Aes256CmHmacSha1_80),
    ("AES_256_CM_HMAC_SHA1_32", Suite::Aes256CmHmacSha1_32),
    ("AEAD_AES_128_GCM", Suite::AeadAes128Gcm),
    ("AEAD_AES_256_GCM", Suite::AeadAes256Gcm),
    ("AES_CM_192_HMAC_SHA1_80", Suite::Aes192CmHmacSha1_80),
    ("AES_CM_192_HMAC_SHA1_32", Suite::Aes192CmHmacSha1_32),
    ("AES_CM_256_HMAC_SHA1_80", Suite::Aes256CmHmacSha1_80),
    ("AES_CM_256_HMAC_SHA1_32", Suite::Aes256CmHmacSha1_32),
];

/// The rest of IANA's "SRTP Crypto Suite Registrations", and a name for SRTP without encryption that phones offer.
const UNSUPPORTED: &[&str] = &[
    "F8_128_HMAC_SHA1_80",
    "F8_128_HMAC_SHA1_32",
    "SEED_CTR_128_HMAC_SHA1_80",
    "SEED_128_CCM_80",
    "SEED_128_GCM_96",
    "NULL_HMAC_SHA1_80",
    "NULL_HMAC_SHA1_32",
    "NULL_SHA1_80",
    "NULL_SHA1_32",
];

impl Suite {
    pub const ALL: [Suite; 8] = [
        Suite::AesCm128HmacSha1_80,
        Suite::AesCm128HmacSha1_32,
        Suite::Aes192CmHmacSha1_80,
        Suite::Aes192CmHmacSha1_32,
        Suite::Aes256CmHmacSha1_80,
        Suite::Aes256CmHmacSha1_32,
        Suite::AeadAes128Gcm,
        Suite::AeadAes256Gcm,
    ];

    /// From its name in SDP, in any case.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn named(name: &str) -> Result<Suite, SuiteError> {
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        if let Some((_, suite)) = NAMES.iter().find(|(known, _)| is(known)) {
            Ok(*suite)
        } else if UNSUPPORTED.iter().any(|known| is(known)) {
            Err(SuiteError::Unsupported)
        } else {
            Err(SuiteError::Unknown)
        }
    }

    /// As registered.
    pub fn name(self) -> &'static str {
        let known = NAMES.iter().find(|(_, suite)| *suite == self);
        known.map_or("", |(name, _)| name)
    }

    pub(super) fn is_aead(self) -> bool {
        matches!(self, Suite::AeadAes128Gcm | Suite::AeadAes256Gcm)
    }

    /// Bytes of the master key, and of the session's cipher key.
    pub fn key_len(self) -> usize {
        match self {
            Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 | Suite::AeadAes128Gcm => 16,
            Suite::Aes192CmHmacSha1_80 | Suite::Aes192CmHmacSha1_32 => 24,
            Suite::Aes256CmHmacSha1_80 | Suite::Aes256CmHmacSha1_32 | Suite::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of the master salt.
    pub fn salt_len(self) -> usize {
        if self.is_aead() { 12 } else { 14 }
    }

    /// Bytes of the tag behind an RTP packet.
    pub fn tag_len(self) -> usize {
        match self {
            Suite::AesCm128HmacSha1_32
            | Suite::Aes192CmHmacSha1_32
            | Suite::Aes256CmHmacSha1_32 => 4,
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 16,
            _ => 10,
        }
    }

    /// Bytes of the tag behind an RTCP packet: 80 bits with the short suites too (RFC 4568 section 6.2.2).
    pub(super) fn rtcp_tag_len(self) -> usize {
        if self.is_aead() { 16 } else { 10 }
    }
}

impl fmt::Display for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_known_by_their_names() {
        for suite in Suite::ALL {
            assert_eq!(Suite::named(&suite.name().to_lowercase()), Ok(suite));
        }
        assert_eq!(
            Suite::named("AES_CM_256_HMAC_SHA1_32"),
            Ok(Suite::Aes256CmHmacSha1_32)
        );
        assert_eq!(
            Suite::named("F8_128_HMAC_SHA1_80"),
            Err(SuiteError::Unsupported)
        );
        assert_eq!(
            Suite::named("null_hmac_sha1_80"),
            Err(SuiteError::Unsupported)
        );
        assert_eq!(
            Suite::named("AES_CM_128_HMAC_SHA1"),
            Err(SuiteError::Unknown)
        );
    }

    /// RFC 4568 section 6.2, RFC 6188 section 4, RFC 7714 section 12.
    #[test]
    fn lengths_are_those_of_the_standards() {
        let lengths =
            Suite::ALL.map(|s| (s.key_len(), s.salt_len(), s.tag_len(), s.rtcp_tag_len()));
        let expected = [
            (16, 14, 10, 10),
            (16, 14, 4, 10),
            (24, 14, 10, 10),
            (24, 14, 4, 10),
            (32, 14, 10, 10),
            (32, 14, 4, 10),
            (16, 12, 16, 16),
            (32, 12, 16, 16),
        ];
        assert_eq!(lengths, expected);
    }
}
