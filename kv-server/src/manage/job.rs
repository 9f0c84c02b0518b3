//! The one thing at a time that a keeper has done in the background.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use dataset::VersionId;
use tokio_util::sync::CancellationToken;

use super::{
    error::Error,
    status::{Announcement, Progress, State},
};

/// The one job under way.
pub(super) struct Job {
    pub(super) number: u64,
    pub(super) version: VersionId,
    pub(super) work: Work,
    pub(super) cancel: CancellationToken,
    pub(super) done_bytes: Arc<AtomicU64>,
    pub(super) total_bytes: Arc<AtomicU64>,
    /// Whether a download has all its bytes.
    pub(super) verifying: CancellationToken,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Download,
    Verify,
    Open,
}

pub(super) enum Ended {
    Poll(Result<Announcement, Error>),
    Job { number: u64, result: Result<(), Error> },
}

/// Ends when the download under way begins to be verified and that is not reported yet.
pub(super) async fn all_bytes_here(job: &Option<Job>, reported: State) {
    match job {
        Some(job) if job.work == Work::Download && reported == State::Downloading => job.verifying.cancelled().await,
        _ => std::future::pending().await,
    }
}

impl Job {
    pub(super) fn new(number: u64, version: VersionId, work: Work) -> Self {
        Self {
            number,
            version,
            work,
            cancel: CancellationToken::new(),
            done_bytes: Arc::default(),
            total_bytes: Arc::default(),
            verifying: CancellationToken::new(),
        }
    }

    /// How far a download is.
    pub(super) fn progress(&self) -> Option<Progress> {
        let [bytes, total] = [&self.done_bytes, &self.total_bytes].map(|bytes| bytes.load(Ordering::Relaxed));
        (self.work == Work::Download).then_some(Progress { bytes, total })
    }

    pub(super) fn state(&self) -> State {
        match self.work {
            Work::Download if self.verifying.is_cancelled() => State::Verifying,
            Work::Download => State::Downloading,
            Work::Verify => State::Verifying,
            Work::Open => State::Opening,
        }
    }
}
