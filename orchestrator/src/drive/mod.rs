//! The leader's hands: gathers what clients and workers want, plans ahead of commit, proposes it in
//! few large log entries, and acts on what was committed.
//!
//! ```text
//!   gRPC services ──inputs──► Driver ──LogEntry──► Raft ──events──► Driver ──► callers, workers
//!                               ▲  few entries in flight; what arrives meanwhile forms the next one
//!                               └── ticks: listings due, back-offs over, silent sessions
//! ```
//!
//! Runs on every node and idles on followers. All it holds is soft: a new leader builds it anew from the
//! state, and gives every session one more time to live.

pub(crate) mod job;
pub(crate) mod leading;
mod proposal;

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use openraft::{Instant as _, async_runtime::WatchReceiver};
use protocol::v1;
use scheduling::{Command, Event};
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use types::SessionId;

use crate::{
    metrics::Metrics,
    raft::{Raft, machine::StateView},
};
use leading::Leading;
use proposal::Settled;

/// Requests waiting for the driver: each gRPC stream has at most a few under way, so this is thousands of
/// streams; beyond it they wait, which is back-pressure up to the client's socket.
const INPUT_QUEUE: usize = 4096;
/// Inputs taken in one turn, so that ticks and commits have theirs.
const INPUTS_PER_TURN: usize = 1024;
/// Log entries proposed and not yet applied. A few keep disk and network busy; more only make them small.
const MAX_IN_FLIGHT: usize = 4;
const TICK: Duration = Duration::from_millis(100);

/// What the driver runs with.
#[derive(Clone, Debug)]
pub struct Config {
    pub session_ttl: Duration,
    pub heartbeat: Duration,
    pub storage_url: String,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("this node does not lead")]
    NotLeader,
    /// Whether the command was committed is unknown; commands are safe to repeat.
    #[error("leadership changed before the command was committed")]
    Interrupted,
    #[error("too much is waiting; try again in a second")]
    Overloaded,
    #[error("the command is too large for one log entry; send it in parts")]
    TooLarge,
    #[error("the orchestrator is stopping")]
    Stopping,
}

/// Messages to one worker's stream.
pub(crate) type ToWorker = mpsc::Sender<v1::LeaderMessage>;

/// A worker's stream as attached to its session. A newer stream of the session replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Attached {
    pub(crate) session: SessionId,
    stream: u64,
}

pub(crate) enum Input {
    Propose { command: Command, reply: oneshot::Sender<Result<Vec<Event>, Error>> },
    Attach { hello: v1::Hello, to_worker: ToWorker, reply: oneshot::Sender<Result<Attached, Error>> },
    Worker { from: Attached, message: v1::worker_message::Message },
}

/// A cheap, cloneable way to the driver.
#[derive(Clone, Debug)]
pub struct Handle {
    inputs: mpsc::Sender<Input>,
}

impl Handle {
    /// Proposes one command and waits until it is applied; returns its events.
    pub async fn propose(&self, command: Command) -> Result<Vec<Event>, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(Input::Propose { command, reply }).await?;
        answer.await.map_err(|_| Error::Stopping)?
    }

    /// Opens or resumes a session for a worker's stream.
    pub(crate) async fn attach(&self, hello: v1::Hello, to_worker: ToWorker) -> Result<Attached, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(Input::Attach { hello, to_worker, reply }).await?;
        answer.await.map_err(|_| Error::Stopping)?
    }

    pub(crate) async fn worker(&self, from: Attached, message: v1::worker_message::Message) -> Result<(), Error> {
        self.send(Input::Worker { from, message }).await
    }

    async fn send(&self, input: Input) -> Result<(), Error> {
        self.inputs.send(input).await.map_err(|_| Error::Stopping)
    }
}

/// The driver task's state.
pub struct Driver {
    raft: Raft,
    view: StateView,
    config: Config,
    inputs: mpsc::Receiver<Input>,
    leading: Option<Leading>,
    in_flight: FuturesUnordered<BoxFuture<'static, Settled>>,
    next_stream: u64,
    metrics: Arc<Metrics>,
}

