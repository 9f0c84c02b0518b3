//! The same rules once more: clear, slow, a scan over tables of plain rows. It shares nothing with the core
//! but `types`, the commands and the events, so that a mistake would have to be made twice.
//!
//! One row of `answers` says what one ruleset version answered about one segment; everything that the core keeps as
//! bitmaps and running sums is counted from these rows each time anybody asks.

use types::{
    CorpusId, CorpusKey, CorpusSelection, CorpusSpec, Digest, Exception, FileOrdinal, LeaseId, NodeId, Outcome,
    OutcomeCounts, RulesetId, RulesetKey, RulesetVersion, SegmentDescriptor, SegmentOrdinal, SessionId, Skipped,
    Timestamp,
};

use crate::{
    Backlog, Command, Event, Grant, HuntState, HuntView, ListingResult, Refusal, RulesetResult, RulesetState, ScanDone,
    Stamp, Target, Verdict, Version, Work,
};

pub(super) struct CorpusRow {
    pub(super) id: CorpusId,
    pub(super) key: CorpusKey,
    pub(super) spec: CorpusSpec,
    pub(super) created_at: Timestamp,
    pub(super) due_at: Timestamp,
    pub(super) last_done_at: Option<Timestamp>,
    pub(super) skipped: Skipped,
    pub(super) failed: u32,
    pub(super) last_error: Option<String>,
}

pub(super) struct SegmentRow {
    pub(super) corpus: CorpusId,
    pub(super) ordinal: SegmentOrdinal,
    pub(super) descriptor: SegmentDescriptor,
}

pub(super) struct RulesetRow {
    pub(super) id: RulesetId,
    pub(super) key: RulesetKey,
    pub(super) state: RulesetState,
    pub(super) corpora: CorpusSelection,
}

pub(super) struct VersionRow {
    pub(super) ruleset: RulesetId,
    pub(super) version: Version,
    units: Vec<Digest>,
}

/// A ruleset that hunts, or has hunted, in a corpus at a version.
pub(super) struct HuntRow {
    pub(super) corpus: CorpusId,
    pub(super) ruleset: RulesetId,
    pub(super) version: RulesetVersion,
    started_at: Timestamp,
    caught_up_at: Option<Timestamp>,
}

pub(super) struct AnswerRow {
    pub(super) corpus: CorpusId,
    pub(super) ruleset: RulesetId,
    pub(super) version: RulesetVersion,
    pub(super) segment: SegmentOrdinal,
    pub(super) lease: LeaseId,
    pub(super) done: ScanDone,
}

/// Attempts at a segment under a ruleset since it was last answered.
#[derive(Clone)]
pub(super) struct AttemptsRow {
    pub(super) corpus: CorpusId,
    pub(super) ruleset: RulesetId,
    pub(super) segment: SegmentOrdinal,
    pub(super) acquired: u32,
    pub(super) failed: u32,
    pub(super) lost: u32,
    pub(super) not_before: Timestamp,
    pub(super) last_error: Option<String>,
}

pub(super) struct SessionRow {
    pub(super) id: SessionId,
    pub(super) worker: String,
    pub(super) opened_at: Timestamp,
}

#[derive(Clone)]
pub(super) struct LeaseRow {
    pub(super) id: LeaseId,
    pub(super) session: SessionId,
    pub(super) work: Work,
    pub(super) attempt: u32,
    pub(super) granted_at: Timestamp,
}

#[derive(Default)]
pub(super) struct Model {
    pub(super) now: Timestamp,
    nodes: u64,
    pub(super) corpora: Vec<CorpusRow>,
    /// Corpora that there ever were.
    corpora_ever: u32,
    pub(super) segments: Vec<SegmentRow>,
    pub(super) gone: Vec<(CorpusId, SegmentOrdinal, FileOrdinal)>,
    pub(super) rulesets: Vec<RulesetRow>,
    pub(super) versions: Vec<VersionRow>,
    pub(super) hunts: Vec<HuntRow>,
    pub(super) answers: Vec<AnswerRow>,
    pub(super) attempts: Vec<AttemptsRow>,
    pub(super) sessions: Vec<SessionRow>,
    pub(super) leases: Vec<LeaseRow>,
}

