//! Codes of an authenticator (RFC 6238), and codes for who has lost it.
//!
//! Six digits, SHA-1, a step of 30 s: what every authenticator does, and some do nothing else. A code of the step before or
//! after is taken too; none is taken twice.

use std::fmt;

use totp_rs::{Algorithm, Builder, Totp};
use zeroize::Zeroizing;

use super::{TokenHash, random};

/// Seconds of a step.
const STEP_SECONDS: u64 = 30;

/// What an authenticator and Callreel share: 160 bits (RFC 4226 section 4).
#[derive(Clone)]
pub struct TotpSecret(Zeroizing<[u8; 20]>);

impl TotpSecret {
    pub fn drawn() -> TotpSecret {
        TotpSecret(random())
    }

    pub fn from_bytes(bytes: &[u8]) -> Option<TotpSecret> {
        let bytes = <[u8; 20]>::try_from(bytes).ok()?;
        Some(TotpSecret(Zeroizing::new(bytes)))
    }

    pub fn bytes(&self) -> &[u8] {
        self.0.as_slice()
    }

    /// For people to type, in base32 (RFC 4648 section 6) without padding.
    pub fn base32(&self) -> Zeroizing<String> {
        Zeroizing::new(base32(self.bytes()))
    }

    /// What the authenticator reads from a picture: `otpauth://totp/…`. What is not printable in `issuer` and `account`,
    /// and colons, which part the two, are left out.
    pub fn uri(&self, issuer: &str, account: &str) -> Zeroizing<String> {
        let label = |text: &str, else_: &str| {
            let kept = text.chars().filter(|c| !c.is_control() && *c != ':');
            let kept: String = kept.take(64).collect();
            if kept.trim().is_empty() {
                else_.to_owned()
            } else {
                kept
            }
        };
        let totp = builder(self.bytes(), 6)
            .with_issuer(Some(label(issuer, "Callreel")))
            .with_account_name(label(account, "user"))
            .build_noncompliant();
        Zeroizing::new(totp.to_url().expect("an account name was given"))
    }

    /// The step whose code this is, where it is one of the three around `now_seconds` (since the epoch) and later than
    /// `last_step`, the last whose code was taken. Spaces between digits are left out: people group them.
    pub fn accept(&self, code: &str, now_seconds: u64, last_step: Option<u64>) -> Option<u64> {
        let code: Zeroizing<String> = Zeroizing::new(code.split_whitespace().take(8).collect());
        let step = self.totp().check(&code, now_seconds)?;
        (last_step.is_none_or(|last| step > last)).then_some(step)
    }

    /// The code of a moment, as an authenticator shows it: for tests and trials.
    pub fn code(&self, now_seconds: u64) -> String {
        self.totp().generate(now_seconds).to_string()
    }

    fn totp(&self) -> Totp {
        builder(self.bytes(), 6).build_noncompliant()
    }
}

fn builder(secret: &[u8], digits: u8) -> Builder {
    Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(digits)
        .with_skew(1)
        .with_step_duration(STEP_SECONDS)
        .with_secret(secret.to_vec())
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret(…)")
    }
}

/// How many codes there are for who has lost the authenticator.
pub const RECOVERY_CODES: usize = 10;

/// A code that opens once in place of the authenticator's: 80 bits, `ABCD-EFGH-IJKL-MNOP`.
pub struct RecoveryCode(Zeroizing<String>);

impl RecoveryCode {
    pub fn drawn() -> RecoveryCode {
        let letters = Zeroizing::new(base32(random::<10>().as_slice()));
        let mut text = Zeroizing::new(String::with_capacity(19));
        for (at, letter) in letters.chars().enumerate() {
            if at > 0 && at % 4 == 0 {
                text.push('-');
            }
            text.push(letter);
        }
        RecoveryCode(text)
    }

    /// As somebody typed it: case, spaces and hyphens do not matter, and 0, 1 and 8, which base32 does not have, are the
    /// letters they look like. None when it cannot be a code.
    pub fn typed(text: &str) -> Option<RecoveryCode> {
        if text.len() > 64 {
            return None;
        }
        let letters = text.chars().filter(|c| !c.is_whitespace() && *c != '-');
        let letters = letters.map(|c| match c.to_ascii_uppercase() {
            '0' => 'O',
            '1' => 'I',
            '8' => 'B',
            other => other,
        });
        let letters: Zeroizing<String> = Zeroizing::new(letters.collect());
        let well_formed = letters.len() == 16
            && (letters.bytes()).all(|c| c.is_ascii_uppercase() || (b'2'..=b'7').contains(&c));
        well_formed.then_some(RecoveryCode(letters))
    }

    /// The text, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> TokenHash {
        let letters: Zeroizing<String> = Zeroizing::new(self.0.replace('-', ""));
        TokenHash::of("recovery code", letters.as_bytes())
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCode(…)")
    }
}

