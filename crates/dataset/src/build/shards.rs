//! Sorted rows into shards: choosing among rows of one key, writing, hashing.

use std::{
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering},
    },
    thread,
};

use shard::{Layout, WriteOptions, Writer};

use super::{
    Build, Error, MIN_MEMORY, OnDuplicate, OnStep, Step,
    sort::{Row, Sorted},
};
use crate::{
    ContentDigest, SlotRange, hash_file,
    manifest::{ShardEntry, shard_folder},
};

/// Rows between two reports of progress.
const ROWS_PER_STEP: u64 = 16_384;
/// The part of [`Build::memory`] for what all writers hold: a quarter. Nearly half is taken by rows that never went to the disk, another
/// quarter by buffers for those that did.
const WRITING_PART: u64 = 4;
/// Smaller files would cost a server more than they save here, which is some 1.3 MB a thread.
const LEAST_FILE_KEYS: u64 = 64 << 10;
const LEAST_FILE_BYTES: u64 = 64 << 20;
/// Bytes of a file for each byte of its index: one key of some 100 bytes, with its place, for each block of 4 KiB.
const FILE_TO_INDEX: u64 = 32;

/// All shards, on the local disk, and what the manifest says of them.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) shards: Vec<ShardEntry>,
    pub(super) rows: u64,
}

/// Writes every shard below `folder`, or only one, as many at a time as there are cores.
pub(super) fn write(
    build: &Build,
    only: Option<u16>,
    sorted: Sorted,
    folder: &Path,
    on_step: &OnStep,
    stop: &AtomicBool,
) -> Result<Ready, Error> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let (first, end) = only.map_or((0, build.shards), |only| (only, only + 1));
    let threads = cores.min(usize::from(end - first));
    let next = AtomicU16::new(first);
    let progress = Progress { written: AtomicU64::new(0), of: sorted.rows, on_step, stop };
    let results: Mutex<Vec<Result<ShardEntry, Error>>> = Mutex::default();
    let options = WriteOptions::new(Writers { threads, memory: build.memory.max(MIN_MEMORY) }.layout());
    let work = || {
        loop {
            let shard = next.fetch_add(1, Ordering::Relaxed);
            if shard >= end {
                return;
            }
            let written = write_one(build, &sorted, shard, folder, threads, &options, &progress);
            if written.is_err() {
                next.store(end, Ordering::Relaxed); // the others need not begin any more
            }
            results.lock().unwrap_or_else(PoisonError::into_inner).push(written);
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let rows = sorted.rows;
    drop(sorted); // what it holds on the disk makes room
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut shards = results.into_iter().collect::<Result<Vec<_>, _>>()?;
    shards.sort_unstable_by_key(|shard| shard.index);
    hash(&mut shards, folder, threads, on_step)?;
    Ok(Ready { shards, rows })
}

/// The threads that write shards at a time, and the memory of the whole build.
struct Writers {
    threads: usize,
    memory: usize,
}

impl Writers {
    /// Files as large as they may be, so that what all writers hold of theirs stays within their part of the memory.
    fn layout(&self) -> Layout {
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let each = number(self.memory) / WRITING_PART / number(self.threads).max(1);
        let most = Layout::default();
        Layout {
            file_keys: (each / Writer::BYTES_A_KEY).clamp(LEAST_FILE_KEYS, most.file_keys),
            file_bytes: each.saturating_mul(FILE_TO_INDEX).clamp(LEAST_FILE_BYTES, most.file_bytes),
            ..most
        }
    }
}

struct Progress<'a> {
    written: AtomicU64,
    of: u64,
    on_step: &'a OnStep,
    stop: &'a AtomicBool,
}

impl Progress<'_> {
    fn add(&self, rows: u64) -> Result<(), Error> {
        let done = self.written.fetch_add(rows, Ordering::Relaxed) + rows;
        (self.on_step)(Step::Write { done, of: self.of });
        if self.stop.load(Ordering::Relaxed) { Err(Error::Stopped) } else { Ok(()) }
    }
}

/// A row that waits for the next, which may have the same key.
#[derive(Default)]
struct Held {
    key: Vec<u8>,
    value: Vec<u8>,
    row: u64,
}