type Result<T> = std::result::Result<T, Refusal>;

impl Model {
    pub(super) fn apply(&mut self, stamp: Stamp, command: Command) -> Vec<Event> {
        if stamp.at > self.now {
            self.now = stamp.at;
        }
        let events = match command {
            Command::PutCorpus { key, spec } => self.put_corpus(key, spec),
            Command::DeleteCorpus { key } => Ok(self.delete_corpus(&key)),
            Command::PutRuleset { key, digest, units, corpora, source_bytes, priority: _ } => {
                self.put_ruleset(key, digest, units, corpora, source_bytes)
            }
            Command::SetRulesetState { key, state } => self.set_ruleset_state(&key, state),
            Command::OpenSession { worker } => self.open_session(stamp, worker),
            Command::EndSessions { sessions } => Ok(self.end_sessions(&sessions)),
            Command::GrantLeases { grants } => self.grant_leases(stamp, grants),
            Command::SettleAttempt { lease, results } => self.settle_attempt(lease, &results),
            Command::AppendSegments { lease, segments, gone } => self.append_segments(lease, segments, gone),
            Command::SettleListing { lease, result } => self.settle_listing(lease, result),
            Command::AllocateNode => {
                self.nodes += 1;
                Ok(vec![Event::NodeAllocated { node: NodeId(self.nodes + 1) }])
            }
        };
        self.open_hunts();
        self.note_caught_up();
        events.unwrap_or_else(|refusal| vec![Event::Refused { refusal }])
    }

    // Questions, each answered by looking at every row.

    pub(super) fn current(&self, ruleset: RulesetId) -> RulesetVersion {
        self.version_row(ruleset).version.number
    }

    fn version_row(&self, ruleset: RulesetId) -> &VersionRow {
        self.versions.iter().filter(|row| row.ruleset == ruleset).max_by_key(|row| row.version.number).unwrap()
    }

    pub(super) fn segment(&self, corpus: CorpusId, segment: SegmentOrdinal) -> Option<SegmentDescriptor> {
        let row = self.segments.iter().find(|row| row.corpus == corpus && row.ordinal == segment)?;
        Some(row.descriptor)
    }

    pub(super) fn segments_of(&self, corpus: CorpusId) -> impl Iterator<Item = &SegmentRow> {
        self.segments.iter().filter(move |row| row.corpus == corpus)
    }

    pub(super) fn files(&self, corpus: CorpusId) -> u64 {
        self.segments_of(corpus).map(|row| u64::from(row.descriptor.files)).sum()
    }

    pub(super) fn bytes(&self, corpus: CorpusId) -> u64 {
        self.segments_of(corpus).fold(0, |sum, row| sum.saturating_add(row.descriptor.bytes))
    }

    /// The answer that stands for a segment: that of the highest version that gave one.
    pub(super) fn answer(&self, corpus: CorpusId, ruleset: RulesetId, segment: SegmentOrdinal) -> Option<&AnswerRow> {
        self.answers
            .iter()
            .filter(|row| row.corpus == corpus && row.ruleset == ruleset && row.segment == segment)
            .max_by_key(|row| row.version)
    }

    pub(super) fn attempts(
        &self,
        corpus: CorpusId,
        ruleset: RulesetId,
        segment: SegmentOrdinal,
    ) -> Option<&AttemptsRow> {
        self.attempts.iter().find(|row| row.corpus == corpus && row.ruleset == ruleset && row.segment == segment)
    }

    pub(super) fn is_leased(&self, corpus: CorpusId, segment: SegmentOrdinal) -> bool {
        self.leases.iter().any(|row| match &row.work {
            Work::Scan { corpus: c, segment: s, .. } => *c == corpus && *s == segment,
            Work::List { .. } => false,
        })
    }

