use std::{error, io, path::PathBuf};

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL cannot be used, by this build or at all.
    #[error("cannot use {url:?} as object storage: {reason}")]
    Url { url: String, reason: String },
    /// The URL is fine, what it points at cannot be opened now.
    #[error("failed to open object storage at {url}")]
    Open { url: String, source: Box<object_store::Error> },
    #[error("failed to write object {key}")]
    Put { key: String, source: Box<object_store::Error> },
    #[error("failed to read object {key}")]
    Get { key: String, source: Box<object_store::Error> },
    #[error("there is no object {key}")]
    NotFound { key: String },
    #[error("failed to list objects below {prefix:?}")]
    List { prefix: String, source: Box<object_store::Error> },
    #[error("failed to remove object {key}")]
    Remove { key: String, source: Box<object_store::Error> },
    /// The local file that was to become an object.
    #[error("failed to read {}", file.display())]
    File { file: PathBuf, source: io::Error },
}

impl Error {
    /// True if the same call may succeed later without a person changing a configuration.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Url { .. } | Self::NotFound { .. } => false,
            Self::File { source, .. } => !is_local_refusal(source.kind()) && source.kind() != io::ErrorKind::NotFound,
            Self::Open { source, .. }
            | Self::Put { source, .. }
            | Self::Get { source, .. }
            | Self::List { source, .. }
            | Self::Remove { source, .. } => !is_refusal(source) && !self.any_io(is_local_refusal),
        }
    }

    /// The error and its cause in a line that is the same at every try. What an S3 server answers has a page of times and signatures; of
    /// that only the status and the code are left.
    pub fn in_brief(&self) -> String {
        let mut text = self.to_string();
        let mut cause = error::Error::source(self);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        let between = |before: &str, after: &str| Some(text.split_once(before)?.1.split_once(after)?.0.trim());
        match (between("status code: ", ":"), between("<Code>", "</Code>")) {
            (Some(status), Some(code)) => format!("{self}: {status} ({code})"),
            (Some(status), None) => format!("{self}: {status}"),
            (None, _) => text,
        }
    }

    /// True if the storage has no room: a full disk or an exhausted quota, anywhere in the chain of causes.
    pub fn is_full(&self) -> bool {
        self.any_io(|kind| matches!(kind, io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
    }

    fn any_io(&self, wanted: impl Fn(io::ErrorKind) -> bool) -> bool {
        let mut cause = Some(self as &(dyn error::Error + 'static));
        while let Some(error) = cause {
            // `io::Error::source` skips the error it wraps, so a wrapped io::Error is looked at here.
            let mut io = error.downcast_ref::<io::Error>();
            while let Some(error) = io {
                if wanted(error.kind()) {
                    return true;
                }
                io = error.get_ref().and_then(|inner| inner.downcast_ref());
            }
            cause = error.source();
        }
        false
    }
}

fn is_refusal(error: &object_store::Error) -> bool {
    use object_store::Error as Store;
    matches!(
        error,
        Store::InvalidPath { .. }
            | Store::NotSupported { .. }
            | Store::NotImplemented { .. }
            | Store::PermissionDenied { .. }
            | Store::Unauthenticated { .. }
            | Store::UnknownConfigurationKey { .. }
    )
}

fn is_local_refusal(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::InvalidFilename
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put_error(source: io::Error) -> Error {
        let source = object_store::Error::Generic { store: "LocalFileSystem", source: Box::new(source) };
        Error::Put { key: "k".to_owned(), source: Box::new(source) }
    }

    #[test]
    fn a_page_of_xml_becomes_a_line() {
        let page = "Error performing PUT http://s3/a in 2.5ms - Server returned non-2xx status code: 403 Forbidden: <?xml \
                    version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error>";
        let error = put_error(io::Error::other(page));
        assert_eq!(error.in_brief(), "failed to write object k: 403 Forbidden (SignatureDoesNotMatch)");
        let error = put_error(io::Error::other("the disk is on fire"));
        assert!(error.in_brief().ends_with("the disk is on fire"), "{}", error.in_brief());
    }

    #[test]
    fn a_full_disk_is_seen_at_any_depth_and_may_be_retried() {
        const ENOSPC: i32 = 28;
        let full = || io::Error::from_raw_os_error(ENOSPC);
        for error in [put_error(full()), put_error(io::Error::other(full()))] {
            assert!(error.is_full() && error.is_retryable(), "{error:?}");
        }
        assert!(!put_error(io::Error::from(io::ErrorKind::TimedOut)).is_full());
    }

    #[test]
    fn a_refusal_is_not_retried() {
        assert!(!put_error(io::Error::from(io::ErrorKind::ReadOnlyFilesystem)).is_retryable());
        assert!(put_error(io::Error::from(io::ErrorKind::TimedOut)).is_retryable());
    }
}
