//! Reading typed values out of a TOML table, noting all that is wrong instead of stopping at the first.

use std::fmt;
use std::ops::{Range, RangeInclusive};
use std::sync::Arc;

use smallvec::SmallVec;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Severity, Spot};
use crate::directory::Place;

/// A file being read: its text, and what was found wrong with it so far.
pub(super) struct Source<'s> {
    pub file: &'s Arc<str>,
    text: &'s str,
    /// Where each line begins, in bytes.
    line_starts: Vec<usize>,
    diagnostics: Vec<Diagnostic>,
}

impl<'s> Source<'s> {
    pub fn new(file: &'s Arc<str>, text: &'s str) -> Source<'s> {
        let after_breaks = memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1);
        Source {
            file,
            text,
            line_starts: std::iter::once(0).chain(after_breaks).collect(),
            diagnostics: Vec::new(),
        }
    }

    /// The document, if it is TOML at all.
    pub fn parse(&mut self) -> Option<Spanned<DeTable<'s>>> {
        let (document, errors) = DeTable::parse_recoverable(self.text);
        for error in &errors {
            let span = error.span().unwrap_or_default();
            self.error(span, error.message());
        }
        errors.is_empty().then_some(document)
    }

    pub fn place(&self, span: &Range<usize>) -> Place {
        Place {
            file: self.file.clone(),
            line: self.line(span.start).0,
        }
    }

    fn line(&self, at: usize) -> (u32, usize) {
        let count = self.line_starts.partition_point(|start| *start <= at);
        let start = count
            .checked_sub(1)
            .and_then(|index| self.line_starts.get(index));
        (
            u32::try_from(count).unwrap_or(u32::MAX),
            start.copied().unwrap_or(0),
        )
    }

    pub fn error(&mut self, span: Range<usize>, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Error, span, message)
    }

    pub fn warn(&mut self, span: Range<usize>, message: impl Into<String>) -> &mut Diagnostic {
        self.push(Severity::Warning, span, message)
    }

    fn push(
        &mut self,
        severity: Severity,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> &mut Diagnostic {
        let (line, start) = self.line(span.start);
        let spot = Spot::span(self.text, line, start, span);
        let diagnostic = Diagnostic::new(severity, self.file, spot, message);
        self.diagnostics.push(diagnostic);
        self.diagnostics.last_mut().expect("one was just pushed")
    }

    /// What was found, in the order of the file.
    pub fn into_diagnostics(mut self) -> Vec<Diagnostic> {
        self.diagnostics
            .sort_by_key(|diagnostic| (diagnostic.line, diagnostic.column));
        self.diagnostics
    }

    pub fn has_errors(&self) -> bool {
        (self.diagnostics.iter()).any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// A value and where it is written.
pub(super) struct At<T> {
    pub value: T,
    pub span: Range<usize>,
}

/// A table whose keys are asked for one by one; [`Fields::finish`] complains about the others.
pub(super) struct Fields<'t> {
    table: &'t DeTable<'t>,
    pub span: Range<usize>,
    asked: SmallVec<[&'static str; 16]>,
}

impl<'t> Fields<'t> {
    pub fn new(document: &'t Spanned<DeTable<'t>>) -> Fields<'t> {
        Fields::of(document.get_ref(), document.span())
    }

    fn of(table: &'t DeTable<'t>, span: Range<usize>) -> Fields<'t> {
        Fields {
            table,
            span,
            asked: SmallVec::new(),
        }
    }

    fn take(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.asked.push(key);
        self.table.get(key)
    }

    /// Where a key's value is written, or the table's head when it is not there.
    pub fn span_of(&self, key: &str) -> Range<usize> {
        self.table
            .get(key)
            .map_or_else(|| self.span.clone(), Spanned::span)
    }

    pub fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether a key's value is a list without anything in it.
    pub fn is_empty_list(&self, key: &str) -> bool {
        let list = self
            .table
            .get(key)
            .and_then(|value| value.get_ref().as_array());
        list.is_some_and(|list| list.is_empty())
    }

    pub fn string(&mut self, source: &mut Source<'_>, key: &'static str) -> Option<At<&'t str>> {
        let value = self.take(key)?;
        text(source, value, "a string")
    }

    /// As [`Fields::string`]; it is an error when it is not there.
    pub fn required(&mut self, source: &mut Source<'_>, key: &'static str) -> Option<At<&'t str>> {
        if !self.has(key) {
            self.asked.push(key);
            source.error(self.span.clone(), format!("`{key}` is missing here"));
            return None;
        }
        self.string(source, key)
    }

    /// A string made into something else.
    pub fn parsed<T, E: fmt::Display>(
        &mut self,
        source: &mut Source<'_>,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.string(source, key)?;
        parse(text.value)
            .map_err(|error| {
                source.error(text.span, error.to_string());
            })
            .ok()
    }

    pub fn integer<T>(
        &mut self,
        source: &mut Source<'_>,
        key: &'static str,
        range: RangeInclusive<T>,
    ) -> Option<T>
    where
        T: TryFrom<i128> + fmt::Display + Copy,
        i128: From<T>,
    {
        let value = self.take(key)?;
        integer(source, value, key, range)
    }

    pub fn flag(&mut self, source: &mut Source<'_>, key: &'static str) -> Option<bool> {
        let value = self.take(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            mismatch(source, value, "true or false");
        }
        flag
    }

    /// One of a few names.
    pub fn choice<T: Copy>(
        &mut self,
        source: &mut Source<'_>,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Option<T> {
        let text = self.string(source, key)?;
        choice(source, &text, choices)
    }

    /// A list of strings; one string stands for a list of one.
    pub fn strings(
        &mut self,
        source: &mut Source<'_>,
        key: &'static str,
    ) -> Option<Vec<At<&'t str>>> {
        let list = self.list(source, key, "a list of strings")?;
        let texts = list
            .into_iter()
            .filter_map(|value| text(source, value, "a string"));
        Some(texts.collect())
    }

    /// A list of integers; one integer stands for a list of one.
    pub fn integers<T>(
        &mut self,
        source: &mut Source<'_>,
        key: &'static str,
        range: RangeInclusive<T>,
    ) -> Option<Vec<T>>
    where
        T: TryFrom<i128> + fmt::Display + Copy,
        i128: From<T>,
    {
        let list = self.list(source, key, "a list of integers")?;
        let values = list.into_iter();
        Some(
            values
                .filter_map(|value| integer(source, value, key, range.clone()))
                .collect(),
        )
    }

    fn list(
        &mut self,
        source: &mut Source<'_>,
        key: &'static str,
        expected: &str,
    ) -> Option<Vec<&'t Spanned<DeValue<'t>>>> {
        let value = self.take(key)?;
        match value.get_ref() {
            DeValue::Array(array) => Some(array.iter().collect()),
            DeValue::Table(_) => {
                mismatch(source, value, expected);
                None
            }
            _ => Some(vec![value]),
        }
    }

    pub fn table(&mut self, source: &mut Source<'_>, key: &'static str) -> Option<Fields<'t>> {
        let value = self.take(key)?;
        let Some(table) = value.get_ref().as_table() else {
            mismatch(source, value, &format!("a table `[{key}]`"));
            return None;
        };
        Some(Fields::of(table, value.span()))
    }

    /// `[[key]]`, any number of times.
    pub fn tables(&mut self, source: &mut Source<'_>, key: &'static str) -> Vec<Fields<'t>> {
        let Some(value) = self.take(key) else {
            return Vec::new();
        };
        let expected = format!("tables `[[{key}]]`");
        let Some(array) = value.get_ref().as_array() else {
            mismatch(source, value, &expected);
            return Vec::new();
        };
        let tables = array.iter().filter_map(|value| {
            let table = value.get_ref().as_table();
            if table.is_none() {
                mismatch(source, value, &expected);
            }
            table.map(|table| Fields::of(table, value.span()))
        });
        tables.collect()
    }

    /// A table whose keys are the operator's own: each with the table or value below it.
    pub fn named_tables(
        &mut self,
        source: &mut Source<'_>,
        key: &'static str,
    ) -> Vec<(&'t str, Fields<'t>)> {
        let Some(outer) = self.table(source, key) else {
            return Vec::new();
        };
        let inner = outer.table.iter().filter_map(|(name, value)| {
            let name: &str = name.get_ref();
            let Some(table) = value.get_ref().as_table() else {
                mismatch(source, value, &format!("a table `[{key}.{name}]`"));
                return None;
            };
            Some((name, Fields::of(table, value.span())))
        });
        inner.collect()
    }

    /// A table of strings under the operator's own keys.
    pub fn named_strings(
        &mut self,
        source: &mut Source<'_>,
        key: &'static str,
    ) -> Vec<(&'t str, At<&'t str>)> {
        let Some(outer) = self.table(source, key) else {
            return Vec::new();
        };
        let inner = outer.table.iter().filter_map(|(name, value)| {
            let text = text(source, value, "a string")?;
            let name: &str = name.get_ref();
            Some((name, text))
        });
        inner.collect()
    }

    /// Notes every key that nobody asked for.
    pub fn finish(self, source: &mut Source<'_>) {
        if self
            .table
            .keys()
            .all(|key| self.asked.contains(&&**key.get_ref()))
        {
            return;
        }
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if !self.asked.contains(&name) {
                let help = suggestion(name, &self.asked);
                let error = source.error(key.span(), format!("unknown key `{name}`"));
                error.help = Some(help);
            }
        }
    }
}

