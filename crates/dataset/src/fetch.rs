//! Bringing shards to a local folder: whole and checked, or not at all.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt as _, stream};
use tokio::time::timeout;
use types::Digest;

use crate::{
    Manifest, RateLimit, Repository, VersionId,
    hash::FileHasher,
    manifest::{CHUNK_BYTES, FileEntry, ShardEntry},
};

/// What folders of unfinished downloads begin with. After a crash such folders may be removed by name.
pub const UNFINISHED: &str = ".tmp-";
/// The manifest's copy in a version's local folder.
pub const MANIFEST: &str = "manifest.json";

/// How to download.
#[derive(Clone)]
pub struct Fetch {
    pub rate: RateLimit,
    /// Chunks of 4 MiB under way at a time, each in memory.
    pub chunks_in_flight: usize,
    /// How long object storage may take for one chunk; the time that `rate` holds it back is not counted.
    pub chunk_timeout: Duration,
    /// Told how many bytes more were written.
    pub progress: Arc<dyn Fn(u64) + Send + Sync>,
}

impl Default for Fetch {
    fn default() -> Self {
        Self {
            rate: RateLimit::default(),
            chunks_in_flight: 4,
            chunk_timeout: Duration::from_secs(60),
            progress: Arc::new(|_| ()),
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    #[error("version {version} has no shard {shard}")]
    NoShard { version: VersionId, shard: u16 },
    #[error("failed to download {file} at offset {offset}")]
    Download { file: String, offset: u64, source: store::Error },
    #[error("object storage did not send {file} at offset {offset} within {} s", within.as_secs_f32())]
    Stalled { file: String, offset: u64, within: Duration },
    #[error("{file} ends at {found} of its {expected} bytes in object storage")]
    Short { file: String, found: u64, expected: u64 },
    #[error(
        "{file} differs from its SHA-256 in the {length} bytes at offset {offset}, in object storage or on the way"
    )]
    Chunk { file: String, offset: u64, length: u64 },
    #[error("{file} is not of the SHA-256 that the manifest says, {expected}, but of {found}")]
    Whole { file: String, found: Digest, expected: Digest },
    /// `offset` is that of the chunk that was being written; creating, naming and flushing a file are about none.
    #[error("failed to write {}{}", path.display(), at(*offset))]
    Write { path: PathBuf, offset: Option<u64>, source: io::Error },
}

impl FetchError {
    /// True if there is no room for the download.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        matches!(self, Self::Write { source, .. } if matches!(source.kind(), StorageFull | QuotaExceeded))
    }

    /// True if the same call may succeed later without a person changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Download { source, .. } => source.is_retryable(),
            Self::Stalled { .. } | Self::Write { .. } | Self::Chunk { .. } | Self::Short { .. } => true,
            Self::NoShard { .. } | Self::Whole { .. } => false,
        }
    }
}

impl Repository {
    /// Downloads shards of a version to `folder`, which appears with all of them and the manifest, durable, or not
    /// at all. It must not exist yet. Every byte is checked by its SHA-256; the records are not, see [`crate::verify::content`].
    ///
    /// Until then the files lie beside it, in a folder that begins with [`UNFINISHED`]; dropping the future removes it.
    pub async fn fetch(
        &self,
        manifest: &Manifest,
        shards: &[u16],
        folder: &Path,
        how: &Fetch,
    ) -> Result<(), FetchError> {
        let parent = folder.parent().unwrap_or(Path::new("/"));
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| FetchError::Write { path, offset: None, source }
        };
        fs::create_dir_all(parent).map_err(failed(parent))?;
        let unfinished = tempfile::Builder::new().prefix(UNFINISHED).tempdir_in(parent).map_err(failed(parent))?;
        for shard in shards {
            let no_shard = FetchError::NoShard { version: manifest.version, shard: *shard };
            let entry = manifest.shards.get(usize::from(*shard)).ok_or(no_shard)?;
            self.fetch_shard(manifest.version, entry, &unfinished.path().join(entry.folder()), how).await?;
        }
        let copy = unfinished.path().join(MANIFEST);
        write_whole(&copy, &manifest.to_json()).map_err(failed(&copy))?;
        sync(unfinished.path()).map_err(failed(unfinished.path()))?;
        fs::rename(unfinished.path(), folder).map_err(failed(folder))?;
        let _ = unfinished.keep(); // it has its final name now
        sync(parent).map_err(failed(parent))
    }

    async fn fetch_shard(
        &self,
        version: VersionId,
        shard: &ShardEntry,
        folder: &Path,
        how: &Fetch,
    ) -> Result<(), FetchError> {
        let failed = |source| FetchError::Write { path: folder.to_owned(), offset: None, source };
        fs::create_dir(folder).map_err(failed)?;
        for file in &shard.files {
            self.fetch_file(version, shard.index, file, folder, how).await?;
        }
        sync(folder).map_err(failed)
    }

    async fn fetch_file(
        &self,
        version: VersionId,
        shard: u16,
        file: &FileEntry,
        folder: &Path,
        how: &Fetch,
    ) -> Result<(), FetchError> {
        let path = folder.join(&file.name);
        let failed = |offset| {
            let path = path.clone();
            move |source| FetchError::Write { path, offset, source }
        };
        let mut target = File::create_new(&path).map_err(failed(None))?;
        let offsets = (0..file.chunks.len() as u64).map(|index| index * CHUNK_BYTES);
        let chunks = stream::iter(offsets).map(|offset| async move {
            let expected = (file.size - offset).min(CHUNK_BYTES);
            how.rate.wait_for(expected).await;
            let shown = || format!("{}/{}", crate::layout::shard(version, shard), file.name);
            let within = how.chunk_timeout;
            let chunk = timeout(within, self.chunk(version, shard, file, offset)).await;
            let chunk = chunk.map_err(|_| FetchError::Stalled { file: shown(), offset, within })?;
            let chunk = chunk.map_err(|source| FetchError::Download { file: shown(), offset, source })?;
            let length = chunk.len() as u64;
            if length != expected {
                return Err(FetchError::Short { file: shown(), found: offset + length, expected: file.size });
            }
            Ok((offset, chunk))
        });
        let mut chunks = chunks.buffered(how.chunks_in_flight.max(1));
        let mut hasher = FileHasher::default();
        let shown = || format!("{}/{}", crate::layout::shard(version, shard), file.name);
        let mut expected = file.chunks.iter();
        while let Some(chunk) = chunks.next().await {
            let (offset, chunk) = chunk?;
            let length = chunk.len() as u64;
            let written = tokio::task::spawn_blocking(move || {
                let digest = hasher.add(&chunk);
                target.write_all(&chunk)?;
                Ok((target, hasher, digest))
            });
            let digest;
            (target, hasher, digest) =
                written.await.map_err(io::Error::other).flatten().map_err(failed(Some(offset)))?;
            if Some(&digest) != expected.next() {
                return Err(FetchError::Chunk { file: shown(), offset, length });
            }
            (how.progress)(length);
        }
        let found = hasher.finish(String::new()).sha256;
        if found != file.sha256 {
            return Err(FetchError::Whole { file: shown(), found, expected: file.sha256 });
        }
        let synced = tokio::task::spawn_blocking(move || target.sync_all()).await;
        synced.map_err(io::Error::other).flatten().map_err(failed(None))
    }
}

fn at(offset: Option<u64>) -> String {
    offset.map(|offset| format!(" at offset {offset}")).unwrap_or_default()
}

fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
