use std::{
    collections::VecDeque,
    fs::File,
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use rustix::{
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        recvmsg, sendmsg,
    },
};
use serde::{Serialize, de::DeserializeOwned};

use super::{MAX_FILES_PER_BATCH, MAX_FRAME_BYTES};

const HEADER_BYTES: usize = 4;
const READ_BYTES: usize = 64 << 10;
const CONTROL_BYTES: usize = rustix::cmsg_space!(ScmRights(MAX_FILES_PER_BATCH));

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the socket between supervisor and scanner failed")]
    Socket(#[from] Errno),
    #[error("a frame between supervisor and scanner cannot be written")]
    Encode(#[from] rmp_serde::encode::Error),
    #[error("a frame between supervisor and scanner cannot be read")]
    Decode(#[from] rmp_serde::decode::Error),
    #[error("a frame of {bytes} bytes is too long")]
    TooLong { bytes: usize },
    #[error("a frame came with fewer file descriptors than it needs")]
    DescriptorsMissing,
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; HEADER_BYTES];
    rmp_serde::encode::write(&mut bytes, value)?;
    let length = bytes.len() - HEADER_BYTES;
    if length > MAX_FRAME_BYTES {
        return Err(Error::TooLong { bytes: length });
    }
    let header = u32::try_from(length).map_err(|_| Error::TooLong { bytes: length })?;
    bytes[..HEADER_BYTES].copy_from_slice(&header.to_le_bytes());
    Ok(bytes)
}

/// Bytes and descriptors that arrived and were not yet taken.
#[derive(Debug, Default)]
struct Inbox {
    bytes: Vec<u8>,
    taken: usize,
    descriptors: VecDeque<OwnedFd>,
}

impl Inbox {
    /// Reads once. Zero: the other end is closed.
    fn fill(&mut self, socket: BorrowedFd<'_>, flags: RecvFlags) -> Result<usize, Errno> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        let have = self.bytes.len();
        // A large frame is read in large steps.
        let wanted = self.frame_length().map_or(0, |length| (HEADER_BYTES + length).saturating_sub(have));
        self.bytes.resize(have + wanted.clamp(READ_BYTES, 16 * READ_BYTES), 0);
        let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let result = recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut self.bytes[have..])],
            &mut control,
            flags | RecvFlags::CMSG_CLOEXEC,
        );
        let read = result.as_ref().map_or(0, |message| message.bytes);
        self.bytes.truncate(have + read);
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        result.map(|message| message.bytes)
    }

    fn frame_length(&self) -> Option<usize> {
        let header = self.bytes[self.taken..].first_chunk::<HEADER_BYTES>()?;
        Some(u32::from_le_bytes(*header) as usize)
    }

    fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        let Some(length) = self.frame_length() else { return Ok(None) };
        if length > MAX_FRAME_BYTES {
            return Err(Error::TooLong { bytes: length });
        }
        let start = self.taken + HEADER_BYTES;
        let Some(frame) = self.bytes.get(start..start + length) else { return Ok(None) };
        let value = rmp_serde::from_slice(frame)?;
        self.taken = start + length;
        Ok(Some(value))
    }
}

/// The scanner's end: it has nothing else to do, so it waits.
#[derive(Debug)]
pub struct Blocking {
    socket: OwnedFd,
    inbox: Inbox,
}

