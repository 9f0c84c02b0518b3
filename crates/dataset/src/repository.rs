use std::path::PathBuf;

use bytes::Bytes;
use store::{Store, Swap};
use types::{Name, Timestamp};

use crate::{
    Manifest, VersionId,
    announcement::{Announced, Announcement, Bad, Refused},
    layout,
    manifest::{self, FORMAT, FileEntry, MAX_MANIFEST_BYTES},
};

/// Far more writers of one announcement than there are at a time; each conflict means that another got through.
const MAX_CONFLICTS: u32 = 1000;

/// One dataset in object storage. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Repository {
    store: Store,
    name: Option<Name>,
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("there is no version {version} at {url}")]
    NoVersion { version: VersionId, url: String },
    #[error("the manifest of version {version} at {url} is refused")]
    Manifest { version: VersionId, url: String, source: manifest::Error },
    #[error("the manifest of version {version} at {url} has {bytes} bytes, far too many")]
    ManifestSize { version: VersionId, url: String, bytes: u64 },
    #[error("{url}/announced.json is no announcement")]
    Announcement { url: String, source: serde_json::Error },
    #[error("{url}/announced.json has format {found}, this build reads format {FORMAT}: a newer dragnet wrote it")]
    Format { url: String, found: u32 },
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error("gave up changing {url}/announced.json: others changed it {MAX_CONFLICTS} times meanwhile")]
    Contended { url: String },
    #[error("{url} has no free sequence number")]
    NoSequence { url: String },
}

impl Error {
    /// True if the same call may succeed later without a person changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.is_retryable(),
            Self::Contended { .. } => true,
            _ => false,
        }
    }
}

/// What a rollback did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RolledBack {
    pub bad: VersionId,
    pub announced: VersionId,
}

impl Repository {
    /// Opens the dataset below a URL. Blocks on a local disk for a moment, asks no remote store yet.
    pub fn open(url: &str) -> Result<Self, store::Error> {
        let store = Store::open(url)?;
        let last = url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        Ok(Self { store, name: Name::new(last).ok() })
    }

    /// The last part of the URL, if it may be the name of a dataset. Manifests say which name it was built under.
    pub fn name(&self) -> Option<&Name> {
        self.name.as_ref()
    }

