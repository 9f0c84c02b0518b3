//! Matched bytes on a terminal.

use std::fmt::Write as _;

/// Printable ASCII as it is, the rest as `\xNN`, `\n` and the like; at most `limit` bytes, then `…`.
pub fn escaped(bytes: &[u8], limit: usize) -> String {
    let mut text: String =
        bytes.iter().take(limit).flat_map(|&byte| std::ascii::escape_default(byte)).map(char::from).collect();
    if bytes.len() > limit {
        text.push('…');
    }
    text
}

/// `4d 5a 90 00 |MZ..|`, as a hex dump shows it; at most `limit` bytes, then `…`.
pub fn hex_and_text(bytes: &[u8], limit: usize) -> String {
    let shown = &bytes[..bytes.len().min(limit)];
    let mut text = String::with_capacity(shown.len() * 4 + 8);
    for byte in shown {
        let _ = write!(text, "{byte:02x} ");
    }
    let plain = |&byte: &u8| if byte == b' ' || byte.is_ascii_graphic() { char::from(byte) } else { '.' };
    text.push('|');
    text.extend(shown.iter().map(plain));
    text.push('|');
    if bytes.len() > limit {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal_unescaped() {
        assert_eq!(escaped(b"a\x1b[31m\n\xff\"", 64), "a\\x1b[31m\\n\\xff\\\"");
        assert_eq!(escaped(b"abcdef", 3), "abc…");
    }

    #[test]
    fn a_dump_shows_both_views() {
        assert_eq!(hex_and_text(b"MZ\x90 ", 16), "4d 5a 90 20 |MZ. |");
        assert_eq!(hex_and_text(b"MZ", 1), "4d |M|…");
        assert_eq!(hex_and_text(b"", 4), "||");
    }
}
