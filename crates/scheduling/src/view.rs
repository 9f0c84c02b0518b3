//! Derived views for people: hunts with their receipts, and the backlog.

use std::collections::BTreeMap;

use types::{
    CorpusId, CorpusKey, OutcomeCounts, RulesetId, RulesetKey, RulesetVersion, SegmentOrdinal, Skipped, Tenant,
    Timestamp,
};

use crate::{Corpus, Reservations, Ruleset, RulesetState, State, Version, planner};

/// How a hunt stands. A hunt never ends by itself: once caught up, it owes each file that arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HuntState {
    /// Files are owed, the first listing has not ended, or the last one failed.
    Running,
    /// Each stored file has its outcome.
    CaughtUp,
    Paused,
    /// A newer version hunts instead.
    Superseded,
    Retired,
}

/// One ruleset version over one corpus, with its receipt.
#[derive(Clone, Debug, PartialEq)]
pub struct HuntView {
    pub ruleset: RulesetKey,
    pub version: Version,
    pub corpus: CorpusKey,
    pub corpus_id: CorpusId,
    pub ruleset_id: RulesetId,
    pub state: HuntState,
    pub stored_files: u64,
    pub stored_bytes: u64,
    /// `stored_files` = `outcomes.total()` + `pending_files`, always.
    pub outcomes: OutcomeCounts,
    pub pending_files: u64,
    pub done_bytes: u64,
    pub scanned_bytes: u64,
    pub findings: u64,
    pub listed_once: bool,
    /// Of the last complete listing of the corpus.
    pub skipped: Skipped,
    /// Why the last listing failed, if it did: files may have come that nobody knows of.
    pub listing_error: Option<String>,
    pub started_at: Timestamp,
    pub caught_up_at: Option<Timestamp>,
}

/// Segments waiting now, by class, and leases under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Backlog {
    pub owed_segments: u64,
    pub leased_segments: u64,
    pub listings: u64,
}

/// Why a segment is owed, in the order in which the planner grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorkClass {
    /// Its ruleset goes before everything else.
    Urgent,
    /// It arrived under a standing ruleset that has not seen it.
    Fresh,
    /// A ruleset, or a newer version of it, came after the segment.
    Sweep,
    /// Its ruleset waits for all others.
    Background,
}

impl WorkClass {
    /// In the order in which they are granted.
    pub const ALL: [Self; 4] = [Self::Urgent, Self::Fresh, Self::Sweep, Self::Background];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Fresh => "fresh",
            Self::Sweep => "sweep",
            Self::Background => "background",
        }
    }
}

/// Work that is owed and not leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct OwedWork {
    pub segments: u64,
    pub files: u64,
    pub bytes: u64,
}

impl State {
    /// Listings that are due at `now` and not under way.
    pub fn listings_due(&self, now: Timestamp) -> u64 {
        let due = |corpus: &Corpus| corpus.listing.lease.is_none() && corpus.listing.due_at <= now;
        self.corpora().filter(|(_, corpus)| due(corpus)).count() as u64
    }

    /// What is owed to each tenant, by class; segments that wait after a failure count. Without entries that are zero.
    ///
    /// Cost: O(segments owed).
    pub fn owed_work(&self) -> BTreeMap<(Tenant, WorkClass), OwedWork> {
        let mut work: BTreeMap<_, OwedWork> = BTreeMap::new();
        let end_of_time = Timestamp(u64::MAX);
        for (id, corpus) in self.corpora() {
            let Some(owed) = planner::owed(self, &Reservations::default(), end_of_time, id, corpus) else {
                continue;
            };
            for (class, segments) in WorkClass::ALL.into_iter().zip(&owed.classes) {
                if segments.is_empty() {
                    continue;
                }
                let sum = work.entry((corpus.key.tenant.clone(), class)).or_default();
                for segment in segments.iter().filter_map(|ordinal| corpus.segment(SegmentOrdinal(ordinal))) {
                    sum.segments += 1;
                    sum.files += u64::from(segment.files);
                    sum.bytes = sum.bytes.saturating_add(segment.bytes);
                }
            }
        }
        work
    }

    /// Every hunt there is or was, by corpus, ruleset and version.
    pub fn hunts(&self) -> impl Iterator<Item = HuntView> {
        self.corpora().flat_map(move |(corpus_id, corpus)| {
            self.coverage_of(corpus_id).flat_map(move |(ruleset_id, coverage)| {
                let ruleset = self.ruleset(ruleset_id);
                ruleset.into_iter().flat_map(move |ruleset| {
                    coverage.hunts().filter_map(move |(version, hunt)| {
                        let version = ruleset.version(version)?.clone();
                        let state = self.hunt_state(corpus, ruleset, version.number, hunt.caught_up_at);
                        Some(HuntView {
                            ruleset: ruleset.key.clone(),
                            version,
                            corpus: corpus.key.clone(),
                            corpus_id,
                            ruleset_id,
                            state,
                            stored_files: corpus.files,
                            stored_bytes: corpus.bytes,
                            outcomes: hunt.outcomes,
                            pending_files: corpus.files - hunt.outcomes.total(),
                            done_bytes: hunt.bytes,
                            scanned_bytes: hunt.scanned_bytes,
                            findings: hunt.findings,
                            listed_once: corpus.listing.last_done_at.is_some(),
                            skipped: corpus.listing.skipped,
                            listing_error: corpus.listing.last_error.clone(),
                            started_at: hunt.started_at,
                            caught_up_at: hunt.caught_up_at,
                        })
                    })
                })
            })
        })
    }

    fn hunt_state(
        &self,
        corpus: &Corpus,
        ruleset: &Ruleset,
        version: RulesetVersion,
        caught_up_at: Option<Timestamp>,
    ) -> HuntState {
        if version != ruleset.current().number {
            return HuntState::Superseded;
        }
        match ruleset.state {
            RulesetState::Paused => HuntState::Paused,
            RulesetState::Retired => HuntState::Retired,
            RulesetState::Active if !ruleset.corpora.contains(&corpus.key.name) => HuntState::Retired,
            RulesetState::Active if caught_up_at.is_some() && corpus.listing.failed == 0 => HuntState::CaughtUp,
            RulesetState::Active => HuntState::Running,
        }
    }

    pub fn backlog(&self) -> Backlog {
        let mut backlog = Backlog::default();
        for (id, corpus) in self.corpora() {
            backlog.leased_segments += corpus.leased.len();
            backlog.listings += u64::from(corpus.listing.lease.is_some());
            let mut owed = roaring::RoaringBitmap::new();
            for (ruleset, coverage) in self.coverage_of(id) {
                if let Some(ruleset) = self.ruleset(ruleset)
                    && self.hunts_in(ruleset, corpus)
                {
                    owed |= coverage.owed(ruleset.current().number, corpus.next_ordinal());
                }
            }
            owed -= &corpus.leased;
            backlog.owed_segments += owed.len();
        }
        backlog
    }
}
