//! What this node is to its cluster, and whether it is ready: it hears from a leader and has caught up.

use std::sync::atomic::{AtomicU64, Ordering};

use openraft::async_runtime::WatchReceiver;
use protocol::v1::MemberRole;
use tokio::time::Instant;

use crate::{drive, node::Node, raft::HEARTBEAT};

/// Entries that a member may be behind what is committed: what is under way between two heartbeats of a busy leader.
const UNDER_WAY: u64 = 1_000;
/// Silence after which a leader counts as gone: twice the longest time until someone stands for election.
const SILENCE_MS: u64 = 5_000;

/// When this node last heard from a leader.
#[derive(Debug)]
pub(crate) struct Pulse {
    started: Instant,
    /// Milliseconds after `started`; 0 before the first time.
    heard_ms: AtomicU64,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), heard_ms: AtomicU64::new(0) }
    }

    pub(crate) fn beat(&self) {
        self.heard_ms.store(self.now_ms().max(1), Ordering::Relaxed);
    }

    fn silent_ms(&self) -> Option<u64> {
        let heard = self.heard_ms.load(Ordering::Relaxed);
        (heard > 0).then(|| self.now_ms().saturating_sub(heard))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Node {
    /// As this node's own log says, which may be behind.
    pub(crate) fn role(&self) -> MemberRole {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let id = self.identity.node_id;
        let role = if membership.voter_ids().any(|voter| voter == id) {
            MemberRole::Voter
        } else if membership.get_node(&id).is_some() {
            MemberRole::Learner
        } else if self.was_member.load(Ordering::Relaxed) {
            MemberRole::Removed
        } else {
            MemberRole::Joining
        };
        if matches!(role, MemberRole::Voter | MemberRole::Learner) {
            self.was_member.store(true, Ordering::Relaxed);
        }
        role
    }

    /// Err: why it is not ready, for people.
    pub(crate) fn readiness(&self) -> Result<(), String> {
        match self.role() {
            MemberRole::Voter | MemberRole::Learner => {}
            MemberRole::Removed => return Err("removed from the cluster".to_owned()),
            MemberRole::Joining | MemberRole::Awaiting | MemberRole::Unspecified => {
                return Err("no member of the cluster yet".to_owned());
            }
        }
        if self.raft.is_leader() {
            if !drive::quorum_is_fresh(&self.raft, HEARTBEAT * 8) {
                return Err("leads, but a majority does not answer".to_owned());
            }
        } else {
            match self.pulse.silent_ms() {
                None => return Err("no leader has been heard of since the start".to_owned()),
                Some(silent) if silent > SILENCE_MS => {
                    return Err(format!("no leader has been heard of for {} s", silent / 1_000));
                }
                Some(_) => {}
            }
        }
        let committed = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            metrics.cluster_committed.max(metrics.local_committed).map_or(0, |id| id.index)
        };
        let applied = self.view.last_applied().map_or(0, |id| id.index);
        let behind = committed.saturating_sub(applied);
        if committed == 0 || behind > UNDER_WAY {
            return Err(format!("catching up: {behind} entries behind what is committed"));
        }
        Ok(())
    }
}
