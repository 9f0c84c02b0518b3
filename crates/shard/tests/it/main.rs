//! Shards on a real disk: written, opened, read; made elsewhere; damaged.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod damaged;
mod foreign;
mod locator;
mod reads;

use std::{collections::BTreeMap, fs, path::Path};

use shard::{BlockCache, Layout, OpenOptions, Residence, Shard, WriteOptions, Writer};

type Records = BTreeMap<Vec<u8>, Vec<u8>>;

fn records(count: u32) -> Records {
    // Values of all sizes around a block's, and an empty one.
    let value = |number: u32| number.to_le_bytes().repeat((number % 97 * 20) as usize);
    (0..count).map(|number| (format!("key-{number:07}").into_bytes(), value(number))).collect()
}

fn write(folder: &Path, records: &Records, layout: Layout) {
    let options = WriteOptions::new(layout);
    let mut writer = Writer::create(folder, &options).unwrap();
    records.iter().for_each(|(key, value)| writer.put(key, value).unwrap());
    let written = writer.finish().unwrap();
    assert_eq!(written.keys, records.len() as u64);
}

fn residences() -> [OpenOptions; 3] {
    let mapped = OpenOptions::default();
    let checked = OpenOptions { verify_checksums: true, ..OpenOptions::default() };
    let cached = OpenOptions { residence: Residence::Cached(BlockCache::new(1 << 20)), ..OpenOptions::default() };
    [mapped, checked, cached]
}

fn value(shard: &Shard, key: &[u8]) -> Option<Vec<u8>> {
    shard.get(key, |value| value.map(<[u8]>::to_vec)).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}
