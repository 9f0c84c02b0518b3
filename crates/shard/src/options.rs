//! How a shard is laid out, and how it is read. Every number here has a reason beside it.

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DBCompressionType, DataBlockIndexType, InfoLogger, LogLevel,
    Options, ReadOptions,
};

/// RocksDB's newest table format that its last five years of readers know; its filters are built by XXH3.
const FORMAT_VERSION: i32 = 6;

/// What a shard's files look like. [`Layout::default`] is tuned for point reads of records of some 200 bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    pub filter: Filter,
    /// Bytes of records a block holds, and so what one read from the disk fetches.
    pub block_bytes: usize,
    /// A small hash table at the end of each block instead of a binary search in it, and keys that are not shortened: some 5 %
    /// more space.
    pub hash_index: bool,
    pub compression: Compression,
    /// A new file begins beyond this many bytes or keys. Both bound what writing needs in memory: the bytes the index, which has a
    /// key for each block; the keys all else, see [`crate::Writer::BYTES_A_KEY`]. Few large files open faster than many small ones.
    pub file_bytes: u64,
    pub file_keys: u64,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            filter: Filter::Bloom { bits_per_key: 10.0 },
            block_bytes: 4 << 10,
            hash_index: true,
            // Small records compress badly, and each read would pay: 8 to 25 times slower lookups elsewhere.
            compression: Compression::None,
            file_bytes: 1 << 30,
            file_keys: 16 << 20,
        }
    }
}

/// Answers most lookups of keys that are not there without touching the records.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Filter {
    None,
    Bloom {
        bits_per_key: f64,
    },
    /// 30 % smaller than a Bloom filter of the same quality, four times as slow to build and 20 % slower to ask.
    Ribbon {
        bloom_equivalent_bits_per_key: f64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Lz4,
    Zstd,
}

/// A [`Layout`] made ready for [`crate::Writer`]; may serve many of them, at the same time too.
pub struct WriteOptions {
    pub(crate) layout: Layout,
    pub(crate) options: Options,
}

impl WriteOptions {
    pub fn new(layout: Layout) -> Self {
        let mut options = quiet();
        options.create_if_missing(true);
        options.set_compression_type(match layout.compression {
            Compression::None => DBCompressionType::None,
            Compression::Lz4 => DBCompressionType::Lz4,
            Compression::Zstd => DBCompressionType::Zstd,
        });
        options.set_disable_auto_compactions(true);
        let mut table = table();
        table.set_block_size(layout.block_bytes);
        table.disable_cache();
        match layout.filter {
            Filter::None => {}
            Filter::Bloom { bits_per_key } => table.set_bloom_filter(bits_per_key, false),
            Filter::Ribbon { bloom_equivalent_bits_per_key } => table.set_ribbon_filter(bloom_equivalent_bits_per_key),
        }
        if layout.hash_index {
            table.set_data_block_index_type(DataBlockIndexType::BinaryAndHash);
            // The hash leads to a run of records, of which the first is written whole; with runs of one it leads to the record.
            table.set_block_restart_interval(1);
        }
        options.set_block_based_table_factory(&table);
        Self { layout, options }
    }
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self::new(Layout::default())
    }
}

/// How a shard is read.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    pub residence: Residence,
    /// Whether each read of a block checks the block's checksum. Worth it where nobody verified the files;
    /// a [`Residence::Mapped`] shard would check at every read, since it has no cache to check into.
    pub verify_checksums: bool,
    /// Files opened at a time.
    pub opening_threads: u8,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self { residence: Residence::Mapped, verify_checksums: false, opening_threads: 8 }
    }
}

/// Where records live while they are served.
#[derive(Clone, Debug)]
pub enum Residence {
    /// For shards that fit in memory: the files are mapped, the page cache is the only cache, and a read is
    /// answered without a system call or a copy. A page that was evicted stops the reading thread.
    Mapped,
    /// For shards that do not fit: index and filter are held in memory, records are read explicitly through a
    /// cache of blocks, which several shards may share.
    Cached(BlockCache),
}

/// A bounded cache of blocks. Clones are the same cache.
#[derive(Clone)]
pub struct BlockCache(pub(crate) Cache);

impl BlockCache {
    /// Holds at most about `bytes`.
    pub fn new(bytes: usize) -> Self {
        // The clock cache does not lock on a hit. 0 lets it learn the size of entries.
        Self(Cache::new_hyper_clock_cache(bytes, 0))
    }

    /// Bytes it holds now.
    pub fn usage(&self) -> u64 {
        self.0.get_usage() as u64
    }
}

impl std::fmt::Debug for BlockCache {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("BlockCache").field(&self.usage()).finish()
    }
}

impl OpenOptions {
    pub(crate) fn database(&self) -> Options {
        let mut options = quiet();
        // All files are opened at once and stay open, so that no read ever waits for the opening of one.
        options.set_max_open_files(-1);
        options.set_max_file_opening_threads(i32::from(self.opening_threads.max(1)));
        // Reads the properties of each file, which is how the number of keys is known; they are few and large.
        options.set_skip_stats_update_on_db_open(false);
        options.set_allow_mmap_reads(matches!(self.residence, Residence::Mapped));
        let mut table = table();
        // Table readers own index and filter, outside any cache: they can never be evicted.
        table.set_cache_index_and_filter_blocks(false);
        match &self.residence {
            Residence::Mapped => table.disable_cache(),
            Residence::Cached(cache) => table.set_block_cache(&cache.0),
        }
        // Reading needs a filter policy to use whatever filter the files have; the number of bits is theirs.
        table.set_bloom_filter(10.0, false);
        options.set_block_based_table_factory(&table);
        options
    }

    /// The default column family, with the same options: opened any other way, it silently gets defaults.
    pub(crate) fn default_family(&self) -> ColumnFamilyDescriptor {
        ColumnFamilyDescriptor::new(rocksdb::DEFAULT_COLUMN_FAMILY_NAME, self.database())
    }

    pub(crate) fn reading(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_verify_checksums(self.verify_checksums);
        options
    }
}

fn table() -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_format_version(FORMAT_VERSION);
    table.set_whole_key_filtering(true);
    table
}

/// Options under which RocksDB writes no LOG file into the folder.
fn quiet() -> Options {
    let mut options = Options::default();
    options.set_info_logger(InfoLogger::new_callback_logger(LogLevel::Warn, |level, text| match level {
        LogLevel::Error | LogLevel::Fatal => tracing::warn!(text = text.trim(), "rocksdb"),
        _ => tracing::debug!(text = text.trim(), "rocksdb"),
    }));
    options
}
