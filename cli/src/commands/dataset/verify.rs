//! `dragnet dataset verify`.

use std::{ops::ControlFlow, path::PathBuf};

use anyhow::{Context as _, Result};
use dataset::{Fetch, Manifest, Repository, VersionId};
use serde_json::json;
use tempfile::TempDir;

use super::{blocking, chosen, open, progress::Bar};
use crate::{
    commands::Context,
    render::{bytes, plural},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Checks the manifest, the size of every file, its SHA-256 in pieces of 4 MiB, and then every record: their number, \
digest and hash slot. A remote dataset is downloaded shard by shard to the temporary folder for that.

Examples:
  dragnet dataset verify file:///srv/datasets/packages
  dragnet dataset verify s3://bucket/packages --version 000006-77aa01c3")]
pub struct Args {
    /// The dataset: file:///absolute/path or s3://bucket/path
    url: String,
    /// Another version than the one that is to be served
    #[arg(long)]
    version: Option<VersionId>,
}

pub(super) async fn run(args: Args, ctx: &mut Context) -> Result<()> {
    let repository = open(&args.url)?;
    let version = chosen(&repository, args.version).await?;
    let manifest = repository.manifest(&version).await?;
    for entry in &manifest.shards {
        let local = local(&repository, &manifest, entry.index, ctx.out.is_json()).await?;
        let (folder, entry, manifest) = (local.folder.clone(), entry.clone(), manifest.clone());
        let bar = Bar::new(ctx.out.is_json());
        blocking(move || {
            let of = entry.file_bytes().saturating_add(entry.bytes);
            dataset::verify::shard(&folder, &manifest, &entry, &mut |more| {
                bar.add("verifying", more, of);
                ControlFlow::Continue(())
            })?;
            Ok(())
        })
        .await
        .with_context(|| format!("version {version} at {} is damaged", args.url))?;
    }
    if ctx.out.is_json() {
        return ctx.out.object(&json!({
            "version": version, "ok": true, "keys": manifest.keys, "file_bytes": manifest.file_bytes(),
            "content_digest": manifest.content_digest,
        }));
    }
    let shards = plural(manifest.shards.len() as u64, "shard");
    let (keys, size) = (plural(manifest.keys, "key"), bytes(manifest.file_bytes()));
    ctx.out.line(format!("version {version} is whole: {keys}, {size} in {shards}, as the manifest says"))
}

/// A shard on the local disk.
pub(super) struct Local {
    pub(super) folder: PathBuf,
    /// Where it was downloaded to; gone with this.
    _downloaded: Option<TempDir>,
}

/// A shard's folder: in place, or downloaded.
pub(super) async fn local(repository: &Repository, manifest: &Manifest, shard: u16, json: bool) -> Result<Local> {
    if let Some(folder) = repository.local_shard(manifest.version, shard) {
        return Ok(Local { folder, _downloaded: None });
    }
    let downloaded = TempDir::with_prefix("dragnet-").context("failed to create a temporary folder")?;
    let target = downloaded.path().join(manifest.version.to_string());
    let entry = &manifest.shards[usize::from(shard)];
    let (bar, of) = (Bar::new(json), entry.file_bytes());
    let fetch = Fetch { progress: std::sync::Arc::new(move |more| bar.add("loading", more, of)), ..Fetch::default() };
    repository.fetch(manifest, &[shard], &target, &fetch).await?;
    Ok(Local { folder: target.join(entry.folder()), _downloaded: Some(downloaded) })
}
