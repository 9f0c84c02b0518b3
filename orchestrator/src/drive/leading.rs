//! What a leader holds in memory for its term: sessions' streams and credits, reservations, and the queue.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use protocol::{
    ConvertError,
    v1::{self, leader_message, worker_message},
};
use scheduling::{
    Command, Event, FreeSlots, Grant, ListingResult, Planner, Reservations, RulesetResult, ScanDone, State, Verdict,
    Work,
};
use tokio::{sync::oneshot, time::Instant};
use types::{FileOrdinal, LeaseId, SegmentOrdinal, SessionId, Timestamp};

use super::{
    Attached, Config, Error, ToWorker, job,
    proposal::{Batch, Origin, Proposal, Settled, Term},
};
use crate::{
    metrics::Metrics,
    raft::{LogEntry, machine::StateView},
};

/// Commands waiting to be proposed; beyond it callers are told to come back.
const MAX_QUEUE: usize = 65_536;
/// Commands in one entry: large enough to make the cost of consensus vanish, small enough to send quickly.
const MAX_COMMANDS: usize = 1024;
/// Bytes in one entry, about: an entry must travel to every member in one message.
const MAX_ENTRY_BYTES: usize = 8 << 20;
/// A single command above this is refused: with its neighbours it would not fit a message.
const MAX_COMMAND_BYTES: usize = 24 << 20;
/// Jobs one session may have asked for.
const MAX_CREDITS: u32 = 1024;

const MAX_REASON_CHARS: usize = 1_000;

/// One session as the leader sees it.
struct Live {
    heard_at: Instant,
    credits: u32,
    stream: u64,
    to_worker: Option<ToWorker>,
}

pub(crate) struct Leading {
    pub(crate) term: Term,
    sessions: BTreeMap<SessionId, Live>,
    /// Sessions whose end is proposed.
    ending: BTreeSet<SessionId>,
    queue: VecDeque<(Command, Origin)>,
    reservations: Reservations,
    planner: Planner,
    /// Whether something happened that may let the planner grant more.
    replan: bool,
    metrics: Arc<Metrics>,
}

impl Leading {
    pub(crate) fn new(term: Term, metrics: Arc<Metrics>) -> Self {
        Self {
            term,
            sessions: BTreeMap::new(),
            ending: BTreeSet::new(),
            queue: VecDeque::new(),
            reservations: Reservations::default(),
            planner: Planner::default(),
            replan: true,
            metrics,
        }
    }

    pub(crate) fn enqueue_caller(&mut self, command: Command, reply: oneshot::Sender<Result<Vec<Event>, Error>>) {
        if self.queue.len() >= MAX_QUEUE {
            drop(reply.send(Err(Error::Overloaded))); // a caller that left needs no answer
            return;
        }
        if command.weight() > MAX_COMMAND_BYTES {
            drop(reply.send(Err(Error::TooLarge)));
            return;
        }
        self.queue.push_back((command, Origin::Caller(reply)));
    }

    pub(crate) fn attach(
        &mut self,
        view: &StateView,
        config: &Config,
        stream: u64,
        hello: v1::Hello,
        to_worker: ToWorker,
        reply: oneshot::Sender<Result<Attached, Error>>,
    ) {
        let v1::Hello { worker, resume, holding, program_version } = hello;
        let resumed = resume.map(SessionId::from).filter(|id| !self.ending.contains(id));
        let leases = resumed.and_then(|id| view.read(|state| Some(leases_of(state, id)?.clone())));
        let (Some(session), Some(leases)) = (resumed, leases) else {
            tracing::info!(worker, program_version, "a worker opens a session");
            let command = Command::OpenSession { worker };
            self.queue.push_back((command, Origin::OpenSession { stream, to_worker, reply }));
            return;
        };
        tracing::info!(%session, worker, "a worker resumes its session");
        let holding: BTreeSet<LeaseId> = holding.into_iter().map(LeaseId::from).collect();
        for lease in leases.difference(&holding) {
            // Granted on a stream that broke: the worker never heard of it.
            self.give_back(view, *lease);
        }
        self.begin(config, session, stream, to_worker, reply);
    }

