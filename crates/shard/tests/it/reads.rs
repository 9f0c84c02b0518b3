use std::ops::{Bound, ControlFlow};

use shard::{
    BlockCache, Compression, Error, Filter, InMemory, Layout, OpenOptions, Residence, Shard, WriteOptions, Writer,
};
use tempfile::TempDir;

use crate::{Records, names, records, residences, value, write};

#[test]
fn every_record_is_read_back_and_nothing_else_however_it_is_laid_out_and_opened() {
    let records = records(3000);
    let default = Layout::default();
    let layouts = [
        default,
        Layout { file_keys: 700, ..default },
        Layout { file_bytes: 100_000, hash_index: false, ..default },
        Layout { filter: Filter::None, compression: Compression::Zstd, ..default },
        Layout {
            filter: Filter::Ribbon { bloom_equivalent_bits_per_key: 10.0 },
            compression: Compression::Lz4,
            ..default
        },
    ];
    for layout in layouts {
        let folder = TempDir::new().unwrap();
        write(folder.path(), &records, layout);
        for options in residences() {
            let shard = Shard::open(folder.path(), &options).unwrap();
            assert_eq!((shard.keys(), shard.keys_are_exact()), (3000, true), "{layout:?}");
            for (key, expected) in &records {
                assert_eq!(value(&shard, key).as_ref(), Some(expected));
            }
            for absent in [&b""[..], b"key-", b"key-0000000x", b"zzz"] {
                assert_eq!(value(&shard, absent), None);
            }
        }
    }
}

#[test]
fn many_keys_at_once_are_answered_in_the_order_asked() {
    let records = records(2000);
    let folder = TempDir::new().unwrap();
    write(folder.path(), &records, Layout { file_keys: 600, ..Layout::default() });
    let asked: Vec<&[u8]> =
        [&b"key-0001999"[..], b"absent", b"key-0000000", b"key-0000700", b"key-0000700", b"", b"key-0000001"].into();
    for options in residences() {
        let shard = Shard::open(folder.path(), &options).unwrap();
        let mut found = vec![None; asked.len()];
        let mut order = Vec::new();
        let read = shard
            .multi_get(&asked, true, |index, value| {
                order.push(index);
                found[index] = value.map(<[u8]>::to_vec);
            })
            .unwrap();
        assert!(matches!(read, InMemory::Done(())));
        assert!(order.into_iter().eq(0..asked.len()));
        let expected: Vec<_> = asked.iter().map(|key| records.get(*key).cloned()).collect();
        assert_eq!(found, expected);
        shard.multi_get(&[], true, |_, _| panic!("nothing was asked")).unwrap();
    }
}

#[test]
fn a_scan_begins_where_it_is_told_and_ends_when_it_is_told() {
    let records = records(500);
    let folder = TempDir::new().unwrap();
    write(folder.path(), &records, Layout { file_keys: 100, ..Layout::default() });
    let shard = Shard::open(folder.path(), &OpenOptions::default()).unwrap();
    let scan = |from: Bound<&[u8]>, most: usize| {
        let mut seen = Vec::new();
        let flow = shard.scan_from(from, |key, value| {
            assert_eq!(records[key], value);
            seen.push(key.to_vec());
            if seen.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (seen, flow.unwrap().is_break())
    };
    let keys: Vec<_> = records.keys().cloned().collect();
    assert_eq!(scan(Bound::Unbounded, usize::MAX), (keys.clone(), false));
    assert_eq!(scan(Bound::Included(&keys[99]), 3), (keys[99..102].to_vec(), true));
    assert_eq!(scan(Bound::Excluded(&keys[99]), 3), (keys[100..103].to_vec(), true));
    assert_eq!(scan(Bound::Excluded(b"key-0000099x"), 1).0, keys[100..101]);
    assert_eq!(scan(Bound::Included(b"z"), 1), (Vec::new(), false));
    let mut count = 0;
    let checked = shard.scan_checked(|_, _| {
        count += 1;
        ControlFlow::Continue(())
    });
    assert!(checked.unwrap().is_continue() && count == 500);
}

#[test]
fn what_is_not_in_the_cache_is_left_to_those_who_may_wait() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), &records(100), Layout::default());
    let cached = OpenOptions { residence: Residence::Cached(BlockCache::new(4 << 20)), ..OpenOptions::default() };
    let shard = Shard::open(folder.path(), &cached).unwrap();
    let key = b"key-0000042";
    let length = |shard: &Shard| shard.get_in_memory(key, |value| value.map(<[u8]>::len)).unwrap();
    let many = |shard: &Shard| {
        let mut found = Vec::new();
        let read = shard.multi_get(&[b"no such key", key], false, |_, value| found.push(value.map(<[u8]>::len)));
        (read.unwrap(), found)
    };
    assert_eq!(length(&shard), InMemory::MayNeedDisk);
    let expected = value(&shard, key).unwrap().len();
    assert_eq!(length(&shard), InMemory::Done(Some(expected)), "it was read a moment ago");
    assert_eq!(
        many(&shard),
        (InMemory::MayNeedDisk, Vec::new()),
        "nothing is answered rather than that it is not there"
    );
    // The filter is always in memory, and all but certain that this is absent.
    assert_eq!(shard.get_in_memory(b"no such key", |value| value.is_some()).unwrap(), InMemory::Done(false));

    let mapped = Shard::open(folder.path(), &OpenOptions::default()).unwrap();
    assert_eq!(length(&mapped), InMemory::Done(Some(expected)));
    assert_eq!(many(&mapped), (InMemory::Done(()), vec![None, Some(expected)]));
}

