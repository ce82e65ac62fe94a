//! What opens doors by being known: tokens of sessions, of services, and of letters.
//!
//! All are drawn from 256 bits, shown once, and kept as a hash. A plain hash is enough: nobody guesses 256 bits, so there is
//! nothing that slowness or salt could protect.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::random;

/// What is kept of a token: BLAKE3 under a context for each kind, so that no token is taken for one of another kind.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    pub(super) fn of(kind: &str, secret: &[u8]) -> TokenHash {
        let mut hasher = blake3::Hasher::new_derive_key("callreel 2026 tokens and codes");
        hasher.update(&(kind.len() as u64).to_le_bytes());
        hasher.update(kind.as_bytes());
        hasher.update(secret);
        TokenHash(*hasher.finalize().as_bytes())
    }

    /// As it was kept; None for anything but 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<TokenHash> {
        bytes.try_into().ok().map(TokenHash)
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// In constant time.
impl PartialEq for TokenHash {
    fn eq(&self, other: &TokenHash) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for TokenHash {}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(…)")
    }
}

macro_rules! token {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(Zeroizing<[u8; 32]>);

        impl $name {
            pub fn drawn() -> $name {
                $name(random())
            }

            /// The token, to be handed out once: 43 characters of base64url.
            pub fn reveal(&self) -> Zeroizing<String> {
                Zeroizing::new(URL_SAFE_NO_PAD.encode(self.0.as_slice()))
            }

            /// As it came back; None when it cannot be one.
            pub fn parse(text: &str) -> Option<$name> {
                if text.len() != 43 {
                    return None;
                }
                let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text).ok()?);
                let bytes = <[u8; 32]>::try_from(bytes.as_slice()).ok()?;
                Some($name(Zeroizing::new(bytes)))
            }

            /// What is kept of it.
            pub fn hash(&self) -> TokenHash {
                TokenHash::of($kind, self.0.as_slice())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(…)"))
            }
        }
    };
}

token!(
    /// What a browser shows to be who signed in.
    SessionToken,
    "session"
);
token!(
    /// What a letter carries to who has forgotten a password.
    ResetToken,
    "reset"
);

impl SessionToken {
    /// What a page of ours has to send beside the cookie when it changes something; a foreign page cannot know it, and it
    /// does not tell the session's token.
    pub fn csrf(&self) -> Zeroizing<String> {
        let proof = TokenHash::of("csrf", self.0.as_slice());
        Zeroizing::new(URL_SAFE_NO_PAD.encode(proof.bytes()))
    }

    /// Whether `sent` is [`SessionToken::csrf`], in constant time.
    pub fn is_csrf(&self, sent: &str) -> bool {
        self.csrf().as_bytes().ct_eq(sent.as_bytes()).into()
    }
}

/// How every token of a service begins: for people, and for programs that search texts for secrets.
pub const SERVICE_TOKEN_PREFIX: &str = "crl_";

/// Characters of a service's token.
const SERVICE_TOKEN_LEN: usize = SERVICE_TOKEN_PREFIX.len() + SECRET_DIGITS + CHECK_DIGITS;

/// 256 bits in base 62.
const SECRET_DIGITS: usize = 43;

/// 32 bits in base 62.
const CHECK_DIGITS: usize = 6;

/// What a program shows to be a service account: `crl_`, 256 bits and their CRC-32, both in base 62.
///
/// The checksum tells a token from what looks like one, without asking the catalog.
#[derive(Clone)]
pub struct ServiceToken(Zeroizing<String>);

impl ServiceToken {
    pub fn drawn() -> ServiceToken {
        let secret = base62(random::<32>().as_slice(), SECRET_DIGITS);
        let check = base62(&crc32(secret.as_bytes()).to_be_bytes(), CHECK_DIGITS);
        ServiceToken(Zeroizing::new(
            [SERVICE_TOKEN_PREFIX, &secret, &check].concat(),
        ))
    }

    /// The token, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// As it came back; None when prefix, length or checksum say that it is none.
    pub fn parse(text: &str) -> Option<ServiceToken> {
        if text.len() != SERVICE_TOKEN_LEN || !text.is_ascii() {
            return None;
        }
        let body = text.strip_prefix(SERVICE_TOKEN_PREFIX)?;
        let (secret, check) = body.split_at_checked(SECRET_DIGITS)?;
        let expected = base62(&crc32(secret.as_bytes()).to_be_bytes(), CHECK_DIGITS);
        let well_formed = body.bytes().all(|c| c.is_ascii_alphanumeric()) && *expected == *check;
        well_formed.then(|| ServiceToken(Zeroizing::new(text.to_owned())))
    }