    fn give_back(&mut self, view: &StateView, lease: LeaseId) {
        let listing = view.read(|state| matches!(state.lease(lease).map(|lease| &lease.work), Some(Work::List { .. })));
        let command = if listing {
            let reason = "the grant was lost with the worker's connection".to_owned();
            Command::SettleListing { lease, result: ListingResult::Failed { reason } }
        } else {
            Command::SettleAttempt { lease, results: Vec::new() }
        };
        self.queue.push_back((command, Origin::Driver));
    }

    /// Puts a stream at its session, welcomes the worker, and tells the service.
    fn begin(
        &mut self,
        config: &Config,
        session: SessionId,
        stream: u64,
        to_worker: ToWorker,
        reply: oneshot::Sender<Result<Attached, Error>>,
    ) {
        let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let welcome = leader_message::Message::Welcome(v1::Welcome {
            session: Some(session.into()),
            heartbeat_ms: ms(config.heartbeat),
            session_ttl_ms: ms(config.session_ttl),
            storage_url: config.storage_url.clone(),
        });
        let live = Live { heard_at: Instant::now(), credits: 0, stream, to_worker: Some(to_worker) };
        self.sessions.insert(session, live);
        self.send(session, welcome);
        drop(reply.send(Ok(Attached { session, stream }))); // a stream that broke meanwhile resumes later
    }

    /// A message of a worker.
    pub(crate) fn hear(&mut self, view: &StateView, from: Attached, message: worker_message::Message) {
        let Some(live) = self.sessions.get_mut(&from.session).filter(|live| live.stream == from.stream) else {
            return; // an older stream of the session, or one that ended
        };
        live.heard_at = Instant::now();
        match message {
            worker_message::Message::Hello(_) | worker_message::Message::Heartbeat(_) => {}
            worker_message::Message::Ask(v1::Ask { jobs }) => self.ask(from.session, jobs),
            worker_message::Message::Settle(settle) => {
                self.ask(from.session, settle.ask);
                let request = settle.request;
                self.enqueue_settlement(view, from, request, settlement(settle));
            }
            worker_message::Message::AppendSegments(append) => {
                let request = append.request;
                self.enqueue_settlement(view, from, request, appended(append));
            }
            worker_message::Message::SettleListing(settle) => {
                self.ask(from.session, settle.ask);
                let request = settle.request;
                self.enqueue_settlement(view, from, request, listed(settle));
            }
            worker_message::Message::Goodbye(v1::Goodbye {}) => self.end([from.session]),
        }
    }

    fn ask(&mut self, session: SessionId, jobs: u32) {
        if let Some(live) = self.sessions.get_mut(&session) {
            live.credits = live.credits.saturating_add(jobs).min(MAX_CREDITS);
            self.replan |= jobs > 0;
        }
    }

    fn enqueue_settlement(
        &mut self,
        view: &StateView,
        from: Attached,
        request: u64,
        command: Result<(LeaseId, Command), ConvertError>,
    ) {
        let checked =
            command.map_err(|error| tonic::Status::from(error).message().to_owned()).and_then(|(lease, command)| {
                match view.read(|state| state.lease(lease).map(|lease| lease.session)) {
                    Some(owner) if owner != from.session => Err(format!("lease {lease} is of session {owner}")),
                    _ if command.weight() > MAX_COMMAND_BYTES => Err(Error::TooLarge.to_string()),
                    _ => Ok(command), // a lease that ended is refused by the log, in order with everything else
                }
            });
        match checked {
            Ok(command) => self.queue.push_back((command, Origin::Answer { to: from, request })),
            Err(refusal) => self.answer(from, request, refusal),
        }
    }

