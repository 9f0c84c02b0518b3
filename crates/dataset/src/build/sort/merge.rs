//! Many sorted runs as one.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, binary_heap::PeekMut},
};

use super::{
    arena::{Stored, prefix},
    run::{DiskRun, HEADER, Run},
};
use crate::build::Error;

/// Smaller buffers make more calls than they save memory.
const MIN_BUFFER: usize = 16 << 10;
const MAX_BUFFER: usize = 1 << 20;

/// A row in its place among those of its shard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: &'a [u8],
    /// Over all source files, from 1.
    pub(crate) row: u64,
}

/// Hands out the rows of one shard by key and row. Buffers take at most about half of `memory`.
pub(super) fn merge(
    runs: &[Run],
    shard: u16,
    memory: usize,
    mut visit: impl FnMut(Row<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    if let [Run::Memory(arena)] = runs {
        return arena.rows_of(shard).try_for_each(|Stored { row, key, value, .. }| visit(Row { key, value, row }));
    }
    let buffer = (memory / 2 / runs.len().max(1)).clamp(MIN_BUFFER, MAX_BUFFER);
    let mut heads = BinaryHeap::with_capacity(runs.len());
    for run in runs {
        let mut head = Head { cursor: Cursor::of(run, shard, buffer), prefix: 0, row: 0, key: 0..0, value: 0..0 };
        if head.advance()? {
            heads.push(Reverse(head));
        }
    }
    while let Some(mut first) = heads.peek_mut() {
        visit(first.0.current())?;
        if !first.0.advance()? {
            PeekMut::pop(first);
        }
    }
    Ok(())
}

/// The next row of one run. Keys and values stay where they were read to.
struct Head<'a> {
    cursor: Cursor<'a>,
    prefix: u64,
    row: u64,
    key: std::ops::Range<usize>,
    value: std::ops::Range<usize>,
}

enum Cursor<'a> {
    Memory { rows: Box<dyn Iterator<Item = Stored<'a>> + 'a>, current: Option<Stored<'a>> },
    Disk { run: &'a DiskRun, buffer: Vec<u8>, at: usize, filled: usize, next: u64, end: u64, usual: usize },
}

impl<'a> Cursor<'a> {
    fn of(run: &'a Run, shard: u16, buffer: usize) -> Self {
        match run {
            Run::Memory(arena) => Self::Memory { rows: Box::new(arena.rows_of(shard)), current: None },
            Run::Disk(run) => {
                let range = run.range(shard);
                let (next, end) = (range.start, range.end);
                Self::Disk { run, buffer: Vec::new(), at: 0, filled: 0, next, end, usual: buffer }
            }
        }
    }
}

impl Head<'_> {
    fn key(&self) -> &[u8] {
        match &self.cursor {
            Cursor::Memory { current, .. } => current.as_ref().map_or(&[], |row| row.key),
            Cursor::Disk { buffer, .. } => &buffer[self.key.clone()],
        }
    }

    fn current(&self) -> Row<'_> {
        let value = match &self.cursor {
            Cursor::Memory { current, .. } => current.as_ref().map_or(&[][..], |row| row.value),
            Cursor::Disk { buffer, .. } => &buffer[self.value.clone()],
        };
        Row { key: self.key(), value, row: self.row }
    }

    /// False at the end.
    fn advance(&mut self) -> Result<bool, Error> {
        match &mut self.cursor {
            Cursor::Memory { rows, current } => {
                *current = rows.next();
                let Some(stored) = current else { return Ok(false) };
                (self.row, self.prefix) = (stored.row, prefix(stored.key));
            }
            Cursor::Disk { run, buffer, at, filled, next, end, usual } => {
                let mut room = Room { run, buffer, at, filled, next, end: *end, usual: *usual };
                if !room.ensure(HEADER)? {
                    return Ok(false);
                }
                let header = &room.buffer[*room.at..*room.at + HEADER];
                let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes")) as usize;
                let (key_bytes, value_bytes) = (number(&header[..4]), number(&header[4..8]));
                self.row = u64::from_le_bytes(header[8..].try_into().expect("eight bytes"));
                room.ensure(HEADER + key_bytes + value_bytes)?;
                let begin = *room.at + HEADER;
                self.key = begin..begin + key_bytes;
                self.value = self.key.end..self.key.end + value_bytes;
                *room.at = self.value.end;
                self.prefix = prefix(&buffer[self.key.clone()]);
            }
        }
        Ok(true)
    }
}

/// A window over a run's file that moves forward.
struct Room<'r, 'a> {
    run: &'r &'a DiskRun,
    buffer: &'r mut Vec<u8>,
    at: &'r mut usize,
    filled: &'r mut usize,
    next: &'r mut u64,
    end: u64,
    usual: usize,
}

impl Room<'_, '_> {
    /// Makes at least `wanted` bytes readable from `at`. False if the run ended before.
    fn ensure(&mut self, wanted: usize) -> Result<bool, Error> {
        let have = *self.filled - *self.at;
        if have >= wanted {
            return Ok(true);
        }
        self.buffer.copy_within(*self.at..*self.filled, 0);
        (*self.at, *self.filled) = (0, have);
        let size = wanted.max(self.usual);
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        }
        let left = usize::try_from(self.end - *self.next).unwrap_or(usize::MAX);
        let more = (self.buffer.len() - have).min(left);
        self.run.read_at(&mut self.buffer[have..have + more], *self.next)?;
        *self.next += more as u64;
        *self.filled += more;
        Ok(*self.filled >= wanted)
    }
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let by_prefix = self.prefix.cmp(&other.prefix);
        by_prefix.then_with(|| self.key().cmp(other.key())).then(self.row.cmp(&other.row))
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Head<'_> {}