    pub(super) fn listing_lease(&self, corpus: CorpusId) -> Option<LeaseId> {
        self.leases.iter().find(|row| row.work == Work::List { corpus }).map(|row| row.id)
    }

    fn selects(&self, ruleset: &RulesetRow, corpus: &CorpusRow) -> bool {
        let chosen = match &ruleset.corpora {
            CorpusSelection::All => true,
            CorpusSelection::Named(names) => names.contains(&corpus.key.name),
        };
        chosen && ruleset.key.tenant == corpus.key.tenant
    }

    pub(super) fn hunts_in(&self, ruleset: RulesetId, corpus: CorpusId) -> bool {
        let ruleset = self.rulesets.iter().find(|row| row.id == ruleset).unwrap();
        let corpus = self.corpora.iter().find(|row| row.id == corpus).unwrap();
        ruleset.state == RulesetState::Active && self.selects(ruleset, corpus)
    }

    /// Whether the current version of an active ruleset has no answer for the segment, leased or not.
    pub(super) fn is_owed(&self, corpus: CorpusId, ruleset: RulesetId, segment: SegmentOrdinal) -> bool {
        let answered = self.answer(corpus, ruleset, segment).map(|row| row.version);
        self.hunts_in(ruleset, corpus) && answered != Some(self.current(ruleset))
    }

    pub(super) fn backlog(&self) -> Backlog {
        let mut backlog = Backlog::default();
        for row in &self.segments {
            let owed = self.rulesets.iter().any(|ruleset| self.is_owed(row.corpus, ruleset.id, row.ordinal));
            if self.is_leased(row.corpus, row.ordinal) {
                backlog.leased_segments += 1;
            } else if owed {
                backlog.owed_segments += 1;
            }
        }
        backlog.listings = self.corpora.iter().filter(|row| self.listing_lease(row.id).is_some()).count() as u64;
        backlog
    }

    /// Jobs that could be granted at `now`: segments that owe something not backing off, and listings that are due.
    pub(super) fn grantable(&self, now: Timestamp) -> usize {
        let waits =
            |corpus, ruleset, segment| self.attempts(corpus, ruleset, segment).is_some_and(|row| row.not_before > now);
        let scans = self.segments.iter().filter(|row| {
            let (corpus, segment) = (row.corpus, row.ordinal);
            let any = self
                .rulesets
                .iter()
                .map(|ruleset| ruleset.id)
                .any(|ruleset| self.is_owed(corpus, ruleset, segment) && !waits(corpus, ruleset, segment));
            any && !self.is_leased(corpus, segment)
        });
        let listings = self.corpora.iter().filter(|row| row.due_at <= now && self.listing_lease(row.id).is_none());
        scans.count() + listings.count()
    }

    fn outcomes(&self, hunt: &HuntRow) -> OutcomeCounts {
        let mut outcomes = OutcomeCounts::default();
        for row in self.answers_of(hunt) {
            let files = self.segment(row.corpus, row.segment).unwrap().files;
            let excepted = u32::try_from(row.done.excepted.len()).unwrap();
            outcomes.add(Outcome::Matched, u64::from(row.done.matched));
            outcomes.add(Outcome::Clean, u64::from(files - row.done.matched - excepted));
            for (_, exception) in &row.done.excepted {
                outcomes.add(Outcome::Excepted(*exception), 1);
            }
        }
        outcomes
    }

    fn answers_of(&self, hunt: &HuntRow) -> impl Iterator<Item = &AnswerRow> {
        self.answers
            .iter()
            .filter(|row| row.corpus == hunt.corpus && row.ruleset == hunt.ruleset && row.version == hunt.version)
    }

    /// By corpus, ruleset and version.
    pub(super) fn hunt_views(&self) -> Vec<HuntView> {
        let mut hunts: Vec<_> = self.hunts.iter().collect();
        hunts.sort_by_key(|row| (row.corpus, row.ruleset, row.version));
        hunts.into_iter().map(|row| self.hunt_view(row)).collect()
    }

