//! What workers run with now. Replaced as a whole; a worker looks at one number a turn and takes the lock only when it changed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::config::{Pack, Target};
use crate::filter::Policy;

#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub(crate) policy: Arc<Policy>,
    pub(crate) pack: Pack,
    pub(crate) target: Target,
    /// Where `target` leads; `None` while its name cannot be looked up.
    pub(crate) destination: Option<Destination>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Udp(SocketAddr),
    Unix(PathBuf),
}

#[derive(Debug)]
pub(crate) struct Shared {
    /// Counts every change below.
    generation: AtomicU64,
    stopping: AtomicBool,
    current: Mutex<Current>,
    /// Somebody doubts the destination; also taken for `stopping`, so that one variable wakes the resolver for both.
    doubt: Mutex<bool>,
    woken: Condvar,
}

impl Shared {
    pub(crate) fn new(current: Current) -> Self {
        Self {
            generation: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            current: Mutex::new(current),
            doubt: Mutex::new(false),
            woken: Condvar::new(),
        }
    }

    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(crate) fn current(&self) -> Current {
        self.lock().clone()
    }

    /// Replaces everything, after a reload.
    pub(crate) fn replace(&self, new: Current) {
        *self.lock() = new;
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Replaces the destination, unless a reload has changed `target` meanwhile.
    pub(crate) fn redirect(&self, target: &Target, destination: Destination) {
        let mut current = self.lock();
        if current.target == *target {
            current.destination = Some(destination);
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.generation.fetch_add(1, Ordering::Release);
        self.doubt_destination();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Sending failed: whoever looks up names should do so now.
    pub(crate) fn doubt_destination(&self) {
        *self.doubt.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.woken.notify_all();
    }

    /// Waits for `longest`, or until someone doubts the destination.
    pub(crate) fn wait_for_doubt(&self, longest: Duration) {
        let doubt = self.doubt.lock().unwrap_or_else(PoisonError::into_inner);
        let woken = self.woken.wait_timeout_while(doubt, longest, |doubt| !*doubt);
        *woken.unwrap_or_else(PoisonError::into_inner).0 = false;
    }

    /// Waits for `longest`, or until the process stops.
    pub(crate) fn wait_for_stop(&self, longest: Duration) {
        let doubt = self.doubt.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.woken.wait_timeout_while(doubt, longest, |_| !self.is_stopping()));
    }

    /// Every change under this lock is one assignment, so a panic elsewhere leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
