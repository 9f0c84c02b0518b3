//! `verified.json`: remembers which files of a local version were verified, so that a restart need not hash them again.
//!
//! It names each file's size, modification time and inode. Whoever changes a file without changing these is
//! not guarded against: it is a memory, no seal.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use serde::{Deserialize, Serialize};
use types::Digest;

use crate::{Manifest, VersionId, manifest::ShardEntry};

pub const FILE: &str = "verified.json";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Proof {
    version: VersionId,
    /// Of the manifest that it was verified against.
    manifest: Digest,
    /// By `<shard folder>/<file name>`.
    files: BTreeMap<String, Seen>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    size: u64,
    modified_ns: i128,
    inode: u64,
}

/// Notes that the shards of `manifest` in `folder`, a version's, were verified as their files are now.
/// Replaces an earlier note; durable when this returns.
pub fn record<'a>(
    folder: &Path,
    manifest: &Manifest,
    shards: impl IntoIterator<Item = &'a ShardEntry>,
) -> io::Result<()> {
    let proof = look(folder, manifest, shards)?;
    let staged = folder.join(format!(".{FILE}"));
    let mut file = File::create(&staged)?;
    file.write_all(&serde_json::to_vec(&proof)?)?;
    file.sync_all()?;
    fs::rename(&staged, folder.join(FILE))?;
    File::open(folder)?.sync_all()
}

/// Whether the files of these shards are still those that were verified. False if nothing was noted.
pub fn holds<'a>(
    folder: &Path,
    manifest: &Manifest,
    shards: impl IntoIterator<Item = &'a ShardEntry>,
) -> io::Result<bool> {
    let noted = match fs::read(folder.join(FILE)) {
        Ok(noted) => noted,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    // What cannot be read proves nothing.
    let Ok(noted) = serde_json::from_slice::<Proof>(&noted) else { return Ok(false) };
    match look(folder, manifest, shards) {
        Ok(now) => Ok(noted.version == now.version
            && noted.manifest == now.manifest
            && now.files.iter().all(|(name, seen)| noted.files.get(name) == Some(seen))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn look<'a>(folder: &Path, manifest: &Manifest, shards: impl IntoIterator<Item = &'a ShardEntry>) -> io::Result<Proof> {
    let mut files = BTreeMap::new();
    for shard in shards {
        for file in &shard.files {
            let name = format!("{}/{}", shard.folder(), file.name);
            let metadata = fs::symlink_metadata(folder.join(&name))?;
            let modified_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
            files.insert(name, Seen { size: metadata.len(), modified_ns, inode: metadata.ino() });
        }
    }
    Ok(Proof { version: manifest.version, manifest: Digest::of(&manifest.to_json()), files })
}
