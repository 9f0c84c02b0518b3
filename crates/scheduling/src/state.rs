//! The state every replica holds, and the dispatch of commands over it.

mod grant;
mod listing;
mod settle;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use types::{
    CorpusId, CorpusKey, CorpusSelection, CorpusSpec, Digest, LeaseId, MAX_DATASETS, NodeId, RulesetId, RulesetKey,
    SessionId, Timestamp,
};

use crate::{Command, Corpus, Coverage, Event, Lease, Priority, Refusal, Ruleset, RulesetState, Session, Stamp, Work};

/// Counted failures of a segment under one ruleset after which its files become exceptions.
pub const FAILED_ATTEMPTS_LIMIT: u32 = 3;
/// Sessions lost with the segment leased, after which it is held to be what kills them. Far above
/// [`FAILED_ATTEMPTS_LIMIT`], because a lost session is mostly a host or a network, not the segment.
pub const LOST_ATTEMPTS_LIMIT: u32 = 10;

const MAX_WORKER_NAME_BYTES: usize = 253;
const MAX_URL_BYTES: usize = 2048;
const MAX_ERROR_CHARS: usize = 500;

/// Everything that the log has decided so far. Large parts are shared between clones and copied on
/// write, so a clone is a cheap frozen view for a snapshot or a query.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct State {
    now: Timestamp,
    /// Id 1 belongs to the node that bootstraps; later members get ids from here.
    last_node: u64,
    corpora: BTreeMap<CorpusId, Arc<Corpus>>,
    /// The largest id of a corpus that was deleted: no id is given twice, because workers remember by them.
    #[serde(default, skip_serializing_if = "is_zero")]
    last_deleted_corpus: u32,
    corpus_ids: BTreeMap<CorpusKey, CorpusId>,
    rulesets: BTreeMap<RulesetId, Arc<Ruleset>>,
    ruleset_ids: BTreeMap<RulesetKey, RulesetId>,
    coverage: BTreeMap<(CorpusId, RulesetId), Arc<Coverage>>,
    sessions: BTreeMap<SessionId, Session>,
    leases: BTreeMap<LeaseId, Lease>,
}

impl State {
    /// Applies one committed command. The same commands in the same order give the same state and
    /// events on every replica. What does not hold any more is refused as an event and changes nothing.
    pub fn apply(&mut self, stamp: Stamp, command: Command) -> Vec<Event> {
        self.now = self.now.max(stamp.at); // a new leader with a slow clock must not move time back
        let mut events = Vec::new();
        let result = match command {
            Command::PutCorpus { key, spec } => self.put_corpus(key, spec, &mut events),
            Command::DeleteCorpus { key } => {
                self.delete_corpus(&key, &mut events);
                Ok(())
            }
            Command::PutRuleset { key, digest, units, corpora, source_bytes, priority } => {
                let put = self.put_ruleset(&key, digest, units, corpora, source_bytes, &mut events);
                put.map(|id| self.set_priority(id, priority))
            }
            Command::SetRulesetState { key, state } => self.set_ruleset_state(&key, state, &mut events),
            Command::OpenSession { worker } => self.open_session(stamp, worker, &mut events),
            Command::EndSessions { sessions } => self.end_sessions(&sessions, &mut events),
            Command::GrantLeases { grants } => self.grant_leases(stamp, grants, &mut events),
            Command::SettleAttempt { lease, results } => self.settle_attempt(lease, results, &mut events),
            Command::AppendSegments { lease, segments, gone } => {
                self.append_segments(lease, segments, gone, &mut events)
            }
            Command::SettleListing { lease, result } => self.settle_listing(lease, result, &mut events),
            Command::AllocateNode => self.allocate_node(&mut events),
        };
        if let Err(refusal) = result {
            events.push(Event::Refused { refusal });
        }
        events
    }

