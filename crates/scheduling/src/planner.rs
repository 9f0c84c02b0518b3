//! The choice of what is granted to whom, made on the leader ahead of commit.

use std::collections::{BTreeMap, BTreeSet};

use roaring::RoaringBitmap;
use types::{CorpusId, RulesetId, SegmentOrdinal, SessionId, Timestamp};

use crate::{Corpus, Coverage, Grant, Priority, State, Target, Work, WorkClass};

/// Of this many scan grants at least one goes to a class while one waits there, however many wait in those before it.
/// By class, in their order.
const FLOORS: [u32; WorkClass::ALL.len()] = [8, 8, 8, 32];
const LARGEST_FLOOR: u32 = 32;
/// Of this many grants at least one is a scan while one waits, however many listings are due: a corpus with no
/// time between its listings must not stop all scanning.
const SCAN_FLOOR: u32 = 8;

/// A session and how many more jobs it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeSlots {
    pub session: SessionId,
    pub slots: u32,
}

/// Grants proposed and not yet applied: the overlay that lets the planner decide ahead of commit.
#[derive(Clone, Debug, Default)]
pub struct Reservations {
    segments: BTreeMap<CorpusId, RoaringBitmap>,
    listings: BTreeSet<CorpusId>,
}

impl Reservations {
    pub fn reserve(&mut self, work: &Work) {
        match work {
            Work::Scan { corpus, segment, .. } => {
                self.segments.entry(*corpus).or_default().insert(segment.0);
            }
            Work::List { corpus } => {
                self.listings.insert(*corpus);
            }
        }
    }

    /// To be called when the grant was applied, refused, or will never commit.
    pub fn release(&mut self, work: &Work) {
        match work {
            Work::Scan { corpus, segment, .. } => {
                if let Some(segments) = self.segments.get_mut(corpus) {
                    segments.remove(segment.0);
                }
            }
            Work::List { corpus } => {
                self.listings.remove(corpus);
            }
        }
    }

    fn segments(&self, corpus: CorpusId) -> Option<&RoaringBitmap> {
        self.segments.get(&corpus)
    }
}

/// Chooses which worker gets which job next. Policy lives here alone, so it can change in a rolling
/// upgrade without replicas diverging.
#[derive(Clone, Debug, Default)]
pub struct Planner {
    /// Listings since the last scan, up to [`SCAN_FLOOR`].
    since_scan: u32,
    /// Scan grants since the last one from each class, up to [`LARGEST_FLOOR`].
    since: [u32; WorkClass::ALL.len()],
    /// The corpus last served in each class. Kept between calls, because most calls fill a single slot.
    last: [Option<CorpusId>; WorkClass::ALL.len()],
}

/// What one corpus owes: per ruleset the segments, and their union by class.
pub(crate) struct Owed<'a> {
    corpus: CorpusId,
    by_ruleset: Vec<(RulesetId, &'a Coverage, types::RulesetVersion, RoaringBitmap)>,
    /// Disjoint: a segment that is owed for several reasons is in the first class of those.
    pub(crate) classes: [RoaringBitmap; WorkClass::ALL.len()],
}

impl Planner {
    /// Fills the free slots with the most urgent jobs that are neither leased nor reserved.
    ///
    /// Listings that are due come first, being short and the start of everything else, longest due before
    /// the others; then segments class by class, in order of arrival, corpora in turn. Scans and the later classes
    /// have their floors. A job takes every ruleset owed to its segment.
    /// Sessions are filled in turn, one job at a time; one that has ended is left out. Depends on the
    /// arguments and on what the planner itself chose before.
    ///
    /// Cost: O(corpora x rulesets) bitmap operations plus O(grants x (corpora + rulesets)).
    pub fn plan(
        &mut self,
        state: &State,
        reservations: &Reservations,
        now: Timestamp,
        free: &[FreeSlots],
    ) -> Vec<Grant> {
        let mut listings = listings_due(state, reservations, now).into_iter();
        let mut owing = None;
        let mut grants = Vec::new();
        for session in in_turn(state, free) {
            let mut scan = |planner: &mut Self| {
                let owing = owing.get_or_insert_with(|| all_owed(state, reservations, now));
                planner.next_scan(owing)
            };
            let work = if self.since_scan + 1 < SCAN_FLOOR {
                listings.next().or_else(|| scan(self))
            } else {
                scan(self).or_else(|| listings.next())
            };
            let Some(work) = work else {
                break;
            };
            self.since_scan = match &work {
                Work::List { .. } => SCAN_FLOOR.min(self.since_scan + 1),
                Work::Scan { .. } => 0,
            };
            grants.push(Grant { session, work });
        }
        grants
    }

