//! A list of what is wrong, instead of an end at the first of it.

#![allow(dead_code, reason = "each test uses a part of it")]

use callreel::base::Timestamp;

/// Everything that is not as it should be, so that one run tells all of it.
#[derive(Default)]
pub struct Findings {
    about: String,
    found: Vec<String>,
}

impl Findings {
    /// What is found from here on is about this.
    pub fn about(&mut self, about: impl Into<String>) {
        self.about = about.into();
    }

    pub fn same<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: T, expected: T) {
        self.holds(found == expected, || {
            format!("{what} is {found:?}, not {expected:?}")
        });
    }

    pub fn near(&mut self, what: &str, found: f64, expected: f64, tolerance: f64) {
        self.holds((found - expected).abs() <= tolerance, || {
            format!("{what} is {found:.4}, not {expected:.4} ± {tolerance}")
        });
    }

    /// Times within a millisecond.
    pub fn at(&mut self, what: &str, found_ns: Option<i64>, expected: Option<Timestamp>) {
        let expected = expected.map(Timestamp::as_nanos);
        let near = match (found_ns, expected) {
            (Some(found), Some(expected)) => (found - expected).abs() <= 1_000_000,
            (found, expected) => found == expected,
        };
        self.holds(near, || format!("{what} is {found_ns:?}, not {expected:?}"));
    }

    pub fn holds(&mut self, holds: bool, say: impl FnOnce() -> String) {
        if !holds {
            self.found.push(format!("{}: {}", self.about, say()));
        }
    }
}

impl Drop for Findings {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.found.is_empty(), "\n{}", self.found.join("\n"));
        }
    }
}