impl Blocking {
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, inbox: Inbox::default() }
    }

    /// The next frame; none when the supervisor has closed its end.
    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        loop {
            if let Some(value) = self.inbox.take()? {
                return Ok(Some(value));
            }
            match self.inbox.fill(self.socket.as_fd(), RecvFlags::empty()) {
                Ok(0) => return Ok(None),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next descriptor that came with a frame.
    pub fn descriptor(&mut self) -> Result<OwnedFd, Error> {
        self.inbox.descriptors.pop_front().ok_or(Error::DescriptorsMissing)
    }

    pub fn send<T: Serialize>(&mut self, value: &T) -> Result<(), Error> {
        let bytes = encode(value)?;
        let mut sent = 0;
        while sent < bytes.len() {
            match rustix::net::send(&self.socket, &bytes[sent..], SendFlags::NOSIGNAL) {
                Ok(more) => sent += more,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    /// Shared with whoever checks the file after its answer; sent with the first byte.
    descriptors: Vec<Arc<File>>,
}

/// What [`Connection::receive`] found.
#[derive(Debug)]
pub enum Received<T> {
    Frame(T),
    Nothing,
    Closed,
}

/// The supervisor's end. It never waits for the scanner to take a frame, since the scanner may at that
/// moment wait for its answers to be taken.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    inbox: Inbox,
    outbox: VecDeque<Outgoing>,
}

impl Connection {
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, inbox: Inbox::default(), outbox: VecDeque::new() }
    }

    /// Puts a frame into the outbox, which the slot's window bounds.
    pub fn queue<T: Serialize>(&mut self, value: &T, descriptors: Vec<Arc<File>>) -> Result<(), Error> {
        self.outbox.push_back(Outgoing { bytes: encode(value)?, sent: 0, descriptors });
        Ok(())
    }

    pub fn wants_to_write(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Sends what the socket takes now.
    pub fn flush(&mut self) -> Result<(), Errno> {
        while let Some(frame) = self.outbox.front_mut() {
            match send_some(self.socket.as_fd(), frame) {
                Ok(sent) => frame.sent += sent,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            }
            if frame.sent == frame.bytes.len() {
                self.outbox.pop_front();
            }
        }
        Ok(())
    }

    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<Received<T>, Error> {
        loop {
            if let Some(value) = self.inbox.take()? {
                return Ok(Received::Frame(value));
            }
            match self.inbox.fill(self.socket.as_fd(), RecvFlags::DONTWAIT) {
                Ok(0) => return Ok(Received::Closed),
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(Received::Nothing),
                Err(Errno::CONNRESET | Errno::PIPE) => return Ok(Received::Closed),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn send_some(socket: BorrowedFd<'_>, frame: &Outgoing) -> Result<usize, Errno> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    if frame.sent > 0 || frame.descriptors.is_empty() {
        return rustix::net::send(socket, &frame.bytes[frame.sent..], flags);
    }
    let descriptors: Vec<_> = frame.descriptors.iter().map(|descriptor| descriptor.as_fd()).collect();
    let mut space = [MaybeUninit::uninit(); CONTROL_BYTES];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(
        control.push(SendAncillaryMessage::ScmRights(&descriptors)),
        "a batch has at most MAX_FILES_PER_BATCH descriptors"
    );
    sendmsg(socket, &[IoSlice::new(&frame.bytes)], &mut control, flags)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    fn pair() -> (Connection, Blocking) {
        let (here, there) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        (Connection::new(here), Blocking::new(there))
    }

    #[test]
    fn frames_and_descriptors_arrive_in_order() {
        let (mut supervisor, mut scanner) = pair();
        let folder = tempfile::tempdir().unwrap();
        for number in 0..3_u32 {
            let path = folder.path().join(number.to_string());
            std::fs::write(&path, number.to_string()).unwrap();
            supervisor.queue(&number, vec![Arc::new(File::open(path).unwrap())]).unwrap();
        }
        supervisor.flush().unwrap();
        for number in 0..3_u32 {
            assert_eq!(scanner.receive::<u32>().unwrap(), Some(number));
            let mut text = String::new();
            File::from(scanner.descriptor().unwrap()).read_to_string(&mut text).unwrap();
            assert_eq!(text, number.to_string());
        }
        assert!(scanner.descriptor().is_err());
    }

    #[test]
    fn a_frame_larger_than_the_socket_takes_does_not_block_the_supervisor() {
        let (mut supervisor, mut scanner) = pair();
        let long = "x".repeat(3 << 20);
        supervisor.queue(&long, Vec::new()).unwrap();
        supervisor.flush().unwrap();
        assert!(supervisor.wants_to_write());
        let received = std::thread::scope(|scope| {
            let receiver = scope.spawn(|| scanner.receive::<String>().unwrap());
            while supervisor.wants_to_write() {
                supervisor.flush().unwrap();
                std::thread::yield_now();
            }
            receiver.join().unwrap()
        });
        assert_eq!(received, Some(long));
    }

    #[test]
    fn a_closed_end_is_told_apart_from_silence() {
        let (mut supervisor, scanner) = pair();
        assert!(matches!(supervisor.receive::<u32>().unwrap(), Received::Nothing));
        drop(scanner);
        assert!(matches!(supervisor.receive::<u32>().unwrap(), Received::Closed));
    }
}
