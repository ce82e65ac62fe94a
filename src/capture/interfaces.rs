//! Names of the interfaces that capture files speak of.

use crate::base::WireMap;

/// Names that are kept; interfaces past these share index 0. A sensor has a handful; a file may claim any number.
const MAX_NAMES: usize = 1024;

/// Longest name kept, in characters (Linux allows 15; Windows writes GUIDs).
const MAX_NAME_CHARS: usize = 128;

/// Numbers for interface names, the same name always the same number, across files. 0 is for those without a name.
pub(super) struct InterfaceNames {
    names: Vec<String>,
    numbers: WireMap<String, u16>,
}

impl InterfaceNames {
    pub(super) fn new() -> InterfaceNames {
        InterfaceNames {
            names: vec![String::new()],
            numbers: WireMap::default(),
        }
    }

    pub(super) fn number(&mut self, name: &str) -> u16 {
        let end = name
            .char_indices()
            .nth(MAX_NAME_CHARS)
            .map_or(name.len(), |(end, _)| end);
        let name = name.get(..end).unwrap_or_default();
        if name.is_empty() {
            return 0;
        }
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let Some(number) = u16::try_from(self.names.len())
            .ok()
            .filter(|_| self.names.len() < MAX_NAMES)
        else {
            return 0;
        };
        self.names.push(name.to_owned());
        self.numbers.insert(name.to_owned(), number);
        number
    }

    pub(super) fn all(&self) -> &[String] {
        &self.names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_for_a_name_and_zero_for_none() {
        let mut names = InterfaceNames::new();
        assert_eq!(names.number(""), 0);
        assert_eq!(names.number("eth0"), 1);
        assert_eq!(names.number("eth1"), 2);
        assert_eq!(names.number("eth0"), 1);
        assert_eq!(names.all(), ["", "eth0", "eth1"]);
    }

    #[test]
    fn a_file_that_claims_many_interfaces_fills_no_memory() {
        let mut names = InterfaceNames::new();
        for n in 0..100_000 {
            names.number(&format!("if{n}"));
        }
        assert_eq!(names.all().len(), MAX_NAMES);
        assert_eq!(names.number("if99999"), 0);
        let long = "é".repeat(1000);
        assert_eq!(names.number(&long), 0);
    }
}
