//! What a log entry can say: decisions and facts, never wishes.

use serde::{Deserialize, Serialize};
use types::{
    CorpusId, CorpusKey, CorpusSelection, CorpusSpec, Digest, Exception, FileOrdinal, LeaseId, RulesetId, RulesetKey,
    RulesetVersion, SegmentDescriptor, SegmentOrdinal, SessionId, Skipped, Timestamp,
};

use crate::{Priority, RulesetState};

/// Grants beyond this many in one command are refused, so that slots of one entry cannot collide.
pub const MAX_GRANTS_PER_COMMAND: usize = 4096;

/// Where and when a command was committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Index of the log entry.
    pub index: u64,
    /// The leader's clock when it proposed the entry.
    pub at: Timestamp,
    /// The first id slot of this command: the sum of [`Command::slots`] over the commands before it in the entry.
    pub first_slot: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    PutCorpus {
        key: CorpusKey,
        spec: CorpusSpec,
    },
    /// Ends the hunts in a corpus and forgets it; its files stay where they are.
    DeleteCorpus {
        key: CorpusKey,
    },
    /// Pushes sources; equal to the current version it changes nothing but state and selection.
    PutRuleset {
        key: RulesetKey,
        digest: Digest,
        /// Sorted, without duplicates.
        units: Vec<Digest>,
        corpora: CorpusSelection,
        source_bytes: u64,
        #[serde(default, skip_serializing_if = "Priority::is_default")]
        priority: Priority,
    },
    SetRulesetState {
        key: RulesetKey,
        state: RulesetState,
    },
    OpenSession {
        /// What the worker calls itself, for people.
        worker: String,
    },
    EndSessions {
        sessions: Vec<SessionId>,
    },
    GrantLeases {
        grants: Vec<Grant>,
    },
    SettleAttempt {
        lease: LeaseId,
        /// At most one per target of the lease; a target without a result is owed again, uncounted.
        results: Vec<RulesetResult>,
    },
    /// Segments found by a listing that goes on; they can be scanned at once.
    AppendSegments {
        lease: LeaseId,
        segments: Vec<SegmentDescriptor>,
        /// Files that the listing no longer met, or met changed.
        gone: Vec<(SegmentOrdinal, Vec<FileOrdinal>)>,
    },
    SettleListing {
        lease: LeaseId,
        result: ListingResult,
    },
    /// Reserves an id for a new Raft member.
    AllocateNode,
}

impl Command {
    /// How many id slots the command may use up.
    pub fn slots(&self) -> u32 {
        match self {
            Self::GrantLeases { grants } => u32::try_from(grants.len()).unwrap_or(u32::MAX),
            Self::OpenSession { .. } => 1,
            Self::PutCorpus { .. }
            | Self::DeleteCorpus { .. }
            | Self::PutRuleset { .. }
            | Self::SetRulesetState { .. }
            | Self::EndSessions { .. }
            | Self::SettleAttempt { .. }
            | Self::AppendSegments { .. }
            | Self::SettleListing { .. }
            | Self::AllocateNode => 0,
        }
    }
}

impl Command {
    /// Bytes that the command takes in a log entry, estimated without encoding it: large parts are counted.
    pub fn weight(&self) -> usize {
        const SMALL: usize = 256;
        match self {
            Self::PutCorpus { key: _, spec } => SMALL + spec.url.len() + spec.datasets.len() * 64,
            Self::PutRuleset { units, corpora, .. } => {
                let names = match corpora {
                    CorpusSelection::All => 0,
                    CorpusSelection::Named(names) => names.len() * 64,
                };
                SMALL + units.len() * 34 + names
            }
            Self::OpenSession { worker } => SMALL + worker.len(),
            Self::EndSessions { sessions } => SMALL + sessions.len() * 32,
            Self::GrantLeases { grants } => {
                let targets = |grant: &Grant| match &grant.work {
                    Work::Scan { targets, .. } => targets.len(),
                    Work::List { .. } => 0,
                };
                grants.iter().map(|grant| 96 + targets(grant) * 32).sum()
            }
            Self::SettleAttempt { results, .. } => SMALL + results.iter().map(RulesetResult::weight).sum::<usize>(),
            Self::AppendSegments { segments, gone, .. } => {
                let gone = gone.iter().map(|(_, files)| 16 + files.len() * 5);
                SMALL + segments.len() * 80 + gone.sum::<usize>()
            }
            Self::SettleListing { result: ListingResult::Failed { reason }, .. } => SMALL + reason.len(),
            Self::SettleListing { .. }
            | Self::SetRulesetState { .. }
            | Self::DeleteCorpus { .. }
            | Self::AllocateNode => SMALL,
        }
    }
}

impl RulesetResult {
    fn weight(&self) -> usize {
        match &self.verdict {
            Verdict::Done(done) => 96 + done.excepted.len() * 20,
            Verdict::Failed { reason } | Verdict::Hindered { reason } => 64 + reason.len(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub session: SessionId,
    pub work: Work,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// One segment with every ruleset version owed to it.
    Scan {
        corpus: CorpusId,
        segment: SegmentOrdinal,
        /// Sorted by ruleset, at least one.
        targets: Vec<Target>,
    },
    /// Listing a corpus for new, changed and vanished files.
    List { corpus: CorpusId },
}

/// One ruleset of a job: scan what `to` has and `from` had not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    pub ruleset: RulesetId,
    pub from: Option<RulesetVersion>,
    pub to: RulesetVersion,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RulesetResult {
    pub ruleset: RulesetId,
    pub to: RulesetVersion,
    pub verdict: Verdict,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    Done(ScanDone),
    /// The attempt failed through the segment or the rules; counted against the limit.
    Failed {
        reason: String,
    },
    /// The attempt failed through its surroundings (storage away, disk full); tried again, never counted.
    Hindered {
        reason: String,
    },
}

/// The answer of one ruleset version for one segment, whole: what was carried over from `from` included.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ScanDone {
    /// Files with at least one finding, exceptions not among them.
    pub matched: u32,
    /// Findings written; zero means that no object was written.
    pub findings: u32,
    /// Files without an answer, ascending, without duplicates.
    pub excepted: Vec<(FileOrdinal, Exception)>,
    /// Bytes the engine was given for this target.
    pub scanned_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListingResult {
    Done { skipped: Skipped },
    Failed { reason: String },
}
