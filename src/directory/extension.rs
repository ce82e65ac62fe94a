//! What an extension covers: one number, a range of numbers of the same length, or all numbers with a prefix.

use std::fmt;

use super::country::Country;
use super::number::{Number, normalise};

/// Most digits of a range's ends; E.164 has 15.
const MAX_RANGE_DIGITS: usize = 18;

/// What an extension covers, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtensionPattern {
    Number(Box<str>),
    /// Both ends belong to it.
    Range {
        first: Box<str>,
        last: Box<str>,
    },
    /// Every number that begins so, itself included, in the spelling of [`normalise`].
    Prefix(Box<str>),
}

/// Why a text is no extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtensionError {
    #[error("an extension is a number or a name of 1 to 47 characters without spaces")]
    Number,
    #[error(
        "a range is two numbers of the same length with `-` between them, such as \"1100-1199\""
    )]
    Range,
    #[error("the first number of the range is greater than its last")]
    Reversed,
    #[error("a range's numbers have at most 18 digits")]
    RangeTooLong,
}

impl ExtensionPattern {
    /// # Errors
    /// When nothing that can be dialled or called is left after normalisation.
    pub fn number(text: &str) -> Result<ExtensionPattern, ExtensionError> {
        check_number(text).map(|()| ExtensionPattern::Number(text.into()))
    }

    /// # Errors
    /// As [`ExtensionPattern::number`].
    pub fn prefix(text: &str) -> Result<ExtensionPattern, ExtensionError> {
        check_number(text).map(|()| ExtensionPattern::Prefix(text.into()))
    }

    /// `1100-1199` or `+442079460100-+442079460199`.
    ///
    /// # Errors
    /// When it is not two numbers of one length in ascending order.
    pub fn range(text: &str) -> Result<ExtensionPattern, ExtensionError> {
        let (first, last) = text.split_once('-').ok_or(ExtensionError::Range)?;
        let (first, last) = (first.trim(), last.trim());
        let plain = |end: &str| {
            let digits = end.strip_prefix('+').unwrap_or(end);
            !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
        };
        let same_shape =
            first.len() == last.len() && first.starts_with('+') == last.starts_with('+');
        if !plain(first) || !plain(last) || !same_shape {
            return Err(ExtensionError::Range);
        }
        if first.len() > MAX_RANGE_DIGITS {
            return Err(ExtensionError::RangeTooLong);
        }
        if first > last {
            return Err(ExtensionError::Reversed);
        }
        Ok(ExtensionPattern::Range {
            first: first.into(),
            last: last.into(),
        })
    }

    /// In the spelling of a country.
    pub(super) fn spelled(&self, country: Option<Country>) -> Option<Spelled> {
        match self {
            ExtensionPattern::Number(text) => normalise(text, country).map(Spelled::Number),
            ExtensionPattern::Prefix(text) => normalise(text, None).map(Spelled::Prefix),
            ExtensionPattern::Range { first, last } => {
                let ends =
                    |country| Range::new(&normalise(first, country)?, &normalise(last, country)?);
                // Ends that a country spells differently stay as they are.
                ends(country).or_else(|| ends(None)).map(Spelled::Range)
            }
        }
    }
}

/// Checks that `text` can be an extension or an alias of one.
///
/// # Errors
/// When it is empty, too long, or holds white space that is no separator.
pub fn check_number(text: &str) -> Result<(), ExtensionError> {
    let number = normalise(text, None).ok_or(ExtensionError::Number)?;
    let spaced = number
        .as_str()
        .contains(|c: char| c.is_whitespace() || c.is_control());
    if spaced {
        Err(ExtensionError::Number)
    } else {
        Ok(())
    }
}

impl fmt::Display for ExtensionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExtensionPattern::Number(number) => f.write_str(number),
            ExtensionPattern::Range { first, last } => write!(f, "{first}-{last}"),
            ExtensionPattern::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// A pattern in the spelling that numbers are compared in.
