//! Requests from a peer that sends whatever it likes.
//!
//! What must hold of every input: no panic; no more memory than the input pays for; no request beyond the limits; the same
//! requests and the same end whether the bytes come at once or one by one; and what was read can be written and read again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use resp::{Decoded, Decoder, Error, Limits, write_request};

/// One request: whether it was typed by hand, and its words.
type Read = (bool, Vec<Vec<u8>>);

/// How reading ended: the stream is broken, or waits for more behind so many bytes.
#[derive(Debug, PartialEq)]
enum End {
    Broken(Error),
    Waiting(usize),
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, input)) = data.split_first() else { return };
    // Small limits, so that short inputs meet them.
    let limits =
        Limits { authenticated: choice & 1 == 0, arguments: 12, bulk: if choice & 2 == 0 { 512 << 20 } else { 40 } };
    let at_once = read(input, &limits, input.len());
    let byte_by_byte = read(input, &limits, 1);
    assert_eq!(at_once, byte_by_byte, "at once and byte by byte");

    for (is_typed, words) in &at_once.0 {
        assert!(!words.is_empty(), "a request without a name");
        // What is typed by hand is limited by the length of its line.
        let is_within = words.len() <= limits.arguments && words.iter().all(|word| word.len() <= limits.bulk);
        assert!(is_within || *is_typed, "beyond the limits: {words:?}");
        let mut written = Vec::new();
        write_request(words.iter().map(Vec::as_slice), &mut written);
        let everything = Limits { authenticated: true, arguments: words.len(), bulk: written.len() };
        let (again, end) = read(&written, &everything, written.len());
        assert_eq!((again, end), (vec![(false, words.clone())], End::Waiting(0)), "written and read again");
    }
});

/// Feeds `input` in pieces of `step` bytes, as a connection does: what was consumed is not shown again.
fn read(input: &[u8], limits: &Limits, step: usize) -> (Vec<Read>, End) {
    let mut decoder = Decoder::default();
    let (mut requests, mut start, mut end) = (Vec::new(), 0, 0);
    loop {
        let consumed = match decoder.decode(&input[start..end], limits) {
            Err(error) => return (requests, End::Broken(error)),
            Ok(Decoded::Incomplete) if end == input.len() => return (requests, End::Waiting(end - start)),
            Ok(Decoded::Incomplete) => {
                end = (end + step.max(1)).min(input.len());
                continue;
            }
            Ok(Decoded::Nothing { consumed }) => consumed,
            Ok(Decoded::Request { request, consumed }) => {
                let is_typed = input[start] != b'*';
                let words = request.iter().map(<[u8]>::to_vec).collect();
                requests.push((is_typed, words));
                consumed
            }
        };
        assert!(consumed > 0 && consumed <= end - start, "consumed {consumed} of {}", end - start);
        start += consumed;
        // The shortest argument takes 6 bytes ("$0\r\n\r\n"), or 2 when typed, and 16 in memory; a growing vector doubles.
        assert!(decoder.memory() <= 1_024 + 32 * input.len(), "{} bytes of memory", decoder.memory());
    }
}
