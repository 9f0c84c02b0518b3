//! A small lexer for YARA text that cannot fail, recurse or allocate.
//!
//! It knows words, quoted texts and brackets, and steps over comments, regular expressions and
//! numbers. It serves what must work before, or without, a parser: finding includes and rule names,
//! and refusing text that would bring a parser or libyara's bindings down.

use std::ops::Range;

use crate::SyntaxProblem;

/// Brackets may be nested this deep. Rules written by people stay below 20; the parsers recurse.
pub const MAX_NESTING: usize = 200;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A keyword or an identifier without `$`, `#`, `@` or `!`.
    Word,
    /// A quoted text with its quotes; the closing one may be missing.
    Quoted,
    /// One byte of punctuation.
    Mark(u8),
    /// Numbers, pattern identifiers, regular expressions, bytes outside ASCII.
    Other,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Lexeme {
    pub(crate) kind: Kind,
    pub(crate) range: Range<usize>,
}

/// All lexemes of a text but whitespace and comments, in order.
pub(crate) struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    /// What was never closed before the text ended, known when that is reached.
    open: Option<Range<usize>>,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { bytes: text.as_bytes(), at: 0, open: None }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.peek(0).is_some_and(&wanted) {
            self.at += 1;
        }
    }

    fn skip_block_comment(&mut self) {
        let inside = self.at + 2;
        let end = self.bytes[inside..].windows(2).position(|pair| pair == b"*/");
        if end.is_none() {
            self.open = Some(self.at..inside);
        }
        self.at = end.map_or(self.bytes.len(), |end| inside + end + 2);
    }

    /// Steps over a quoted text or a regular expression, to its end or the end of its line.
    fn skip_quoted(&mut self, quote: u8) {
        let start = self.at;
        self.at += 1;
        while let Some(byte) = self.peek(0) {
            match byte {
                b'\n' => return,
                b'\\' if self.peek(1).is_some_and(|next| next != b'\n') => self.at += 2,
                _ => self.at += 1,
            }
            if byte == quote {
                return;
            }
        }
        self.open = Some(start..start + 1);
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

impl Iterator for Lexer<'_> {
    type Item = Lexeme;

    fn next(&mut self) -> Option<Lexeme> {
        loop {
            self.skip_while(|byte| byte.is_ascii_whitespace() || byte == 0x0b);
            let start = self.at;
            let kind = match self.peek(0)? {
                b'/' if self.peek(1) == Some(b'/') => {
                    self.skip_while(|byte| byte != b'\n');
                    continue;
                }
                b'/' if self.peek(1) == Some(b'*') => {
                    self.skip_block_comment();
                    continue;
                }
                // YARA divides with a backslash, so a slash always opens a regular expression.
                b'/' => {
                    self.skip_quoted(b'/');
                    Kind::Other
                }
                b'"' => {
                    self.skip_quoted(b'"');
                    Kind::Quoted
                }
                b'$' | b'#' | b'@' | b'!' => {
                    self.at += 1;
                    self.skip_while(is_word);
                    Kind::Other
                }
                byte if byte.is_ascii_digit() => {
                    self.skip_while(is_word);
                    Kind::Other
                }
                byte if is_word(byte) => {
                    self.skip_while(is_word);
                    Kind::Word
                }
                byte if byte.is_ascii() => {
                    self.at += 1;
                    Kind::Mark(byte)
                }
                _ => {
                    self.skip_while(|byte| !byte.is_ascii());
                    Kind::Other
                }
            };
            return Some(Lexeme { kind, range: start..self.at });
        }
    }
}

/// What stands between the quotes of a quoted text.
pub(crate) fn inside_quotes(quoted: &str) -> &str {
    let inner = quoted.strip_prefix('"').unwrap_or(quoted);
    inner.strip_suffix('"').unwrap_or(inner)
}

/// Names of all rules that can be found without parsing, in order of appearance, without repeats.
pub(crate) fn rule_names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    let mut after_rule = false;
    for Lexeme { kind, range } in Lexer::new(text) {
        let word = &text[range];
        if after_rule && kind == Kind::Word && seen.insert(word) {
            names.push(word.to_owned());
        }
        after_rule = kind == Kind::Word && word == "rule";
    }
    names
}

