//! Brings one version from object storage to this machine's disk, whole and verified or not at all.
//!
//! Every piece is checked against its SHA-256 before it counts, so what storage mixed up is noticed at the first wrong piece,
//! with file and offset. The records are read and compared with the manifest in the end: a manifest may lie, too.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use dataset::{Fetch, Manifest, RateLimit, VersionId, manifest::ShardEntry};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    disk::{Home, free_bytes},
    error::Error,
    keeper::Config,
    storage::Storage,
    verify,
};

pub(crate) struct Download {
    pub(crate) storage: Storage,
    pub(crate) home: Home,
    pub(crate) version: VersionId,
    pub(crate) config: Arc<Config>,
    pub(crate) rate: RateLimit,
    pub(crate) cancel: CancellationToken,
    /// Bytes of this version that are here, and that there will be.
    pub(crate) done_bytes: Arc<AtomicU64>,
    pub(crate) total_bytes: Arc<AtomicU64>,
    /// Bytes of all versions that came from storage.
    pub(crate) fetched_bytes: Arc<AtomicU64>,
    /// All bytes are here, and are looked at.
    pub(crate) verifying: CancellationToken,
}

impl Download {
    pub(crate) async fn run(self) -> Result<(), Error> {
        tokio::select! {
            () = self.cancel.cancelled() => Err(Error::Cancelled),
            result = self.bring() => result,
        }
    }

    async fn bring(&self) -> Result<(), Error> {
        let version = self.version;
        let manifest = self.manifest().await?;
        let shards = wanted(&manifest, &self.config)?;
        self.make_sure_of_room(&shards)?;
        let folder = self.home.download(version);
        let (done, fetched) = (self.done_bytes.clone(), self.fetched_bytes.clone());
        let how = Fetch {
            rate: self.rate.clone(),
            chunk_timeout: self.config.storage_timeout,
            progress: Arc::new(move |bytes| {
                done.fetch_add(bytes, Ordering::Relaxed);
                fetched.fetch_add(bytes, Ordering::Relaxed);
            }),
            ..Fetch::default()
        };
        let indexes: Vec<u16> = shards.iter().map(|shard| shard.index).collect();
        let fetched = self.storage.repository().await?.fetch(&manifest, &indexes, &folder, &how).await;
        fetched.map_err(|source| Error::Fetch { version, source: Box::new(source) })?;
        self.verifying.cancel();
        verify::records(folder, version, self.config.wanted.clone(), self.cancel.clone()).await?;
        let home = self.home.clone();
        let adopted = tokio::task::spawn_blocking(move || home.adopt(version)).await;
        Ok(adopted.map_err(|panic| Error::Panicked { what: panic.to_string() })??)
    }

    async fn manifest(&self) -> Result<Manifest, Error> {
        let (version, within) = (self.version, self.config.storage_timeout);
        let stalled = |_| Error::Stalled { what: format!("the manifest of version {version}"), within };
        let repository = self.storage.repository().await?;
        let read = timeout(within, repository.manifest(&version)).await.map_err(stalled)?;
        read.map_err(|source| Error::Manifest { version, source })
    }

    fn make_sure_of_room(&self, shards: &[&ShardEntry]) -> Result<(), Error> {
        let needed = shards.iter().map(|shard| shard.file_bytes()).fold(0, u64::saturating_add);
        self.total_bytes.store(needed, Ordering::Relaxed);
        let (version, folder, reserve) = (self.version, self.home.folder().to_owned(), self.config.reserve);
        let free = free_bytes(&folder)?;
        match needed.saturating_add(reserve) <= free {
            true => Ok(()),
            false => Err(Error::NoRoom { version, folder, needed, reserve, free }),
        }
    }
}

/// Which shards this server holds, of the version's.
fn wanted<'a>(manifest: &'a Manifest, config: &'a Config) -> Result<Vec<&'a ShardEntry>, Error> {
    let held: Vec<_> = verify::wanted(manifest, &config.wanted).collect();
    match held.is_empty() {
        true => Err(Error::NoWantedShard { version: manifest.version, shards: manifest.shards.len() }),
        false => Ok(held),
    }
}
