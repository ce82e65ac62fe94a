//! Which of a tenant's extensions a number is of, before anything is compiled.

use super::country::Country;
use super::definition::ExtensionDefinition;
use super::extension::{ExtensionPattern, Spelled};
use super::number::{Number, normalise};
use crate::base::WireMap;

/// The extensions of one tenant, to be asked for numbers.
pub struct Coverage {
    country: Option<Country>,
    /// Extensions that are numbers, and aliases.
    numbers: WireMap<Box<str>, usize>,
    /// Ranges and prefixes, the most specific first.
    wide: Vec<(Spelled, usize)>,
}

impl Coverage {
    pub fn of(extensions: &[ExtensionDefinition], country: Option<Country>) -> Coverage {
        let mut numbers: WireMap<Box<str>, usize> = WireMap::default();
        let mut wide = Vec::new();
        for (index, extension) in extensions.iter().enumerate() {
            match extension.pattern.spelled(country) {
                Some(Spelled::Number(number)) => {
                    numbers.entry(number.as_str().into()).or_insert(index);
                }
                Some(spelled) => wide.push((spelled, index)),
                None => {}
            }
            for alias in &extension.aliases {
                if let Some(number) = normalise(&alias.number, country) {
                    numbers.entry(number.as_str().into()).or_insert(index);
                }
            }
        }
        wide.sort_by_key(|(spelled, _)| breadth(spelled));
        Coverage {
            country,
            numbers,
            wide,
        }
    }

    /// The number as the tenant's country spells it.
    pub fn spelling(&self, number: &str) -> Option<Number> {
        normalise(number, self.country)
    }

    /// Whether an extension is this number and no other, or has it as an alias.
    pub fn has_exactly(&self, number: &Number) -> bool {
        self.numbers.contains_key(number.as_str())
    }

    /// The most specific extension that the number is of, by its place in the list.
    pub fn extension(&self, number: &str) -> Option<usize> {
        let number = normalise(number, self.country)?;
        if let Some(index) = self.numbers.get(number.as_str()) {
            return Some(*index);
        }
        let covering = |(spelled, _): &&(Spelled, usize)| covers(spelled, &number);
        self.wide.iter().find(covering).map(|(_, index)| *index)
    }
}

/// Ranges before prefixes, the narrower and the longer first: as the compiled directory prefers them.
pub(super) fn breadth(spelled: &Spelled) -> (u8, u64) {
    match spelled {
        Spelled::Number(_) => (0, 0),
        Spelled::Range(range) => (1, range.width()),
        Spelled::Prefix(prefix) => (2, u64::MAX - prefix.as_bytes().len() as u64),
    }
}

pub(super) fn covers(spelled: &Spelled, number: &Number) -> bool {
    let mut found = false;
    spelled.blocks(&mut |shape, text| {
        found |= shape.text_of(number.as_bytes()) == Some(text);
    });
    found
}

impl ExtensionPattern {
    /// `number`, `range` or `prefix`.
    pub fn kind(&self) -> &'static str {
        match self {
            ExtensionPattern::Number(_) => "number",
            ExtensionPattern::Range { .. } => "range",
            ExtensionPattern::Prefix(_) => "prefix",
        }
    }

    /// What it covers in the one spelling that no country changes, without the `*` of a prefix.
    pub fn plain(&self) -> String {
        let plain = |text: &str| {
            let number = normalise(text, None);
            number.map_or_else(|| text.to_owned(), |number| number.as_str().to_owned())
        };
        match self {
            ExtensionPattern::Number(text) | ExtensionPattern::Prefix(text) => plain(text),
            ExtensionPattern::Range { first, last } => format!("{first}-{last}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::definition::{Alias, Place};
    use super::*;

    fn extension(pattern: ExtensionPattern, aliases: &[&str]) -> ExtensionDefinition {
        let place = Place::new("t.toml", 1);
        ExtensionDefinition {
            pattern,
            aliases: aliases
                .iter()
                .map(|number| Alias {
                    number: (*number).into(),
                    place: place.clone(),
                })
                .collect(),
            user: None,
            place,
            policy: None,
            allocated: false,
        }
    }

    #[test]
    fn the_most_specific_extension_has_a_number() {
        let extensions = [
            extension(ExtensionPattern::range("1000-1999").unwrap(), &[]),
            extension(ExtensionPattern::range("1100-1199").unwrap(), &[]),
            extension(
                ExtensionPattern::number("11 50").unwrap(),
                &["020 7946 0101"],
            ),
            extension(ExtensionPattern::prefix("80").unwrap(), &[]),
            extension(ExtensionPattern::prefix("801").unwrap(), &[]),
        ];
        let coverage = Coverage::of(&extensions, Country::from_iso("GB"));
        for (number, index) in [
            ("1150", Some(2)),
            ("11-51", Some(1)),
            ("1200", Some(0)),
            ("+442079460101", Some(2)),
            ("80", Some(3)),
            ("8012", Some(4)),
            ("11000", None),
            ("7", None),
            ("", None),
        ] {
            assert_eq!(coverage.extension(number), index, "{number}");
        }
        let plain: Vec<String> = extensions.iter().map(|e| e.pattern.plain()).collect();
        assert_eq!(plain, ["1000-1999", "1100-1199", "1150", "80", "801"]);
    }
}
