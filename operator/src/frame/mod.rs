//! What all controllers stand on.
//!
//! ```text
//! API server ─watch─► runner (one per kind) ──► fetch → plan → execute, of each controller
//!      │                  ▲                              │
//!      └─watch─► children ┘ (caches: no request to look)  ├──► apply: server-side apply, nothing if nothing changed
//!                                                        └──► status: conditions, and an Event for each that turned
//! ```
//! Looking costs no requests: resources and what was made of them are watched. Writing what is already so costs none either.

pub mod apply;
pub mod children;
pub mod conditions;
pub mod context;
pub mod known;
pub mod labels;
pub mod leadership;
pub mod orchestrators;
pub mod pods;
pub mod runner;
pub(crate) mod staging;
pub mod status;
pub(crate) mod volumes;
pub mod watched;

pub use context::Context;
pub use runner::{Outcome, run};
pub use watched::Watched;

/// What went wrong with one resource, for the runner: it is told to people, counted, and tried again later.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to {what}")]
    Api { what: String, source: Box<kube::Error> },
    /// Two resources, or a resource and a person, want one object.
    #[error("{kind} {name} exists and belongs to {by}; rename one of them")]
    NameTaken { kind: String, name: String, by: String },
    #[error("failed to {what}")]
    Cluster { what: String, source: Box<tonic::Status> },
    #[error("{0}")]
    Other(String),
}

impl Error {
    pub fn api(what: impl Into<String>) -> impl FnOnce(kube::Error) -> Self {
        let what = what.into();
        |source| Self::Api { what, source: Box::new(source) }
    }

    /// Whether somebody else wrote in between; the next look will see it.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(source.as_ref(), kube::Error::Api(status) if status.code == 409))
    }

    /// Whether the members were only busy with something else: an election, a change that is under way.
    pub fn is_passing(&self) -> bool {
        use tonic::Code;
        matches!(self, Self::Cluster { source, .. } if matches!(
            source.code(),
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::FailedPrecondition | Code::Aborted
        ))
    }

    /// The error and its cause in one sentence, for people.
    pub fn words(&self) -> String {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => format!("{self}: {}", status.message),
                other => format!("{self}: {other}"),
            },
            Self::Cluster { source, .. } => format!("{self}: {}", source.message()),
            Self::NameTaken { .. } | Self::Other(_) => self.to_string(),
        }
    }

    /// What the API server said, if it refused what was written: what a person must mend.
    pub fn refusal(&self) -> Option<&str> {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422) => Some(&status.message),
                _other => None,
            },
            Self::NameTaken { .. } | Self::Cluster { .. } | Self::Other(_) => None,
        }
    }
}
