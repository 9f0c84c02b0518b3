//! What opening finds, and what only reading with checksums does.

use std::{
    fs::{self, OpenOptions as FileOptions},
    ops::ControlFlow,
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

use shard::{Error, Layout, OpenOptions, Shard};
use tempfile::TempDir;

use crate::{records, write};

fn written() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    write(folder.path(), &records(2000), Layout::default());
    let table = Shard::open(folder.path(), &OpenOptions::default()).unwrap().files()[0].clone();
    (folder, table)
}

/// The error with its causes, which is where RocksDB names the file.
fn told(error: &Error) -> String {
    format!("{error}: {}", std::error::Error::source(error).map(ToString::to_string).unwrap_or_default())
}

#[test]
fn a_missing_or_cut_off_file_is_named_when_opening() {
    for damage in [
        |file: &PathBuf| fs::remove_file(file).unwrap(),
        |file: &PathBuf| {
            FileOptions::new().write(true).open(file).unwrap().set_len(1000).unwrap();
        },
    ] {
        let (folder, table) = written();
        damage(&table);
        let Err(error) = Shard::open(folder.path(), &OpenOptions::default()) else { panic!("it opened") };
        let name = table.file_name().unwrap().to_str().unwrap();
        assert!(told(&error).contains(name), "{}", told(&error));
    }
}

#[test]
fn a_folder_that_is_no_shard_is_refused() {
    let folder = TempDir::new().unwrap();
    assert!(matches!(Shard::open(folder.path(), &OpenOptions::default()), Err(Error::Open { .. })));
    assert!(matches!(Shard::open(&folder.path().join("none"), &OpenOptions::default()), Err(Error::Open { .. })));
    assert!(!folder.path().join("none").exists(), "reading creates nothing");
}

#[test]
fn a_flipped_bit_is_found_by_reading_with_checksums() {
    let (folder, table) = written();
    let file = FileOptions::new().read(true).write(true).open(&table).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, 5000).unwrap();
    file.write_all_at(&[byte[0] ^ 1], 5000).unwrap();
    let shard = Shard::open(folder.path(), &OpenOptions::default()).unwrap();
    let error = shard.scan_checked(|_, _| ControlFlow::Continue(())).unwrap_err();
    assert!(told(&error).contains("checksum mismatch") && told(&error).contains(".sst"), "{}", told(&error));
}
