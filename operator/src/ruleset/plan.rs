//! What is to be done about a ruleset: decided here, from what is wanted and what the cluster has.

use std::{collections::BTreeSet, time::Duration};

use crd::{PriorityClass, YaraRulesetSpec};
use jiff::Timestamp;
use protocol::v1;
use types::Digest;

/// The longest time until somebody looks at an expiry again; clocks are set now and then.
const LONGEST: Duration = Duration::from_secs(3600);

/// What the spec comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Desired {
    /// Of sources that compile; `None` if there are none, so that nothing can be pushed.
    pub(crate) digest: Option<Digest>,
    pub(crate) corpora: BTreeSet<String>,
    pub(crate) priority: PriorityClass,
    pub(crate) intent: Intent,
    /// From now; `None` if that never happens.
    pub(crate) expires_in: Option<Duration>,
}

/// Whether it is to hunt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Intent {
    Hunt,
    Pause,
    Expire,
}

/// One call to the cluster. Each may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Sends sources and corpora; the ruleset hunts with them from then on.
    Push,
    SetState(v1::RulesetState),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) step: Option<Step>,
    /// When to look again although nothing happened.
    pub(crate) look_again: Option<Duration>,
}

impl Desired {
    pub(crate) fn of(spec: &YaraRulesetSpec, digest: Option<Digest>, now: Timestamp) -> Self {
        let left = spec.expires.as_ref().map(|at| at.0.as_second().saturating_sub(now.as_second()));
        let expires_in = left.map(|left| Duration::from_secs(u64::try_from(left).unwrap_or(0)));
        let intent = match (expires_in, spec.paused) {
            (Some(Duration::ZERO), _) => Intent::Expire,
            (_, true) => Intent::Pause,
            (_, false) => Intent::Hunt,
        };
        let (corpora, priority) = (spec.corpora.iter().cloned().collect(), spec.priority_class);
        Self { digest, corpora, priority, intent, expires_in }
    }
}

/// The next step towards `desired`; `has` is the ruleset as the cluster has it.
///
/// While it is paused nothing is pushed, since a push makes it hunt; what changed meanwhile is pushed when it goes on.
/// Rules that do not compile are never pushed, and the version before them hunts on; it can still be paused.
pub(crate) fn plan(desired: &Desired, has: Option<&v1::Ruleset>) -> Plan {
    let Desired { digest, intent, expires_in, .. } = desired;
    let state = has.map(v1::Ruleset::state);
    let step = match (intent, state) {
        (Intent::Expire | Intent::Pause, None) => None,
        (Intent::Expire, Some(v1::RulesetState::Retired)) | (Intent::Pause, Some(v1::RulesetState::Paused)) => None,
        (Intent::Expire, Some(_)) => Some(Step::SetState(v1::RulesetState::Retired)),
        (Intent::Pause, Some(v1::RulesetState::Retired)) => None,
        (Intent::Pause, Some(_)) => Some(Step::SetState(v1::RulesetState::Paused)),
        (Intent::Hunt, None) => digest.map(|_| Step::Push),
        (Intent::Hunt, Some(state)) => match (digest, has.is_some_and(|has| is_same(has, desired))) {
            (Some(_), false) => Some(Step::Push),
            (_, true) | (None, false) => match state {
                v1::RulesetState::Active | v1::RulesetState::Unspecified => None,
                v1::RulesetState::Paused => Some(Step::SetState(v1::RulesetState::Active)),
                // Only sources bring it back, and without good ones there are none.
                v1::RulesetState::Retired => digest.map(|_| Step::Push),
            },
        },
    };
    let look_again = expires_in.filter(|left| !left.is_zero()).map(|left| (left + Duration::from_secs(1)).min(LONGEST));
    Plan { step, look_again }
}

/// Whether the cluster has these sources, and hunts where and when the spec says.
fn is_same(has: &v1::Ruleset, desired: &Desired) -> bool {
    let Desired { digest, corpora, priority, intent: _, expires_in: _ } = desired;
    let current = current(has).and_then(|version| version.version.as_ref()?.digest().ok());
    let has_priority = match has.priority() {
        v1::RulesetPriority::Unspecified | v1::RulesetPriority::Sweep => PriorityClass::Sweep,
        v1::RulesetPriority::Background => PriorityClass::Background,
        v1::RulesetPriority::Urgent => PriorityClass::Urgent,
    };
    digest.is_some()
        && current == *digest
        && has.corpora.iter().cloned().collect::<BTreeSet<_>>() == *corpora
        && has_priority == *priority
}