    fn hunt_view(&self, hunt: &HuntRow) -> HuntView {
        let corpus = self.corpora.iter().find(|row| row.id == hunt.corpus).unwrap();
        let ruleset = self.rulesets.iter().find(|row| row.id == hunt.ruleset).unwrap();
        let version = self.versions.iter().find(|row| row.ruleset == ruleset.id && row.version.number == hunt.version);
        let outcomes = self.outcomes(hunt);
        let state = if hunt.version != self.current(ruleset.id) {
            HuntState::Superseded
        } else if ruleset.state == RulesetState::Paused {
            HuntState::Paused
        } else if ruleset.state == RulesetState::Retired || !self.selects(ruleset, corpus) {
            HuntState::Retired
        } else if hunt.caught_up_at.is_some() && corpus.failed == 0 {
            HuntState::CaughtUp
        } else {
            HuntState::Running
        };
        let unanswered = self
            .segments_of(corpus.id)
            .filter(|row| !self.answers_of(hunt).any(|answer| answer.segment == row.ordinal))
            .map(|row| u64::from(row.descriptor.files));
        let done_bytes = self.answers_of(hunt).map(|row| self.segment(row.corpus, row.segment).unwrap().bytes);
        HuntView {
            ruleset: ruleset.key.clone(),
            version: version.unwrap().version.clone(),
            corpus: corpus.key.clone(),
            corpus_id: corpus.id,
            ruleset_id: ruleset.id,
            state,
            stored_files: self.files(corpus.id),
            stored_bytes: self.bytes(corpus.id),
            outcomes,
            pending_files: unanswered.sum(),
            done_bytes: done_bytes.fold(0, u64::saturating_add),
            scanned_bytes: self.answers_of(hunt).fold(0, |sum, row| sum.saturating_add(row.done.scanned_bytes)),
            findings: self.answers_of(hunt).map(|row| u64::from(row.done.findings)).sum(),
            listed_once: corpus.last_done_at.is_some(),
            skipped: corpus.skipped,
            listing_error: corpus.last_error.clone(),
            started_at: hunt.started_at,
            caught_up_at: hunt.caught_up_at,
        }
    }

    // Rules that hold after every command.

    /// An active ruleset has a hunt at its current version in each corpus it selects.
    fn open_hunts(&mut self) {
        let mut missing = Vec::new();
        for corpus in &self.corpora {
            for ruleset in &self.rulesets {
                let version = self.current(ruleset.id);
                let there = self
                    .hunts
                    .iter()
                    .any(|row| row.corpus == corpus.id && row.ruleset == ruleset.id && row.version == version);
                if self.hunts_in(ruleset.id, corpus.id) && !there {
                    missing.push((corpus.id, ruleset.id, version));
                }
            }
        }
        for (corpus, ruleset, version) in missing {
            self.hunts.push(HuntRow { corpus, ruleset, version, started_at: self.now, caught_up_at: None });
        }
    }

    /// A hunt at its ruleset's current version has caught up while the corpus was listed and all is answered.
    fn note_caught_up(&mut self) {
        for at in 0..self.hunts.len() {
            if self.hunts[at].version == self.current(self.hunts[at].ruleset) {
                self.note_caught_up_of(at);
            }
        }
    }

    fn note_caught_up_of(&mut self, at: usize) {
        let hunt = &self.hunts[at];
        let listed = self.corpora.iter().any(|row| row.id == hunt.corpus && row.last_done_at.is_some());
        let unanswered =
            self.segments_of(hunt.corpus).any(|row| !self.answers_of(hunt).any(|answer| answer.segment == row.ordinal));
        let since = hunt.caught_up_at.unwrap_or(self.now);
        self.hunts[at].caught_up_at = if listed && !unanswered { Some(since) } else { None };
    }

    // Commands.

