//! Patterns of KEYS, SCAN MATCH and CONFIG GET: `*`, `?`, `[a-c]`, `[^a]`, and `\` before a special character.

/// Whether all of `text` matches `pattern`, bytewise, as Redis's `stringmatchlen` decides it.
///
/// Cost: O(pattern x text). After a mismatch only the last `*` takes one byte more, since an earlier one could not help; the
/// recursion that does otherwise is a known way to stall a server with a pattern of many stars.
pub fn glob_matches(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None; // where the pattern goes on after the last star, and what the star takes up to
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        match one(&pattern[p..], text[t], ignore_case) {
            Some(length) => (p, t) = (p + length, t + 1),
            None => match retry {
                Some((after_star, taken)) => {
                    (p, t) = (after_star, taken + 1);
                    retry = Some((after_star, t));
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// The bytes every match of `pattern` starts with, so that a search in key order need not start at the first key.
pub fn literal_prefix(pattern: &[u8]) -> &[u8] {
    let end = pattern.iter().position(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\')).unwrap_or(pattern.len());
    &pattern[..end]
}

/// How long the first element of `pattern` is, if it matches `byte`.
fn one(pattern: &[u8], byte: u8, ignore_case: bool) -> Option<usize> {
    match pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', class @ ..] => {
            let (matched, length) = in_class(class, byte, ignore_case);
            matched.then_some(1 + length)
        }
        [b'\\', literal, ..] => same(*literal, byte, ignore_case).then_some(2),
        [literal, ..] => same(*literal, byte, ignore_case).then_some(1),
    }
}

/// Whether `byte` is in the class that starts after its `[`, and how long the class is with its `]`, which may be missing.
fn in_class(class: &[u8], byte: u8, ignore_case: bool) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut matched = false;
    loop {
        match class[at..] {
            [] => break,
            [b'\\', literal, ..] => {
                matched |= literal == byte; // Redis ignores the case of everything but this
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [first, b'-', last, ..] => {
                let fold = |byte: u8| if ignore_case { byte.to_ascii_lowercase() } else { byte };
                let (low, high) = (first.min(last), first.max(last));
                matched |= (fold(low)..=fold(high)).contains(&fold(byte));
                at += 3;
            }
            [literal, ..] => {
                matched |= same(literal, byte, ignore_case);
                at += 1;
            }
        }
    }
    (matched != negated, at)
}

fn same(a: u8, b: u8, ignore_case: bool) -> bool {
    if ignore_case { a.eq_ignore_ascii_case(&b) } else { a == b }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        glob_matches(pattern.as_bytes(), text.as_bytes(), false)
    }

    #[test]
    fn stars_and_question_marks_stand_for_bytes() {
        assert!(matches("*", "") && matches("*", "abc") && matches("a*c", "abbc") && matches("a*b*c", "aXbYbZc"));
        assert!(matches("h?llo", "hello") && !matches("h?llo", "hllo") && !matches("a*c", "abd") && !matches("", "a"));
        assert!(matches("**a**", "bab") && matches("", ""));
    }

    #[test]
    fn classes_hold_single_bytes_and_ranges() {
        assert!(matches("h[ae]llo", "hallo") && !matches("h[ae]llo", "hillo"));
        assert!(matches("[a-c]x", "bx") && matches("[c-a]x", "bx") && !matches("[a-c]x", "dx"));
        assert!(matches("[^a]", "b") && !matches("[^a]", "a"));
        assert!(matches(r"[\]]", "]") && matches(r"[\-a]", "-"));
    }

    #[test]
    fn a_class_without_an_end_takes_the_rest_of_the_pattern() {
        assert!(matches("[ab", "b") && !matches("[ab", "c") && matches("[", "") == matches("[", "x"));
    }

    #[test]
    fn a_backslash_makes_the_next_byte_literal() {
        assert!(matches(r"a\*", "a*") && !matches(r"a\*", "ab") && matches(r"a\", r"a\"));
    }

    #[test]
    fn case_is_ignored_when_asked() {
        assert!(glob_matches(b"MAX*[A-C]", b"maxmemory-b", true) && !glob_matches(b"MAX*", b"max", false));
    }

    #[test]
    fn many_stars_cost_no_more_than_pattern_times_text() {
        let pattern = "a*".repeat(2_000) + "b";
        assert!(!matches(&pattern, &"a".repeat(60_000)));
    }

    #[test]
    fn the_prefix_ends_where_the_pattern_begins_to_vary() {
        assert_eq!(literal_prefix(b"user:12*"), b"user:12");
        assert_eq!(literal_prefix(b"*"), b"");
        assert_eq!(literal_prefix(b"plain"), b"plain");
    }
}
