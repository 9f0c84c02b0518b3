//! What was found out about rules, kept so that a new number of files does not compile them again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use types::Digest;

use super::{check::Verdict, sources::Refusal};

type Name = (String, String);

/// What the rules of one spec come to.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    pub(crate) generation: Option<i64>,
    pub(crate) rules: Result<Good, Refusal>,
}

/// Rules whose text is known, and what the compiler says of them.
#[derive(Clone, Debug)]
pub(crate) struct Good {
    pub(crate) digest: Digest,
    pub(crate) verdict: Arc<Verdict>,
    pub(crate) places: Arc<BTreeMap<String, String>>,
}

/// Keeps what is known, and who is to look again when a ConfigMap changes.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    checked: Mutex<BTreeMap<Name, Checked>>,
    /// Rulesets by the ConfigMaps that they name.
    readers: Mutex<BTreeMap<Name, BTreeSet<String>>>,
    changes: AtomicU64,
}

/// A moment: what is found out after it may be overtaken by a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(u64);

impl Memory {
    pub(crate) fn now(&self) -> Moment {
        Moment(self.changes.load(Ordering::Acquire))
    }

    pub(crate) fn checked(&self, name: &Name, generation: Option<i64>) -> Option<Checked> {
        locked(&self.checked).get(name).filter(|checked| checked.generation == generation).cloned()
    }

    /// What the compiler said of these very texts, whatever the spec was then.
    pub(crate) fn verdict(&self, name: &Name, digest: Digest) -> Option<Arc<Verdict>> {
        let checked = locked(&self.checked);
        let good = checked.get(name)?.rules.as_ref().ok()?;
        (good.digest == digest).then(|| Arc::clone(&good.verdict))
    }

    /// Keeps what was found out since `since`, unless a ConfigMap changed meanwhile.
    pub(crate) fn keep(&self, name: &Name, since: Moment, checked: Checked) {
        let mut kept = locked(&self.checked);
        if self.now() == since {
            kept.insert(name.clone(), checked);
        }
    }

    /// The ruleset reads these ConfigMaps, and no others.
    pub(crate) fn reads(&self, (namespace, name): &Name, maps: &BTreeSet<&str>) {
        let mut readers = locked(&self.readers);
        for ((there, map), names) in readers.iter_mut().filter(|((there, _), _)| there == namespace) {
            debug_assert_eq!(there, namespace);
            if !maps.contains(map.as_str()) {
                names.remove(name);
            }
        }
        for map in maps {
            readers.entry((namespace.clone(), (*map).to_owned())).or_default().insert(name.clone());
        }
        readers.retain(|_, names| !names.is_empty());
    }

    /// A ConfigMap changed: what is known of its readers is not true any more. Returns them.
    pub(crate) fn changed(&self, map: &Name) -> Vec<String> {
        let names: Vec<_> = locked(&self.readers).get(map).into_iter().flatten().cloned().collect();
        let mut checked = locked(&self.checked);
        self.changes.fetch_add(1, Ordering::AcqRel);
        for name in &names {
            // The verdict may still be of use: often only metadata changed.
            if let Some(checked) = checked.get_mut(&(map.0.clone(), name.clone())) {
                checked.generation = None;
            }
        }
        names
    }

    pub(crate) fn forget(&self, name: &Name) {
        locked(&self.checked).remove(name);
        self.reads(name, &BTreeSet::new());
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> Name {
        ("team".to_owned(), name.to_owned())
    }

    fn good(text: &[u8]) -> Checked {
        let (digest, verdict, places) = (Digest::of(text), Arc::default(), Arc::default());
        Checked { generation: Some(1), rules: Ok(Good { digest, verdict, places }) }
    }

    #[test]
    fn what_is_known_holds_until_the_spec_or_a_config_map_changes() {
        let memory = Memory::default();
        memory.keep(&name("web"), memory.now(), good(b"a"));
        memory.reads(&name("web"), &["rules"].into());
        assert!(memory.checked(&name("web"), Some(1)).is_some());
        assert!(memory.checked(&name("web"), Some(2)).is_none());
        assert_eq!(memory.changed(&name("others")), [""; 0]);
        assert!(memory.checked(&name("web"), Some(1)).is_some());
        assert_eq!(memory.changed(&name("rules")), ["web"]);
        assert!(memory.checked(&name("web"), Some(1)).is_none());
        assert!(memory.verdict(&name("web"), Digest::of(b"a")).is_some(), "the same texts need no compiler");
        assert!(memory.verdict(&name("web"), Digest::of(b"b")).is_none());
    }

    #[test]
    fn what_was_read_before_a_change_is_not_kept() {
        let memory = Memory::default();
        memory.reads(&name("web"), &["rules"].into());
        let since = memory.now();
        memory.changed(&name("rules"));
        memory.keep(&name("web"), since, good(b"a"));
        assert!(memory.checked(&name("web"), Some(1)).is_none());
    }

    #[test]
    fn who_reads_it_no_more_is_not_woken() {
        let memory = Memory::default();
        memory.reads(&name("web"), &["a", "b"].into());
        memory.reads(&name("web"), &["b"].into());
        assert_eq!((memory.changed(&name("a")), memory.changed(&name("b"))), (vec![], vec!["web".to_owned()]));
        memory.forget(&name("web"));
        assert_eq!(memory.changed(&name("b")), [""; 0]);
    }
}
