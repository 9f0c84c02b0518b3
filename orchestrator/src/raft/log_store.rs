//! The write-ahead log: openraft's storage trait over the `raft-log` crate.
//!
//! Nothing is acknowledged before it is synced to disk: an append reports through its callback, a vote
//! and a truncation wait. An error of the disk is final; openraft stops and the process ends with it.

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use openraft::{
    EntryPayload, LogState, RaftLogReader,
    entry::RaftEntry,
    storage::{IOFlushed, RaftLogStorage},
};
use raft_log::{RaftLog, api::raft_log_writer::RaftLogWriter};
use tokio::sync::oneshot;

use super::{Entry, LogId, TypeConfig, Vote, codec::Packed};

/// A full file of the log, in bytes; purged files are removed whole.
const FILE_BYTES: usize = 64 << 20;
/// The newest entries are kept in memory up to so many bytes, so that replication reads no disk.
const CACHE_BYTES: usize = 128 << 20;
/// One read returns at most about so many bytes of entries, and at least one entry.
const READ_BYTES: usize = 8 << 20;
/// How long a flush waits for company. raft-log's default is 1 ms; the group forms while the disk syncs.
const FLUSH_WAIT: Duration = Duration::from_micros(100);

type Payload = EntryPayload<super::LogEntry, u64, openraft::BasicNode>;

#[derive(Debug, Default, PartialEq, Eq, Clone)]
pub(crate) struct WalTypes;

impl raft_log::Types for WalTypes {
    type LogId = Packed<LogId>;
    type LogPayload = Packed<Payload>;
    type Vote = Packed<Vote>;
    type Callback = Flushed;
    type UserData = Packed<()>;

    fn log_index(log_id: &Self::LogId) -> u64 {
        log_id.0.index
    }

    fn payload_size(payload: &Self::LogPayload) -> u64 {
        size_of_payload(&payload.0) as u64
    }
}

/// Who waits for a sync.
pub(crate) enum Flushed {
    Append(IOFlushed<TypeConfig>),
    Wait(oneshot::Sender<io::Result<()>>),
}

impl raft_log::Callback for Flushed {
    fn send(self, result: Result<(), io::Error>) {
        match self {
            Self::Append(callback) => callback.io_completed(result),
            Self::Wait(waiter) => drop(waiter.send(result)), // whoever gave up waiting has its own error
        }
    }
}

/// A handle on the log; clones share it.
#[derive(Clone, Debug)]
pub struct LogStore {
    log: Arc<Mutex<RaftLog<WalTypes>>>,
    appended_bytes: Arc<AtomicU64>,
}

impl LogStore {
    /// Opens or creates the log in `dir`. A half-written last record is cut off: it was never acknowledged.
    pub fn open(dir: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let mut config = raft_log::Config::new(dir.display());
        config.wal.chunk_max_size = Some(FILE_BYTES);
        config.wal.read_buffer_size = Some(4 << 20);
        config.wal.flush_batch_wait = Some(FLUSH_WAIT);
        config.log_cache_capacity = Some(CACHE_BYTES);
        let log = RaftLog::open(Arc::new(config))?;
        Ok(Self { log: Arc::new(Mutex::new(log)), appended_bytes: Arc::default() })
    }

    /// Bytes of entries appended since the process started.
    pub fn appended_bytes(&self) -> u64 {
        self.appended_bytes.load(Ordering::Relaxed)
    }

    fn log(&self) -> io::Result<MutexGuard<'_, RaftLog<WalTypes>>> {
        self.log.lock().map_err(|_| io::Error::other("the log's lock is poisoned: a thread panicked over it"))
    }

    /// Writes with `write` and waits until it is on disk.
    async fn synced(
        &self,
        write: impl FnOnce(&mut RaftLog<WalTypes>) -> io::Result<raft_log::Segment>,
    ) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut log = self.log()?;
            write(&mut log)?;
            log.flush(true, Some(Flushed::Wait(sender)))?;
        }
        receiver.await.map_err(|_| io::Error::other("the log's writer has stopped"))?
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (start, end) = bounds(&range);
        let log = self.log()?;
        log.read(start, end).map(|read| read.map(|(id, payload)| Entry::new(id.0, payload.0))).collect()
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, io::Error> {
        let log = self.log()?;
        let mut entries = Vec::new();
        let mut bytes = 0;
        for read in log.read(start, end) {
            let (id, payload) = read?;
            bytes += size_of_payload(&payload.0);
            if bytes > READ_BYTES && !entries.is_empty() {
                break;
            }
            entries.push(Entry::new(id.0, payload.0));
        }
        Ok(entries)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.log()?.log_state().vote().map(|vote| vote.0))
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let log = self.log()?;
        let state = log.log_state();
        let last_purged_log_id = state.purged().map(|id| id.0);
        let last_log_id = state.last().map(|id| id.0).or(last_purged_log_id);
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        self.synced(|log| log.save_vote(Packed(*vote))).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let Some(committed) = committed else {
            return Ok(());
        };
        let mut log = self.log()?;
        // Only a hint for a faster restart, so it is written with whatever is flushed next.
        if log.log_state().last().is_some_and(|last| last.0 >= committed) {
            log.commit(Packed(committed))?;
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.log()?.log_state().committed().map(|id| id.0))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let mut log = self.log()?;
        for entry in entries {
            self.appended_bytes.fetch_add(size_of_payload(&entry.payload) as u64, Ordering::Relaxed);
            log.append([(Packed(entry.log_id), Packed(entry.payload))])?;
        }
        log.flush(true, Some(Flushed::Append(callback)))
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let first_removed = last_log_id.map_or(0, |id| id.index + 1);
        let last = self.log()?.log_state().last().map(|id| id.0.index);
        if last.is_none_or(|last| first_removed > last) {
            return Ok(()); // nothing lies behind it
        }
        self.synced(|log| log.truncate(first_removed)).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        self.synced(|log| log.purge(Packed(log_id))).await
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

/// A rough size in memory and on disk, without encoding.
fn size_of_payload(payload: &Payload) -> usize {
    match payload {
        EntryPayload::Normal(entry) => 64 + entry.commands.iter().map(scheduling::Command::weight).sum::<usize>(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 256,
    }
}
