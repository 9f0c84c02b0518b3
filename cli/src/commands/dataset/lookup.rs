//! `dragnet dataset get`.

use anyhow::{Result, bail};
use dataset::{Slotting, VersionId};
use serde_json::json;
use shard::{OpenOptions, Shard};

use super::{blocking, chosen, open, verify};
use crate::{commands::Context, render::escaped};

/// Longer values are a file's business, not a terminal's.
const MAX_SHOWN: usize = 1 << 20;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads the dataset itself, so it also answers what a server should answer. The key is the stored one, without the \
dataset's prefix. Of a remote dataset the key's shard is downloaded first; ask a server if you want to ask often.

Examples:
  dragnet dataset get file:///srv/datasets/packages 5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef
  dragnet dataset get file:///srv/datasets/packages somekey --version 000006-77aa01c3 --json")]
pub struct Args {
    /// The dataset: file:///absolute/path or s3://bucket/path
    url: String,
    /// The key
    key: String,
    /// Another version than the one that is to be served
    #[arg(long)]
    version: Option<VersionId>,
}

pub(super) async fn run(args: Args, ctx: &mut Context) -> Result<()> {
    let Args { url, key, version } = args;
    let repository = open(&url)?;
    let version = chosen(&repository, version).await?;
    let manifest = repository.manifest(&version).await?;
    let slot = Slotting::new(&manifest.key_prefix).slot(key.as_bytes());
    let entry = manifest.shard_of(slot);
    let local = verify::local(&repository, &manifest, entry.index, ctx.out.is_json()).await?;
    let (folder, asked) = (local.folder.clone(), key.clone());
    let value = blocking(move || {
        let options = OpenOptions { verify_checksums: true, ..OpenOptions::default() };
        Ok(Shard::open(&folder, &options)?.get(asked.as_bytes(), |value| value.map(<[u8]>::to_vec))?)
    })
    .await?;
    let Some(value) = value else {
        bail!("version {version} has no key {key:?} (hash slot {slot}, shard {})", entry.index)
    };
    if ctx.out.is_json() {
        let text = std::str::from_utf8(&value).ok();
        return ctx.out.object(&json!({
            "key": key, "version": version, "slot": slot, "shard": entry.index, "bytes": value.len(),
            "value": text, "value_hex": text.is_none().then(|| escaped(&value, MAX_SHOWN)),
        }));
    }
    match std::str::from_utf8(&value) {
        Ok(text) => ctx.out.line(text),
        Err(_) => ctx.out.line(escaped(&value, MAX_SHOWN)),
    }
}
