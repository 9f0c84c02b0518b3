//! The manifest: everything about one version, written last, believed only after it was checked.

use std::collections::BTreeSet;

use resp::HASH_SLOTS;
use serde::{Deserialize, Serialize};
use types::{Digest, Name, Timestamp};

use crate::{ContentDigest, MAX_SHARDS, SlotRange, VersionId};

/// What this build writes and reads.
pub const FORMAT: u32 = 1;
/// Files are hashed in pieces of this size, so that an error can say where a file is wrong.
pub const CHUNK_BYTES: u64 = 4 << 20;
/// A manifest larger than this is not read. One of 2 TiB of data has about 36 MB.
pub const MAX_MANIFEST_BYTES: u64 = 256 << 20;
/// Far above what a shard is cut into; a manifest that says more is wrong or hostile.
const MAX_FILES: usize = 100_000;
/// The largest object that S3 takes.
const MAX_FILE_BYTES: u64 = 5 << 40;

/// One immutable version of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    pub dataset: Name,
    pub version: VersionId,
    /// The version that was announced when this one was built.
    pub parent: Option<VersionId>,
    pub created_at_ms: Timestamp,
    pub builder: Builder,
    pub source: Source,
    /// What clients put before a stored key when they ask. Part of what a key's hash slot is computed from.
    pub key_prefix: String,
    pub keys: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// The sum of those of the shards.
    pub content_digest: ContentDigest,
    pub shards: Vec<ShardEntry>,
}

/// Who built it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builder {
    /// Program and version.
    pub program: String,
    pub host: String,
}

/// What it was built from. For people; nothing depends on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub files: Vec<String>,
    pub key_column: String,
    /// `None`: all other columns as one JSON object.
    pub value_column: Option<String>,
    pub rows: u64,
    /// Rows that `--on-duplicate` left out.
    pub duplicate_rows: u64,
}

/// One shard: a folder that RocksDB opens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardEntry {
    pub index: u16,
    pub slots: SlotRange,
    pub keys: u64,
    pub bytes: u64,
    pub content_digest: ContentDigest,
    pub files: Vec<FileEntry>,
}

/// One file of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// A plain name, no path.
    pub name: String,
    pub size: u64,
    pub sha256: Digest,
    /// SHA-256 of each [`CHUNK_BYTES`] of it, the last one shorter.
    pub chunks: Vec<Digest>,
}

/// Why a manifest is not believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("it is no manifest")]
    Json(#[source] serde_json::Error),
    #[error("its format is {found}, this build reads format {FORMAT}: a newer dragnet wrote it")]
    Format { found: u32 },
    #[error("it says {what} {said} where {expected} is true")]
    Lie { what: &'static str, said: String, expected: String },
    #[error("shard {shard}: {reason}")]
    Shard { shard: usize, reason: String },
    #[error("shard {shard}, file {file:?}: {reason}")]
    File { shard: u16, file: String, reason: &'static str },
}

impl Manifest {
    /// Reads and checks a manifest that lies at `version`.
    pub fn parse(bytes: &[u8], version: VersionId) -> Result<Self, Error> {
        /// Read first, since a later format may have any shape.
        #[derive(Deserialize)]
        struct Versioned {
            format: u32,
        }
        let Versioned { format } = serde_json::from_slice(bytes).map_err(Error::Json)?;
        if format != FORMAT {
            return Err(Error::Format { found: format });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(Error::Json)?;
        same("version", manifest.version, version)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// As it is stored: JSON for people too.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("strings and numbers are always JSON");
        json.push(b'\n');
        json
    }

    /// Everything that can be checked without looking at a file.
    pub fn check(&self) -> Result<(), Error> {
        self.check_slots()?;
        for shard in &self.shards {
            shard.check()?;
        }
        same("keys", self.keys, saturating_sum(self.shards.iter().map(|shard| shard.keys)))?;
        same("bytes", self.bytes, saturating_sum(self.shards.iter().map(|shard| shard.bytes)))?;
        same("content_digest", self.content_digest, self.shards.iter().map(|shard| shard.content_digest).sum())?;
        same("version", self.version, VersionId::new(self.version.sequence(), &self.content_digest))
    }

    /// Every slot belongs to exactly one shard, in order.
    fn check_slots(&self) -> Result<(), Error> {
        if self.shards.is_empty() || self.shards.len() > usize::from(MAX_SHARDS) {
            let expected = format!("1 to {MAX_SHARDS}");
            return Err(Error::Lie { what: "shards", said: self.shards.len().to_string(), expected });
        }
        let mut next = 0;
        for (index, shard) in self.shards.iter().enumerate() {
            let refused = |reason: String| Err(Error::Shard { shard: index, reason });
            if usize::from(shard.index) != index {
                return refused(format!("its index is {}", shard.index));
            }
            let SlotRange { first, last } = shard.slots;
            if first != next {
                let problem = if first < next { "overlap those before" } else { "leave out those before" };
                return refused(format!("its hash slots {first} to {last} {problem}: {next} comes next"));
            }
            if last < first || last >= HASH_SLOTS {
                return refused(format!("{first} to {last} is no range of hash slots"));
            }
            next = last + 1;
        }
        if next == HASH_SLOTS {
            return Ok(());
        }
        let reason = format!("hash slots {next} to {} belong to no shard", HASH_SLOTS - 1);
        Err(Error::Shard { shard: self.shards.len() - 1, reason })
    }

    /// The shard that holds a hash slot.
    pub fn shard_of(&self, slot: u16) -> &ShardEntry {
        let index = self.shards.partition_point(|shard| shard.slots.last < slot);
        &self.shards[index]
    }

    /// Bytes of all files.
    pub fn file_bytes(&self) -> u64 {
        self.shards.iter().map(ShardEntry::file_bytes).sum()
    }
}

impl ShardEntry {
    /// Its folder below that of the version.
    pub fn folder(&self) -> String {
        shard_folder(self.index)
    }

    pub fn file_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.size).sum()
    }

    fn check(&self) -> Result<(), Error> {
        let refused = |reason: String| Err(Error::Shard { shard: usize::from(self.index), reason });
        if self.files.is_empty() || self.files.len() > MAX_FILES {
            return refused(format!("it has {} files", self.files.len()));
        }
        let mut names = BTreeSet::new();
        for file in &self.files {
            let refused = |reason| Err(Error::File { shard: self.index, file: file.name.clone(), reason });
            if !is_plain(&file.name) {
                return refused("the name is no plain file name");
            }
            if !names.insert(&file.name) {
                return refused("it is listed twice");
            }
            if file.size > MAX_FILE_BYTES {
                return refused("no file is that large");
            }
            if file.size.div_ceil(CHUNK_BYTES) != file.chunks.len() as u64 {
                return refused("the number of chunk digests does not fit its size");
            }
        }
        // Keys and values are stored uncompressed or compressed; no codec makes a thousand bytes out of one.
        if self.bytes > self.file_bytes().saturating_mul(1024) || self.keys > self.bytes {
            return refused(format!("{} keys of {} bytes do not fit its files", self.keys, self.bytes));
        }
        Ok(())
    }
}

/// `shard-0003`, below the folder of a version.
pub fn shard_folder(index: u16) -> String {
    format!("shard-{index:04}")
}

/// What RocksDB calls its files, and nothing that could lead out of a folder or hide in it.
fn is_plain(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

fn same<T: PartialEq + ToString>(what: &'static str, said: T, expected: T) -> Result<(), Error> {
    if said == expected {
        return Ok(());
    }
    Err(Error::Lie { what, said: said.to_string(), expected: expected.to_string() })
}

fn saturating_sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}
