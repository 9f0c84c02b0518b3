//! One immutable snapshot of what is served.

use std::{sync::Arc, time::SystemTime};

use super::{DatasetSpec, Error, Version};

/// Which versions answer, and how a client's key leads to one. Never changes: a switch makes a new one.
#[derive(Clone)]
pub struct Serving {
    generation: u64,
    slots: Vec<Slot>,
    routes: Arc<Routes>,
}

/// The versions of one dataset.
#[derive(Clone, Default)]
pub struct Slot {
    pub current: Option<Arc<Version>>,
    pub previous: Option<Arc<Version>>,
    /// When `current` began to serve.
    pub since: Option<SystemTime>,
}

/// Where a key leads.
#[derive(Clone, Copy)]
pub enum Found<'a> {
    Version {
        version: &'a Version,
        /// The key as stored, without the dataset's prefix.
        key: &'a [u8],
    },
    /// The dataset has no version open yet.
    Loading,
    /// No dataset of the database has keys like this one.
    Nowhere,
}

/// By database: prefix and index of each dataset, the longest prefix first.
struct Routes(Vec<Vec<(Vec<u8>, usize)>>);

impl Serving {
    pub(super) fn empty(specs: &[DatasetSpec]) -> Self {
        let mut routes = Vec::new();
        for (index, spec) in specs.iter().enumerate() {
            let db = usize::try_from(spec.db).expect("databases are few");
            routes.resize_with(routes.len().max(db + 1), Vec::new);
            routes[db].push((spec.prefix.clone(), index));
        }
        for database in &mut routes {
            database.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        }
        Self { generation: 0, slots: vec![Slot::default(); specs.len()], routes: Arc::new(Routes(routes)) }
    }

    pub(super) fn with<T>(
        &self,
        index: usize,
        change: impl FnOnce(&mut Slot) -> Result<T, Error>,
    ) -> Result<(Self, T), Error> {
        let mut next = self.clone();
        let result = change(&mut next.slots[index])?;
        next.generation += 1;
        Ok((next, result))
    }

    /// Grows by one with each change.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// All datasets, in the order of [`super::Catalog::specs`].
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Databases that have a dataset are below this number.
    pub fn databases(&self) -> usize {
        self.routes.0.len()
    }

    /// Prefixes and datasets of one database, the longest prefix first.
    pub fn in_database(&self, db: usize) -> impl ExactSizeIterator<Item = (&[u8], usize, &Slot)> {
        let routes = self.routes.0.get(db).map_or(&[][..], Vec::as_slice);
        routes.iter().map(|(prefix, index)| (prefix.as_slice(), *index, &self.slots[*index]))
    }

    /// The version that answers for `key`: of the dataset with the longest prefix that the key starts with.
    #[inline]
    pub fn find<'a>(&'a self, db: usize, key: &'a [u8]) -> Found<'a> {
        let Some(routes) = self.routes.0.get(db) else { return Found::Nowhere };
        for (prefix, index) in routes {
            if let Some(key) = key.strip_prefix(prefix.as_slice()) {
                return match &self.slots[*index].current {
                    Some(version) => Found::Version { version, key },
                    None => Found::Loading,
                };
            }
        }
        Found::Nowhere
    }
}