    fn next_scan(&mut self, owing: &mut [Owed<'_>]) -> Option<Work> {
        let waits = |class: &usize| owing.iter().any(|owed| !owed.classes[*class].is_empty());
        let out_of_patience = |class: &usize| self.since[*class] + 1 >= FLOORS[*class];
        let classes = || (0..FLOORS.len()).filter(waits);
        let first = classes().next()?;
        let class = classes().rev().find(|class| *class != first && out_of_patience(class)).unwrap_or(first);
        let holds = |owed: &Owed<'_>| !owed.classes[class].is_empty();
        let after = owing.iter().position(|owed| Some(owed.corpus) > self.last[class] && holds(owed));
        let next = after.or_else(|| owing.iter().position(holds))?;
        self.last[class] = Some(owing[next].corpus);
        for since in &mut self.since {
            *since = LARGEST_FLOOR.min(*since + 1);
        }
        self.since[class] = 0;
        owing[next].take(class)
    }
}

impl Owed<'_> {
    fn class(&mut self, class: WorkClass) -> &mut RoaringBitmap {
        &mut self.classes[class as usize]
    }

    fn take(&mut self, class: usize) -> Option<Work> {
        let class = &mut self.classes[class];
        let ordinal = class.min()?;
        class.remove(ordinal);
        let segment = SegmentOrdinal(ordinal);
        let owing = self.by_ruleset.iter().filter(|(.., owed)| owed.contains(ordinal));
        let targets = owing
            .map(|(ruleset, coverage, to, _)| Target {
                ruleset: *ruleset,
                from: coverage.done_version(segment),
                to: *to,
            })
            .collect();
        Some(Work::Scan { corpus: self.corpus, segment, targets })
    }
}

fn all_owed<'a>(state: &'a State, reservations: &Reservations, now: Timestamp) -> Vec<Owed<'a>> {
    state.corpora().filter_map(|(id, corpus)| owed(state, reservations, now, id, corpus)).collect()
}

pub(crate) fn owed<'a>(
    state: &'a State,
    reservations: &Reservations,
    now: Timestamp,
    id: CorpusId,
    corpus: &Corpus,
) -> Option<Owed<'a>> {
    let mut owed = Owed { corpus: id, by_ruleset: Vec::new(), classes: Default::default() };
    for (ruleset_id, coverage) in state.coverage_of(id) {
        let ruleset = state.ruleset(ruleset_id)?;
        if !state.hunts_in(ruleset, corpus) {
            continue;
        }
        let version = ruleset.current().number;
        let stored = corpus.next_ordinal();
        if coverage.done_at(version).is_some_and(|done| done.len() == u64::from(stored.0)) {
            continue; // most hunts have caught up; their count alone says so, no bitmap need be made
        }
        let mut segments = coverage.owed(version, stored);
        segments -= &corpus.leased;
        if let Some(reserved) = reservations.segments(id) {
            segments -= reserved;
        }
        for waiting in coverage.backing_off(now) {
            segments.remove(waiting.0);
        }
        if segments.is_empty() {
            continue;
        }
        match ruleset.priority {
            Priority::Urgent => *owed.class(WorkClass::Urgent) |= &segments,
            Priority::Background => *owed.class(WorkClass::Background) |= &segments,
            Priority::Sweep => {
                *owed.class(WorkClass::Fresh) |= fresh(coverage, &segments, stored);
                *owed.class(WorkClass::Sweep) |= &segments;
            }
        }
        owed.by_ruleset.push((ruleset_id, coverage, version, segments));
    }
    let mut before = RoaringBitmap::new();
    for class in &mut owed.classes {
        *class -= &before;
        before |= &*class;
    }
    (!owed.by_ruleset.is_empty()).then_some(owed)
}

/// Arrived under the standing ruleset and never scanned by it. A new version does not push such a segment back into
/// the sweep.
fn fresh(coverage: &Coverage, segments: &RoaringBitmap, stored: SegmentOrdinal) -> RoaringBitmap {
    if coverage.first_fresh >= stored {
        return RoaringBitmap::new();
    }
    let mut fresh = segments.clone();
    fresh.remove_range(0..coverage.first_fresh.0);
    for done in coverage.done_bitmaps() {
        fresh -= done;
    }
    fresh
}

fn listings_due(state: &State, reservations: &Reservations, now: Timestamp) -> Vec<Work> {
    let mut due: Vec<_> = state
        .corpora()
        .filter(|(id, corpus)| {
            corpus.listing.lease.is_none() && corpus.listing.due_at <= now && !reservations.listings.contains(id)
        })
        .map(|(id, corpus)| (corpus.listing.due_at, id))
        .collect();
    due.sort_unstable();
    due.into_iter().map(|(_, corpus)| Work::List { corpus }).collect()
}

/// Live sessions once per free slot, in turn, so that few jobs spread over many workers.
fn in_turn(state: &State, free: &[FreeSlots]) -> Vec<SessionId> {
    let live: Vec<_> = free.iter().filter(|free| state.session(free.session).is_some()).collect();
    let most = live.iter().map(|free| free.slots).max().unwrap_or(0);
    (0..most)
        .flat_map(|round| live.iter().filter(move |free| free.slots > round))
        .map(|free| free.session)
        .take(crate::MAX_GRANTS_PER_COMMAND)
        .collect()
}
