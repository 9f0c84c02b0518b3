//! Keys as people see them.

use std::fmt::Write as _;

/// Shows a key so that it fits a line, cannot fool a terminal, and can be read back by [`parse_key`].
///
/// Text stays as it is. Bytes that are not UTF-8, control characters, line separators and characters
/// that reorder or hide text (a favourite in names of malware) become `\xNN` per byte, a backslash `\\`.
pub fn display_key(key: &[u8]) -> String {
    let mut shown = String::with_capacity(key.len());
    for chunk in key.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => shown.push_str(r"\\"),
                c if is_deceptive(c) => push_escaped(&mut shown, c.encode_utf8(&mut [0; 4]).as_bytes()),
                c => shown.push(c),
            }
        }
        push_escaped(&mut shown, chunk.invalid());
    }
    shown
}

/// The inverse of [`display_key`]. A backslash that begins no escape stands for itself, so that a name
/// typed by hand works as well.
pub fn parse_key(shown: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(shown.len());
    let mut rest = shown.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = if byte == b'\\' { parse_escape(after).unwrap_or((byte, after)) } else { (byte, after) };
        key.push(byte);
        rest = after;
    }
    key
}

fn push_escaped(shown: &mut String, bytes: &[u8]) {
    for byte in bytes {
        write!(shown, "\\x{byte:02x}").expect("writing to a string does not fail");
    }
}

fn parse_escape(after_backslash: &[u8]) -> Option<(u8, &[u8])> {
    match after_backslash {
        [b'\\', rest @ ..] => Some((b'\\', rest)),
        [b'x', high, low, rest @ ..] => {
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            Some((digit(*high)? << 4 | digit(*low)?, rest))
        }
        _ => None,
    }
}

fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{200b}'..='\u{200f}' // zero width, left-to-right and right-to-left marks
            | '\u{2028}'..='\u{202e}' // line separators, embeddings and overrides
            | '\u{2060}'..='\u{206f}' // word joiner, isolates
            | '\u{061c}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_stays_readable_and_the_rest_is_escaped() {
        assert_eq!(display_key("bin/größe 漢字".as_bytes()), "bin/größe 漢字");
        assert_eq!(display_key(b"a\xff\n\x1b[2J\\x41"), r"a\xff\x0a\x1b[2J\\x41");
        assert_eq!(display_key("invoice\u{202e}fdp.exe".as_bytes()), r"invoice\xe2\x80\xaefdp.exe");
        assert_eq!(display_key("\u{85}".as_bytes()), r"\xc2\x85");
    }

    #[test]
    fn escapes_typed_by_hand_need_not_be_perfect() {
        assert_eq!(parse_key(r"C:\dir\x4"), br"C:\dir\x4");
        assert_eq!(parse_key(r"\x4A\x4a\xzz\"), br"JJ\xzz\");
        assert_eq!(parse_key(r"\x+1"), br"\x+1");
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(key in prop::collection::vec(any::<u8>(), 0..60)) {
            prop_assert_eq!(parse_key(&display_key(&key)), key);
        }

        #[test]
        fn text_with_odd_characters_reads_back(key in r"[\\x0-9a-f\u{0}-\u{300}\u{2000}-\u{2100}]{0,40}") {
            let shown = display_key(key.as_bytes());
            prop_assert!(!shown.chars().any(is_deceptive));
            prop_assert_eq!(parse_key(&shown), key.into_bytes());
        }
    }
}
