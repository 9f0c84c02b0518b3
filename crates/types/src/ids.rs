use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A corpus inside one cluster; never reused.
    CorpusId(u32)
}
id! {
    /// A ruleset inside one cluster; never reused.
    RulesetId(u32)
}
id! {
    /// A version of one ruleset, from 1, without gaps.
    RulesetVersion(u32)
}
id! {
    /// A segment's place inside its corpus, from 0, without gaps.
    SegmentOrdinal(u32)
}
id! {
    /// A file's place inside its segment's manifest, from 0, without gaps.
    FileOrdinal(u32)
}
id! {
    /// A Raft member. Never reused: a member that lost its volume comes back under a new one.
    NodeId(u64)
}
id! {
    /// Milliseconds since the Unix epoch, as stamped by a leader.
    Timestamp(u64)
}

impl Timestamp {
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

/// One worker's live connection. The pair (log index, slot in the entry) that opened it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct SessionId {
    pub index: u64,
    pub slot: u32,
}

/// A worker's right to run one job, and its fencing token: the pair (log index, slot in the entry)
/// of the grant, so it is unique and grows with the log whatever the leader's term.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct LeaseId {
    pub index: u64,
    pub slot: u32,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}-{}", self.index, self.slot)
    }
}

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.index, self.slot)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a lease id is INDEX-SLOT, not {text:?}")]
pub struct LeaseIdError {
    text: String,
}

impl FromStr for LeaseId {
    type Err = LeaseIdError;
    fn from_str(text: &str) -> Result<Self, LeaseIdError> {
        let parsed = text
            .split_once('-')
            .and_then(|(index, slot)| Some(Self { index: index.parse().ok()?, slot: slot.parse().ok()? }));
        parsed.ok_or_else(|| LeaseIdError { text: text.chars().take(80).collect() })
    }
}
