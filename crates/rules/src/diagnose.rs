//! Problems in rules, shown with file, line, column, the line itself and a mark below it.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::{Deserialize, Serialize};

use crate::LoadedSource;

/// More problems than this are not collected; the first ones are what a person reads.
pub const MAX_PROBLEMS: usize = 100;

/// Of a longer line only this many characters around the column are kept and shown.
const EXCERPT_CHARS: usize = 120;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Error,
    Warning,
}

/// One thing that is wrong with a ruleset, at its place in the file a person wrote.
///
/// It carries the text around its place, so that it can be sent and shown where the file is not.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Problem {
    pub severity: Severity,
    pub message: String,
    /// The file as the user named it, after includes are traced back.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// In characters, at least 1; ends with the line at the latest.
    pub length: usize,
    /// Few words below the mark.
    pub label: String,
    pub hint: Option<String>,
    /// The line's text, or the part of it around the column when it is long.
    pub excerpt: String,
    /// Column of the excerpt's first character.
    pub excerpt_column: usize,
}

impl Problem {
    /// A problem at a byte range of a source's expanded text. A range that leaves its line is cut there.
    pub fn at(source: &LoadedSource, severity: Severity, message: impl Into<String>, span: Range<usize>) -> Self {
        let (number, line_start) = source.line_at(span.start);
        let origin = source.origin(number);
        let text = source.line(number);
        let from = floor_boundary(text, span.start - line_start);
        let to = floor_boundary(text, span.end.saturating_sub(line_start).max(from));
        let column = text[..from].chars().count() + 1;
        let length = text[from..to].chars().count().max(1);
        let (excerpt, excerpt_column) = excerpt(text, column);
        Self {
            severity,
            message: message.into(),
            file: origin.file.to_owned(),
            line: origin.line,
            column,
            length,
            label: String::new(),
            hint: None,
            excerpt,
            excerpt_column,
        }
    }

    pub fn with_label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub fn with_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }
}

fn floor_boundary(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// The part of a line to show, and the column of its first character.
fn excerpt(line: &str, column: usize) -> (String, usize) {
    // Nearly every line is short; the bytes bound the characters.
    if line.len() <= EXCERPT_CHARS {
        return (line.to_owned(), 1);
    }
    let skip = (column - 1).saturating_sub(EXCERPT_CHARS / 2);
    (line.chars().skip(skip).take(EXCERPT_CHARS).collect(), skip + 1)
}

/// Problems as `rustc` shows them, one below the other, with a final newline when there are any.
pub fn render(problems: &[Problem], colours: bool) -> String {
    let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.term_width(160);
    problems.iter().map(|problem| renderer.render(&report(problem)) + "\n").collect::<Vec<_>>().join("\n")
}

fn report(problem: &Problem) -> Vec<Group<'_>> {
    let Problem { severity, message, file, line, column, length, label, hint, excerpt, excerpt_column } = problem;
    let level = match severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut marked = byte_range(excerpt, column - excerpt_column, *length);
    // A problem at the very end of a file has no character of its own to point at.
    marked.end = marked.end.max(marked.start);
    let mut annotation = AnnotationKind::Primary.span(marked);
    if !label.is_empty() {
        annotation = annotation.label(label.as_str());
    }
    let mut snippet = Snippet::source(excerpt.as_str()).line_start(*line).annotation(annotation);
    let mut group = Group::with_title(level.primary_title(message.as_str()));
    if *excerpt_column == 1 {
        snippet = snippet.path(file.as_str());
    } else {
        // The column is not to be counted from where the line was cut.
        group = group.element(Origin::path(file.as_str()).line(*line).char_column(*column));
    }
    group = group.element(snippet);
    if let Some(hint) = hint {
        group = group.element(Level::HELP.message(hint.as_str()));
    }
    vec![group]
}

fn byte_range(text: &str, skip: usize, length: usize) -> Range<usize> {
    let byte_at = |chars: usize| text.char_indices().nth(chars).map_or(text.len(), |(at, _)| at);
    byte_at(skip)..byte_at(skip.saturating_add(length))
}
