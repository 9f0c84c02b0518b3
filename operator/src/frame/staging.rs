//! Pods that would be replaced only because the operator is another one: so many pools at a time, and the rest wait.
//!
//! What is applied says of itself what it was made from. A template that differs although nobody changed the resource was made by another
//! operator.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::PodTemplateSpec;
use tokio::time::Instant;

use super::pods;

/// Digest of what the resource alone says of the template.
const REQUESTED: &str = "dragnet.dev/requested";
/// Generation of the resource that it was applied for.
const GENERATION: &str = "dragnet.dev/generation";
/// Digest of the template.
const TEMPLATE: &str = "dragnet.dev/template";

/// A pool waits for the one before so long at most.
const TURN: Duration = Duration::from_secs(600);

pub(crate) type Annotations = BTreeMap<String, String>;
type Key = (String, String);

/// What a Deployment or StatefulSet says of what it was made from. `requested`: all that a person can change of the template.
pub(crate) fn annotations(
    template: &PodTemplateSpec,
    requested: &serde_json::Value,
    generation: Option<i64>,
) -> Annotations {
    BTreeMap::from([
        (REQUESTED.to_owned(), pods::digest_of(&requested.to_string())),
        (TEMPLATE.to_owned(), pods::digest(template)),
        (GENERATION.to_owned(), generation.unwrap_or(0).to_string()),
    ])
}

/// Whose pods are being replaced for the operator's own sake.
#[derive(Debug)]
pub(crate) struct Staging {
    born: Instant,
    /// Since when.
    rolling: Mutex<BTreeMap<Key, Duration>>,
}

impl Default for Staging {
    fn default() -> Self {
        Self { born: Instant::now(), rolling: Mutex::default() }
    }
}

impl Staging {
    /// Whether `key` has to wait, `limit` others being replaced for that already. `settled`: all its pods are there and of the template
    /// that exists.
    pub(crate) fn has_to_wait(
        &self,
        key: &Key,
        (existing, wanted): (&Annotations, &Annotations),
        settled: bool,
        limit: usize,
    ) -> bool {
        self.has_to_wait_at(self.born.elapsed(), key, (existing, wanted), settled, limit)
    }

    fn has_to_wait_at(
        &self,
        now: Duration,
        key: &Key,
        (existing, wanted): (&Annotations, &Annotations),
        settled: bool,
        limit: usize,
    ) -> bool {
        let same = |annotation: &str| existing.get(annotation) == wanted.get(annotation);
        let mut rolling = self.rolling.lock().unwrap_or_else(PoisonError::into_inner);
        rolling
            .retain(|other, since| (other != key || !settled || !same(TEMPLATE)) && now.saturating_sub(*since) < TURN);
        let asked_for = !same(REQUESTED) && !same(GENERATION);
        if same(TEMPLATE) || asked_for || rolling.contains_key(key) {
            return false;
        }
        if rolling.len() < limit {
            rolling.insert(key.clone(), now);
            return false;
        }
        true
    }
}

/// Leaves the pods as they are: `wanted` gets the template that exists, and says so.
pub(crate) fn keep_template(
    (template, annotations): (&mut PodTemplateSpec, &mut Annotations),
    (existing, existing_annotations): (&PodTemplateSpec, &Annotations),
) {
    template.clone_from(existing);
    for key in [TEMPLATE, REQUESTED, GENERATION] {
        if let Some(value) = existing_annotations.get(key) {
            annotations.insert(key.to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(template: &str, requested: &str, generation: &str) -> Annotations {
        let all = [(TEMPLATE, template), (REQUESTED, requested), (GENERATION, generation)];
        all.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    fn key(name: &str) -> Key {
        ("n".to_owned(), name.to_owned())
    }

    #[test]
    fn pools_take_turns_when_nobody_asked() {
        let (staging, old, new) = (Staging::default(), made("1", "r", "1"), made("2", "r", "1"));
        let waits = |name: &str, existing: &Annotations, settled| {
            staging.has_to_wait_at(Duration::ZERO, &key(name), (existing, &new), settled, 1)
        };
        assert!(!waits("a", &old, true));
        assert!(waits("b", &old, true));
        assert!(!waits("a", &new, false), "it goes on");
        assert!(waits("b", &old, true), "a is not whole yet");
        assert!(!waits("a", &new, true));
        assert!(!waits("b", &old, true), "a is");
    }

    #[test]
    fn what_somebody_asked_for_is_done_at_once() {
        let (staging, old) = (Staging::default(), made("1", "r", "1"));
        let waits = |name: &str, wanted: &Annotations| {
            staging.has_to_wait_at(Duration::ZERO, &key(name), (&old, wanted), true, 1)
        };
        assert!(!waits("a", &made("2", "r", "1")));
        assert!(!waits("b", &made("2", "other", "2")));
        assert!(waits("c", &made("2", "r", "2")), "another field was changed, which is no reason");
    }

    #[test]
    fn one_that_never_becomes_whole_does_not_hold_up_the_others_for_ever() {
        let (staging, old, new) = (Staging::default(), made("1", "r", "1"), made("2", "r", "1"));
        let waits = |now, name: &str| staging.has_to_wait_at(now, &key(name), (&old, &new), false, 1);
        assert!(!waits(Duration::ZERO, "a"));
        assert!(waits(TURN / 2, "b"));
        assert!(!waits(TURN, "b"));
    }
}
