//! Replies as bytes, in the protocol version the peer asked for.

use crate::number::push_integer;

/// What the peer understands: 2 until it says HELLO 3.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    #[default]
    Resp2,
    Resp3,
}

/// Appends replies to a buffer. An aggregate is its head, followed by as many replies as the head announces.
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
}

impl<'a> Reply<'a> {
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Self { out, protocol }
    }

    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Bytes in the buffer, those of earlier replies included.
    pub fn written(&self) -> usize {
        self.out.len()
    }

    /// A status such as `OK`. The text has no line ends.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// An error such as `ERR unknown command`, code first. Line ends, which would break the frame, become blanks.
    pub fn error(&mut self, text: impl AsRef<[u8]>) {
        self.out.push(b'-');
        self.out.extend(text.as_ref().iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { *byte }));
        self.end_line();
    }

    pub fn integer(&mut self, value: i64) {
        self.number(b':', value);
    }

    /// A count or a size; what does not fit 63 bits is told as the largest that does.
    pub fn unsigned(&mut self, value: u64) {
        self.integer(i64::try_from(value).unwrap_or(i64::MAX));
    }

    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + 16);
        self.length(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.end_line();
    }

    /// A text for people, such as INFO's: a verbatim string where the peer knows it.
    pub fn text(&mut self, text: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => {
                self.length(b'=', text.len() + 4);
                self.out.extend_from_slice(b"txt:");
                self.out.extend_from_slice(text.as_bytes());
                self.end_line();
            }
        }
    }

    /// No value.
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// No value where an array could stand.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    pub fn boolean(&mut self, value: bool) {
        self.out.extend_from_slice(match (self.protocol, value) {
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
        });
    }

    /// The head of `length` replies.
    pub fn array(&mut self, length: usize) {
        self.length(b'*', length);
    }

    /// The head of `length` pairs of replies, a flat array for a peer that knows no maps.
    pub fn map(&mut self, length: usize) {
        match self.protocol {
            Protocol::Resp2 => self.length(b'*', length * 2),
            Protocol::Resp3 => self.length(b'%', length),
        }
    }

    /// The head of `length` distinct replies.
    pub fn set(&mut self, length: usize) {
        match self.protocol {
            Protocol::Resp2 => self.length(b'*', length),
            Protocol::Resp3 => self.length(b'~', length),
        }
    }

    /// The head of a message of `length` replies that answers no request. Only a peer that speaks RESP3 can tell it from an answer.
    pub fn push(&mut self, length: usize) {
        debug_assert_eq!(self.protocol, Protocol::Resp3, "a RESP2 peer would take a push for its next answer");
        self.length(b'>', length);
    }

    /// Replies that were written elsewhere, such as before it was known how many there are.
    pub fn frames(&mut self, frames: &[u8]) {
        self.out.extend_from_slice(frames);
    }

    fn length(&mut self, kind: u8, length: usize) {
        self.number(kind, i64::try_from(length).expect("no allocation is longer than isize::MAX"));
    }

    fn number(&mut self, kind: u8, value: i64) {
        self.out.push(kind);
        push_integer(self.out, value);
        self.end_line();
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.push(kind);
        self.out.extend_from_slice(text);
        self.end_line();
    }

    fn end_line(&mut self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

/// Appends a request as an array of bulk strings, as clients send it.
pub fn write_request<'a>(arguments: impl ExactSizeIterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    let mut frame = Reply::new(out, Protocol::Resp2);
    frame.array(arguments.len());
    for argument in arguments {
        frame.bulk(argument);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(protocol: Protocol, write: impl Fn(&mut Reply)) -> String {
        let mut out = Vec::new();
        write(&mut Reply::new(&mut out, protocol));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_reply_has_its_form_in_both_protocols() {
        type Write = fn(&mut Reply);
        let cases: [(Write, &str, &str); 12] = [
            (|reply| reply.simple("PONG"), "+PONG\r\n", "+PONG\r\n"),
            (|reply| reply.error("ERR no"), "-ERR no\r\n", "-ERR no\r\n"),
            (|reply| reply.integer(-42), ":-42\r\n", ":-42\r\n"),
            (|reply| reply.bulk(b"a\r\n"), "$3\r\na\r\n\r\n", "$3\r\na\r\n\r\n"),
            (|reply| reply.text("abc"), "$3\r\nabc\r\n", "=7\r\ntxt:abc\r\n"),
            (|reply| reply.null(), "$-1\r\n", "_\r\n"),
            (|reply| reply.null_array(), "*-1\r\n", "_\r\n"),
            (|reply| reply.boolean(true), ":1\r\n", "#t\r\n"),
            (|reply| reply.array(2), "*2\r\n", "*2\r\n"),
            (|reply| reply.map(2), "*4\r\n", "%2\r\n"),
            (|reply| reply.set(2), "*2\r\n", "~2\r\n"),
            (|reply| reply.ok(), "+OK\r\n", "+OK\r\n"),
        ];
        for (write, resp2, resp3) in cases {
            assert_eq!(written(Protocol::Resp2, write), resp2);
            assert_eq!(written(Protocol::Resp3, write), resp3);
        }
    }

    #[test]
    fn an_error_stays_on_its_line() {
        assert_eq!(written(Protocol::Resp2, |reply| reply.error("ERR a\r\nb ")), "-ERR a  b \r\n");
    }

    #[test]
    fn sizes_beyond_the_wire_are_told_as_the_largest() {
        assert_eq!(written(Protocol::Resp2, |reply| reply.unsigned(u64::MAX)), format!(":{}\r\n", i64::MAX));
    }
}
