use serde::{Deserialize, Serialize};
use types::{CorpusId, LeaseId, NodeId, RulesetId, RulesetVersion, SegmentOrdinal, SessionId};

/// What became true by one command. The leader acts on events; followers drop them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    CorpusPut {
        corpus: CorpusId,
        created: bool,
    },
    CorpusDeleted {
        corpus: CorpusId,
    },
    RulesetPut {
        ruleset: RulesetId,
        version: RulesetVersion,
        created: bool,
    },
    RulesetStateSet {
        ruleset: RulesetId,
    },
    SessionOpened {
        session: SessionId,
    },
    SessionEnded {
        session: SessionId,
    },
    /// The lease is in the state with its session, work and attempt number.
    LeaseGranted {
        lease: LeaseId,
        session: SessionId,
    },
    LeaseEnded {
        lease: LeaseId,
        session: SessionId,
    },
    /// The segment has its answer at this version.
    SegmentDone {
        corpus: CorpusId,
        segment: SegmentOrdinal,
        ruleset: RulesetId,
        version: RulesetVersion,
    },
    /// The attempt failed; the segment is owed again.
    AttemptFailed {
        corpus: CorpusId,
        segment: SegmentOrdinal,
        ruleset: RulesetId,
        version: RulesetVersion,
    },
    /// Too many attempts failed: every file of the segment became an exception.
    SegmentAbandoned {
        corpus: CorpusId,
        segment: SegmentOrdinal,
        ruleset: RulesetId,
        version: RulesetVersion,
    },
    SegmentsAppended {
        corpus: CorpusId,
        first: SegmentOrdinal,
        count: u32,
    },
    ListingSettled {
        corpus: CorpusId,
    },
    NodeAllocated {
        node: NodeId,
    },
    Refused {
        refusal: Refusal,
    },
}

/// Why a command changed nothing. Something that a client caused, so never a panic.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Refusal {
    #[error("there is no such corpus")]
    UnknownCorpus,
    #[error("there is no such ruleset")]
    UnknownRuleset,
    #[error("the session has ended; open a new one")]
    SessionNotLive,
    #[error("the lease has ended; its work is owed to somebody else or done")]
    LeaseNotLive,
    #[error("the work is not owed any more")]
    NotOwed,
    #[error("the lease is for other work")]
    WrongWork,
    #[error("a corpus keeps its url; add another corpus for {url:?}")]
    UrlFixed { url: String },
    #[error("malformed command: {what}")]
    Malformed { what: String },
}
