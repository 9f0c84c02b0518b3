//! Patterns of KEYS and SCAN: no panic, and no pattern that takes for ever (libFuzzer's own time-out).

#![no_main]

use libfuzzer_sys::fuzz_target;
use resp::{glob_matches, literal_prefix};

fuzz_target!(|data: &[u8]| {
    let Some((length, rest)) = data.split_first() else { return };
    let (pattern, text) = rest.split_at(rest.len().min(usize::from(*length)));
    if glob_matches(pattern, text, false) {
        assert!(text.starts_with(literal_prefix(pattern)), "a match without the prefix of its pattern");
    }
    // No comparison of the two: as in Redis, the ends of a range are folded as well, so `[A-z]` holds less without case.
    glob_matches(pattern, text, true);
    assert!(glob_matches(b"*", text, false));
});
