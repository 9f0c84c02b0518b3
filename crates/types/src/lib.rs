//! The words every part of Dragnet shares: names, digests, ids, outcomes, and descriptions of
//! segments, rulesets and listings.
//!
//! Plain values only. Nothing here reads a clock, a disk or a socket, and nothing here knows any
//! other crate of the project.

mod digest;
mod ids;
mod listing;
mod name;
mod outcome;
mod ruleset;
mod segment;

pub use digest::{Digest, DigestError};
pub use ids::{
    CorpusId, FileOrdinal, LeaseId, LeaseIdError, NodeId, RulesetId, RulesetVersion, SegmentOrdinal, SessionId,
    Timestamp,
};
pub use listing::Skipped;
pub use name::{CorpusKey, Name, NameError, RulesetKey, Tenant};
pub use outcome::{Exception, Outcome, OutcomeCounts};
pub use ruleset::{
    CorpusSelection, FileKind, Gate, MAX_RULESET_BYTES, RulesetArtifact, RulesetSource, UnitSource, VersionError,
};
pub use segment::{CorpusSpec, MAX_DATASETS, MAX_SEGMENT_BYTES, MAX_SEGMENT_FILES, SegmentDescriptor};
