//! Directories that another program wrote.

use rocksdb::{BlockBasedOptions, DB, DBCompressionType, Options, WriteOptions};
use shard::{OpenOptions, Shard};
use tempfile::TempDir;

use crate::{residences, value};

fn key(number: u32) -> [u8; 4] {
    number.to_be_bytes()
}

#[test]
fn any_compression_and_block_size_opens_without_a_filter() {
    let kinds = [DBCompressionType::Snappy, DBCompressionType::Lz4, DBCompressionType::Zstd, DBCompressionType::None];
    for compression in kinds {
        let folder = TempDir::new().unwrap();
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_compression_type(compression);
        let mut table = BlockBasedOptions::default();
        table.set_block_size(64 << 10);
        table.set_format_version(3);
        options.set_block_based_table_factory(&table);
        let database = DB::open(&options, folder.path()).unwrap();
        (0..2000).for_each(|number| database.put(key(number), format!("value {number}").repeat(9)).unwrap());
        database.flush().unwrap();
        drop(database);
        for options in residences() {
            let shard = Shard::open(folder.path(), &options).unwrap();
            assert_eq!(value(&shard, &key(1234)).unwrap(), "value 1234".repeat(9).as_bytes(), "{compression:?}");
            assert_eq!(value(&shard, &key(2000)), None);
        }
    }
}

#[test]
fn records_that_are_only_in_the_log_are_read_and_deleted_ones_are_not() {
    let folder = TempDir::new().unwrap();
    let database = DB::open_default(folder.path()).unwrap();
    (0..10).for_each(|number| database.put(key(number), "old").unwrap());
    database.flush().unwrap();
    database.put(key(1), "new").unwrap();
    database.delete(key(2)).unwrap();
    let mut synced = WriteOptions::default();
    synced.set_sync(true);
    database.put_opt(key(10), "logged", &synced).unwrap();
    drop(database);
    let shard = Shard::open(folder.path(), &OpenOptions::default()).unwrap();
    assert_eq!(value(&shard, &key(0)).unwrap(), b"old");
    assert_eq!(value(&shard, &key(1)).unwrap(), b"new");
    assert_eq!(value(&shard, &key(2)), None);
    assert_eq!(value(&shard, &key(10)).unwrap(), b"logged");
    assert!(!shard.keys_are_exact(), "only a scan could tell");
}

#[test]
fn only_the_default_family_is_read() {
    let folder = TempDir::new().unwrap();
    let mut options = Options::default();
    options.create_if_missing(true);
    let mut database = DB::open(&options, folder.path()).unwrap();
    database.create_cf("other", &options).unwrap();
    database.put_cf(database.cf_handle("other").unwrap(), "key", "other").unwrap();
    database.put("key", "default").unwrap();
    database.flush().unwrap();
    drop(database);
    let shard = Shard::open(folder.path(), &OpenOptions::default()).unwrap();
    assert_eq!(value(&shard, b"key").unwrap(), b"default");
}
