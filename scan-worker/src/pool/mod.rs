//! The scanner processes of this worker, and the threads that feed them.
//!
//! ```text
//!  job ── Handle::submit ──► Queue of Tasks ◄── take a batch, give back ── Slot (thread) ──fds──► scanner process
//!      ◄── Scanned ────────── Task ◄── answers ─────────────────────────────┘
//! ```
//!
//! All slots work on the oldest task that has files left, so a segment is done as early as can be and a few
//! large segments keep all cores busy. A slot is a thread that blocks: opening a file, a message and a check
//! after it are all short system calls, and a scanner is only ever fed by its own thread.

mod files;
mod process;
mod program;
mod slot;
mod task;

pub use files::SegmentFiles;
pub use process::Launcher;
pub use program::{Part, Program, ProgramKey};
pub use task::{Batch, FileAnswer, FileFate, Scanned, TargetParts, Task};

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use supervision::Limits;
use tokio::sync::mpsc;

use crate::metrics::Metrics;
use slot::Slot;

#[derive(Debug, thiserror::Error)]
#[error("failed to start a thread for a scanner")]
pub struct Error(#[from] std::io::Error);

/// The threads. To be ended with [`Pool::stop`].
#[derive(Debug)]
pub struct Pool {
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
    ended: mpsc::Receiver<()>,
}

/// Gives scanners work.
#[derive(Clone, Debug)]
pub struct Handle {
    queue: Arc<Queue>,
}

impl Pool {
    pub fn start(scanners: u32, launcher: &Launcher, limits: Limits, metrics: &Metrics) -> Result<Self, Error> {
        let queue = Arc::new(Queue::default());
        let (end, ended) = mpsc::channel(1);
        let mut threads = Vec::new();
        for number in 0..scanners {
            let slot = Slot::new(Arc::clone(&queue), launcher.clone(), limits, metrics.clone());
            let end = End(end.clone());
            let thread = std::thread::Builder::new().name(format!("slot-{number}")).spawn(move || {
                let _end = end;
                slot.run();
            });
            match thread {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    queue.stop();
                    return Err(error.into());
                }
            }
        }
        Ok(Self { handle: Handle { queue }, threads, ended })
    }

    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Returns when a slot has ended by itself, which only a bug can cause.
    pub async fn damaged(&mut self) {
        self.ended.recv().await;
    }

    /// Kills what is being scanned and joins the threads.
    pub fn stop(self) {
        self.handle.queue.stop();
        for thread in self.threads {
            // A panic has been printed by its hook.
            let _ = thread.join();
        }
    }
}

/// Tells the end of a thread, a panic included.
struct End(mpsc::Sender<()>);

impl Drop for End {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}

impl Handle {
    /// Queues a task behind the others. It is at most one per job in flight.
    pub fn submit(&self, task: Arc<Task>) {
        self.queue.lock().tasks.push(task);
        self.queue.ready.notify_all();
    }

    /// Drops a task; files in flight are finished and their answers ignored.
    pub fn cancel(&self, task: &Arc<Task>) {
        task.cancel();
        self.queue.forget_done();
    }
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<QueueState>,
    ready: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    /// Oldest first.
    tasks: Vec<Arc<Task>>,
    stopping: bool,
}

/// What a slot gets when it asks for work.
enum Next {
    Batch(Batch),
    Nothing,
    Stop,
}

impl Queue {
    /// The next batch of the oldest task that has one; `wait`: until there is one.
    fn next(&self, wait: bool) -> Next {
        let mut state = self.lock();
        loop {
            if state.stopping {
                return Next::Stop;
            }
            if let Some(batch) = state.tasks.iter().find_map(Task::take_batch) {
                return Next::Batch(batch);
            }
            if !wait {
                return Next::Nothing;
            }
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// To be called after files were given back to a task, and after answers.
    fn task_changed(&self, task: &Task) {
        if task.is_done() {
            self.forget_done();
        } else {
            drop(self.lock()); // a slot that just found nothing is waiting by now
            self.ready.notify_all();
        }
    }

    fn forget_done(&self) {
        self.lock().tasks.retain(|task| !task.is_done());
    }

    fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    fn stop(&self) {
        self.lock().stopping = true;
        self.ready.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
