//! Log lines of threads that must not wait: a full pipe behind standard error would otherwise stop an event loop.
//!
//! Lines go through a bounded queue to a thread of their own. When the queue is full, or more than a few come in a second, lines
//! are left out and counted: a peer that sends rubbish must not be able to fill a disk either.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::metrics::Closed;

/// A second's worth of lines many times over.
const QUEUE: usize = 256;
const LINES_PER_SECOND: u32 = 20;

enum Event {
    Malformed { peer: SocketAddr, error: resp::Error },
    Closed { peer: SocketAddr, reason: Closed },
    ReadFailed { what: String },
    TooManyConnections { peer: SocketAddr },
    AcceptFailed { what: String },
    Stop,
}

/// Hands log lines to the thread that writes them.
pub struct Events {
    queue: SyncSender<Event>,
    lost: Arc<AtomicU64>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Default for Events {
    fn default() -> Self {
        let (queue, events) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let counter = lost.clone();
        let thread = std::thread::Builder::new().name("kv-log".to_owned()).spawn(move || write(&events, &counter));
        Self { queue, lost, thread: Mutex::new(thread.ok()) }
    }
}

impl Events {
    pub(crate) fn malformed(&self, peer: SocketAddr, error: resp::Error) {
        self.send(Event::Malformed { peer, error });
    }

    pub(crate) fn closed(&self, peer: SocketAddr, reason: Closed) {
        self.send(Event::Closed { peer, reason });
    }

    pub(crate) fn read_failed(&self, error: &shard::Error) {
        let cause = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
        self.send(Event::ReadFailed { what: format!("{error}{cause}") });
    }

    pub(crate) fn too_many_connections(&self, peer: SocketAddr) {
        self.send(Event::TooManyConnections { peer });
    }

    pub(crate) fn accept_failed(&self, error: &std::io::Error) {
        self.send(Event::AcceptFailed { what: error.to_string() });
    }

    /// Lines that were left out.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Writes what is queued and ends the thread.
    pub fn stop(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && self.queue.send(Event::Stop).is_ok()
        {
            let _ = thread.join();
        }
    }

    fn send(&self, event: Event) {
        if self.queue.try_send(event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn write(events: &Receiver<Event>, lost: &AtomicU64) {
    let (mut second, mut lines, mut left_out) = (Instant::now(), 0, 0u64);
    while let Ok(event) = events.recv() {
        if second.elapsed() > Duration::from_secs(1) {
            if left_out > 0 {
                info!(left_out, "more lines like these were left out");
            }
            (second, lines, left_out) = (Instant::now(), 0, 0);
        }
        lines += 1;
        if lines > LINES_PER_SECOND && !matches!(event, Event::Stop) {
            left_out += 1;
            lost.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        match event {
            Event::Malformed { peer, error } => info!(%peer, %error, "closed a connection"),
            Event::Closed { peer, reason } => info!(%peer, reason = reason.as_str(), "closed a connection"),
            Event::ReadFailed { what } => error!(error = what, "a read failed"),
            Event::TooManyConnections { peer } => warn!(%peer, "refused a connection: there are too many"),
            Event::AcceptFailed { what } => warn!(error = what, "failed to accept a connection"),
            Event::Stop => return,
        }
    }
}
