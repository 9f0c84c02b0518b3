use std::{
    fs, io,
    ops::{Bound, ControlFlow},
    path::{Path, PathBuf},
};

use rocksdb::{ColumnFamily, DB, DBRawIterator, ErrorKind, ReadOptions, ReadTier, properties};

use crate::{
    BlockCache, Error, OpenOptions, Residence,
    locator::{self, Failure, Locator, RecordFile},
};

/// Large enough that a scan from a spinning or remote disk is one of sequential reads.
const SCAN_READAHEAD: usize = 2 << 20;

/// A shard, opened strictly read-only. Any number of threads may read it at once.
pub struct Shard {
    folder: PathBuf,
    database: DB,
    /// The short way to a record. Only to what is all in memory: where it is not, the table would take its place.
    locator: Option<Locator>,
    options: OpenOptions,
    reading: ReadOptions,
    reading_memory: ReadOptions,
    files: Vec<PathBuf>,
    bytes: u64,
    keys: u64,
    keys_are_exact: bool,
}

/// The answer of a read that may not wait for a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InMemory<R> {
    Done(R),
    /// The record, or its absence, is on a disk: ask [`Shard::get`] where waiting is allowed.
    MayNeedDisk,
}

/// What a shard holds in the process's own memory. The page cache is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Indexes and filters. Of a [`Residence::Mapped`] shard these are mapped pages, and RocksDB counts them still.
    pub tables: u64,
    /// Tables of where records lie.
    pub locators: u64,
    /// The block cache as a whole, of all shards that share it; 0 if there is none.
    pub block_cache: u64,
}

impl Shard {
    /// Opens a folder that [`crate::Writer`] or any other RocksDB wrote. Only its default column family is read.
    ///
    /// Cost: reads the metadata, index and filter of every file, some 20 ms for ten million keys.
    /// Errors: [`Error::Open`]; missing files and files of a wrong size are found here, flipped bits are not.
    pub fn open(folder: &Path, options: &OpenOptions) -> Result<Self, Error> {
        let failed = |source: rocksdb::Error| Error::Open { folder: folder.to_owned(), source: source.into() };
        // Asked first: RocksDB would create a folder that is not there before it finds nothing in it.
        folder
            .join("CURRENT")
            .metadata()
            .map_err(|source| Error::Open { folder: folder.to_owned(), source: source.into() })?;
        let database = DB::open_cf_descriptors_read_only(
            &options.database(),
            folder,
            [options.default_family()],
            false, // a directory made elsewhere may hold records in its write-ahead log: they are read as well
        )
        .map_err(failed)?;
        let live = database.live_files().map_err(failed)?;
        let live = || live.iter().filter(|file| file.column_family_name == rocksdb::DEFAULT_COLUMN_FAMILY_NAME);
        let in_memtable = number(&database, properties::NUM_ENTRIES_ACTIVE_MEM_TABLE);
        let entries: u64 = live().map(|file| file.num_entries).sum();
        let keys_are_exact = in_memtable == 0
            && live().all(|file| file.num_deletions == 0)
            && live().map(|file| file.level).collect::<std::collections::BTreeSet<_>>().len() <= 1
            && live().all(|file| file.level > 0);
        let keys = match keys_are_exact {
            true => entries,
            false => number(&database, properties::ESTIMATE_NUM_KEYS),
        };
        let mut reading_memory = options.reading();
        if matches!(options.residence, Residence::Cached(_)) {
            reading_memory.set_read_tier(ReadTier::BlockCache);
        }
        let files: Vec<_> = live().map(|file| folder.join(file.name.trim_start_matches('/'))).collect();
        let record_files =
            live().zip(&files).map(|(file, path)| RecordFile { path, bytes: file.size as u64, keys: file.num_entries });
        // A table does not know of blocks, nor their checksums.
        let short_way = matches!(options.residence, Residence::Mapped)
            && !options.verify_checksums
            && keys_are_exact
            && entries > 0;
        let locator = short_way.then(|| Locator::load(&record_files.collect::<Vec<_>>())).flatten();
        Ok(Self {
            folder: folder.to_owned(),
            locator,
            options: options.clone(),
            reading: options.reading(),
            reading_memory,
            files,
            bytes: live().map(|file| file.size as u64).sum(),
            keys,
            keys_are_exact,
            database,
        })
    }

