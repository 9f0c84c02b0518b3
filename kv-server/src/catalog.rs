//! All datasets of this server: where each is found by a client, and which version of it answers.
//!
//! ```text
//! (database, key) ─► Serving ─► dataset ─► version ─► shard of the key's hash slot
//!                       ▲
//!          Catalog::switch, one pointer store
//! ```
//!
//! Event loops hold a [`Serving`], an immutable snapshot of all pointers, and look for a newer one at each wake-up. A version is
//! closed when the last snapshot with it is gone. Deliberately not here: downloading, verifying, and deciding what to serve.

mod residence;
mod serving;
mod version;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use arc_swap::ArcSwap;
use dataset::Manifest;

pub use residence::{Memory, memory_limit};
pub use serving::{Found, Serving, Slot};
pub(crate) use version::get_now;
pub use version::{OpenError, Part, Version, Wanted};

/// One dataset as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetSpec {
    pub name: String,
    /// The number a client selects to find it.
    pub db: u32,
    /// What its keys start with for clients. Stored keys are without it.
    pub prefix: Vec<u8>,
    pub source: Source,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Versions in object storage.
    Repository(url::Url),
    /// A RocksDB directory made elsewhere, served as it is.
    Directory(PathBuf),
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no dataset is called {name:?}")]
    UnknownDataset { name: String },
    #[error("two datasets are called {name:?}")]
    SameName { name: String },
    #[error("{first:?} and {second:?} have the same database and prefix")]
    SamePlace { first: String, second: String },
    #[error("dataset {name:?} has no version to go back to")]
    NothingBefore { name: String },
}

/// What is served. Shared by all threads; only switching takes a lock.
pub struct Catalog {
    specs: Vec<DatasetSpec>,
    wanted: Wanted,
    memory: Memory,
    serving: ArcSwap<Serving>,
    generation: AtomicU64,
    /// Held while a new snapshot is made from the last one.
    switching: Mutex<()>,
    listeners: Mutex<Vec<Box<dyn Fn() + Send + Sync>>>,
}

impl Catalog {
    /// A catalog that serves nothing yet. `wanted` says which shards of a version this server holds.
    pub fn new(specs: Vec<DatasetSpec>, wanted: Wanted, memory: Memory) -> Result<Self, Error> {
        for (index, spec) in specs.iter().enumerate() {
            for other in &specs[..index] {
                if other.name == spec.name {
                    return Err(Error::SameName { name: spec.name.clone() });
                }
                if (other.db, &other.prefix) == (spec.db, &spec.prefix) {
                    return Err(Error::SamePlace { first: other.name.clone(), second: spec.name.clone() });
                }
            }
        }
        let serving = ArcSwap::from_pointee(Serving::empty(&specs));
        let (switching, listeners) = (Mutex::new(()), Mutex::new(Vec::new()));
        Ok(Self { specs, wanted, memory, serving, generation: AtomicU64::new(0), switching, listeners })
    }

    /// In the order of the command line; a dataset's place here is its index in [`Serving::slots`].
    pub fn specs(&self) -> &[DatasetSpec] {
        &self.specs
    }

    /// Opens a version's shards below `folder`, without serving it: `shard-0000` and so on by its manifest, or `folder` itself as
    /// the one shard if there is no manifest. Blocks while RocksDB reads metadata.
    pub fn open(&self, name: &str, folder: &Path, manifest: Option<Arc<Manifest>>) -> Result<Version, OpenError> {
        let index = self.specs.iter().position(|spec| spec.name == name);
        if let (Some(manifest), Some(index)) = (&manifest, index) {
            let (built_for, served_as) = (manifest.key_prefix.as_bytes(), self.specs[index].prefix.as_slice());
            // One shard has all keys whatever the prefix; several were dealt out by it.
            let may_differ = manifest.shards.len() == 1 && built_for.is_empty();
            if built_for != served_as && !may_differ {
                let (built_for, served_as) = (manifest.key_prefix.clone(), String::from_utf8_lossy(served_as).into());
                return Err(OpenError::Prefix { built_for, served_as });
            }
        }
        let serving = self.serving();
        let others = serving.slots().iter().enumerate().filter(|(other, _)| Some(*other) != index);
        let beside = others.filter_map(|(_, slot)| slot.current.as_ref()).map(|version| version.bytes()).sum();
        Version::open(folder, manifest, &self.wanted, &self.memory, beside)
    }

    /// Serves `version` from now on and returns what was served before, which stays ready for [`Catalog::rollback`].
    pub fn switch(&self, name: &str, version: Arc<Version>) -> Result<Option<Arc<Version>>, Error> {
        let mut replaced = None;
        self.change(name, |slot| {
            replaced = slot.current.replace(version);
            slot.previous.clone_from(&replaced);
            slot.since = Some(SystemTime::now());
            Ok(())
        })?;
        Ok(replaced)
    }

    /// Serves the version before again, and returns it. The one that was served takes its place.
    pub fn rollback(&self, name: &str) -> Result<Arc<Version>, Error> {
        self.change(name, |slot| {
            let previous = slot.previous.take().ok_or_else(|| Error::NothingBefore { name: name.to_owned() })?;
            slot.previous = slot.current.replace(previous.clone());
            slot.since = Some(SystemTime::now());
            Ok(previous)
        })
    }

    /// Makes `version` the one that [`Catalog::rollback`] goes to, such as after a restart; `None` lets go of it.
    pub fn set_previous(&self, name: &str, version: Option<Arc<Version>>) -> Result<Option<Arc<Version>>, Error> {
        self.change(name, |slot| Ok(std::mem::replace(&mut slot.previous, version)))
    }

    /// The pointers as they are now.
    pub fn serving(&self) -> Arc<Serving> {
        self.serving.load_full()
    }

    /// [`Serving::generation`] of the pointers as they are now, at the cost of a load: for readers that look often.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Calls `listener` after each change, on the thread that made it.
    pub fn on_change(&self, listener: impl Fn() + Send + Sync + 'static) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(listener));
    }

    fn change<T>(&self, name: &str, change: impl FnOnce(&mut Slot) -> Result<T, Error>) -> Result<T, Error> {
        let index = self.specs.iter().position(|spec| spec.name == name);
        let index = index.ok_or_else(|| Error::UnknownDataset { name: name.to_owned() })?;
        let result = {
            let _alone = self.switching.lock().unwrap_or_else(PoisonError::into_inner);
            let (next, result) = self.serving.load().with(index, change)?;
            let generation = next.generation();
            self.serving.store(Arc::new(next));
            self.generation.store(generation, Ordering::Release);
            result
        };
        // Idle loops would otherwise hold on to the old snapshot, and with it the old version.
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(|listener| listener());
        Ok(result)
    }
}
