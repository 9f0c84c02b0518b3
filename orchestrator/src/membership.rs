//! Members come and go: learner, voter, gone. One change at a time, each safe to repeat.

use std::{collections::BTreeSet, fmt::Display, time::Duration};

use openraft::{BasicNode, ChangeMembers, async_runtime::WatchReceiver};
use tokio::time::{Instant, sleep, timeout};
use tonic::Status;

use crate::node::{Member, Node};

/// A learner that has not caught up by then is tried again by its own request.
const CATCH_UP_DEADLINE: Duration = Duration::from_secs(60);
/// A change needs a majority twice; whoever has none hears so.
const CHANGE_DEADLINE: Duration = Duration::from_secs(15);
/// A learner so close to the leader becomes a voter: it is behind by what is under way, which never ends on a busy cluster.
const CAUGHT_UP: u64 = 1_000;
const PAUSE: Duration = Duration::from_millis(50);
/// A voter that the leader has not heard of for so long does not count as answering.
const SILENT: Duration = Duration::from_secs(5);

impl Node {
    /// Makes the node a learner and returns once that is committed.
    pub(crate) async fn add_learner(&self, id: u64, address: String) -> Result<(), Status> {
        let _one_at_a_time = self.membership.lock().await;
        match self.member(id) {
            Some(member) if member.address == address => return Ok(()),
            Some(Member { address, .. }) => {
                let text = format!("node {id} is a member at {address} already; remove it first");
                return Err(Status::already_exists(text));
            }
            None => {}
        }
        tracing::info!(node_id = id, address, "a learner comes");
        within(self.raft.add_learner(id, BasicNode::new(&address), false)).await
    }

    /// Learner, then voter, then whoever had the address before goes.
    pub(crate) async fn add_voter(&self, id: u64, address: String) -> Result<(), Status> {
        let failed = |error: &dyn Display| Status::unavailable(format!("cannot add node {id} yet: {error}"));
        let _one_at_a_time = self.membership.lock().await;
        let members = self.members();
        let voters = voters(&members);
        let former = members.iter().filter(|member| member.address == address && member.id != id);
        let former: BTreeSet<u64> = former.map(|member| member.id).collect();
        if !voters.contains(&id) {
            let learner = self.raft.add_learner(id, BasicNode::new(&address), true);
            match timeout(CATCH_UP_DEADLINE, learner).await {
                Ok(added) => added.map_err(|error| failed(&error))?,
                Err(_) => return Err(failed(&"it has not caught up in time")),
            };
        }
        let wanted: BTreeSet<u64> = voters.difference(&former).copied().chain([id]).collect();
        if wanted != voters {
            tracing::info!(node_id = id, address, ?wanted, "voters change");
            self.raft.change_membership(wanted, false).await.map_err(|error| failed(&error))?;
        }
        let left: BTreeSet<u64> =
            self.members().iter().map(|member| member.id).filter(|id| former.contains(id)).collect();
        if !left.is_empty() {
            let remove = ChangeMembers::RemoveNodes(left);
            self.raft.change_membership(remove, false).await.map_err(|error| failed(&error))?;
        }
        Ok(())
    }

    /// Makes a learner a voter once it has caught up.
    pub(crate) async fn promote(&self, id: u64, patience: Duration) -> Result<(), Status> {
        let deadline = Instant::now() + patience;
        loop {
            let member = self.member(id).ok_or_else(|| unknown(id))?;
            if member.voter {
                return Ok(());
            }
            match self.lag(id) {
                Some(lag) if lag <= CAUGHT_UP => break,
                lag if Instant::now() >= deadline => {
                    let behind =
                        lag.map_or("it has not answered yet".to_owned(), |lag| format!("{lag} entries behind"));
                    return Err(Status::failed_precondition(format!("node {id} has not caught up: {behind}")));
                }
                _ => sleep(PAUSE).await,
            }
            self.check_leads().await?;
        }
        let _one_at_a_time = self.membership.lock().await;
        if self.member(id).ok_or_else(|| unknown(id))?.voter {
            return Ok(());
        }
        tracing::info!(node_id = id, "a learner becomes a voter");
        within(self.raft.change_membership(ChangeMembers::AddVoterIds([id].into()), true)).await
    }

    /// Takes a member out. Refuses what would leave the cluster without a leader, or without a majority.
    pub(crate) async fn remove(&self, id: u64, force: bool) -> Result<(), Status> {
        let _one_at_a_time = self.membership.lock().await;
        let members = self.members();
        let Some(member) = members.iter().find(|member| member.id == id) else {
            return Ok(());
        };
        if id == self.identity.node_id {
            return Err(Status::failed_precondition(format!("node {id} leads; hand leadership over first")));
        }
        let voters = voters(&members);
        if !member.voter {
            tracing::info!(node_id = id, "a learner goes");
            return within(self.raft.change_membership(ChangeMembers::RemoveNodes([id].into()), true)).await;
        }
        let rest: BTreeSet<u64> = voters.into_iter().filter(|voter| *voter != id).collect();
        let answering = rest.iter().filter(|voter| self.answers(**voter)).count();
        if !force && answering <= rest.len() / 2 {
            return Err(Status::failed_precondition(format!(
                "only {answering} of the {} voters that would remain answer; bring others back first, or force it",
                rest.len()
            )));
        }
        tracing::info!(node_id = id, ?rest, "a voter goes");
        within(self.raft.change_membership(rest, false)).await
    }

    pub(crate) fn member(&self, id: u64) -> Option<Member> {
        self.members().into_iter().find(|member| member.id == id)
    }

    /// On the leader: entries that the member is behind.
    pub(crate) fn lag(&self, id: u64) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let matched = metrics.replication.as_ref()?.get(&id)?.as_ref()?.index;
        Some(metrics.last_log_index.unwrap_or(0).saturating_sub(matched))
    }

    /// On the leader: how long it has not heard of the member. None: not once in its term.
    pub(crate) fn silent_for(&self, id: u64) -> Option<Duration> {
        if id == self.identity.node_id {
            return Some(Duration::ZERO);
        }
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let heard = metrics.heartbeat.as_ref()?.get(&id)?.as_ref()?;
        Some(openraft::Instant::elapsed(&**heard))
    }

    fn answers(&self, id: u64) -> bool {
        self.silent_for(id).is_some_and(|silent| silent < SILENT)
    }
}

fn voters(members: &[Member]) -> BTreeSet<u64> {
    members.iter().filter(|member| member.voter).map(|member| member.id).collect()
}

fn unknown(id: u64) -> Status {
    Status::not_found(format!("no member has the id {id}"))
}

async fn within<T, E: Display>(change: impl Future<Output = Result<T, E>>) -> Result<(), Status> {
    match timeout(CHANGE_DEADLINE, change).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Status::unavailable(format!("the members were not changed: {error}"))),
        Err(_) => Err(Status::unavailable("the change of members was not committed in time; does a majority answer?")),
    }
}
