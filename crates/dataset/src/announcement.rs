//! Which version is to be served: pure decisions over the one small object that ever changes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use types::Timestamp;

use crate::{VersionId, manifest};

/// `announced.json`. It is replaced by compare-and-swap only, and each replacement adds 1 to `epoch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    pub format: u32,
    pub epoch: u64,
    /// The version to serve, unless one is pinned.
    pub version: Option<VersionId>,
    /// The one that a rollback returns to first.
    pub previous: Option<VersionId>,
    /// Overrides `version`, whatever is announced.
    pub pin: Option<VersionId>,
    /// Versions that are never chosen by themselves again.
    pub bad: BTreeMap<VersionId, Bad>,
}

/// Why a version is bad, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bad {
    pub at_ms: Timestamp,
    pub reason: String,
}

/// What came of an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// It is the announced version now.
    Current,
    /// It was already.
    Unchanged,
    /// A version built later was announced first; this one can be rolled back to.
    Superseded { by: VersionId },
}

/// Why nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    #[error("version {version} is marked bad ({reason}); pin it to serve it all the same")]
    Bad { version: VersionId, reason: String },
    #[error("no version is announced")]
    NothingAnnounced,
    #[error("version {pin} is pinned, so a rollback would change nothing; unpin it, or pin another")]
    Pinned { pin: VersionId },
    #[error("there is no good version older than {version} to return to; pin one to choose it all the same")]
    NothingToReturnTo { version: VersionId },
    #[error("no version is pinned")]
    NotPinned,
}

impl Default for Announcement {
    fn default() -> Self {
        Self { format: manifest::FORMAT, epoch: 0, version: None, previous: None, pin: None, bad: BTreeMap::new() }
    }
}

impl Announcement {
    /// The version to serve: the pin, else what is announced. `None` before the first announcement.
    pub fn target(&self) -> Option<VersionId> {
        self.pin.or(self.version)
    }

    pub fn is_bad(&self, version: VersionId) -> bool {
        self.bad.contains_key(&version)
    }

    /// A builder is done with `version`. Of two that build at a time the later sequence number wins, whoever is first.
    pub fn announce_built(&mut self, version: VersionId) -> Result<Announced, Refused> {
        match self.version {
            Some(by) if by > version => {
                if !self.is_bad(version) && self.previous.is_none_or(|previous| previous < version) {
                    self.previous = Some(version);
                }
                Ok(Announced::Superseded { by })
            }
            _ => self.announce(version),
        }
    }

    /// A person says so: older versions may be announced as well, bad ones not.
    pub fn announce(&mut self, version: VersionId) -> Result<Announced, Refused> {
        if let Some(bad) = self.bad.get(&version) {
            return Err(Refused::Bad { version, reason: bad.reason.clone() });
        }
        if self.version == Some(version) {
            return Ok(Announced::Unchanged);
        }
        self.previous = self.version.filter(|version| !self.is_bad(*version)).or(self.previous);
        self.version = Some(version);
        Ok(Announced::Current)
    }

    /// Serves `version` until it is unpinned, even if it is bad: then the mark is returned.
    pub fn pin(&mut self, version: VersionId) -> Option<&Bad> {
        self.pin = Some(version);
        self.bad.get(&version)
    }

    /// Returns the version that was pinned. What is served then is what is announced, never a bad version.
    pub fn unpin(&mut self) -> Result<VersionId, Refused> {
        self.pin.take().ok_or(Refused::NotPinned)
    }

