//! One shard on disk: a folder of sorted records, written once in key order, then opened strictly read-only
//! for point reads. The only room that knows RocksDB.
//!
//! ```text
//! sorted records ──► Writer ──► <folder>/{CURRENT, MANIFEST-…, *.sst, *.locator} ──► Shard ──► get, multi_get, scan
//! ```
//! Any RocksDB directory opens as a [`Shard`], whoever wrote it. Nothing in the folder is ever changed by
//! reading it: no log file, no lock, no compaction, so several processes may read one folder at a time.
//!
//! Deliberately absent: writing to a shard that exists, clocks (whoever warms a shard paces it), threads.

mod error;
mod locator;
mod options;
mod shard;
mod warm;
mod writer;

pub use error::Error;
pub use options::{BlockCache, Compression, Filter, Layout, OpenOptions, Residence, WriteOptions};
pub use shard::{InMemory, MemoryUse, Shard, bytes_in};
pub use writer::{Writer, Written};
