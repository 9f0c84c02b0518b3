//! Many prefixes, matched by one automaton: a trie whose chains are joined, as wide arrays without pointers.
//!
//! ```text
//! app.web.   app.db.slow   tmp          root ─┬─ "app." ─┬─ "db.slow" (1)
//!     0           1         2                 │          └─ "web." (0)
//!                                             └─ "tmp" (2)
//! ```
//!
//! A walk reads the line's bytes once, so that its cost depends on the line and hardly on the number of prefixes. Weighed against
//! `aho-corasick`: its anchored DFA needs 25 MiB for 10,000 names, which is five times what the whole process may take.

use std::collections::VecDeque;
use std::ops::Range;

use memchr::memchr;

/// No line can be longer than a datagram, so a longer prefix never matches.
const LONGEST: usize = u16::MAX as usize;
/// Positions are 32 bits wide: half the memory of the nodes.
const MOST_TEXT: usize = u32::MAX as usize;

/// No rule ends at this node.
const NONE: u32 = u32::MAX;

/// Prefixes as they were written: one text, and where each entry ends in it. A million of them are no million allocations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixList {
    text: String,
    ends: Vec<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrefixListError {
    #[error("an empty prefix, which every line starts with")]
    Empty,
    #[error("a prefix of {0} bytes, longer than any line ({LONGEST})")]
    TooLong(usize),
    #[error("more than {MOST_TEXT} bytes of prefixes")]
    TooMany,
}

impl PrefixList {
    pub fn push(&mut self, prefix: &str) -> Result<(), PrefixListError> {
        match prefix.len() {
            0 => return Err(PrefixListError::Empty),
            length if length > LONGEST => return Err(PrefixListError::TooLong(length)),
            _fits => {}
        }
        let end = self.text.len().checked_add(prefix.len()).and_then(|end| u32::try_from(end).ok());
        let end = end.ok_or(PrefixListError::TooMany)?;
        self.text.push_str(prefix);
        self.ends.push(end);
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    fn span(&self, entry: usize) -> Range<usize> {
        let start = entry.checked_sub(1).map_or(0, |before| self.ends[before] as usize);
        start..self.ends[entry] as usize
    }

    fn entry(&self, entry: usize) -> &str {
        &self.text[self.span(entry)]
    }

    /// Cost: O(text x log entries) time; memory of about 50 bytes an entry beside the text.
    pub fn compile(mut self) -> Prefixes {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
        let (nodes, first_bytes) = Builder::new(&self).build();
        Prefixes { list: self, nodes, first_bytes }
    }
}

/// A `PrefixList`, ready to be asked.
#[derive(Debug)]
pub struct Prefixes {
    list: PrefixList,
    /// In order of distance from the root, so that the children of one node are neighbours.
    nodes: Box<[Node]>,
    /// The first byte of each node's label, beside `nodes`: choosing a child is one `memchr`.
    first_bytes: Box<[u8]>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    /// Where in the list's text the bytes lie that lead from the parent to here.
    label_at: u32,
    label_length: u16,
    children: u16,
    first_child: u32,
    /// The entry that ends here, or `NONE`.
    entry: u32,
}

impl Prefixes {
    /// The entry that `line` starts with, counted from 0. Of several it is the shortest: the others can never decide.
    pub fn find(&self, line: &[u8]) -> Option<u32> {
        let text = self.list.text.as_bytes();
        let mut rest = line;
        let mut node = self.nodes.first()?;
        while node.entry == NONE {
            let children = node.first_child as usize..node.first_child as usize + usize::from(node.children);
            let child = children.start + memchr(*rest.first()?, &self.first_bytes[children])?;
            node = &self.nodes[child];
            let label = &text[node.label_at as usize..][..usize::from(node.label_length)];
            rest = rest.strip_prefix(label)?;
        }
        Some(node.entry)
    }

    /// The text of an entry that `find` returned.
    pub fn entry(&self, entry: u32) -> &str {
        self.list.entry(entry as usize)
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

struct Builder<'a> {
    list: &'a PrefixList,
    /// Entries in the order of their text, without those that start with another one.
    sorted: Vec<u32>,
}

impl<'a> Builder<'a> {
    fn new(list: &'a PrefixList) -> Self {
        let mut sorted: Vec<u32> = (0..).take(list.len()).collect();
        sorted.sort_unstable_by_key(|entry| (list.entry(*entry as usize), *entry));
        // What starts with another entry stands behind it in this order, and so does a second copy of an entry.
        sorted.dedup_by(|later, kept| list.entry(*later as usize).starts_with(list.entry(*kept as usize)));
        Self { list, sorted }
    }

