//! Sorted rows, on disk or in memory.
//!
//! On disk a row is: key length (u32), value length (u32), row number (u64), all little-endian, key, value.
//! Rows of one shard lie together, so that shards can be merged at the same time, each from its own place.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use super::{
    arena::{Arena, Stored},
    merge::{self, Row},
};
use crate::build::Error;

const WRITE_BUFFER: usize = 1 << 20;
pub(super) const HEADER: usize = 16;

#[derive(Debug)]
pub(super) enum Run {
    Memory(Arena),
    Disk(DiskRun),
}

#[derive(Debug)]
pub(super) struct DiskRun {
    /// Without a name: gone from the disk as soon as it is dropped, whatever happens.
    file: File,
    folder: PathBuf,
    /// Where the rows of each shard begin, ascending, and a last one for where all end.
    begins: Vec<(u16, u64)>,
}

impl Run {
    pub(super) fn in_memory(arena: Arena) -> Self {
        Self::Memory(arena)
    }

    pub(super) fn write_arena(arena: &Arena, folder: &Path) -> Result<Self, Error> {
        let mut writer = RunWriter::create(folder)?;
        for Stored { shard, row, key, value } in arena.rows() {
            writer.push(shard, Row { key, value, row })?;
        }
        writer.finish()
    }

    pub(super) fn write_merged(runs: &[Self], memory: usize, folder: &Path) -> Result<Self, Error> {
        let mut shards: Vec<u16> = runs.iter().flat_map(Self::shards).collect();
        shards.sort_unstable();
        shards.dedup();
        let mut writer = RunWriter::create(folder)?;
        for shard in shards {
            merge::merge(runs, shard, memory, |row| writer.push(shard, row))?;
        }
        writer.finish()
    }

    fn shards(&self) -> Vec<u16> {
        match self {
            Self::Memory(arena) => {
                let mut shards: Vec<u16> = arena.rows().map(|row| row.shard).collect();
                shards.dedup();
                shards
            }
            Self::Disk(run) => run.begins[..run.begins.len() - 1].iter().map(|(shard, _)| *shard).collect(),
        }
    }
}

impl DiskRun {
    /// From where to where the rows of a shard lie.
    pub(super) fn range(&self, shard: u16) -> std::ops::Range<u64> {
        let rows = &self.begins[..self.begins.len() - 1];
        match rows.binary_search_by_key(&shard, |(shard, _)| *shard) {
            Ok(index) => self.begins[index].1..self.begins[index + 1].1,
            Err(_) => 0..0,
        }
    }

    pub(super) fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), Error> {
        let failed = |source| Error::Temp { path: self.folder.clone(), source };
        self.file.read_exact_at(buffer, offset).map_err(failed)
    }
}

struct RunWriter {
    file: BufWriter<File>,
    folder: PathBuf,
    begins: Vec<(u16, u64)>,
    bytes: u64,
}

impl RunWriter {
    fn create(folder: &Path) -> Result<Self, Error> {
        let file = tempfile::tempfile_in(folder);
        let file = file.map_err(|source| Error::Temp { path: folder.to_owned(), source })?;
        let file = BufWriter::with_capacity(WRITE_BUFFER, file);
        Ok(Self { file, folder: folder.to_owned(), begins: Vec::new(), bytes: 0 })
    }

    fn push(&mut self, shard: u16, row: Row<'_>) -> Result<(), Error> {
        if self.begins.last().is_none_or(|(last, _)| *last != shard) {
            self.begins.push((shard, self.bytes));
        }
        let mut header = [0; HEADER];
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("values are at most 512 MiB").to_le_bytes();
        header[..4].copy_from_slice(&length(row.key));
        header[4..8].copy_from_slice(&length(row.value));
        header[8..].copy_from_slice(&row.row.to_le_bytes());
        let mut write = || {
            self.file.write_all(&header)?;
            self.file.write_all(row.key)?;
            self.file.write_all(row.value)
        };
        write().map_err(|source: io::Error| Error::Temp { path: self.folder.clone(), source })?;
        self.bytes += (HEADER + row.key.len() + row.value.len()) as u64;
        Ok(())
    }

    fn finish(mut self) -> Result<Run, Error> {
        self.begins.push((u16::MAX, self.bytes));
        let failed = |source: io::Error| Error::Temp { path: self.folder.clone(), source };
        let file = self.file.into_inner().map_err(|error| failed(error.into_error()))?;
        Ok(Run::Disk(DiskRun { file, folder: self.folder.clone(), begins: self.begins }))
    }
}
