//! One version built by many machines: each makes one shard, and somebody puts them together at the end.
//!
//! ```text
//! machine 0 ──► builds/<id>/shard-0000/… and .json ┐
//! machine 1 ──► builds/<id>/shard-0001/… and .json ├──► finish: sequence number, copies, manifest ──► versions/<version>/
//! …                                                ┘
//! ```
//! Each machine reads the whole source and keeps what is its own: reading is cheap beside sorting and writing. Where a
//! version's files lie depends on what is in all of them, so they are copied in the end, which object storage does by
//! itself. Everything may be repeated after a crash, by another machine too; the same build id gives the same version.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::json;
use types::Timestamp;

use super::{
    Build, Built, Error, OnStep, Step,
    publish::{announce, manifest, put_manifest},
    shards::Ready,
};
use crate::{ContentDigest, Repository, VersionId, layout, manifest::ShardEntry};

/// Names one build among those of its dataset: 1 to 63 letters, digits and dashes. Whoever starts the machines chooses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartsId(String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} names no build: 1 to 63 letters a-z, digits and dashes")]
pub struct PartsIdError {
    text: String,
}

/// One shard that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub entry: ShardEntry,
    /// Rows of the source that are in it, those that gave way to others of the same key among them.
    pub rows: u64,
}

/// What whoever finishes decided first.
#[derive(Debug, Serialize, Deserialize)]
struct Begun {
    sequence: u32,
    parent: Option<VersionId>,
    now: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
struct Finished {
    version: VersionId,
}

impl Build {
    /// Builds one shard, and leaves it where [`Build::finish`] finds it. A shard that is there already is left alone.
    pub async fn run_part(
        self,
        shard: u16,
        id: &PartsId,
        repository: &Repository,
        on_step: OnStep,
    ) -> Result<Part, Error> {
        if shard >= self.shards {
            return Err(Error::NoSuchShard { shard, of: self.shards });
        }
        if let Some(part) = part(repository, id, shard).await? {
            return Ok(part);
        }
        let folder = self.temp_folder(repository)?;
        let build = Arc::new(self);
        let (Ready { shards, rows }, folder) = build.prepare(Some(shard), folder, &on_step).await?;
        let entry = shards.into_iter().next().ok_or(Error::Panicked)?;
        let store = repository.store();
        let of = entry.file_bytes();
        let done = std::sync::atomic::AtomicU64::new(0);
        for file in &entry.files {
            let path = folder.path().join(entry.folder()).join(&file.name);
            let progress = |bytes| {
                let done = done.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed) + bytes;
                on_step(Step::Upload { done, of });
            };
            store.put_file(&layout::part_file(&id.0, shard, &file.name), &path, progress).await?;
        }
        let made = Part { entry, rows };
        let json = serde_json::to_vec(&made).expect("strings and numbers are always JSON");
        store.put(&layout::part(&id.0, shard), json.into()).await?;
        // Removing many files takes a moment.
        let _ = tokio::task::spawn_blocking(move || drop(folder)).await;
        Ok(made)
    }

    /// Makes a version of the shards that are there. Repeated, it gives the same version.
    ///
    /// Errors: [`Error::PartMissing`] if a shard is not there.
    pub async fn finish(self, id: &PartsId, repository: &Repository) -> Result<Built, Error> {
        let store = repository.store();
        if let Some(bytes) = store.get_optional(&layout::finished(&id.0)).await?
            && let Ok(Finished { version }) = serde_json::from_slice(&bytes)
        {
            let manifest = repository.manifest(&version).await?;
            let announced = if self.announce { Some(announce(repository, version).await?) } else { None };
            return Ok(Built { manifest, announced });
        }
        let (mut shards, mut rows) = (Vec::new(), 0);
        for shard in 0..self.shards {
            let missing = || Error::PartMissing { build: id.clone(), shard, of: self.shards };
            let part = part(repository, id, shard).await?.ok_or_else(missing)?;
            rows += part.rows;
            shards.push(part.entry);
        }
        let content_digest: ContentDigest = shards.iter().map(|shard| shard.content_digest).sum();
        let Begun { sequence, parent, now } = self.begin(id, &content_digest, repository).await?;
        let version = VersionId::new(sequence, &content_digest);
        let build = Self { now, ..self };
        let manifest = manifest(&build, Ready { shards, rows }, parent, version, content_digest);
        for shard in &manifest.shards {
            for file in &shard.files {
                let from = layout::part_file(&id.0, shard.index, &file.name);
                store.copy(&from, &layout::file(version, shard.index, &file.name)).await?;
            }
        }
        put_manifest(repository, &manifest).await?;
        let json = serde_json::to_vec(&Finished { version }).expect("strings are always JSON");
        store.put(&layout::finished(&id.0), json.into()).await?;
        let announced = if build.announce { Some(announce(repository, version).await?) } else { None };
        // What cannot be removed now takes room and harms nobody.
        let _ = store.remove_folder(&layout::build(&id.0)).await;
        Ok(Built { manifest, announced })
    }

    /// Takes a sequence number, or the one that an earlier try took.
    async fn begin(&self, id: &PartsId, digest: &ContentDigest, repository: &Repository) -> Result<Begun, Error> {
        let (store, key) = (repository.store(), layout::begun(&id.0));
        if let Some(bytes) = store.get_optional(&key).await?
            && let Ok(begun) = serde_json::from_slice(&bytes)
        {
            return Ok(begun);
        }
        let parent = repository.announcement().await?.target();
        let note = json!({ "builder": self.builder, "at_ms": self.now, "content_digest": digest, "build": id.0 });
        let sequence = repository.take_sequence(&note.to_string()).await?;
        let begun = Begun { sequence, parent, now: self.now };
        let json = serde_json::to_vec(&begun).expect("strings and numbers are always JSON");
        store.put(&key, json.into()).await?;
        Ok(begun)
    }
}

async fn part(repository: &Repository, id: &PartsId, shard: u16) -> Result<Option<Part>, Error> {
    let found = repository.store().get_optional(&layout::part(&id.0, shard)).await?;
    let parsed = found.map(|bytes| serde_json::from_slice::<Part>(&bytes)).transpose();
    let part = parsed.map_err(|source| Error::PartBroken { build: id.clone(), shard, source })?;
    Ok(part.filter(|part| part.entry.index == shard))
}

impl FromStr for PartsId {
    type Err = PartsIdError;

    fn from_str(text: &str) -> Result<Self, PartsIdError> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        match (1..=63).contains(&text.len()) && text.bytes().all(is_plain) {
            true => Ok(Self(text.to_owned())),
            false => Err(PartsIdError { text: text.to_owned() }),
        }
    }
}

impl fmt::Display for PartsId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
