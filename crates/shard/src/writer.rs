use std::{
    fs, io, mem,
    path::{Path, PathBuf},
};

use rocksdb::{DB, IngestExternalFileOptions, SstFileWriter};

use crate::{Compression, Error, WriteOptions, locator};

/// Where files are written before they become part of the database, on the same disk so that they are moved.
const STAGING: &str = ".staging";

/// Writes one new shard, records in strictly ascending bytewise order of their keys.
///
/// Memory: about [`Writer::BYTES_A_KEY`] for each key of one file, plus one block. Dropped without [`Writer::finish`], it leaves files
/// that are no shard; the folder is the caller's to remove.
pub struct Writer<'a> {
    folder: PathBuf,
    options: &'a WriteOptions,
    current: Option<Current<'a>>,
    staged: Vec<PathBuf>,
    /// Whether all of them have a table of where their records lie.
    located: bool,
    last_key: Vec<u8>,
    written: Written,
}

struct Current<'a> {
    writer: SstFileWriter<'a>,
    path: PathBuf,
    keys: u64,
    bytes: u64,
}

/// What became a shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub keys: u64,
    /// Bytes of keys and values, without what the format adds.
    pub bytes: u64,
}

impl<'a> Writer<'a> {
    /// What it holds for each key of the file that it writes, about: 9 bytes for the filter and a share of the index, and once these
    /// are written 11 for the locator.
    pub const BYTES_A_KEY: u64 = 20;

    /// Begins a shard in `folder`, which is created and must be empty if it exists.
    pub fn create(folder: &Path, options: &'a WriteOptions) -> Result<Self, Error> {
        let failed = |source: io::Error| Error::Create { folder: folder.to_owned(), source: source.into() };
        fs::create_dir_all(folder).map_err(failed)?;
        if fs::read_dir(folder).map_err(failed)?.next().is_some() {
            return Err(failed(io::Error::from(io::ErrorKind::DirectoryNotEmpty)));
        }
        fs::create_dir(folder.join(STAGING)).map_err(failed)?;
        let folder = folder.to_owned();
        Ok(Self {
            folder,
            options,
            current: None,
            staged: Vec::new(),
            located: options.layout.hash_index && options.layout.compression == Compression::None,
            last_key: Vec::new(),
            written: Written::default(),
        })
    }

    /// Adds one record. Errors: [`Error::Order`] if `key` is not greater than the one before.
    pub fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Error> {
        if self.written.keys > 0 && key <= self.last_key.as_slice() {
            return Err(Error::Order { previous: mem::take(&mut self.last_key), key: key.to_owned() });
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(key);

        let mut current = match self.current.take() {
            Some(current) => current,
            None => self.begin_file()?,
        };
        current.writer.put(key, value).map_err(|source| self.failed(source))?;
        let bytes = (key.len() + value.len()) as u64;
        current.keys += 1;
        current.bytes += bytes;
        self.written.keys += 1;
        self.written.bytes += bytes;
        let layout = self.options.layout;
        if current.keys >= layout.file_keys || current.bytes >= layout.file_bytes {
            self.end_file(current)?;
        } else {
            self.current = Some(current);
        }
        Ok(())
    }

    /// Makes the files a shard. A shard without records is one too.
    pub fn finish(mut self) -> Result<Written, Error> {
        if let Some(current) = self.current.take() {
            self.end_file(current)?;
        }
        let database = DB::open(&self.options.options, &self.folder).map_err(|source| self.failed(source))?;
        let staged = mem::take(&mut self.staged);
        if !staged.is_empty() {
            let mut moving = IngestExternalFileOptions::default();
            moving.set_move_files(true);
            database.ingest_external_file_opts(&moving, staged.clone()).map_err(|source| self.failed(source))?;
        }
        if self.located {
            self.place_locators(&database, &staged)?;
        }
        drop(database);
        self.remove_leftovers().map_err(|source| self.unwritten(source))?;
        Ok(self.written)
    }

    fn begin_file(&self) -> Result<Current<'a>, Error> {
        let path = self.folder.join(STAGING).join(format!("{:06}.sst", self.staged.len()));
        let writer = SstFileWriter::create(&self.options.options);
        writer.open(&path).map_err(|source| self.failed(source))?;
        Ok(Current { writer, path, keys: 0, bytes: 0 })
    }

    fn end_file(&mut self, mut current: Current<'_>) -> Result<(), Error> {
        current.writer.finish().map_err(|source| self.failed(source))?;
        if self.located {
            self.located = locator::build(&current.path, current.keys).map_err(|source| self.unwritten(source))?;
        }
        self.staged.push(current.path);
        Ok(())
    }

    /// Gives each table the name of its record file, which RocksDB numbered anew when it took it in.
    fn place_locators(&self, database: &DB, staged: &[PathBuf]) -> Result<(), Error> {
        let mut live = database.live_files().map_err(|source| self.failed(source))?;
        live.sort_by(|one, other| one.start_key.cmp(&other.start_key));
        for (staged, live) in staged.iter().zip(live) {
            let record_file = self.folder.join(live.name.trim_start_matches('/'));
            fs::rename(staged.with_extension(locator::EXTENSION), record_file.with_extension(locator::EXTENSION))
                .map_err(|source| self.unwritten(source))?;
        }
        Ok(())
    }

    /// What only a database that is written to needs: its lock, the empty write-ahead log, old manifests.
    fn remove_leftovers(&self) -> io::Result<()> {
        fs::remove_dir_all(self.folder.join(STAGING))?;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_empty_log = name.ends_with(".log") && entry.metadata()?.len() == 0;
            if is_empty_log || name == "LOCK" || name.starts_with("LOG") {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn unwritten(&self, source: io::Error) -> Error {
        Error::Write { folder: self.folder.clone(), source: source.into() }
    }

    fn failed(&self, source: rocksdb::Error) -> Error {
        Error::Write { folder: self.folder.clone(), source: source.into() }
    }
}