fn text<'t>(
    source: &mut Source<'_>,
    value: &'t Spanned<DeValue<'t>>,
    expected: &str,
) -> Option<At<&'t str>> {
    let Some(text) = value.get_ref().as_str() else {
        let error = mismatch(source, value, expected);
        // Extensions are written without quotes sooner or later.
        if let Some(number) = value.get_ref().as_integer() {
            error.help = Some(format!("put it in quotes: \"{}\"", number.as_str()));
        }
        return None;
    };
    Some(At {
        value: text,
        span: value.span(),
    })
}

fn integer<T>(
    source: &mut Source<'_>,
    value: &Spanned<DeValue<'_>>,
    key: &str,
    range: RangeInclusive<T>,
) -> Option<T>
where
    T: TryFrom<i128> + fmt::Display + Copy,
    i128: From<T>,
{
    let Some(written) = value.get_ref().as_integer() else {
        mismatch(source, value, "an integer");
        return None;
    };
    let (first, last) = (*range.start(), *range.end());
    let fits = i128::from_str_radix(written.as_str(), written.radix())
        .ok()
        .filter(|number| (i128::from(first)..=i128::from(last)).contains(number))
        .and_then(|number| T::try_from(number).ok());
    if fits.is_none() {
        source.error(
            value.span(),
            format!("`{key}` must be from {first} to {last}"),
        );
    }
    fits
}

