//! Parsing of one source with `yara-x-parser`, reduced to what splitting needs: imports, and rules
//! with their tokens and the names their conditions use.
//!
//! YARA-X has no `any of (prefix*)` over rules, which libyara has. The star is blanked out before
//! parsing, same length, so that all spans stay true, and the word before it is kept as a wildcard.

use std::{collections::BTreeSet, ops::Range};

use yara_x_parser::{
    Parser,
    cst::{CSTStream, Event, SyntaxKind},
};

use crate::lexical::{self, refusals};

/// Something a parser objects to, at bytes of the text it was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyntaxProblem {
    pub message: String,
    pub span: Range<usize>,
    pub hint: Option<String>,
}

/// Exact places of what is syntactically wrong, in order; empty when the text parses.
///
/// The parser is YARA-X's, which refuses a little that libyara accepts: use the result to place an error
/// libyara reports, not to refuse a ruleset. Only what [`refusals`] returns must be refused.
pub fn syntax_problems(text: &str) -> Vec<SyntaxProblem> {
    let refused = refusals(text);
    if !refused.is_empty() {
        return refused;
    }
    let mut problems = Stream::read(text).problems;
    problems.sort_by_key(|problem| problem.span.start);
    problems
}

#[derive(Debug)]
pub(crate) enum Item<'a> {
    Import { module: &'a str, range: Range<usize> },
    Rule(Rule<'a>),
}

#[derive(Debug)]
pub(crate) struct Rule<'a> {
    pub(crate) name: &'a str,
    pub(crate) global: bool,
    pub(crate) range: Range<usize>,
    /// All tokens but whitespace and comments, as written.
    pub(crate) tokens: Vec<&'a str>,
    /// Every name in the condition that may be a rule, a module, a variable or a function; fields are left out.
    pub(crate) mentions: BTreeSet<&'a str>,
    pub(crate) wildcards: Vec<Wildcard<'a>>,
    /// The condition's tokens.
    pub(crate) condition: Vec<Word<'a>>,
    /// The tokens of all patterns.
    pub(crate) patterns: Vec<Word<'a>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Word<'a> {
    pub(crate) kind: SyntaxKind,
    pub(crate) text: &'a str,
}

/// `prefix*` in a set of rules.
#[derive(Clone, Debug)]
pub(crate) struct Wildcard<'a> {
    pub(crate) prefix: &'a str,
    /// From the prefix to behind the star.
    pub(crate) range: Range<usize>,
}

/// The top-level items in order, or `None` when the text holds anything that is not surely understood.
pub(crate) fn parse(text: &str) -> Option<Vec<Item<'_>>> {
    if !refusals(text).is_empty() {
        return None;
    }
    let Stream { events, problems, wildcards } = Stream::read(text);
    if !problems.is_empty() {
        return None;
    }
    let mut items = Vec::new();
    let mut inside: Option<(SyntaxKind, Vec<Token>)> = None;
    let mut condition = None;
    for event in events {
        match event {
            Event::Begin { kind: SyntaxKind::ERROR | SyntaxKind::INCLUDE_STMT, .. } => return None,
            Event::Begin { kind: kind @ (SyntaxKind::RULE_DECL | SyntaxKind::IMPORT_STMT), .. } => {
                if inside.replace((kind, Vec::new())).is_some() {
                    return None;
                }
                condition = None;
            }
            Event::Begin { kind: SyntaxKind::CONDITION_BLK, .. } => {
                condition = Some(inside.as_ref()?.1.len());
            }
            Event::End { kind: SyntaxKind::RULE_DECL, .. } => {
                items.push(Item::Rule(rule(text, inside.take()?.1, condition?, &wildcards)?));
            }
            Event::End { kind: SyntaxKind::IMPORT_STMT, .. } => {
                let tokens = inside.take()?.1;
                let (first, last) = (tokens.first()?, tokens.last()?);
                let module = lexical::inside_quotes(&text[last.range.clone()]);
                items.push(Item::Import { module, range: first.range.start..last.range.end });
            }
            Event::Token { kind, span } if !is_trivia(kind) => {
                inside.as_mut()?.1.push(Token { kind, range: span.range() });
            }
            Event::Begin { .. } | Event::End { .. } | Event::Token { .. } => {}
            Event::Error { .. } => return None,
        }
    }
    inside.is_none().then_some(items)
}

#[derive(Clone)]
struct Token {
    kind: SyntaxKind,
    range: Range<usize>,
}

