//! What is wrong with the configuration, and where: for people with the line and a caret, for programs as fields.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Everything that keeps a configuration from being used, in the order of files and lines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Error {
    diagnostics: Vec<Diagnostic>,
}

impl Error {
    pub(super) fn new(diagnostics: Vec<Diagnostic>) -> Error {
        Error { diagnostics }
    }

    /// At least one, all of [`Severity::Error`].
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// For a terminal, with or without colour.
    pub fn render(&self, color: bool) -> String {
        render(&self.diagnostics, color)
    }
}

/// Without colour, as [`Error::render`].
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but hardly does what was meant.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Diagnostic {
    pub severity: Severity,
    pub file: Arc<str>,
    /// From 1; 0 where it is about the whole file.
    pub line: u32,
    /// In characters, from 1; 0 where it is about the whole file.
    pub column: u32,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
    #[serde(skip)]
    excerpt: Option<Excerpt>,
}

/// Another place that a diagnostic is about.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Related {
    pub file: Arc<str>,
    pub line: u32,
    pub column: u32,
    pub message: String,
    #[serde(skip)]
    excerpt: Option<Excerpt>,
}

/// A source line and what of it is meant, in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    line: String,
    span: Range<usize>,
}

/// Longest part of a source line that is shown, in bytes.
const SHOWN_BYTES: usize = 400;

/// A place in a file: line and column from 1, and what to show of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Spot {
    line: u32,
    column: u32,
    excerpt: Option<Excerpt>,
}

impl Spot {
    /// The whole line, but for the white space around what is written on it.
    pub fn line(source: &str, line: u32) -> Spot {
        let index = usize::try_from(line).unwrap_or(0).checked_sub(1);
        let text = index.and_then(|index| source.lines().nth(index));
        let Some(text) = text else {
            return Spot {
                line,
                column: 0,
                excerpt: None,
            };
        };
        let start = text.len() - text.trim_start().len();
        Spot::within(text, line, start..text.trim_end().len().max(start))
    }

    /// What a span of bytes covers, as far as it lies on one line.
    pub fn span(source: &str, line: u32, line_start: usize, span: Range<usize>) -> Spot {
        let rest = source.get(line_start..).unwrap_or_default();
        let text = rest.split('\n').next().unwrap_or_default();
        let text = text.strip_suffix('\r').unwrap_or(text);
        let clip = |at: usize| at.saturating_sub(line_start).min(text.len());
        Spot::within(text, line, clip(span.start)..clip(span.end.max(span.start)))
    }

    fn within(text: &str, line: u32, span: Range<usize>) -> Spot {
        let floor = |at: usize| {
            (0..=at.min(text.len()))
                .rev()
                .find(|at| text.is_char_boundary(*at))
        };
        let start = floor(span.start).unwrap_or(0);
        let end = floor(span.end).unwrap_or(0).max(start);
        let before = text.get(..start).unwrap_or_default().chars().count();
        // A line as long as a file is shown around what is meant.
        let from =
            floor(start.saturating_sub(SHOWN_BYTES / 4)).filter(|_| text.len() > SHOWN_BYTES);
        let from = from.unwrap_or(0);
        let to = floor(from + SHOWN_BYTES).unwrap_or(text.len()).max(start);
        let shown = text.get(from..to).unwrap_or_default();
        Spot {
            line,
            column: u32::try_from(before + 1).unwrap_or(u32::MAX),
            excerpt: Some(Excerpt {
                line: shown.to_owned(),
                span: start - from..end.min(to) - from,
            }),
        }
    }
}

impl Diagnostic {
    pub(super) fn new(
        severity: Severity,
        file: &Arc<str>,
        spot: Spot,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic {
            severity,
            file: file.clone(),
            line: spot.line,
            column: spot.column,
            message: message.into(),
            help: None,
            related: Vec::new(),
            excerpt: spot.excerpt,
        }
    }

    pub(super) fn help(mut self, help: Option<impl Into<String>>) -> Diagnostic {
        self.help = help.map(Into::into);
        self
    }

    pub(super) fn related(mut self, file: &Arc<str>, spot: Spot, message: String) -> Diagnostic {
        self.related.push(Related {
            file: file.clone(),
            line: spot.line,
            column: spot.column,
            message,
            excerpt: spot.excerpt,
        });
        self
    }

    fn report(&self) -> Group<'_> {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(self.message.as_str());
        let mut group = match &self.excerpt {
            Some(excerpt) => {
                let annotation = AnnotationKind::Primary.span(excerpt.span.clone());
                title.element(snippet(excerpt, self.line, &self.file).annotation(annotation))
            }
            // What is about a whole file names it in its message.
            None if self.line == 0 => Group::with_title(title),
            None => {
                title.element(annotate_snippets::Origin::path(&*self.file).line(self.line as usize))
            }
        };
        for related in &self.related {
            let message = related.message.as_str();
            group = match &related.excerpt {
                Some(excerpt) => {
                    let span = excerpt.span.clone();
                    let annotation = AnnotationKind::Context.span(span).label(message);
                    group.element(
                        snippet(excerpt, related.line, &related.file).annotation(annotation),
                    )
                }
                None => group.element(
                    Level::NOTE.message(format!("{}:{}: {message}", related.file, related.line)),
                ),
            };
        }
        match &self.help {
            Some(help) => group.element(Level::HELP.message(help.as_str())),
            None => group,
        }
    }
}

fn snippet<'a>(
    excerpt: &'a Excerpt,
    line: u32,
    file: &'a str,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    Snippet::source(excerpt.line.as_str())
        .line_start(line as usize)
        .path(file)
}

/// Diagnostics for a terminal, one after the other, with or without colour; ends with a line break unless empty.
pub fn render(diagnostics: &[Diagnostic], color: bool) -> String {
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let mut out = String::new();
    for diagnostic in diagnostics {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&renderer.render(&[diagnostic.report()]));
        out.push('\n');
    }
    out
}