    fn put_corpus(&mut self, key: CorpusKey, spec: CorpusSpec) -> Result<Vec<Event>> {
        if spec.url.is_empty() || spec.url.len() > 2048 {
            return Err(malformed("a corpus url has 1 to 2048 bytes"));
        }
        let now = self.now;
        if let Some(row) = self.corpora.iter_mut().find(|row| row.key == key) {
            if row.spec.url != spec.url {
                return Err(Refusal::UrlFixed { url: spec.url });
            }
            let soonest = now.plus_ms(spec.listing_interval_ms);
            if soonest < row.due_at {
                row.due_at = soonest;
            }
            row.spec = spec;
            return Ok(vec![Event::CorpusPut { corpus: row.id, created: false }]);
        }
        self.corpora_ever += 1;
        let id = CorpusId(self.corpora_ever);
        self.corpora.push(CorpusRow {
            id,
            key,
            spec,
            created_at: now,
            due_at: now,
            last_done_at: None,
            skipped: Skipped::default(),
            failed: 0,
            last_error: None,
        });
        Ok(vec![Event::CorpusPut { corpus: id, created: true }])
    }

    fn delete_corpus(&mut self, key: &CorpusKey) -> Vec<Event> {
        let Some(id) = self.corpora.iter().find(|row| row.key == *key).map(|row| row.id) else {
            return Vec::new();
        };
        let in_it = |lease: &LeaseRow| match &lease.work {
            Work::Scan { corpus, .. } | Work::List { corpus } => *corpus == id,
        };
        let mut ended: Vec<_> = self.leases.iter().filter(|row| in_it(row)).cloned().collect();
        ended.sort_by_key(|row| row.id);
        let mut events: Vec<_> =
            ended.iter().map(|row| Event::LeaseEnded { lease: row.id, session: row.session }).collect();
        self.leases.retain(|row| !in_it(row));
        self.corpora.retain(|row| row.id != id);
        self.segments.retain(|row| row.corpus != id);
        self.gone.retain(|(corpus, ..)| *corpus != id);
        self.hunts.retain(|row| row.corpus != id);
        self.answers.retain(|row| row.corpus != id);
        self.attempts.retain(|row| row.corpus != id);
        events.push(Event::CorpusDeleted { corpus: id });
        events
    }

    fn put_ruleset(
        &mut self,
        key: RulesetKey,
        digest: Digest,
        units: Vec<Digest>,
        corpora: CorpusSelection,
        source_bytes: u64,
    ) -> Result<Vec<Event>> {
        let mut tidy = units.clone();
        tidy.sort();
        tidy.dedup();
        if units.is_empty() || tidy != units {
            return Err(malformed("units are sorted, unique and at least one"));
        }
        let known = self.rulesets.iter().position(|row| row.key == key);
        let at = known.unwrap_or(self.rulesets.len());
        let id = RulesetId(u32::try_from(at).unwrap() + 1);
        let row = RulesetRow { id, key, state: RulesetState::Active, corpora };
        if known.is_some() {
            self.rulesets[at] = row;
        } else {
            self.rulesets.push(row);
        }
        let before: Vec<&VersionRow> = self.versions.iter().filter(|row| row.ruleset == id).collect();
        let last = before.last();
        let created = last.is_none_or(|row| row.version.digest != digest);
        if created {
            let had = |unit: &&Digest| last.is_some_and(|row| row.units.contains(unit));
            let carried = u32::try_from(units.iter().filter(had).count()).unwrap();
            let version = Version {
                number: RulesetVersion(u32::try_from(before.len()).unwrap() + 1),
                digest,
                put_at: self.now,
                source_bytes,
                units_new: u32::try_from(units.len()).unwrap() - carried,
                units_carried: carried,
            };
            self.versions.push(VersionRow { ruleset: id, version, units });
            self.attempts.retain(|row| row.ruleset != id);
        }
        Ok(vec![Event::RulesetPut { ruleset: id, version: self.current(id), created }])
    }

    fn set_ruleset_state(&mut self, key: &RulesetKey, state: RulesetState) -> Result<Vec<Event>> {
        let row = self.rulesets.iter_mut().find(|row| row.key == *key).ok_or(Refusal::UnknownRuleset)?;
        row.state = state;
        Ok(vec![Event::RulesetStateSet { ruleset: row.id }])
    }

