//! `dragnet dataset`: building versions of keys and values, and saying which one is served. Needs no cluster.

mod announcement;
mod build;
mod fetch;
mod list;
mod lookup;
mod progress;
mod server;
mod show;
mod verify;

use std::time::SystemTime;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Subcommand;
use dataset::{Repository, VersionId};
use types::Timestamp;

use super::Context;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a version from a file, and announce it
    Build(Box<build::Args>),
    /// Copy files of rows from object storage to a folder
    Fetch(fetch::Args),
    /// List the versions, and which of them is announced, pinned or bad
    #[command(after_help = "\
Examples:
  dragnet dataset list file:///srv/datasets/packages
  dragnet dataset list s3://bucket/packages --json | jq -r .version")]
    List {
        /// The dataset: file:///absolute/path or s3://bucket/path
        url: String,
    },
    /// Show what is announced, one version's shards, and what a server makes of it
    Show(show::Args),
    /// Look a key up, without any server
    Get(lookup::Args),
    /// Check every byte and every record of a version
    Verify(verify::Args),
    /// Announce a version that exists, newer or older
    #[command(after_help = "\
Servers switch to what is announced, unless a version is pinned. `build` announces by itself, unless told not to.

Example:
  dragnet dataset announce file:///srv/datasets/packages 000007-1f0c22ab")]
    Announce(announcement::Chosen),
    /// Have one version served, whatever is announced, until unpinned
    #[command(after_help = "\
A pin overrides all: new versions are built and announced as ever, and served once it is gone. A version that is \
marked bad may be pinned too, and you are told so.

Example:
  dragnet dataset pin file:///srv/datasets/packages 000006-77aa01c3")]
    Pin(announcement::Chosen),
    /// Serve what is announced again
    #[command(after_help = "Example:\n  dragnet dataset unpin file:///srv/datasets/packages")]
    Unpin {
        /// The dataset
        url: String,
    },
    /// Mark the announced version bad, and announce the good one before
    Rollback(announcement::Rollback),
}

pub async fn run(command: Command, ctx: &mut Context) -> Result<()> {
    match command {
        Command::Build(args) => build::run(*args, ctx).await,
        Command::Fetch(args) => fetch::run(args, ctx).await,
        Command::List { url } => list::run(&url, ctx).await,
        Command::Show(args) => show::run(args, ctx).await,
        Command::Get(args) => lookup::run(args, ctx).await,
        Command::Verify(args) => verify::run(args, ctx).await,
        Command::Announce(args) => announcement::announce(args, ctx).await,
        Command::Pin(args) => announcement::pin(args, ctx).await,
        Command::Unpin { url } => announcement::unpin(&url, ctx).await,
        Command::Rollback(args) => announcement::rollback(args, ctx).await,
    }
}

fn open(url: &str) -> Result<Repository> {
    Repository::open(url).map_err(anyhow::Error::new)
}

/// The version that was asked for, or the one that is to be served.
async fn chosen(repository: &Repository, version: Option<VersionId>) -> Result<VersionId> {
    match version {
        Some(version) => Ok(version),
        None => match repository.announcement().await?.target() {
            Some(version) => Ok(version),
            None => bail!("nothing is announced at {}; `dragnet dataset list` shows what there is", repository.url()),
        },
    }
}

fn now() -> Result<Timestamp> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("the clock is before 1970")?;
    Ok(Timestamp(u64::try_from(since.as_millis()).context("the clock is far off")?))
}

/// Runs what waits for a disk or keeps a core busy.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| anyhow!("a thread panicked"))?
}
