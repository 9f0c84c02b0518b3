//! What a match of a regular expression must contain.
//!
//! A small reader of libyara's own syntax, which is not that of other engines. Source: libyara 4.5.5,
//! `re_lexer.l` and `re_grammar.y`; `re.c` for wide ones, of which every character has its zero byte.

use super::{
    literal::{Needed, Spelling, of_run},
    pattern::hex_byte,
};

/// Groups in groups; people write three.
const MAX_DEPTH: usize = 20;

/// What is needed for `/expression/flags`. None: nothing is, or the expression is not understood.
pub(super) fn needed(written: &str, spelling: Spelling) -> Option<Needed> {
    let (expression, flags) = written.strip_prefix('/')?.rsplit_once('/')?;
    let mut spelling = spelling;
    for flag in flags.chars() {
        match flag {
            'i' => spelling.nocase = true,
            's' => {} // only what a dot matches
            _ => return None,
        }
    }
    let mut reader = Reader { rest: expression.as_bytes(), spelling, depth: 0 };
    let needed = reader.alternatives()?;
    if reader.rest.is_empty() { needed } else { None }
}

/// `None`: not understood. Inside, `None`: understood, and nothing is needed.
type Read<T> = Option<T>;

struct Reader<'r> {
    rest: &'r [u8],
    spelling: Spelling,
    depth: usize,
}

enum Atom {
    Byte(u8),
    /// A place, or any of several bytes.
    Open,
    Group(Option<Needed>),
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn skip(&mut self, byte: u8) -> bool {
        let there = self.rest.first() == Some(&byte);
        if there {
            self.rest = &self.rest[1..];
        }
        there
    }

    /// Up to a closing parenthesis or the end.
    fn alternatives(&mut self) -> Read<Option<Needed>> {
        let mut all = vec![self.sequence()?];
        while self.skip(b'|') {
            all.push(self.sequence()?);
        }
        Some(Needed::one_of(all))
    }

    fn sequence(&mut self) -> Read<Option<Needed>> {
        let mut needed = Vec::new();
        let mut run = Vec::new();
        while !matches!(self.rest.first(), None | Some(b'|' | b')')) {
            let atom = self.atom()?;
            let Times { at_least_once, exactly_once } = self.times()?;
            match atom {
                Atom::Byte(byte) if at_least_once => {
                    run.push(byte);
                    if !exactly_once {
                        // What stands before ends with the first of them, what comes after begins with the last.
                        needed.push(of_run(&run, self.spelling));
                        run = vec![byte];
                    }
                }
                atom => {
                    needed.push(of_run(&run, self.spelling));
                    run.clear();
                    if let (Atom::Group(group), true) = (atom, at_least_once) {
                        needed.push(group);
                    }
                }
            }
        }
        needed.push(of_run(&run, self.spelling));
        Some(Needed::best(needed))
    }

    fn atom(&mut self) -> Read<Atom> {
        Some(match self.next()? {
            b'(' => {
                self.depth += 1;
                // No lookaround, and no group that does not capture.
                if self.depth > MAX_DEPTH || self.rest.first() == Some(&b'?') {
                    return None;
                }
                let group = self.alternatives()?;
                if !self.skip(b')') {
                    return None;
                }
                self.depth -= 1;
                Atom::Group(group)
            }
            b'[' => {
                self.class()?;
                Atom::Open
            }
            b'.' | b'^' | b'$' => Atom::Open,
            b'\\' => self.escape()?,
            // Quantifiers of nothing; and a brace that is none in libyara stands for itself there.
            b'*' | b'+' | b'?' | b'{' => return None,
            byte if byte.is_ascii() => Atom::Byte(byte),
            // A quantifier repeats the last byte of such a letter alone.
            _ => Atom::Open,
        })
    }

    fn escape(&mut self) -> Read<Atom> {
        Some(match self.next()? {
            b'w' | b'W' | b's' | b'S' | b'd' | b'D' | b'b' | b'B' => Atom::Open,
            b'n' => Atom::Byte(b'\n'),
            b't' => Atom::Byte(b'\t'),
            b'r' => Atom::Byte(b'\r'),
            b'x' => Atom::Byte(hex_byte(&[self.next()?, self.next()?])?),
            byte if byte.is_ascii_punctuation() => Atom::Byte(byte),
            _ => return None,
        })
    }

    /// Steps over a class, as far as it surely ends where it seems to.
    fn class(&mut self) -> Read<()> {
        self.skip(b'^');
        let mut is_empty = true;
        loop {
            match self.next()? {
                b']' if is_empty => return None,
                b']' => return Some(()),
                b'[' => return None,
                b'\\' => {
                    self.next()?;
                }
                _ => {}
            }
            is_empty = false;
        }
    }

    fn times(&mut self) -> Read<Times> {
        let times = match self.rest.first() {
            Some(b'*' | b'?') => {
                self.next();
                Times { at_least_once: false, exactly_once: false }
            }
            Some(b'+') => {
                self.next();
                Times { at_least_once: true, exactly_once: false }
            }
            Some(b'{') => {
                self.next();
                self.range()?
            }
            _ => return Some(Times { at_least_once: true, exactly_once: true }),
        };
        self.skip(b'?');
        Some(times)
    }

    /// `{3}`, `{3,}`, `{3,8}` and `{,8}`, behind the brace.
    fn range(&mut self) -> Read<Times> {
        let end = self.rest.iter().position(|byte| *byte == b'}')?;
        let inside = std::str::from_utf8(&self.rest[..end]).ok()?;
        self.rest = &self.rest[end + 1..];
        let number = |text: &str, missing| match text {
            "" => Some(missing),
            text if text.bytes().all(|digit| digit.is_ascii_digit()) => text.parse::<u32>().ok(),
            _ => None,
        };
        let (low, high) = match inside.split_once(',') {
            Some((low, high)) => (number(low, 0)?, number(high, u32::MAX)?),
            None if inside.is_empty() => return None,
            None => (number(inside, 0)?, number(inside, 0)?),
        };
        Some(Times { at_least_once: low > 0, exactly_once: (low, high) == (1, 1) })
    }
}

struct Times {
    at_least_once: bool,
    exactly_once: bool,
}
