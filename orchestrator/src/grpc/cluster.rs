//! The operators' service, and what a coming member asks for.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use openraft::{BasicNode, ChangeMembers};
use protocol::v1::{self, cluster_server};
use scheduling::{Command, Event};
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use super::views;
use crate::node::Node;

/// A learner that has not caught up by then is tried again by its own request.
const CATCH_UP_DEADLINE: Duration = Duration::from_secs(60);
const TRANSFER_DEADLINE: Duration = Duration::from_secs(10);
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(120);

pub(crate) struct Service(pub(crate) Arc<Node>);

#[tonic::async_trait]
impl cluster_server::Cluster for Service {
    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        views::status(Arc::clone(&self.0)).await.map(Response::new)
    }

    async fn allocate_node(
        &self,
        request: Request<v1::AllocateNodeRequest>,
    ) -> Result<Response<v1::AllocateNodeResponse>, Status> {
        let address = request.into_inner().address;
        let events = self.0.propose(Command::AllocateNode).await?;
        let node = events.iter().find_map(|event| match event {
            Event::NodeAllocated { node } => Some(node.0),
            _ => None,
        });
        let node_id = node.ok_or_else(|| Status::internal("no id was allocated"))?;
        tracing::info!(node_id, address, "id reserved for a new member");
        let cluster_id = self.0.identity.cluster_id.clone();
        Ok(Response::new(v1::AllocateNodeResponse { node_id, cluster_id }))
    }

    async fn add_member(
        &self,
        request: Request<v1::AddMemberRequest>,
    ) -> Result<Response<v1::AddMemberResponse>, Status> {
        let v1::AddMemberRequest { node_id, address, cluster_id } = request.into_inner();
        if cluster_id != self.0.identity.cluster_id {
            return Err(Status::invalid_argument("that node belongs to another cluster; give it an empty directory"));
        }
        self.0.check_leads().await?;
        self.0.add_member(node_id, address).await?;
        Ok(Response::new(v1::AddMemberResponse {}))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        self.0.check_leads().await?;
        let wish = request.into_inner().to;
        let to = (wish != 0).then_some(wish);
        let to = self.0.hand_over(to, TRANSFER_DEADLINE).await.map_err(Status::unavailable)?;
        Ok(Response::new(v1::TransferLeaderResponse { to }))
    }

    async fn take_snapshot(
        &self,
        _: Request<v1::TakeSnapshotRequest>,
    ) -> Result<Response<v1::TakeSnapshotResponse>, Status> {
        let unavailable = |error: &dyn std::fmt::Display| Status::unavailable(error.to_string());
        let (wanted, _) = self.0.view.freeze();
        self.0.raft.trigger().snapshot().await.map_err(|error| unavailable(&error))?;
        let wait = self.0.raft.wait(Some(SNAPSHOT_DEADLINE));
        let built = wait.metrics(|metrics| metrics.snapshot.is_some_and(|id| id.index >= wanted), "the snapshot");
        let metrics = built.await.map_err(|error| unavailable(&error))?;
        let index = metrics.snapshot.map_or(0, |id| id.index);
        Ok(Response::new(v1::TakeSnapshotResponse { index }))
    }
}

impl Node {
    /// Learner, then voter, then whoever had the address before goes: each step safe to repeat.
    async fn add_member(&self, id: u64, address: String) -> Result<(), Status> {
        let failed = |error: &dyn std::fmt::Display| Status::unavailable(format!("cannot add node {id} yet: {error}"));
        let _one_at_a_time = self.membership.lock().await;
        let members = self.members();
        let voters: BTreeSet<u64> = members.iter().filter(|member| member.voter).map(|member| member.id).collect();
        let former: BTreeSet<u64> = members
            .iter()
            .filter(|member| member.address == address && member.id != id)
            .map(|member| member.id)
            .collect();
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
}