fn rule<'a>(text: &'a str, tokens: Vec<Token>, condition: usize, wildcards: &[Range<usize>]) -> Option<Rule<'a>> {
    let word = |token: &Token| &text[token.range.clone()];
    let head = tokens.iter().position(|token| token.kind == SyntaxKind::RULE_KW)?;
    let range = tokens.first()?.range.start..tokens.last()?.range.end;
    let mut mentions = BTreeSet::new();
    let mut previous = [SyntaxKind::CONDITION_KW; 2];
    for token in &tokens[condition..] {
        // A field stands behind one dot; behind the two of a range stands a name.
        let is_field = previous[1] == SyntaxKind::DOT && previous[0] != SyntaxKind::DOT;
        if token.kind == SyntaxKind::IDENT && !is_field {
            mentions.insert(word(token));
        }
        previous = [previous[1], token.kind];
    }
    let first = wildcards.partition_point(|wildcard| wildcard.start < range.start);
    let wildcards: Vec<_> = wildcards[first..]
        .iter()
        .take_while(|wildcard| wildcard.start < range.end)
        .filter_map(|wildcard| {
            let prefix = text[wildcard.clone()].split(|letter: char| letter != '_' && !letter.is_ascii_alphanumeric());
            Some(Wildcard { prefix: prefix.into_iter().next()?, range: wildcard.clone() })
        })
        .collect();
    let mut written = Vec::with_capacity(tokens.len() + wildcards.len());
    let mut stars = wildcards.iter().peekable();
    for token in &tokens {
        written.push(Word { kind: token.kind, text: word(token) });
        // The star is not among the tokens: it was blanked out.
        if stars.next_if(|wildcard| wildcard.range.start == token.range.start).is_some() {
            written.push(Word { kind: SyntaxKind::ASTERISK, text: "*" });
        }
    }
    if stars.next().is_some() {
        return None;
    }
    // Between the keyword with its colon and the brace that ends the rule.
    let [_, _, body @ .., _] = &written[condition..] else { return None };
    // Likewise, as far as the condition; a rule may have none.
    let before = &written[..condition];
    let patterns = before.iter().position(|word| word.kind == SyntaxKind::STRINGS_KW);
    let patterns = patterns.map_or(&[][..], |keyword| &before[(keyword + 2).min(before.len())..]);
    Some(Rule {
        condition: body.to_vec(),
        patterns: patterns.to_vec(),
        name: word(tokens.get(head + 1)?),
        global: tokens[..head].iter().any(|token| token.kind == SyntaxKind::GLOBAL_KW),
        range,
        tokens: written.iter().map(|word| word.text).collect(),
        mentions,
        wildcards,
    })
}

fn is_trivia(kind: SyntaxKind) -> bool {
    matches!(kind, SyntaxKind::WHITESPACE | SyntaxKind::NEWLINE | SyntaxKind::COMMENT)
}

/// What the parser said about a text whose rule wildcards were blanked out.
struct Stream {
    events: Vec<Event>,
    problems: Vec<SyntaxProblem>,
    /// Ranges of `prefix*`, ascending.
    wildcards: Vec<Range<usize>>,
}

impl Stream {
    fn read(text: &str) -> Self {
        let wildcards = rule_wildcards(text);
        if wildcards.is_empty() {
            return Self::of(text.as_bytes(), wildcards);
        }
        let mut blanked = text.as_bytes().to_vec();
        for wildcard in &wildcards {
            blanked[wildcard.end - 1] = b' ';
        }
        Self::of(&blanked, wildcards)
    }

    fn of(text: &[u8], wildcards: Vec<Range<usize>>) -> Self {
        let mut events = Vec::new();
        let mut problems = Vec::new();
        for event in CSTStream::from(Parser::new(text)) {
            match event {
                Event::Error { message, span } => {
                    problems.push(SyntaxProblem { message, span: span.range(), hint: None });
                }
                event => events.push(event),
            }
        }
        Self { events, problems, wildcards }
    }
}

pub(crate) fn has_rule_wildcards(text: &str) -> bool {
    !rule_wildcards(text).is_empty()
}

/// Ranges of `prefix*` where a set of rules is listed: a word and a star between `(` or `,` and `,` or `)`.
/// In arithmetic a star is never followed by one of these.
fn rule_wildcards(text: &str) -> Vec<Range<usize>> {
    use lexical::{Kind, Lexeme};
    let mut window: [Option<Lexeme>; 4] = [const { None }; 4];
    let mut found = Vec::new();
    for lexeme in lexical::Lexer::new(text) {
        window.rotate_left(1);
        window[3] = Some(lexeme);
        if let [Some(before), Some(word), Some(star), Some(after)] = &window
            && matches!(before.kind, Kind::Mark(b'(' | b','))
            && word.kind == Kind::Word
            && star.kind == Kind::Mark(b'*')
            && matches!(after.kind, Kind::Mark(b')' | b','))
        {
            found.push(word.range.start..star.range.end);
        }
    }
    found
}
