//! One connection.

use mio::net::TcpStream;
use resp::Decoder;
use tokio::time::Instant;

use super::buffers::Pending;
use crate::command::Session;

/// What moves to the read pool and back: everything that running requests needs, and no socket.
pub(super) struct Dialogue {
    pub(super) session: Session,
    pub(super) decoder: Decoder,
    /// Received and not run yet. Empty for a connection that has nothing under way.
    pub(super) input: Vec<u8>,
}

pub(super) struct Connection {
    pub(super) stream: TcpStream,
    /// `None` while the read pool has it.
    pub(super) dialogue: Option<Box<Dialogue>>,
    pub(super) output: Pending,
    /// Whether the socket may have something to read: since the last event it did not say otherwise.
    pub(super) readable: bool,
    /// Whether the peer has ended its side, which may have come with its last bytes.
    pub(super) ended: bool,
    /// Whether `input` may hold a whole request.
    pub(super) more: bool,
    /// Whether it ends when its output was sent.
    pub(super) closing: bool,
    /// Whether it is in the list of those to be served.
    pub(super) listed: bool,
    /// The peer is to be told that a version was switched, once the read pool gives the dialogue back.
    pub(super) must_invalidate: bool,
    /// When it last ran a request, or had nothing under way. Idle time counts from here, and the time of a half request.
    pub(super) progressed: Instant,
    /// When output last moved.
    pub(super) moved: Instant,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, session: Session, now: Instant) -> Self {
        let dialogue = Box::new(Dialogue { session, decoder: Decoder::default(), input: Vec::new() });
        Self {
            stream,
            dialogue: Some(dialogue),
            output: Pending::default(),
            readable: true, // bytes may have arrived before it was registered
            ended: false,
            more: false,
            closing: false,
            listed: false,
            must_invalidate: false,
            progressed: now,
            moved: now,
        }
    }

    /// Whether nothing is under way: no half request, no reply unsent.
    pub(super) fn rests(&self) -> bool {
        self.output.is_empty() && self.dialogue.as_ref().is_some_and(|dialogue| dialogue.input.is_empty())
    }

    /// Bytes it holds beyond its own size.
    pub(super) fn memory(&self) -> usize {
        let dialogue = self.dialogue.as_ref();
        self.output.len() + dialogue.map_or(0, |dialogue| dialogue.input.capacity() + dialogue.decoder.memory())
    }
}
