//! Words that notes are searched for.

use std::sync::LazyLock;

use regex::Regex;

use crate::catalog::text::{NAME_BYTES, fit};

/// Words of a note that are looked for.
const MAX_WORDS: usize = 16;

/// A word as the tokenizer of SQLite's FTS5 sees it (`unicode61`): letters, numbers and characters of private use, and the
/// marks on letters that it takes away. What it would take apart must be two words here: a phrase of two is an error of the
/// index, which does not keep where in a note a word is. Some letters of Tai Lue and Vedic were marks in its Unicode.
static WORD: LazyLock<Regex> = LazyLock::new(|| {
    let letters = r"[\p{L}\p{N}\p{Co}--[\x{19b0}-\x{19c0}\x{19c8}\x{19c9}\x{1cf2}\x{1cf3}]]";
    let marks = r"[\x{300}-\x{304}\x{306}-\x{30c}\x{30f}\x{311}\x{31b}\x{323}-\x{328}\x{32d}\x{32e}\x{330}\x{331}]";
    Regex::new(&format!("{letters}(?:{letters}|{marks})*"))
        .expect("the expression is a constant, which the tests compile")
});

/// Each word of the text in quotes, as the beginning of a word of a note; empty when there is none.
pub(super) fn words_of(text: &str) -> String {
    let words = WORD.find_iter(text).take(MAX_WORDS);
    let quoted: Vec<String> = words
        .map(|word| format!("\"{}\" *", fit(word.as_str(), NAME_BYTES)))
        .collect();
    quoted.join(" AND ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Scope;
    use crate::catalog::testing::{in_memory, tenant};
    use crate::catalog::{CallQuery, Catalog};

    async fn are_looked_for(catalog: &Catalog, words: &str) -> bool {
        let query = CallQuery {
            notes: Some(words.to_owned()),
            ..CallQuery::default()
        };
        catalog
            .calls(&Scope::tenant(tenant(0)), &query)
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn no_character_makes_a_phrase_of_a_word() {
        let catalog = in_memory().await;
        // The many letters of Han and Hangul are all alike.
        let alike =
            |c: &char| ('\u{3500}'..'\u{9f00}').contains(c) || ('\u{ad00}'..'\u{d700}').contains(c);
        let characters: Vec<char> = (char::MIN..'\u{20010}')
            .filter(|c| {
                c.is_alphanumeric()
                    || WORD.is_match(&c.to_string())
                    || ('\u{300}'..='\u{36f}').contains(c)
            })
            .filter(|c| !alike(c))
            .collect();
        let mut wrong: Vec<char> = Vec::new();
        // A character that parts words makes two of one.
        for some in characters.chunks(MAX_WORDS / 2) {
            let word = |c: &char| format!("a{c}b ");
            let words: String = some.iter().map(word).collect();
            if !are_looked_for(&catalog, &words).await {
                for c in some {
                    if !are_looked_for(&catalog, &word(c)).await {
                        wrong.push(*c);
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{} of them: {wrong:?}", wrong.len());
    }

    #[test]
    fn words_are_taken_apart_where_the_index_does() {
        assert_eq!(
            words_of("O'Neil, ÉTÉ"),
            "\"O\" * AND \"Neil\" * AND \"ÉTÉ\" *"
        );
        assert_eq!(words_of("e\u{301}te\u{301}"), "\"e\u{301}te\u{301}\" *");
        // A vowel sign of Devanagari parts words.
        assert_eq!(words_of("ने"), "\"न\" *");
        assert_eq!(words_of("a\u{24b6}b"), "\"a\" * AND \"b\" *");
        assert_eq!(words_of("\u{301} ⒶⒷ \"*"), "");
    }
}
