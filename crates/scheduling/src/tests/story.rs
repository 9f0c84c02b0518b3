//! How a story is told: one state, one planner and a clock that moves when told to. The API of the core
//! is used here and nowhere else in the stories, so that it can change.

use std::collections::BTreeMap;

use types::{
    CorpusId, CorpusKey, CorpusSelection, CorpusSpec, Digest, Exception, FileOrdinal, LeaseId, Name, OutcomeCounts,
    RulesetId, RulesetKey, RulesetVersion, SegmentDescriptor, SegmentOrdinal, SessionId, Skipped, Tenant, Timestamp,
};

use crate::{
    Command, Coverage, Event, FreeSlots, Grant, HuntView, ListingResult, Planner, Priority, Refusal, Reservations,
    RulesetResult, RulesetState, ScanDone, Stamp, State, Target, Verdict, Work,
};

/// Listing interval of a story's corpora: long, so that listings do not come between.
pub(super) const INTERVAL_MS: u64 = 3_600_000;

/// What one worker was given.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Job {
    pub(super) lease: LeaseId,
    pub(super) session: SessionId,
    pub(super) attempt: u32,
    pub(super) work: Work,
}

impl Job {
    pub(super) fn segment(&self) -> SegmentOrdinal {
        match &self.work {
            Work::Scan { segment, .. } => *segment,
            Work::List { .. } => panic!("{self:?} is no scan"),
        }
    }

    pub(super) fn corpus(&self) -> CorpusId {
        match &self.work {
            Work::Scan { corpus, .. } | Work::List { corpus } => *corpus,
        }
    }

    pub(super) fn targets(&self) -> &[Target] {
        match &self.work {
            Work::Scan { targets, .. } => targets,
            Work::List { .. } => panic!("{self:?} is no scan"),
        }
    }

    /// One answer for every target.
    pub(super) fn results(&self, verdict: &Verdict) -> Vec<RulesetResult> {
        let result =
            |target: &Target| RulesetResult { ruleset: target.ruleset, to: target.to, verdict: verdict.clone() };
        self.targets().iter().map(result).collect()
    }
}

pub(super) struct Story {
    pub(super) state: State,
    planner: Planner,
    index: u64,
    now: Timestamp,
    sessions: BTreeMap<String, SessionId>,
    files_made: u64,
    events: Vec<Event>,
}

impl Story {
    pub(super) fn new() -> Self {
        Self {
            state: State::default(),
            planner: Planner::default(),
            index: 0,
            now: Timestamp(1_000_000),
            sessions: BTreeMap::new(),
            files_made: 0,
            events: Vec::new(),
        }
    }

