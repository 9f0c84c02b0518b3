use std::{io, path::PathBuf};

/// What RocksDB said. Its texts name the file, and often the offset.
type Cause = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    #[error("failed to create a shard in {}", folder.display())]
    Create { folder: PathBuf, source: Cause },
    #[error("failed to write to the shard in {}", folder.display())]
    Write { folder: PathBuf, source: Cause },
    /// The caller broke the order. A shard in any other order could not be read.
    #[error("key {} does not follow key {} in ascending order", key.escape_ascii(), previous.escape_ascii())]
    Order { previous: Vec<u8>, key: Vec<u8> },
    #[error("failed to open the shard in {}", folder.display())]
    Open { folder: PathBuf, source: Cause },
    #[error("failed to read from the shard in {}", folder.display())]
    Read { folder: PathBuf, source: Cause },
    #[error("failed to read {}", file.display())]
    File { file: PathBuf, source: io::Error },
}

impl Error {
    /// True if there is no room on the disk that was written to.
    pub fn is_full(&self) -> bool {
        let (Self::Create { source, .. } | Self::Write { source, .. }) = self else { return false };
        // RocksDB hands on the text of errno only.
        let text = source.to_string();
        source.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::StorageFull)
            || text.contains("No space left on device")
            || text.contains("Disk quota exceeded")
    }
}