    fn open_session(&mut self, stamp: Stamp, worker: String) -> Result<Vec<Event>> {
        if worker.is_empty() || worker.len() > 253 {
            return Err(malformed("a worker's name has 1 to 253 bytes"));
        }
        let id = SessionId { index: stamp.index, slot: stamp.first_slot };
        self.sessions.push(SessionRow { id, worker, opened_at: self.now });
        Ok(vec![Event::SessionOpened { session: id }])
    }

    fn end_sessions(&mut self, sessions: &[SessionId]) -> Vec<Event> {
        let mut events = Vec::new();
        for session in sessions {
            if !self.sessions.iter().any(|row| row.id == *session) {
                continue;
            }
            self.sessions.retain(|row| row.id != *session);
            let mut lost: Vec<_> = self.leases.iter().filter(|row| row.session == *session).cloned().collect();
            lost.sort_by_key(|row| row.id);
            for lease in lost {
                self.leases.retain(|row| row.id != lease.id);
                events.push(Event::LeaseEnded { lease: lease.id, session: *session });
                if let Work::Scan { corpus, segment, targets } = lease.work {
                    for target in targets {
                        let row = self.attempts_row(corpus, target.ruleset, segment);
                        row.lost += 1;
                        if row.lost == 10 {
                            events.extend(self.abandon(lease.id, corpus, segment, target));
                        }
                    }
                }
            }
            events.push(Event::SessionEnded { session: *session });
        }
        events
    }

    fn grant_leases(&mut self, stamp: Stamp, grants: Vec<Grant>) -> Result<Vec<Event>> {
        if grants.len() > 4096 {
            return Err(malformed("at most 4096 grants in one command"));
        }
        let mut events = Vec::new();
        for (slot, grant) in grants.into_iter().enumerate() {
            let id = LeaseId { index: stamp.index, slot: stamp.first_slot + u32::try_from(slot).unwrap() };
            let session = grant.session;
            events.push(match self.grant(id, grant) {
                Ok(()) => Event::LeaseGranted { lease: id, session },
                Err(refusal) => Event::Refused { refusal },
            });
        }
        Ok(events)
    }

    fn grant(&mut self, id: LeaseId, Grant { session, work }: Grant) -> Result<()> {
        if !self.sessions.iter().any(|row| row.id == session) {
            return Err(Refusal::SessionNotLive);
        }
        let attempt = match &work {
            Work::List { corpus } => {
                let row = self.corpora.iter().find(|row| row.id == *corpus).ok_or(Refusal::UnknownCorpus)?;
                if self.listing_lease(*corpus).is_some() {
                    return Err(Refusal::NotOwed);
                }
                row.failed + 1
            }
            Work::Scan { corpus, segment, targets } => {
                self.check_job(*corpus, *segment, targets)?;
                let mut attempt = 0;
                for target in targets {
                    let row = self.attempts_row(*corpus, target.ruleset, *segment);
                    row.acquired += 1;
                    attempt = attempt.max(row.acquired);
                }
                attempt
            }
        };
        self.leases.push(LeaseRow { id, session, work, attempt, granted_at: self.now });
        Ok(())
    }

    fn check_job(&self, corpus: CorpusId, segment: SegmentOrdinal, targets: &[Target]) -> Result<()> {
        let ascending = targets.windows(2).all(|pair| pair[0].ruleset < pair[1].ruleset);
        if targets.is_empty() || !ascending {
            return Err(malformed("a job's targets are sorted, unique and at least one"));
        }
        if !self.corpora.iter().any(|row| row.id == corpus) {
            return Err(Refusal::UnknownCorpus);
        }
        if self.segment(corpus, segment).is_none() || self.is_leased(corpus, segment) {
            return Err(Refusal::NotOwed);
        }
        for target in targets {
            if !self.rulesets.iter().any(|row| row.id == target.ruleset) {
                return Err(Refusal::UnknownRuleset);
            }
            let from = self.answer(corpus, target.ruleset, segment).map(|row| row.version);
            let fits = target.from == from && target.to == self.current(target.ruleset);
            if !fits || !self.is_owed(corpus, target.ruleset, segment) {
                return Err(Refusal::NotOwed);
            }
        }
        Ok(())
    }

