//! Runs the requests that a connection has sent, one after the other, into its output.

use std::sync::Arc;

use resp::{Decoded, Decoder, Protocol, Reply, Request};
use tokio::time::Instant;

use super::{Command, Flow, ReplyMode, Run, Session, ahead::Ahead, lookup, names};
use crate::{
    catalog::Serving,
    clients::unix_seconds,
    cluster::{Topology, View},
    metrics::{Stats, Tally},
    shared::Shared,
};

/// Output beyond which a connection's further requests wait until it was sent. Large enough that one write takes it all on an idle
/// connection, small enough that a thousand slow readers hold little.
pub(super) const ENOUGH_OUTPUT: usize = 256 * 1024;

/// One thread's means of running commands. Event loops have one that must not wait, the read pool's threads one that may.
pub struct Executor {
    shared: Arc<Shared>,
    serving: Arc<Serving>,
    view: Arc<View>,
    stats: Arc<Stats>,
    may_wait: bool,
    tally: Tally,
    ahead: Ahead,
    /// The number of GET, for batches of it.
    get: usize,
}

/// What was done of an input.
#[derive(Debug)]
pub struct Outcome {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    pub stop: Stop,
}

/// Why no further request was run.
#[derive(Debug)]
pub enum Stop {
    /// The next request is not whole.
    NeedsInput,
    /// Enough output for now.
    Full,
    /// The next request may have to wait for the disk.
    NeedsDisk,
    /// The connection ends when its output was sent.
    Close,
    /// The input means nothing. As `Close`, with the reason.
    Malformed(resp::Error),
    /// One reply is larger than a connection may have waiting. The connection ends at once.
    TooMuchOutput,
}

/// What a command may look at and change.
pub(crate) struct Context<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) serving: &'a Serving,
    pub(crate) topology: Option<&'a Topology>,
    pub(crate) view: &'a View,
    pub(crate) session: &'a mut Session,
    pub(crate) out: &'a mut Vec<u8>,
    pub(crate) may_wait: bool,
    pub(crate) tally: &'a mut Tally,
    pub(crate) stats: &'a Stats,
    pub(crate) command: &'static Command,
}

impl Context<'_> {
    pub(crate) fn reply(&mut self) -> Reply<'_> {
        Reply::new(self.out, self.session.protocol)
    }

    pub(crate) fn ok(&mut self) -> Flow {
        self.reply().ok();
        Flow::Done
    }

    pub(crate) fn error(&mut self, text: impl AsRef<[u8]>) -> Flow {
        self.stats.errors.add(1);
        self.reply().error(text);
        Flow::Done
    }

    pub(crate) fn integer(&mut self, value: i64) -> Flow {
        self.reply().integer(value);
        Flow::Done
    }

    pub(crate) fn syntax_error(&mut self) -> Flow {
        self.error("ERR syntax error")
    }

    pub(crate) fn not_an_integer(&mut self) -> Flow {
        self.error("ERR value is not an integer or out of range")
    }

    /// Checks and carries out one request, be it alone or part of a transaction.
    pub(super) fn carry_out(&mut self, request: Request<'_>) -> Flow {
        let (command, number) = match lookup(request) {
            Ok(found) => found,
            // A web page made a browser speak to us. Nothing that follows is a request, and no answer helps its author.
            Err(_) if is_http(request) => return Flow::Close,
            Err(text) => return self.refuse(text),
        };
        self.command = command;
        if !command.accepts(request.len()) {
            return self.refuse(format!("ERR wrong number of arguments for '{}' command", command.name));
        }
        if !self.session.authenticated && !command.no_auth {
            return self.refuse("NOAUTH Authentication required.");
        }
        self.tally.count(number);
        match command.run {
            Run::Refuse => {
                self.stats.refused.add(1);
                self.refuse(self.shared.settings.mutation_error.text(command.name))
            }
            Run::Container => self.refuse("ERR syntax error"), // unreachable by arity, yet no reason to panic
            Run::Do(run) => {
                if !command.keys.are_none()
                    && let Some(flow) = self.elsewhere(command, request)
                {
                    return flow;
                }
                if self.session.transaction.is_some() && super::transaction::waits(command.name) {
                    return super::transaction::queue(self, request);
                }
                run(self, request)
            }
        }
    }

    /// An error that also spoils the transaction it appears in.
    fn refuse(&mut self, text: impl AsRef<[u8]>) -> Flow {
        if self.command.name == "exec" {
            self.session.transaction = None;
            let reason = text.as_ref().strip_prefix(b"ERR ").unwrap_or(text.as_ref());
            return self.error([b"EXECABORT Transaction discarded because of: ", reason].concat());
        }
        if let Some(transaction) = &mut self.session.transaction {
            transaction.spoil();
        }
        self.error(text)
    }

    /// In a cluster: refuses what another node has to answer.
    fn elsewhere(&mut self, command: &Command, request: Request<'_>) -> Option<Flow> {
        let topology = self.topology?;
        let refusal = topology.refusal(command.keys.of(request), self.session.reads_from_replicas)?;
        Some(self.refuse(refusal))
    }
}

