//! When backups are taken, and what became of the last one.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use protocol::v1;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    Backup, Error, Place, chain,
    file::{self, Header},
};
use crate::node::Node;

const TICK: Duration = Duration::from_secs(1);
/// After a failure: often enough to be back soon, and not a storm on storage that is down.
const AFTER_FAILURE: Duration = Duration::from_secs(60);

/// Where this node's state goes while it leads, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub url: String,
    pub interval: Duration,
    pub log_bytes: u64,
    /// 0: all.
    pub keep: u32,
}

/// Takes backups one at a time and remembers the last.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    /// Where to, when a call does not say.
    pub(crate) default_url: Option<String>,
    one_at_a_time: tokio::sync::Mutex<()>,
    last: Mutex<Option<Last>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Last {
    pub(crate) outcome: Result<Backup, String>,
    pub(crate) ended_at_ms: u64,
}

impl Last {
    pub(crate) fn to_wire(&self) -> v1::BackupState {
        let (backup, error) = match &self.outcome {
            Ok(backup) => (Some(backup.to_wire()), String::new()),
            Err(error) => (None, error.clone()),
        };
        v1::BackupState { backup, error, ended_at_ms: self.ended_at_ms }
    }
}

impl Desk {
    pub(crate) fn new(default_url: Option<String>) -> Self {
        Self { default_url, ..Self::default() }
    }

    pub(crate) fn last(&self) -> Option<Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, outcome: Result<Backup, String>) {
        let ended_at_ms = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Last { outcome, ended_at_ms });
    }
}

impl Node {
    /// Writes the state as it is now, and removes the oldest backups of this cluster beyond `keep` (0: none).
    /// Returns the names' URLs of what was removed.
    pub(crate) async fn back_up(&self, url: &str, keep: u32) -> Result<(Backup, Vec<String>), Error> {
        let _one_at_a_time = self.backups.one_at_a_time.lock().await;
        let taken = self.write_backup(url, keep).await;
        self.metrics.backed_up(taken.as_ref().map(|(backup, _)| backup).ok());
        self.backups.note(taken.as_ref().map(|(backup, _)| backup.clone()).map_err(|error| chain(error)));
        taken
    }

    async fn write_backup(&self, url: &str, keep: u32) -> Result<(Backup, Vec<String>), Error> {
        let place = Place::open(url)?;
        let own = |backup: &Backup| backup.cluster_id == self.identity.cluster_id;
        let mut backups: Vec<_> = place.list().await?.into_iter().filter(own).collect();
        let (last_applied, state) = self.view.freeze_with_id();
        let (index, term) = last_applied.map_or((0, 0), |id| (id.index, id.leader_id.term));
        let newest = match backups.first() {
            Some(newest) if newest.index == index => newest.clone(),
            _ => {
                let taken_at = Timestamp::now();
                let header = Header {
                    format: Header::format(),
                    cluster_id: self.identity.cluster_id.clone(),
                    node_id: self.identity.node_id,
                    index,
                    term,
                    taken_at: taken_at.to_string(),
                    program_version: telemetry::build_info().to_owned(),
                    storage_url: self.store.url().to_owned(),
                };
                let packed = tokio::task::spawn_blocking(move || file::pack(&header, &state)).await;
                let packed =
                    packed.map_err(std::io::Error::other).flatten().map_err(|source| Error::Pack { source })?;
                let backup = place.put(&self.identity.cluster_id, index, taken_at, packed).await?;
                tracing::info!(url = backup.url, index, bytes = backup.bytes, "backed up");
                backups.insert(0, backup.clone());
                backup
            }
        };
        let surplus = if keep == 0 { Vec::new() } else { backups.split_off(backups.len().min(keep as usize)) };
        let mut removed = Vec::new();
        for backup in surplus.iter().rev() {
            place.remove(backup).await?;
            removed.push(backup.url.clone());
        }
        Ok((newest, removed))
    }
}

/// Backs up by time and by log bytes while this node leads. What a former leader wrote counts.
pub(crate) async fn keep(node: Arc<Node>, schedule: Schedule) {
    let Schedule { url, interval: every, log_bytes, keep } = schedule;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut due: Option<Instant> = None;
    let mut bytes_at_last = 0;
    loop {
        tokio::select! {
            () = node.stop.cancelled() => return,
            _ = tick.tick() => {}
        }
        if !node.raft.is_leader() {
            due = None;
            continue;
        }
        let bytes = node.log.appended_bytes();
        let when = match due {
            Some(due) => due,
            None => {
                bytes_at_last = bytes;
                Instant::now() + until_due(&node, &url, every).await
            }
        };
        let grown = bytes.saturating_sub(bytes_at_last) >= log_bytes;
        if Instant::now() < when && !grown {
            due = Some(when);
            continue;
        }
        bytes_at_last = bytes;
        due = Some(match node.back_up(&url, keep).await {
            Ok(_) => Instant::now() + every,
            Err(error) => {
                tracing::error!(error = chain(&error), "the backup failed");
                Instant::now() + every.min(AFTER_FAILURE)
            }
        });
    }
}

/// For a new leader: how long the newest backup of this cluster is still good for.
async fn until_due(node: &Node, url: &str, every: Duration) -> Duration {
    let listed = match Place::open(url) {
        Ok(place) => place.list().await,
        Err(error) => Err(error),
    };
    let backups = listed.unwrap_or_default(); // the attempt that follows says what is wrong
    let newest = backups.iter().find(|backup| backup.cluster_id == node.identity.cluster_id);
    let age = newest.and_then(|backup| Duration::try_from(Timestamp::now().duration_since(backup.taken_at)).ok());
    age.map_or(Duration::ZERO, |age| every.saturating_sub(age))
}