/// RFC 4648 section 6, without padding.
fn base32(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    for group in bytes.chunks(5) {
        let mut bits = [0; 8];
        bits[3..3 + group.len()].copy_from_slice(group);
        let bits = u64::from_be_bytes(bits);
        let letters = (group.len() * 8).div_ceil(5);
        for at in 0..letters {
            let index = (bits >> (35 - 5 * at)) & 31;
            text.push(char::from(LETTERS[index as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret of RFC 6238 appendix B for SHA-1.
    const RFC_SECRET: &[u8; 20] = b"12345678901234567890";

    /// RFC 6238 appendix B, the rows of SHA-1: time, code of eight digits.
    const RFC_VECTORS: [(u64, &str); 6] = [
        (59, "94287082"),
        (1_111_111_109, "07081804"),
        (1_111_111_111, "14050471"),
        (1_234_567_890, "89005924"),
        (2_000_000_000, "69279037"),
        (20_000_000_000, "65353130"),
    ];

    fn rfc() -> TotpSecret {
        TotpSecret::from_bytes(RFC_SECRET).unwrap()
    }

    #[test]
    fn codes_are_those_of_rfc_6238() {
        let eight = builder(RFC_SECRET, 8).build_noncompliant();
        for (time, code) in RFC_VECTORS {
            assert_eq!(eight.generate(time).to_string(), code);
            // Six digits are the last six of eight (RFC 4226 section 5.3).
            assert_eq!(rfc().code(time), code[2..]);
            assert_eq!(rfc().accept(&code[2..], time, None), Some(time / 30));
        }
    }

    #[test]
    fn a_code_works_within_a_step_and_once() {
        let (secret, now) = (rfc(), 1_234_567_890);
        let step = now / 30;
        let code = |time| secret.code(time);
        assert_eq!(secret.accept(&code(now - 30), now, None), Some(step - 1));
        assert_eq!(secret.accept(&code(now + 30), now, None), Some(step + 1));
        assert_eq!(secret.accept(&code(now - 60), now, None), None);
        assert_eq!(secret.accept(&code(now + 60), now, None), None);
        assert_eq!(secret.accept(&code(now), now, Some(step)), None);
        assert_eq!(secret.accept(&code(now - 30), now, Some(step)), None);
        assert_eq!(
            secret.accept(&code(now + 30), now, Some(step)),
            Some(step + 1)
        );
    }

    #[test]
    fn what_is_no_code_is_refused_and_spaces_are_not_seen() {
        let secret = rfc();
        assert_eq!(
            secret.accept("005 924", 1_234_567_890, None),
            Some(41_152_263)
        );
        for wrong in [
            "",
            "005925",
            "5924",
            "0005924",
            "+05924",
            "00592a",
            "٠٠٥٩٢٤",
            "005924005924",
        ] {
            assert_eq!(secret.accept(wrong, 1_234_567_890, None), None, "{wrong}");
        }
    }

    #[test]
    fn the_uri_is_what_authenticators_read() {
        assert_eq!(
            *rfc().uri("Acme: Ltd", "alice@acme"),
            "otpauth://totp/Acme%20%20Ltd:alice%40acme?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Acme%20%20Ltd"
                .replace("%20%20", "%20")
        );
        assert!(
            rfc()
                .uri("\u{7}", ":")
                .starts_with("otpauth://totp/Callreel:user?")
        );
    }

    /// RFC 4648 section 10.
    #[test]
    fn base32_is_that_of_rfc_4648() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(plain.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_recovery_code_is_the_same_however_it_is_typed() {
        let code = RecoveryCode::drawn();
        let typed = |text: &str| RecoveryCode::typed(text).map(|code| code.hash());
        assert_eq!(code.reveal().len(), 19);
        assert_eq!(typed(code.reveal()), Some(code.hash()));
        assert_eq!(
            typed(&code.reveal().to_lowercase().replace('-', " ")),
            Some(code.hash())
        );
        assert_ne!(RecoveryCode::drawn().hash(), code.hash());
        assert_eq!(
            typed("OIBO-IBOI-BOIB-OIBO"),
            typed(
                "018018018018018o"
                    .replace("018018018018018o", "0180180180180180")
                    .as_str()
            )
        );
        for wrong in [
            "",
            "ABCD-EFGH-IJKL-MNO",
            "ABCD-EFGH-IJKL-MNO9",
            &"A".repeat(65),
        ] {
            assert_eq!(typed(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn shows_nothing_of_secrets() {
        assert_eq!(
            format!("{:?} {:?}", rfc(), RecoveryCode::drawn()),
            "TotpSecret(…) RecoveryCode(…)"
        );
    }
}
