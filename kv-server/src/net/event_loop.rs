//! One of the identical event loops: waits for sockets, runs what they sent, writes the replies.

use std::{
    io::{self, Read, Write},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use mio::{Events, Interest, Poll, Token, Waker, net::TcpStream};
use slab::Slab;
use tokio::time::Instant;

use super::{
    Mailbox, Message, Pool,
    buffers::{Sent, recycle},
    connection::{Connection, Dialogue},
    pool::{Answer, Job},
};
use crate::{
    clients::Client,
    command::{Executor, Outcome, Session, Stop},
    metrics::Closed,
    shared::Shared,
};

const WAKER: Token = Token(usize::MAX);
/// As many wake-ups of sockets as are worth asking for at once.
const EVENTS: usize = 256;
/// Read at once from one socket: some thousand pipelined GETs, and no more before the next connection has its turn.
const READ_BUFFER: usize = 64 * 1024;
/// The buffer that replies gather in is kept up to this size.
const KEEP_OUTPUT: usize = 1 << 20;
/// How often time limits are looked at.
const TICK: Duration = Duration::from_secs(1);
/// What a peer may send that has not said the password. Redis's figure.
const UNAUTHENTICATED_QUERY: usize = 1 << 20;

pub struct EventLoop {
    poll: Poll,
    mailbox: Arc<Mailbox>,
    shared: Arc<Shared>,
    pool: Arc<Pool>,
    executor: Executor,
    connections: Slab<Connection>,
    /// Connections that have something to do now.
    ready: Vec<usize>,
    read_buffer: Box<[u8]>,
    output: Vec<u8>,
    generation: u64,
    /// The last reading of the clock: where one batch ends the next begins.
    now: Instant,
    next_tick: Instant,
    deadline: Option<Instant>,
}

/// Whether a connection stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stays,
    /// The peer is gone, or wants to be.
    Ends,
    Closed(Closed),
}

impl EventLoop {
    pub fn new(shared: Arc<Shared>, pool: Arc<Pool>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mailbox = Arc::new(Mailbox::new(Waker::new(poll.registry(), WAKER)?));
        let mut executor = Executor::new(shared.clone(), shared.metrics.block(), false);
        let (generation, now) = (executor.refresh(), Instant::now());
        Ok(Self {
            poll,
            mailbox,
            shared,
            pool,
            executor,
            connections: Slab::new(),
            ready: Vec::new(),
            read_buffer: vec![0; READ_BUFFER].into_boxed_slice(),
            output: Vec::new(),
            generation,
            now,
            next_tick: now + TICK,
            deadline: None,
        })
    }

    pub fn mailbox(&self) -> Arc<Mailbox> {
        self.mailbox.clone()
    }

