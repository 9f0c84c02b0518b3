//! From a file of rows to a version in object storage.
//!
//! ```text
//! source ──rows──► sort (arenas in memory, runs on disk) ──sorted rows of one shard──► shards ──► publish
//! ```
//! One thread reads, one sorts, then each core writes one shard at a time. Memory is bounded by [`Build::memory`].
//! Machines can divide the shards among themselves, see [`Build::run_part`].
//! Nothing is visible in object storage before the manifest is, and that is written last.

mod error;
mod parts;
mod publish;
mod shards;
mod sort;
mod source;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tempfile::TempDir;
use types::{Name, Timestamp};

pub use error::{Error, Place, Problem};
pub use parts::{Part, PartsId, PartsIdError};
pub use publish::Built;
pub use source::Format;

use crate::{Manifest, Repository, manifest::Builder};

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 64 << 10;
/// The longest value, in bytes: what Redis allows.
pub const MAX_VALUE_BYTES: usize = 512 << 20;
/// What [`Build::memory`] has at least. Below it sorting would spend its time opening files.
pub const MIN_MEMORY: usize = 16 << 20;

/// What to build.
#[derive(Clone, Debug)]
pub struct Build {
    pub name: Name,
    /// Read in this order; rows that come later are later for [`OnDuplicate`].
    pub sources: Vec<SourceFile>,
    pub key: String,
    pub value: Value,
    pub shards: u16,
    /// What clients put before the keys of the source when they ask.
    pub key_prefix: String,
    pub on_duplicate: OnDuplicate,
    /// Bytes that rows in memory and what is remembered of written ones may take, about; at least [`MIN_MEMORY`]. A row larger than it
    /// takes what it needs. Shards have smaller files where it is little for the number of cores.
    pub memory: usize,
    /// Where sorted runs and shards lie meanwhile: about twice what keys and values take. `None`: beside a local
    /// dataset, so that finished files are linked and not copied, or in the system's folder for a remote one.
    pub temp_dir: Option<PathBuf>,
    pub announce: bool,
    pub builder: Builder,
    pub now: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    pub path: PathBuf,
    pub format: Format,
}

/// What becomes the value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Column(String),
    /// All columns but the key, as one compact JSON object with its names in ascending order.
    Json,
}

/// What happens if two rows have one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDuplicate {
    Error,
    First,
    Last,
}

/// How far a build is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Bytes of the source files.
    Read { done: u64, of: u64 },
    /// Rows, sorted into shards.
    Write { done: u64, of: u64 },
    /// Bytes of the shards' files.
    Hash { done: u64, of: u64 },
    /// Bytes of the shards' files.
    Upload { done: u64, of: u64 },
}

/// Called from several threads, some hundred times a second at most.
pub type OnStep = Arc<dyn Fn(Step) + Send + Sync>;

impl Build {
    /// Builds one version, and announces it if asked to.
    ///
    /// Errors: the first row that cannot be used, with its file and number. After an error nothing was published, and
    /// what lay in the temporary folder is gone. The same holds if the future is dropped, once its threads noticed.
    pub async fn run(self, repository: &Repository, on_step: OnStep) -> Result<Built, Error> {
        let parent = repository.announcement().await?.target();
        let folder = self.temp_folder(repository)?;
        let build = Arc::new(self);
        let (ready, folder) = build.prepare(None, folder, &on_step).await?;
        let built = publish::publish(repository, &build, ready, parent, folder.path(), &on_step).await;
        // Removing many files takes a moment.
        let _ = tokio::task::spawn_blocking(move || drop(folder)).await;
        built
    }

    /// Reads, sorts and writes to the local disk: all shards, or one.
    async fn prepare(
        self: &Arc<Self>,
        only: Option<u16>,
        folder: TempDir,
        on_step: &OnStep,
    ) -> Result<(shards::Ready, TempDir), Error> {
        let stop = Stop::default();
        let (build, stopped, on_step) = (Arc::clone(self), Arc::clone(&stop.0), Arc::clone(on_step));
        // The folder goes with the thread that fills it, and is gone when that ends early.
        let prepared = tokio::task::spawn_blocking(move || {
            let sorted = sort::sort(&build, only, folder.path(), &on_step, &stopped)?;
            let ready = shards::write(&build, only, sorted, folder.path(), &on_step, &stopped)?;
            Ok::<_, Error>((ready, folder))
        });
        prepared.await.map_err(|_| Error::Panicked)?
    }

    fn temp_folder(&self, repository: &Repository) -> Result<TempDir, Error> {
        let beside = || repository.local_root().unwrap_or_else(std::env::temp_dir);
        let parent = self.temp_dir.clone().unwrap_or_else(beside);
        let created = tempfile::Builder::new().prefix(".build-").tempdir_in(&parent);
        created.map_err(|source| Error::Temp { path: parent, source })
    }
}

/// Tells the threads of a build that nobody waits for it any more, once it is dropped.
#[derive(Default)]
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Built {
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }
}
