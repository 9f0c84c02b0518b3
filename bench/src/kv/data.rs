//! Keys of 16 bytes and values of 200, the same for both sides and in every run.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};

pub(crate) const KEY_BYTES: usize = 16;
pub(crate) const VALUE_BYTES: usize = 200;

/// Two versions of a dataset: same keys, other values. The first byte of a value tells which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    First,
    Second,
}

impl Version {
    pub(crate) fn mark(self) -> u8 {
        match self {
            Self::First => b'a',
            Self::Second => b'b',
        }
    }
}

/// `key:` and twelve digits, as `redis-benchmark` writes them.
pub(crate) fn write_key(number: u64, key: &mut [u8; KEY_BYTES]) {
    *key = *b"key:000000000000";
    let mut rest = number;
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).expect("a digit");
        rest /= 10;
    }
}

/// Letters and digits at random: 6 bits in each byte, so that compression gains a quarter and no more.
pub(crate) fn write_value(number: u64, version: Version, value: &mut [u8; VALUE_BYTES]) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut random = Random::new(number ^ u64::from(version.mark()) << 56);
    for ten in value.chunks_mut(10) {
        let mut bits = random.next();
        for letter in ten {
            *letter = LETTERS[usize::try_from(bits & 63).expect("6 bits")];
            bits >>= 6;
        }
    }
    value[0] = version.mark();
}

/// Writes the source of a dataset, a line for each key in order.
pub(crate) fn write_csv(file: &Path, keys: u64, version: Version) -> Result<()> {
    let failed = || format!("failed to write {}", file.display());
    let mut out = BufWriter::with_capacity(1 << 20, File::create(file).with_context(failed)?);
    out.write_all(b"key,value\n").with_context(failed)?;
    let (mut key, mut value) = ([0; KEY_BYTES], [0; VALUE_BYTES]);
    for number in 0..keys {
        write_key(number, &mut key);
        write_value(number, version, &mut value);
        for part in [&key[..], b",", &value, b"\n"] {
            out.write_all(part).with_context(failed)?;
        }
    }
    out.flush().with_context(failed)
}

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014): the same numbers everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_its_number_in_twelve_digits() {
        let mut key = [0; KEY_BYTES];
        write_key(1_234_567, &mut key);
        assert_eq!(&key, b"key:000001234567");
    }

    #[test]
    fn versions_differ_in_their_mark_and_in_the_rest() {
        let [mut first, mut second] = [[0; VALUE_BYTES]; 2];
        write_value(7, Version::First, &mut first);
        write_value(7, Version::Second, &mut second);
        assert_eq!((first[0], second[0]), (b'a', b'b'));
        assert_ne!(first[1..], second[1..]);
    }
}
