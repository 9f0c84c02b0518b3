//! One datagram's lines: which are forwarded, which are not, and the account of both.

use memchr::memchr_iter;

use crate::metrics::{Count, Tally};
use crate::pack::Packer;
use crate::rules::{Reason, Rules, Verdict};

/// How lines are treated. Replaced as a whole by a reload.
#[derive(Debug)]
pub struct Policy {
    pub rules: Rules,
    /// Unwanted lines are counted and forwarded all the same.
    pub dry_run: bool,
    /// A longer line is dropped: no agent would read it whole.
    pub max_line_bytes: usize,
    /// Whether lines of several datagrams may share one.
    pub join_datagrams: bool,
}

/// What came from the network.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    pub bytes: &'a [u8],
    /// The datagram was larger than the buffer: its last line is incomplete.
    pub cut_off: bool,
}

/// Puts what is wanted of one datagram into `packer`, and calls `send` to empty it whenever it is full.
///
/// Lines end at `\n`; the last may do without; empty ones vanish. Bytes mean nothing else here, so any encoding passes.
pub fn filter_datagram(
    policy: &Policy,
    received: Received<'_>,
    packer: &mut Packer,
    tally: &mut Tally,
    mut send: impl FnMut(&mut Packer, &mut Tally),
) {
    tally.add(Count::DatagramsReceived, 1);
    tally.add(Count::BytesReceived, received.bytes.len() as u64);
    let mut lines = 0;
    for (line, is_whole) in lines_of(received) {
        lines += 1;
        if is_whole && line.len() <= policy.max_line_bytes {
            if is_forwarded(policy, line, tally) && packer.push(line).is_err() {
                send(packer, tally);
                packer.push(line).expect("an empty packer takes any line");
            }
        } else {
            tally.add(Count::LinesTooLong, 1);
        }
    }
    tally.add(Count::LinesReceived, lines);
    if !policy.join_datagrams {
        packer.close();
    }
}

/// Every line that is not empty, and whether it came whole.
fn lines_of(received: Received<'_>) -> impl Iterator<Item = (&[u8], bool)> {
    let Received { bytes, cut_off } = received;
    let ends = memchr_iter(b'\n', bytes).map(|end| (end, true)).chain([(bytes.len(), !cut_off)]);
    let mut start = 0;
    ends.filter_map(move |(end, is_whole)| {
        let line = &bytes[start..end];
        start = end + 1;
        (!line.is_empty()).then_some((line, is_whole))
    })
}

fn is_forwarded(policy: &Policy, line: &[u8], tally: &mut Tally) -> bool {
    let Verdict::Drop(reason) = policy.rules.decide(line) else { return true };
    if let Reason::BlockedPrefix(entry) = reason {
        policy.rules.hits.add(entry);
    }
    tally.add(if policy.dry_run { would_drop(reason) } else { dropped(reason) }, 1);
    policy.dry_run
}

fn dropped(reason: Reason) -> Count {
    match reason {
        Reason::BlockedPrefix(_) => Count::DroppedByPrefix,
        Reason::BlockedPattern => Count::DroppedByPattern,
        Reason::NotAllowed => Count::DroppedNotAllowed,
    }
}

