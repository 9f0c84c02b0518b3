//! `dragnet dataset fetch`: rows from object storage to the disk, where a build can read them again and again.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::json;
use store::Store;

use crate::{
    commands::Context,
    render::{bytes, plural},
};

/// Read at a time.
const PIECE: u64 = 8 << 20;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
What the URL names is a file, or a folder whose files are copied one by one; folders in it are left out.

Examples:
  dragnet dataset fetch s3://bucket/nightly/senders.csv --to rows/
  dragnet dataset fetch s3://bucket/nightly --to rows/ && dragnet dataset build --from rows/ …")]
pub struct Args {
    /// s3://bucket/path or file:///absolute/path
    url: String,
    /// An existing folder
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
}

pub(super) async fn run(args: Args, ctx: &mut Context) -> Result<()> {
    let url = args.url.trim_end_matches('/');
    let (parent, last) = url.rsplit_once('/').ok_or_else(|| anyhow!("{url} is no URL of a file or folder"))?;
    let mut copied = Vec::new();
    let beside = open(parent).ok();
    let size = match &beside {
        Some(store) => store.size(last).await.unwrap_or(None),
        None => None,
    };
    if let (Some(store), Some(size)) = (&beside, size) {
        copied.push((last.to_owned(), copy(store, last, size, &args.to).await?));
    } else {
        let store = open(url)?;
        for object in store.list_root().await? {
            let size = copy(&store, &object.key, object.bytes, &args.to).await?;
            copied.push((object.key, size));
        }
    }
    if copied.is_empty() {
        bail!("there is no file at {url}, and no folder with files");
    }
    let total: u64 = copied.iter().map(|(_, size)| size).sum();
    if ctx.out.is_json() {
        let files: Vec<_> = copied.iter().map(|(name, size)| json!({ "name": name, "bytes": size })).collect();
        return ctx.out.object(&json!({ "url": url, "files": files, "bytes": total }));
    }
    ctx.out.line(format!("{} of {} copied to {}", plural(copied.len() as u64, "file"), bytes(total), args.to.display()))
}

fn open(url: &str) -> Result<Store> {
    Store::open(url).with_context(|| format!("cannot use {url}"))
}

/// The file has its name only when it is whole.
async fn copy(store: &Store, key: &str, size: u64, folder: &Path) -> Result<u64> {
    let (path, begun) = (folder.join(key), folder.join(format!(".{key}.part")));
    let failed = || format!("cannot write {}", begun.display());
    let mut file = File::create(&begun).with_context(failed)?;
    let mut done = 0;
    while done < size {
        let piece = store.get_range(key, done..(done + PIECE).min(size)).await?;
        if piece.is_empty() {
            bail!("{key} became shorter while it was read");
        }
        done += piece.len() as u64;
        file = super::blocking(move || {
            file.write_all(&piece)?;
            Ok(file)
        })
        .await
        .with_context(failed)?;
    }
    fs::rename(&begun, &path).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(done)
}
