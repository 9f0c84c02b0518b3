//! Threads that may wait for the disk.
//!
//! A connection that needs one moves here with all it has sent, and goes back with its replies. Bounded without a limit of its own:
//! a connection has at most one job, so there are never more jobs than connections.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, PoisonError, atomic::Ordering},
};

use tokio::time::Instant;

use super::{Mailbox, Message, connection::Dialogue};
use crate::{
    command::{Executor, Stop},
    metrics::Stats,
    shared::Shared,
};

/// A connection's requests, the first of which needs the disk.
pub(super) struct Job {
    pub(super) token: usize,
    pub(super) dialogue: Box<Dialogue>,
    pub(super) since: Instant,
    pub(super) home: Arc<Mailbox>,
}

/// The same connection, and what came of its requests.
pub struct Answer {
    pub(super) token: usize,
    pub(super) dialogue: Box<Dialogue>,
    pub(super) output: Vec<u8>,
    pub(super) stop: Stop,
}

/// The read pool.
pub struct Pool {
    queue: Mutex<Queue>,
    more: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    stopped: bool,
}

impl Pool {
    /// A pool, and the work of each of its `threads`. They end after [`Pool::stop`], when the queue is empty.
    pub fn new(threads: usize, shared: &Arc<Shared>) -> (Arc<Self>, Vec<impl FnOnce() + Send + use<>>) {
        let pool = Arc::new(Self { queue: Mutex::new(Queue::default()), more: Condvar::new() });
        let work = (0..threads).map(|_| {
            let (pool, shared, stats) = (pool.clone(), shared.clone(), shared.metrics.block());
            move || pool.work(shared, stats)
        });
        let work = work.collect();
        (pool, work)
    }

    pub(super) fn submit(&self, job: Job) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).jobs.push_back(job);
        self.more.notify_one();
    }

    pub fn stop(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).stopped = true;
        self.more.notify_all();
    }

    fn work(&self, shared: Arc<Shared>, stats: Arc<Stats>) {
        let mut executor = Executor::new(shared.clone(), stats, true);
        while let Some(job) = self.next() {
            let Job { token, mut dialogue, since, home } = job;
            executor.refresh();
            let mut output = Vec::new();
            let Dialogue { session, decoder, input } = &mut *dialogue;
            let outcome = executor.run(session, decoder, input, &mut output);
            input.drain(..outcome.consumed);
            executor.end_batch(session, since, Instant::now());
            shared.metrics.waiting.fetch_sub(1, Ordering::Relaxed);
            // Fails only if the loop is gone, and then so is the connection.
            let _ = home.send(Message::Answered(Answer { token, dialogue, output, stop: outcome.stop }));
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.stopped {
                return None;
            }
            queue = self.more.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