    fn build(&self) -> (Box<[Node]>, Box<[u8]>) {
        if self.sorted.is_empty() {
            return Default::default();
        }
        let root = Node { label_at: 0, label_length: 0, children: 0, first_child: 0, entry: NONE };
        // At most as many inner nodes as leaves. All at once, because the allocator would keep what growing leaves behind.
        let most = 2 * self.sorted.len() + 1;
        let (mut nodes, mut first_bytes) = (Vec::with_capacity(most), Vec::with_capacity(most));
        nodes.push(root);
        first_bytes.push(0);
        // A node, its entries in `sorted`, and how many of their bytes lead to it. Bound: one element an entry.
        let mut open = VecDeque::from([(0, 0..self.sorted.len(), 0)]);
        while let Some((parent, entries, depth)) = open.pop_front() {
            let first_child = nodes.len();
            let mut start = entries.start;
            while start < entries.end {
                let group = self.group(start..entries.end, depth);
                let shared = self.shared(&group);
                let alone = group.len() == 1;
                let label_at = self.list.span(self.sorted[start] as usize).start + depth;
                first_bytes.push(self.list.text.as_bytes()[label_at]);
                if !alone {
                    open.push_back((nodes.len(), group.clone(), shared));
                }
                nodes.push(Node {
                    label_at: narrow(label_at),
                    label_length: u16::try_from(shared - depth).expect("entries are no longer than LONGEST"),
                    children: 0,
                    first_child: 0,
                    entry: if alone { self.sorted[start] } else { NONE },
                });
                start = group.end;
            }
            let children = u16::try_from(nodes.len() - first_child).expect("there are 256 bytes to begin with");
            (nodes[parent].first_child, nodes[parent].children) = (narrow(first_child), children);
        }
        (nodes.into(), first_bytes.into())
    }

    fn bytes(&self, at: usize) -> &[u8] {
        self.list.entry(self.sorted[at] as usize).as_bytes()
    }

    /// The entries at the front of `entries` that go on with the same byte after `depth`. None ends there: such a one would have
    /// been the only one left.
    fn group(&self, entries: Range<usize>, depth: usize) -> Range<usize> {
        let byte = self.bytes(entries.start)[depth];
        let same = self.sorted[entries.clone()]
            .partition_point(|entry| self.list.entry(*entry as usize).as_bytes()[depth] == byte);
        entries.start..entries.start + same
    }

    /// How many bytes all of `group` begin with: in sorted order, what the first and the last of them share.
    fn shared(&self, group: &Range<usize>) -> usize {
        let (first, last) = (self.bytes(group.start), self.bytes(group.end - 1));
        first.iter().zip(last).take_while(|(a, b)| a == b).count()
    }
}

fn narrow(position: usize) -> u32 {
    u32::try_from(position).expect("a node begins at a byte of the text, of which there are fewer than 2^32")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_prefix_matches_nothing() {
        assert_eq!(compile(&[]).find(b"a"), None);
    }

    #[test]
    fn a_line_must_hold_the_whole_prefix() {
        let prefixes = compile(&["app.web.", "app.db.slow", "tmp"]);
        for (line, entry) in [
            ("app.web.x", Some(0)),
            ("app.db.slow", Some(1)),
            ("app.db.slo", None),
            ("app.", None),
            ("tm", None),
            ("", None),
        ] {
            assert_eq!(prefixes.find(line.as_bytes()), entry, "{line}");
        }
    }

    #[test]
    fn the_first_of_equal_entries_and_the_shortest_of_nested_ones_decide() {
        let prefixes = compile(&["foo.bar", "foo", "foo", "f"]);
        assert_eq!(prefixes.find(b"foo.bar.baz"), Some(3));
        assert_eq!(prefixes.entry(3), "f");
        assert_eq!(compile(&["b", "a", "a"]).find(b"a"), Some(1));
    }

    #[test]
    fn entries_that_cannot_be_meant_are_refused() {
        let mut list = PrefixList::default();
        assert_eq!(list.push(""), Err(PrefixListError::Empty));
        assert_eq!(list.push(&"x".repeat(70_000)), Err(PrefixListError::TooLong(70_000)));
        assert!(list.is_empty());
    }

    #[test]
    fn a_million_prefixes_are_found_again() {
        let mut list = PrefixList::default();
        for number in 0..1_000_000 {
            list.push(&format!("service.{}.metric.{number}.", number % 1000)).unwrap();
        }
        let prefixes = list.compile();
        assert_eq!(prefixes.find(b"service.777.metric.123777.count:1|c"), Some(123_777));
        assert_eq!(prefixes.find(b"service.777.metric.123778.count:1|c"), None);
        let nodes = prefixes.nodes.len();
        assert!(nodes < 2 * prefixes.len(), "each inner node has two children or more: {nodes}");
    }

    proptest! {
        #[test]
        fn the_automaton_agrees_with_trying_each_prefix(
            entries in prop::collection::vec("[ab.é]{1,5}", 0..30),
            lines in prop::collection::vec("[ab.é]{0,8}", 1..30),
        ) {
            let entries: Vec<&str> = entries.iter().map(String::as_str).collect();
            let prefixes = compile(&entries);
            for line in &lines {
                let expected = entries.iter().filter(|entry| line.starts_with(**entry)).min_by_key(|entry| entry.len());
                let found = prefixes.find(line.as_bytes()).map(|entry| prefixes.entry(entry));
                prop_assert_eq!(found, expected.copied());
            }
        }
    }

    fn compile(entries: &[&str]) -> Prefixes {
        let mut list = PrefixList::default();
        entries.iter().for_each(|entry| list.push(entry).unwrap());
        list.compile()
    }
}