    fn settle_attempt(&mut self, id: LeaseId, results: &[RulesetResult]) -> Result<Vec<Event>> {
        let lease = self.leases.iter().find(|row| row.id == id).cloned().ok_or(Refusal::LeaseNotLive)?;
        let Work::Scan { corpus, segment, targets } = lease.work else {
            return Err(Refusal::WrongWork);
        };
        self.leases.retain(|row| row.id != id);
        let mut events = vec![Event::LeaseEnded { lease: id, session: lease.session }];
        for target in targets {
            let of_target = |result: &&RulesetResult| result.ruleset == target.ruleset && result.to == target.to;
            let verdicts: Vec<_> = results.iter().filter(of_target).map(|result| &result.verdict).collect();
            events.extend(match verdicts.as_slice() {
                [] => Vec::new(),
                [Verdict::Done(done)] => match self.misfit(corpus, segment, done) {
                    None => self.answer_with(id, corpus, segment, target, done.clone()),
                    Some(what) => {
                        let reason = format!("the worker's settlement does not add up: {what}");
                        self.fail(id, corpus, segment, target, &reason, 1)
                    }
                },
                [Verdict::Failed { reason }] => self.fail(id, corpus, segment, target, reason, 1),
                [Verdict::Hindered { reason }] => self.fail(id, corpus, segment, target, reason, 0),
                [_, _, ..] => self.fail(id, corpus, segment, target, "the worker settled one ruleset twice", 1),
            });
        }
        Ok(events)
    }