impl Executor {
    pub fn new(shared: Arc<Shared>, stats: Arc<Stats>, may_wait: bool) -> Self {
        let (serving, view) = (shared.catalog.serving(), shared.cluster.view());
        let get = names().iter().position(|name| *name == "get").unwrap_or(0);
        Self { shared, serving, view, stats, may_wait, tally: Tally::default(), ahead: Ahead::default(), get }
    }

    /// Looks which versions and topology hold now, and keeps them until the next call. Returns the catalog's generation.
    pub fn refresh(&mut self) -> u64 {
        let catalog = &self.shared.catalog;
        if catalog.generation() != self.serving.generation() {
            self.serving = catalog.serving();
        }
        if self.shared.cluster.generation() != self.view.generation() {
            self.view = self.shared.cluster.view();
        }
        self.serving.generation()
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Runs the requests in `input`. Replies are appended to `out`, in order, always whole.
    pub fn run(&mut self, session: &mut Session, decoder: &mut Decoder, input: &[u8], out: &mut Vec<u8>) -> Outcome {
        let Self { shared, serving, view, stats, may_wait, tally, ahead, get } = self;
        let mut consumed = 0;
        let stop = loop {
            if decoder.is_between_requests()
                && view.topology().is_none()
                && let Some(answered) = ahead.answer(session, serving, &input[consumed..], *may_wait, out, tally)
            {
                consumed += answered.consumed;
                tally.count_many(*get, answered.requests);
                if out.len() >= ENOUGH_OUTPUT {
                    break Stop::Full;
                }
                continue;
            }
            let limits = shared.settings.limits(session.authenticated);
            let request = match decoder.decode(&input[consumed..], &limits) {
                Ok(Decoded::Incomplete) => break Stop::NeedsInput,
                Ok(Decoded::Nothing { consumed: bytes }) => {
                    consumed += bytes;
                    continue;
                }
                Ok(Decoded::Request { request, consumed: bytes }) => {
                    consumed += bytes;
                    (request, bytes)
                }
                Err(error) => {
                    Reply::new(out, session.protocol).error(error.reply());
                    stats.errors.add(1);
                    break Stop::Malformed(error);
                }
            };
            let (request, bytes) = request;
            let (mode, before) = (session.reply_mode, out.len());
            let mut context = Context {
                shared,
                serving,
                topology: view.topology(),
                view,
                session,
                out,
                may_wait: *may_wait,
                tally,
                stats,
                command: super::table_head(),
            };
            let flow = context.carry_out(request);
            match flow {
                Flow::Done => {}
                Flow::Close => break Stop::Close,
                Flow::NeedsDisk => {
                    tally.take_back();
                    out.truncate(before);
                    consumed -= bytes;
                    break Stop::NeedsDisk;
                }
                Flow::TooMuchOutput => {
                    out.truncate(before);
                    break Stop::TooMuchOutput;
                }
            }
            if mode != ReplyMode::On {
                silence(session, mode, before, out);
            }
            if out.len() >= ENOUGH_OUTPUT {
                break Stop::Full;
            }
        };
        Outcome { consumed, stop }
    }

    /// Counts what ran since the last call as having begun at `started`.
    pub fn end_batch(&mut self, session: &Session, started: Instant, now: Instant) {
        let Some(last) = self.tally.last() else { return };
        let resp3 = session.protocol == Protocol::Resp3;
        session.client.saw(last, session.db, resp3, self.shared.clock.seconds());
        self.stats.record(&mut self.tally, now.saturating_duration_since(started));
    }
}

/// The line of an HTTP request that a browser sends to any port it is told to.
fn is_http(request: Request<'_>) -> bool {
    request.iter().next().is_some_and(|name| name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:"))
}

/// Takes back the reply of a connection that asked for none.
fn silence(session: &mut Session, mode: ReplyMode, before: usize, out: &mut Vec<u8>) {
    match mode {
        ReplyMode::On => {}
        ReplyMode::Off if session.reply_mode == ReplyMode::On => {} // CLIENT REPLY ON answers
        ReplyMode::Off => out.truncate(before),
        ReplyMode::SkipNext => {
            out.truncate(before);
            if session.reply_mode == ReplyMode::SkipNext {
                session.reply_mode = ReplyMode::On;
            }
        }
    }
}

/// Seconds since the epoch, read once a second by whoever has the time: CLIENT LIST needs no better.
#[derive(Debug)]
pub struct CoarseClock(std::sync::atomic::AtomicU64);

impl Default for CoarseClock {
    fn default() -> Self {
        Self(unix_seconds().into())
    }
}

impl CoarseClock {
    pub fn seconds(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub fn tick(&self) {
        self.0.store(unix_seconds(), std::sync::atomic::Ordering::Relaxed);
    }
}