    /// Marks the announced version bad and announces the one before: `previous`, or the newest good one of
    /// `existing` that is older. Returns (bad, announced now).
    pub fn roll_back(
        &mut self,
        existing: &[VersionId],
        reason: &str,
        now: Timestamp,
    ) -> Result<(VersionId, VersionId), Refused> {
        let version = self.version.ok_or(Refused::NothingAnnounced)?;
        if let Some(pin) = self.pin {
            return Err(Refused::Pinned { pin });
        }
        let good =
            |candidate: &VersionId| *candidate != version && !self.is_bad(*candidate) && existing.contains(candidate);
        let newest_before =
            |limit: VersionId| existing.iter().copied().filter(|candidate| *candidate < limit).filter(good).max();
        let previous = self.previous.filter(|candidate| good(candidate)).or_else(|| newest_before(version));
        let previous = previous.ok_or(Refused::NothingToReturnTo { version })?;
        let before_that = newest_before(previous);
        self.bad.insert(version, Bad { at_ms: now, reason: reason.to_owned() });
        self.version = Some(previous);
        self.previous = before_that;
        Ok((version, previous))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(sequence: u32) -> VersionId {
        VersionId::new(sequence, &crate::ContentDigest::default())
    }

    fn announced(versions: &[u32]) -> Announcement {
        let mut announcement = Announcement::default();
        for version in versions {
            announcement.announce_built(id(*version)).unwrap();
        }
        announcement
    }

    #[test]
    fn nothing_is_served_before_the_first_announcement() {
        assert_eq!(Announcement::default().target(), None);
    }

    #[test]
    fn the_newest_of_two_builders_wins_whoever_is_first() {
        for order in [[1, 2, 3], [1, 3, 2]] {
            let announcement = announced(&order);
            assert_eq!((announcement.version, announcement.previous), (Some(id(3)), Some(id(2))), "{order:?}");
        }
        assert_eq!(announced(&[1, 3]).announce_built(id(2)), Ok(Announced::Superseded { by: id(3) }));
    }

    #[test]
    fn a_rolled_back_version_is_never_chosen_by_itself_again() {
        let mut announcement = announced(&[1, 2, 3]);
        let existing = [id(1), id(2), id(3)];
        assert_eq!(announcement.roll_back(&existing, "wrong", Timestamp(9)), Ok((id(3), id(2))));
        assert_eq!(announcement.target(), Some(id(2)));
        assert_eq!(announcement.bad[&id(3)], Bad { at_ms: Timestamp(9), reason: "wrong".to_owned() });
        assert!(matches!(announcement.announce_built(id(3)), Err(Refused::Bad { .. })));
        assert_eq!(announcement.roll_back(&existing, "wrong too", Timestamp(10)), Ok((id(2), id(1))));
        let before = announcement.clone();
        assert_eq!(
            announcement.roll_back(&existing, "all", Timestamp(11)),
            Err(Refused::NothingToReturnTo { version: id(1) })
        );
        assert_eq!(announcement, before, "a refusal changes nothing");
        announcement.announce_built(id(4)).unwrap();
        assert_eq!(announcement.roll_back(&existing, "again", Timestamp(12)), Ok((id(4), id(1))), "not to 3, nor to 2");
    }

    #[test]
    fn a_rollback_passes_over_versions_that_are_gone() {
        let mut announcement = announced(&[1, 2, 3]);
        assert_eq!(announcement.roll_back(&[id(1), id(3)], "wrong", Timestamp(1)), Ok((id(3), id(1))));
    }

    #[test]
    fn a_pin_overrides_all_and_may_be_bad() {
        let mut announcement = announced(&[1, 2]);
        announcement.roll_back(&[id(1), id(2)], "wrong", Timestamp(1)).unwrap();
        assert_eq!(announcement.pin(id(2)).unwrap().reason, "wrong");
        announcement.announce_built(id(3)).unwrap();
        assert_eq!(announcement.target(), Some(id(2)));
        let refused = announcement.roll_back(&[id(1), id(2), id(3)], "wrong", Timestamp(2));
        assert_eq!(refused, Err(Refused::Pinned { pin: id(2) }));
        assert_eq!(announcement.unpin(), Ok(id(2)));
        assert_eq!(announcement.target(), Some(id(3)), "what was announced meanwhile is served");
        assert_eq!(announcement.unpin(), Err(Refused::NotPinned));
    }
}