    fn answer(&mut self, to: Attached, request: u64, refusal: String) {
        if self.sessions.get(&to.session).is_some_and(|live| live.stream == to.stream) {
            self.send(to.session, leader_message::Message::Answer(v1::Answer { request, refusal }));
        }
    }

    /// Sends without waiting: a worker that does not read loses its stream, not the driver its time.
    fn send(&mut self, session: SessionId, message: leader_message::Message) {
        let Some(live) = self.sessions.get_mut(&session) else {
            return;
        };
        let message = v1::LeaderMessage { message: Some(message) };
        if let Some(to_worker) = &live.to_worker
            && let Err(error) = to_worker.try_send(message)
        {
            tracing::warn!(%session, %error, "a worker's stream is gone or full; it may resume");
            live.to_worker = None;
            live.credits = 0;
        }
    }

    fn end(&mut self, sessions: impl IntoIterator<Item = SessionId>) {
        let sessions: Vec<_> = sessions.into_iter().filter(|id| self.ending.insert(*id)).collect();
        if !sessions.is_empty() {
            self.queue.push_back((Command::EndSessions { sessions }, Origin::Driver));
        }
    }

    /// Ends sessions that were silent for too long, but only while this node surely leads: a stalled
    /// ex-leader must not take work away from live workers.
    pub(crate) fn tick(&mut self, view: &StateView, config: &Config, quorum_is_fresh: bool) {
        self.replan = true; // listings fall due and back-offs end with time alone
        let now = Instant::now();
        let known: Vec<SessionId> = view.read(|state| state.sessions().map(|(id, _)| id).collect());
        for id in &known {
            // Met first in this term: one more time to live.
            let fresh = Live { heard_at: now, credits: 0, stream: 0, to_worker: None };
            self.sessions.entry(*id).or_insert(fresh);
        }
        if quorum_is_fresh {
            let silent = |id: &SessionId| {
                self.sessions.get(id).is_some_and(|live| now.duration_since(live.heard_at) > config.session_ttl)
            };
            let silent: Vec<_> = known.into_iter().filter(silent).collect();
            for session in &silent {
                if !self.ending.contains(session) {
                    tracing::warn!(%session, "a worker is silent; its session ends");
                }
            }
            self.end(silent);
        }
    }

    /// The next log entry: everything queued, and grants for every free slot.
    pub(crate) fn next_proposal(&mut self, view: &StateView) -> Option<Proposal> {
        let mut batch = Batch::default();
        let mut bytes = 0;
        while batch.commands.len() < MAX_COMMANDS
            && let Some((command, origin)) = self.queue.pop_front_if(|(command, _)| {
                bytes += command.weight();
                bytes <= MAX_ENTRY_BYTES || bytes == command.weight()
            })
        {
            batch.push(command, origin);
        }
        let at = now();
        if std::mem::take(&mut self.replan)
            && let Some(grants) = self.plan(view, at)
        {
            batch.push(Command::GrantLeases { grants: grants.clone() }, Origin::Grants(grants));
        }
        if batch.commands.is_empty() {
            return None;
        }
        let entry = LogEntry { at, commands: batch.commands };
        Some(Proposal { term: self.term, entry, origins: batch.origins })
    }

    fn plan(&mut self, view: &StateView, at: Timestamp) -> Option<Vec<Grant>> {
        let live = self.sessions.iter().filter(|(id, live)| live.credits > 0 && !self.ending.contains(*id));
        let free: Vec<_> = live.map(|(session, live)| FreeSlots { session: *session, slots: live.credits }).collect();
        if free.is_empty() {
            return None;
        }
        let (planner, reservations) = (&mut self.planner, &self.reservations);
        let grants = view.read(|state| planner.plan(state, reservations, at.max(state.now()), &free));
        for grant in &grants {
            self.reservations.reserve(&grant.work);
            if let Some(live) = self.sessions.get_mut(&grant.session) {
                live.credits -= 1;
            }
        }
        (!grants.is_empty()).then_some(grants)
    }

