//! Lines that are on their way out, joined into datagrams of a bounded size.
//!
//! Lines leave in the order in which they came: the next one goes into the last datagram or opens a new one, never into an
//! earlier one that has room.

use std::ops::Range;

/// All datagrams under construction together. Two of the largest kind, or 45 of the usual 1,432 bytes.
const ROOM_BYTES: usize = 128 * 1024;
/// What one `sendmmsg` takes.
pub const MOST_DATAGRAMS: usize = 64;

/// Holds at most `ROOM_BYTES` in at most `MOST_DATAGRAMS` datagrams; allocates once.
#[derive(Debug)]
pub struct Packer {
    limit: usize,
    bytes: Vec<u8>,
    datagrams: Vec<Datagram>,
    /// Whether the last datagram may take another line.
    open: bool,
}

#[derive(Clone, Copy, Debug)]
struct Datagram {
    start: usize,
    lines: u64,
}

/// The line does not fit before what is here is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl Packer {
    /// `limit` is the size in bytes up to which lines are joined.
    pub fn new(limit: usize) -> Self {
        let (bytes, datagrams) = (Vec::with_capacity(ROOM_BYTES), Vec::with_capacity(MOST_DATAGRAMS));
        Self { limit, bytes, datagrams, open: false }
    }

    /// Takes a line, without its line end. One that is longer than the limit travels alone.
    pub fn push(&mut self, line: &[u8]) -> Result<(), Full> {
        debug_assert!(line.len() <= ROOM_BYTES / 2, "an empty packer takes any line");
        let last = self.datagrams.last_mut().filter(|_| self.open);
        match last {
            Some(last) if self.bytes.len() - last.start + 1 + line.len() <= self.limit => {
                if self.bytes.len() + 1 + line.len() > ROOM_BYTES {
                    return Err(Full);
                }
                self.bytes.push(b'\n');
                last.lines += 1;
            }
            _no_room => {
                if self.datagrams.len() == MOST_DATAGRAMS || self.bytes.len() + line.len() > ROOM_BYTES {
                    return Err(Full);
                }
                self.datagrams.push(Datagram { start: self.bytes.len(), lines: 1 });
                self.open = true;
            }
        }
        self.bytes.extend_from_slice(line);
        Ok(())
    }

    /// No line is added to the last datagram any more.
    pub fn close(&mut self) {
        self.open = false;
    }

    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// How many datagrams wait.
    pub fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// The bytes of datagram `index`, and how many lines they are.
    pub fn datagram(&self, index: usize) -> (&[u8], u64) {
        (&self.bytes[self.span(index)], self.datagrams[index].lines)
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.datagrams.clear();
        self.open = false;
    }

    fn span(&self, index: usize) -> Range<usize> {
        let end = self.datagrams.get(index + 1).map_or(self.bytes.len(), |next| next.start);
        self.datagrams[index].start..end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_up_to_the_limit() {
        let mut packer = Packer::new(7);
        for line in ["aaa", "bbb", "ccc", "d"] {
            packer.push(line.as_bytes()).unwrap();
        }
        assert_eq!(datagrams(&packer), [("aaa\nbbb", 2), ("ccc\nd", 2)]);
    }

    #[test]
    fn a_line_longer_than_the_limit_travels_alone() {
        let mut packer = Packer::new(3);
        for line in ["a", "bbbbbb", "c"] {
            packer.push(line.as_bytes()).unwrap();
        }
        assert_eq!(datagrams(&packer), [("a", 1), ("bbbbbb", 1), ("c", 1)]);
    }

    #[test]
    fn a_closed_datagram_takes_no_more() {
        let mut packer = Packer::new(100);
        packer.push(b"a").unwrap();
        packer.close();
        packer.push(b"b").unwrap();
        assert_eq!(datagrams(&packer), [("a", 1), ("b", 1)]);
    }

    #[test]
    fn a_full_packer_refuses_and_an_emptied_one_takes_again() {
        let mut packer = Packer::new(1);
        (0..MOST_DATAGRAMS).for_each(|_| packer.push(b"a").unwrap());
        assert_eq!(packer.push(b"b"), Err(Full));
        packer.clear();
        assert!(packer.is_empty());
        packer.push(b"b").unwrap();
        assert_eq!(datagrams(&packer), [("b", 1)]);
    }

    #[test]
    fn bytes_are_bounded_as_well() {
        let line = vec![b'x'; 60_000];
        let mut packer = Packer::new(65_507);
        packer.push(&line).unwrap();
        packer.push(&line).unwrap();
        assert_eq!(packer.push(&line), Err(Full));
        assert_eq!(packer.len(), 2);
    }

    fn datagrams(packer: &Packer) -> Vec<(&str, u64)> {
        (0..packer.len())
            .map(|index| packer.datagram(index))
            .map(|(bytes, lines)| (std::str::from_utf8(bytes).unwrap(), lines))
            .collect()
    }
}