pub(super) enum Spelled {
    Number(Number),
    Range(Range),
    Prefix(Number),
}

impl Spelled {
    /// The shapes and texts that together are the pattern.
    pub fn blocks(&self, visit: &mut impl FnMut(Shape, &[u8])) {
        match self {
            Spelled::Number(number) => visit(Shape::number(number.as_bytes()), number.as_bytes()),
            Spelled::Prefix(prefix) => visit(Shape::prefix(prefix.as_bytes()), prefix.as_bytes()),
            Spelled::Range(range) => range.blocks(visit),
        }
    }
}

/// A range of numbers with the same count of digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    plus: bool,
    digits: u32,
    pub first: u64,
    pub last: u64,
}

impl Range {
    fn new(first: &Number, last: &Number) -> Option<Range> {
        let split = |number: &Number| -> Option<(bool, u32, u64)> {
            let text = number.as_str();
            let digits = text.strip_prefix('+').unwrap_or(text);
            let count = u32::try_from(digits.len()).ok()?;
            Some((digits.len() != text.len(), count, digits.parse().ok()?))
        };
        let (plus, digits, first) = split(first)?;
        let (last_plus, last_digits, last) = split(last)?;
        let fits = (plus, digits) == (last_plus, last_digits) && first <= last && digits <= 18;
        fits.then_some(Range {
            plus,
            digits,
            first,
            last,
        })
    }

    pub fn width(&self) -> u64 {
        self.last - self.first
    }

    /// Ranges of other lengths never meet.
    pub fn kind(&self) -> (bool, u32) {
        (self.plus, self.digits)
    }

    /// The range as the fewest runs of 10^k numbers that share all but their last k digits.
    fn blocks(&self, visit: &mut impl FnMut(Shape, &[u8])) {
        let total = usize::try_from(self.digits).unwrap_or(0) + usize::from(self.plus);
        let plus = if self.plus { "+" } else { "" };
        let mut first = self.first;
        while first <= self.last {
            let fits = |open: &u32| {
                let size = 10_u64.pow(*open);
                first.is_multiple_of(size) && size - 1 <= self.last - first
            };
            let open = (1..=self.digits).take_while(fits).last().unwrap_or(0);
            let size = 10_u64.pow(open);
            let kept = usize::try_from(self.digits - open).unwrap_or(0);
            let text = if kept == 0 {
                plus.to_owned()
            } else {
                format!("{plus}{:0kept$}", first / size)
            };
            visit(Shape::range(text.as_bytes(), total), text.as_bytes());
            first += size;
        }
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plus = if self.plus { "+" } else { "" };
        let width = usize::try_from(self.digits).unwrap_or(0);
        write!(
            f,
            "{plus}{:0width$}-{plus}{:0width$}",
            self.first, self.last
        )
    }
}

/// How a text stands for numbers. Ordered from the most to the least specific.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Shape {
    pub kind: Kind,
    /// Negated length of the text, so that longer texts come first.
    specific: i8,
    /// Length of the numbers; 0 for any.
    total_len: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    Number,
    Range,
    Prefix,
}

impl Shape {
    fn new(kind: Kind, text: &[u8], total_len: usize) -> Shape {
        // Texts are at most MAX_NUMBER_LEN bytes.
        let len = i8::try_from(text.len()).unwrap_or(i8::MAX);
        Shape {
            kind,
            specific: -len,
            total_len: u8::try_from(total_len).unwrap_or(u8::MAX),
        }
    }

    pub fn number(text: &[u8]) -> Shape {
        Shape::new(Kind::Number, text, text.len())
    }

    fn range(text: &[u8], total_len: usize) -> Shape {
        Shape::new(Kind::Range, text, total_len)
    }

    fn prefix(text: &[u8]) -> Shape {
        Shape::new(Kind::Prefix, text, 0)
    }

