//! Makes the table of a file that was just written, by walking over its blocks.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::Path,
};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::{
    EXTENSION, Header, Slot, home,
    record::{self, KEY_TAIL, MOST_HEAD},
};

/// After each block: how it is compressed, and its checksum.
const TRAILER: usize = 5;
/// Of a block's last number: whether hashes precede it.
const HAS_HASHES: u32 = 1 << 31;
/// A block has hashes only up to some 250 records, and has at most this many bytes of them.
const MOST_HASHES: usize = 1024;
/// Slots for each three keys: a key that is there is found after two probes, one that is not after six, in one or two cache lines.
const SLOTS_FOR_THREE: u64 = 4;

/// Writes the table of `file`, which holds `keys` records, beside it. False, and no table, if the file is not laid out as expected:
/// it is read through RocksDB then.
///
/// Memory: some 11 bytes a key. Cost: reads the file once.
pub(crate) fn build(file: &Path, keys: u64) -> io::Result<bool> {
    let Some(table) = Builder::new(file, keys)?.walk()? else {
        tracing::warn!(file = %file.display(), "blocks are not laid out as expected; lookups will be slower");
        return Ok(false);
    };
    let mut sum = Xxh3::new();
    table.slots.iter().for_each(|slot| sum.update(&slot.0.to_le_bytes()));
    let header = Header {
        file_bytes: table.window.bytes,
        keys,
        slots: table.slots.len() as u64,
        sum: sum.digest(),
        smallest: table.smallest,
    };
    let Some(header) = header.write() else { return Ok(false) };
    let mut out = BufWriter::with_capacity(1 << 20, File::create(file.with_extension(EXTENSION))?);
    out.write_all(&header)?;
    for slot in &table.slots {
        out.write_all(&slot.0.to_le_bytes())?;
    }
    out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(true)
}

struct Builder {
    window: Window,
    keys: u64,
    seen: u64,
    smallest: Vec<u8>,
    last: Vec<u8>,
    slots: Vec<Slot>,
}

impl Builder {
    fn new(file: &Path, keys: u64) -> io::Result<Self> {
        let slots = usize::try_from(keys * SLOTS_FOR_THREE / 3 + 1).map_err(io::Error::other)?;
        let window = Window::open(file)?;
        Ok(Self { window, keys, seen: 0, smallest: Vec::new(), last: Vec::new(), slots: vec![Slot::EMPTY; slots] })
    }

    /// `None` as soon as something is not as expected.
    fn walk(mut self) -> io::Result<Option<Self>> {
        while self.seen < self.keys {
            if self.block()?.is_none() {
                return Ok(None);
            }
        }
        Ok((self.seen == self.keys).then_some(self))
    }

    fn block(&mut self) -> io::Result<Option<()>> {
        let begin = self.window.at;
        let mut restarts: Vec<u32> = Vec::new();
        // A block's records are followed by where they begin: four zero bytes for the first, which begin no record.
        while let Some(head) = record::head(self.window.peek(MOST_HEAD)?) {
            let Ok(restart) = u32::try_from(self.window.at - begin) else { return Ok(None) };
            restarts.push(restart);
            let place = self.window.at..self.window.at + head.record_bytes() as u64;
            let start = self.window.peek(head.bytes + head.key)?;
            let Some(key) = start.get(head.bytes..).and_then(|key| key.strip_suffix(&KEY_TAIL)) else {
                return Ok(None);
            };
            if self.seen == 0 {
                key.clone_into(&mut self.smallest);
            } else if key <= self.last.as_slice() {
                return Ok(None);
            }
            key.clone_into(&mut self.last);
            self.seen += 1;
            if self.seen > self.keys {
                return Ok(None);
            }
            let hash = xxh3_64(key);
            let Some(slot) = Slot::new(hash, place.clone()) else { return Ok(None) };
            self.insert(hash, slot);
            self.window.at = place.end;
        }
        self.end_of_block(&restarts)
    }

    fn end_of_block(&mut self, restarts: &[u32]) -> io::Result<Option<()>> {
        let expected: Vec<u8> = restarts.iter().flat_map(|restart| restart.to_le_bytes()).collect();
        if restarts.is_empty() || self.window.peek(expected.len())? != expected {
            return Ok(None);
        }
        self.window.at += expected.len() as u64;
        let Ok(count) = u32::try_from(restarts.len()) else { return Ok(None) };
        let rest = self.window.peek(MOST_HASHES + TRAILER + 6)?;
        let Some(foot) = foot(rest, count) else { return Ok(None) };
        if rest.get(foot) != Some(&0) {
            return Ok(None); // compressed
        }
        self.window.at += (foot + TRAILER) as u64;
        Ok(Some(()))
    }

    fn insert(&mut self, hash: u64, slot: Slot) {
        let mut index = home(hash, self.slots.len());
        while !self.slots[index].is_empty() {
            index = if index + 1 == self.slots.len() { 0 } else { index + 1 };
        }
        self.slots[index] = slot;
    }
}

/// Where the number of records ends that closes a block, counted from the end of the restarts.
fn foot(rest: &[u8], count: u32) -> Option<usize> {
    let number = |at: usize| Some(u32::from_le_bytes(rest.get(at..at + 4)?.try_into().ok()?));
    if number(0)? == count {
        return Some(4);
    }
    (1..=MOST_HASHES).find_map(|hashes| {
        let says = u16::from_le_bytes(rest.get(hashes..hashes + 2)?.try_into().ok()?);
        (usize::from(says) == hashes && number(hashes + 2)? == count | HAS_HASHES).then_some(hashes + 6)
    })
}

/// A file read from front to back, with a look ahead.
struct Window {
    file: File,
    bytes: u64,
    /// Where in the file we are.
    at: u64,
    buffer: Vec<u8>,
    /// What is in the buffer.
    begin: u64,
}

impl Window {
    const STEP: usize = 1 << 20;

    fn open(file: &Path) -> io::Result<Self> {
        let bytes = fs::metadata(file)?.len();
        Ok(Self { file: File::open(file)?, bytes, at: 0, buffer: Vec::new(), begin: 0 })
    }

    /// The next `count` bytes, or fewer at the end of the file.
    fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        let offset = self.at - self.begin;
        let have = (self.buffer.len() as u64).saturating_sub(offset);
        if have < count as u64 {
            let left = self.bytes.saturating_sub(self.at).min(count.max(Self::STEP) as u64);
            self.buffer.resize(usize::try_from(left).map_err(io::Error::other)?, 0);
            std::os::unix::fs::FileExt::read_exact_at(&self.file, &mut self.buffer, self.at)?;
            self.begin = self.at;
        }
        let offset = usize::try_from(self.at - self.begin).map_err(io::Error::other)?;
        let end = self.buffer.len().min(offset + count);
        Ok(&self.buffer[offset..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_foot_of_a_block_is_found_with_and_without_hashes() {
        let plain = [&3_u32.to_le_bytes()[..], &[0; 5]].concat();
        assert_eq!(foot(&plain, 3), Some(4));
        let hashed =
            [&[255, 0, 1, 2, 255][..], &5_u16.to_le_bytes(), &(3 | HAS_HASHES).to_le_bytes(), &[0; 5]].concat();
        assert_eq!(foot(&hashed, 3), Some(11));
        assert_eq!(foot(&hashed, 4), None);
        assert_eq!(foot(&[], 4), None);
    }
}
