//! Requests typed by hand: words on a line, with quotes.

use crate::Error;
use crate::decode::Span;

/// Splits `line` (without its end) into words: appends their bytes to `bytes` and where each lies there to `spans`.
///
/// Quoting is Redis's: `"..."` knows `\n \r \t \b \a \xHH` and takes any other escaped byte as it is, `'...'` knows `\'`, and a
/// closing quote must be followed by a blank or the end.
pub(crate) fn split(line: &[u8], bytes: &mut Vec<u8>, spans: &mut Vec<Span>) -> Result<(), Error> {
    let mut rest = line;
    loop {
        while let [first, tail @ ..] = rest
            && is_space(*first)
        {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(());
        }
        let start = bytes.len();
        rest = word(rest, bytes)?;
        spans.push(Span { start, end: bytes.len() });
    }
}

/// Appends one word and returns what follows it.
fn word<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], Error> {
    loop {
        match rest {
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Ok(rest),
            [b'"', tail @ ..] => return end_of_quote(double_quoted(tail, bytes)?),
            [b'\'', tail @ ..] => return end_of_quote(single_quoted(tail, bytes)?),
            [byte, tail @ ..] => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], Error> {
    loop {
        let (byte, tail) = match rest {
            [] => return Err(Error::UnbalancedQuotes),
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex_digit(*high) * 16 + hex_digit(*low), tail)
            }
            [b'\\', escaped, tail @ ..] => (unescaped(*escaped), tail),
            [byte, tail @ ..] => (*byte, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], Error> {
    loop {
        let (byte, tail) = match rest {
            [] => return Err(Error::UnbalancedQuotes),
            [b'\'', tail @ ..] => return Ok(tail),
            [b'\\', b'\'', tail @ ..] => (b'\'', tail),
            [byte, tail @ ..] => (*byte, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
}

fn end_of_quote(rest: &[u8]) -> Result<&[u8], Error> {
    match rest.first() {
        Some(byte) if !is_space(*byte) => Err(Error::UnbalancedQuotes),
        _end => Ok(rest),
    }
}

/// C's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _upper => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Vec<Vec<u8>>, Error> {
        let (mut bytes, mut spans) = (Vec::new(), Vec::new());
        split(line.as_bytes(), &mut bytes, &mut spans)?;
        Ok(spans.iter().map(|span| bytes[span.start..span.end].to_vec()).collect())
    }

    #[test]
    fn blanks_separate_words() {
        assert_eq!(words("  GET\t key ").unwrap(), [b"GET".to_vec(), b"key".to_vec()]);
        assert_eq!(words("   ").unwrap(), [b""; 0]);
    }

    #[test]
    fn quotes_keep_blanks_and_escapes_stand_for_bytes() {
        assert_eq!(words(r#"ECHO "a b\n\x00\q""#).unwrap()[1], b"a b\n\0q");
        assert_eq!(words(r"ECHO 'a \n\' b'").unwrap()[1], br"a \n' b");
        assert_eq!(words(r#"ECHO """#).unwrap()[1], b"");
        assert_eq!(words(r#"a"b c""#).unwrap(), [b"ab c".to_vec()]);
    }

    #[test]
    fn a_quote_must_end_and_a_blank_must_follow() {
        for line in [r#"GET "key"#, "GET 'key", r#"GET "a"b"#, "GET 'a'b", r#"GET "a\"#] {
            assert_eq!(words(line), Err(Error::UnbalancedQuotes), "{line}");
        }
    }
}
