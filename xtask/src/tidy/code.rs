//! Rust source without its comments and literals, so that a plain search of it finds code alone.

use std::iter::Peekable;
use std::str::Chars;

/// `source` with comments left out and every string and character literal made empty. Line ends outside of them stay.
///
/// It knows what it must to tell where literals end: escapes, raw strings, nested comments, and that `'a` may be a lifetime.
pub(super) fn without_comments_and_literals(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '/' if rest.peek() == Some(&'/') => skip_line(&mut rest),
            '/' if rest.peek() == Some(&'*') => skip_block_comment(&mut rest),
            '"' => {
                skip_string(&mut rest);
                code.push_str("\"\"");
            }
            'r' if is_raw_string(&code, &rest) => {
                skip_raw_string(&mut rest);
                code.push_str("\"\"");
            }
            '\'' if is_character(&rest) => {
                skip_character(&mut rest);
                code.push_str("''");
            }
            _code => code.push(c),
        }
    }
    code
}

fn skip_line(rest: &mut Peekable<Chars>) {
    while rest.next_if(|c| *c != '\n').is_some() {}
}

fn skip_block_comment(rest: &mut Peekable<Chars>) {
    let mut depth = 0;
    let mut previous = '/';
    for c in rest {
        match (previous, c) {
            ('/', '*') => (depth, previous) = (depth + 1, ' '), // ' ': the star must not also end this comment, as in "/*/"
            ('*', '/') => (depth, previous) = (depth - 1, ' '),
            _inside => previous = c,
        }
        if depth == 0 {
            return;
        }
    }
}

fn skip_string(rest: &mut Peekable<Chars>) {
    while let Some(c) = rest.next() {
        match c {
            '\\' => _ = rest.next(),
            '"' => return,
            _inside => {}
        }
    }
}

/// Whether the `r` just read opens a raw string: it is no end of a longer word (except `br` and `cr`), and `#`s and a quote follow.
/// `r#name` is an identifier.
fn is_raw_string(before: &str, rest: &Peekable<Chars>) -> bool {
    let word: String = before.chars().rev().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let stands_alone = matches!(word.as_str(), "" | "b" | "c");
    stands_alone && rest.clone().find(|c| *c != '#') == Some('"')
}

fn skip_raw_string(rest: &mut Peekable<Chars>) {
    let mut hashes = 0;
    while rest.next_if_eq(&'#').is_some() {
        hashes += 1;
    }
    rest.next(); // the opening quote
    while let Some(c) = rest.next() {
        if c == '"' && rest.clone().take_while(|c| *c == '#').count() >= hashes {
            rest.by_ref().take(hashes).for_each(drop);
            return;
        }
    }
}

/// Whether the quote just read opens a character: an escape, or one character and a closing quote. Else it is a lifetime.
fn is_character(rest: &Peekable<Chars>) -> bool {
    let mut ahead = rest.clone();
    match ahead.next() {
        Some('\\') => true,
        Some(_character) => ahead.next() == Some('\''),
        None => false,
    }
}

fn skip_character(rest: &mut Peekable<Chars>) {
    while let Some(c) = rest.next() {
        match c {
            '\\' => _ = rest.next(),
            '\'' => return,
            _inside => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::without_comments_and_literals as code;

    #[test]
    fn comments_vanish() {
        assert_eq!(code("a // mod b;\nc"), "a \nc");
        assert_eq!(code("a /* mod /* b */ ; */ c"), "a  c");
        assert_eq!(code("a /*/ mod b; */ c"), "a  c");
    }

    #[test]
    fn strings_become_empty() {
        assert_eq!(code(r#"f("mod a; \" // no comment", x)"#), r#"f("", x)"#);
        assert_eq!(code("f(r\"\\\", x)"), "f(\"\", x)");
        assert_eq!(code("f(r##\"mod \"# a;\"##, x)"), "f(\"\", x)");
        assert_eq!(code("f(br#\"mod a;\"#, x)"), "f(b\"\", x)");
    }

    #[test]
    fn characters_become_empty_and_lifetimes_stay() {
        assert_eq!(code(r"['{', '\'', '\u{7b}']"), "['', '', '']");
        assert_eq!(code("fn f<'a>(x: &'a str)"), "fn f<'a>(x: &'a str)");
    }

    #[test]
    fn words_that_end_in_r_and_raw_identifiers_are_code() {
        assert_eq!(code("for x in r#type"), "for x in r#type");
        assert_eq!(code(r#"bar"x""#), r#"bar"""#);
    }
}
