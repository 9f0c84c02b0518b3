//! One log entry on its way: who waits for which command of it, and what came back.

use futures::{FutureExt, future::BoxFuture};
use openraft::{errors::ClientWriteError, impls::ProgressResponder};
use scheduling::{Command, Event, Grant};
use tokio::{sync::oneshot, time::Instant};
use tracing::Instrument as _;

use super::{Attached, Error, ToWorker};
use crate::raft::{Applied, LogEntry, Raft};

pub(crate) type Term = openraft::alias::CommittedLeaderIdOf<crate::raft::TypeConfig>;

/// Who is told what became of a command.
pub(crate) enum Origin {
    Caller(oneshot::Sender<Result<Vec<Event>, Error>>),
    /// A worker's request with its number.
    Answer {
        to: Attached,
        request: u64,
    },
    OpenSession {
        stream: u64,
        to_worker: ToWorker,
        reply: oneshot::Sender<Result<Attached, Error>>,
    },
    Grants(Vec<Grant>),
    /// Only the state's own events matter.
    Driver,
}

pub(crate) struct Proposal {
    pub(crate) term: Term,
    pub(crate) entry: LogEntry,
    pub(crate) origins: Vec<Origin>,
}

/// What became of a proposal.
pub(crate) struct Settled {
    pub(crate) term: Term,
    pub(crate) origins: Vec<Origin>,
    /// None: not committed by this leader; it may still commit through another.
    pub(crate) applied: Option<Applied>,
    pub(crate) submitted_at: Instant,
}

impl Proposal {
    /// Hands the entry to Raft, fenced by the term it was decided in; the future ends when it is applied.
    pub(crate) async fn submit(self, raft: &Raft) -> BoxFuture<'static, Settled> {
        let Self { term, entry, origins } = self;
        let submitted_at = Instant::now();
        let span = tracing::info_span!("proposal", commands = entry.commands.len(), index = tracing::field::Empty);
        let (responder, receiver) = ProgressResponder::complete_only();
        let sent =
            raft.write(entry).with_leader(term).responder(responder).into_future().instrument(span.clone()).await;
        let committed = async move {
            let applied = match sent {
                Ok(()) => receiver.await.ok().and_then(|written| match written {
                    Ok(response) => Some(response.data),
                    // Nothing was appended: workers and callers go to the next leader and say it again.
                    Err(ClientWriteError::ForwardToLeader(_)) => {
                        tracing::info!("not leading any more; what was to be decided is left to the next leader");
                        None
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a log entry was not committed");
                        None
                    }
                }),
                Err(fatal) => {
                    tracing::error!(error = %fatal, "raft has stopped");
                    None
                }
            };
            if let Some(Applied { index, .. }) = &applied {
                tracing::Span::current().record("index", index);
            }
            Settled { term, origins, applied, submitted_at }
        };
        committed.instrument(span).boxed()
    }
}

impl Settled {
    /// For a proposal of a term that is over: callers hear so, workers find out on their next stream.
    pub(crate) fn abandon(self) {
        for origin in self.origins {
            origin.interrupt();
        }
    }
}

impl Origin {
    pub(crate) fn interrupt(self) {
        match self {
            Self::Caller(reply) => drop(reply.send(Err(Error::Interrupted))), // a caller that left needs no answer
            Self::OpenSession { reply, .. } => drop(reply.send(Err(Error::Interrupted))),
            Self::Answer { .. } | Self::Grants(_) | Self::Driver => {}
        }
    }
}

/// The commands of an entry and who waits for each.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) commands: Vec<Command>,
    pub(crate) origins: Vec<Origin>,
}

impl Batch {
    pub(crate) fn push(&mut self, command: Command, origin: Origin) {
        self.commands.push(command);
        self.origins.push(origin);
    }
}