fn write_one(
    build: &Build,
    sorted: &Sorted,
    index: u16,
    folder: &Path,
    threads: usize,
    options: &WriteOptions,
    progress: &Progress<'_>,
) -> Result<ShardEntry, Error> {
    let mut writer = Writer::create(&folder.join(shard_folder(index)), options)?;
    let mut content_digest = ContentDigest::default();
    let mut held = Held::default();
    let mut seen = 0_u64;
    let mut put = |key: &[u8], value: &[u8]| {
        content_digest.add(key, value);
        writer.put(key, value)
    };
    sorted.rows_of(index, threads, |Row { key, value, row }| {
        seen += 1;
        if seen.is_multiple_of(ROWS_PER_STEP) {
            progress.add(ROWS_PER_STEP)?;
        }
        let is_same = held.row > 0 && held.key == key;
        match (is_same, build.on_duplicate) {
            (true, OnDuplicate::Error) => {
                let (first, second) = (sorted.place(build, held.row), sorted.place(build, row));
                return Err(Error::Duplicate { key: key.to_vec(), first, second });
            }
            (true, OnDuplicate::First) => {}
            (true, OnDuplicate::Last) => replace(&mut held.value, value),
            (false, on_duplicate) => {
                if on_duplicate == OnDuplicate::Last && held.row > 0 {
                    put(&held.key, &held.value)?;
                }
                replace(&mut held.key, key);
                held.row = row;
                match on_duplicate {
                    // Only the last one waits; the first of a key is written at once, and no value is copied.
                    OnDuplicate::Last => replace(&mut held.value, value),
                    OnDuplicate::Error | OnDuplicate::First => put(key, value)?,
                }
            }
        }
        Ok(())
    })?;
    if build.on_duplicate == OnDuplicate::Last && held.row > 0 {
        put(&held.key, &held.value)?;
    }
    let written = writer.finish()?;
    progress.add(seen % ROWS_PER_STEP)?;
    Ok(ShardEntry {
        index,
        slots: SlotRange::of_shard(index, build.shards),
        keys: written.keys,
        bytes: written.bytes,
        content_digest,
        files: Vec::new(),
    })
}

fn replace(held: &mut Vec<u8>, bytes: &[u8]) {
    held.clear();
    held.extend_from_slice(bytes);
}

/// Describes the files of the shards. Several at a time: it is one core's work for each.
fn hash(shards: &mut [ShardEntry], folder: &Path, threads: usize, on_step: &OnStep) -> Result<(), Error> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Temp { path, source }
    };
    let mut files = Vec::new();
    for (index, shard) in shards.iter().enumerate() {
        let folder = folder.join(shard.folder());
        for entry in folder.read_dir().map_err(unreadable(&folder))? {
            let entry = entry.map_err(unreadable(&folder))?;
            let bytes = entry.metadata().map_err(unreadable(&folder))?.len();
            files.push((index, entry.path(), bytes));
        }
    }
    files.sort_unstable();
    let of = files.iter().map(|(.., bytes)| bytes).sum();
    let (next, done) = (Mutex::new(files.iter()), AtomicU64::new(0));
    let hashed = Mutex::new(Vec::new());
    let work = || {
        loop {
            let file = next.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((index, path, bytes)) = file else { return };
            let entry = hash_file(path).map_err(unreadable(path));
            let done = done.fetch_add(*bytes, Ordering::Relaxed) + bytes;
            on_step(Step::Hash { done, of });
            hashed.lock().unwrap_or_else(PoisonError::into_inner).push((*index, entry));
        }
    };
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    for (index, entry) in hashed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        shards[index].files.push(entry?);
    }
    for shard in shards {
        shard.files.sort_unstable_by(|left, right| left.name.cmp(&right.name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(memory: usize, threads: usize) -> Layout {
        Writers { threads, memory }.layout()
    }

    #[test]
    fn files_are_as_large_as_the_memory_and_the_number_of_writers_allow() {
        for (memory, threads) in [(64 << 20, 2), (256 << 20, 16), (512 << 20, 2), (2 << 30, 8)] {
            let Layout { file_keys, file_bytes, .. } = layout(memory, threads);
            let part = u64::try_from(memory / threads / 4).unwrap();
            let held = file_keys * Writer::BYTES_A_KEY;
            assert!(held <= part && held + Writer::BYTES_A_KEY > part, "{memory} {threads}: {file_keys}");
            assert!(file_bytes / FILE_TO_INDEX <= part, "{memory} {threads}: {file_bytes}");
        }
        assert_eq!(layout(16 << 30, 1), Layout::default(), "more than the usual size is never needed");
    }

    #[test]
    fn files_do_not_become_silly() {
        let Layout { file_keys, file_bytes, .. } = layout(MIN_MEMORY, 64);
        assert_eq!((file_keys, file_bytes), (LEAST_FILE_KEYS, LEAST_FILE_BYTES));
    }
}
