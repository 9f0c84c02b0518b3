//! Where each record lies, so that a lookup is one probe of a table and one read of exactly the record.
//!
//! RocksDB finds a key by a filter, a binary search in an index of all blocks, and a search in a block: some ten cache misses, 3.7 us
//! for ten million keys where everything is in memory. A table of hashes with places needs one or two, and the read after it
//! says by itself whether it would have to wait for a disk, which reading mapped memory cannot.
//!
//! ```text
//! 000008.sst ──build──► 000008.locator ──load──► Locator ──► slot (offset, length, 16 bits of the hash) ──pread──► key, value
//! ```
//! One table a file, written after it, so that writing needs memory for one file's keys alone. A shard without tables, or with files
//! they do not fit, is read through RocksDB: the records themselves are in its files, and in its format, only once.

mod build;
mod record;

use std::{
    fs::File,
    io::{self, IoSliceMut, Read as _},
    ops::Range,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use rustix::io::{Errno, ReadWriteFlags};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

pub(crate) use build::build;

/// Of a table beside a record file.
pub(crate) const EXTENSION: &str = "locator";
/// What a table begins with. A layout that differs gets another last digit.
const MAGIC: [u8; 8] = *b"DRAGLOC1";
/// Records up to here are read in one go without allocating.
const SHORT: usize = 1024;

/// The tables of a shard, in the order of their files' keys.
pub(crate) struct Locator(Vec<Table>);

struct Table {
    path: PathBuf,
    records: File,
    smallest: Vec<u8>,
    slots: Vec<Slot>,
}

/// 32 bits of offset, 16 of length ([`Slot::LONG`]: to be read from the record), 16 of the key's hash. 0 is empty: no record is.
#[derive(Clone, Copy)]
struct Slot(u64);

/// A record file, as RocksDB names it.
pub(crate) struct RecordFile<'a> {
    pub(crate) path: &'a Path,
    pub(crate) bytes: u64,
    pub(crate) keys: u64,
}

/// Why a lookup did not answer.
pub(crate) enum Failure {
    /// The record is not in memory, and waiting was not allowed.
    WouldWait,
    Read {
        file: PathBuf,
        source: io::Error,
    },
}

impl Locator {
    /// The tables of all `files`. `None` if one has none, or one that was not made for it: then RocksDB knows the way.
    ///
    /// Cost: reads some 11 bytes a key.
    pub(crate) fn load(files: &[RecordFile<'_>]) -> Option<Self> {
        let mut tables: Vec<_> = files.iter().map(load_table).collect::<Option<_>>()?;
        tables.sort_by(|one, other| one.smallest.cmp(&other.smallest));
        let tells = tables.first().is_none_or(|table| reads_without_waiting(&table.records));
        tells.then_some(Self(tables))
    }

    /// Bytes of the process's own memory.
    pub(crate) fn memory(&self) -> u64 {
        self.0.iter().map(|table| (table.slots.len() * size_of::<Slot>()) as u64).sum()
    }

    /// Hands the value of `key`, or `None`, to `read`.
    pub(crate) fn get<R>(
        &self,
        key: &[u8],
        may_wait: bool,
        read: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R, Failure> {
        match self.table_of(key) {
            Some(table) => table.get(key, xxh3_64(key), may_wait, read),
            None => Ok(read(None)),
        }
    }

    /// Brings the slots of `keys` into the processor's caches, all misses side by side, for the lookups that follow.
    pub(crate) fn look_ahead(&self, keys: &[&[u8]]) {
        for key in keys {
            if let Some(table) = self.table_of(key) {
                std::hint::black_box(table.slots[table.home(xxh3_64(key))].0);
            }
        }
    }

    fn table_of(&self, key: &[u8]) -> Option<&Table> {
        let after = self.0.partition_point(|table| table.smallest.as_slice() <= key);
        after.checked_sub(1).map(|index| &self.0[index])
    }
}

impl Table {
    /// Where the search for a key begins.
    fn home(&self, hash: u64) -> usize {
        home(hash, self.slots.len())
    }

    fn get<R>(
        &self,
        key: &[u8],
        hash: u64,
        may_wait: bool,
        read: impl FnOnce(Option<&[u8]>) -> R,
    ) -> Result<R, Failure> {
        let mut index = self.home(hash);
        // Ends: a quarter of the slots is empty.
        loop {
            let slot = self.slots[index];
            if slot.is_empty() {
                return Ok(read(None));
            }
            if slot.fits(hash) {
                let mut short = [0; SHORT];
                let mut long = Vec::new();
                let record = match slot.length() {
                    Some(length) if length <= SHORT => {
                        self.fill(&mut short[..length], slot.offset(), may_wait)?;
                        &short[..length]
                    }
                    length => {
                        long.resize(length.map_or_else(|| self.whole_length(slot, may_wait), Ok)?, 0);
                        self.fill(&mut long, slot.offset(), may_wait)?;
                        &long[..]
                    }
                };
                let parts = record::parts(record).ok_or_else(|| self.failed(damaged(slot.offset())))?;
                if record[parts.key] == *key {
                    return Ok(read(Some(&record[parts.value])));
                }
            }
            index = if index + 1 == self.slots.len() { 0 } else { index + 1 };
        }
    }

    /// Bytes of a record that is too long for its slot to tell.
    fn whole_length(&self, slot: Slot, may_wait: bool) -> Result<usize, Failure> {
        let mut head = [0; record::MOST_HEAD];
        self.fill(&mut head, slot.offset(), may_wait)?;
        record::head(&head).map(|head| head.record_bytes()).ok_or_else(|| self.failed(damaged(slot.offset())))
    }

    fn fill(&self, mut buffer: &mut [u8], mut offset: u64, may_wait: bool) -> Result<(), Failure> {
        if may_wait {
            return self.records.read_exact_at(buffer, offset).map_err(|source| self.failed(source));
        }
        while !buffer.is_empty() {
            let parts = &mut [IoSliceMut::new(buffer)];
            match rustix::io::preadv2(&self.records, parts, offset, ReadWriteFlags::NOWAIT) {
                Ok(0) => return Err(self.failed(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => {
                    buffer = &mut buffer[read..];
                    offset += read as u64;
                }
                Err(Errno::AGAIN) => return Err(Failure::WouldWait),
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.failed(error.into())),
            }
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> Failure {
        Failure::Read { file: self.path.clone(), source }
    }
}

impl Slot {
    /// In place of lengths that 16 bits do not hold.
    const LONG: u16 = u16::MAX;
    const EMPTY: Self = Self(0);

    /// `None` beyond 4 GiB.
    fn new(hash: u64, place: Range<u64>) -> Option<Self> {
        let offset = u32::try_from(place.start).ok()?;
        let length = u16::try_from(place.end - place.start).unwrap_or(Self::LONG);
        Some(Self(u64::from(offset) << 32 | u64::from(length) << 16 | hash & 0xffff))
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn fits(self, hash: u64) -> bool {
        (self.0 ^ hash) & 0xffff == 0
    }

    fn offset(self) -> u64 {
        self.0 >> 32
    }

    fn length(self) -> Option<usize> {
        let length = (self.0 >> 16 & 0xffff) as usize;
        (length != usize::from(Self::LONG)).then_some(length)
    }
}

/// The high bits of the hash, spread over `slots`; the low ones are left to tell keys apart.
fn home(hash: u64, slots: usize) -> usize {
    let scaled = (u128::from(hash) * slots as u128) >> 64;
    usize::try_from(scaled).expect("below the number of slots")
}

fn damaged(offset: u64) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("there is no record at byte {offset}"))
}

/// Whether this file system says that a read would wait, instead of waiting. One that does not is better mapped.
fn reads_without_waiting(file: &File) -> bool {
    let mut byte = [0];
    let read = rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut byte)], 0, ReadWriteFlags::NOWAIT);
    matches!(read, Ok(_) | Err(Errno::AGAIN | Errno::INTR))
}

/// What precedes the slots, numbers little endian: magic, bytes and keys of the record file, number of slots, XXH3 of the slots,
/// length of the smallest key (2 bytes), that key.
struct Header {
    file_bytes: u64,
    keys: u64,
    slots: u64,
    sum: u64,
    smallest: Vec<u8>,
}

impl Header {
    fn write(&self) -> Option<Vec<u8>> {
        let smallest = u16::try_from(self.smallest.len()).ok()?;
        let mut bytes = MAGIC.to_vec();
        for number in [self.file_bytes, self.keys, self.slots, self.sum] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend(smallest.to_le_bytes());
        bytes.extend(&self.smallest);
        Some(bytes)
    }

