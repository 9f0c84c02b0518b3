//! The short way to a record gives what RocksDB gives, or is not taken.

use std::{
    fs,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use shard::{Compression, Error, InMemory, Layout, OpenOptions, Shard};
use tempfile::TempDir;

use crate::{Records, records, value, write};

fn locators(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "locator")).collect()
}

fn short_way(shard: &Shard) -> bool {
    shard.memory().locators > 0
}

#[track_caller]
fn holds_exactly(shard: &Shard, records: &Records) {
    for (key, expected) in records {
        assert_eq!(value(shard, key).as_ref(), Some(expected), "{}", key.escape_ascii());
        let in_memory = shard.get_in_memory(key, |value| value.map(<[u8]>::to_vec)).unwrap();
        assert!(matches!(in_memory, InMemory::MayNeedDisk) || in_memory == InMemory::Done(Some(expected.clone())));
        for absent in [[key.as_slice(), b"\0"].concat(), key[..key.len() - 1].to_vec()] {
            assert_eq!(value(shard, &absent).as_ref(), records.get(&absent), "{}", absent.escape_ascii());
        }
    }
}

#[test]
fn each_record_file_has_its_table_unless_its_records_share_bytes() {
    let some = Layout { file_keys: 700, ..Layout::default() };
    let cases = [
        (Layout::default(), 1),
        (some, 5),
        (Layout { hash_index: false, ..some }, 0),
        (Layout { compression: Compression::Lz4, ..some }, 0),
    ];
    for (layout, expected) in cases {
        let folder = TempDir::new().unwrap();
        write(folder.path(), &records(3000), layout);
        assert_eq!(locators(folder.path()).len(), expected, "{layout:?}");
        let shard = Shard::open(folder.path(), &OpenOptions::default()).unwrap();
        assert_eq!(short_way(&shard), expected > 0, "{layout:?}");
        assert!(!short_way(
            &Shard::open(folder.path(), &OpenOptions { verify_checksums: true, ..Default::default() }).unwrap()
        ));
    }
}

#[test]
fn values_of_every_length_come_back() {
    let lengths = [0, 1, 100, 127, 128, 990, 1000, 1024, 4096, 65_500, 65_510, 65_535, 65_536, 300_000, 3_000_000];
    let records: Records = lengths
        .iter()
        .map(|&length: &usize| (format!("{length:09}").into_bytes(), vec![length.to_le_bytes()[0]; length]))
        .collect();
    let folder = TempDir::new().unwrap();
    write(folder.path(), &records, Layout::default());
    let shard = Shard::open(folder.path(), &OpenOptions::default()).unwrap();
    assert!(short_way(&shard));
    holds_exactly(&shard, &records);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Keys and values full of zeros look most like what lies between blocks.
    #[test]
    fn whatever_the_records_look_like(
        records in prop::collection::btree_map(
            prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(8), any::<u8>()], 1..40),
            prop::collection::vec(prop_oneof![8 => Just(0_u8), 1 => any::<u8>()], 0..700),
            1..400,
        ),
        file_keys in 20_u64..500,
        block_bytes in 256_usize..70_000,
    ) {
        let folder = TempDir::new().unwrap();
        write(folder.path(), &records, Layout { file_keys, block_bytes, ..Layout::default() });
        let shard = Shard::open(folder.path(), &OpenOptions::default()).unwrap();
        prop_assert!(short_way(&shard));
        holds_exactly(&shard, &records);
        let keys: Vec<_> = records.keys().map(Vec::as_slice).collect();
        let mut found = Vec::new();
        let read = shard.multi_get(&keys, true, |_, value| found.push(value.map(<[u8]>::to_vec))).unwrap();
        prop_assert!(matches!(read, InMemory::Done(())));
        prop_assert!(found.into_iter().eq(records.values().cloned().map(Some)));
    }
}

#[test]
fn a_table_that_is_damaged_or_of_another_file_is_not_used() {
    let records = records(3000);
    let folder = TempDir::new().unwrap();
    write(folder.path(), &records, Layout::default());
    let table = locators(folder.path()).pop().unwrap();
    let whole = fs::read(&table).unwrap();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut other_file = whole.clone();
    other_file[8] ^= 1; // the size of the record file
    let mut other_format = whole.clone();
    other_format[7] = b'9';
    for damaged in
        [flipped, other_file, other_format, whole[..whole.len() - 8].to_vec(), whole[..20].to_vec(), Vec::new()]
    {
        fs::write(&table, damaged).unwrap();
        let shard = Shard::open(folder.path(), &OpenOptions::default()).unwrap();
        assert!(!short_way(&shard));
        holds_exactly(&shard, &records);
    }
}

#[test]
fn a_record_that_is_not_where_it_should_be_is_an_error_and_not_an_absent_key() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), &records(3000), Layout::default());
    let file = locators(folder.path()).pop().unwrap().with_extension("sst");
    let shard = Shard::open(folder.path(), &OpenOptions::default()).unwrap();
    assert!(short_way(&shard));
    // The first record begins the file: its first byte says that it shares nothing.
    fs::OpenOptions::new().write(true).open(&file).unwrap().write_all_at(&[7], 0).unwrap();
    let error = shard.get(b"key-0000000", |value| value.is_some()).unwrap_err();
    assert!(matches!(&error, Error::File { file: named, .. } if *named == file), "{error:?}");
    assert!(format!("{:?}", std::error::Error::source(&error)).contains("at byte 0"), "{error:?}");
}
