//! Regular expressions over names, all in one automaton.

use regex::bytes::{RegexSet, RegexSetBuilder};

use super::name_of;

/// Bound on the lazily built states of one set: beyond it they are thrown away and built anew, so memory stays bounded.
const STATES_BYTES: usize = 1 << 20;

#[derive(Clone, Debug, Default)]
pub struct Patterns {
    /// `None` for no pattern at all, so that the usual case costs one comparison.
    set: Option<RegexSet>,
}

impl Patterns {
    /// Errors: the first expression that does not parse, or a set that is larger than the `regex` crate allows.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, regex::Error> {
        let set = RegexSetBuilder::new(patterns).dfa_size_limit(STATES_BYTES).build()?;
        Ok(Self { set: (!set.is_empty()).then_some(set) })
    }

    /// Whether any expression matches the name in `line`. Allocates nothing once its states are built.
    pub fn match_name_of(&self, line: &[u8]) -> bool {
        self.set.as_ref().is_some_and(|set| set.is_match(name_of(line)))
    }

    /// The first expression that matches the name in `line`: its entry, counted from 0, and its text. For people: it allocates.
    pub fn first_match(&self, line: &[u8]) -> Option<(usize, &str)> {
        let set = self.set.as_ref()?;
        let first = set.matches(name_of(line)).iter().next()?;
        Some((first, set.patterns()[first].as_str()))
    }

    pub fn len(&self) -> usize {
        self.set.as_ref().map_or(0, RegexSet::len)
    }

    pub fn is_empty(&self) -> bool {
        self.set.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pattern_that_matches_is_named() {
        let patterns = Patterns::new(["^x", "b$", "^a"]).unwrap();
        assert_eq!(patterns.first_match(b"a.b:1|c"), Some((1, "b$")));
        assert_eq!(patterns.first_match(b"c:1|c"), None);
    }

    #[test]
    fn names_that_are_no_text_are_matched_as_bytes() {
        let patterns = Patterns::new([r"(?-u)\xff"]).unwrap();
        assert!(patterns.match_name_of(b"a\xff:1|c"));
    }

    #[test]
    fn no_pattern_matches_nothing() {
        assert!(!Patterns::new([]).unwrap().match_name_of(b""));
        assert!(Patterns::new([""; 1]).unwrap().match_name_of(b""));
    }
}
