//! `dragnet dataset announce`, `pin`, `unpin` and `rollback`.

use anyhow::Result;
use dataset::{Announced, RolledBack, VersionId};
use serde_json::json;

use super::{now, open};
use crate::commands::Context;

#[derive(Debug, clap::Args)]
pub struct Chosen {
    /// The dataset: file:///absolute/path or s3://bucket/path
    url: String,
    /// The version, as `dragnet dataset list` shows it
    version: VersionId,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The version before is announced again; servers that still have it switch without a download. The version rolled \
back from is never chosen by itself again; pin it to serve it all the same.

Example:
  dragnet dataset rollback file:///srv/datasets/packages --reason 'half of the packages are missing'")]
pub struct Rollback {
    /// The dataset: file:///absolute/path or s3://bucket/path
    url: String,
    /// Why the announced version is bad, for those who ask later
    #[arg(long, value_name = "TEXT", default_value = "rolled back by hand")]
    reason: String,
}

pub(super) async fn announce(args: Chosen, ctx: &mut Context) -> Result<()> {
    let Chosen { url, version } = args;
    let announced = open(&url)?.announce(version).await?;
    if ctx.out.is_json() {
        let changed = announced != Announced::Unchanged;
        return ctx.out.object(&json!({ "announced": version, "changed": changed }));
    }
    ctx.out.line(match announced {
        Announced::Unchanged => format!("version {version} was announced already"),
        _ => format!("version {version} is announced"),
    })
}

pub(super) async fn pin(args: Chosen, ctx: &mut Context) -> Result<()> {
    let Chosen { url, version } = args;
    let bad = open(&url)?.pin(version).await?;
    if ctx.out.is_json() {
        return ctx.out.object(&json!({ "pinned": version, "bad": bad }));
    }
    ctx.out.line(format!("version {version} is pinned: it is served whatever is announced"))?;
    match bad {
        Some(bad) => ctx.out.line(format!("it is marked bad, mind you: {}", bad.reason)),
        None => Ok(()),
    }
}

pub(super) async fn unpin(url: &str, ctx: &mut Context) -> Result<()> {
    let (was, target) = open(url)?.unpin().await?;
    if ctx.out.is_json() {
        return ctx.out.object(&json!({ "unpinned": was, "target": target }));
    }
    ctx.out.line(match target {
        Some(target) => format!("version {was} is no longer pinned; {target} is announced and served"),
        None => format!("version {was} is no longer pinned, and nothing is announced"),
    })
}

pub(super) async fn rollback(args: Rollback, ctx: &mut Context) -> Result<()> {
    let Rollback { url, reason } = args;
    let RolledBack { bad, announced } = open(&url)?.rollback(&reason, now()?).await?;
    if ctx.out.is_json() {
        return ctx.out.object(&json!({ "bad": bad, "reason": reason, "announced": announced }));
    }
    ctx.out.line(format!("version {bad} is marked bad: {reason}"))?;
    ctx.out.line(format!("version {announced} is announced"))
}
