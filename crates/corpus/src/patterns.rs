//! Which files of a corpus are meant, by their keys.

/// Files that are included and not excluded. Without patterns: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern(Vec<Token>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    /// `?`: one byte, not `/`.
    One,
    /// `*`: any bytes without `/`.
    Star,
    /// `**`: any bytes.
    Any,
    /// `**/`: any number of folders, none as well.
    Folders,
}

impl Patterns {
    /// A pattern is about the whole key: `?` is one character, `*` any but `/`, `**` any, `**/` any number of folders.
    pub fn new(include: &[String], exclude: &[String]) -> Self {
        let all = |patterns: &[String]| patterns.iter().map(|pattern| Pattern::new(pattern)).collect();
        Self { include: all(include), exclude: all(exclude) }
    }

    /// Whether the file with this key, its path below the corpus, is meant.
    ///
    /// Cost: O(bytes of the patterns x bytes of the key); no pattern is slow.
    pub fn mean(&self, key: &[u8]) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(key));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }
}

impl Pattern {
    fn new(text: &str) -> Self {
        let mut tokens = Vec::new();
        let mut rest = text.as_bytes();
        loop {
            let at_start = tokens.is_empty() || tokens.last() == Some(&Token::Byte(b'/'));
            rest = match rest {
                [] => return Self(tokens),
                [b'*', b'*', b'/', after @ ..] if at_start => {
                    tokens.push(Token::Folders);
                    after
                }
                [b'*', b'*', after @ ..] => {
                    tokens.push(Token::Any);
                    after
                }
                [b'*', after @ ..] => {
                    tokens.push(Token::Star);
                    after
                }
                [b'?', after @ ..] => {
                    tokens.push(Token::One);
                    after
                }
                [byte, after @ ..] => {
                    tokens.push(Token::Byte(*byte));
                    after
                }
            };
        }
    }

    /// Follows all ways through the pattern at once: `at[i]` says that the key so far fits the first `i` tokens.
    fn matches(&self, key: &[u8]) -> bool {
        let Self(tokens) = self;
        let mut at = vec![false; tokens.len() + 1];
        at[0] = true;
        self.skip(&mut at, true);
        for &byte in key {
            let mut next = vec![false; tokens.len() + 1];
            for (place, token) in tokens.iter().enumerate().filter(|(place, _)| at[*place]) {
                match token {
                    Token::Byte(wanted) => next[place + 1] |= *wanted == byte,
                    Token::One => next[place + 1] |= byte != b'/',
                    Token::Star => next[place] |= byte != b'/',
                    Token::Any => next[place] = true,
                    // Stays inside until a folder ends; what follows begins at the start of a name.
                    Token::Folders => next[place] = true,
                }
            }
            self.skip(&mut next, byte == b'/');
            at = next;
        }
        at[tokens.len()]
    }

    /// Tokens that may stand for nothing are passed over; whole folders only where a name begins.
    fn skip(&self, at: &mut [bool], name_begins: bool) {
        for (place, token) in self.0.iter().enumerate() {
            let may_be_empty = match token {
                Token::Star | Token::Any => true,
                Token::Folders => name_begins,
                Token::Byte(_) | Token::One => false,
            };
            at[place + 1] |= at[place] && may_be_empty;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_pattern_means_whole_paths() {
        for (pattern, key, fits) in [
            ("**/*.exe", "a.exe", true),
            ("**/*.exe", "dir/sub/a.exe", true),
            ("**/*.exe", "dir/a.exe.txt", false),
            ("*.exe", "a.exe", true),
            ("*.exe", "dir/a.exe", false),
            ("dir/**", "dir/sub/a", true),
            ("dir/**", "dirt/a", false),
            ("dir/**/a", "dir/a", true),
            ("dir/**/a", "dir/x/y/a", true),
            ("dir/**/a", "dir/xa", false),
            ("**/a", "ba", false),
            ("**/a/**", "x/a/y", true),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("**", "any/thing", true),
            ("a**z", "a/b/z", true),
            ("", "a", false),
            ("*", "", true),
            ("*a*b*c", "xxaxxbxxbc", true),
            ("*a*b*c", "xxaxxbxxbcd", false),
        ] {
            assert_eq!(Pattern::new(pattern).matches(key.as_bytes()), fits, "{pattern} {key}");
        }
    }

    #[test]
    fn excluded_is_stronger_than_included() {
        let both = Patterns::new(&patterns(&["**/*.exe", "**/*.dll"]), &patterns(&["tmp/**"]));
        assert!(both.mean(b"bin/a.exe") && both.mean(b"b.dll"));
        assert!(!both.mean(b"tmp/a.exe") && !both.mean(b"a.txt"));
        assert!(Patterns::default().mean(b"\xff any key"));
        assert!(!Patterns::new(&[], &patterns(&["**/.git/**"])).mean(b"x/.git/config"));
    }

    #[test]
    fn no_pattern_is_slow() {
        // Exponential for whoever tries one way after the other.
        let pattern = Pattern::new(&format!("{}b", "*a".repeat(120)));
        assert!(!pattern.matches("a".repeat(4_000).as_bytes()));
    }
}