    fn misfit(&self, corpus: CorpusId, segment: SegmentOrdinal, done: &ScanDone) -> Option<&'static str> {
        let files = self.segment(corpus, segment).unwrap().files;
        let ascending = done.excepted.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let inside = done.excepted.iter().all(|(file, _)| file.0 < files);
        if !ascending || !inside {
            Some("excepted files are not ascending ordinals of the segment")
        } else if u128::from(done.matched) + done.excepted.len() as u128 > u128::from(files) {
            Some("more outcomes than files")
        } else if done.matched > done.findings {
            Some("fewer findings than matched files")
        } else {
            None
        }
    }

    fn answer_with(
        &mut self,
        lease: LeaseId,
        corpus: CorpusId,
        segment: SegmentOrdinal,
        target: Target,
        done: ScanDone,
    ) -> Vec<Event> {
        let Target { ruleset, to: version, .. } = target;
        self.attempts.retain(|row| !(row.corpus == corpus && row.ruleset == ruleset && row.segment == segment));
        self.answers.push(AnswerRow { corpus, ruleset, version, segment, lease, done });
        let at = self
            .hunts
            .iter()
            .position(|row| row.corpus == corpus && row.ruleset == ruleset && row.version == version)
            .unwrap();
        self.note_caught_up_of(at); // it may be the last of a superseded version
        vec![Event::SegmentDone { corpus, segment, ruleset, version }]
    }

    fn fail(
        &mut self,
        lease: LeaseId,
        corpus: CorpusId,
        segment: SegmentOrdinal,
        target: Target,
        reason: &str,
        count: u32,
    ) -> Vec<Event> {
        let now = self.now;
        let row = self.attempts_row(corpus, target.ruleset, segment);
        row.not_before = now.plus_ms([1_000, 2_000, 4_000][row.failed as usize]);
        row.failed += count;
        row.last_error = Some(reason.chars().take(500).collect());
        let given_up = row.failed == 3;
        let mut events = vec![Event::AttemptFailed { corpus, segment, ruleset: target.ruleset, version: target.to }];
        if given_up {
            events.extend(self.abandon(lease, corpus, segment, target));
        }
        events
    }

    fn abandon(&mut self, lease: LeaseId, corpus: CorpusId, segment: SegmentOrdinal, target: Target) -> Vec<Event> {
        let files = self.segment(corpus, segment).unwrap().files;
        let excepted = (0..files).map(|file| (FileOrdinal(file), Exception::Abandoned)).collect();
        let done = ScanDone { matched: 0, findings: 0, excepted, scanned_bytes: 0 };
        let mut events = self.answer_with(lease, corpus, segment, target, done);
        events.push(Event::SegmentAbandoned { corpus, segment, ruleset: target.ruleset, version: target.to });
        events
    }

    fn attempts_row(&mut self, corpus: CorpusId, ruleset: RulesetId, segment: SegmentOrdinal) -> &mut AttemptsRow {
        let is = |row: &AttemptsRow| row.corpus == corpus && row.ruleset == ruleset && row.segment == segment;
        let at = self.attempts.iter().position(is).unwrap_or_else(|| {
            let not_before = Timestamp(0);
            let zero =
                AttemptsRow { corpus, ruleset, segment, acquired: 0, failed: 0, lost: 0, not_before, last_error: None };
            self.attempts.push(zero);
            self.attempts.len() - 1
        });
        &mut self.attempts[at]
    }

    /// The corpus that a live listing lease lists.
    fn listed(&self, lease: LeaseId) -> Result<usize> {
        let lease = self.leases.iter().find(|row| row.id == lease).ok_or(Refusal::LeaseNotLive)?;
        let Work::List { corpus } = lease.work else {
            return Err(Refusal::WrongWork);
        };
        Ok(self.corpora.iter().position(|row| row.id == corpus).unwrap())
    }

    fn append_segments(
        &mut self,
        lease: LeaseId,
        segments: Vec<SegmentDescriptor>,
        gone: Vec<(SegmentOrdinal, Vec<FileOrdinal>)>,
    ) -> Result<Vec<Event>> {
        let corpus = self.corpora[self.listed(lease)?].id;
        if !segments.iter().all(|segment| (1..=4096).contains(&segment.files)) {
            return Err(malformed("a segment has 1 to 4096 files"));
        }
        let before = self.segments_of(corpus).count();
        for descriptor in segments {
            if self.segments_of(corpus).all(|row| row.descriptor.manifest != descriptor.manifest) {
                let ordinal = SegmentOrdinal(u32::try_from(self.segments_of(corpus).count()).unwrap());
                self.segments.push(SegmentRow { corpus, ordinal, descriptor });
            }
        }
        for (segment, files) in gone {
            for file in files {
                let stored = self.segment(corpus, segment).is_some_and(|descriptor| file.0 < descriptor.files);
                if stored && !self.gone.contains(&(corpus, segment, file)) {
                    self.gone.push((corpus, segment, file));
                }
            }
        }
        let count = u32::try_from(self.segments_of(corpus).count() - before).unwrap();
        let first = SegmentOrdinal(u32::try_from(before).unwrap());
        Ok(vec![Event::SegmentsAppended { corpus, first, count }])
    }

    fn settle_listing(&mut self, lease: LeaseId, result: ListingResult) -> Result<Vec<Event>> {
        let at = self.listed(lease)?;
        let session = self.leases.iter().find(|row| row.id == lease).unwrap().session;
        self.leases.retain(|row| row.id != lease);
        let now = self.now;
        let row = &mut self.corpora[at];
        match result {
            ListingResult::Done { skipped } => {
                row.skipped = skipped;
                row.last_done_at = Some(now);
                row.due_at = now.plus_ms(row.spec.listing_interval_ms);
                row.failed = 0;
                row.last_error = None;
            }
            ListingResult::Failed { reason } => {
                let seconds = [1, 2, 4, 8, 16].get(row.failed as usize).copied().unwrap_or(32);
                row.due_at = now.plus_ms(seconds * 1_000);
                row.failed += 1;
                row.last_error = Some(reason.chars().take(500).collect());
            }
        }
        Ok(vec![Event::LeaseEnded { lease, session }, Event::ListingSettled { corpus: row.id }])
    }
}

fn malformed(what: &str) -> Refusal {
    Refusal::Malformed { what: what.to_owned() }
}
