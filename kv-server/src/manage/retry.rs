//! What failed, and when it is tried again. Pure: the moment is handed in.

use std::{collections::BTreeMap, time::Duration};

use dataset::VersionId;
use serde::{Deserialize, Serialize};

use super::{
    decide::{Failure, Millis},
    status::{Kind, LastError},
};

/// The pause after the first failure of a kind, doubled with each further one up to the longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// After failures of object storage: they heal by themselves, and a try costs little.
    pub storage: Pause,
    /// After all others: the same bytes will most likely fail the same way, and a try downloads them all.
    pub other: Pause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    pub first: Duration,
    pub longest: Duration,
}

const LOOK_FOR_ROOM: Duration = Duration::from_secs(30);

impl Default for Pauses {
    fn default() -> Self {
        Self {
            storage: Pause { first: Duration::from_secs(1), longest: Duration::from_secs(30) },
            other: Pause { first: Duration::from_secs(60), longest: Duration::from_secs(60 * 60) },
        }
    }
}

impl Pauses {
    fn after(&self, kind: Kind, attempts: u32) -> Duration {
        let pause = match kind {
            Kind::Storage => self.storage,
            // Whether there is room is found out before anything is fetched.
            Kind::NoSpace => Pause { first: self.other.first.min(LOOK_FOR_ROOM), longest: LOOK_FOR_ROOM },
            Kind::Verification | Kind::Local => self.other,
        };
        pause.first.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1))).min(pause.longest)
    }
}

/// One version that could not be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failed {
    pub(crate) attempts: u32,
    pub(crate) retry_at: Millis,
    pub(crate) error: LastError,
}

/// All versions that could not be had, by version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failures(BTreeMap<VersionId, Failed>);

/// More are never of use: the oldest versions are forgotten.
const REMEMBERED: usize = 64;

impl Failures {
    pub(crate) fn add(&mut self, version: VersionId, error: LastError, pauses: &Pauses) -> Millis {
        // Failures of different kinds say nothing about one another: counting begins anew.
        let before = self.0.get(&version).filter(|failed| failed.error.kind == error.kind);
        let attempts = before.map_or(0, |failed| failed.attempts).saturating_add(1);
        let pause = pauses.after(error.kind, attempts).as_millis();
        let retry_at = error.at_ms.saturating_add(Millis::try_from(pause).unwrap_or(Millis::MAX));
        self.0.insert(version, Failed { attempts, retry_at, error });
        while self.0.len() > REMEMBERED {
            self.0.pop_first();
        }
        retry_at
    }

    pub(crate) fn forget(&mut self, version: VersionId) -> bool {
        self.0.remove(&version).is_some()
    }

    /// A restart, or storage that answers again, is a good moment to try what only storage failed.
    pub(crate) fn forget_storage(&mut self) {
        self.0.retain(|_, failed| failed.error.kind != Kind::Storage);
    }

    pub(crate) fn latest(&self) -> Option<&LastError> {
        self.0.values().map(|failed| &failed.error).max_by_key(|error| error.at_ms)
    }

    pub(crate) fn to_facts(&self) -> BTreeMap<VersionId, Failure> {
        let facts = self
            .0
            .iter()
            .map(|(version, failed)| (*version, Failure { at: failed.error.at_ms, retry_at: failed.retry_at }));
        facts.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> VersionId {
        "000007-1a2b3c4d".parse().unwrap()
    }

    fn error(kind: Kind, at_ms: Millis) -> LastError {
        LastError { at_ms, version: Some(version()), kind, error: "no".to_owned(), file: None, offset: None }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let (mut failures, pauses) = (Failures::default(), Pauses::default());
        let mut pause = |kind| failures.add(version(), error(kind, 1_000_000), &pauses) - 1_000_000;
        assert_eq!([pause(Kind::Verification), pause(Kind::Verification)], [60_000, 120_000]);
        let longest = (0..60).map(|_| pause(Kind::Verification)).last();
        assert_eq!(longest, Some(3_600_000));
        assert_eq!(pause(Kind::Storage), 1_000, "another kind begins anew");
        assert_eq!([pause(Kind::NoSpace), pause(Kind::NoSpace)], [30_000, 30_000]);
    }

    #[test]
    fn storage_failures_do_not_outlive_the_storage_that_failed() {
        let (mut failures, pauses) = (Failures::default(), Pauses::default());
        failures.add(version(), error(Kind::Storage, 1), &pauses);
        failures.forget_storage();
        assert_eq!(failures, Failures::default());
        failures.add(version(), error(Kind::Verification, 1), &pauses);
        failures.forget_storage();
        assert_eq!(failures.to_facts()[&version()], Failure { at: 1, retry_at: 60_001 });
        assert!(failures.forget(version()));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (mut failures, pauses) = (Failures::default(), Pauses::default());
        for sequence in 0..200 {
            let version = format!("{sequence:06}-1a2b3c4d").parse().unwrap();
            failures.add(version, error(Kind::Verification, 1), &pauses);
        }
        assert_eq!(failures.0.len(), REMEMBERED);
        assert!(failures.0.keys().next_back().unwrap().to_string().starts_with("000199"));
    }
}
