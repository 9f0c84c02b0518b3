use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Values by key, the least recently used ones dropped when they weigh too much together. A value above the
/// limit is handed out and not kept.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    limit: usize,
    inner: Mutex<Inner<K, V>>,
}

#[derive(Debug)]
struct Inner<K, V> {
    entries: BTreeMap<K, Entry<V>>,
    weight: usize,
    uses: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: Arc<V>,
    weight: usize,
    last_use: u64,
}

impl<K: Ord + Clone, V> Cache<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, inner: Mutex::new(Inner { entries: BTreeMap::new(), weight: 0, uses: 0 }) }
    }

    pub(super) fn get(&self, key: &K) -> Option<Arc<V>> {
        let mut inner = self.lock();
        inner.uses += 1;
        let uses = inner.uses;
        let entry = inner.entries.get_mut(key)?;
        entry.last_use = uses;
        Some(Arc::clone(&entry.value))
    }

    /// Keeps the value unless there is one already; gives the one that is kept, so that all share it.
    pub(super) fn insert(&self, key: K, weight: usize, value: V) -> Arc<V> {
        let mut inner = self.lock();
        if let Some(entry) = inner.entries.get(&key) {
            return Arc::clone(&entry.value);
        }
        let value = Arc::new(value);
        if weight > self.limit {
            return value;
        }
        inner.uses += 1;
        let entry = Entry { value: Arc::clone(&value), weight, last_use: inner.uses };
        inner.weight += weight;
        inner.entries.insert(key, entry);
        while inner.weight > self.limit {
            // Some dozens of entries: looking at all is cheaper than an index.
            let Some(oldest) = inner.entries.iter().min_by_key(|(_, entry)| entry.last_use).map(|(key, _)| key.clone())
            else {
                break;
            };
            if let Some(entry) = inner.entries.remove(&oldest) {
                inner.weight -= entry.weight;
            }
        }
        value
    }

    fn lock(&self) -> MutexGuard<'_, Inner<K, V>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let cache = Cache::new(2);
        cache.insert("a", 1, 1);
        cache.insert("b", 1, 2);
        cache.get(&"a");
        cache.insert("c", 1, 3);
        assert_eq!(
            (cache.get(&"a").as_deref(), cache.get(&"b"), cache.get(&"c").as_deref()),
            (Some(&1), None, Some(&3))
        );
    }

    #[test]
    fn what_is_too_heavy_is_not_kept() {
        let cache = Cache::new(2);
        assert_eq!(*cache.insert("a", 3, 1), 1);
        assert_eq!(cache.get(&"a"), None);
    }

    #[test]
    fn the_first_value_stays() {
        let cache = Cache::new(2);
        cache.insert("a", 1, 1);
        assert_eq!(*cache.insert("a", 1, 2), 1);
    }
}