fn would_drop(reason: Reason) -> Count {
    match reason {
        Reason::BlockedPrefix(_) => Count::WouldDropByPrefix,
        Reason::BlockedPattern => Count::WouldDropByPattern,
        Reason::NotAllowed => Count::WouldDropNotAllowed,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rules::{Patterns, PrefixList};

    #[test]
    fn unwanted_lines_go_and_the_others_keep_their_order() {
        let story = Story::new(&["no."]);
        let (sent, tally) = story.run(&[b"a:1|c\nno.x:1|c\nb:2|g|@0.5|#t:v\n", b"c:3|ms"]);
        assert_eq!(sent, [b"a:1|c\nb:2|g|@0.5|#t:v\nc:3|ms"]);
        assert_eq!((tally.get(Count::LinesReceived), tally.get(Count::DroppedByPrefix)), (4, 1));
    }

    #[test]
    fn a_dry_run_counts_and_forwards() {
        let story = Story { dry_run: true, ..Story::new(&["no."]) };
        let (sent, tally) = story.run(&[b"no.x:1|c"]);
        assert_eq!(sent, [b"no.x:1|c"]);
        assert_eq!((tally.get(Count::DroppedByPrefix), tally.get(Count::WouldDropByPrefix)), (0, 1));
    }

    #[test]
    fn without_joining_each_datagram_stays_its_own() {
        let story = Story { join_datagrams: false, ..Story::new(&["no."]) };
        let (sent, _) = story.run(&[b"a:1|c\nb:1|c", b"no.x:1|c", b"c:1|c"]);
        assert_eq!(sent, [&b"a:1|c\nb:1|c"[..], b"c:1|c"]);
    }

    #[test]
    fn bad_input_harms_nobody() {
        let long = [b'x'; 65_507];
        let inputs: [(&[u8], &[&[u8]]); 7] = [
            (b"", &[]),
            (b"\n", &[]),
            (b"\n\n\n\n", &[]),
            (b"no colon", &[b"no colon"]),
            (b"\xff\xfe\x00:1|c\n\xc3", &[b"\xff\xfe\x00:1|c\n\xc3"]),
            (&long, &[]),
            (b"::::\n||||\n_sc|\n_e{", &[b"::::\n||||\n_sc|\n_e{"]),
        ];
        for (input, expected) in inputs {
            let (sent, _) = Story::new(&["no."]).run(&[input]);
            assert_eq!(sent, expected, "{}", input.escape_ascii());
        }
    }

    #[test]
    fn a_line_beyond_the_limit_is_counted_and_its_neighbours_pass() {
        let story = Story { max_line_bytes: 5, ..Story::new(&[]) };
        let (sent, tally) = story.run(&[b"a:1|c\nbb:1|c\nc:1|c"]);
        assert_eq!((sent, tally.get(Count::LinesTooLong)), (vec![b"a:1|c\nc:1|c".to_vec()], 1));
    }

    #[test]
    fn the_broken_last_line_of_a_datagram_that_was_cut_off_is_not_forwarded() {
        let policy = Story::new(&[]).policy();
        let (mut packer, mut tally) = (Packer::new(100), Tally::default());
        let received = Received { bytes: b"a:1|c\nb:1", cut_off: true };
        filter_datagram(&policy, received, &mut packer, &mut tally, |_, _| unreachable!("there is room"));
        assert_eq!((packer.datagram(0), tally.get(Count::LinesTooLong)), ((&b"a:1|c"[..], 1), 1));
    }

    proptest! {
        /// The model: split at line ends, keep what starts with no prefix, in order.
        #[test]
        fn no_line_is_lost_doubled_cut_or_moved(
            datagrams in prop::collection::vec(prop::collection::vec(prop::sample::select(&b"ab:|\n\n\xff"[..]), 0..60), 0..150),
            limit in 1_usize..40,
            join_datagrams: bool,
        ) {
            let story = Story { limit, join_datagrams, ..Story::new(&["ab", "b:"]) };
            let datagrams: Vec<&[u8]> = datagrams.iter().map(Vec::as_slice).collect();
            let (sent, tally) = story.run(&datagrams);

            let all = || datagrams.iter().flat_map(|datagram| datagram.split(|byte| *byte == b'\n')).filter(|line| !line.is_empty());
            let wanted: Vec<&[u8]> = all().filter(|line| !line.starts_with(b"ab") && !line.starts_with(b"b:")).collect();
            let forwarded: Vec<&[u8]> = sent.iter().flat_map(|datagram| datagram.split(|byte| *byte == b'\n')).collect();
            prop_assert_eq!(&forwarded, &wanted);
            prop_assert_eq!(tally.get(Count::LinesReceived), all().count() as u64);
            prop_assert_eq!(tally.get(Count::DroppedByPrefix), (all().count() - wanted.len()) as u64);
            for datagram in &sent {
                prop_assert!(datagram.len() <= limit || !datagram.contains(&b'\n'));
            }
        }
    }

    struct Story {
        blocked: PrefixList,
        limit: usize,
        max_line_bytes: usize,
        join_datagrams: bool,
        dry_run: bool,
    }

    impl Story {
        fn new(prefixes: &[&str]) -> Self {
            let mut blocked = PrefixList::default();
            prefixes.iter().for_each(|prefix| blocked.push(prefix).unwrap());
            Self { blocked, limit: 1432, max_line_bytes: 8192, join_datagrams: true, dry_run: false }
        }

        fn policy(&self) -> Policy {
            Policy {
                rules: Rules::new(self.blocked.clone(), Patterns::default(), None),
                dry_run: self.dry_run,
                max_line_bytes: self.max_line_bytes,
                join_datagrams: self.join_datagrams,
            }
        }

        /// What was sent, and the account.
        fn run(&self, datagrams: &[&[u8]]) -> (Vec<Vec<u8>>, Tally) {
            let (policy, mut packer, mut tally) = (self.policy(), Packer::new(self.limit), Tally::default());
            let mut sent = Vec::new();
            let mut send = |packer: &mut Packer, _: &mut Tally| {
                sent.extend((0..packer.len()).map(|index| packer.datagram(index).0.to_vec()));
                packer.clear();
            };
            for bytes in datagrams {
                let received = Received { bytes, cut_off: false };
                filter_datagram(&policy, received, &mut packer, &mut tally, &mut send);
            }
            send(&mut packer, &mut tally);
            (sent, tally)
        }
    }
}