    pub fn text_len(self) -> usize {
        usize::from(self.specific.unsigned_abs())
    }

    pub fn total_len(self) -> u8 {
        self.total_len
    }

    /// The text of this shape that covers `number`, if its length fits.
    pub fn text_of(self, number: &[u8]) -> Option<&[u8]> {
        let fits = self.total_len == 0 || usize::from(self.total_len) == number.len();
        if fits {
            number.get(..self.text_len())
        } else {
            None
        }
    }

    /// Whether some number can have both shapes, when the text of `self` begins with the text of `shorter`.
    pub fn meets(self, shorter: Shape) -> bool {
        match (self.total_len, shorter.total_len) {
            (_, 0) => true,
            (0, total) => usize::from(total) >= self.text_len(),
            (a, b) => a == b,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(text: &str) -> Range {
        match ExtensionPattern::range(text).unwrap().spelled(None) {
            Some(Spelled::Range(range)) => range,
            _ => panic!("{text} is a range"),
        }
    }

    #[test]
    fn ranges_are_two_plain_numbers_of_one_length() {
        use ExtensionError::*;
        let error = |text: &str| ExtensionPattern::range(text).unwrap_err();
        assert_eq!(error("1100"), Range);
        assert_eq!(error("1100-11999"), Range);
        assert_eq!(error("+110-1199"), Range);
        assert_eq!(error("1199-1100"), Reversed);
        assert_eq!(error("a-b"), Range);
        assert_eq!(
            error(&format!("{}-{}", "1".repeat(19), "2".repeat(19))),
            RangeTooLong
        );
        assert_eq!(range("0090-0110").to_string(), "0090-0110");
    }

    #[test]
    fn a_range_is_few_blocks() {
        let blocks = |text: &str| {
            let mut found = Vec::new();
            range(text)
                .blocks(&mut |_, text| found.push(String::from_utf8_lossy(text).into_owned()));
            found
        };
        assert_eq!(blocks("1100-1199"), ["11"]);
        assert_eq!(blocks("0000-9999"), [""]);
        assert_eq!(blocks("1098-1110"), ["1098", "1099", "110", "1110"]);
        assert_eq!(blocks("+4420100-+4420199"), ["+44201"]);
        assert_eq!(blocks("000000000000000000-999999999999999999"), [""]);
    }

    #[test]
    fn extensions_are_spelled_by_the_country() {
        let gb = Country::from_iso("GB");
        match ExtensionPattern::range("02079460100-02079460199")
            .unwrap()
            .spelled(gb)
        {
            Some(Spelled::Range(range)) => {
                assert_eq!(range.to_string(), "+442079460100-+442079460199");
            }
            _ => panic!("a range stays a range"),
        }
        assert_eq!(check_number("alice smith"), Err(ExtensionError::Number));
        assert_eq!(check_number(""), Err(ExtensionError::Number));
        assert_eq!(check_number("020 7946 0101"), Ok(()));
    }

    proptest! {
        #[test]
        fn blocks_cover_a_range_and_nothing_else(a in 0_u64..10_000, b in 0_u64..10_000, probe in 0_u64..10_000) {
            let (first, last) = (a.min(b), a.max(b));
            let range = range(&format!("{first:04}-{last:04}"));
            let probe_text = format!("{probe:04}");
            let mut hits = 0;
            range.blocks(&mut |shape, text| {
                hits += u32::from(shape.text_of(probe_text.as_bytes()) == Some(text));
            });
            prop_assert_eq!(hits, u32::from((first..=last).contains(&probe)));
        }

        #[test]
        fn any_text_is_refused_or_spelled(text in "\\PC{0,50}") {
            for pattern in [ExtensionPattern::number(&text), ExtensionPattern::prefix(&text), ExtensionPattern::range(&text)].into_iter().flatten() {
                prop_assert!(pattern.spelled(Country::from_iso("DE")).is_some());
            }
        }
    }
}
