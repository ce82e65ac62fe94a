//! What is taken from who has a tenant's extensions when one of them is made, or gets other aliases.

use super::country::Country;
use super::coverage::{breadth, covers};
use super::definition::ExtensionDefinition;
use super::extension::{ExtensionPattern, Shape, Spelled};
use super::number::{Number, normalise};

/// One extension that is made or changed, among all of its tenant's.
pub struct Taking<'e> {
    extensions: &'e [ExtensionDefinition],
    country: Option<Country>,
    changed: usize,
    /// What it covers that it did not.
    added: Vec<Spelled>,
    /// It had an alias that it has no longer.
    drops: bool,
}

impl<'e> Taking<'e> {
    /// `extensions` as they will be, the changed one by its place among them and as it was; it was not there: `None`.
    pub fn of(
        extensions: &'e [ExtensionDefinition],
        country: Option<Country>,
        changed: usize,
        before: Option<&ExtensionDefinition>,
    ) -> Taking<'e> {
        let aliases = |extension: &ExtensionDefinition| -> Vec<Number> {
            let aliases = extension.aliases.iter();
            aliases
                .filter_map(|alias| normalise(&alias.number, country))
                .collect()
        };
        let is = extensions.get(changed);
        let (has, had) = (
            is.map(aliases).unwrap_or_default(),
            before.map(aliases).unwrap_or_default(),
        );
        let among = |all: &[Number], one: &Number| all.iter().any(|it| it.as_str() == one.as_str());
        let drops = had.iter().any(|alias| !among(&has, alias));
        let new = has.into_iter().filter(|alias| !among(&had, alias));
        let mut added: Vec<Spelled> = new.map(Spelled::Number).collect();
        if before.is_none() {
            added.extend(is.and_then(|is| is.pattern.spelled(country)));
        }
        Taking {
            extensions,
            country,
            changed,
            added,
            drops,
        }
    }

    /// Whether who has the extension at this place, or one `number` of it, has less of it by the change.
    pub fn takes_from(&self, place: usize, number: Option<&str>) -> bool {
        let Some(theirs) = self.extensions.get(place) else {
            return false;
        };
        let spelled = || theirs.pattern.spelled(self.country);
        match (number, &theirs.pattern) {
            (None, _) if place == self.changed => self.drops,
            // Two extensions that are one number are none.
            (_, ExtensionPattern::Number(_)) => false,
            (Some(number), _) => {
                normalise(number, self.country)
                    .zip(spelled())
                    .is_some_and(|(number, theirs)| {
                        let one = Spelled::Number(number);
                        let narrower = |claim: &&Spelled| breadth(claim) < breadth(&theirs);
                        let mut claims = self.added.iter().filter(narrower);
                        claims.any(|claim| covers(claim, &number))
                            && !self.is_of_others(&one, place, &theirs)
                    })
            }
            (None, _) => spelled().is_some_and(|theirs| {
                let narrower = |claim: &&Spelled| breadth(claim) < breadth(&theirs);
                let mut claims = self.added.iter().filter(narrower);
                claims
                    .any(|claim| meet(claim, &theirs) && !self.is_of_others(claim, place, &theirs))
            }),
        }
    }

    /// Whether all of these numbers were of a narrower extension than the one at this place before.
    fn is_of_others(&self, numbers: &Spelled, place: usize, theirs: &Spelled) -> bool {
        let others = self.extensions.iter().enumerate();
        let others = others.filter(|(at, _)| *at != place && *at != self.changed);
        let mut others = others.filter_map(|(_, other)| other.pattern.spelled(self.country));
        others.any(|other| breadth(&other) < breadth(theirs) && lies_within(numbers, &other))
    }
}

fn blocks(spelled: &Spelled) -> Vec<(Shape, Vec<u8>)> {
    let mut all = Vec::new();
    spelled.blocks(&mut |shape, text| all.push((shape, text.to_vec())));
    all
}

/// Whether some number is of both.
fn meet(one: &Spelled, other: &Spelled) -> bool {
    let others = blocks(other);
    blocks(one).iter().any(|(shape, text)| {
        others
            .iter()
            .any(|(other, of_other)| match text.len() >= of_other.len() {
                true => text.starts_with(of_other) && shape.meets(*other),
                false => of_other.starts_with(text) && other.meets(*shape),
            })
    })
}

