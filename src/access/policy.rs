//! What a tenant asks of a password.

use serde::{Deserialize, Serialize};
use zxcvbn::{Score, zxcvbn};

use super::Password;
use super::password::MAX_PASSWORD_BYTES;

/// A tenant's rules for the passwords of its users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PasswordPolicy {
    /// Characters, 8 to 128.
    pub min_length: u8,
    /// How hard to guess: 0 (anything) to 4, by zxcvbn's estimate. It knows 30,000 passwords that many people have, names,
    /// words, keyboard rows, dates and repetitions. Whatever this says, none of those passwords is taken.
    pub min_strength: u8,
    /// How many earlier passwords may not come back, 0 to 24.
    pub history: u8,
    /// Days until a password has to be changed, 1 to 3650. None: never, as NIST SP 800-63B section 5.1.1.2 recommends.
    pub max_age_days: Option<u16>,
    /// Words that no password may hold, such as the company's name: at most 100 of 3 to 64 characters.
    pub forbidden: Vec<String>,
}

impl Default for PasswordPolicy {
    fn default() -> Self {
        PasswordPolicy {
            min_length: 12,
            min_strength: 2,
            history: 5,
            max_age_days: None,
            forbidden: Vec::new(),
        }
    }
}

/// What a password must not be made of.
#[derive(Clone, Copy, Debug, Default)]
pub struct Owner<'a> {
    pub login: &'a str,
    pub email: Option<&'a str>,
    pub name: Option<&'a str>,
}

/// Why a password is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Weakness {
    #[error("a password has at least {0} characters here")]
    TooShort(u8),
    #[error("a password has at most {MAX_PASSWORD_BYTES} bytes")]
    TooLong,
    #[error("a password must not be or hold the login, the name or the e-mail address")]
    LikeOwner,
    #[error("a password must not hold the word \"{0}\" here")]
    Forbidden(String),
    #[error("many people have this password; it is among the first that are tried")]
    WellKnown,
    #[error("this password is too easy to guess: {0}")]
    Guessable(String),
    #[error("this password, or one of the {0} before it, was in use already")]
    UsedBefore(u8),
}

impl PasswordPolicy {
    /// Whether the rules themselves are within their ranges; else what is wrong, with the field.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        let within = |field, value: u16, range: std::ops::RangeInclusive<u16>| {
            let (first, last) = (range.start(), range.end());
            match range.contains(&value) {
                true => Ok(()),
                false => Err((field, format!("must be from {first} to {last}"))),
            }
        };
        within("min_length", self.min_length.into(), 8..=128)?;
        within("min_strength", self.min_strength.into(), 0..=4)?;
        within("history", self.history.into(), 0..=24)?;
        within("max_age_days", self.max_age_days.unwrap_or(1), 1..=3650)?;
        within(
            "forbidden",
            self.forbidden.len().try_into().unwrap_or(u16::MAX),
            0..=100,
        )?;
        let fits = |word: &String| (3..=64).contains(&word.trim().chars().count());
        match self.forbidden.iter().all(fits) {
            true => Ok(()),
            false => Err(("forbidden", "a word has 3 to 64 characters".into())),
        }
    }

    /// Whether `password` may be `owner`'s. Says nothing about earlier passwords: that takes their hashes.
    ///
    /// Takes about a millisecond.
    pub fn accept(&self, password: &Password, owner: Owner<'_>) -> Result<(), Weakness> {
        let text = password.reveal();
        if text.len() > MAX_PASSWORD_BYTES {
            return Err(Weakness::TooLong);
        }
        if text.chars().count() < usize::from(self.min_length) {
            return Err(Weakness::TooShort(self.min_length));
        }
        let lower = text.to_lowercase();
        if owner.parts().any(|part| lower.contains(&part)) {
            return Err(Weakness::LikeOwner);
        }
        let words = self.forbidden.iter().map(|word| word.trim().to_lowercase());
        if let Some(word) = words.into_iter().find(|word| lower.contains(word)) {
            return Err(Weakness::Forbidden(word));
        }
        self.guess(text, owner)
    }

    fn guess(&self, text: &str, owner: Owner<'_>) -> Result<(), Weakness> {
        let parts: Vec<String> = owner.parts().collect();
        let mut inputs: Vec<&str> = parts.iter().map(String::as_str).collect();
        inputs.push("callreel");
        inputs.extend(self.forbidden.iter().map(String::as_str));
        let estimate = zxcvbn(text, &inputs);
        // The lists hold 30,000 passwords; variants in case and in letters that look like digits are tried with them.
        if estimate.guesses() < 1_000_000 && estimate.sequence().len() == 1 {
            return Err(Weakness::WellKnown);
        }
        let enough = match self.min_strength {
            0 => Score::Zero,
            1 => Score::One,
            2 => Score::Two,
            3 => Score::Three,
            _ => Score::Four,
        };
        if estimate.score() >= enough {
            return Ok(());
        }
        let advice = estimate.feedback().and_then(|feedback| {
            let warning = feedback.warning().map(|warning| warning.to_string());
            warning.or_else(|| feedback.suggestions().first().map(|hint| hint.to_string()))
        });
        let advice = advice.unwrap_or_else(|| "add another word or two".into());
        Err(Weakness::Guessable(advice.trim_end_matches('.').to_owned()))
    }
}