    pub fn url(&self) -> &str {
        self.store.url().trim_end_matches('/')
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// All whole versions, oldest first. Half-built ones are none.
    ///
    /// Cost: one listing, and one small request for each version.
    pub async fn versions(&self) -> Result<Vec<VersionId>, Error> {
        let mut versions = Vec::new();
        for version in self.begun_versions().await? {
            if self.store.size(&layout::manifest(version)).await?.is_some() {
                versions.push(version);
            }
        }
        versions.sort_unstable();
        Ok(versions)
    }

    async fn begun_versions(&self) -> Result<Vec<VersionId>, Error> {
        let names = self.store.list_folders(layout::VERSIONS).await?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The checked manifest of a version. Errors: [`Error::NoVersion`]; [`Error::Manifest`] if it lies.
    pub async fn manifest(&self, version: &VersionId) -> Result<Manifest, Error> {
        let (version, url) = (*version, self.url().to_owned());
        let key = layout::manifest(version);
        match self.store.size(&key).await? {
            None => return Err(Error::NoVersion { version, url }),
            Some(bytes) if bytes > MAX_MANIFEST_BYTES => return Err(Error::ManifestSize { version, url, bytes }),
            Some(_) => {}
        }
        let bytes = self.store.get(&key).await?;
        Manifest::parse(&bytes, version).map_err(|source| Error::Manifest { version, url, source })
    }

    /// Which version is to be served. Of a dataset without any announcement: nothing.
    pub async fn announcement(&self) -> Result<Announcement, Error> {
        match self.store.get_optional(layout::ANNOUNCEMENT).await? {
            Some(bytes) => self.parse_announcement(&bytes),
            None => Ok(Announcement::default()),
        }
    }

    fn parse_announcement(&self, bytes: &[u8]) -> Result<Announcement, Error> {
        let parsed = serde_json::from_slice::<Announcement>(bytes);
        let announcement = parsed.map_err(|source| Error::Announcement { url: self.url().to_owned(), source })?;
        match announcement.format {
            FORMAT => Ok(announcement),
            found => Err(Error::Format { url: self.url().to_owned(), found }),
        }
    }

    /// Announces a version that a builder finished. Of several the latest sequence number wins.
    pub async fn announce_built(&self, version: VersionId) -> Result<Announced, Error> {
        self.manifest(&version).await?;
        self.change(|announcement| announcement.announce_built(version)).await
    }

    /// Announces a version, older ones as well. Errors: [`Refused::Bad`].
    pub async fn announce(&self, version: VersionId) -> Result<Announced, Error> {
        self.manifest(&version).await?;
        self.change(|announcement| announcement.announce(version)).await
    }

    /// Has a version served whatever is announced. Returns why it is bad, if it is.
    pub async fn pin(&self, version: VersionId) -> Result<Option<Bad>, Error> {
        self.manifest(&version).await?;
        self.change(|announcement| Ok(announcement.pin(version).cloned())).await
    }

    /// Returns (the version that was pinned, the version to serve now).
    pub async fn unpin(&self) -> Result<(VersionId, Option<VersionId>), Error> {
        self.change(|announcement| Ok((announcement.unpin()?, announcement.target()))).await
    }

    /// Marks the announced version bad and announces the good one before.
    pub async fn rollback(&self, reason: &str, now: Timestamp) -> Result<RolledBack, Error> {
        let existing = self.versions().await?;
        let rolled_back = |announcement: &mut Announcement| announcement.roll_back(&existing, reason, now);
        let (bad, announced) = self.change(rolled_back).await?;
        Ok(RolledBack { bad, announced })
    }

    /// Reads, changes and swaps until nobody came between. Nothing is written if nothing changed or it is refused.
    async fn change<T>(&self, mut change: impl FnMut(&mut Announcement) -> Result<T, Refused>) -> Result<T, Error> {
        for _ in 0..MAX_CONFLICTS {
            let found = self.store.get_tagged(layout::ANNOUNCEMENT).await?;
            let (before, tag) = match found {
                Some((bytes, tag)) => (self.parse_announcement(&bytes)?, Some(tag)),
                None => (Announcement::default(), None),
            };
            let mut announcement = before.clone();
            let answer = change(&mut announcement)?;
            if announcement == before {
                return Ok(answer);
            }
            announcement.epoch += 1; // so that no state ever returns, and a comparison of contents is enough
            let json = serde_json::to_vec_pretty(&announcement).expect("strings and numbers are always JSON");
            match self.store.compare_and_swap(layout::ANNOUNCEMENT, tag.as_ref(), json.into()).await? {
                Swap::Done => return Ok(answer),
                Swap::Conflict => {}
            }
        }
        Err(Error::Contended { url: self.url().to_owned() })
    }

    /// Takes the next sequence number for good. No two callers get the same, wherever they run.
    pub(crate) async fn take_sequence(&self, note: &str) -> Result<u32, Error> {
        let taken = self.store.list(layout::SEQUENCES).await?;
        let taken =
            taken.iter().filter_map(|object| object.key.rsplit('/').next()?.strip_suffix(".json")?.parse::<u32>().ok());
        let begun = self.begun_versions().await?;
        let last = taken.chain(begun.iter().map(VersionId::sequence)).max().unwrap_or_default();
        for sequence in last.saturating_add(1)..u32::MAX {
            if self.store.put_new(&layout::sequence(sequence), Bytes::from(note.to_owned())).await? {
                return Ok(sequence);
            }
        }
        Err(Error::NoSequence { url: self.url().to_owned() })
    }

    /// The folder of a local repository. `None` for remote ones.
    pub fn local_root(&self) -> Option<PathBuf> {
        Some(self.store.local_path(layout::ANNOUNCEMENT)?.parent()?.to_owned())
    }

    /// Where a shard of a local repository lies, so that it can be opened in place. `None` for remote ones.
    pub fn local_shard(&self, version: VersionId, shard: u16) -> Option<PathBuf> {
        self.store.local_path(&layout::shard(version, shard))
    }

    /// One chunk of one file, as it is stored: nothing is checked. `offset` is its first byte.
    pub(crate) async fn chunk(
        &self,
        version: VersionId,
        shard: u16,
        file: &FileEntry,
        offset: u64,
    ) -> Result<Bytes, store::Error> {
        let end = (offset + manifest::CHUNK_BYTES).min(file.size);
        self.store.get_range(&layout::file(version, shard, &file.name), offset..end).await
    }
}