/// Whether each number of the one is of the other.
fn lies_within(one: &Spelled, other: &Spelled) -> bool {
    let others = blocks(other);
    let any_length = |shape: &Shape| shape.total_len() == 0;
    blocks(one).iter().all(|(shape, text)| {
        others.iter().any(|(other, of_other)| {
            text.starts_with(of_other)
                && (any_length(other) || other.total_len() == shape.total_len())
        })
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Directory;
    use super::super::coverage::Coverage;
    use super::super::definition::{Alias, Place, TenantDefinition};
    use super::*;

    fn extension(pattern: &str, aliases: &[&str]) -> ExtensionDefinition {
        let place = Place::new("t.toml", 1);
        let pattern = match pattern.strip_suffix('*') {
            Some(prefix) => ExtensionPattern::prefix(prefix),
            None if pattern.contains('-') => ExtensionPattern::range(pattern),
            None => ExtensionPattern::number(pattern),
        };
        let alias = |number: &&str| Alias {
            number: (*number).into(),
            place: place.clone(),
        };
        ExtensionDefinition {
            pattern: pattern.unwrap(),
            aliases: aliases.iter().map(alias).collect(),
            user: None,
            place: place.clone(),
            policy: None,
            allocated: false,
        }
    }

    /// Whether to make `new` beside `others` takes something from who has the first of them, or a number of it.
    fn takes(others: &[&str], new: &str, number: Option<&str>) -> bool {
        let mut all: Vec<_> = others.iter().map(|text| extension(text, &[])).collect();
        all.push(extension(new, &[]));
        let gb = Country::from_iso("GB");
        Taking::of(&all, gb, others.len(), None).takes_from(0, number)
    }

    #[test]
    fn what_is_narrower_takes_and_what_is_wider_does_not() {
        for (theirs, new, taken) in [
            ("1100-1199", "1150", true),
            ("1100-1199", "1140-1160", true),
            ("1100-1199", "1000-1999", false),
            ("1100-1199", "11*", false),
            ("1100-1199", "1200", false),
            ("1100-1199", "11500", false),
            ("70*", "70", true),
            ("70*", "7012", true),
            ("70*", "701*", true),
            ("70*", "7*", false),
            ("70*", "7010-7019", true),
            ("7012*", "7000-7099", true),
            ("70*", "6900-6999", false),
            ("70*", "7", false),
            ("70*", "0-9", false),
            ("+4420*", "02079460101", true),
            ("1150", "1100-1199", false),
        ] {
            assert_eq!(takes(&[theirs], new, None), taken, "{theirs} {new}");
        }
    }

    #[test]
    fn one_number_is_taken_by_what_comes_between() {
        for (theirs, new, taken) in [
            ("1000-1999", "1150", true),
            ("1000-1999", "1151", false),
            ("1000-1999", "1100-1199", true),
            ("1000-1999", "0000-9999", false),
            ("1*", "1000-1999", true),
            ("1*", "115*", true),
        ] {
            let number = Some("11 50");
            assert_eq!(takes(&[theirs], new, number), taken, "{theirs} {new}");
        }
    }

    #[test]
    fn what_is_another_s_already_is_not_taken_again() {
        let others = ["1000-1999", "1100-1199", "12*"];
        for (new, taken) in [("1150", false), ("1120-1130", false), ("1099", true)] {
            assert_eq!(takes(&others, new, None), taken, "{new}");
        }
        assert!(!takes(&others, "1150", Some("1150")));
        // The range goes before the prefix.
        assert!(takes(&others, "1250", None));
    }

    #[test]
    fn an_alias_is_taken_from_who_has_all_of_its_extension() {
        let before = extension("2000", &["2001", "+442079460101"]);
        let whole = |now: &[&str]| {
            let all = [extension("2000", now), extension("20*", &[])];
            let gb = Country::from_iso("GB");
            let taking = Taking::of(&all, gb, 0, Some(&before));
            (taking.takes_from(0, None), taking.takes_from(1, None))
        };
        assert_eq!(whole(&["2001", "020 7946 0101"]), (false, false));
        assert_eq!(whole(&["2001"]), (true, false));
        assert_eq!(whole(&["2001", "+442079460101", "2002"]), (false, true));
        assert_eq!(whole(&["2001", "+442079460101", "3002"]), (false, false));
        // One number of a range that becomes an alias of the range is who has all of it's.
        let (range, with_alias) = (extension("20*", &[]), [extension("20*", &["2050"])]);
        let taking = Taking::of(&with_alias, None, 0, Some(&range));
        assert!(taking.takes_from(0, Some("2050")) && !taking.takes_from(0, Some("2051")));
    }

    fn any_pattern() -> impl Strategy<Value = String> {
        prop_oneof![
            "[12]{1,4}",
            "[12]{1,3}\\*",
            (0_u32..300, 0_u32..300).prop_map(|(a, b)| format!("{:03}-{:03}", a.min(b), a.max(b))),
            (0_u32..30, 0_u32..30).prop_map(|(a, b)| format!("1{:02}-1{:02}", a.min(b), a.max(b))),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Whoever loses a number is told, and of one number nobody who keeps it.
        #[test]
        fn it_agrees_with_whose_each_number_is(
            patterns in proptest::collection::hash_set(any_pattern(), 2..5),
        ) {
            let all: Vec<_> = patterns.iter().map(|text| extension(text, &[])).collect();
            let (new, others) = (all.len() - 1, &all[..all.len() - 1]);
            // Ranges that overlap in part make no directory.
            let id = crate::base::TenantId(uuid::Uuid::from_u128(1));
            let mut tenant = TenantDefinition::new(id, "One", Place::new("t.toml", 1));
            tenant.extensions.clone_from(&all);
            prop_assume!(Directory::compile(vec![tenant], None).is_ok());
            let (was, is) = (Coverage::of(others, None), Coverage::of(&all, None));
            let taking = Taking::of(&all, None, new, None);
            let numbers = (0..5_u32).flat_map(|digits| (0..3_u32.pow(digits)).map(move |at| {
                (0..digits).map(|place| char::from(b'0' + (at / 3_u32.pow(place) % 3) as u8)).collect::<String>()
            }));
            let numbers: Vec<String> = numbers.filter(|number| !number.is_empty()).collect();
            for place in 0..others.len() {
                let lost: Vec<&String> = numbers.iter()
                    .filter(|number| was.extension(number) == Some(place) && is.extension(number) != Some(place))
                    .collect();
                if !lost.is_empty() {
                    prop_assert!(taking.takes_from(place, None), "{patterns:?} {place} {lost:?}");
                }
                for number in lost {
                    prop_assert!(taking.takes_from(place, Some(number)), "{patterns:?} {place} {number}");
                }
                for number in numbers.iter().filter(|number| is.extension(number) == Some(place)) {
                    prop_assert!(!taking.takes_from(place, Some(number)), "{patterns:?} {place} {number}");
                }
            }
        }
    }
}
