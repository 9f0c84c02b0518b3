//! Datagrams of a client that sends whatever it likes, and prefixes that nobody would write.
//!
//! What must hold of every input: no panic; every line is forwarded whole or counted as dropped or too long, once; lines keep their
//! order; the automaton decides as trying each prefix does; no datagram that joins lines is larger than the limit.

#![no_main]

use libfuzzer_sys::fuzz_target;
use statsd_filter::filter::{Policy, Received, filter_datagram};
use statsd_filter::metrics::{Count, Tally};
use statsd_filter::pack::Packer;
use statsd_filter::rules::{Patterns, PrefixList, Rules, name_of};

/// Separates prefixes, and datagrams: other bytes mean something to what is tested.
const SEPARATOR: u8 = 0;

fuzz_target!(|data: &[u8]| {
    let [choice, limit, longest, prefixes, input @ ..] = data else { return };
    let (limit, longest) = (usize::from(*limit) + 1, usize::from(*longest) + 1);
    let (is_joining, is_cut_off) = (choice & 1 == 0, choice & 2 != 0);
    let mut parts = input.split(|byte| *byte == SEPARATOR);
    let prefixes: Vec<&str> =
        parts.by_ref().take(usize::from(prefixes % 16)).filter_map(|part| std::str::from_utf8(part).ok()).collect();
    let datagrams: Vec<&[u8]> = parts.collect();

    let mut list = PrefixList::default();
    let prefixes: Vec<&str> = prefixes.into_iter().filter(|prefix| list.push(prefix).is_ok()).collect();
    let policy = Policy {
        rules: Rules::new(list, Patterns::default(), None),
        dry_run: false,
        max_line_bytes: longest,
        join_datagrams: is_joining,
    };
    let (sent, tally) = run(&policy, limit, &datagrams, is_cut_off);

    let mut expected = Vec::new();
    let (mut received, mut dropped, mut too_long) = (0, 0, 0);
    for datagram in &datagrams {
        let lines: Vec<&[u8]> = datagram.split(|byte| *byte == b'\n').collect();
        for (index, line) in lines.iter().enumerate().filter(|(_, line)| !line.is_empty()) {
            assert!(line.starts_with(name_of(line)), "a name is how a line begins");
            received += 1;
            if line.len() > longest || (is_cut_off && index + 1 == lines.len()) {
                too_long += 1;
            } else if prefixes.iter().any(|prefix| line.starts_with(prefix.as_bytes())) {
                dropped += 1;
            } else {
                expected.push(*line);
            }
        }
    }
    let forwarded: Vec<&[u8]> = sent.iter().flat_map(|datagram| datagram.split(|byte| *byte == b'\n')).collect();
    assert_eq!(forwarded, expected, "lines that are forwarded");
    let counts = [Count::LinesReceived, Count::DroppedByPrefix, Count::LinesTooLong].map(|count| tally.get(count));
    assert_eq!(counts, [received, dropped, too_long], "received, dropped, too long");
    for datagram in &sent {
        assert!(datagram.len() <= limit || !datagram.contains(&b'\n'), "joined beyond the limit");
    }
});

/// What leaves, and the account.
fn run(policy: &Policy, limit: usize, datagrams: &[&[u8]], cut_off: bool) -> (Vec<Vec<u8>>, Tally) {
    let (mut packer, mut tally, mut sent) = (Packer::new(limit), Tally::default(), Vec::new());
    let mut send = |packer: &mut Packer, _: &mut Tally| {
        sent.extend((0..packer.len()).map(|index| packer.datagram(index).0.to_vec()));
        packer.clear();
    };
    for bytes in datagrams {
        filter_datagram(policy, Received { bytes, cut_off }, &mut packer, &mut tally, &mut send);
    }
    send(&mut packer, &mut tally);
    (sent, tally)
}