pub(super) fn choice<T: Copy>(
    source: &mut Source<'_>,
    text: &At<&str>,
    choices: &[(&str, T)],
) -> Option<T> {
    let chosen = choices.iter().find(|(name, _)| *name == text.value);
    if chosen.is_none() {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let message = format!("`{}` is none of the choices here", text.value);
        let error = source.error(text.span.clone(), message);
        error.help = Some(suggestion(text.value, &names));
    }
    chosen.map(|(_, value)| *value)
}

/// The nearest of the names that were possible, or all of them.
pub(super) fn suggestion(name: &str, possible: &[&str]) -> String {
    let lower = name.to_ascii_lowercase().replace('-', "_");
    let distance = |other: &&&str| strsim::damerau_levenshtein(&lower, &other.replace('-', "_"));
    // A name as long as a book is not compared.
    let nearest = possible
        .iter()
        .filter(|_| name.len() < 64)
        .min_by_key(distance);
    match nearest.filter(|nearest| distance(nearest) <= (nearest.len() / 3).max(1)) {
        Some(nearest) => format!("did you mean `{nearest}`?"),
        None => {
            let mut names: Vec<String> = possible.iter().map(|name| format!("`{name}`")).collect();
            names.sort_unstable();
            names.dedup();
            format!("possible here: {}", names.join(", "))
        }
    }
}

fn mismatch<'d>(
    source: &'d mut Source<'_>,
    value: &Spanned<DeValue<'_>>,
    expected: &str,
) -> &'d mut Diagnostic {
    let found = match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    source.error(value.span(), format!("expected {expected}, found {found}"))
}
