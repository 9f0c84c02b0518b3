//! One thread, one socket: receive, filter, pack, send.
//!
//! A worker that holds lines does not wait for each next datagram: it sleeps until the lines must go, and then reads all that
//! has come at once. Waking up for every datagram costs more than the datagram.

#![expect(clippy::disallowed_types, reason = "there is no async runtime here whose clock could be used")]

use std::io::PipeReader;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use crate::filter::filter_datagram;
use crate::inbox::Inbox;
use crate::listener::Listener;
use crate::metrics::{Count, Counters, Tally};
use crate::outbox::Outbox;
use crate::pack::Packer;
use crate::shared::{Current, Shared};

/// How much is read after the order to stop: 32,768 datagrams, several times what a receive buffer holds.
const LAST_TURNS: usize = 1024;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to receive")]
    Receive(#[source] Errno),
    #[error("failed to wait for datagrams")]
    Wait(#[source] Errno),
}

pub(crate) struct Worker {
    pub(crate) listener: Listener,
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Arc<Counters>,
    /// Closed at its other end when the process stops.
    pub(crate) stop: PipeReader,
}

/// What a worker has in its hands.
struct Hands {
    generation: u64,
    current: Current,
    inbox: Inbox,
    packer: Packer,
    outbox: Outbox,
    tally: Tally,
    /// When the oldest line that is held was received; never later, perhaps a little earlier.
    held_since: Option<Instant>,
}

impl Worker {
    /// Runs until the process stops; then forwards what has arrived by then.
    pub(crate) fn run(self) -> Result<(), Error> {
        let mut hands = self.hands();
        while !self.shared.is_stopping() {
            let has_more = self.turn(&mut hands)?;
            if !has_more {
                self.wait(&hands)?;
            }
        }
        for _ in 0..LAST_TURNS {
            if !self.turn(&mut hands)? {
                break;
            }
        }
        self.flush(&mut hands);
        self.counters.publish(&hands.tally);
        Ok(())
    }

    fn hands(&self) -> Hands {
        let (generation, current) = (self.shared.generation(), self.shared.current());
        Hands {
            generation,
            inbox: Inbox::new(),
            packer: Packer::new(current.pack.max_datagram_bytes),
            outbox: Outbox::new(current.destination.clone()),
            current,
            tally: Tally::default(),
            held_since: None,
        }
    }

    /// Receives a batch and sends what is due. Returns whether there may be more to receive.
    fn turn(&self, hands: &mut Hands) -> Result<bool, Error> {
        if hands.generation != self.shared.generation() {
            self.adopt_changes(hands);
        }
        let received_at = Instant::now();
        let Hands { current, inbox, packer, outbox, tally, .. } = hands;
        let mut send = |packer: &mut Packer, tally: &mut Tally| {
            if !outbox.send(packer, tally) {
                self.shared.doubt_destination();
            }
        };
        let received = inbox.receive(&self.listener, received_at, |datagram| {
            filter_datagram(&current.policy, datagram, packer, tally, &mut send);
        });
        let has_more = received.map_err(Error::Receive)?;
        let drops = inbox.kernel_drops - tally.get(Count::KernelDrops);
        tally.add(Count::KernelDrops, drops);

        if !hands.packer.is_empty() {
            let held_since = *hands.held_since.get_or_insert(received_at);
            if held_since.elapsed() >= hands.current.pack.delay {
                self.flush(hands);
            }
        }
        self.counters.publish(&hands.tally);
        Ok(has_more)
    }

    fn adopt_changes(&self, hands: &mut Hands) {
        self.flush(hands);
        // The number first: a change between the two lines is then seen again, and not missed.
        hands.generation = self.shared.generation();
        hands.current = self.shared.current();
        hands.packer = Packer::new(hands.current.pack.max_datagram_bytes);
        hands.outbox.redirect(hands.current.destination.clone());
    }

    fn flush(&self, hands: &mut Hands) {
        hands.held_since = None;
        if !hands.packer.is_empty() && !hands.outbox.send(&mut hands.packer, &mut hands.tally) {
            self.shared.doubt_destination();
        }
    }

    /// Waits for a datagram, for the moment when held lines must go, or for the end.
    fn wait(&self, hands: &Hands) -> Result<(), Error> {
        let patience = hands.held_since.map(|since| hands.current.pack.delay.saturating_sub(since.elapsed()));
        match patience {
            Some(patience) if patience.is_zero() => Ok(()),
            Some(patience) if !self.listener.safe_nap.is_zero() => {
                std::thread::sleep(patience.min(self.listener.safe_nap));
                Ok(())
            }
            patience => self.wait_for_input(patience),
        }
    }

    fn wait_for_input(&self, longest: Option<Duration>) -> Result<(), Error> {
        let mut watched =
            [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN), PollFd::new(self.stop.as_fd(), PollFlags::POLLIN)];
        match ppoll(&mut watched, longest.map(TimeSpec::from), None) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(Error::Wait(errno)),
        }
    }
}
