//! Which lines are wanted: lists of prefixes and sets of regular expressions, for blocking and for allowing.
//!
//! Prefixes are compared with the line from its first byte, as the published filter does: `foo.` drops every metric whose name
//! starts so, `foo:` drops exactly the metric `foo`, `_e{` drops events and `_sc|` service checks. Regular expressions see the
//! name alone (`name_of`).

mod patterns;
mod prefixes;

pub use patterns::Patterns;
pub use prefixes::{PrefixList, PrefixListError, Prefixes};

use std::cmp::Reverse;
use std::sync::atomic::{AtomicU64, Ordering};

use memchr::{memchr, memchr2};

/// All rules of one configuration, compiled. It never changes; a reload makes a new one.
#[derive(Debug)]
pub struct Rules {
    pub blocked: Prefixes,
    pub blocked_patterns: Patterns,
    /// With this, only what it names is forwarded.
    pub allowed: Option<Allowed>,
    pub hits: Hits,
}

/// How many lines each entry of the block list dropped, or would have dropped. Shared by all workers.
#[derive(Debug)]
pub struct Hits(Box<[AtomicU64]>);

#[derive(Debug)]
pub struct Allowed {
    pub prefixes: Prefixes,
    pub patterns: Patterns,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Forward,
    Drop(Reason),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The entry of the block list that decided, counted from 0.
    BlockedPrefix(u32),
    BlockedPattern,
    NotAllowed,
}

impl Rules {
    pub fn new(blocked: PrefixList, blocked_patterns: Patterns, allowed: Option<Allowed>) -> Self {
        let hits = Hits((0..blocked.len()).map(|_| AtomicU64::new(0)).collect());
        Self { blocked: blocked.compile(), blocked_patterns, allowed, hits }
    }

