//! What a scan needs from object storage, most of it the same for many jobs.

use std::sync::Arc;

use corpus::{Hashes, Manifest};
use findings::Finding;
use store::{Store, keys};
use tokio::task::spawn_blocking;
use tracing::warn;
use types::{Digest, RulesetArtifact};

use super::{
    cache::Cache,
    request::{ScanJob, Target},
};
use crate::pool::{Part, TargetParts};

/// Why something could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("the manifest of segment {digest} cannot be used")]
    Manifest { digest: Digest, source: corpus::Error },
    #[error("the manifest of segment {digest} has {found} files, not {expected}")]
    ManifestLength { digest: Digest, found: usize, expected: u32 },
    #[error("ruleset {digest} cannot be read")]
    Ruleset { digest: Digest, source: serde_json::Error },
    #[error("ruleset {digest} cannot be used")]
    RulesetInvalid { digest: Digest, source: types::VersionError },
    #[error("ruleset {digest} is stored under a digest that is not its own")]
    RulesetDigest { digest: Digest },
    #[error("a helper task ended")]
    Task(#[from] tokio::task::JoinError),
}

impl Error {
    /// The surroundings are at fault, not the segment or the rules.
    pub fn is_hindrance(&self) -> bool {
        match self {
            Self::Store(error) => !matches!(error, store::Error::NotFound { .. }),
            Self::Task(_) => true,
            Self::Manifest { .. }
            | Self::ManifestLength { .. }
            | Self::Ruleset { .. }
            | Self::RulesetInvalid { .. }
            | Self::RulesetDigest { .. } => false,
        }
    }
}

/// Rulesets in text form; the largest is 16 MiB.
const ARTIFACTS_BYTES: usize = 64 << 20;
/// What is compiled, about as large as the rulesets.
const PARTS_BYTES: usize = 64 << 20;

/// What earlier jobs fetched and later ones need as well.
#[derive(Debug)]
pub struct Inputs {
    store: Store,
    artifacts: Cache<Digest, RulesetArtifact>,
    parts: Cache<(Option<Digest>, Digest), Part>,
}

impl Inputs {
    pub fn new(store: Store) -> Self {
        Self { store, artifacts: Cache::new(ARTIFACTS_BYTES), parts: Cache::new(PARTS_BYTES) }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub async fn manifest(&self, job: &ScanJob) -> Result<Arc<Manifest>, Error> {
        let digest = job.segment.manifest;
        let bytes = self.store.get(&keys::manifest(&digest)).await?;
        let manifest = spawn_blocking(move || Manifest::decode(&digest, &bytes))
            .await?
            .map_err(|source| Error::Manifest { digest, source })?;
        if manifest.files.len() != job.segment.files as usize {
            let (found, expected) = (manifest.files.len(), job.segment.files);
            return Err(Error::ManifestLength { digest, found, expected });
        }
        Ok(Arc::new(manifest))
    }

    /// The hashes of an earlier scan. Damaged ones are learned again.
    pub async fn hashes(&self, job: &ScanJob) -> Result<Option<Hashes>, Error> {
        let Some(bytes) = self.store.get_optional(&keys::hashes(&job.segment.manifest)).await? else { return Ok(None) };
        match Hashes::decode(&bytes) {
            Ok(hashes) if hashes.0.len() == job.segment.files as usize => Ok(Some(hashes)),
            Ok(_) => Ok(None),
            Err(error) => {
                warn!(segment = %job.segment.manifest.short(), %error, "hashes are damaged and computed again");
                Ok(None)
            }
        }
    }

    pub async fn parts(&self, target: &Target) -> Result<TargetParts, Error> {
        let delta = self.part(target, target.from.map(|version| version.digest)).await?;
        let whole = if target.from.is_none() { Arc::clone(&delta) } else { self.part(target, None).await? };
        Ok(TargetParts { delta, whole })
    }

    /// Findings of the version before. None: they cannot be used, so the whole version has to be scanned.
    pub async fn prior(&self, job: &ScanJob, target: &Target) -> Result<Option<Vec<Finding>>, Error> {
        let Some((version, lease)) = target.prior else { return Ok(Some(Vec::new())) };
        let key = keys::findings(&target.key, version, &job.corpus.key, job.ordinal, lease);
        let Some(bytes) = self.store.get_optional(&key).await? else {
            warn!(key, "findings of the version before are missing; the whole version is scanned");
            return Ok(None);
        };
        match spawn_blocking(move || findings::decode(bytes)).await? {
            Ok(rows) => Ok(Some(rows)),
            Err(error) => {
                warn!(key, %error, "findings of the version before are damaged; the whole version is scanned");
                Ok(None)
            }
        }
    }

    async fn part(&self, target: &Target, from: Option<Digest>) -> Result<Arc<Part>, Error> {
        let to = target.to.digest;
        if let Some(part) = self.parts.get(&(from, to)) {
            return Ok(part);
        }
        let new = self.artifact(to).await?;
        let old = match from {
            Some(from) => Some(self.artifact(from).await?),
            None => None,
        };
        let name = format!("{} v{}", target.key, target.to.number);
        let part = spawn_blocking(move || Part::new(name, from, to, rules::program(&new, old.as_deref()))).await?;
        Ok(self.parts.insert((from, to), part.source_bytes() + 1024, part))
    }

    async fn artifact(&self, digest: Digest) -> Result<Arc<RulesetArtifact>, Error> {
        if let Some(artifact) = self.artifacts.get(&digest) {
            return Ok(artifact);
        }
        let bytes = self.store.get(&keys::ruleset(&digest)).await?;
        let weight = bytes.len();
        let artifact = spawn_blocking(move || read_artifact(digest, &bytes)).await??;
        Ok(self.artifacts.insert(digest, weight, artifact))
    }
}

fn read_artifact(digest: Digest, bytes: &[u8]) -> Result<RulesetArtifact, Error> {
    let artifact: RulesetArtifact =
        serde_json::from_slice(bytes).map_err(|source| Error::Ruleset { digest, source })?;
    artifact.validate().map_err(|source| Error::RulesetInvalid { digest, source })?;
    if artifact.digest() != digest {
        return Err(Error::RulesetDigest { digest });
    }
    Ok(artifact)
}