    fn read(from: &mut impl io::Read) -> io::Result<Self> {
        let mut magic = [0; MAGIC.len()];
        from.read_exact(&mut magic)?;
        if magic != MAGIC {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no locator that this version reads"));
        }
        let mut number = || {
            let mut bytes = [0; 8];
            from.read_exact(&mut bytes).map(|()| u64::from_le_bytes(bytes))
        };
        let [file_bytes, keys, slots, sum] = [number()?, number()?, number()?, number()?];
        let mut length = [0; 2];
        from.read_exact(&mut length)?;
        let mut smallest = vec![0; usize::from(u16::from_le_bytes(length))];
        from.read_exact(&mut smallest)?;
        Ok(Self { file_bytes, keys, slots, sum, smallest })
    }
}

fn load_table(file: &RecordFile<'_>) -> Option<Table> {
    let path = file.path.with_extension(EXTENSION);
    match read_table(&path, file) {
        Ok(table) => Some(table),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(%error, file = %path.display(), "a locator is not used; lookups are slower without it");
            None
        }
    }
}

fn read_table(path: &Path, file: &RecordFile<'_>) -> io::Result<Table> {
    let invalid = |text: &'static str| io::Error::new(io::ErrorKind::InvalidData, text);
    let mut table = File::open(path)?;
    let table_bytes = table.metadata()?.len();
    let Header { file_bytes, keys, slots, sum, smallest } = Header::read(&mut io::BufReader::new(&table))?;
    if (file_bytes, keys) != (file.bytes, file.keys) {
        return Err(invalid("it was made for another file of records"));
    }
    let header_bytes = (MAGIC.len() + 4 * 8 + 2 + smallest.len()) as u64;
    let fits = slots.checked_mul(8).and_then(|bytes| bytes.checked_add(header_bytes)) == Some(table_bytes);
    if !fits || slots <= keys {
        return Err(invalid("its size is wrong"));
    }
    io::Seek::seek(&mut table, io::SeekFrom::Start(header_bytes))?;
    let mut read = Vec::with_capacity(usize::try_from(slots).map_err(io::Error::other)?);
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; 1 << 20];
    let mut left = slots * 8;
    while left > 0 {
        let step = usize::try_from(left.min(buffer.len() as u64)).map_err(io::Error::other)?;
        table.read_exact(&mut buffer[..step])?;
        hash.update(&buffer[..step]);
        read.extend(buffer[..step].chunks_exact(8).map(|slot| Slot(u64::from_le_bytes(slot.try_into().expect("8")))));
        left -= step as u64;
    }
    if hash.digest() != sum {
        return Err(invalid("its checksum is wrong"));
    }
    Ok(Table { path: file.path.to_owned(), records: File::open(file.path)?, smallest, slots: read })
}
