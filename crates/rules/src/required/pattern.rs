//! What a pattern must contain.
//!
//! Source: libyara 4.5.5. `scan.c`: literal patterns are compared byte by byte, the zero bytes of wide ones too;
//! `fullword` only takes matches away. `lexer.l`: the escapes of quoted texts. `hex_grammar.y`: tokens between
//! braces stand in the file in their order; what is in parentheses may be something else.

use yara_x_parser::cst::SyntaxKind;

use super::{
    literal::{Needed, Spelling, of_run},
    regex,
};
use crate::{lexical::inside_quotes, syntax::Word};

/// A pattern of a rule.
#[derive(Clone, Debug)]
pub(crate) struct Pattern<'a> {
    /// With its dollar sign; `$` alone for an anonymous one.
    pub(crate) name: &'a str,
    /// None: it may match anything.
    pub(crate) needed: Option<Needed>,
}

impl<'a> Pattern<'a> {
    /// The patterns of a rule, from the words behind `strings:`. None: not understood.
    pub(crate) fn read(mut words: &[Word<'a>]) -> Option<Vec<Self>> {
        let mut patterns = Vec::new();
        while let [name, equal, first, rest @ ..] = words {
            if name.kind != SyntaxKind::PATTERN_IDENT || equal.kind != SyntaxKind::EQUAL {
                return None;
            }
            let inside = match first.kind {
                SyntaxKind::L_BRACE => rest.iter().position(|word| word.kind == SyntaxKind::R_BRACE)? + 1,
                SyntaxKind::STRING_LIT | SyntaxKind::REGEXP => 0,
                _ => return None,
            };
            let (body, rest) = rest.split_at(inside);
            let modifiers = rest.iter().position(|word| word.kind == SyntaxKind::PATTERN_IDENT).unwrap_or(rest.len());
            let (modifiers, rest) = rest.split_at(modifiers);
            patterns.push(Self { name: name.text, needed: needed(first, body, modifiers) });
            words = rest;
        }
        words.is_empty().then_some(patterns)
    }
}

fn needed(first: &Word<'_>, body: &[Word<'_>], modifiers: &[Word<'_>]) -> Option<Needed> {
    let Modifiers { nocase, ascii, wide } = Modifiers::read(modifiers)?;
    let spellings = [(ascii, false), (wide, true)].into_iter().filter(|(wanted, _)| *wanted);
    let spellings = spellings.map(|(_, wide)| Spelling { nocase, wide });
    match first.kind {
        SyntaxKind::STRING_LIT => {
            let bytes = unescaped(inside_quotes(first.text))?;
            Needed::one_of(spellings.map(|spelling| of_run(&bytes, spelling)))
        }
        SyntaxKind::REGEXP => Needed::one_of(spellings.map(|spelling| regex::needed(first.text, spelling))),
        SyntaxKind::L_BRACE => {
            Needed::best(fixed_runs(body).iter().map(|run| of_run(run, Spelling { nocase: false, wide: false })))
        }
        _ => None,
    }
}

struct Modifiers {
    nocase: bool,
    ascii: bool,
    wide: bool,
}

impl Modifiers {
    /// None: a modifier after which other bytes stand in the file than in the rule.
    fn read(words: &[Word<'_>]) -> Option<Self> {
        let (mut nocase, mut ascii, mut wide) = (false, false, false);
        for word in words {
            match word.kind {
                SyntaxKind::NOCASE_KW => nocase = true,
                SyntaxKind::ASCII_KW => ascii = true,
                SyntaxKind::WIDE_KW => wide = true,
                SyntaxKind::FULLWORD_KW | SyntaxKind::PRIVATE_KW => {}
                _ => return None,
            }
        }
        Some(Self { nocase, ascii: ascii || !wide, wide })
    }
}

/// The bytes of a quoted text. None: an escape that libyara does not know.
fn unescaped(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut value = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        value.push(match byte {
            b'\\' => match bytes.next()? {
                b'n' => b'\n',
                b't' => b'\t',
                b'r' => b'\r',
                same @ (b'"' | b'\\') => same,
                b'x' => hex_byte(&[bytes.next()?, bytes.next()?])?,
                _ => return None,
            },
            byte => byte,
        });
    }
    Some(value)
}

pub(super) fn hex_byte(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits else { return None };
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some(value(*high)? << 4 | value(*low)?)
}

/// Runs of bytes without wildcards, jumps or alternatives between them.
fn fixed_runs(body: &[Word<'_>]) -> Vec<Vec<u8>> {
    let mut runs = vec![Vec::new()];
    let mut depth = 0_usize;
    for word in body {
        match word.kind {
            SyntaxKind::L_PAREN | SyntaxKind::L_BRACKET => depth += 1,
            SyntaxKind::R_PAREN | SyntaxKind::R_BRACKET => depth = depth.saturating_sub(1),
            _ => {}
        }
        let byte = if depth == 0 && word.kind == SyntaxKind::HEX_BYTE { hex_byte(word.text.as_bytes()) } else { None };
        match (byte, runs.last_mut()) {
            (Some(byte), Some(run)) => run.push(byte),
            _ => runs.push(Vec::new()),
        }
    }
    runs
}
