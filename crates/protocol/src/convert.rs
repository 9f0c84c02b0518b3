//! Between wire messages and `types`. Everything from the wire is checked here, once.

use types::{
    CorpusKey, Digest, DigestError, Exception, FileOrdinal, Name, NameError, OutcomeCounts, RulesetKey, Skipped, Tenant,
};

use crate::v1;

/// A message that does not say what it must.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    #[error("the field {field} is missing")]
    Missing { field: &'static str },
    #[error("the field {field} is not valid")]
    Name { field: &'static str, source: NameError },
    #[error("the field {field} is not valid")]
    Digest { field: &'static str, source: DigestError },
    #[error("the field {field} has the unknown value {value}")]
    Unknown { field: &'static str, value: i32 },
}

impl From<ConvertError> for tonic::Status {
    fn from(error: ConvertError) -> Self {
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(&error) {
            text = format!("{text}: {source}");
        }
        Self::invalid_argument(text)
    }
}

impl ConvertError {
    /// For `Option` fields that must be there.
    pub fn missing(field: &'static str) -> impl FnOnce() -> Self {
        move || Self::Missing { field }
    }
}

fn tenant_and_name(key: v1::Key) -> Result<(Tenant, Name), ConvertError> {
    let tenant = match key.tenant.as_str() {
        "" => Tenant::default(),
        tenant => tenant.parse().map_err(|source| ConvertError::Name { field: "tenant", source })?,
    };
    let name = key.name.parse().map_err(|source| ConvertError::Name { field: "name", source })?;
    Ok((tenant, name))
}

/// A field of names.
pub fn names(field: &'static str, names: Vec<String>) -> Result<Vec<Name>, ConvertError> {
    let name = |name: String| Name::new(name).map_err(|source| ConvertError::Name { field, source });
    names.into_iter().map(name).collect()
}

macro_rules! key {
    ($key:ident) => {
        impl TryFrom<v1::Key> for $key {
            type Error = ConvertError;
            fn try_from(key: v1::Key) -> Result<Self, ConvertError> {
                let (tenant, name) = tenant_and_name(key)?;
                Ok(Self { tenant, name })
            }
        }

        impl From<&$key> for v1::Key {
            fn from(key: &$key) -> Self {
                Self { tenant: key.tenant.to_string(), name: key.name.to_string() }
            }
        }
    };
}

key!(CorpusKey);
key!(RulesetKey);

macro_rules! log_place {
    ($wire:ident, $id:ident) => {
        impl From<v1::$wire> for types::$id {
            fn from(id: v1::$wire) -> Self {
                Self { index: id.index, slot: id.slot }
            }
        }

        impl From<types::$id> for v1::$wire {
            fn from(id: types::$id) -> Self {
                Self { index: id.index, slot: id.slot }
            }
        }
    };
}

log_place!(LeaseId, LeaseId);
log_place!(SessionId, SessionId);

/// A digest field.
pub(crate) fn digest(field: &'static str, bytes: &[u8]) -> Result<Digest, ConvertError> {
    Digest::try_from(bytes).map_err(|source| ConvertError::Digest { field, source })
}

impl v1::VersionRef {
    pub fn digest(&self) -> Result<Digest, ConvertError> {
        digest("version.digest", &self.digest)
    }
}

impl v1::Segment {
    pub fn manifest(&self) -> Result<Digest, ConvertError> {
        digest("segment.manifest", &self.manifest)
    }

    pub fn descriptor(&self) -> Result<types::SegmentDescriptor, ConvertError> {
        Ok(types::SegmentDescriptor { manifest: self.manifest()?, files: self.files, bytes: self.bytes })
    }

    pub fn new(ordinal: types::SegmentOrdinal, descriptor: &types::SegmentDescriptor) -> Self {
        Self {
            ordinal: ordinal.0,
            manifest: descriptor.manifest.as_bytes().to_vec(),
            files: descriptor.files,
            bytes: descriptor.bytes,
        }
    }
}

impl From<Exception> for v1::FileException {
    fn from(exception: Exception) -> Self {
        match exception {
            Exception::TimedOut => Self::TimedOut,
            Exception::Crashed => Self::Crashed,
            Exception::TooLarge => Self::TooLarge,
            Exception::Unreadable => Self::Unreadable,
            Exception::Gone => Self::Gone,
            Exception::Abandoned => Self::Abandoned,
        }
    }
}

impl TryFrom<&v1::ExceptedFile> for (FileOrdinal, Exception) {
    type Error = ConvertError;
    fn try_from(file: &v1::ExceptedFile) -> Result<Self, ConvertError> {
        let exception = match file.exception() {
            v1::FileException::Unspecified => {
                return Err(ConvertError::Unknown { field: "exception", value: file.exception });
            }
            v1::FileException::TimedOut => Exception::TimedOut,
            v1::FileException::Crashed => Exception::Crashed,
            v1::FileException::TooLarge => Exception::TooLarge,
            v1::FileException::Unreadable => Exception::Unreadable,
            v1::FileException::Gone => Exception::Gone,
            v1::FileException::Abandoned => Exception::Abandoned,
        };
        Ok((FileOrdinal(file.file), exception))
    }
}

impl From<(FileOrdinal, Exception)> for v1::ExceptedFile {
    fn from((file, exception): (FileOrdinal, Exception)) -> Self {
        Self { file: file.0, exception: v1::FileException::from(exception).into() }
    }
}

impl From<OutcomeCounts> for v1::OutcomeCounts {
    fn from(counts: OutcomeCounts) -> Self {
        let OutcomeCounts { matched, clean, timed_out, crashed, too_large, unreadable, gone, abandoned } = counts;
        Self { matched, clean, timed_out, crashed, too_large, unreadable, gone, abandoned }
    }
}

impl From<v1::OutcomeCounts> for OutcomeCounts {
    fn from(counts: v1::OutcomeCounts) -> Self {
        let v1::OutcomeCounts { matched, clean, timed_out, crashed, too_large, unreadable, gone, abandoned } = counts;
        Self { matched, clean, timed_out, crashed, too_large, unreadable, gone, abandoned }
    }
}

impl From<Skipped> for v1::Skipped {
    fn from(skipped: Skipped) -> Self {
        let Skipped { special, symlinks, unreadable, vanished } = skipped;
        Self { special, symlinks, unreadable, vanished }
    }
}

impl From<v1::Skipped> for Skipped {
    fn from(skipped: v1::Skipped) -> Self {
        let v1::Skipped { special, symlinks, unreadable, vanished } = skipped;
        Self { special, symlinks, unreadable, vanished }
    }
}