    /// What is kept of it.
    pub fn hash(&self) -> TokenHash {
        TokenHash::of("service", self.0.as_bytes())
    }

    /// Its first characters, by which people tell their tokens apart: `crl_` and four more.
    pub fn hint(&self) -> &str {
        &self.0[..SERVICE_TOKEN_PREFIX.len() + 4]
    }
}

impl fmt::Debug for ServiceToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceToken(…)")
    }
}

/// A big-endian number in base 62, `digits` long.
fn base62(bytes: &[u8], digits: usize) -> Zeroizing<String> {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut number = Zeroizing::new(bytes.to_vec());
    let mut text = Zeroizing::new(vec![b'0'; digits]);
    for place in text.iter_mut().rev() {
        let mut rest = 0_u32;
        for byte in number.iter_mut() {
            let value = (rest << 8) | u32::from(*byte);
            (*byte, rest) = ((value / 62) as u8, value % 62);
        }
        *place = LETTERS[rest as usize];
    }
    Zeroizing::new(text.iter().copied().map(char::from).collect())
}

/// CRC-32 of IEEE 802.3, as zlib has it.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            let low = crc & 1;
            (crc >> 1) ^ (low.wrapping_neg() & 0xedb8_8320)
        })
    };
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_as_they_went() {
        let token = SessionToken::drawn();
        let text = token.reveal();
        assert_eq!(text.len(), 43);
        assert_eq!(SessionToken::parse(&text).unwrap().hash(), token.hash());
        assert_ne!(SessionToken::drawn().hash(), token.hash());
        for wrong in ["", "abc", &text[1..], &format!("{}!", &text[1..])] {
            assert!(SessionToken::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_token_of_one_kind_is_none_of_another() {
        let text = SessionToken::drawn().reveal();
        let (session, reset) = (SessionToken::parse(&text), ResetToken::parse(&text));
        assert_ne!(session.unwrap().hash(), reset.unwrap().hash());
    }

    #[test]
    fn the_csrf_token_belongs_to_its_session_and_does_not_tell_it() {
        let (token, other) = (SessionToken::drawn(), SessionToken::drawn());
        assert!(token.is_csrf(&token.csrf()));
        assert!(
            !token.is_csrf(&other.csrf()) && !token.is_csrf("") && !token.is_csrf(&token.reveal())
        );
    }

    #[test]
    fn a_service_token_is_recognised_without_asking_anybody() {
        let token = ServiceToken::drawn();
        let text = token.reveal();
        assert!(text.starts_with("crl_") && text.len() == 53, "{text}");
        assert!(text[4..].bytes().all(|c| c.is_ascii_alphanumeric()));
        assert_eq!(ServiceToken::parse(text).unwrap().hash(), token.hash());
        assert_eq!(token.hint(), &text[..8]);
    }

    #[test]
    fn a_mistyped_service_token_is_none() {
        let token = ServiceToken::drawn();
        let text = token.reveal();
        for at in 0..text.len() {
            let other = if &text[at..=at] == "x" { "y" } else { "x" };
            let mut wrong = text.to_owned();
            wrong.replace_range(at..=at, other);
            assert!(ServiceToken::parse(&wrong).is_none(), "{wrong}");
        }
        assert!(ServiceToken::parse(&text[..52]).is_none());
        assert!(ServiceToken::parse(&format!("crl_é{}", &text[6..])).is_none());
    }

    /// The check value of CRC-32/ISO-HDLC, and what Python's zlib says.
    #[test]
    fn the_checksum_is_that_of_zlib() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn base_62_keeps_every_bit() {
        assert_eq!(*base62(&[0xff; 4], 6), *"4gfFC3");
        assert_eq!(*base62(&[0; 32], 43), *"0".repeat(43));
        assert_eq!(*base62(&61_u32.to_be_bytes(), 2), *"0z");
        assert_eq!(*base62(&62_u32.to_be_bytes(), 2), *"10");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_token_or_not(text in "\\PC{0,60}") {
            let _ = (SessionToken::parse(&text), ResetToken::parse(&text), ServiceToken::parse(&text));
        }

        #[test]
        fn base_62_of_two_numbers_differs(a: [u8; 32], b: [u8; 32]) {
            proptest::prop_assert_eq!(base62(&a, 43) == base62(&b, 43), a == b);
        }
    }

    #[test]
    fn shows_nothing_of_tokens() {
        let shown = format!("{:?} {:?}", SessionToken::drawn(), ServiceToken::drawn());
        assert_eq!(shown, "SessionToken(…) ServiceToken(…)");
    }
}
