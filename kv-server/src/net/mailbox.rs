//! What other threads tell an event loop.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use mio::{Waker, net::TcpStream};
use tokio::time::Instant;

use super::pool::Answer;
use crate::clients::Client;

pub enum Message {
    /// A new connection.
    Connected { stream: TcpStream, client: Arc<Client> },
    /// A connection comes back from the read pool.
    Answered(Answer),
    /// Finish what was asked, take no more, and end at the deadline at the latest.
    Drain { deadline: Instant },
}

/// The way to one event loop. Bounded by what it carries: connections and jobs, of which there are at most `--max-connections`.
pub struct Mailbox {
    messages: Mutex<Vec<Message>>,
    waker: Waker,
    /// Whether the loop was woken and has not looked yet, which spares a system call for each message of a burst.
    woken: AtomicBool,
}

impl Mailbox {
    pub(super) fn new(waker: Waker) -> Self {
        Self { messages: Mutex::new(Vec::new()), waker, woken: AtomicBool::new(false) }
    }

    pub fn send(&self, message: Message) -> io::Result<()> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).push(message);
        self.wake()
    }

    /// Has the loop look around, such as for a version that was switched.
    pub fn wake(&self) -> io::Result<()> {
        match self.woken.swap(true, Ordering::AcqRel) {
            true => Ok(()),
            false => self.waker.wake(),
        }
    }

    pub(super) fn take(&self, into: &mut Vec<Message>) {
        // Cleared first: who sends from here on wakes the loop again.
        self.woken.store(false, Ordering::Release);
        into.append(&mut self.messages.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
