//! Which shard a key belongs to: hash slots are dealt out in equal, contiguous ranges.

use resp::HASH_SLOTS;
use serde::{Deserialize, Serialize};

/// More shards than anybody has machines; each has at least four hash slots.
pub const MAX_SHARDS: u16 = 4096;

/// A contiguous range of hash slots, both ends included. Written `[first, last]` in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "(u16, u16)", into = "(u16, u16)")]
pub struct SlotRange {
    pub first: u16,
    pub last: u16,
}

impl SlotRange {
    pub const ALL: Self = Self { first: 0, last: HASH_SLOTS - 1 };

    /// The slots of shard `index` of `shards`: from `index * 16384 / shards` to before those of the next.
    pub fn of_shard(index: u16, shards: u16) -> Self {
        assert!(index < shards && shards <= MAX_SHARDS, "shard {index} of {shards}");
        let begin = |index: u16| {
            let slot = u32::from(index) * u32::from(HASH_SLOTS) / u32::from(shards);
            u16::try_from(slot).expect("index <= shards, so at most 16,384")
        };
        Self { first: begin(index), last: begin(index + 1) - 1 }
    }

    pub fn contains(self, slot: u16) -> bool {
        (self.first..=self.last).contains(&slot)
    }
}

impl From<(u16, u16)> for SlotRange {
    fn from((first, last): (u16, u16)) -> Self {
        Self { first, last }
    }
}

impl From<SlotRange> for (u16, u16) {
    fn from(range: SlotRange) -> Self {
        (range.first, range.last)
    }
}

/// The hash slot of a key as clients ask for it: the dataset's prefix followed by the stored key.
#[derive(Clone, Debug)]
pub struct Slotting {
    /// The prefix, and room for a key behind it.
    asked: Vec<u8>,
    prefix: usize,
}

impl Slotting {
    pub fn new(key_prefix: &str) -> Self {
        Self { asked: key_prefix.as_bytes().to_vec(), prefix: key_prefix.len() }
    }

    /// The slot of a stored key, which excludes the prefix.
    pub fn slot(&mut self, key: &[u8]) -> u16 {
        if self.prefix == 0 {
            return resp::hash_slot(key);
        }
        self.asked.truncate(self.prefix);
        self.asked.extend_from_slice(key);
        resp::hash_slot(&self.asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_cover_all_slots_once() {
        for shards in [1, 2, 3, 7, 16, 1000, MAX_SHARDS] {
            let ranges: Vec<_> = (0..shards).map(|index| SlotRange::of_shard(index, shards)).collect();
            assert_eq!((ranges[0].first, ranges[ranges.len() - 1].last), (0, HASH_SLOTS - 1));
            assert!(ranges.windows(2).all(|pair| pair[0].last + 1 == pair[1].first), "{shards}");
            let sizes: Vec<_> = ranges.iter().map(|range| range.last - range.first).collect();
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{shards}: {sizes:?}");
        }
    }

    #[test]
    fn a_prefix_counts_and_its_hash_tag_keeps_keys_together() {
        assert_eq!(Slotting::new("").slot(b"123456789"), 12_739);
        assert_eq!(Slotting::new("1234").slot(b"56789"), 12_739);
        let mut tagged = Slotting::new("{files}:");
        assert_eq!(tagged.slot(b"a"), tagged.slot(b"b"));
    }
}
