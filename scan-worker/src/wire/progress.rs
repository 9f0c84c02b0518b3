use std::os::fd::OwnedFd;

use rustix::{
    event::{EventfdFlags, eventfd},
    io::{Errno, fcntl_dupfd_cloexec, read, write},
};

/// Counts the files that a scanner has begun, so that the supervisor knows after its death at which it was.
///
/// A counter of the kernel's: one system call per file, which wakes nobody. Telling it over the socket would wake the
/// supervisor for every file, or leave it guessing among a batch.
#[derive(Debug)]
pub struct Progress {
    counter: OwnedFd,
    /// The file last begun, as far as this end knows; 0 before the first.
    last: u64,
}

impl Progress {
    pub fn new() -> Result<Self, Errno> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map(Self::from_fd)
    }

    pub fn from_fd(counter: OwnedFd) -> Self {
        Self { counter, last: 0 }
    }

    /// A descriptor of the same counter, for the scanner.
    pub fn share(&self) -> Result<OwnedFd, Errno> {
        fcntl_dupfd_cloexec(&self.counter, 0)
    }

    /// The scanner begins a file. Sequences only grow.
    pub fn note(&mut self, sequence: u64) -> Result<(), Errno> {
        let more = sequence.saturating_sub(self.last);
        write(&self.counter, &more.to_ne_bytes())?;
        self.last = sequence;
        Ok(())
    }

    /// The supervisor asks for the file last begun.
    pub fn last(&mut self) -> u64 {
        let mut more = [0; size_of::<u64>()];
        // Nothing new is EAGAIN. A scanner that lies can make it any number, and gains nothing by it.
        if read(&self.counter, &mut more) == Ok(more.len()) {
            self.last = self.last.saturating_add(u64::from_ne_bytes(more));
        }
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_file_begun_is_known_however_often_it_is_asked_for() {
        let mut supervisor = Progress::new().unwrap();
        let mut scanner = Progress::from_fd(supervisor.share().unwrap());
        assert_eq!(supervisor.last(), 0);
        scanner.note(1).unwrap();
        scanner.note(2).unwrap();
        assert_eq!([supervisor.last(), supervisor.last()], [2, 2]);
        scanner.note(7).unwrap();
        scanner.note(7).unwrap();
        drop(scanner);
        assert_eq!([supervisor.last(), supervisor.last()], [7, 7]);
    }
}
