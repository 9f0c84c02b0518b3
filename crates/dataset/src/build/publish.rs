//! A finished version into object storage: its files, then the manifest, then the announcement.

use std::path::Path;

use serde_json::json;

use super::{Build, Error, OnStep, Step, Value, shards::Ready};
use crate::{
    Announced, ContentDigest, Manifest, Repository, VersionId, layout,
    manifest::{FORMAT, Source},
};

/// A version that exists.
#[derive(Clone, Debug)]
pub struct Built {
    pub manifest: Manifest,
    /// `None` if it was not to be announced.
    pub announced: Option<Announced>,
}

pub(super) async fn publish(
    repository: &Repository,
    build: &Build,
    ready: Ready,
    parent: Option<VersionId>,
    folder: &Path,
    on_step: &OnStep,
) -> Result<Built, Error> {
    let content_digest: ContentDigest = ready.shards.iter().map(|shard| shard.content_digest).sum();
    let note = json!({ "builder": build.builder, "at_ms": build.now, "content_digest": content_digest });
    let sequence = repository.take_sequence(&note.to_string()).await?;
    let manifest = manifest(build, ready, parent, VersionId::new(sequence, &content_digest), content_digest);
    if let Err(error) = upload(repository, &manifest, folder, on_step).await {
        // Without a manifest they are no version; yet they take room. What cannot be removed now harms nobody.
        let _ = repository.store().remove_folder(&layout::version(manifest.version)).await;
        return Err(error);
    }
    let announced = match build.announce {
        true => Some(announce(repository, manifest.version).await?),
        false => None,
    };
    Ok(Built { manifest, announced })
}

pub(super) fn manifest(
    build: &Build,
    ready: Ready,
    parent: Option<VersionId>,
    version: VersionId,
    content_digest: ContentDigest,
) -> Manifest {
    let keys = ready.shards.iter().map(|shard| shard.keys).sum();
    Manifest {
        format: FORMAT,
        dataset: build.name.clone(),
        version,
        parent,
        created_at_ms: build.now,
        builder: build.builder.clone(),
        source: Source {
            files: build.sources.iter().map(|source| source.path.display().to_string()).collect(),
            key_column: build.key.clone(),
            value_column: match &build.value {
                Value::Column(column) => Some(column.clone()),
                Value::Json => None,
            },
            rows: ready.rows,
            duplicate_rows: ready.rows - keys,
        },
        key_prefix: build.key_prefix.clone(),
        keys,
        bytes: ready.shards.iter().map(|shard| shard.bytes).sum(),
        content_digest,
        shards: ready.shards,
    }
}

async fn upload(repository: &Repository, manifest: &Manifest, folder: &Path, on_step: &OnStep) -> Result<(), Error> {
    let (store, version) = (repository.store(), manifest.version);
    let of = manifest.file_bytes();
    let done = std::sync::atomic::AtomicU64::new(0);
    for shard in &manifest.shards {
        for file in &shard.files {
            let path = folder.join(shard.folder()).join(&file.name);
            let progress = |bytes| {
                let done = done.fetch_add(bytes, std::sync::atomic::Ordering::Relaxed) + bytes;
                on_step(Step::Upload { done, of });
            };
            store.put_file(&layout::file(version, shard.index, &file.name), &path, progress).await?;
        }
    }
    put_manifest(repository, manifest).await
}

/// The last object of a version: with it the version exists.
pub(super) async fn put_manifest(repository: &Repository, manifest: &Manifest) -> Result<(), Error> {
    let (store, version) = (repository.store(), manifest.version);
    let (key, json) = (layout::manifest(version), manifest.to_json());
    let is_new = store.put_new(&key, json.clone().into()).await?;
    // After a lost answer the client asked again and met its own manifest.
    if is_new || store.get(&key).await? == json { Ok(()) } else { Err(Error::Taken { version }) }
}

pub(super) async fn announce(repository: &Repository, version: VersionId) -> Result<Announced, Error> {
    let announced = repository.announce_built(version).await;
    announced.map_err(|source| Error::NotAnnounced { version, source: Box::new(source) })
}