    /// Hands the value of `key` to `read`, or `None`. May wait for the disk.
    pub fn get<R>(&self, key: &[u8], read: impl FnOnce(Option<&[u8]>) -> R) -> Result<R, Error> {
        if let Some(locator) = &self.locator {
            return locator.get(key, true, read).map_err(unlocated);
        }
        match self.database.get_pinned_opt(key, &self.reading) {
            Ok(found) => Ok(read(found.as_deref())),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Like [`Shard::get`], from memory alone. With [`Residence::Mapped`] and without locators always done: whether its pages are
    /// in memory is for [`Shard::resident_fraction`] to say.
    pub fn get_in_memory<R>(&self, key: &[u8], read: impl FnOnce(Option<&[u8]>) -> R) -> Result<InMemory<R>, Error> {
        if let Some(locator) = &self.locator {
            return match locator.get(key, false, read) {
                Ok(answer) => Ok(InMemory::Done(answer)),
                Err(Failure::WouldWait) => Ok(InMemory::MayNeedDisk),
                Err(failure) => Err(unlocated(failure)),
            };
        }
        match self.database.get_pinned_opt(key, &self.reading_memory) {
            Ok(found) => Ok(InMemory::Done(read(found.as_deref()))),
            Err(source) if source.kind() == ErrorKind::Incomplete => Ok(InMemory::MayNeedDisk),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Hands each key's index and value, or `None`, to `read`, in the order of `keys`. Cheaper than as many
    /// [`Shard::get`]s: keys of one block share its search. Without `may_wait` it reads from memory alone, as
    /// [`Shard::get_in_memory`] does, and ends at the first key for which that does not do: some may have been handed over by then.
    /// With [`Residence::Cached`] that is the first of all: RocksDB's MultiGet does not tell what is not in the cache from what is not there.
    pub fn multi_get(
        &self,
        keys: &[&[u8]],
        may_wait: bool,
        mut read: impl FnMut(usize, Option<&[u8]>),
    ) -> Result<InMemory<()>, Error> {
        if let Some(locator) = &self.locator {
            locator.look_ahead(keys);
            for (index, key) in keys.iter().enumerate() {
                match locator.get(key, may_wait, |value| read(index, value)) {
                    Ok(()) => {}
                    Err(Failure::WouldWait) => return Ok(InMemory::MayNeedDisk),
                    Err(failure) => return Err(unlocated(failure)),
                }
            }
            return Ok(InMemory::Done(()));
        }
        if !may_wait && !self.is_mapped() {
            return Ok(InMemory::MayNeedDisk);
        }
        let found = self.database.batched_multi_get_cf_opt(self.family(), keys.iter().copied(), false, &self.reading);
        for (index, value) in found.into_iter().enumerate() {
            match value {
                Ok(value) => read(index, value.as_deref()),
                Err(source) => return Err(self.failed(source)),
            }
        }
        Ok(InMemory::Done(()))
    }

    /// Hands records to `visit` in ascending order of their keys, until it breaks or there are no more.
    /// Returns whether it was broken off.
    pub fn scan_from(
        &self,
        from: Bound<&[u8]>,
        visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        self.scan(self.options.reading(), from, visit)
    }

    /// Hands every record to `visit` in ascending order, checking every block's checksum, past the block cache.
    pub fn scan_checked(&self, visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> Result<ControlFlow<()>, Error> {
        let mut reading = ReadOptions::default();
        reading.set_verify_checksums(true);
        reading.fill_cache(false);
        reading.set_readahead_size(SCAN_READAHEAD);
        self.scan(reading, Bound::Unbounded, visit)
    }

    fn scan(
        &self,
        reading: ReadOptions,
        from: Bound<&[u8]>,
        mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Error> {
        let mut records: DBRawIterator<'_> = self.database.raw_iterator_opt(reading);
        match from {
            Bound::Unbounded => records.seek_to_first(),
            Bound::Included(key) => records.seek(key),
            Bound::Excluded(key) => {
                records.seek(key);
                if records.key() == Some(key) {
                    records.next();
                }
            }
        }
        while let Some((key, value)) = records.item() {
            if visit(key, value).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            records.next();
        }
        records.status().map_err(|source| self.failed(source))?;
        Ok(ControlFlow::Continue(()))
    }

    /// How many records there are. Exact for what [`crate::Writer`] wrote, see [`Shard::keys_are_exact`].
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// False if a directory made elsewhere holds versions or deletions of keys, so that only a scan could tell.
    pub fn keys_are_exact(&self) -> bool {
        self.keys_are_exact
    }

    /// Bytes of its record files on the disk.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its record files.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    pub fn is_mapped(&self) -> bool {
        matches!(self.options.residence, Residence::Mapped)
    }

    pub fn memory(&self) -> MemoryUse {
        let block_cache = match &self.options.residence {
            Residence::Mapped => 0,
            Residence::Cached(cache) => BlockCache::usage(cache),
        };
        let locators = self.locator.as_ref().map_or(0, Locator::memory);
        MemoryUse { tables: number(&self.database, properties::ESTIMATE_TABLE_READERS_MEM), locators, block_cache }
    }

    fn family(&self) -> &ColumnFamily {
        self.database.cf_handle(rocksdb::DEFAULT_COLUMN_FAMILY_NAME).expect("it was opened with this family")
    }

    fn failed(&self, source: rocksdb::Error) -> Error {
        Error::Read { folder: self.folder.clone(), source: source.into() }
    }
}

/// A read that was allowed to wait, or failed.
fn unlocated(failure: Failure) -> Error {
    match failure {
        Failure::Read { file, source } => Error::File { file, source },
        Failure::WouldWait => unreachable!("waiting was allowed"),
    }
}

/// Bytes of the record files and their tables in a folder that is not open, to decide how to open it.
pub fn bytes_in(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "sst" || extension == locator::EXTENSION) {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

fn number(database: &DB, property: &rocksdb::properties::PropName) -> u64 {
    // Absent only if RocksDB no longer knows the name.
    database.property_int_value(property).ok().flatten().unwrap_or_default()
}
