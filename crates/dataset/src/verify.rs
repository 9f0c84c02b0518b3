//! Whether a local shard is what the manifest says: names, sizes, SHA-256 chunk by chunk, then every record.

use std::{
    collections::BTreeSet,
    fs, io,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use shard::{OpenOptions, Residence, Shard};
use types::Digest;

use crate::{
    ContentDigest, Manifest, SlotRange, Slotting,
    hash::{FileHasher, read_chunks},
    manifest::{CHUNK_BYTES, FileEntry, ShardEntry},
};

/// Records between two calls of the watching function.
const RECORDS_PER_STEP: u64 = 4096;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("{} is missing", file.display())]
    Missing { file: PathBuf },
    /// RocksDB might read it: a write-ahead log would add records.
    #[error("{} does not belong to the version", file.display())]
    Unexpected { file: PathBuf },
    #[error("{} has {found} bytes instead of {expected}", file.display())]
    Size { file: PathBuf, found: u64, expected: u64 },
    #[error("{} differs from its SHA-256 in the {length} bytes at offset {offset}", file.display())]
    Chunk { file: PathBuf, offset: u64, length: u64 },
    /// Each chunk is right, so the manifest contradicts itself.
    #[error("{} is not of the SHA-256 that the manifest says, {expected}, but of {found}", file.display())]
    Whole { file: PathBuf, found: Digest, expected: Digest },
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Shard(#[from] shard::Error),
    #[error("{} holds {found} {what}, the manifest says {expected}", folder.display())]
    Content { folder: PathBuf, what: &'static str, found: String, expected: String },
    #[error("{} holds key {} of hash slot {slot}, but has slots {} to {}", folder.display(), key.escape_ascii(), slots.first, slots.last)]
    Slot { folder: PathBuf, key: Vec<u8>, slot: u16, slots: SlotRange },
    #[error("stopped before the end")]
    Stopped,
}

/// Told about bytes that were looked at; breaks to stop.
pub type Watch<'a> = &'a mut dyn FnMut(u64) -> ControlFlow<()>;

/// Checks a shard's folder in full: first [`files`], then [`content`].
pub fn shard(folder: &Path, manifest: &Manifest, shard: &ShardEntry, watch: Watch<'_>) -> Result<(), Error> {
    files(folder, shard, watch)?;
    content(folder, &manifest.key_prefix, shard, watch)
}

/// Checks that the folder holds exactly the shard's files, and each chunk of each.
/// Cost: reads everything once; about a second per GB and core where the processor knows SHA-256.
pub fn files(folder: &Path, shard: &ShardEntry, watch: Watch<'_>) -> Result<(), Error> {
    sizes(folder, shard)?;
    shard.files.iter().try_for_each(|file| check_file(&folder.join(&file.name), file, watch))
}

/// Checks that the folder holds exactly the shard's files, of the right sizes. Reads none of them.
pub fn sizes(folder: &Path, shard: &ShardEntry) -> Result<(), Error> {
    let unreadable = |source| Error::Read { path: folder.to_owned(), source };
    let expected: BTreeSet<_> = shard.files.iter().map(|file| file.name.as_str()).collect();
    for file in &shard.files {
        let path = folder.join(&file.name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if !metadata.is_file() => return Err(Error::Unexpected { file: path }),
            Ok(metadata) if metadata.len() != file.size => {
                return Err(Error::Size { file: path, found: metadata.len(), expected: file.size });
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Error::Missing { file: path }),
            Err(source) => return Err(Error::Read { path, source }),
        }
    }
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        if !name.to_str().is_some_and(|name| expected.contains(name)) {
            return Err(Error::Unexpected { file: folder.join(name) });
        }
    }
    Ok(())
}

fn check_file(path: &Path, expected: &FileEntry, watch: Watch<'_>) -> Result<(), Error> {
    let mut hasher = FileHasher::default();
    let mut wrong = None;
    let mut offset = 0;
    let mut stopped = false;
    let read = read_chunks(path, |chunk| {
        let index = usize::try_from(offset / CHUNK_BYTES).unwrap_or(usize::MAX);
        let length = chunk.len() as u64;
        if Some(&hasher.add(chunk)) != expected.chunks.get(index) {
            wrong = Some(Error::Chunk { file: path.to_owned(), offset, length });
            return Err(io::Error::other("stop"));
        }
        offset += length;
        stopped = watch(length).is_break();
        if stopped { Err(io::Error::other("stop")) } else { Ok(()) }
    });
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    if stopped {
        return Err(Error::Stopped);
    }
    read.map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let found = hasher.finish(String::new());
    match found.sha256 == expected.sha256 {
        true => Ok(()),
        false => Err(Error::Whole { file: path.to_owned(), found: found.sha256, expected: expected.sha256 }),
    }
}

/// Reads every record, with RocksDB's own checksums, and compares their number, size, digest and hash slots.
pub fn content(folder: &Path, key_prefix: &str, shard: &ShardEntry, watch: Watch<'_>) -> Result<(), Error> {
    // A private cache, small: each record is read once.
    let residence = Residence::Cached(shard::BlockCache::new(8 << 20));
    let options = OpenOptions { residence, verify_checksums: true, ..OpenOptions::default() };
    let opened = Shard::open(folder, &options)?;
    let mut slotting = Slotting::new(key_prefix);
    let (mut keys, mut bytes, mut reported) = (0_u64, 0_u64, 0_u64);
    let mut digest = ContentDigest::default();
    let mut misplaced = None;
    let scanned = opened.scan_checked(|key, value| {
        let slot = slotting.slot(key);
        if !shard.slots.contains(slot) {
            misplaced = Some((key.to_vec(), slot));
            return ControlFlow::Break(());
        }
        digest.add(key, value);
        keys += 1;
        bytes += (key.len() + value.len()) as u64;
        if keys.is_multiple_of(RECORDS_PER_STEP) {
            let step = bytes - reported;
            reported = bytes;
            return watch(step);
        }
        ControlFlow::Continue(())
    })?;
    if let Some((key, slot)) = misplaced {
        return Err(Error::Slot { folder: folder.to_owned(), key, slot, slots: shard.slots });
    }
    if scanned.is_break() {
        return Err(Error::Stopped);
    }
    same(folder, "keys", keys, shard.keys)?;
    same(folder, "bytes of records", bytes, shard.bytes)?;
    same(folder, "records of content digest", digest, shard.content_digest)
}

fn same<T: PartialEq + ToString>(folder: &Path, what: &'static str, found: T, expected: T) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    let folder = folder.to_owned();
    Err(Error::Content { folder, what, found: found.to_string(), expected: expected.to_string() })
}