    /// A corpus of segments of 10 files, listed once, and one ruleset that hunts in it.
    pub(super) fn of_segments(count: usize) -> (Self, CorpusId, RulesetId) {
        let mut story = Self::new();
        let corpus = story.put_corpus("files");
        story.list(corpus, &vec![10; count]);
        let ruleset = story.push("rules", &["a"]);
        (story, corpus, ruleset)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    pub(super) fn wait_ms(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
    }

    /// Commits a command; its events wait for [`Story::expect`].
    pub(super) fn tell(&mut self, command: Command) {
        let events = self.commit(command);
        self.events.extend(events);
    }

    /// Commits a command and returns its events.
    pub(super) fn commit(&mut self, command: Command) -> Vec<Event> {
        self.index += 1;
        self.state.apply(Stamp { index: self.index, at: self.now, first_slot: 0 }, command)
    }

    /// Commits a command and returns why it was refused.
    pub(super) fn refusal(&mut self, command: Command) -> Refusal {
        self.commit(Command::EndSessions { sessions: Vec::new() }); // time may move all the same
        let before = self.state.clone();
        match self.commit(command).as_slice() {
            [Event::Refused { refusal }] => {
                assert_eq!(self.state, before, "what is refused changes nothing");
                refusal.clone()
            }
            events => panic!("not refused: {events:?}"),
        }
    }

    /// All events since the last look, in order.
    #[track_caller]
    pub(super) fn expect<const N: usize>(&mut self, events: [Event; N]) {
        assert_eq!(std::mem::take(&mut self.events), events);
    }

    #[track_caller]
    pub(super) fn expect_nothing_more(&mut self) {
        self.expect([]);
    }

    pub(super) fn put_corpus(&mut self, key: &str) -> CorpusId {
        self.put_corpus_listed_every(key, INTERVAL_MS)
    }

    pub(super) fn put_corpus_listed_every(&mut self, key: &str, listing_interval_ms: u64) -> CorpusId {
        let url = format!("file:///{key}");
        let spec = CorpusSpec {
            url,
            max_file_bytes: 1 << 30,
            listing_interval_ms,
            datasets: Vec::new(),
            include: Vec::new(),
            exclude: Vec::new(),
        };
        match self.commit(Command::PutCorpus { key: corpus_key(key), spec }).as_slice() {
            [Event::CorpusPut { corpus, .. }] => *corpus,
            events => panic!("corpus not put: {events:?}"),
        }
    }

    /// Pushes sources of these units for all corpora of the tenant.
    pub(super) fn push(&mut self, key: &str, units: &[&str]) -> RulesetId {
        self.push_for(key, units, CorpusSelection::All)
    }

    pub(super) fn push_for(&mut self, key: &str, units: &[&str], corpora: CorpusSelection) -> RulesetId {
        match self.commit(push(key, units, corpora)).as_slice() {
            [Event::RulesetPut { ruleset, .. }] => *ruleset,
            events => panic!("ruleset not put: {events:?}"),
        }
    }

    pub(super) fn set_state(&mut self, key: &str, state: RulesetState) {
        let events = self.commit(Command::SetRulesetState { key: ruleset_key(key), state });
        assert!(matches!(events.as_slice(), [Event::RulesetStateSet { .. }]), "{events:?}");
    }

    /// The session of a worker, opened when first named.
    pub(super) fn session(&mut self, worker: &str) -> SessionId {
        if let Some(session) = self.sessions.get(worker) {
            return *session;
        }
        match self.commit(Command::OpenSession { worker: worker.to_owned() }).as_slice() {
            [Event::SessionOpened { session }] => {
                self.sessions.insert(worker.to_owned(), *session);
                *session
            }
            events => panic!("session not opened: {events:?}"),
        }
    }

    /// The worker's session ends; events wait. Named again, it opens another one.
    pub(super) fn lose(&mut self, worker: &str) {
        let session = self.sessions.remove(worker).expect("the worker has a session");
        self.tell(Command::EndSessions { sessions: vec![session] });
    }

    /// What the planner would grant to one worker now.
    pub(super) fn plan(&mut self, worker: &str, slots: u32) -> Vec<Grant> {
        let session = self.session(worker);
        self.planner.plan(&self.state, &Reservations::default(), self.now, &[FreeSlots { session, slots }])
    }

    /// Plans and grants one job.
    pub(super) fn grant_to(&mut self, worker: &str) -> Option<Job> {
        self.grant_many(worker, 1).pop()
    }

    /// Plans and grants up to `slots` jobs in one command.
    pub(super) fn grant_many(&mut self, worker: &str, slots: u32) -> Vec<Job> {
        let grants = self.plan(worker, slots);
        self.commit(Command::GrantLeases { grants }).iter().map(|event| self.granted(event)).collect()
    }

    /// Grants one job that the story itself chose.
    pub(super) fn grant(&mut self, worker: &str, work: Work) -> Job {
        let session = self.session(worker);
        let events = self.commit(Command::GrantLeases { grants: vec![Grant { session, work }] });
        self.granted(&events[0])
    }

    fn granted(&self, event: &Event) -> Job {
        let Event::LeaseGranted { lease, session } = event else { panic!("not granted: {event:?}") };
        let live = self.state.lease(*lease).expect("a granted lease is in the state");
        assert_eq!(live.session, *session);
        Job { lease: *lease, session: *session, attempt: live.attempt, work: live.work.clone() }
    }

    /// Settles every target of the job alike; events wait.
    pub(super) fn settle(&mut self, job: &Job, verdict: &Verdict) {
        let results = job.results(verdict);
        self.tell(Command::SettleAttempt { lease: job.lease, results });
    }

    /// Settles every target as clean and expects just that.
    #[track_caller]
    pub(super) fn finish(&mut self, job: &Job) {
        let events = self.commit(Command::SettleAttempt { lease: job.lease, results: job.results(&clean()) });
        let done = events.iter().filter(|event| matches!(event, Event::SegmentDone { .. })).count();
        assert_eq!((done, events.len()), (job.targets().len(), job.targets().len() + 1), "{events:?}");
    }

    /// Grants and finishes until nothing is granted any more; returns how many jobs that took.
    pub(super) fn finish_all(&mut self) -> usize {
        let mut jobs = 0;
        while let Some(job) = self.grant_to("diligent") {
            self.finish(&job);
            jobs += 1;
        }
        jobs
    }

    /// A whole listing that finds segments of so many files.
    pub(super) fn list(&mut self, corpus: CorpusId, files: &[u32]) {
        let listing = self.begin_listing(corpus);
        self.arrive(&listing, files);
        self.end_listing(&listing);
    }

    pub(super) fn begin_listing(&mut self, corpus: CorpusId) -> Job {
        self.grant("lister", Work::List { corpus })
    }

    pub(super) fn arrive(&mut self, listing: &Job, files: &[u32]) {
        let segments = files.iter().map(|files| self.segment(*files)).collect();
        let events = self.commit(Command::AppendSegments { lease: listing.lease, segments, gone: Vec::new() });
        assert!(matches!(events.as_slice(), [Event::SegmentsAppended { .. }]), "{events:?}");
    }

    pub(super) fn end_listing(&mut self, listing: &Job) {
        let result = ListingResult::Done { skipped: Skipped::default() };
        let events = self.commit(Command::SettleListing { lease: listing.lease, result });
        assert!(matches!(events.as_slice(), [Event::LeaseEnded { .. }, Event::ListingSettled { .. }]), "{events:?}");
    }

    /// A segment that was not there before.
    pub(super) fn segment(&mut self, files: u32) -> SegmentDescriptor {
        self.files_made += 1;
        SegmentDescriptor { manifest: Digest::of(&self.files_made.to_le_bytes()), files, bytes: u64::from(files) * 100 }
    }

    pub(super) fn coverage(&self, corpus: CorpusId, ruleset: RulesetId) -> &Coverage {
        self.state.coverage(corpus, ruleset).expect("the ruleset hunts in the corpus")
    }

    #[track_caller]
    pub(super) fn hunt(&self, corpus: CorpusId, ruleset: RulesetId, version: u32) -> HuntView {
        let mut hunts = self.state.hunts();
        let hunt = hunts
            .find(|hunt| (hunt.corpus_id, hunt.ruleset_id, hunt.version.number.0) == (corpus, ruleset, version))
            .expect("there is such a hunt");
        assert_eq!(hunt.stored_files, hunt.outcomes.total() + hunt.pending_files, "the receipt adds up");
        hunt
    }

    pub(super) fn receipt(&self, corpus: CorpusId, ruleset: RulesetId, version: u32) -> OutcomeCounts {
        self.hunt(corpus, ruleset, version).outcomes
    }
}

pub(super) fn corpus_key(key: &str) -> CorpusKey {
    let (tenant, name) = split(key);
    CorpusKey { tenant, name }
}

pub(super) fn ruleset_key(key: &str) -> RulesetKey {
    let (tenant, name) = split(key);
    RulesetKey { tenant, name }
}

/// `name` of the default tenant, or `tenant/name`.
fn split(key: &str) -> (Tenant, Name) {
    match key.split_once('/') {
        None => (Tenant::default(), Name::new(key).unwrap()),
        Some((tenant, name)) => (tenant.parse().unwrap(), Name::new(name).unwrap()),
    }
}

pub(super) fn push(key: &str, units: &[&str], corpora: CorpusSelection) -> Command {
    let mut digests: Vec<_> = units.iter().map(|unit| Digest::of(unit.as_bytes())).collect();
    digests.sort();
    let digest = Digest::of_parts(digests.iter().map(|digest| &digest.as_bytes()[..]));
    Command::PutRuleset {
        key: ruleset_key(key),
        digest,
        units: digests,
        corpora,
        source_bytes: 100,
        priority: Priority::default(),
    }
}

pub(super) fn scan(corpus: CorpusId, segment: u32, targets: &[Target]) -> Work {
    Work::Scan { corpus, segment: SegmentOrdinal(segment), targets: targets.to_vec() }
}

pub(super) fn target(ruleset: RulesetId, from: Option<u32>, to: u32) -> Target {
    Target { ruleset, from: from.map(RulesetVersion), to: RulesetVersion(to) }
}

pub(super) fn clean() -> Verdict {
    Verdict::Done(ScanDone::default())
}

pub(super) fn failed() -> Verdict {
    Verdict::Failed { reason: "rules do not compile".to_owned() }
}

pub(super) fn hindered() -> Verdict {
    Verdict::Hindered { reason: "storage away".to_owned() }
}

pub(super) fn found(matched: u32, findings: u32, excepted: &[(u32, Exception)]) -> Verdict {
    let excepted = excepted.iter().map(|(file, exception)| (FileOrdinal(*file), *exception)).collect();
    Verdict::Done(ScanDone { matched, findings, excepted, scanned_bytes: 1_000 })
}
