//! What is seen of a dataset's servers: plain values, however they were found out.

use std::collections::BTreeSet;

use crd::Baseline;

/// One pod that serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) pod: String,
    /// The part of the keys that it holds.
    pub(crate) shard: u16,
    /// As Kubernetes sees its pod.
    pub(crate) ready: bool,
    pub(crate) restarts: i32,
    /// What it says of itself; `None` if it does not answer.
    pub(crate) seen: Option<Seen>,
}

/// What a server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) serving: Option<String>,
    /// Open and warm: it would be served at once.
    pub(crate) prepared: Option<String>,
    /// The version that it was told to serve.
    pub(crate) ordered: Option<String>,
    /// In the server's own words.
    pub(crate) state: String,
    pub(crate) keys: i64,
    /// The version that is announced in object storage,
    pub(crate) announced: Option<String>,
    /// one that is pinned there,
    pub(crate) pinned: Option<String>,
    /// and those that are marked bad there.
    pub(crate) bad: BTreeSet<String>,
    pub(crate) last_error: Option<VersionError>,
    /// Requests answered, and reads that failed, since it started.
    pub(crate) requests: i64,
    pub(crate) errors: i64,
}

/// Why a server could not bring a version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct VersionError {
    pub(crate) version: Option<String>,
    /// The bytes are not what was built, so that trying again will not help.
    pub(crate) is_final: bool,
    pub(crate) text: String,
}

impl Server {
    pub(crate) fn serving(&self) -> Option<&str> {
        self.seen.as_ref()?.serving.as_deref()
    }

    pub(crate) fn serves(&self, version: &str) -> bool {
        self.serving() == Some(version)
    }

    pub(crate) fn is_prepared(&self, version: &str) -> bool {
        self.serves(version) || self.seen.as_ref().is_some_and(|seen| seen.prepared.as_deref() == Some(version))
    }

    /// Whether it was told to serve the version, and is about it. To be told again would make it begin anew.
    pub(crate) fn is_about(&self, version: &str) -> bool {
        let seen = self.seen.as_ref();
        seen.is_some_and(|seen| seen.ordered.as_deref() == Some(version) && seen.prepared.as_deref() != Some(version))
    }

    pub(crate) fn baseline(&self) -> Baseline {
        let seen = self.seen.clone().unwrap_or_default();
        Baseline { keys: seen.keys, restarts: self.restarts, requests: seen.requests, errors: seen.errors }
    }
}
