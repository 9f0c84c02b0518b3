use std::cmp::Ordering;

/// Rows in memory: their bytes in one piece, and what sorting looks at in another.
#[derive(Debug, Default)]
pub(super) struct Arena {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    limit: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The first bytes of the key: nearly always enough to compare, without a look at the bytes.
    prefix: u64,
    offset: usize,
    row: u64,
    key_bytes: u32,
    value_bytes: u32,
    shard: u16,
}

/// A row in an arena.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stored<'a> {
    pub(super) shard: u16,
    pub(super) row: u64,
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

impl Arena {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether one more row stays within the limit. An empty arena takes any row.
    pub(super) fn has_room(&self, key: &[u8], value: &[u8]) -> bool {
        let entries = (self.entries.len() + 1) * size_of::<Entry>();
        self.is_empty() || self.bytes.len() + key.len() + value.len() + entries <= self.limit
    }

    pub(super) fn push(&mut self, shard: u16, key: &[u8], value: &[u8], row: u64) {
        if self.bytes.capacity() == 0 {
            // Address space only; pages are taken as they are filled. Growing would copy, and hold both copies.
            self.bytes.reserve(self.limit);
        }
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("values are at most 512 MiB");
        let (key_bytes, value_bytes) = (length(key), length(value));
        self.entries.push(Entry { prefix: prefix(key), offset, row, key_bytes, value_bytes, shard });
    }

    /// By shard, key and row.
    pub(super) fn sort(&mut self) {
        let bytes = &self.bytes;
        self.entries.sort_unstable_by(|left, right| {
            left.shard
                .cmp(&right.shard)
                .then(left.prefix.cmp(&right.prefix))
                .then_with(|| left.key(bytes).cmp(right.key(bytes)))
                .then(left.row.cmp(&right.row))
        });
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Stored<'_>> {
        self.entries.iter().map(|entry| entry.stored(&self.bytes))
    }

    /// The rows of one shard, if the arena is sorted.
    pub(super) fn rows_of(&self, shard: u16) -> impl Iterator<Item = Stored<'_>> {
        let begin = self.entries.partition_point(|entry| entry.shard.cmp(&shard) == Ordering::Less);
        let end = self.entries.partition_point(|entry| entry.shard <= shard);
        self.entries[begin..end].iter().map(|entry| entry.stored(&self.bytes))
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }
}

impl Entry {
    fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.offset..self.offset + self.key_bytes as usize]
    }

    fn stored<'a>(&self, bytes: &'a [u8]) -> Stored<'a> {
        let value = self.offset + self.key_bytes as usize;
        let value = &bytes[value..value + self.value_bytes as usize];
        Stored { shard: self.shard, row: self.row, key: self.key(bytes), value }
    }
}

/// The first eight bytes of a key as a number that sorts as they do; shorter keys end with zeros.
pub(super) fn prefix(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = key.len().min(8);
    bytes[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(bytes)
}