impl Driver {
    pub(crate) fn new(raft: Raft, view: StateView, config: Config, metrics: Arc<Metrics>) -> (Self, Handle) {
        let (sender, inputs) = mpsc::channel(INPUT_QUEUE);
        let driver = Self {
            raft,
            view,
            config,
            inputs,
            leading: None,
            in_flight: FuturesUnordered::new(),
            next_stream: 0,
            metrics,
        };
        (driver, Handle { inputs: sender })
    }

    /// Runs until `stop`. Dropping the leading state on the way out closes every worker's stream.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut server_metrics = self.raft.server_metrics();
        self.note_leadership();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(input) = self.inputs.recv() => {
                    self.take(input);
                    for _ in 0..INPUTS_PER_TURN {
                        let Ok(input) = self.inputs.try_recv() else { break };
                        self.take(input);
                    }
                }
                Some(settled) = self.in_flight.next() => self.settle(settled),
                _ = server_metrics.changed() => self.note_leadership(),
                _ = tick.tick() => {
                    self.note_leadership();
                    if let Some(leading) = &mut self.leading {
                        leading.tick(&self.view, &self.config, quorum_is_fresh(&self.raft, crate::raft::HEARTBEAT * 4));
                    }
                }
            }
            self.propose().await;
        }
    }

    /// Begins or ends to lead as Raft says. A new term is a new beginning.
    ///
    /// Leading begins once an entry of the own term is applied, so that every lease which a former leader
    /// granted is in the state. Else a worker could take its session up again without a lease that is applied
    /// a moment later, and nobody would ever settle it.
    fn note_leadership(&mut self) {
        let term = self.raft.as_leader().ok().map(|leader| leader.to_committed_leader_id());
        let applied = self.view.last_applied().map(|id| id.leader_id);
        let term = term.filter(|term| applied == Some(*term));
        let before = self.leading.as_ref().map(|leading| leading.term);
        if term == before {
            return;
        }
        match term {
            Some(term) => tracing::info!(%term, "leading"),
            None => tracing::info!("not leading any more"),
        }
        self.metrics.sessions.clear();
        self.leading = term.map(|term| Leading::new(term, Arc::clone(&self.metrics)));
    }

    fn take(&mut self, input: Input) {
        let Some(leading) = &mut self.leading else {
            return refuse(input);
        };
        match input {
            Input::Propose { command, reply } => leading.enqueue_caller(command, reply),
            Input::Attach { hello, to_worker, reply } => {
                self.next_stream += 1;
                leading.attach(&self.view, &self.config, self.next_stream, hello, to_worker, reply);
            }
            Input::Worker { from, message } => leading.hear(&self.view, from, message),
        }
    }

    /// Sends the next log entry off, if there is something to say and room in flight.
    async fn propose(&mut self) {
        let Some(leading) = &mut self.leading else {
            return;
        };
        while self.in_flight.len() < MAX_IN_FLIGHT {
            let Some(proposal) = leading.next_proposal(&self.view) else {
                return;
            };
            self.metrics.proposed(proposal.entry.commands.len());
            let submitted = proposal.submit(&self.raft).await;
            self.in_flight.push(submitted);
        }
    }

    fn settle(&mut self, settled: Settled) {
        match &mut self.leading {
            Some(leading) if leading.term == settled.term => leading.settle(&self.view, &self.config, settled),
            _ => settled.abandon(),
        }
    }
}

/// Whether a majority was heard from within `limit`; within the shortest election time-out, nobody else is leading.
pub(crate) fn quorum_is_fresh(raft: &Raft, limit: Duration) -> bool {
    let Ok(leader) = raft.as_leader() else {
        return false;
    };
    if raft.voter_ids().nth(1).is_none() {
        return true; // the only voter is its own majority, and hears from nobody while nothing is proposed
    }
    leader.last_quorum_acked().is_some_and(|acked| acked.elapsed() < limit)
}

fn refuse(input: Input) {
    match input {
        Input::Propose { reply, .. } => drop(reply.send(Err(Error::NotLeader))), // a caller that left needs no answer
        Input::Attach { reply, .. } => drop(reply.send(Err(Error::NotLeader))),
        Input::Worker { .. } => {} // its stream ends with the leading state it was attached to
    }
}
