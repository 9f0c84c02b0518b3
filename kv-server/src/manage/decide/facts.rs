//! What a decision is made from, and what it is: plain values.

use std::collections::{BTreeMap, BTreeSet};

use dataset::VersionId;
use serde::{Deserialize, Serialize};

/// Milliseconds since the Unix epoch. A number and not a clock: it arrives with the facts.
pub type Millis = u64;

/// What the server has open, and what people told it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Observed {
    pub serving: Option<VersionId>,
    /// What was served before `serving`, kept open so that a rollback is one pointer store.
    pub previous: Option<VersionId>,
    /// Open and warm, whether a pointer leads to it or not; holds `serving` and `previous` too.
    pub opened: BTreeSet<VersionId>,
    /// Taken out of service, but a reader still holds it.
    pub readers: BTreeSet<VersionId>,
    /// What was served when the process ended last time; what it should come back with.
    pub last_served: Option<VersionId>,
    pub order: Option<Order>,
    /// Versions that this server was told to leave.
    pub rolled_back: BTreeSet<VersionId>,
}

/// Somebody told this server which version to serve. Holds until the announcement's next epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub version: VersionId,
    /// The announcement's epoch when the order was given.
    pub epoch: u64,
    /// A failure that is older than the order does not stand in its way: "retry" is told by ordering again.
    pub at: Millis,
}

/// The announcement, as last read from object storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announced {
    pub epoch: u64,
    pub version: Option<VersionId>,
    pub previous: Option<VersionId>,
    pub pin: Option<VersionId>,
    pub bad: BTreeSet<VersionId>,
}

/// What is on this machine's disk, and what the manager is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Local {
    /// Whole, and its files are the ones that were verified.
    pub verified: BTreeSet<VersionId>,
    /// In place, but changed since, or never verified by this server.
    pub unverified: BTreeSet<VersionId>,
    /// Versions that could not be had, with the moment from which on another try is allowed.
    pub failures: BTreeMap<VersionId, Failure>,
    /// The one job under way.
    pub working: Option<VersionId>,
    /// Whether object storage answered last time.
    pub reachable: bool,
    pub now: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub at: Millis,
    pub retry_at: Millis,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub switch: SwitchMode,
    /// How many versions stay on disk besides the one that is served; at least the previous one does.
    pub keep: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SwitchMode {
    /// A version that is ready is served at once.
    #[default]
    Auto,
    /// A version that is ready waits for `POST /datasets/{name}/switch`.
    WhenTold,
}

/// The next thing to do about a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Fetch from object storage and verify; whole in the end, or not there at all.
    Download(VersionId),
    /// Read what lies on disk and compare it with its manifest.
    Verify(VersionId),
    /// Open and warm beside what is served.
    Open(VersionId),
    /// Answer from this one from now on. It is open.
    Switch(VersionId),
    /// Stop the job: what it works on is wanted no longer.
    Cancel(VersionId),
    /// Let go of a version that is open for nothing.
    Close(VersionId),
    /// Delete from disk.
    Remove(VersionId),
    Rest(Rest),
}

/// Why there is nothing to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The version that should be served is.
    Serving,
    /// Waits to be told.
    Ready(VersionId),
    Working(VersionId),
    BackingOff {
        version: VersionId,
        until: Millis,
    },
    /// Object storage has what is wanted, and does not answer.
    Unreachable(VersionId),
    /// Nothing is announced that this server may serve.
    NothingAllowed,
}
