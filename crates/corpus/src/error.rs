use std::{io, path::PathBuf};

use types::Digest;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL cannot be used, by this build or at all.
    #[error("cannot use {url:?} as a corpus: {reason}")]
    Url { url: String, reason: String },
    #[error("the corpus folder {path:?} does not exist")]
    Missing { path: PathBuf },
    #[error("the corpus folder {path:?} is not a folder")]
    NotAFolder { path: PathBuf },
    #[error("failed to open the corpus folder {path:?}")]
    Open { path: PathBuf, source: io::Error },
    #[error("the corpus folder {path:?} holds Dragnet's own state; scanning it would make new files to scan for ever")]
    OwnState { path: PathBuf },
    #[error("the corpus folder {path:?} is a view of the running kernel and holds no files; name a folder on a disk")]
    NotStored { path: PathBuf },
    /// The folder was removed, replaced or unmounted while it was listed: nothing is known about its files.
    #[error("the corpus folder {path:?} vanished while it was listed")]
    Vanished { path: PathBuf },

    /// The object is no manifest or hashes object, or is of a format that this build does not read.
    #[error("the object is not {expected} that this program can read")]
    Format { expected: &'static str },
    #[error("the object is damaged: {what}")]
    Damaged { what: &'static str },
    /// The object is a sound manifest, but another one.
    #[error("the manifest is {found}, not {expected}")]
    Digest { expected: Digest, found: Digest },
}

impl Error {
    /// True if the same call may succeed later without a person changing a configuration: folders come
    /// back with their mounts, damaged bytes may have been damaged on their way here.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Url { .. }
            | Self::NotAFolder { .. }
            | Self::OwnState { .. }
            | Self::NotStored { .. }
            | Self::Format { .. }
            | Self::Digest { .. } => false,
            Self::Missing { .. } | Self::Vanished { .. } | Self::Damaged { .. } => true,
            Self::Open { source, .. } => source.kind() != io::ErrorKind::PermissionDenied,
        }
    }
}