    /// Serves until told to drain. Errors are those of the poll itself.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        let mut messages = Vec::new();
        loop {
            let timeout =
                if self.ready.is_empty() { self.next_tick.saturating_duration_since(self.now) } else { Duration::ZERO };
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            self.now = Instant::now();
            self.look_for_switch();
            for event in &events {
                if event.token() != WAKER {
                    self.note(event);
                }
            }
            self.mailbox.take(&mut messages);
            for message in messages.drain(..) {
                self.receive(message);
            }
            for token in std::mem::take(&mut self.ready) {
                self.serve(token);
            }
            if self.now >= self.next_tick {
                self.tick();
            }
            if self.deadline.is_some() && self.connections.is_empty() {
                return Ok(());
            }
        }
    }

    fn look_for_switch(&mut self) {
        let generation = self.executor.refresh();
        if generation == self.generation {
            return;
        }
        self.generation = generation;
        let tokens: Vec<_> = self.connections.iter().map(|(token, _)| token).collect();
        for token in tokens {
            let connection = &mut self.connections[token];
            match &connection.dialogue {
                Some(dialogue) => {
                    let mut message = Vec::new();
                    dialogue.session.invalidate_all(&mut message);
                    connection.output.push(&message);
                    if !message.is_empty() {
                        self.list(token);
                    }
                }
                None => connection.must_invalidate = true,
            }
        }
    }

    fn note(&mut self, event: &mio::event::Event) {
        let token = event.token().0;
        // An event of a connection that ended in this very round names nobody any more.
        let Some(connection) = self.connections.get_mut(token) else { return };
        connection.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        connection.ended |= event.is_read_closed() || event.is_error();
        self.list(token);
    }

    fn list(&mut self, token: usize) {
        let connection = &mut self.connections[token];
        if !std::mem::replace(&mut connection.listed, true) {
            self.ready.push(token);
        }
    }

    fn receive(&mut self, message: Message) {
        match message {
            Message::Connected { stream, client } => self.connect(stream, client),
            Message::Answered(answer) => self.take_back(answer),
            Message::Drain { deadline } => {
                self.deadline = Some(deadline);
                let tokens: Vec<_> = self.connections.iter().map(|(token, _)| token).collect();
                for token in tokens {
                    // What was sent before this moment is still answered.
                    self.connections[token].readable = true;
                    self.list(token);
                }
            }
        }
    }

    fn connect(&mut self, mut stream: TcpStream, client: Arc<Client>) {
        let entry = self.connections.vacant_entry();
        let token = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut stream, Token(token), interest).is_err() {
            self.shared.clients.disconnect(&client);
            self.shared.metrics.open.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let local = client.local;
        let session = Session::new(client, local, self.shared.settings.password.is_some());
        entry.insert(Connection::new(stream, session, self.now));
        self.list(token);
    }

    /// A connection's requests were run by the read pool.
    fn take_back(&mut self, answer: Answer) {
        let Answer { token, dialogue, output, stop } = answer;
        let connection = &mut self.connections[token];
        connection.output.push(&output);
        if std::mem::take(&mut connection.must_invalidate) {
            let mut message = Vec::new();
            dialogue.session.invalidate_all(&mut message);
            connection.output.push(&message);
        }
        connection.dialogue = Some(dialogue);
        match self.after(token, stop) {
            Fate::Stays => self.list(token),
            fate => self.close(token, fate),
        }
    }

    fn serve(&mut self, token: usize) {
        let Some(connection) = self.connections.get_mut(token) else { return };
        connection.listed = false;
        if connection.dialogue.is_none() {
            return; // it comes back by itself
        }
        match self.try_to_serve(token) {
            Ok(Fate::Stays) => {}
            Ok(fate) => self.close(token, fate),
            Err(_peer_is_gone) => self.close(token, Fate::Ends),
        }
    }

    /// One turn: sends what waits, reads once, runs what arrived, and writes the replies. Errors are those of the socket.
    fn try_to_serve(&mut self, token: usize) -> io::Result<Fate> {
        let connection = &mut self.connections[token];
        if !connection.output.is_empty() {
            let (sent, bytes) = connection.output.send(&mut connection.stream)?;
            self.executor.stats().bytes_out.add(bytes as u64);
            if bytes > 0 {
                connection.moved = self.now;
            }
            if sent == Sent::Blocked {
                return Ok(Fate::Stays); // and nothing more is read from who does not read
            }
        }
        if connection.closing {
            return Ok(Fate::Ends);
        }
        let started = self.now;
        let arrived = match (connection.more, connection.readable) {
            (true, _) => Arrived::Bytes(0), // there is enough from before
            (false, true) => read(connection, &mut self.read_buffer)?,
            (false, false) => Arrived::Nothing,
        };
        let count = match arrived {
            Arrived::Nothing => return Ok(self.at_rest(token)),
            Arrived::End => return Ok(Fate::Ends),
            Arrived::Bytes(count) => count,
        };
        self.executor.stats().bytes_in.add(count as u64);
        let dialogue = connection.dialogue.as_mut().expect("looked at before the turn");
        let outcome = run(&mut self.executor, dialogue, &self.read_buffer[..count], &mut self.output);
        if !self.output.is_empty() {
            let sent = write(connection, &self.output);
            recycle(&mut self.output, KEEP_OUTPUT); // also after an error: the next connection's replies go here
            self.executor.stats().bytes_out.add(sent? as u64);
        }
        self.now = Instant::now();
        let Some(dialogue) = &connection.dialogue else { return Ok(Fate::Stays) };
        self.executor.end_batch(&dialogue.session, started, self.now);
        connection.moved = self.now;
        if outcome.consumed > 0 && dialogue.session.authenticated {
            connection.progressed = self.now;
        }
        Ok(match self.after(token, outcome.stop) {
            Fate::Stays => self.go_on(token),
            fate => fate,
        })
    }

    /// What is to be done because running requests stopped.
    fn after(&mut self, token: usize, stop: Stop) -> Fate {
        let connection = &mut self.connections[token];
        connection.more = false;
        let peer = || connection.dialogue.as_ref().map(|dialogue| dialogue.session.client.address);
        match stop {
            Stop::NeedsInput => {
                let Some(dialogue) = &mut connection.dialogue else { return Fate::Stays };
                let limit = match dialogue.session.authenticated {
                    true => self.shared.settings.query_limit,
                    false => UNAUTHENTICATED_QUERY,
                };
                if dialogue.input.len() > limit {
                    return Fate::Closed(Closed::Query);
                }
                if dialogue.input.is_empty() && dialogue.decoder.memory() > READ_BUFFER {
                    dialogue.decoder.reset();
                }
            }
            Stop::Full => connection.more = true,
            Stop::NeedsDisk => {
                self.executor.stats().waits.add(1);
                self.shared.metrics.waiting.fetch_add(1, Ordering::Relaxed);
                if let Some(dialogue) = connection.dialogue.take() {
                    self.pool.submit(Job { token, dialogue, since: self.now, home: self.mailbox.clone() });
                }
            }
            Stop::Close => connection.closing = true,
            Stop::Malformed(error) => {
                if let Some(peer) = peer() {
                    self.shared.events.malformed(peer, error);
                }
                self.executor.stats().closed(Closed::Malformed);
                connection.closing = true;
            }
            Stop::TooMuchOutput => return Fate::Closed(Closed::Output),
        }
        Fate::Stays
    }

    /// Whether there is more to do for it in the next round.
    fn go_on(&mut self, token: usize) -> Fate {
        let connection = &mut self.connections[token];
        if connection.closing && connection.output.is_empty() {
            return Fate::Ends;
        }
        if connection.output.is_empty() && connection.dialogue.is_some() && (connection.more || connection.readable) {
            self.list(token);
            return Fate::Stays;
        }
        self.at_rest(token)
    }

    /// Notes that nothing is under way, if so, and lets go of it when the server ends.
    fn at_rest(&mut self, token: usize) -> Fate {
        let connection = &mut self.connections[token];
        if connection.rests() {
            connection.progressed = self.now;
            if self.deadline.is_some() {
                return Fate::Ends;
            }
        }
        Fate::Stays
    }

    fn tick(&mut self) {
        self.next_tick = self.now + TICK;
        self.shared.clock.tick();
        let (idle, stall) = (self.shared.settings.idle_timeout, self.shared.settings.stall_timeout);
        let mut late = Vec::new();
        let mut memory = 0;
        for (token, connection) in &self.connections {
            let Some(dialogue) = &connection.dialogue else { continue };
            memory += connection.memory();
            let since = |moment: Instant| self.now.saturating_duration_since(moment);
            let fate = if self.deadline.is_some_and(|deadline| self.now >= deadline) {
                Fate::Ends
            } else if !connection.output.is_empty() {
                if since(connection.moved) > stall { Fate::Closed(Closed::Stalled) } else { Fate::Stays }
            } else if !dialogue.input.is_empty() || !dialogue.session.authenticated {
                if since(connection.progressed) > stall { Fate::Closed(Closed::Stalled) } else { Fate::Stays }
            } else if idle.is_some_and(|idle| since(connection.progressed) > idle) {
                Fate::Closed(Closed::Idle)
            } else {
                Fate::Stays
            };
            if fate != Fate::Stays {
                late.push((token, fate));
            }
        }
        for (token, fate) in late {
            self.close(token, fate);
        }
        let budget = self.shared.settings.client_memory / self.shared.settings.threads.max(1);
        if memory > budget {
            self.relieve(memory, budget);
        }
    }

    /// Closes those that hold most until the rest holds little enough. One alone may hold it all: it has limits of its own.
    fn relieve(&mut self, mut memory: usize, budget: usize) {
        let mut holders: Vec<_> = self.connections.iter().map(|(token, it)| (it.memory(), token)).collect();
        holders.sort_unstable();
        while let Some((held, token)) = holders.pop() {
            if memory <= budget || holders.last().is_none_or(|(next, _)| *next == 0) {
                return;
            }
            memory = memory.saturating_sub(held);
            if self.connections[token].dialogue.is_some() {
                self.close(token, Fate::Closed(Closed::Memory));
            }
        }
    }

    fn close(&mut self, token: usize, fate: Fate) {
        let Some(mut connection) = self.connections.try_remove(token) else { return };
        let _ = self.poll.registry().deregister(&mut connection.stream); // dropping the socket does it as well
        self.shared.metrics.open.fetch_sub(1, Ordering::Relaxed);
        let Some(dialogue) = connection.dialogue else { return };
        let client = &dialogue.session.client;
        if let Fate::Closed(reason) = fate {
            self.executor.stats().closed(reason);
            self.shared.events.closed(client.address, reason);
        }
        self.shared.clients.disconnect(client);
    }
}

