//! Signed texts of links: what is not signed leads nowhere, and no database is asked.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

use crate::base::Timestamp;

const TAG_BYTES: usize = 16;

/// The text of a link: its id and a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareToken(pub Uuid);

impl ShareToken {
    pub fn to_text(self, key: &[u8; 32]) -> String {
        signed(key, "share", self.0.as_bytes())
    }

    /// None where the text was not signed with the key.
    pub fn parse(text: &str, key: &[u8; 32]) -> Option<ShareToken> {
        let bytes: [u8; 16] = verified(key, "share", text)?;
        Some(ShareToken(Uuid::from_bytes(bytes)))
    }
}

/// That a link was opened, and its audio may be heard until a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    pub share: Uuid,
    pub until: Timestamp,
}

impl Grant {
    pub fn to_text(self, key: &[u8; 32]) -> String {
        let until = self.until.as_nanos().to_be_bytes();
        signed(key, "grant", &[&self.share.as_bytes()[..], &until].concat())
    }

    /// None where the text was not signed with the key, or its time is over.
    pub fn parse(text: &str, key: &[u8; 32], now: Timestamp) -> Option<Grant> {
        let bytes: [u8; 24] = verified(key, "grant", text)?;
        let (share, until) = bytes.split_at_checked(16)?;
        let until = Timestamp::from_nanos(i64::from_be_bytes(until.try_into().ok()?));
        let share = Uuid::from_slice(share).ok()?;
        (now < until).then_some(Grant { share, until })
    }
}

fn mac(key: &[u8; 32], purpose: &str, bytes: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(purpose.as_bytes());
    mac.update(&[0]);
    mac.update(bytes);
    mac
}

fn signed(key: &[u8; 32], purpose: &str, bytes: &[u8]) -> String {
    let tag = mac(key, purpose, bytes).finalize().into_bytes();
    let tag = tag.get(..TAG_BYTES).unwrap_or_default();
    BASE64_URL_SAFE_NO_PAD.encode([bytes, tag].concat())
}

fn verified<const N: usize>(key: &[u8; 32], purpose: &str, text: &str) -> Option<[u8; N]> {
    // Longer than any of ours: not even read.
    if text.len() > 128 {
        return None;
    }
    let all = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    let (bytes, tag) = all.split_at_checked(N)?;
    if tag.len() != TAG_BYTES {
        return None;
    }
    mac(key, purpose, bytes).verify_truncated_left(tag).ok()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_reads_back_with_its_key_only(id: u128, key: [u8; 32], other: [u8; 32], flip in 0..32usize) {
            let token = ShareToken(Uuid::from_u128(id));
            let text = token.to_text(&key);
            prop_assert_eq!(ShareToken::parse(&text, &key), Some(token));
            if key != other {
                prop_assert_eq!(ShareToken::parse(&text, &other), None);
            }
            let mut bytes = BASE64_URL_SAFE_NO_PAD.decode(&text).unwrap();
            bytes[flip] ^= 1;
            prop_assert_eq!(ShareToken::parse(&BASE64_URL_SAFE_NO_PAD.encode(bytes), &key), None);
        }

        #[test]
        fn any_text_is_read_without_harm(text in any::<String>()) {
            prop_assert_eq!(ShareToken::parse(&text, &[7; 32]), None);
        }
    }

    #[test]
    fn a_grant_ends_and_is_no_token() {
        let key = [7; 32];
        let at = Timestamp::from_nanos;
        let grant = Grant {
            share: Uuid::from_u128(5),
            until: at(100),
        };
        let text = grant.to_text(&key);
        assert_eq!(Grant::parse(&text, &key, at(99)), Some(grant));
        assert_eq!(Grant::parse(&text, &key, at(100)), None);
        assert_eq!(ShareToken::parse(&text, &key), None);
        assert_eq!(
            Grant::parse(&ShareToken(grant.share).to_text(&key), &key, at(0)),
            None
        );
    }
}