    /// Acts on what became of a proposal of this term.
    pub(crate) fn settle(&mut self, view: &StateView, config: &Config, settled: Settled) {
        self.replan = true;
        let Settled { origins, applied, submitted_at, .. } = settled;
        let Some(applied) = applied else {
            for origin in origins {
                if let Origin::Grants(grants) = &origin {
                    grants.iter().for_each(|grant| self.ungrant(grant));
                }
                origin.interrupt();
            }
            return;
        };
        let grants = origins.iter().any(|origin| matches!(origin, Origin::Grants(_)));
        self.metrics.applied(submitted_at.elapsed(), grants);
        for (origin, events) in origins.into_iter().zip(applied.events) {
            for event in &events {
                self.note(view, event);
            }
            match origin {
                Origin::Caller(reply) => drop(reply.send(Ok(events))), // a caller that left needs no answer
                Origin::Answer { to, request } => {
                    self.tally(view, to.session, &events);
                    self.answer(to, request, refusal(&events));
                }
                Origin::OpenSession { stream, to_worker, reply } => match opened(&events) {
                    Some(session) => self.begin(config, session, stream, to_worker, reply),
                    None => drop(reply.send(Err(Error::Interrupted))), // its name was refused; the service checks names
                },
                Origin::Grants(grants) => self.deliver(view, &grants, &events),
                Origin::Driver => {}
            }
        }
    }

    fn deliver(&mut self, view: &StateView, grants: &[Grant], events: &[Event]) {
        for (grant, event) in grants.iter().zip(events) {
            match event {
                Event::LeaseGranted { lease, session } => {
                    self.reservations.release(&grant.work);
                    if let Some(message) = view.read(|state| job::grant(state, *lease)) {
                        self.send(*session, leader_message::Message::Grant(message));
                    }
                }
                _ => self.ungrant(grant),
            }
        }
        for grant in grants.iter().skip(events.len()) {
            self.ungrant(grant);
        }
    }

    fn ungrant(&mut self, grant: &Grant) {
        self.reservations.release(&grant.work);
        self.ask(grant.session, 1);
    }

    /// Counts a segment once, however many rulesets it was scanned for.
    fn tally(&self, view: &StateView, session: SessionId, events: &[Event]) {
        let done = events.iter().find_map(|event| match event {
            Event::SegmentDone { corpus, segment, .. } => Some((*corpus, *segment)),
            _ => None,
        });
        let size = |state: &State| {
            let (corpus, segment) = done?;
            let segment = state.corpus(corpus)?.segment(segment)?;
            Some((u64::from(segment.files), segment.bytes))
        };
        if let Some((files, bytes)) = view.read(size) {
            self.metrics.sessions.settled(session, files, bytes);
        }
    }

    /// What an operator wants to read in the log, and what ends a session's stream.
    fn note(&mut self, view: &StateView, event: &Event) {
        self.metrics.note(event);
        match event {
            Event::SessionEnded { session } => {
                self.send(*session, leader_message::Message::SessionEnded(v1::SessionEnded {}));
                self.sessions.remove(session);
                self.metrics.sessions.ended(*session);
                self.ending.remove(session);
            }
            Event::AttemptFailed { corpus, segment, ruleset, .. } => {
                let attempts = view.read(|state| Some(state.coverage(*corpus, *ruleset)?.attempts_of(*segment)));
                let reason = attempts.and_then(|attempts| attempts.last_error).unwrap_or_default();
                tracing::warn!(%corpus, %segment, %ruleset, reason, "an attempt failed");
            }
            Event::SegmentAbandoned { corpus, segment, ruleset, version } => {
                tracing::error!(%corpus, %segment, %ruleset, %version, "gave up on a segment: its files are exceptions");
            }
            Event::RulesetPut { ruleset, version, created: true } => {
                tracing::info!(%ruleset, %version, "new ruleset version");
            }
            Event::CorpusPut { corpus, created: true } => tracing::info!(%corpus, "new corpus"),
            Event::CorpusDeleted { corpus } => tracing::info!(%corpus, "corpus deleted"),
            Event::SessionOpened { session } => tracing::info!(%session, "session opened"),
            Event::CorpusPut { .. }
            | Event::RulesetPut { .. }
            | Event::RulesetStateSet { .. }
            | Event::LeaseGranted { .. }
            | Event::LeaseEnded { .. }
            | Event::SegmentDone { .. }
            | Event::SegmentsAppended { .. }
            | Event::ListingSettled { .. }
            | Event::NodeAllocated { .. }
            | Event::Refused { .. } => {}
        }
    }
}