    /// The latest time any leader stamped.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    pub fn corpora(&self) -> impl Iterator<Item = (CorpusId, &Corpus)> {
        self.corpora.iter().map(|(id, corpus)| (*id, corpus.as_ref()))
    }

    pub fn corpus(&self, id: CorpusId) -> Option<&Corpus> {
        self.corpora.get(&id).map(AsRef::as_ref)
    }

    pub fn corpus_id(&self, key: &CorpusKey) -> Option<CorpusId> {
        self.corpus_ids.get(key).copied()
    }

    pub fn rulesets(&self) -> impl Iterator<Item = (RulesetId, &Ruleset)> {
        self.rulesets.iter().map(|(id, ruleset)| (*id, ruleset.as_ref()))
    }

    pub fn ruleset(&self, id: RulesetId) -> Option<&Ruleset> {
        self.rulesets.get(&id).map(AsRef::as_ref)
    }

    pub fn ruleset_id(&self, key: &RulesetKey) -> Option<RulesetId> {
        self.ruleset_ids.get(key).copied()
    }

    pub fn coverage(&self, corpus: CorpusId, ruleset: RulesetId) -> Option<&Coverage> {
        self.coverage.get(&(corpus, ruleset)).map(AsRef::as_ref)
    }

    /// What every ruleset that hunts, or has hunted, in the corpus has answered, by ruleset.
    pub fn coverage_of(&self, corpus: CorpusId) -> impl Iterator<Item = (RulesetId, &Coverage)> {
        let range = (corpus, RulesetId(0))..=(corpus, RulesetId(u32::MAX));
        self.coverage.range(range).map(|((_, ruleset), coverage)| (*ruleset, coverage.as_ref()))
    }

    pub fn sessions(&self) -> impl Iterator<Item = (SessionId, &Session)> {
        self.sessions.iter().map(|(id, session)| (*id, session))
    }

    pub fn session(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    pub fn leases(&self) -> impl Iterator<Item = (LeaseId, &Lease)> {
        self.leases.iter().map(|(id, lease)| (*id, lease))
    }

    pub fn lease(&self, id: LeaseId) -> Option<&Lease> {
        self.leases.get(&id)
    }

    /// Whether the ruleset hunts in the corpus now: active, of the same tenant, and selected.
    pub fn hunts_in(&self, ruleset: &Ruleset, corpus: &Corpus) -> bool {
        ruleset.state == RulesetState::Active && selects(ruleset, corpus)
    }

    fn put_corpus(&mut self, key: CorpusKey, spec: CorpusSpec, events: &mut Vec<Event>) -> Result<(), Refusal> {
        if spec.url.is_empty() || spec.url.len() > MAX_URL_BYTES {
            return Err(malformed(format!("a corpus url has 1 to {MAX_URL_BYTES} bytes")));
        }
        let distinct = spec.datasets.iter().collect::<BTreeSet<_>>().len();
        if distinct != spec.datasets.len() || distinct > MAX_DATASETS {
            return Err(malformed(format!("a corpus names at most {MAX_DATASETS} datasets, each once")));
        }
        if let Some(id) = self.corpus_id(&key) {
            let corpus = self.corpora.get_mut(&id).ok_or(Refusal::UnknownCorpus)?;
            if corpus.spec.url != spec.url {
                return Err(Refusal::UrlFixed { url: spec.url });
            }
            let corpus = Arc::make_mut(corpus);
            // A shorter interval holds at once: a slip of `u64::MAX` must not silence a corpus for ever.
            corpus.listing.due_at = corpus.listing.due_at.min(self.now.plus_ms(spec.listing_interval_ms));
            corpus.spec = spec;
            events.push(Event::CorpusPut { corpus: id, created: false });
            return Ok(());
        }
        let last = self.corpora.keys().next_back().map(|id| id.0);
        let deleted = Some(self.last_deleted_corpus).filter(|id| *id > 0);
        let id = CorpusId(next_id(last.max(deleted))?);
        self.corpus_ids.insert(key.clone(), id);
        self.corpora.insert(id, Arc::new(Corpus::new(key, spec, self.now)));
        self.open_coverage();
        events.push(Event::CorpusPut { corpus: id, created: true });
        Ok(())
    }

    /// A corpus that is not there is deleted already.
    fn delete_corpus(&mut self, key: &CorpusKey, events: &mut Vec<Event>) {
        let Some(id) = self.corpus_ids.remove(key) else {
            return;
        };
        let of_corpus = |lease: &Lease| match &lease.work {
            Work::Scan { corpus, .. } | Work::List { corpus } => *corpus == id,
        };
        let leases: Vec<_> =
            self.leases.iter().filter(|(_, lease)| of_corpus(lease)).map(|(lease, _)| *lease).collect();
        for lease in leases {
            self.take_lease(lease, events); // a settlement that comes now is refused
        }
        self.corpora.remove(&id);
        self.coverage.retain(|(corpus, _), _| *corpus != id);
        self.last_deleted_corpus = self.last_deleted_corpus.max(id.0);
        events.push(Event::CorpusDeleted { corpus: id });
    }

    fn put_ruleset(
        &mut self,
        key: &RulesetKey,
        digest: Digest,
        units: Vec<Digest>,
        corpora: CorpusSelection,
        source_bytes: u64,
        events: &mut Vec<Event>,
    ) -> Result<RulesetId, Refusal> {
        if units.is_empty() || !units.is_sorted_by(|a, b| a < b) {
            return Err(malformed("units are sorted, unique and at least one".to_owned()));
        }
        let (id, known) = match self.ruleset_id(key) {
            Some(id) => (id, true),
            None => (RulesetId(next_id(self.rulesets.keys().next_back().map(|id| id.0))?), false),
        };
        let now = self.now;
        let shared = self.rulesets.entry(id).or_insert_with(|| Arc::new(Ruleset::new(key.clone(), corpora.clone())));
        let ruleset = Arc::make_mut(shared);
        ruleset.state = RulesetState::Active;
        ruleset.corpora = corpora;
        let created = !known || ruleset.current().digest != digest;
        if created {
            ruleset.push(digest, units, source_bytes, now);
        }
        let version = ruleset.current().number;
        self.ruleset_ids.insert(key.clone(), id);
        if created {
            self.forget_attempts(id);
        }
        self.open_coverage();
        events.push(Event::RulesetPut { ruleset: id, version, created });
        Ok(id)
    }

    fn set_priority(&mut self, id: RulesetId, priority: Priority) {
        if let Some(ruleset) = self.rulesets.get_mut(&id).filter(|ruleset| ruleset.priority != priority) {
            Arc::make_mut(ruleset).priority = priority;
        }
    }

    fn forget_attempts(&mut self, id: RulesetId) {
        for ((_, ruleset), coverage) in &mut self.coverage {
            if *ruleset == id && coverage.attempts().next().is_some() {
                Arc::make_mut(coverage).forget_attempts();
            }
        }
    }

    /// Opens the hunts that rulesets and corpora ask for and that are not there yet.
    fn open_coverage(&mut self) {
        for (ruleset_id, ruleset) in &self.rulesets {
            for (corpus_id, corpus) in &self.corpora {
                if !selects(ruleset, corpus) || ruleset.state != RulesetState::Active {
                    continue;
                }
                let version = ruleset.current().number;
                let coverage = self
                    .coverage
                    .entry((*corpus_id, *ruleset_id))
                    .or_insert_with(|| Arc::new(Coverage::starting_at(corpus.next_ordinal())));
                if coverage.hunt(version).is_none() {
                    let coverage = Arc::make_mut(coverage);
                    coverage.open_hunt(version, self.now);
                    coverage.note_progress(version, corpus, self.now); // a listed corpus without files owes nothing
                }
            }
        }
    }

    fn set_ruleset_state(
        &mut self,
        key: &RulesetKey,
        state: RulesetState,
        events: &mut Vec<Event>,
    ) -> Result<(), Refusal> {
        let id = self.ruleset_id(key).ok_or(Refusal::UnknownRuleset)?;
        let ruleset = self.rulesets.get_mut(&id).ok_or(Refusal::UnknownRuleset)?;
        Arc::make_mut(ruleset).state = state;
        self.open_coverage(); // corpora may have come while it was paused
        events.push(Event::RulesetStateSet { ruleset: id });
        Ok(())
    }

    fn open_session(&mut self, stamp: Stamp, worker: String, events: &mut Vec<Event>) -> Result<(), Refusal> {
        if worker.is_empty() || worker.len() > MAX_WORKER_NAME_BYTES {
            return Err(malformed(format!("a worker's name has 1 to {MAX_WORKER_NAME_BYTES} bytes")));
        }
        let id = SessionId { index: stamp.index, slot: stamp.first_slot };
        let session = Session { worker, opened_at: self.now, leases: Default::default() };
        self.sessions.insert(id, session);
        events.push(Event::SessionOpened { session: id });
        Ok(())
    }

    fn allocate_node(&mut self, events: &mut Vec<Event>) -> Result<(), Refusal> {
        self.last_node = self.last_node.max(1) + 1;
        events.push(Event::NodeAllocated { node: NodeId(self.last_node) });
        Ok(())
    }

    fn corpus_mut(&mut self, id: CorpusId) -> Option<&mut Corpus> {
        self.corpora.get_mut(&id).map(Arc::make_mut)
    }

    fn coverage_mut(&mut self, corpus: CorpusId, ruleset: RulesetId) -> Option<&mut Coverage> {
        self.coverage.get_mut(&(corpus, ruleset)).map(Arc::make_mut)
    }
}

fn selects(ruleset: &Ruleset, corpus: &Corpus) -> bool {
    ruleset.key.tenant == corpus.key.tenant && ruleset.corpora.contains(&corpus.key.name)
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn next_id(last: Option<u32>) -> Result<u32, Refusal> {
    match last {
        None => Ok(1),
        Some(last) => last.checked_add(1).ok_or_else(|| malformed("ids are used up".to_owned())),
    }
}

fn malformed(what: String) -> Refusal {
    Refusal::Malformed { what }
}

/// An error text bounded for the state.
fn bounded(text: &str) -> String {
    text.chars().take(MAX_ERROR_CHARS).collect()
}
