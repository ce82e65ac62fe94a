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

/// Where the tenant's id goes, in hexadecimal digits: in the index each word has it before it. No character of a word.
pub(super) const TENANT: char = '@';

/// Each word of the text behind [`TENANT`], in quotes, as the beginning of a word of a note; empty when there is none.
pub(super) fn words_of(text: &str) -> String {
    let words = WORD.find_iter(text).take(MAX_WORDS);
    let quoted: Vec<String> = words
        .map(|word| format!("\"{TENANT}{}\" *", fit(word.as_str(), NAME_BYTES)))
        .collect();
    quoted.join(" AND ")
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::access::{Event, Principal, Scope};
    use crate::catalog::testing::{call, in_memory, tenant};
    use crate::catalog::{
        CallQuery, CallRecord, Catalog, Change, Note, NoteDraft, NumberFilter, Result, Sort,
    };

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
            "\"@O\" * AND \"@Neil\" * AND \"@ÉTÉ\" *"
        );
        assert_eq!(words_of("e\u{301}te\u{301}"), "\"@e\u{301}te\u{301}\" *");
        // A vowel sign of Devanagari parts words.
        assert_eq!(words_of("ने"), "\"@न\" *");
        assert_eq!(words_of("a\u{24b6}b"), "\"@a\" * AND \"@b\" *");
        assert_eq!(words_of("\u{301} ⒶⒷ \"*"), "");
    }

    /// A note, as a person writes it.
    async fn write(catalog: &Catalog, call: &CallRecord, text: &str) -> Note {
        let draft = draft(text);
        let mut change = catalog.change().await.unwrap();
        let call = change.call_to_mark(&Scope::root(), call.id).await.unwrap();
        let note = change.add_note(&call.unwrap(), None, "ann", &draft).await;
        commit(change).await;
        note.unwrap()
    }

    fn draft(text: &str) -> NoteDraft {
        NoteDraft {
            place_ms: None,
            text: text.to_owned(),
            is_pinned: false,
        }
    }

    async fn commit(change: Change) {
        let event = Event::by(&Principal::operator("ops"), "call_notes.create");
        change.commit(event).await.unwrap();
    }

    async fn found(catalog: &Catalog, scope: Scope, notes: &str) -> Result<Vec<CallRecord>> {
        let query = CallQuery {
            notes: Some(notes.to_owned()),
            ..CallQuery::default()
        };
        Ok(catalog.calls(&scope, &query).await?.calls)
    }

    /// What the index has: words, and the tenants of the notes that they are of.
    async fn index(catalog: &Catalog) -> Vec<(String, Uuid)> {
        sqlx::raw_sql("CREATE VIRTUAL TABLE IF NOT EXISTS temp.indexed USING fts5vocab (main, note_words, instance)")
            .execute(&catalog.writer)
            .await
            .unwrap();
        sqlx::query_as("SELECT term, tenant_id FROM indexed JOIN call_notes ON note_row = doc")
            .fetch_all(&catalog.writer)
            .await
            .unwrap()
    }

    fn hex(number: u128) -> String {
        tenant(number).0.simple().to_string()
    }

    #[tokio::test]
    async fn no_text_of_a_note_makes_a_word_of_another_tenant() {
        let catalog = in_memory().await;
        let (own, foreign) = (call(0, 1), call(1, 2));
        catalog
            .record(&[own.clone(), foreign.clone()])
            .await
            .unwrap();
        write(&catalog, &own, "A refund was promised").await;
        let (small, capital) = (hex(0), hex(0).to_uppercase());
        let hostile = [
            format!("{small}refund {capital}refund"),
            format!("x@{small}refund @{capital}refund \"{capital}refund\" * OR \"{small}\""),
            format!("x\0{small}refund\0{capital}refund\u{fffd}{small}refund"),
            // Vowel signs, new letters and letters in circles: between words for one, part of a word for another.
            format!(
                "x\u{93e}{small}refund \u{24b6}{capital}refund \u{323b0}{small}refund \u{301}{small}refund"
            ),
            "words : refund* AND (NOT NEAR(a b, 2)) ^refund - { words } : \"".to_owned(),
            "'; DROP TABLE note_words; --".to_owned(),
            format!("{}{small}refund", "x".repeat(10_000)),
            format!("{}{small}refund", "\u{10ffff}\u{1f600}".repeat(5_000)),
            format!("{} {small}refund", "\u{20000}".repeat(10_000)),
            String::new(),
        ];
        let note = write(&catalog, &foreign, "").await;
        for text in &hostile {
            write(&catalog, &foreign, text).await;
            let mut change = catalog.change().await.unwrap();
            change.edit_note(&note, &draft(text)).await.unwrap();
            commit(change).await;
            for (word, tenant) in index(&catalog).await {
                let tenant = tenant.simple().to_string();
                assert!(word.starts_with(&tenant), "{word} is of {tenant}");
            }
            let seen = found(&catalog, Scope::tenant(tenant(0)), text).await;
            assert_eq!(seen.unwrap(), [], "{text}");
            let seen = found(&catalog, Scope::tenant(tenant(1)), text).await;
            assert_eq!(seen.unwrap().len(), usize::from(!text.is_empty()), "{text}");
        }
        for (word, is_own) in [
            ("refund", true),
            ("promis", true),
            (&small, false),
            (&capital, false),
        ] {
            let seen = found(&catalog, Scope::tenant(tenant(0)), word).await;
            let expected = is_own.then(|| own.clone());
            assert_eq!(seen.unwrap(), expected.as_slice(), "{word}");
        }
        assert_eq!(catalog.check().await.unwrap(), Vec::<String>::new());
    }

    /// Without the pages that have words of another tenant alone, that tenant's questions fail and the own do not: they read
    /// none of them, so that it shows in nothing how many there are.
    #[tokio::test]
    async fn a_question_does_not_read_the_words_of_other_tenants() {
        let catalog = in_memory().await;
        let foreign = call(1, 1);
        let own: Vec<_> = (2..8).map(|number| call(2, number)).collect();
        catalog
            .record(&[own.as_slice(), std::slice::from_ref(&foreign)].concat())
            .await
            .unwrap();
        for call in &own {
            write(&catalog, call, "A refund was promised").await;
        }
        sqlx::query(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) \
             INSERT INTO call_notes (id, tenant_id, call_id, started_at, author_name, text, pinned, created_at, version) \
             SELECT randomblob(16), ?, ?, i, '', 'A refund was promised for order ' || i, 0, 0, 1 FROM n",
        )
        .bind(foreign.tenant.0)
        .bind(foreign.id)
        .execute(&catalog.writer)
        .await
        .unwrap();
        // All in one segment, whose pages are in the order of their words. The last two may have the own.
        let removed = sqlx::raw_sql(
            "INSERT INTO note_words (note_words) VALUES ('optimize'); \
             DELETE FROM note_words_data WHERE id > 10 AND id < (SELECT max(id) - 1 FROM note_words_data);",
        )
        .execute(&catalog.writer)
        .await
        .unwrap();
        assert!(removed.rows_affected() > 10, "{removed:?}");
        // Each is driven by another filter.
        let about = |notes: &str| CallQuery {
            notes: Some(notes.to_owned()),
            ..CallQuery::default()
        };
        let queries = [
            about("refund"),
            about("ref a wa promised"),
            CallQuery {
                sort: Sort::Longest,
                ..about("refund")
            },
            CallQuery {
                user: Some("alice".into()),
                extension: Some("1001".into()),
                ..about("refund")
            },
            CallQuery {
                number: Some(NumberFilter::Prefix("1".into())),
                ..about("refund")
            },
        ];
        for query in queries {
            let ask = async |owner| {
                let scope = Scope::tenant(tenant(owner));
                catalog
                    .calls(&scope, &query)
                    .await
                    .map(|page| page.calls.len())
            };
            assert!(ask(1).await.is_err(), "{query:?}");
            assert_eq!(ask(2).await.unwrap(), own.len(), "{query:?}");
        }
        let one = CallQuery {
            interaction: own[0].interaction,
            ..about("refund")
        };
        let elsewhere = CallQuery {
            tenant: Some(tenant(1)),
            ..about("refund")
        };
        for (query, expected) in [(one, 1), (about("order"), 0), (elsewhere, 0)] {
            let seen = catalog.calls(&Scope::tenant(tenant(2)), &query).await;
            assert_eq!(seen.unwrap().calls.len(), expected, "{query:?}");
        }
    }

    #[tokio::test]
    async fn words_are_those_of_the_notes_as_they_are() {
        let catalog = in_memory().await;
        let calls = [call(0, 1), call(0, 2)];
        catalog.record(&calls).await.unwrap();
        let first = write(&catalog, &calls[0], "Refund of order 17").await;
        write(&catalog, &calls[0], "Été").await;
        write(&catalog, &calls[1], "ETE").await;
        let found = async |words: &str| -> Vec<u128> {
            let scope = Scope::tenant(tenant(0));
            let mut calls = found(&catalog, scope, words).await.unwrap();
            calls.sort_by_key(|call| call.id);
            calls.iter().map(|call| call.id.as_u128()).collect()
        };
        assert_eq!(found("refund").await, [1]);
        assert_eq!(found("e\u{301}té").await, [1, 2]);
        let mut change = catalog.change().await.unwrap();
        let edited = change.edit_note(&first, &draft("Order 18")).await.unwrap();
        commit(change).await;
        assert_eq!(found("refund").await, [0u128; 0]);
        assert_eq!(found("order 18").await, [1]);
        // An edit that is not committed changes nothing, and the next one is none the worse.
        let mut change = catalog.change().await.unwrap();
        change.edit_note(&edited, &draft("Refund")).await.unwrap();
        drop(change);
        let mut change = catalog.change().await.unwrap();
        change.remove_note(&edited).await.unwrap();
        commit(change).await;
        assert_eq!(found("order").await, [0u128; 0]);
        assert_eq!(found("refund").await, [0u128; 0]);
        let mut change = catalog.change().await.unwrap();
        let call = change.call_to_mark(&Scope::root(), calls[0].id).await;
        let call = call.unwrap().unwrap();
        change.delete_call(&call, "ann", "asked").await.unwrap();
        commit(change).await;
        assert_eq!(found("ete").await, [2]);
        let word = (format!("{}ete", hex(0)), tenant(0).0);
        assert_eq!(index(&catalog).await, [word]);
        let left: i64 = sqlx::query_scalar("SELECT count(*) FROM note_terms")
            .fetch_one(&catalog.writer)
            .await
            .unwrap();
        assert_eq!(left, 0);
        assert_eq!(catalog.check().await.unwrap(), Vec::<String>::new());
    }
}
