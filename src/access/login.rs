//! Names to sign in with.

use unicode_normalization::UnicodeNormalization;
use unicode_security::confusable_detection::skeleton;
use unicode_security::{RestrictionLevel, RestrictionLevelDetection};

/// What [`is_login`] asks for, in words.
pub const LOGIN_RULE: &str = "1 to 64 printable characters without spaces, and letters of one script that do not pass for Latin ones";

/// Bytes of a text that can be a login at all.
const MAX_BYTES: usize = 1024;

/// Whether this can be a login: 1 to 64 characters that can be seen, none of them a space; of letters beyond ASCII those of one script
/// (UTS 39, "highly restrictive"), and not such that the whole looks like another in ASCII.
pub fn is_login(text: &str) -> bool {
    let unfit = |one: char| one.is_whitespace() || one.is_control() || is_unseen(one);
    let fits = (1..=64).contains(&text.chars().count()) && !text.chars().any(unfit);
    fits && (text.is_ascii() || is_of_one_script(text))
}

/// Two logins of one key are the same: small or capital, composed or not, of full width or half.
pub fn login_key(text: &str) -> String {
    match text.is_ascii() || text.len() > MAX_BYTES {
        true => text.to_ascii_lowercase(),
        // Small letters of what was composed may be composed anew.
        false => text
            .nfkc()
            .collect::<String>()
            .to_lowercase()
            .nfkc()
            .collect(),
    }
}

fn is_of_one_script(text: &str) -> bool {
    // What is no letter may stand beside any.
    let letters = text
        .chars()
        .filter(|one| !one.is_ascii() || one.is_ascii_alphanumeric());
    let letters: String = letters.nfc().collect();
    letters.check_restriction_level(RestrictionLevel::HighlyRestrictive)
        && !skeleton(text).all(|one| one.is_ascii())
}

/// Characters without a shape, by which two logins could look the same.
fn is_unseen(one: char) -> bool {
    matches!(one, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{ffff}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{10ffff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_of_all_countries_have_logins() {
        for login in [
            "ann",
            "ann.o'hara+7@acme.example",
            "müller",
            "Łukasz",
            "jörg@büro.example",
            "иван",
            "νίκος",
            "田中",
            "たなかさん",
            "김철수",
            "محمد",
            "日本abc",
        ] {
            assert!(is_login(login), "{login}");
        }
    }

    #[test]
    fn what_passes_for_another_is_no_login() {
        for (login, why) in [
            ("", "nothing"),
            ("a b", "a space"),
            ("ann\u{200b}", "a letter that nobody sees"),
            ("p\u{430}ul", "one letter is Cyrillic"),
            ("\u{430}\u{440}\u{435}", "all are Cyrillic and look Latin"),
            ("\u{3b1}lice", "one letter is Greek"),
            ("ａｎｎ", "letters of full width"),
            ("𝐚𝐧𝐧", "letters of mathematics"),
        ] {
            assert!(!is_login(login), "{login}: {why}");
        }
    }

    #[test]
    fn small_and_capital_letters_and_both_ways_to_compose_are_one_key() {
        for (one, other) in [
            ("ANN", "ann"),
            ("Ärger", "a\u{308}rger"),
            ("ΝΊΚΟΣ", "νίκος"),
            ("ｱﾝ", "アン"),
            ("\u{212a}im", "kim"),
        ] {
            assert_eq!(login_key(one), login_key(other), "{one} {other}");
        }
        assert_ne!(login_key("muller"), login_key("müller"));
        // Whatever somebody sends: bounded.
        assert!(login_key(&"\u{fdfa}".repeat(100_000)).len() <= 300_000);
    }
}