/// Runs what a connection has sent: `arrived`, behind what was left before.
fn run(executor: &mut Executor, dialogue: &mut Dialogue, arrived: &[u8], output: &mut Vec<u8>) -> Outcome {
    let Dialogue { session, decoder, input } = dialogue;
    if input.is_empty() {
        // Nearly always: whole requests, run where they were read, and nothing is left.
        let outcome = executor.run(session, decoder, arrived, output);
        input.extend_from_slice(&arrived[outcome.consumed..]);
        return outcome;
    }
    input.extend_from_slice(arrived);
    let outcome = executor.run(session, decoder, input, output);
    match outcome.consumed == input.len() {
        true => recycle(input, READ_BUFFER),
        false => drop(input.drain(..outcome.consumed)),
    }
    outcome
}

enum Arrived {
    Nothing,
    Bytes(usize),
    End,
}

/// Reads once. What does not fill the buffer was all there is, which spares a second call that would only say so.
fn read(connection: &mut Connection, buffer: &mut [u8]) -> io::Result<Arrived> {
    loop {
        return match connection.stream.read(buffer) {
            Ok(0) => Ok(Arrived::End),
            Ok(bytes) => {
                connection.readable = bytes == buffer.len() || connection.ended;
                Ok(Arrived::Bytes(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                connection.readable = false;
                Ok(Arrived::Nothing)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => Err(error),
        };
    }
}

/// Writes at once what the socket takes and keeps the rest. Returns how much went out.
fn write(connection: &mut Connection, bytes: &[u8]) -> io::Result<usize> {
    if !connection.output.is_empty() {
        connection.output.push(bytes);
        return Ok(0);
    }
    let sent = loop {
        match connection.stream.write(bytes) {
            Ok(sent) => break sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break 0,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    };
    connection.output.push(&bytes[sent..]);
    Ok(sent)
}
