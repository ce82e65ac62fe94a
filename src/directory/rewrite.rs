//! Numbers rewritten by a tenant's regular expressions, and what a tenant does to a number before looking it up.

use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};

use super::country::Country;
use super::definition::Place;
use super::number::{Number, normalise};

/// Longest pattern, and longest replacement, in bytes.
pub const MAX_PATTERN_LEN: usize = 256;
/// Largest compiled pattern and largest lazy automaton, in bytes: 10,000 tenants may each have some.
const COMPILED_BYTES: usize = 128 << 10;

/// Why a pattern was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("it has {0} bytes, at most {MAX_PATTERN_LEN} are allowed")]
    TooLong(usize),
    #[error("the pattern grows too big when compiled; use smaller repetitions")]
    TooBig,
    #[error("{0}")]
    Syntax(String),
}

/// A linear-time regular expression over ASCII classes, bounded in size.
pub(super) fn compile_pattern(pattern: &str) -> Result<Regex, PatternError> {
    if pattern.len() > MAX_PATTERN_LEN {
        return Err(PatternError::TooLong(pattern.len()));
    }
    RegexBuilder::new(pattern)
        .unicode(false)
        .size_limit(COMPILED_BYTES)
        .dfa_size_limit(COMPILED_BYTES)
        .nest_limit(32)
        .build()
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => PatternError::TooBig,
            // The first lines repeat the pattern; the last says what is wrong.
            other => {
                let text = other.to_string();
                let last = text.lines().last().unwrap_or_default();
                PatternError::Syntax(last.trim_start_matches("error: ").to_owned())
            }
        })
}

/// One rewriting rule: numbers that fit `pattern` become `replacement` (`$1` and `${name}` are its groups).
#[derive(Clone, Debug)]
pub struct Rewrite {
    pattern: Regex,
    replacement: Arc<str>,
    pub place: Place,
}

impl Rewrite {
    /// # Errors
    /// When `pattern` is no regular expression, or either is too big.
    pub fn new(pattern: &str, replacement: &str, place: Place) -> Result<Rewrite, PatternError> {
        if replacement.len() > MAX_PATTERN_LEN {
            return Err(PatternError::TooLong(replacement.len()));
        }
        Ok(Rewrite {
            pattern: compile_pattern(pattern)?,
            replacement: replacement.into(),
            place,
        })
    }

    fn apply(&self, number: &Number) -> Option<String> {
        let captures = self.pattern.captures(number.as_bytes())?;
        let whole = captures.get(0)?;
        let mut out = number.as_bytes().get(..whole.start())?.to_vec();
        captures.expand(self.replacement.as_bytes(), &mut out);
        out.extend_from_slice(number.as_bytes().get(whole.end()..)?);
        String::from_utf8(out).ok()
    }
}

/// What happens to a number before it is looked up. Tenants with the same habits share one.
#[derive(Debug, Default)]
pub(super) struct Dialling {
    pub country: Option<Country>,
    pub rewrites: Vec<Rewrite>,
}

impl Dialling {
    /// Spelled, rewritten by the first rule that fits, and spelled again: a rule may see what was dialled
    /// (`^9(\d+)$`) or E.164, and may give either.
    pub fn number(&self, user: &str) -> Option<Number> {
        let number = normalise(user, self.country)?;
        let rewritten = self.rewrites.iter().find_map(|rule| rule.apply(&number));
        match rewritten {
            Some(text) => normalise(&text, self.country),
            None => Some(number),
        }
    }

    /// Equal keys do the same to every number.
    pub fn key(country: Option<Country>, rewrites: &[Rewrite]) -> DiallingKey {
        let rules = rewrites.iter();
        DiallingKey(
            country,
            rules
                .map(|rule| (rule.pattern.as_str().into(), rule.replacement.clone()))
                .collect(),
        )
    }
}

#[derive(PartialEq, Eq, Hash)]
pub(super) struct DiallingKey(Option<Country>, Vec<(Box<str>, Arc<str>)>);

#[cfg(test)]
mod tests {
    use super::*;

    fn dialling(country: &str, rules: &[(&str, &str)]) -> Dialling {
        let place = Place::new("t", 1);
        let rule = |(pattern, replacement): &(&str, &str)| {
            Rewrite::new(pattern, replacement, place.clone()).unwrap()
        };
        Dialling {
            country: Country::from_iso(country),
            rewrites: rules.iter().map(rule).collect(),
        }
    }

    fn number(dialling: &Dialling, user: &str) -> String {
        dialling.number(user).unwrap().as_str().to_owned()
    }

    #[test]
    fn outside_line_digit_goes_before_e164() {
        let dialling = dialling("GB", &[(r"^9(\d{3,})$", "$1")]);
        assert_eq!(number(&dialling, "9 020 7946 0101"), "+442079460101");
        assert_eq!(number(&dialling, "1001"), "1001");
    }

    #[test]
    fn first_fitting_rule_is_the_only_one() {
        let dialling = dialling("", &[(r"^\+4420794601(\d\d)$", "11$1"), (r"^11", "99")]);
        assert_eq!(number(&dialling, "+442079460155"), "1155");
        assert_eq!(number(&dialling, "1155"), "9955");
    }

    #[test]
    fn big_and_broken_patterns_are_refused() {
        let place = Place::new("t", 1);
        let refused = |pattern: &str| Rewrite::new(pattern, "", place.clone()).unwrap_err();
        assert_eq!(refused(&"a".repeat(257)), PatternError::TooLong(257));
        assert_eq!(
            refused(r"((\d{1,900}){1,900}){1,900}"),
            PatternError::TooBig
        );
        assert_eq!(refused("(1"), PatternError::Syntax("unclosed group".into()));
    }
}