/// Whether one of some words stands anywhere in the text as itself: not in a comment, not in quotes, not as part of another.
pub fn mentions(text: &str, words: &[&str]) -> bool {
    words.iter().any(|word| text.contains(word))
        && Lexer::new(text).any(|lexeme| lexeme.kind == Kind::Word && words.contains(&&text[lexeme.range]))
}

/// Where a comment, a quoted text or a regular expression begins that the text ends in.
///
/// libyara takes the end of the text for its end, and says nothing of what it left out so.
pub fn unclosed(text: &str) -> Option<Range<usize>> {
    let mut lexer = Lexer::new(text);
    lexer.by_ref().for_each(drop);
    lexer.open
}

/// What must not reach a parser or libyara at all, whatever else is right or wrong with the text.
///
/// The bindings of libyara stop the whole process when a NUL byte stands in the text, and when a module
/// name or a metadata value is not UTF-8 once its escapes are resolved; parsers recurse over brackets.
/// Cost: one pass over the bytes, about 1 ms per MiB.
pub fn refusals(text: &str) -> Vec<SyntaxProblem> {
    let mut problems = Vec::new();
    let mut refuse = |message: &str, span: Range<usize>| {
        problems.push(SyntaxProblem { message: message.to_owned(), span, hint: None });
    };
    if let Some(at) = text.bytes().position(|byte| byte == 0) {
        refuse("a NUL byte cannot stand in a rule", at..at + 1);
    }
    for span in unreadable_imports(text) {
        refuse("a module's name consists of letters, digits and underscores", span);
    }
    let mut depth = 0_usize;
    let mut told = false;
    let mut in_meta = false;
    let mut previous = "";
    for Lexeme { kind, range } in Lexer::new(text) {
        let piece = &text[range.clone()];
        match kind {
            Kind::Mark(b'(' | b'[' | b'{') => {
                depth += 1;
                if depth > MAX_NESTING && !told {
                    told = true;
                    refuse(&format!("nested too deeply: more than {MAX_NESTING} open brackets"), range);
                }
            }
            Kind::Mark(b')' | b']' | b'}') => depth = depth.saturating_sub(1),
            Kind::Mark(b':') => {
                in_meta = previous == "meta" || (in_meta && previous != "strings" && previous != "condition")
            }
            Kind::Quoted if in_meta && std::str::from_utf8(&unescape(inside_quotes(piece))).is_err() => {
                refuse("a metadata value must be UTF-8 once its escapes are resolved", range);
            }
            Kind::Word | Kind::Quoted | Kind::Mark(_) | Kind::Other => {}
        }
        previous = piece;
    }
    problems
}

/// Quoted texts behind the letters `import`, wherever they stand, that libyara's message about an unknown
/// module would not repeat as UTF-8: it resolves escapes, and cuts after 255 bytes.
///
/// It looks at the bytes alone. After a mistake libyara's lexer and ours differ about what is inside quotes,
/// so an import may hide from a lexer; generated rules found that. A text that only looks like an import is
/// refused as well if it has such bytes, which no real rule does.
fn unreadable_imports(text: &str) -> Vec<Range<usize>> {
    // Bounded, or a text full of unclosed comments would take forever.
    const WINDOW: usize = 1024;
    let behind_import = |(at, keyword): (usize, &str)| {
        let start = at + keyword.len();
        let rest = &text[start..text.floor_char_boundary(start + WINDOW)];
        let Some(Lexeme { kind, range }) = Lexer::new(rest).next() else {
            // Nothing but blanks and comments as far as we look: whatever comes then was not seen.
            return (start + rest.len() < text.len()).then_some(at..start);
        };
        let name = unescape(inside_quotes(&rest[range.clone()]));
        let readable = name.is_ascii() || (name.len() < 200 && std::str::from_utf8(&name).is_ok());
        (kind == Kind::Quoted && !readable).then_some(start + range.start..start + range.end)
    };
    text.match_indices("import").filter_map(behind_import).collect()
}

/// The bytes a quoted text stands for. Escapes libyara does not know are kept as they are.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut value = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            value.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'x') => {
                let digits: Vec<u8> = bytes.by_ref().take(2).collect();
                let digits = std::str::from_utf8(&digits).unwrap_or_default();
                value.push(u8::from_str_radix(digits, 16).unwrap_or(b'x'));
            }
            Some(other) => value.extend([b'\\', other]),
            None => value.push(b'\\'),
        }
    }
    value
}
