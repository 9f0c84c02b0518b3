//! What is counted, and how it is told to Prometheus.
//!
//! | name (all begin with `dragnet_kv_`) | unit | labels |
//! |---|---|---|
//! | `requests_total`, `request_seconds` (histogram) | | command: names of the table |
//! | `hits_total`, `misses_total` | keys looked up | |
//! | `refused_mutations_total`, `error_replies_total`, `read_errors_total`, `wrong_passwords_total` | | |
//! | `received_bytes_total`, `sent_bytes_total` | bytes | |
//! | `open_connections` (gauge), `connections_total`, `rejected_connections_total` | | |
//! | `closed_connections_total` | | reason: see [`Closed`] |
//! | `waits_total`: batches that waited for the read pool; `waiting` (gauge) | | |
//!
//! Each thread counts into a block of its own, without locks or shared cache lines; a scrape adds the blocks up. Latency is that
//! of a batch, from the wake-up to the write, divided by its requests: two clock reads a request would cost more than a hit.

mod exposition;
mod histogram;
mod process;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use exposition::register;
pub use histogram::Histogram;
pub use process::{cpu_seconds, resident_bytes};

use crate::command;

/// A number that one thread writes and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Plain load and store: there is one writer, and a locked instruction for each would show in the profile.
    #[inline]
    pub fn add(&self, more: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
    }

    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a connection was closed by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// Its requests made no sense.
    Malformed,
    /// Nothing was asked for `--idle-timeout`.
    Idle,
    /// A request or an answer made no progress for a minute.
    Stalled,
    /// More waits to be read by the peer than `--output-limit`.
    Output,
    /// One request is larger than a connection may send.
    Query,
    /// All connections together hold too much, and this one the most.
    Memory,
}

impl Closed {
    pub const ALL: [Self; 6] = [Self::Malformed, Self::Idle, Self::Stalled, Self::Output, Self::Query, Self::Memory];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Idle => "idle",
            Self::Stalled => "stalled",
            Self::Output => "output",
            Self::Query => "query",
            Self::Memory => "memory",
        }
    }
}

/// What one thread counted. On cache lines of its own.
#[derive(Debug)]
#[repr(align(128))]
pub struct Stats {
    pub(crate) errors: Counter,
    pub(crate) refused: Counter,
    pub(crate) read_errors: Counter,
    pub(crate) wrong_passwords: Counter,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) connections: Counter,
    pub(crate) rejected: Counter,
    pub(crate) waits: Counter,
    hits: Counter,
    misses: Counter,
    closed: [Counter; Closed::ALL.len()],
    commands: Box<[Histogram]>,
}

impl Default for Stats {
    fn default() -> Self {
        let commands = command::names().iter().map(|_| Histogram::default()).collect();
        Self {
            errors: Counter::default(),
            refused: Counter::default(),
            read_errors: Counter::default(),
            wrong_passwords: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            connections: Counter::default(),
            rejected: Counter::default(),
            waits: Counter::default(),
            hits: Counter::default(),
            misses: Counter::default(),
            closed: Default::default(),
            commands,
        }
    }
}

impl Stats {
    pub(crate) fn closed(&self, reason: Closed) {
        self.closed[reason as usize].add(1);
    }

    /// Takes a batch that took `elapsed` as a whole.
    pub(crate) fn record(&self, tally: &mut Tally, elapsed: Duration) {
        let requests: u64 = tally.runs.iter().map(|(_, count)| count).sum();
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let each = nanos / requests.max(1);
        for (command, count) in tally.runs.drain(..) {
            self.commands[command].record(each, count);
        }
        self.hits.add(std::mem::take(&mut tally.hits));
        self.misses.add(std::mem::take(&mut tally.misses));
    }
}

/// What a batch has done so far.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Numbers of commands, and how often each ran in a row.
    runs: Vec<(usize, u64)>,
    hits: u64,
    misses: u64,
}

impl Tally {
    #[inline]
    pub(crate) fn count(&mut self, command: usize) {
        self.count_many(command, 1);
    }

    #[inline]
    pub(crate) fn count_many(&mut self, command: usize, times: usize) {
        match self.runs.last_mut() {
            Some((last, count)) if *last == command => *count += times as u64,
            _other => self.runs.push((command, times as u64)),
        }
    }

    /// The last command did not run after all.
    pub(crate) fn take_back(&mut self) {
        if let Some((_, count)) = self.runs.last_mut() {
            *count -= 1;
            if *count == 0 {
                self.runs.pop();
            }
        }
    }

    pub(crate) fn last(&self) -> Option<usize> {
        self.runs.last().map(|(command, _)| *command)
    }

    #[inline]
    pub(crate) fn looked_up(&mut self, hit: bool) {
        self.hits += u64::from(hit);
        self.misses += u64::from(!hit);
    }

    pub(crate) fn looked_up_many(&mut self, hits: usize, misses: usize) {
        self.hits += hits as u64;
        self.misses += misses as u64;
    }
}

/// All threads' blocks.
#[derive(Debug, Default)]
pub struct Metrics {
    blocks: Mutex<Vec<Arc<Stats>>>,
    /// Batches in the read pool or waiting for it; changed by several threads.
    pub(crate) waiting: AtomicU64,
    /// Open connections; changed by several threads.
    pub(crate) open: AtomicU64,
}

/// Sums over all threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    pub requests: u64,
    pub hits: u64,
    pub misses: u64,
    pub errors: u64,
    pub refused: u64,
    pub read_errors: u64,
    pub wrong_passwords: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub connections: u64,
    pub rejected: u64,
    pub waits: u64,
    pub closed: [u64; Closed::ALL.len()],
}

impl Metrics {
    /// A block for one more thread.
    pub fn block(&self) -> Arc<Stats> {
        let block = Arc::new(Stats::default());
        self.lock().push(block.clone());
        block
    }

    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for block in self.lock().iter() {
            totals.requests += block.commands.iter().map(Histogram::count).sum::<u64>();
            totals.hits += block.hits.value();
            totals.misses += block.misses.value();
            totals.errors += block.errors.value();
            totals.refused += block.refused.value();
            totals.read_errors += block.read_errors.value();
            totals.wrong_passwords += block.wrong_passwords.value();
            totals.bytes_in += block.bytes_in.value();
            totals.bytes_out += block.bytes_out.value();
            totals.connections += block.connections.value();
            totals.rejected += block.rejected.value();
            totals.waits += block.waits.value();
            for (total, counter) in totals.closed.iter_mut().zip(&block.closed) {
                *total += counter.value();
            }
        }
        totals
    }

    /// Name, calls and seconds of each command that was ever called.
    pub fn by_command(&self) -> Vec<(&'static str, u64, f64)> {
        let called = self.histograms().into_iter();
        called.map(|(name, histogram)| (name, histogram.count(), histogram.seconds())).collect()
    }

    fn histograms(&self) -> Vec<(&'static str, Histogram)> {
        let blocks = self.lock();
        let names = command::names().iter().enumerate();
        names
            .map(|(number, name)| {
                let sum = Histogram::default();
                blocks.iter().for_each(|block| sum.add(&block.commands[number]));
                (*name, sum)
            })
            .filter(|(_, histogram)| histogram.count() > 0)
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Stats>>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
