use std::fmt;

use serde::{Deserialize, Serialize};
use types::{CorpusSelection, Digest, RulesetKey, RulesetVersion, Timestamp};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RulesetState {
    Active,
    /// Owes nothing until it is active again; leases under way may still settle.
    Paused,
    /// Ended. Pushing sources again makes it active.
    Retired,
}

impl fmt::Display for RulesetState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Retired => "retired",
        })
    }
}

/// How a ruleset's work stands against that of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Priority {
    /// Before everything else, new files under other rulesets included.
    Urgent,
    /// New files first, stored ones after them.
    #[default]
    Sweep,
    /// When nothing else is owed.
    Background,
}

impl Priority {
    /// What was written before there were priorities stays to the byte what it was.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A named set of YARA sources in numbered, immutable versions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ruleset {
    pub key: RulesetKey,
    pub state: RulesetState,
    pub corpora: CorpusSelection,
    /// Ascending by number, from 1, without gaps; never empty.
    pub versions: Vec<Version>,
    /// Units of the current version, sorted.
    units: Vec<Digest>,
    #[serde(default, skip_serializing_if = "Priority::is_default")]
    pub priority: Priority,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub number: RulesetVersion,
    pub digest: Digest,
    pub put_at: Timestamp,
    pub source_bytes: u64,
    /// Units of this version that the version before did not have.
    pub units_new: u32,
    /// Units that it had: their findings stay valid and are not scanned for again.
    pub units_carried: u32,
}

impl Ruleset {
    pub(crate) fn new(key: RulesetKey, corpora: CorpusSelection) -> Self {
        Self {
            key,
            state: RulesetState::Active,
            corpora,
            versions: Vec::new(),
            units: Vec::new(),
            priority: Priority::default(),
        }
    }

    /// The newest version, which is the one hunted with. A ruleset in the state has at least one.
    pub fn current(&self) -> &Version {
        self.versions.last().expect("a ruleset is stored together with its first version")
    }

    pub fn version(&self, number: RulesetVersion) -> Option<&Version> {
        self.versions.get((number.0 as usize).checked_sub(1)?)
    }

    pub(crate) fn push(&mut self, digest: Digest, units: Vec<Digest>, source_bytes: u64, now: Timestamp) {
        let count = |carried: bool| {
            let units = units.iter().filter(|unit| self.units.binary_search(unit).is_ok() == carried);
            u32::try_from(units.count()).unwrap_or(u32::MAX)
        };
        let version = Version {
            number: RulesetVersion(u32::try_from(self.versions.len()).unwrap_or(u32::MAX - 1) + 1),
            digest,
            put_at: now,
            source_bytes,
            units_new: count(false),
            units_carried: count(true),
        };
        self.versions.push(version);
        self.units = units;
    }
}
