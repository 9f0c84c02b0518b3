//! `dragnet dataset show`.

use std::path::PathBuf;

use anyhow::Result;
use dataset::{Announcement, Manifest, VersionId};
use serde_json::json;

use super::{list::state, open, server};
use crate::{
    commands::Context,
    parse,
    render::{Align, Table, bytes, count, plural, utc},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without a version: the pinned or announced one. With --server also what that server serves, what it is doing, and \
its last error.

Examples:
  dragnet dataset show file:///srv/datasets/packages
  dragnet dataset show file:///srv/datasets/packages --version 000006-77aa01c3
  dragnet dataset show file:///srv/datasets/packages --server 127.0.0.1:6379
  dragnet dataset show file:///srv/datasets/packages --server kv-0:6379 --password-file /etc/dragnet/password")]
pub struct Args {
    /// The dataset: file:///absolute/path or s3://bucket/path
    url: String,
    /// Another version than the one that is to be served
    #[arg(long)]
    version: Option<VersionId>,
    /// A server to ask what it serves
    #[arg(long, value_name = "HOST:PORT", env = "DRAGNET_KV", value_parser = parse::address)]
    server: Option<String>,
    /// A file whose first line the server wants as its password
    #[arg(long, value_name = "FILE", env = "DRAGNET_KV_PASSWORD_FILE")]
    password_file: Option<PathBuf>,
}

pub(super) async fn run(args: Args, ctx: &mut Context) -> Result<()> {
    // A file that cannot be read is a mistake on this command line, which ends here; a server's silence is not.
    let password = match (&args.server, &args.password_file) {
        (Some(_), Some(file)) => Some(server::Password::read(file)?),
        _ => None,
    };
    let repository = open(&args.url)?;
    let announcement = repository.announcement().await?;
    let manifest = match args.version.or(announcement.target()) {
        Some(version) => Some(repository.manifest(&version).await?),
        None => None,
    };
    // What the server says is worth most when something is wrong, so its silence is shown and hides nothing.
    let served = match &args.server {
        Some(address) => Some((address, server::states(address, password.as_ref(), &repository).await)),
        None => None,
    };
    if ctx.out.is_json() {
        let mut object = json!({ "url": args.url, "announcement": announcement, "manifest": manifest.map(summary) });
        if let Some((address, states)) = served {
            object["server"] = match states {
                Ok(states) => json!({ "address": address, "datasets": states }),
                Err(error) => json!({ "address": address, "error": format!("{error:#}") }),
            };
        }
        return ctx.out.object(&object);
    }
    ctx.out.line(format!("place        {}", args.url))?;
    announced(&announcement, ctx)?;
    if let Some(manifest) = &manifest {
        version(manifest, &announcement, ctx)?;
    }
    match served {
        None => Ok(()),
        Some((address, Err(error))) => ctx.out.line(format!("\nserver {address}: {error:#}")),
        Some((address, Ok(states))) => server::show(address, &states, ctx),
    }
}

fn announced(announcement: &Announcement, ctx: &mut Context) -> Result<()> {
    let shown = |version: Option<VersionId>| version.map_or("-".to_owned(), |version| version.to_string());
    ctx.out.line(format!("announced    {}", shown(announcement.version)))?;
    ctx.out.line(format!("previous     {}", shown(announcement.previous)))?;
    if let Some(pin) = announcement.pin {
        ctx.out.line(format!("pinned       {pin}: it is served, whatever is announced"))?;
    }
    for (version, bad) in &announcement.bad {
        ctx.out.line(format!("bad          {version} since {}: {}", utc(bad.at_ms.0), bad.reason))?;
    }
    Ok(())
}

fn version(manifest: &Manifest, announcement: &Announcement, ctx: &mut Context) -> Result<()> {
    let state = match state(announcement, manifest.version) {
        state if state.is_empty() => state,
        state => format!(" ({state})"),
    };
    let source = &manifest.source;
    let value = source.value_column.as_deref().unwrap_or("all other columns as JSON");
    ctx.out.line(format!("\nversion      {}{state}", manifest.version))?;
    ctx.out.line(format!("dataset      {}", manifest.dataset))?;
    ctx.out.line(format!(
        "built        {} by {} on {}",
        utc(manifest.created_at_ms.0),
        manifest.builder.program,
        manifest.builder.host
    ))?;
    ctx.out.line(format!("from         {}: {} → {value}", source.files.join(", "), source.key_column))?;
    ctx.out.line(format!("rows         {}, {} left out", count(source.rows), count(source.duplicate_rows)))?;
    ctx.out.line(format!("keys         {} of {}", count(manifest.keys), bytes(manifest.bytes)))?;
    ctx.out.line(format!("prefix       {:?}", manifest.key_prefix))?;
    ctx.out.line(format!("digest       {}", manifest.content_digest))?;
    ctx.out.line(format!(
        "size         {}, {}\n",
        bytes(manifest.file_bytes()),
        plural(manifest.shards.len() as u64, "shard")
    ))?;
    let right = Align::Right;
    let columns = [("shard", right), ("slots", Align::Left), ("keys", right), ("size", right), ("files", right)];
    let mut table = Table::new(&columns);
    for shard in &manifest.shards {
        table.row([
            shard.index.to_string(),
            format!("{}-{}", shard.slots.first, shard.slots.last),
            count(shard.keys),
            bytes(shard.file_bytes()),
            count(shard.files.len() as u64),
        ]);
    }
    ctx.out.line(table)
}

/// A manifest without the digests of its chunks, of which there may be millions.
fn summary(manifest: Manifest) -> serde_json::Value {
    let mut summary = json!(manifest);
    for shard in summary["shards"].as_array_mut().into_iter().flatten() {
        for file in shard["files"].as_array_mut().into_iter().flatten() {
            if let Some(file) = file.as_object_mut() {
                file.remove("chunks");
            }
        }
    }
    summary
}