#[test]
fn keys_out_of_order_are_refused_by_name() {
    let (folder, options) = (TempDir::new().unwrap(), WriteOptions::default());
    for second in ["a", "b"] {
        let mut writer = Writer::create(&folder.path().join(second), &options).unwrap();
        writer.put(b"b", b"").unwrap();
        let error = writer.put(second.as_bytes(), b"").unwrap_err();
        assert!(matches!(&error, Error::Order { previous, .. } if previous == b"b"), "{error:?}");
    }
}

#[test]
fn a_folder_that_holds_something_is_not_written_to() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("mine"), "").unwrap();
    assert!(matches!(Writer::create(folder.path(), &WriteOptions::default()), Err(Error::Create { .. })));
    assert_eq!(names(folder.path()), ["mine"]);
}

#[test]
fn a_shard_without_records_is_one() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), &Records::new(), Layout::default());
    let shard = Shard::open(folder.path(), &OpenOptions::default()).unwrap();
    assert_eq!((shard.keys(), shard.keys_are_exact(), shard.bytes()), (0, true, 0));
    assert_eq!(value(&shard, b"key"), None);
    assert_eq!(shard.resident_fraction(|| ControlFlow::Continue(())).unwrap().unwrap_or(1.0), 1.0);
}

/// Whoever shares a core with the one who asks waits for a piece of the samples, not for all.
#[test]
fn what_is_in_memory_is_asked_in_pieces() {
    let folder = TempDir::new().unwrap();
    let pages = Records::from_iter((0..300_u32).map(|number| (number.to_be_bytes().to_vec(), vec![7; 4096])));
    write(folder.path(), &pages, Layout { compression: Compression::None, ..Layout::default() });
    let shard = Shard::open(folder.path(), &OpenOptions::default()).unwrap();
    let pieces = |enough: u32| {
        let mut pieces = 0;
        let fraction = shard.resident_fraction(|| {
            pieces += 1;
            if pieces == enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(fraction.unwrap().is_none_or(|fraction| fraction > 0.9));
        pieces
    };
    if shard.resident_fraction(|| ControlFlow::Continue(())).unwrap().is_none() {
        eprintln!("SKIPPED what_is_in_memory_is_asked_in_pieces: this file system does not tell");
        return;
    }
    assert!((4..=5).contains(&pieces(u32::MAX)), "300 pages and some, 64 at a time");
    assert_eq!(pieces(2), 2);
}

/// Whoever serves a version verified its files by name and size: reading may change neither.
#[test]
fn opening_and_reading_leaves_the_folder_as_it_is() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), &records(100), Layout::default());
    let before = names(folder.path());
    assert!(
        before.iter().all(|name| !name.starts_with("LOG") && name != "LOCK" && !name.ends_with(".log")),
        "{before:?}"
    );
    for options in residences() {
        let one = Shard::open(folder.path(), &options).unwrap();
        let other = Shard::open(folder.path(), &options).unwrap(); // two readers of one folder
        assert_eq!(value(&one, b"key-0000001"), value(&other, b"key-0000001"));
    }
    assert_eq!(names(folder.path()), before);
}

#[test]
fn a_warmed_shard_is_in_memory() {
    let folder = TempDir::new().unwrap();
    write(folder.path(), &records(5000), Layout::default());
    let shard = Shard::open(folder.path(), &OpenOptions::default()).unwrap();
    let mut told = 0;
    let read = shard
        .warm(|bytes| {
            told += bytes;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!((read, told), (shard.bytes(), shard.bytes()));
    assert!(shard.resident_fraction(|| ControlFlow::Continue(())).unwrap().is_none_or(|fraction| fraction > 0.99));
    let stopped = shard.warm(|_| ControlFlow::Break(())).unwrap();
    assert!(stopped < shard.bytes(), "it goes on after being told to stop");
    assert!(shard.memory().tables > 0);
}