fn leases_of(state: &State, session: SessionId) -> Option<&BTreeSet<LeaseId>> {
    state.session(session).map(|session| &session.leases)
}

/// This node's clock; the leader's is the only one that decisions see.
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

fn refusal(events: &[Event]) -> String {
    let refusals = events.iter().filter_map(|event| match event {
        Event::Refused { refusal } => Some(refusal.to_string()),
        _ => None,
    });
    refusals.collect::<Vec<_>>().join("; ")
}

fn opened(events: &[Event]) -> Option<SessionId> {
    events.iter().find_map(|event| match event {
        Event::SessionOpened { session } => Some(*session),
        _ => None,
    })
}

/// What a worker says to people; the state keeps less of it.
fn bounded(reason: String) -> String {
    reason.chars().take(MAX_REASON_CHARS).collect()
}

fn lease(lease: Option<v1::LeaseId>) -> Result<LeaseId, ConvertError> {
    lease.map(LeaseId::from).ok_or_else(ConvertError::missing("lease"))
}

fn settlement(settle: v1::Settle) -> Result<(LeaseId, Command), ConvertError> {
    let lease = lease(settle.lease)?;
    let results = settle.results.into_iter().map(ruleset_result).collect::<Result<_, _>>()?;
    Ok((lease, Command::SettleAttempt { lease, results }))
}

fn ruleset_result(result: v1::RulesetResult) -> Result<RulesetResult, ConvertError> {
    let verdict = match result.verdict.ok_or_else(ConvertError::missing("verdict"))? {
        v1::ruleset_result::Verdict::Done(done) => {
            let excepted = done.excepted.iter().map(TryFrom::try_from).collect::<Result<_, _>>()?;
            Verdict::Done(ScanDone {
                matched: done.matched,
                findings: done.findings,
                excepted,
                scanned_bytes: done.scanned_bytes,
            })
        }
        v1::ruleset_result::Verdict::Failed(reason) => Verdict::Failed { reason: bounded(reason) },
        v1::ruleset_result::Verdict::Hindered(reason) => Verdict::Hindered { reason: bounded(reason) },
    };
    Ok(RulesetResult { ruleset: types::RulesetId(result.ruleset_id), to: types::RulesetVersion(result.to), verdict })
}

fn appended(append: v1::AppendSegments) -> Result<(LeaseId, Command), ConvertError> {
    let lease = lease(append.lease)?;
    let segments = append.segments.iter().map(v1::Segment::descriptor).collect::<Result<_, _>>()?;
    let gone = append
        .gone
        .into_iter()
        .map(|gone| (SegmentOrdinal(gone.ordinal), gone.files.into_iter().map(FileOrdinal).collect()));
    Ok((lease, Command::AppendSegments { lease, segments, gone: gone.collect() }))
}

fn listed(settle: v1::SettleListing) -> Result<(LeaseId, Command), ConvertError> {
    let lease = lease(settle.lease)?;
    let result = match settle.result.ok_or_else(ConvertError::missing("result"))? {
        v1::settle_listing::Result::Done(skipped) => ListingResult::Done { skipped: skipped.into() },
        v1::settle_listing::Result::Failed(reason) => ListingResult::Failed { reason: bounded(reason) },
    };
    Ok((lease, Command::SettleListing { lease, result }))
}
