//! One running member: what the services and the background tasks share.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use openraft::async_runtime::WatchReceiver;
use store::Store;
use tokio::sync::Mutex;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    backup, drive,
    identity::Identity,
    metrics::Metrics,
    raft::{Raft, log_store::LogStore, machine::StateView},
    readiness::Pulse,
};

pub(crate) struct Node {
    pub(crate) identity: Identity,
    pub(crate) raft: Raft,
    pub(crate) view: StateView,
    pub(crate) log: LogStore,
    pub(crate) drive: drive::Handle,
    pub(crate) store: Store,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) backups: backup::Desk,
    /// host:port under which this node says others reach it.
    pub(crate) advertise: String,
    pub(crate) pulse: Pulse,
    /// Whether this process has seen itself among the members.
    pub(crate) was_member: AtomicBool,
    /// Membership changes one at a time: each is computed from the members it finds.
    pub(crate) membership: Mutex<()>,
    /// Cancelled when the process drains; every stream and task ends with it.
    pub(crate) stop: CancellationToken,
    /// Tasks of single connections, joined when the process drains.
    pub(crate) tasks: TaskTracker,
}

/// A member as the last known membership has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: u64,
    pub(crate) address: String,
    pub(crate) voter: bool,
}

impl Node {
    /// The leader's id and address, when known.
    pub(crate) fn leader(&self) -> Option<(u64, String)> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let id = metrics.current_leader?;
        let node = metrics.membership_config.membership().get_node(&id)?;
        Some((id, node.addr.clone()))
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<u64> = membership.voter_ids().collect();
        let nodes = membership.nodes();
        nodes.map(|(id, node)| Member { id: *id, address: node.addr.clone(), voter: voters.contains(id) }).collect()
    }

    /// Hands leadership to `to`, or to the voter that has caught up furthest; returns who it was asked of.
    pub(crate) async fn hand_over(&self, to: Option<u64>, deadline: Duration) -> Result<u64, String> {
        let own = self.identity.node_id;
        let voters = self.members().into_iter().filter(|member| member.voter && member.id != own);
        let voters: Vec<u64> = voters.map(|member| member.id).collect();
        let to = match to {
            Some(to) if to == own && self.raft.is_leader() => return Ok(own),
            Some(to) if voters.contains(&to) => to,
            Some(to) => return Err(format!("node {to} is no other voter")),
            None => self.furthest(&voters).ok_or("there is no other voter to lead")?,
        };
        self.raft.trigger().transfer_leader(to).await.map_err(|error| error.to_string())?;
        let wait = self.raft.wait(Some(deadline));
        let handed = wait.metrics(|metrics| metrics.current_leader.is_some_and(|id| id != own), "another leader");
        handed.await.map_err(|error| error.to_string())?;
        Ok(to)
    }

    fn furthest(&self, voters: &[u64]) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let replication = metrics.replication.as_ref()?;
        let heard = metrics.heartbeat.as_ref()?;
        // Who was heard of last comes first among those that have as much.
        let at = |id: &u64| heard.get(id).and_then(|at| at.as_ref()).map(|at| **at);
        voters.iter().copied().max_by_key(|id| (replication.get(id).copied().flatten().map(|id| id.index), at(id)))
    }
}
