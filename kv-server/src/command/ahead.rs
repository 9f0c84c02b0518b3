//! Runs of GETs in a pipeline, read as one batch.
//!
//! A lookup waits for memory most of its time: index, filter and record each miss the processor's caches. RocksDB's MultiGet takes
//! the steps of several keys side by side, which a pipeline of single GETs would not get. Only the form in which every client
//! library sends a GET is known here; all else goes the usual way, and gives the same replies.

use resp::Reply;
use shard::InMemory;

use super::{ReplyMode, Session, data::batch, executor::ENOUGH_OUTPUT};
use crate::{catalog::Serving, metrics::Tally};

/// Keys in one batch. More gain nothing, and would all be looked up before the first is sent.
const MOST: usize = 32;
/// Below this, setting up a batch costs what it saves.
const LEAST: usize = 4;

/// Where the keys of the GETs lie that an input begins with. Reused from batch to batch.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// First byte of the key, the byte after its last, and the byte after its request.
    gets: Vec<(usize, usize, usize)>,
}

/// What a batch did.
pub(super) struct Answered {
    pub(super) requests: usize,
    /// Bytes of the input.
    pub(super) consumed: usize,
}

impl Ahead {
    /// Answers the GETs that `input` begins with, if they are several and can be read at once; else `None`, and nothing was written.
    pub(super) fn answer(
        &mut self,
        session: &Session,
        serving: &Serving,
        input: &[u8],
        may_wait: bool,
        out: &mut Vec<u8>,
        tally: &mut Tally,
    ) -> Option<Answered> {
        let plain = session.authenticated && session.transaction.is_none() && session.reply_mode == ReplyMode::On;
        if !plain || self.look(input) < LEAST {
            return None;
        }
        let keys = self.gets.iter().map(|(start, end, _)| &input[*start..*end]);
        let batch = batch(serving, session.db, keys, may_wait)?;
        let before = out.len();
        let mut reply = Reply::new(out, session.protocol);
        let (mut requests, mut hits) = (0, 0);
        let read = batch.shard.multi_get(&batch.keys, may_wait, |_, value| {
            if reply.written() - before >= ENOUGH_OUTPUT {
                return; // the rest is asked again, when this was sent
            }
            requests += 1;
            match value {
                Some(value) => {
                    hits += 1;
                    reply.bulk(value);
                }
                None => reply.null(),
            }
        });
        if !matches!(read, Ok(InMemory::Done(()))) {
            out.truncate(before); // one by one, each has the reply that it should have, or waits where it may
            return None;
        }
        tally.looked_up_many(hits, requests - hits);
        let consumed = requests.checked_sub(1).and_then(|last| self.gets.get(last)).map_or(0, |(.., next)| *next);
        Some(Answered { requests, consumed })
    }

    /// Finds the GETs at the start of `input`; returns how many.
    fn look(&mut self, input: &[u8]) -> usize {
        self.gets.clear();
        let mut at = 0;
        while self.gets.len() < MOST
            && let Some((start, end)) = get_at(input, at)
        {
            at = end + 2;
            self.gets.push((start, end, at));
        }
        self.gets.len()
    }
}

/// The key of a whole `*2 $3 GET $n key` at `at`.
fn get_at(input: &[u8], at: usize) -> Option<(usize, usize)> {
    const HEAD: &[u8] = b"*2\r\n$3\r\n";
    let rest = input.get(at..)?.strip_prefix(HEAD)?;
    let (name, rest) = rest.split_at_checked(3)?;
    let rest = rest.strip_prefix(b"\r\n$")?;
    if !name.eq_ignore_ascii_case(b"get") {
        return None;
    }
    let (mut length, mut digits) = (0usize, 0);
    while let Some(digit) = rest.get(digits).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit <= 9) {
        length = length * 10 + usize::from(digit);
        digits += 1;
        if digits > 5 {
            return None; // no key is as long
        }
    }
    if digits == 0 || (rest[0] == b'0' && digits > 1) || rest.get(digits..digits + 2)? != b"\r\n" {
        return None;
    }
    let start = at + HEAD.len() + 3 + 3 + digits + 2;
    let end = start + length;
    (input.len() >= end + 2).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(input: &[u8]) -> Vec<&[u8]> {
        let mut ahead = Ahead::default();
        ahead.look(input);
        ahead.gets.iter().map(|(start, end, _)| &input[*start..*end]).collect()
    }

    #[test]
    fn a_run_ends_where_another_command_or_half_a_one_begins() {
        let get =
            b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nget\r\n$0\r\n\r\n*2\r\n$3\r\nGeT\r\n$12\r\nabcdefghijkl\r\n";
        let expected: [&[u8]; 3] = [b"a", b"", b"abcdefghijkl"];
        assert_eq!(keys(get), expected);
        for end in ["PING\r\n", "*2\r\n$3\r\nSET\r\n$1\r\na\r\n", "*2\r\n$3\r\nGET\r\n$2\r\na\r", "*3\r\n$3\r\nGET\r\n"]
        {
            assert_eq!(keys(&[&get[..], end.as_bytes()].concat()), expected, "{end:?}");
        }
    }

    #[test]
    fn lengths_that_redis_refuses_are_left_to_the_decoder() {
        for length in ["", "-1", "+1", "01", "1 ", "999999", "99999999999999999999"] {
            assert_eq!(keys(format!("*2\r\n$3\r\nGET\r\n${length}\r\na\r\n").as_bytes()), [b""; 0], "{length:?}");
        }
    }

    #[test]
    fn a_batch_has_an_end() {
        assert_eq!(keys(&b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n".repeat(1000)).len(), MOST);
    }
}