impl Owner<'_> {
    /// In lower case, without what is too short to say anything.
    fn parts(&self) -> impl Iterator<Item = String> {
        let mailbox = self.email.and_then(|email| email.split('@').next());
        let names = self.name.unwrap_or_default().split_whitespace();
        let all = [Some(self.login), self.email, mailbox]
            .into_iter()
            .flatten();
        let all = all.chain(names).map(str::to_lowercase);
        all.filter(|part| part.chars().count() >= 4)
            .collect::<Vec<_>>()
            .into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Owner<'_> = Owner {
        login: "alice",
        email: Some("a.liddell@acme.example"),
        name: Some("Alice Pleasance Liddell"),
    };

    fn accept(policy: &PasswordPolicy, text: &str) -> Result<(), Weakness> {
        policy.accept(&Password::new(text.into()), ALICE)
    }

    #[test]
    fn good_passwords_are_taken() {
        let policy = PasswordPolicy::default();
        for good in [
            "correct horse battery staple",
            "dR7%kq0zLmW!",
            "Grüße aus dem Wunderland 7",
            "密码很难被别人猜到的一句话吧",
        ] {
            assert_eq!(accept(&policy, good), Ok(()), "{good}");
        }
    }

    #[test]
    fn well_known_passwords_are_refused_whatever_is_configured() {
        let lax = PasswordPolicy {
            min_length: 8,
            min_strength: 0,
            ..PasswordPolicy::default()
        };
        for known in [
            "password",
            "Passw0rd",
            "12345678",
            "qwertyuiop",
            "iloveyou",
            "football1",
            "aaaaaaaaaaaa",
            "drowssap",
        ] {
            assert_eq!(accept(&lax, known), Err(Weakness::WellKnown), "{known}");
        }
        assert_eq!(accept(&lax, "vBx7#kPq"), Ok(()));
    }

    #[test]
    fn a_password_is_not_made_of_its_owner() {
        let policy = PasswordPolicy::default();
        for like in [
            "alice in wonderland",
            "ALICE-7f3k9d2m",
            "xx-a.liddell-93kd",
            "Pleasance93jd72k",
        ] {
            assert_eq!(accept(&policy, like), Err(Weakness::LikeOwner), "{like}");
        }
    }

    #[test]
    fn length_and_forbidden_words_are_the_tenants() {
        let policy = PasswordPolicy {
            min_length: 20,
            forbidden: vec!["Acme".into()],
            ..PasswordPolicy::default()
        };
        assert_eq!(accept(&policy, "correct horse staple"), Ok(()));
        assert_eq!(
            accept(&policy, "correct horse stapl"),
            Err(Weakness::TooShort(20))
        );
        assert_eq!(
            accept(&policy, "correct aCMe horse staple"),
            Err(Weakness::Forbidden("acme".into()))
        );
        assert_eq!(accept(&policy, &"x7".repeat(257)), Err(Weakness::TooLong));
    }

    #[test]
    fn what_is_easy_to_guess_says_why() {
        let strict = PasswordPolicy {
            min_strength: 4,
            ..PasswordPolicy::default()
        };
        let Err(Weakness::Guessable(why)) = accept(&strict, "summer holiday") else {
            panic!("taken");
        };
        assert!(!why.is_empty() && !why.ends_with('.'), "{why}");
    }

    #[test]
    fn rules_out_of_range_name_their_field() {
        let wrong = |change: fn(&mut PasswordPolicy)| {
            let mut policy = PasswordPolicy::default();
            change(&mut policy);
            policy.check().map_err(|(field, _)| field)
        };
        assert_eq!(wrong(|_| ()), Ok(()));
        assert_eq!(wrong(|policy| policy.min_length = 7), Err("min_length"));
        assert_eq!(wrong(|policy| policy.min_strength = 5), Err("min_strength"));
        assert_eq!(wrong(|policy| policy.history = 25), Err("history"));
        assert_eq!(
            wrong(|policy| policy.max_age_days = Some(0)),
            Err("max_age_days")
        );
        assert_eq!(
            wrong(|policy| policy.forbidden = vec!["ab".into()]),
            Err("forbidden")
        );
        assert_eq!(
            wrong(|policy| policy.forbidden = vec!["abc".into(); 101]),
            Err("forbidden")
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_gets_an_answer(text in "\\PC{0,80}", login in "\\PC{0,20}") {
            let owner = Owner { login: &login, ..Owner::default() };
            let _ = PasswordPolicy::default().accept(&Password::new(text), owner);
        }
    }
}