/// The version that hunts.
pub(crate) fn current(has: &v1::Ruleset) -> Option<&v1::RulesetVersion> {
    has.versions.last()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &[u8] = b"a";
    const B: &[u8] = b"b";

    fn desired(digest: Option<&[u8]>, intent: Intent) -> Desired {
        let digest = digest.map(|part| Digest::of_parts([part]));
        Desired { digest, corpora: BTreeSet::new(), priority: PriorityClass::Sweep, intent, expires_in: None }
    }

    fn has(digest: &[u8], state: v1::RulesetState) -> v1::Ruleset {
        let digest = Digest::of_parts([digest]).as_bytes().to_vec();
        let version = v1::VersionRef { number: 1, digest };
        let version = v1::RulesetVersion { version: Some(version), ..v1::RulesetVersion::default() };
        v1::Ruleset { state: state.into(), versions: vec![version], ..v1::Ruleset::default() }
    }

    fn step(desired: &Desired, has: Option<&v1::Ruleset>) -> Option<Step> {
        plan(desired, has).step
    }

    #[test]
    fn new_or_changed_rules_are_pushed_and_equal_ones_are_not() {
        let active = v1::RulesetState::Active;
        let wanted = desired(Some(A), Intent::Hunt);
        assert_eq!(step(&wanted, None), Some(Step::Push));
        assert_eq!(step(&wanted, Some(&has(B, active))), Some(Step::Push));
        assert_eq!(step(&wanted, Some(&has(A, active))), None);
        let mut elsewhere = wanted.clone();
        elsewhere.corpora.insert("incoming".to_owned());
        assert_eq!(step(&elsewhere, Some(&has(A, active))), Some(Step::Push), "other corpora");
        let urgent = Desired { priority: PriorityClass::Urgent, ..wanted };
        assert_eq!(step(&urgent, Some(&has(A, active))), Some(Step::Push), "another priority");
    }

    #[test]
    fn broken_rules_leave_the_version_before_alone() {
        let broken = desired(None, Intent::Hunt);
        assert_eq!(step(&broken, None), None);
        assert_eq!(step(&broken, Some(&has(A, v1::RulesetState::Active))), None);
        let resumed = Some(Step::SetState(v1::RulesetState::Active));
        assert_eq!(step(&broken, Some(&has(A, v1::RulesetState::Paused))), resumed);
        assert_eq!(step(&broken, Some(&has(A, v1::RulesetState::Retired))), None);
    }

    #[test]
    fn a_pause_pushes_nothing_and_what_changed_meanwhile_is_pushed_after_it() {
        let paused = Some(Step::SetState(v1::RulesetState::Paused));
        assert_eq!(step(&desired(Some(B), Intent::Pause), Some(&has(A, v1::RulesetState::Active))), paused);
        assert_eq!(step(&desired(Some(B), Intent::Pause), Some(&has(A, v1::RulesetState::Paused))), None);
        assert_eq!(step(&desired(Some(B), Intent::Pause), None), None);
        assert_eq!(step(&desired(Some(B), Intent::Hunt), Some(&has(A, v1::RulesetState::Paused))), Some(Step::Push));
        let resumed = Some(Step::SetState(v1::RulesetState::Active));
        assert_eq!(step(&desired(Some(A), Intent::Hunt), Some(&has(A, v1::RulesetState::Paused))), resumed);
    }

    #[test]
    fn what_expired_is_retired_and_a_later_time_brings_it_back() {
        let retired = Some(Step::SetState(v1::RulesetState::Retired));
        assert_eq!(step(&desired(Some(A), Intent::Expire), Some(&has(A, v1::RulesetState::Active))), retired);
        assert_eq!(step(&desired(Some(A), Intent::Expire), Some(&has(A, v1::RulesetState::Retired))), None);
        assert_eq!(step(&desired(Some(A), Intent::Expire), None), None, "nothing is pushed only to be retired");
        assert_eq!(step(&desired(Some(A), Intent::Hunt), Some(&has(A, v1::RulesetState::Retired))), Some(Step::Push));
    }

    #[test]
    fn an_expiry_is_looked_at_when_it_comes() {
        let now: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
        let of = |expires: &str, paused| {
            let spec = serde_json::json!({"sources": [], "expires": expires, "paused": paused});
            Desired::of(&serde_json::from_value(spec).unwrap(), None, now)
        };
        let soon = of("2027-01-01T00:00:30Z", false);
        assert_eq!((soon.intent, plan(&soon, None).look_again), (Intent::Hunt, Some(Duration::from_secs(31))));
        let over = of("2026-12-31T23:59:59+00:00", true);
        assert_eq!((over.intent, plan(&over, None).look_again), (Intent::Expire, None));
        assert_eq!(plan(&of("2028-01-01T00:00:00Z", true), None).look_again, Some(LONGEST));
    }
}
