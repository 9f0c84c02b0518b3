//! What is told about a dataset: at `GET /datasets`, by `KV.DATASETS`, in metrics, and between the manager and the server.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use dataset::VersionId;
use serde::{Deserialize, Serialize};

use super::decide::{Announced, Millis, Observed};

/// One dataset of a server. As JSON this is one flat object.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    pub name: String,
    /// Where its versions come from. Empty for a directory that is served as it is.
    pub url: String,
    #[serde(flatten)]
    pub observed: Observed,
    #[serde(flatten)]
    pub report: Report,
    /// When the served version was built; its age is the age of the data.
    pub serving_created_at_ms: Option<Millis>,
    /// Since when it is served by this process.
    pub serving_since_ms: Option<Millis>,
    /// Keys of the served version in the shards that this server has.
    pub keys: u64,
    pub switches: u64,
    pub rollbacks: u64,
}

/// The manager's part of a [`Status`]: it alone knows object storage, and what it is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    pub state: State,
    /// What `state` is about, if not about the served version.
    pub version: Option<VersionId>,
    /// Open and warm: a switch to it is one pointer store.
    pub ready: Option<VersionId>,
    #[serde(flatten)]
    pub announcement: Announcement,
    /// When object storage told the announcement last. `None`: not since this manager started.
    pub announcement_read_at_ms: Option<Millis>,
    /// Of the download under way: bytes here, and bytes in all.
    pub progress: Option<Progress>,
    /// From when on a version that failed is tried again.
    pub retry_at_ms: Option<Millis>,
    /// Stays until a later version is served.
    pub last_error: Option<LastError>,
    pub counters: Counters,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Announcement {
    pub epoch: u64,
    pub announced: Option<VersionId>,
    pub announced_previous: Option<VersionId>,
    pub pinned: Option<VersionId>,
    pub bad: BTreeSet<VersionId>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No manager has said anything yet.
    #[default]
    Unknown,
    /// Serves what it should.
    Serving,
    /// The next version waits to be told.
    Ready,
    Downloading,
    Verifying,
    Opening,
    /// The last try failed; see `last_error`.
    BackingOff,
    /// Object storage does not answer, and something is wanted from it.
    Unreachable,
    /// Nothing is announced, or nothing that is not marked bad.
    NothingAllowed,
    /// A directory that is served as it is; no manager cares for it.
    Fixed,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Serving => "serving",
            Self::Ready => "ready",
            Self::Downloading => "downloading",
            Self::Verifying => "verifying",
            Self::Opening => "opening",
            Self::BackingOff => "backing_off",
            Self::Unreachable => "unreachable",
            Self::NothingAllowed => "nothing_allowed",
            Self::Fixed => "fixed",
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    pub bytes: u64,
    pub total: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    pub at_ms: Millis,
    pub version: Option<VersionId>,
    pub kind: Kind,
    /// The error with its causes.
    pub error: String,
    /// The file within the version, and where in it, as far as the error is about one.
    pub file: Option<String>,
    pub offset: Option<u64>,
}

/// What an error means for what comes next; the label of the metric that counts errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Object storage does not answer, too late, or with an error.
    Storage,
    /// The bytes are not the ones that were built.
    Verification,
    /// This machine's disk has no room.
    NoSpace,
    /// This machine's disk or memory, in another way.
    Local,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Storage, Self::Verification, Self::NoSpace, Self::Local];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Storage => "storage",
            Self::Verification => "verification",
            Self::NoSpace => "no_space",
            Self::Local => "local",
        }
    }
}

/// Since the manager started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    pub downloaded_bytes: u64,
    pub downloads: u64,
    pub verifications: u64,
    pub storage_failures: u64,
    pub verification_failures: u64,
    pub no_space_failures: u64,
    pub local_failures: u64,
}

impl Counters {
    pub fn failures(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Storage => self.storage_failures,
            Kind::Verification => self.verification_failures,
            Kind::NoSpace => self.no_space_failures,
            Kind::Local => self.local_failures,
        }
    }

    pub(crate) fn count_failure(&mut self, kind: Kind) {
        *match kind {
            Kind::Storage => &mut self.storage_failures,
            Kind::Verification => &mut self.verification_failures,
            Kind::NoSpace => &mut self.no_space_failures,
            Kind::Local => &mut self.local_failures,
        } += 1;
    }
}

impl From<&dataset::Announcement> for Announcement {
    fn from(read: &dataset::Announcement) -> Self {
        let dataset::Announcement { format: _, epoch, version, previous, pin, bad } = read.clone();
        let bad = bad.into_keys().collect();
        Self { epoch, announced: version, announced_previous: previous, pinned: pin, bad }
    }
}

impl From<&Announcement> for Announced {
    fn from(announcement: &Announcement) -> Self {
        let Announcement { epoch, announced, announced_previous, pinned, bad } = announcement.clone();
        Self { epoch, version: announced, previous: announced_previous, pin: pinned, bad }
    }
}

impl Status {
    /// Whether it answers. A directory that is served as it is was opened before anything else could be asked.
    pub fn is_served(&self) -> bool {
        self.observed.serving.is_some() || self.report.state == State::Fixed
    }

    /// How old the served data is.
    pub fn age(&self) -> Option<Duration> {
        Some(Duration::from_millis(now_ms().saturating_sub(self.serving_created_at_ms?)))
    }
}

pub(crate) fn now_ms() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}
