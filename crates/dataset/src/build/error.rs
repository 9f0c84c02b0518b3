use std::{fmt, io, path::PathBuf};

use super::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use crate::repository;

/// Where a row stands. Rows count from 1; a header is none. In JSON lines a row is a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub file: PathBuf,
    pub row: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}, row {}", self.file.display(), self.row)
    }
}

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("failed to read {}", file.display())]
    Read { file: PathBuf, source: io::Error },
    #[error("{} is no whole {format} file", file.display())]
    Broken { file: PathBuf, format: super::Format, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{} has no column {column:?}; it has {}", file.display(), columns.join(", "))]
    NoColumn { file: PathBuf, column: String, columns: Vec<String> },
    #[error("{} has several columns {column:?}", file.display())]
    TwoColumns { file: PathBuf, column: String },
    #[error("{}, column {column:?}: values of type {kind} cannot be used as {role}", file.display())]
    Type { file: PathBuf, column: String, kind: String, role: &'static str },
    #[error("{place}: {problem}")]
    Row { place: Place, problem: Problem },
    #[error("key {} stands in {first}, and again in {second}; --on-duplicate first or last would choose", key.escape_ascii())]
    Duplicate { key: Vec<u8>, first: Place, second: Place },
    #[error("the source has no rows; a version without any key would answer nothing")]
    NoRows,
    #[error("failed to use {} for temporary files", path.display())]
    Temp { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Shard(#[from] shard::Error),
    #[error(transparent)]
    Repository(#[from] repository::Error),
    #[error("failed to publish version {version}: another manifest is there already")]
    Taken { version: crate::VersionId },
    #[error("version {version} is built, but it could not be announced; `dragnet dataset announce` does that alone")]
    NotAnnounced { version: crate::VersionId, source: Box<repository::Error> },
    #[error("shard {shard} of build {build} is not there yet; {of} are wanted")]
    PartMissing { build: super::PartsId, shard: u16, of: u16 },
    #[error("what is there of shard {shard} of build {build} makes no sense")]
    PartBroken { build: super::PartsId, shard: u16, source: serde_json::Error },
    #[error("there is no shard {shard}: the build has {of}, counted from 0")]
    NoSuchShard { shard: u16, of: u16 },
    #[error("the build was stopped")]
    Stopped,
    /// Only our own mistake can cause it.
    #[error("a thread of the build panicked")]
    Panicked,
}

/// Why a row cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    #[error("the key is empty")]
    EmptyKey,
    #[error("the key is null")]
    NullKey,
    #[error("the value is null")]
    NullValue,
    #[error("there is no column {column:?}; the row has {}", columns.join(", "))]
    NoColumn { column: String, columns: Vec<String> },
    #[error("the key has {bytes} bytes, at most {MAX_KEY_BYTES} are possible")]
    LongKey { bytes: usize },
    #[error("the value has {bytes} bytes, at most {MAX_VALUE_BYTES} are possible")]
    LongValue { bytes: usize },
    #[error("column {column:?} is no valid UTF-8")]
    Utf8 { column: String },
    #[error("the key is neither text nor an integer")]
    KeyType,
    #[error("it has {found} columns, the header has {expected}")]
    Columns { found: u64, expected: u64 },
    #[error("it is no JSON object: {0}")]
    Json(String),
    #[error("it cannot be read: {0}")]
    Other(String),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Repository(error.into())
    }
}

impl Error {
    /// True if some disk has no room, local or that of the object storage.
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::Temp { source, .. } => matches!(source.kind(), StorageFull | QuotaExceeded),
            Self::Shard(error) => error.is_full(),
            Self::Repository(repository::Error::Store(error)) => error.is_full(),
            _ => false,
        }
    }
}
