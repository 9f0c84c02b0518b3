//! The operators' service, and what a coming member asks for.

use std::{sync::Arc, time::Duration};

use protocol::v1::{self, cluster_server};
use scheduling::{Command, Event};
use tonic::{Request, Response, Status};

use super::views;
use crate::{
    backup,
    node::Node,
    role::{self, Order, waiting},
};

const TRANSFER_DEADLINE: Duration = Duration::from_secs(10);
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(120);
/// A caller that wants to wait longer asks again.
const MAX_WAIT: Duration = Duration::from_secs(60);

pub(crate) struct Service(pub(crate) Arc<Node>);

#[tonic::async_trait]
impl cluster_server::Cluster for Service {
    async fn status(&self, request: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        views::status(Arc::clone(&self.0), request.into_inner().brief).await.map(Response::new)
    }

    async fn found(&self, request: Request<v1::FoundRequest>) -> Result<Response<v1::RoleResponse>, Status> {
        role::already(&self.0.identity, &Order::Found(request.into_inner())).map(Response::new)
    }

    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::RoleResponse>, Status> {
        role::already(&self.0.identity, &Order::Join(request.into_inner())).map(Response::new)
    }

    async fn restore(&self, request: Request<v1::RestoreRequest>) -> Result<Response<v1::RoleResponse>, Status> {
        role::already(&self.0.identity, &Order::Restore(request.into_inner())).map(Response::new)
    }

    async fn allocate_node(
        &self,
        request: Request<v1::AllocateNodeRequest>,
    ) -> Result<Response<v1::AllocateNodeResponse>, Status> {
        let v1::AllocateNodeRequest { address, cluster_id } = request.into_inner();
        let own = self.0.identity.cluster_id.clone();
        if !cluster_id.is_empty() && cluster_id != own {
            return Err(Status::failed_precondition(format!("this is cluster {own}, not {cluster_id}")));
        }
        let events = self.0.propose(Command::AllocateNode).await?;
        let node = events.iter().find_map(|event| match event {
            Event::NodeAllocated { node } => Some(node.0),
            _ => None,
        });
        let node_id = node.ok_or_else(|| Status::internal("no id was allocated"))?;
        tracing::info!(node_id, address, "id reserved for a new member");
        Ok(Response::new(v1::AllocateNodeResponse { node_id, cluster_id: own }))
    }

    async fn add_member(
        &self,
        request: Request<v1::AddMemberRequest>,
    ) -> Result<Response<v1::AddMemberResponse>, Status> {
        let v1::AddMemberRequest { node_id, address, cluster_id, learner_only } = request.into_inner();
        if cluster_id != self.0.identity.cluster_id {
            return Err(Status::invalid_argument("that node belongs to another cluster; give it an empty directory"));
        }
        if node_id == 0 || !address.contains(':') {
            return Err(Status::invalid_argument("a member has an id above 0 and an address HOST:PORT"));
        }
        self.0.check_leads().await?;
        if learner_only {
            self.0.add_learner(node_id, address).await?;
        } else {
            self.0.add_voter(node_id, address).await?;
        }
        Ok(Response::new(v1::AddMemberResponse {}))
    }

    async fn promote_member(
        &self,
        request: Request<v1::PromoteMemberRequest>,
    ) -> Result<Response<v1::PromoteMemberResponse>, Status> {
        let v1::PromoteMemberRequest { node_id, wait_ms } = request.into_inner();
        self.0.check_leads().await?;
        self.0.promote(node_id, Duration::from_millis(wait_ms).min(MAX_WAIT)).await?;
        Ok(Response::new(v1::PromoteMemberResponse {}))
    }

    async fn remove_member(
        &self,
        request: Request<v1::RemoveMemberRequest>,
    ) -> Result<Response<v1::RemoveMemberResponse>, Status> {
        let v1::RemoveMemberRequest { node_id, force } = request.into_inner();
        self.0.check_leads().await?;
        self.0.remove(node_id, force).await?;
        Ok(Response::new(v1::RemoveMemberResponse {}))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        let wish = request.into_inner().to;
        let to = (wish != 0).then_some(wish);
        if to.is_some() && self.0.leader().map(|(id, _)| id) == to && !self.0.raft.is_leader() {
            return Ok(Response::new(v1::TransferLeaderResponse { to: wish })); // a repeat, after it went well
        }
        self.0.check_leads().await?;
        if let Some(to) = to
            && !self.0.member(to).is_some_and(|member| member.voter)
        {
            return Err(Status::failed_precondition(format!("node {to} is no voter")));
        }
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

    async fn backup(&self, request: Request<v1::BackupRequest>) -> Result<Response<v1::BackupResponse>, Status> {
        let v1::BackupRequest { url, keep } = request.into_inner();
        let failed = |error: backup::Error| role::backup_status(&error);
        let url = Some(url).filter(|url| !url.is_empty()).or_else(|| self.0.backups.default_url.clone());
        let url = url.ok_or_else(|| failed(backup::Error::NoPlace))?;
        // Goes on when the caller leaves: half a backup is none, and the next call finds it done.
        let node = Arc::clone(&self.0);
        let taken = self.0.tasks.spawn(async move { node.back_up(&url, keep).await });
        let taken = taken.await.map_err(|error| Status::internal(error.to_string()))?;
        let (backup, removed) = taken.map_err(failed)?;
        Ok(Response::new(v1::BackupResponse { backup: Some(backup.to_wire()), removed }))
    }

    async fn list_backups(
        &self,
        request: Request<v1::ListBackupsRequest>,
    ) -> Result<Response<v1::ListBackupsResponse>, Status> {
        waiting::list_backups(&request.into_inner().url, self.0.backups.default_url.as_deref()).await
    }

    async fn delete_backup(
        &self,
        request: Request<v1::DeleteBackupRequest>,
    ) -> Result<Response<v1::DeleteBackupResponse>, Status> {
        waiting::delete_backup(&request.into_inner().url).await
    }
}
