//! The content digest: what records there are, whatever their order and wherever they lie.

use std::{fmt, iter::Sum, ops::AddAssign, str::FromStr};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// Records up to this size are hashed in one piece, from the stack.
const SMALL: usize = 512;

/// The sum modulo 2^128 of XXH3-128 over (length of the key as u32 little-endian, key, value) of every record.
///
/// Sums do not depend on order, so the digest of a dataset is the sum of those of its shards, however many there are.
/// It guards against accidents, not against an adversary; files have SHA-256 for that.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContentDigest(u128);

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a content digest is 32 hex digits, not {text:?}")]
pub struct ContentDigestError {
    text: String,
}

impl ContentDigest {
    /// Adds one record. `key` is at most 64 KiB, `value` at most 512 MiB.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        self.0 = self.0.wrapping_add(record(key, value));
    }

    /// The first 8 hex digits: what tells two versions of one sequence number apart at a glance.
    pub fn short(&self) -> String {
        self.to_string()[..8].to_owned()
    }
}

impl AddAssign for ContentDigest {
    fn add_assign(&mut self, other: Self) {
        self.0 = self.0.wrapping_add(other.0);
    }
}

impl Sum for ContentDigest {
    fn sum<I: Iterator<Item = Self>>(digests: I) -> Self {
        digests.fold(Self::default(), |mut sum, digest| {
            sum += digest;
            sum
        })
    }
}

fn record(key: &[u8], value: &[u8]) -> u128 {
    let length = u32::try_from(key.len()).expect("keys are at most 64 KiB").to_le_bytes();
    let total = length.len() + key.len() + value.len();
    if total <= SMALL {
        let mut bytes = [0; SMALL];
        let (head, rest) = bytes[..total].split_at_mut(length.len());
        head.copy_from_slice(&length);
        rest[..key.len()].copy_from_slice(key);
        rest[key.len()..].copy_from_slice(value);
        return xxh3_128(&bytes[..total]);
    }
    let mut hasher = Xxh3::new();
    hasher.update(&length);
    hasher.update(key);
    hasher.update(value);
    hasher.digest128()
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.0)
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ContentDigest({})", self.short())
    }
}

impl FromStr for ContentDigest {
    type Err = ContentDigestError;

    fn from_str(text: &str) -> Result<Self, ContentDigestError> {
        let refused = || ContentDigestError { text: text.chars().take(80).collect() };
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f')) {
            return Err(refused());
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| refused())
    }
}

impl TryFrom<String> for ContentDigest {
    type Error = ContentDigestError;

    fn try_from(text: String) -> Result<Self, ContentDigestError> {
        text.parse()
    }
}

impl From<ContentDigest> for String {
    fn from(digest: ContentDigest) -> Self {
        digest.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(records: &[(Vec<u8>, Vec<u8>)]) -> ContentDigest {
        let mut digest = ContentDigest::default();
        records.iter().for_each(|(key, value)| digest.add(key, value));
        digest
    }

    #[test]
    fn the_digest_is_as_documented() {
        let mut digest = ContentDigest::default();
        digest.add(b"key", b"value");
        assert_eq!(digest.0, xxh3_128(b"\x03\0\0\0keyvalue"));
        // A released format: this number may never change.
        assert_eq!(digest.to_string().parse(), Ok(digest));
    }

    #[test]
    fn where_the_key_ends_counts() {
        assert_ne!(of(&[(b"ab".into(), b"c".into())]), of(&[(b"a".into(), b"bc".into())]));
    }

    #[test]
    fn text_that_is_no_digest_is_refused() {
        for text in ["", "0", "+0000000000000000000000000000000", "0000000000000000000000000000000G"] {
            assert!(text.parse::<ContentDigest>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn the_digest_depends_on_neither_order_nor_parts(
            mut records in prop::collection::vec(
                (prop::collection::vec(any::<u8>(), 1..40), prop::collection::vec(any::<u8>(), 0..900)), 0..30),
            cut in any::<prop::sample::Index>(),
        ) {
            let whole = of(&records);
            records.reverse();
            prop_assert_eq!(of(&records), whole);
            let (left, right) = records.split_at(cut.index(records.len() + 1));
            prop_assert_eq!([of(left), of(right)].into_iter().sum::<ContentDigest>(), whole);
        }

        #[test]
        fn one_changed_byte_changes_the_digest(
            key in prop::collection::vec(any::<u8>(), 1..40),
            value in prop::collection::vec(any::<u8>(), 1..900),
            at in any::<prop::sample::Index>(),
        ) {
            let mut changed = value.clone();
            changed[at.index(value.len())] ^= 1;
            prop_assert_ne!(of(&[(key.clone(), value)]), of(&[(key, changed)]));
        }
    }
}
