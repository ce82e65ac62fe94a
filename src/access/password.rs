//! Passwords: as typed, and as kept.
//!
//! A password is kept as an argon2id hash in the PHC string format, with the cost it was made at. One that was made at
//! another cost than today's still opens, and says that it wants to be made anew.

use std::fmt;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::random;

/// Bytes of a password, at most: hashing cost must not depend on who asks.
pub const MAX_PASSWORD_BYTES: usize = 512;

/// A password as somebody typed it: wiped when dropped, and never shown.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    pub fn new(text: String) -> Password {
        Password(Zeroizing::new(text))
    }

    /// The text, where it is meant.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// One that is drawn by lot, for people to type once: 20 characters without those that look alike, 98 bits.
    pub fn drawn() -> Password {
        const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let mut text = Zeroizing::new(String::with_capacity(23));
        for (at, byte) in random::<20>().iter().enumerate() {
            if at > 0 && at % 5 == 0 {
                text.push('-');
            }
            text.push(char::from(LETTERS[usize::from(byte % 32)]));
        }
        Password(text)
    }
}

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Password, D::Error> {
        String::deserialize(from).map(Password::new)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// What a hash costs to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PasswordCost {
    /// KiB, 8 to 4,194,304.
    pub memory_kib: u32,
    /// 1 to 1000.
    pub passes: u32,
}

impl Default for PasswordCost {
    /// OWASP's first choice for argon2id: 19 MiB, two passes, one lane.
    fn default() -> Self {
        PasswordCost {
            memory_kib: 19 * 1024,
            passes: 2,
        }
    }
}

/// Whether a password is the one that was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Wrong,
    Right,
    /// It is; its hash was made at another cost and should be made anew.
    RightAtOtherCost,
}

/// Makes and compares hashes. Every call takes tens of milliseconds and the memory of its cost: not for an async thread.
#[derive(Clone)]
pub struct PasswordHasher {
    params: Params,
    /// Of a password that nobody has: compared with where there is no account, so that the answer takes as long.
    nobodys: String,
}

impl PasswordHasher {
    /// # Panics
    ///
    /// When the cost is outside its ranges, which the configuration checks.
    pub fn new(cost: PasswordCost) -> PasswordHasher {
        let params = Params::new(cost.memory_kib, cost.passes, 1, None)
            .expect("the configuration keeps the cost within argon2's ranges");
        let mut hasher = PasswordHasher {
            params,
            nobodys: String::new(),
        };
        hasher.nobodys = hasher.hash(&Password::drawn());
        hasher
    }

    /// In PHC format: `$argon2id$v=19$m=19456,t=2,p=1$…`.
    pub fn hash(&self, password: &Password) -> String {
        self.argon2()
            .hash_password_with_salt(password.reveal().as_bytes(), random::<16>().as_slice())
            .expect("a salt of 16 bytes and a password below 4 GiB are what argon2 takes")
            .to_string()
    }

    /// Compares with what was kept. None, for an account that does not exist or has no password, is wrong and takes as
    /// long; so is a text that is no hash.
    pub fn verify(&self, password: &Password, kept: Option<&str>) -> Verdict {
        let parsed = kept.and_then(|kept| PasswordHash::new(kept).ok());
        let Some(hash) = parsed else {
            _ = self.compare(password, &self.nobodys);
            return Verdict::Wrong;
        };
        match (self
            .argon2()
            .verify_password(password.reveal().as_bytes(), &hash))
        .is_ok()
        {
            true if self.is_of_this_cost(&hash) => Verdict::Right,
            true => Verdict::RightAtOtherCost,
            false => Verdict::Wrong,
        }
    }

    fn compare(&self, password: &Password, hash: &str) -> bool {
        let password = password.reveal().as_bytes();
        self.argon2().verify_password(password, hash).is_ok()
    }

    fn is_of_this_cost(&self, hash: &PasswordHash) -> bool {
        let cost = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
        let same = Params::try_from(hash).is_ok_and(|params| cost(&params) == cost(&self.params));
        same && hash.algorithm == Algorithm::Argon2id.ident()
    }

    fn argon2(&self) -> Argon2<'_> {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone())
    }
}

impl fmt::Debug for PasswordHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PasswordHasher({:?})", self.params)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cheap(passes: u32) -> PasswordHasher {
        PasswordHasher::new(PasswordCost {
            memory_kib: 8,
            passes,
        })
    }

    fn typed(text: &str) -> Password {
        Password::new(text.into())
    }

    /// Made by the reference implementation in C, through argon2-cffi: 64 KiB, two passes, the salt `somesaltsomesalt`.
    const FOREIGN: &str = "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$uL2hQzJmxaz0Tfm2KK6uNjA0+UvbrHBEBwVmJYrNXCE";

    #[test]
    fn a_hash_of_the_reference_implementation_opens() {
        let verdict = |text| cheap(1).verify(&typed(text), Some(FOREIGN));
        assert_eq!(verdict("correct horse"), Verdict::RightAtOtherCost);
        assert_eq!(verdict("correct horsf"), Verdict::Wrong);
    }

    #[test]
    fn a_hash_opens_for_its_password_only() {
        let hasher = cheap(1);
        let hash = hasher.hash(&typed("correct horse"));
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
        assert_eq!(
            hasher.verify(&typed("correct horse"), Some(&hash)),
            Verdict::Right
        );
        assert_eq!(
            hasher.verify(&typed("Correct horse"), Some(&hash)),
            Verdict::Wrong
        );
        assert_eq!(hasher.verify(&typed(""), Some(&hash)), Verdict::Wrong);
        assert_ne!(hash, hasher.hash(&typed("correct horse")));
    }

    #[test]
    fn a_hash_of_another_cost_opens_and_asks_to_be_made_anew() {
        let hash = cheap(1).hash(&typed("correct horse"));
        assert_eq!(
            cheap(2).verify(&typed("correct horse"), Some(&hash)),
            Verdict::RightAtOtherCost
        );
        assert_eq!(
            cheap(2).verify(&typed("wrong horse"), Some(&hash)),
            Verdict::Wrong
        );
    }

    #[test]
    fn what_is_no_hash_is_wrong() {
        let hasher = cheap(1);
        for kept in [
            None,
            Some(""),
            Some("correct horse"),
            Some("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ"),
        ] {
            assert_eq!(
                hasher.verify(&typed("correct horse"), kept),
                Verdict::Wrong,
                "{kept:?}"
            );
        }
    }

    #[test]
    fn shows_nothing_of_a_password() {
        assert_eq!(format!("{:?}", typed("secret")), "Password(…)");
        assert!(!format!("{:?}", cheap(1)).contains("$argon2"));
    }

    #[test]
    fn a_drawn_password_is_long_and_never_the_same() {
        let drawn = Password::drawn();
        assert_eq!(drawn.reveal().len(), 23);
        assert_ne!(drawn.reveal(), Password::drawn().reveal());
    }
}