    /// Entries in all lists.
    pub fn len(&self) -> usize {
        let allowed = self.allowed.as_ref().map_or(0, |allowed| allowed.prefixes.len() + allowed.patterns.len());
        self.blocked.len() + self.blocked_patterns.len() + allowed
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Decides about one line, without its line end. Blocking beats allowing.
    ///
    /// Cost: one walk over the line's first bytes, whatever the number of prefixes; with patterns, one run of a DFA over the name.
    pub fn decide(&self, line: &[u8]) -> Verdict {
        if let Some(entry) = self.blocked.find(line) {
            return Verdict::Drop(Reason::BlockedPrefix(entry));
        }
        if self.blocked_patterns.match_name_of(line) {
            return Verdict::Drop(Reason::BlockedPattern);
        }
        match &self.allowed {
            Some(allowed) if !allowed.allow(line) => Verdict::Drop(Reason::NotAllowed),
            _allowed => Verdict::Forward,
        }
    }
}

impl Hits {
    pub(crate) fn add(&self, entry: u32) {
        self.0[entry as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The entries that decided about most lines, and about how many: at most `most` of them, none with no line.
    pub(crate) fn top(&self, most: usize) -> Vec<(u32, u64)> {
        let counts = (0..).zip(&self.0).map(|(entry, count)| (entry, count.load(Ordering::Relaxed)));
        let mut hit: Vec<(u32, u64)> = counts.filter(|(_, count)| *count > 0).collect();
        hit.sort_unstable_by_key(|(entry, count)| (Reverse(*count), *entry));
        hit.truncate(most);
        hit
    }
}

impl Allowed {
    fn allow(&self, line: &[u8]) -> bool {
        self.prefixes.find(line).is_some() || self.patterns.match_name_of(line)
    }
}

/// What a regular expression is matched against: `name` of `name:1|c`, `_sc|name` of a service check, `_e{5,4}` of an event,
/// and the whole line when it has neither.
pub fn name_of(line: &[u8]) -> &[u8] {
    let end = match line.strip_prefix(b"_sc|") {
        Some(check) => memchr(b'|', check).map(|at| at + b"_sc|".len()),
        None => memchr2(b':', b'|', line),
    };
    &line[..end.unwrap_or(line.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocking_beats_allowing() {
        let rules = rules(&["foo.secret"], &[], Some((&["foo."], &[])));
        assert_eq!(rules.decide(b"foo.secret.x:1|c"), Verdict::Drop(Reason::BlockedPrefix(0)));
        assert_eq!(rules.decide(b"foo.open:1|c"), Verdict::Forward);
        assert_eq!(rules.decide(b"bar:1|c"), Verdict::Drop(Reason::NotAllowed));
    }

    #[test]
    fn a_pattern_sees_the_name_and_not_the_tags() {
        let rules = rules(&[], &["debug$", "^tmp"], None);
        assert_eq!(rules.decide(b"app.debug:1|c"), Verdict::Drop(Reason::BlockedPattern));
        assert_eq!(rules.decide(b"app.x:1|c|#level:debug"), Verdict::Forward);
        assert_eq!(rules.decide(b"tmp.x:1|c"), Verdict::Drop(Reason::BlockedPattern));
    }

    #[test]
    fn a_pattern_alone_can_allow() {
        let rules = rules(&[], &[], Some((&["a."], &["^b[0-9]+$"])));
        assert_eq!(rules.decide(b"b12:1|c"), Verdict::Forward);
        assert_eq!(rules.decide(b"bx:1|c"), Verdict::Drop(Reason::NotAllowed));
    }

    #[test]
    fn events_and_service_checks_are_named_by_how_they_begin() {
        let rules = rules(&["_e{", "_sc|db."], &[], None);
        assert_eq!(rules.decide(b"_e{5,4}:title|text"), Verdict::Drop(Reason::BlockedPrefix(0)));
        assert_eq!(rules.decide(b"_sc|db.up|0|#a:b"), Verdict::Drop(Reason::BlockedPrefix(1)));
        assert_eq!(rules.decide(b"_sc|web.up|0"), Verdict::Forward);
    }

    #[test]
    fn a_prefix_with_a_colon_names_exactly_one_metric() {
        let rules = rules(&["foo:"], &[], None);
        assert_eq!(rules.decide(b"foo:1|c"), Verdict::Drop(Reason::BlockedPrefix(0)));
        assert_eq!(rules.decide(b"foo.bar:1|c"), Verdict::Forward);
    }

    #[test]
    fn names_end_where_each_kind_of_line_says() {
        let names = [
            (&b"a.b:1|c|#x:y"[..], &b"a.b"[..]),
            (b"_sc|db.up|0", b"_sc|db.up"),
            (b"_sc|db.up", b"_sc|db.up"),
            (b"_e{5,4}:title|text", b"_e{5,4}"),
            (b"no colon", b"no colon"),
            (b"", b""),
            (b"\xff\xfe:1|c", b"\xff\xfe"),
        ];
        for (line, name) in names {
            assert_eq!(name_of(line), name, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn the_entries_that_dropped_most_come_first() {
        let rules = rules(&["a", "b", "c"], &[], None);
        [2, 0, 2].into_iter().for_each(|entry| rules.hits.add(entry));
        assert_eq!(rules.hits.top(10), [(2, 2), (0, 1)]);
        assert_eq!(rules.hits.top(1), [(2, 2)]);
    }

    fn rules(blocked: &[&str], patterns: &[&str], allowed: Option<(&[&str], &[&str])>) -> Rules {
        let allowed = allowed.map(|(prefixes, patterns)| Allowed {
            prefixes: list(prefixes).compile(),
            patterns: self::patterns(patterns),
        });
        Rules::new(list(blocked), self::patterns(patterns), allowed)
    }

    fn list(entries: &[&str]) -> PrefixList {
        let mut list = PrefixList::default();
        entries.iter().for_each(|entry| list.push(entry).unwrap());
        list
    }

    fn patterns(entries: &[&str]) -> Patterns {
        Patterns::new(entries.iter().copied()).unwrap()
    }
}
