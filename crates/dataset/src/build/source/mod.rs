//! Rows out of files. Each format hands out rows in the order of the file, and says where it stopped understanding.

mod arrow;
mod csv;
mod json;
mod jsonl;
mod parquet;

use std::{fmt, fs::File, io::Read, path::Path};

use super::{Build, Error, MAX_KEY_BYTES, MAX_VALUE_BYTES, MIN_MEMORY, Place, Problem, SourceFile, Step, Value};

/// The part of [`Build::memory`] for rows on their way to an arena: a twentieth, half of what the arenas leave.
const READING_PART: usize = 20;

/// What a source file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Parquet,
    Csv,
    Jsonl,
}

impl Format {
    /// By the ending of the name.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "parquet" => Some(Self::Parquet),
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Parquet => "Parquet",
            Self::Csv => "CSV",
            Self::Jsonl => "JSON lines",
        })
    }
}

/// Takes rows: number in the file, key, value. An error ends the reading.
pub(super) type Sink<'a> = &'a mut dyn FnMut(u64, &[u8], &[u8]) -> Result<(), Error>;

/// What to read from a file, and where to say how far it is.
pub(super) struct Reading<'a> {
    pub(super) file: &'a Path,
    pub(super) key: &'a str,
    pub(super) value: &'a Value,
    /// Bytes that rows may take that are read and not handed out yet.
    pub(super) memory: usize,
    pub(super) progress: &'a mut dyn FnMut(u64),
}

impl Reading<'_> {
    fn place(&self, row: u64) -> Place {
        Place { file: self.file.to_owned(), row }
    }

    fn row(&self, row: u64, problem: Problem) -> Error {
        Error::Row { place: self.place(row), problem }
    }

    fn open(&self) -> Result<File, Error> {
        File::open(self.file).map_err(|source| Error::Read { file: self.file.to_owned(), source })
    }

    /// The place of `column` among the columns of the file.
    fn column(&self, column: &str, columns: &[String]) -> Result<usize, Error> {
        let mut found = (0..columns.len()).filter(|index| columns[*index] == column);
        let file = || self.file.to_owned();
        match (found.next(), found.next()) {
            (Some(index), None) => Ok(index),
            (Some(_), Some(_)) => Err(Error::TwoColumns { file: file(), column: column.to_owned() }),
            (None, _) => Err(Error::NoColumn { file: file(), column: column.to_owned(), columns: columns.to_vec() }),
        }
    }

    /// Hands a row on, if key and value are possible.
    fn give(&self, sink: Sink<'_>, row: u64, key: &[u8], value: &[u8]) -> Result<(), Error> {
        if key.is_empty() {
            return Err(self.row(row, Problem::EmptyKey));
        }
        if key.len() > MAX_KEY_BYTES {
            return Err(self.row(row, Problem::LongKey { bytes: key.len() }));
        }
        if value.len() > MAX_VALUE_BYTES {
            return Err(self.row(row, Problem::LongValue { bytes: value.len() }));
        }
        sink(row, key, value)
    }
}

/// Reads all sources of a build, one after another. `sink` gets the index of the source as well.
pub(super) fn read(
    build: &Build,
    on_step: &dyn Fn(Step),
    mut sink: impl FnMut(usize, u64, &[u8], &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let size = |source: &SourceFile| {
        let metadata = source.path.metadata();
        metadata.map_err(|error| Error::Read { file: source.path.clone(), source: error }).map(|found| found.len())
    };
    let sizes = build.sources.iter().map(size).collect::<Result<Vec<_>, _>>()?;
    let of = sizes.iter().sum();
    let mut before = 0;
    for (index, source) in build.sources.iter().enumerate() {
        let mut progress = |done| on_step(Step::Read { done: before + done, of });
        let mut reading = Reading {
            file: &source.path,
            key: &build.key,
            value: &build.value,
            memory: build.memory.max(MIN_MEMORY) / READING_PART,
            progress: &mut progress,
        };
        let mut one = |row: u64, key: &[u8], value: &[u8]| sink(index, row, key, value);
        match source.format {
            Format::Parquet => parquet::read(&mut reading, &mut one),
            Format::Csv => csv::read(&mut reading, &mut one),
            Format::Jsonl => jsonl::read(&mut reading, &mut one),
        }?;
        before += sizes[index];
        on_step(Step::Read { done: before, of });
    }
    Ok(())
}

/// Counts the bytes that went through it.
struct Counted<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        Ok(read)
    }
}
