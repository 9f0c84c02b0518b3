//! Why a step failed, and what kind of failure that is.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use dataset::{FetchError, VersionId, verify};

use super::{
    chain,
    desk::OrderError,
    disk,
    status::{Kind, LastError, now_ms},
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to open the dataset at {url}")]
    Repository { url: String, source: store::Error },
    #[error("failed to read the announcement")]
    Announcement { source: dataset::Error },
    #[error("failed to read the manifest of version {version}")]
    Manifest { version: VersionId, source: dataset::Error },
    #[error("object storage did not answer within {} s: {what}", within.as_secs_f32())]
    Stalled { what: String, within: Duration },
    #[error("version {version} has {shards} shards, and none of those that --shards names")]
    NoWantedShard { version: VersionId, shards: usize },
    #[error(
        "version {version} needs {needed} bytes in {}, where {free} are free and {reserve} stay free: make room, or give \
         --data-dir another disk", folder.display()
    )]
    NoRoom { version: VersionId, folder: PathBuf, needed: u64, free: u64, reserve: u64 },
    #[error("failed to download version {version}")]
    Fetch { version: VersionId, source: Box<FetchError> },
    #[error("version {version} is not what was built")]
    Verify { version: VersionId, folder: PathBuf, source: Box<verify::Error> },
    #[error("the manifest of version {version} on this machine cannot be used: {what}")]
    LocalManifest { version: VersionId, what: Box<dyn std::error::Error + Send + Sync> },
    #[error("it was stopped: the version is wanted no longer")]
    Cancelled,
    #[error(transparent)]
    Disk(#[from] disk::Error),
    #[error(transparent)]
    Order(#[from] OrderError),
    #[error("the server does not do as the manager says: {what}")]
    Server { what: String },
    #[error("a job ended without a result: {what}")]
    Panicked { what: String },
}

impl Error {
    /// As it is told to people, with the moment.
    pub(crate) fn to_last_error(&self, version: Option<VersionId>) -> LastError {
        let (file, offset) = self.place();
        LastError { at_ms: now_ms(), version, kind: self.kind(), error: chain(self), file, offset }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Announcement { source } | Self::Manifest { source, .. } => of_storage(source),
            Self::Fetch { source, .. } => of_fetch(source),
            Self::Repository { .. } | Self::Stalled { .. } => Kind::Storage,
            Self::Verify { source, .. } if matches!(**source, verify::Error::Read { .. }) => Kind::Local,
            Self::Verify { .. } | Self::LocalManifest { .. } | Self::NoWantedShard { .. } => Kind::Verification,
            Self::NoRoom { .. } => Kind::NoSpace,
            Self::Disk(disk::Error::Io { source, .. }) => of_disk(source),
            Self::Disk(_) | Self::Order(_) | Self::Server { .. } | Self::Panicked { .. } | Self::Cancelled => {
                Kind::Local
            }
        }
    }

    /// The file that it is about, and where in it.
    fn place(&self) -> (Option<String>, Option<u64>) {
        let (file, offset) = match self {
            Self::Announcement { .. } => ("announced.json".to_owned(), None),
            Self::Manifest { version, .. } => (format!("versions/{version}/manifest.json"), None),
            Self::LocalManifest { .. } => ("manifest.json".to_owned(), None),
            Self::Fetch { source, .. } => match &**source {
                FetchError::Download { file, offset, .. }
                | FetchError::Stalled { file, offset, .. }
                | FetchError::Chunk { file, offset, .. }
                | FetchError::Short { file, found: offset, .. } => (file.clone(), Some(*offset)),
                FetchError::Whole { file, .. } => (file.clone(), None),
                FetchError::Write { path, offset, .. } => (path.display().to_string(), *offset),
                _ => return (None, None),
            },
            Self::Verify { folder, source, .. } => match &**source {
                verify::Error::Chunk { file, offset, .. } => (below(folder, file), Some(*offset)),
                verify::Error::Size { file, found, expected } => (below(folder, file), Some(*found.min(expected))),
                verify::Error::Missing { file }
                | verify::Error::Unexpected { file }
                | verify::Error::Whole { file, .. }
                | verify::Error::Read { path: file, .. }
                | verify::Error::Content { folder: file, .. }
                | verify::Error::Slot { folder: file, .. } => (below(folder, file), None),
                _ => return (None, None),
            },
            _ => return (None, None),
        };
        (Some(file), offset)
    }
}

/// The name of a file within a version: where it lies while it is looked at is nobody's concern.
fn below(folder: &Path, file: &Path) -> String {
    file.strip_prefix(folder).unwrap_or(file).display().to_string()
}

fn of_storage(error: &dataset::Error) -> Kind {
    match error {
        dataset::Error::Store(_) => Kind::Storage,
        _ => Kind::Verification, // it answered, with other bytes than were written
    }
}

fn of_fetch(error: &FetchError) -> Kind {
    match error {
        FetchError::Download { source: store::Error::NotFound { .. }, .. } => Kind::Verification,
        FetchError::Download { .. } | FetchError::Stalled { .. } => Kind::Storage,
        FetchError::Write { source, .. } => of_disk(source),
        _ => Kind::Verification,
    }
}

fn of_disk(error: &io::Error) -> Kind {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => Kind::NoSpace,
        _ => Kind::Local,
    }
}
