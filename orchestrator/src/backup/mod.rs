//! The state in object storage, from which a new cluster can be founded when this one is lost.
//!
//! ```text
//! frozen view ──► file (header, zstd state, SHA-256) ──► <url>/<UTC time>-<cluster id>-<log index>.backup
//! ```
//!
//! A backup is written as one object, whole or not at all, and read back only if its checksum holds. What lies in the
//! cluster's own object storage (manifests, findings) is not copied: it is never changed, and the state names it.

mod file;
mod place;
mod restore;
mod schedule;

pub(crate) use place::{Backup, Place};
pub(crate) use restore::{Wish, restore};
pub use schedule::Schedule;
pub(crate) use schedule::{Desk, keep};

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no place for backups was named, neither in the call nor by --backup-url")]
    NoPlace,
    #[error("failed to open {url} for backups")]
    Open { url: String, source: store::Error },
    #[error("failed to use {url} for backups")]
    Storage { url: String, source: store::Error },
    #[error("there is no backup at {url}")]
    Missing { url: String },
    #[error("{url} is no backup that this program can read: {what}")]
    Damaged { url: String, what: String },
    #[error("{cluster_id:?} is the name of the cluster that was backed up; a restored one is a new cluster")]
    SameCluster { cluster_id: String },
    #[error("failed to pack the state")]
    Pack { source: io::Error },
    #[error("failed to write the restored state to {dir}")]
    Disk { dir: std::path::PathBuf, source: io::Error },
    #[error(transparent)]
    Identity(#[from] crate::identity::Error),
}

impl Error {
    /// Whether the same call may succeed later.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Open { source, .. } | Self::Storage { source, .. } => source.is_retryable(),
            Self::Disk { .. } => true,
            Self::NoPlace
            | Self::Missing { .. }
            | Self::Damaged { .. }
            | Self::SameCluster { .. }
            | Self::Pack { .. }
            | Self::Identity(_) => false,
        }
    }
}

/// An error with its causes, for those far away.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
