//! Consensus: the types openraft works with, and what it needs of us: a log, a state machine, a network.

pub(crate) mod codec;
pub mod log_store;
pub mod machine;
pub(crate) mod network;
pub mod snapshot;

use std::{fmt, sync::Arc, time::Duration};

use openraft::{BasicNode, SnapshotPolicy, alias};
use scheduling::{Command, Event};
use serde::{Deserialize, Serialize};
use types::Timestamp;

use machine::Machine;

openraft::declare_raft_types!(
    /// Our choice of types for openraft.
    pub TypeConfig: D = LogEntry, R = Applied, Node = BasicNode
);

pub type Raft = openraft::Raft<TypeConfig, Machine>;
pub type LogId = alias::LogIdOf<TypeConfig>;
pub type Vote = alias::VoteOf<TypeConfig>;
pub type Entry = alias::EntryOf<TypeConfig>;
pub type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
pub type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
pub type Snapshot = alias::SnapshotOf<TypeConfig, bytes::Bytes>;

/// What one log entry holds: everything that gathered while the last one was flushed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogEntry {
    /// The leader's clock when it proposed.
    pub at: Timestamp,
    pub commands: Vec<Command>,
}

impl fmt::Display for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands at {}", self.commands.len(), self.at)
    }
}

/// The events of one entry, per command in order.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Applied {
    pub index: u64,
    pub events: Vec<Vec<Event>>,
}

/// Time between a leader's heartbeats.
pub const HEARTBEAT: Duration = Duration::from_millis(250);
/// A follower that hears nothing for so long, at least, stands for election. Scanners may keep every core
/// busy, so this is long against scheduling hiccups and still short against a person's patience.
const ELECTION_TIMEOUT: (Duration, Duration) = (Duration::from_millis(1_250), Duration::from_millis(2_500));

/// How openraft is run here.
pub fn config(cluster_id: &str, keep_log_entries: u64) -> Result<Arc<openraft::Config>, openraft::ConfigError> {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let config = openraft::Config {
        cluster_name: cluster_id.to_owned(),
        heartbeat_interval: ms(HEARTBEAT),
        election_timeout_min: ms(ELECTION_TIMEOUT.0),
        election_timeout_max: ms(ELECTION_TIMEOUT.1),
        // Snapshots are triggered by log bytes and time, see `housekeeping`.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: keep_log_entries,
        // A follower further behind gets a snapshot; at least as many entries are kept, so that one cures the lag.
        replication_lag_threshold: keep_log_entries.max(5_000),
        install_snapshot_timeout: 60_000,
        max_payload_entries: 256,
        enable_pre_vote: Some(true),
        // A leader that restarts would lead on in its old term before it has replayed its log; workers would
        // meet a state of the past. It stands for election like everyone, and leads with a term of its own.
        enable_leader_restore: Some(false),
        ..openraft::Config::default()
    };
    config.validate().map(Arc::new)
}
