//! Rolls that the operator itself causes, by being another one: so many clusters at a time, and the rest wait.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use super::plan::{Plan, Step};

/// Whether a roll has come to its end: every pod is of the wanted template and does what it is there for. Until then nobody else begins,
/// least of all when the new pods turn out not to work.
pub(crate) fn is_over(plan: &Plan) -> bool {
    plan.roll.is_none() && plan.step == Step::Nothing
}

/// Who is being rolled. Kept by one process: after a restart, those that were begun are let in first.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    taken: Mutex<BTreeSet<(String, String)>>,
}

impl Turns {
    /// Whether `key` may roll now. `begun`: some of its pods are new already, so it goes on whatever the limit.
    pub(crate) fn take(&self, key: &(String, String), begun: bool, limit: usize) -> bool {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.contains(key) {
            return true;
        }
        if begun || taken.len() < limit {
            taken.insert(key.clone());
            return true;
        }
        false
    }

    /// `key` has nothing to roll any more.
    pub(crate) fn give_back(&self, key: &(String, String)) {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_take_turns() {
        let (turns, key) = (Turns::default(), |name: &str| ("n".to_owned(), name.to_owned()));
        assert!(turns.take(&key("a"), false, 1));
        assert!(!turns.take(&key("b"), false, 1));
        assert!(turns.take(&key("a"), false, 1), "a goes on");
        turns.give_back(&key("a"));
        assert!(turns.take(&key("b"), false, 1));
        assert!(turns.take(&key("c"), true, 1), "what was begun is not left half done");
    }
}
