//! One conversation with both servers, and what differs between their answers.

use std::fmt;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::generate::{Conversation, Request};
use super::intended;
use crate::wire::Reply;

/// For a server to answer all and close, once we have said all.
const DEADLINE: Duration = Duration::from_secs(30);

/// The first answers that should have been the same.
pub(crate) struct Difference {
    /// Which request of the conversation, if that can be told.
    request: Option<usize>,
    redis: String,
    ours: String,
}

impl Difference {
    /// The first word of the request that was answered differently.
    pub(crate) fn command(&self, conversation: &Conversation) -> String {
        let parts = self.request.and_then(|request| conversation.requests[request].parts.first());
        parts.map_or_else(|| "not known".to_owned(), |name| name.to_ascii_uppercase().escape_ascii().to_string())
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(request) = self.request {
            writeln!(f, "  differs at request {request}")?;
        }
        writeln!(f, "  redis: {}\n  ours:  {}", self.redis, self.ours)
    }
}

/// Between what gets one answer each and what is wild.
const MARK: &[u8] = b"*2\r\n$4\r\nECHO\r\n$23\r\neverything was answered\r\n";
const MARK_ANSWERED: &[u8] = b"$23\r\neverything was answered\r\n";

/// What stands for the rest of an answer that did not come in time.
const SILENT: &[u8] = b"<neither answered nor closed>";

/// Says the conversation to both; the number of intended differences, or the first other one.
pub(crate) fn exchange(conversation: &Conversation, redis: u16, ours: u16) -> Result<u64, Difference> {
    let (redis, ours) = thread::scope(|scope| {
        let redis = scope.spawn(|| say(redis, conversation));
        let ours = say(ours, conversation);
        (redis.join().expect("does not panic"), ours)
    });
    if redis == ours { Ok(0) } else { compare(&conversation.requests, &redis, &ours) }
}

/// All that the server answers until it closes. We close our half at the end, so that an open request is no reason to wait.
fn say(port: u16, conversation: &Conversation) -> Vec<u8> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server is there");
    stream.set_nodelay(true).expect("a socket");
    stream.set_read_timeout(Some(DEADLINE)).expect("a socket");
    let mut reading = stream.try_clone().expect("a descriptor");
    let (was_answered, marked) = mpsc::channel();
    thread::scope(|scope| {
        // Read beside writing: a server may wait for room for its answers before it reads on.
        let answers = scope.spawn(move || {
            let mut received = Vec::new();
            loop {
                let mut buffer = [0; 65_536];
                match reading.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(count) => received.extend(&buffer[..count]),
                    // It closed while something of ours was unread.
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                    Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                    Err(_timed_out) => {
                        received.extend(SILENT);
                        break;
                    }
                }
                if received.ends_with(MARK_ANSWERED) {
                    was_answered.send(()).ok();
                }
            }
            received
        });
        let bytes: Vec<u8> =
            conversation.requests.iter().flat_map(|request| &request.bytes).chain(MARK).copied().collect();
        let mut from = 0;
        for cut in conversation.cuts.iter().copied().filter(|cut| *cut < bytes.len()).chain([bytes.len()]) {
            stream.write_all(&bytes[from..cut]).ok(); // if it is closed, what it said before is what counts
            from = cut;
        }
        marked.recv().ok(); // an error: the reader has come to an end without it
        let wild: Vec<u8> = conversation.wild.iter().flat_map(|request| &request.bytes).copied().collect();
        stream.write_all(&wild).ok();
        stream.shutdown(Shutdown::Write).ok();
        answers.join().expect("does not panic")
    })
}

fn compare(requests: &[Request], redis: &[u8], ours: &[u8]) -> Result<u64, Difference> {
    let (redis_replies, our_replies) = (replies(redis), replies(ours));
    // The n-th reply belongs to the n-th request that gets one.
    let answered = requests.iter().enumerate().filter(|(_, request)| request.is_answered);
    let owners: Vec<usize> = answered.map(|(number, _)| number).collect();
    let mut count = 0;
    for at in 0..redis_replies.len().max(our_replies.len()) {
        let pair = (redis_replies.get(at), our_replies.get(at));
        if pair.0 == pair.1 {
            continue;
        }
        let request = owners.get(at).copied();
        if let (Some(request), (Some(redis), Some(ours))) = (request, pair)
            && intended::reason(&requests[request].parts, redis, ours).is_some()
        {
            count += 1;
            continue;
        }
        let shown = |reply: Option<&Reply>| reply.map_or("(closed)".to_owned(), |reply| shorten(&format!("{reply}")));
        return Err(Difference { request, redis: shown(pair.0), ours: shown(pair.1) });
    }
    Ok(count)
}

/// A rest that is no reply stays as one line, so that it can differ.
fn replies(mut bytes: &[u8]) -> Vec<Reply> {
    let mut replies = Vec::new();
    while !bytes.is_empty() {
        let Some((reply, length)) = Reply::parse(bytes) else {
            replies.push(Reply::Line(b'?', bytes.to_vec()));
            break;
        };
        replies.push(reply);
        bytes = &bytes[length..];
    }
    replies
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(600) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}
