//! Bytes on their way out.

use std::io::{self, Write};

/// What a connection could not send yet.
#[derive(Debug, Default)]
pub(super) struct Pending {
    bytes: Vec<u8>,
    sent: usize,
}

/// How far sending came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    All,
    /// The peer's buffer is full.
    Blocked,
}

/// Above this a buffer that became empty is given back.
const KEEP: usize = 64 * 1024;

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Sends what is waiting. Returns how much went out as well.
    pub(super) fn send(&mut self, to: &mut impl Write) -> io::Result<(Sent, usize)> {
        let before = self.sent;
        while self.sent < self.bytes.len() {
            match to.write(&self.bytes[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => self.sent += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok((Sent::Blocked, self.sent - before));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let went = self.sent - before;
        self.sent = 0;
        self.bytes.clear();
        if self.bytes.capacity() > KEEP {
            self.bytes = Vec::new();
        }
        Ok((Sent::All, went))
    }
}

/// Empties a buffer, and gives it back if it is larger than one keeps.
pub(super) fn recycle(buffer: &mut Vec<u8>, keep: usize) {
    buffer.clear();
    if buffer.capacity() > keep {
        *buffer = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `room` bytes at a time, then blocks once.
    struct Narrow {
        room: usize,
        blocked: bool,
        taken: Vec<u8>,
    }

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.blocked = !self.blocked;
            if self.blocked {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let bytes = &bytes[..bytes.len().min(self.room)];
            self.taken.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_sent_in_pieces_arrives_whole_and_in_order() {
        let mut pending = Pending::default();
        let mut narrow = Narrow { room: 3, blocked: false, taken: Vec::new() };
        pending.push(b"hello ");
        assert_eq!(pending.send(&mut narrow).unwrap(), (Sent::Blocked, 0));
        pending.push(b"world");
        let mut went = 0;
        loop {
            let (sent, bytes) = pending.send(&mut narrow).unwrap();
            went += bytes;
            if sent == Sent::All {
                break;
            }
        }
        assert_eq!(narrow.taken, b"hello world");
        assert_eq!((went, pending.len()), (11, 0));
    }
}
