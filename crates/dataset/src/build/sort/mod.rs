//! Sorting more rows than fit in memory: by shard, then key, then the order of the source.
//!
//! ```text
//! rows ──► arena ──full──► sorted ──► run on disk ┐
//!          arena ──full──► sorted ──► run on disk ├──► merge, one shard at a time ──► rows in order
//!          arena ──rest──► sorted, stays in memory ┘
//! ```
//! Two arenas take turns: one is filled while the other is sorted and written.

mod arena;
mod merge;
mod run;

use std::{
    path::Path,
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use super::{Build, Error, MIN_MEMORY, OnStep, Place, source};
use crate::{MAX_SHARDS, SlotRange, Slotting};
use arena::Arena;
pub(super) use merge::Row;
use run::Run;

/// Most runs that are merged at a time: each needs a buffer for each shard that is written.
const MAX_FAN_IN: usize = 128;

/// All rows of the source, in order.
#[derive(Debug)]
pub(super) struct Sorted {
    runs: Vec<Run>,
    /// Bytes that buffers may take, all together.
    memory: usize,
    /// Rows of the source.
    pub(super) rows: u64,
    /// The number of the last row before those of each source file.
    first_rows: Vec<u64>,
}

/// Reads and sorts all sources, or of them the rows of one shard. `folder` takes the runs.
pub(super) fn sort(
    build: &Build,
    only: Option<u16>,
    folder: &Path,
    on_step: &OnStep,
    stop: &AtomicBool,
) -> Result<Sorted, Error> {
    let memory = build.memory.max(MIN_MEMORY);
    // Two arenas, and a rest for what reading and the writing of runs need.
    let arena_bytes = memory / 20 * 9;
    thread::scope(|scope| {
        let (full, to_sort) = sync_channel::<Arena>(0);
        let (empty, to_fill) = sync_channel(2);
        for _ in 0..2 {
            empty.send(Arena::new(arena_bytes)).expect("the other end is right here");
        }
        let sorter = scope.spawn(move || sort_runs(&to_sort, &empty, folder));
        let read = fill(build, only, on_step, stop, &full, &to_fill);
        drop(full); // the sorter's sign to end
        let sorted = sorter.join().map_err(|_| Error::Panicked)?;
        // A sorter that failed closed its channels, and so ended the reading; its error is the cause.
        let mut runs = sorted?;
        let Filled { rest, rows, read, first_rows } = read?.ok_or(Error::Panicked)?;
        // A shard of its own may have none of the rows.
        if read == 0 {
            return Err(Error::NoRows);
        }
        if !rest.is_empty() {
            let mut rest = rest;
            rest.sort();
            runs.push(Run::in_memory(rest));
        }
        let mut sorted = Sorted { runs, memory, rows, first_rows };
        sorted.reduce(folder)?;
        Ok(sorted)
    })
}

struct Filled {
    rest: Arena,
    /// Rows that are wanted, of those that were read.
    rows: u64,
    read: u64,
    first_rows: Vec<u64>,
}

/// Fills arenas. `None` if the sorter is gone.
fn fill(
    build: &Build,
    only: Option<u16>,
    on_step: &OnStep,
    stop: &AtomicBool,
    full: &SyncSender<Arena>,
    to_fill: &Receiver<Arena>,
) -> Result<Option<Filled>, Error> {
    let mut slotting = Slotting::new(&build.key_prefix);
    let shard_of_slot = shard_of_slot(build.shards);
    let Ok(mut arena) = to_fill.recv() else { return Ok(None) };
    // Files may have lines without a row, so numbers go up in steps; `rows` counts.
    let (mut rows, mut all_rows, mut number) = (0, 0, 0);
    let mut first_rows = Vec::with_capacity(build.sources.len());
    let mut is_alone = false;
    let read = source::read(build, &**on_step, |source, row, key, value| {
        while first_rows.len() <= source {
            first_rows.push(number);
        }
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        all_rows += 1;
        number = first_rows[source] + row;
        let shard = shard_of_slot[usize::from(slotting.slot(key))];
        if only.is_some_and(|only| only != shard) {
            return Ok(());
        }
        if !arena.has_room(key, value) {
            let Ok(next) = swap(&mut arena, full, to_fill) else {
                is_alone = true;
                return Err(Error::Panicked);
            };
            arena = next;
        }
        rows += 1;
        arena.push(shard, key, value, number);
        Ok(())
    });
    if is_alone {
        return Ok(None);
    }
    read?;
    Ok(Some(Filled { rest: arena, rows, read: all_rows, first_rows }))
}

fn swap(arena: &mut Arena, full: &SyncSender<Arena>, to_fill: &Receiver<Arena>) -> Result<Arena, ()> {
    full.send(std::mem::take(arena)).map_err(|_| ())?;
    to_fill.recv().map_err(|_| ())
}

fn sort_runs(to_sort: &Receiver<Arena>, empty: &SyncSender<Arena>, folder: &Path) -> Result<Vec<Run>, Error> {
    let mut runs = Vec::new();
    for mut arena in to_sort {
        arena.sort();
        runs.push(Run::write_arena(&arena, folder)?);
        arena.clear();
        if empty.send(arena).is_err() {
            break; // the reading ended with an error
        }
    }
    Ok(runs)
}

fn shard_of_slot(shards: u16) -> Vec<u16> {
    assert!((1..=MAX_SHARDS).contains(&shards), "{shards} shards");
    (0..shards)
        .flat_map(|shard| {
            let SlotRange { first, last } = SlotRange::of_shard(shard, shards);
            (first..=last).map(move |_| shard)
        })
        .collect()
}

impl Sorted {
    /// Merges runs into fewer until all can be merged at once.
    fn reduce(&mut self, folder: &Path) -> Result<(), Error> {
        while self.runs.len() > MAX_FAN_IN {
            let some: Vec<Run> = self.runs.drain(..MAX_FAN_IN).collect();
            let merged = Run::write_merged(&some, self.memory, folder)?;
            self.runs.push(merged);
        }
        Ok(())
    }

    /// Hands the rows of one shard to `visit`, by key, rows of one key in the order of the source.
    /// At most `threads` callers at a time, whose buffers take a quarter of the memory together: as much again is for what they write.
    pub(super) fn rows_of(
        &self,
        shard: u16,
        threads: usize,
        visit: impl FnMut(Row<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        merge::merge(&self.runs, shard, self.memory / 2 / threads.max(1), visit)
    }

    /// Where a row stands in the source.
    pub(super) fn place(&self, build: &Build, row: u64) -> Place {
        let source = self.first_rows.partition_point(|first| *first < row).max(1) - 1;
        Place { file: build.sources[source].path.clone(), row: row - self.first_rows[source] }
    }
}

#[cfg(test)]
mod tests;
