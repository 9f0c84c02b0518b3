//! Where each SCAN goes on.
//!
//! A cursor is a number on the wire and a position in key order here, so the server remembers which number stands for which
//! position. The number is computed from the position: repeated scans take no more room, and all threads agree. Positions are
//! forgotten oldest first; an unknown cursor is refused, since "nothing more" would be taken for the end of all keys.

use std::{
    collections::{HashMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
};

/// Room for some 65,000 scans under way at once, with keys of 256 bytes.
const MOST_BYTES: usize = 16 << 20;
/// What a position takes besides its key.
const OVERHEAD: usize = 128;

/// The last key that was told, and where it lies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Position {
    pub(crate) dataset: usize,
    pub(crate) part: usize,
    /// As stored. `None`: the part's first key comes next.
    pub(crate) after: Option<Box<[u8]>>,
}

#[derive(Default)]
pub struct Cursors(Mutex<Known>);

#[derive(Default)]
struct Known {
    positions: HashMap<u64, Position>,
    order: VecDeque<u64>,
    bytes: usize,
}

impl Cursors {
    /// The number that stands for `position` from now on; never 0, which stands for the start and the end.
    pub(crate) fn put(&self, position: Position) -> u64 {
        let mut hasher = DefaultHasher::new();
        position.hash(&mut hasher);
        let cursor = (hasher.finish() >> 1).max(1); // 63 bits: not all clients know unsigned numbers
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = cost(&position);
        if known.positions.insert(cursor, position).is_none() {
            known.order.push_back(cursor);
            known.bytes += bytes;
        }
        while known.bytes > MOST_BYTES {
            let Some(oldest) = known.order.pop_front() else { break };
            let forgotten = known.positions.remove(&oldest);
            known.bytes -= forgotten.as_ref().map_or(0, cost);
        }
        cursor
    }

    pub(crate) fn get(&self, cursor: u64) -> Option<Position> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).positions.get(&cursor).cloned()
    }
}

fn cost(position: &Position) -> usize {
    position.after.as_ref().map_or(0, |key| key.len()) + OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(key: &[u8]) -> Position {
        Position { dataset: 0, part: 0, after: Some(key.into()) }
    }

    #[test]
    fn a_cursor_leads_back_to_its_position_and_another_to_none() {
        let cursors = Cursors::default();
        let cursor = cursors.put(position(b"key"));
        assert_eq!(cursors.get(cursor), Some(position(b"key")));
        assert_eq!(cursors.put(position(b"key")), cursor);
        assert_eq!(cursors.get(cursor ^ 1), None);
        assert_eq!(cursors.get(0), None);
    }

    #[test]
    fn the_oldest_are_forgotten_when_room_ends() {
        let cursors = Cursors::default();
        let first = cursors.put(position(b"first"));
        let key = vec![b'x'; 60_000];
        let mut last = 0;
        for number in 0..400u32 {
            last = cursors.put(position(&[&key[..], &number.to_be_bytes()].concat()));
        }
        assert_eq!(cursors.get(first), None);
        assert!(cursors.get(last).is_some());
        assert!(cursors.0.lock().unwrap().bytes <= MOST_BYTES);
    }
}
