//! The replicated state machine: applies entries to the scheduling state, and freezes it for snapshots.

use std::{
    io,
    sync::{Arc, RwLock},
};

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use openraft::{EntryPayload, RaftSnapshotBuilder, storage::EntryResponder, storage::RaftStateMachine};
use scheduling::{Stamp, State};
use tokio::sync::watch;
use types::Digest;

use super::{
    Applied, LogEntry, LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig, codec,
    snapshot::{self, SnapshotFolder},
};

/// The applied state, shared with everything on this node that reads it.
#[derive(Clone, Debug)]
pub struct StateView {
    inner: Arc<RwLock<Inner>>,
    applied: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    state: State,
    last_applied: Option<LogId>,
    membership: StoredMembership,
}

impl StateView {
    fn new() -> Self {
        Self { inner: Arc::default(), applied: watch::Sender::new(0) }
    }

    /// Reads the state. `read` must be short: entries wait while it runs.
    pub fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        read(&self.lock_for_reading().state)
    }

    /// A frozen view and the index of its last entry; cheap, large parts are shared.
    pub fn freeze(&self) -> (u64, State) {
        let inner = self.lock_for_reading();
        (inner.last_applied.map_or(0, |id| id.index), inner.state.clone())
    }

    /// As [`Self::freeze`], with the leader that the last entry is of.
    pub(crate) fn freeze_with_id(&self) -> (Option<LogId>, State) {
        let inner = self.lock_for_reading();
        (inner.last_applied, inner.state.clone())
    }

    /// The last entry applied, with the leader it is of.
    pub(crate) fn last_applied(&self) -> Option<LogId> {
        self.lock_for_reading().last_applied
    }

    /// Ticks with the index of each applied entry.
    pub fn watch_applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// The frozen state's digest with its index; equal on every replica at an equal index.
    pub fn digest(&self) -> io::Result<(u64, Digest)> {
        let (index, state) = self.freeze();
        Ok((index, Digest::of(&codec::encode(&state)?)))
    }

    fn lock_for_reading(&self) -> std::sync::RwLockReadGuard<'_, Inner> {
        self.inner.read().expect("apply does not panic: what clients cause is refused")
    }

    fn lock_for_writing(&self) -> std::sync::RwLockWriteGuard<'_, Inner> {
        self.inner.write().expect("apply does not panic: what clients cause is refused")
    }

    fn apply(&self, log_id: LogId, payload: EntryPayload<LogEntry, u64, openraft::BasicNode>) -> Applied {
        let mut inner = self.lock_for_writing();
        inner.last_applied = Some(log_id);
        match payload {
            EntryPayload::Blank => Applied { index: log_id.index, events: Vec::new() },
            EntryPayload::Membership(membership) => {
                inner.membership = StoredMembership::new(Some(log_id), membership);
                Applied { index: log_id.index, events: Vec::new() }
            }
            EntryPayload::Normal(LogEntry { at, commands }) => {
                let mut first_slot = 0_u32;
                let mut events = Vec::with_capacity(commands.len());
                for command in commands {
                    let slots = command.slots();
                    events.push(inner.state.apply(Stamp { index: log_id.index, at, first_slot }, command));
                    first_slot = first_slot.saturating_add(slots);
                }
                Applied { index: log_id.index, events }
            }
        }
    }

    fn replace(&self, meta: &SnapshotMeta, state: State) {
        let mut inner = self.lock_for_writing();
        *inner = Inner { state, last_applied: meta.last_log_id, membership: meta.last_membership.clone() };
        drop(inner);
        self.applied.send_replace(meta.last_log_id.map_or(0, |id| id.index));
    }
}

/// openraft's state machine over a [`StateView`], with its snapshots on disk.
#[derive(Clone, Debug)]
pub struct Machine {
    view: StateView,
    folder: SnapshotFolder,
}

impl Machine {
    /// Starts from the newest whole snapshot; openraft replays the log from there.
    pub fn open(folder: SnapshotFolder) -> io::Result<Self> {
        let view = StateView::new();
        if let Some(Snapshot { meta, snapshot }) = folder.newest()? {
            view.replace(&meta, snapshot::unpack(&snapshot)?);
        }
        Ok(Self { view, folder })
    }

    pub fn view(&self) -> StateView {
        self.view.clone()
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = Bytes;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let inner = self.view.lock_for_reading();
        Ok((inner.last_applied, inner.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let applied = self.view.apply(entry.log_id, entry.payload);
            if let Some(responder) = responder {
                responder.send(applied);
            }
            self.view.applied.send_replace(entry.log_id.index);
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, body: Bytes) -> Result<(), io::Error> {
        let (folder, meta) = (self.folder.clone(), meta.clone());
        let (meta, state) = blocking(move || {
            let state = snapshot::unpack(&body)?;
            folder.save(&meta, &body)?;
            Ok((meta, state))
        })
        .await?;
        self.view.replace(&meta, state);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let folder = self.folder.clone();
        blocking(move || folder.newest()).await
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Machine {
    type SnapshotData = Bytes;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let (meta, state) = {
            let inner = self.view.lock_for_reading();
            let meta = SnapshotMeta { last_log_id: inner.last_applied, last_membership: inner.membership.clone() };
            (meta, inner.state.clone())
        };
        let folder = self.folder.clone();
        blocking(move || {
            let body = snapshot::pack(&state)?;
            folder.save(&meta, &body)?;
            Ok(Snapshot { meta, snapshot: body })
        })
        .await
    }
}

/// Packing and disk work off the async threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
