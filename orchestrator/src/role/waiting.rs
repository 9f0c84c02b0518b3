//! The `Cluster` service of a node that awaits its role: its status, the orders, and what needs no cluster.

use protocol::v1::{self, cluster_server};
use tokio::sync::{mpsc, oneshot};
use tonic::{Request, Response, Status};

use super::{Asked, Order, backup_status};
use crate::{backup::Place, config::Config};

pub(crate) const WAITING: &str = "waiting for a role";

pub(super) struct Service {
    orders: mpsc::Sender<Asked>,
    advertise: String,
    storage_url: String,
    backup_url: Option<String>,
}

impl Service {
    pub(super) fn new(orders: mpsc::Sender<Asked>, config: &Config) -> Self {
        Self {
            orders,
            advertise: config.advertise.clone(),
            storage_url: config.storage_url.clone(),
            backup_url: config.backup.as_ref().map(|schedule| schedule.url.clone()),
        }
    }

    async fn order(&self, order: Order) -> Result<Response<v1::RoleResponse>, Status> {
        // Another order was carried out meanwhile: the node starts, and knows what to answer in a moment.
        let starting = || Status::unavailable("taking its role; ask again");
        let (answer, answered) = oneshot::channel();
        self.orders.send(Asked { order, answer }).await.map_err(|_| starting())?;
        answered.await.map_err(|_| starting())?.map(Response::new)
    }
}

fn waiting<T>() -> Result<Response<T>, Status> {
    Err(Status::unavailable(WAITING))
}

#[tonic::async_trait]
impl cluster_server::Cluster for Service {
    async fn status(&self, _: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        Ok(Response::new(v1::StatusResponse {
            role: v1::MemberRole::Awaiting.into(),
            not_ready_reason: WAITING.to_owned(),
            advertised_address: self.advertise.clone(),
            storage_url: self.storage_url.clone(),
            program_version: env!("CARGO_PKG_VERSION").to_owned(),
            ..v1::StatusResponse::default()
        }))
    }

    async fn found(&self, request: Request<v1::FoundRequest>) -> Result<Response<v1::RoleResponse>, Status> {
        self.order(Order::Found(request.into_inner())).await
    }

    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::RoleResponse>, Status> {
        self.order(Order::Join(request.into_inner())).await
    }

    async fn restore(&self, request: Request<v1::RestoreRequest>) -> Result<Response<v1::RoleResponse>, Status> {
        self.order(Order::Restore(request.into_inner())).await
    }

    async fn allocate_node(
        &self,
        _: Request<v1::AllocateNodeRequest>,
    ) -> Result<Response<v1::AllocateNodeResponse>, Status> {
        waiting()
    }

    async fn add_member(&self, _: Request<v1::AddMemberRequest>) -> Result<Response<v1::AddMemberResponse>, Status> {
        waiting()
    }

    async fn promote_member(
        &self,
        _: Request<v1::PromoteMemberRequest>,
    ) -> Result<Response<v1::PromoteMemberResponse>, Status> {
        waiting()
    }

    async fn remove_member(
        &self,
        _: Request<v1::RemoveMemberRequest>,
    ) -> Result<Response<v1::RemoveMemberResponse>, Status> {
        waiting()
    }

    async fn transfer_leader(
        &self,
        _: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        waiting()
    }

    async fn take_snapshot(
        &self,
        _: Request<v1::TakeSnapshotRequest>,
    ) -> Result<Response<v1::TakeSnapshotResponse>, Status> {
        waiting()
    }

    async fn backup(&self, _: Request<v1::BackupRequest>) -> Result<Response<v1::BackupResponse>, Status> {
        waiting()
    }

    async fn list_backups(
        &self,
        request: Request<v1::ListBackupsRequest>,
    ) -> Result<Response<v1::ListBackupsResponse>, Status> {
        list_backups(&request.into_inner().url, self.backup_url.as_deref()).await
    }

    async fn delete_backup(
        &self,
        request: Request<v1::DeleteBackupRequest>,
    ) -> Result<Response<v1::DeleteBackupResponse>, Status> {
        delete_backup(&request.into_inner().url).await
    }
}

/// The same on every node.
pub(crate) async fn list_backups(
    url: &str,
    default_url: Option<&str>,
) -> Result<Response<v1::ListBackupsResponse>, Status> {
    let url = if url.is_empty() { default_url } else { Some(url) };
    let failed = |error| backup_status(&error);
    let url = url.ok_or_else(|| failed(crate::backup::Error::NoPlace))?;
    let backups = Place::open(url).map_err(failed)?.list().await.map_err(failed)?;
    let backups = backups.iter().map(crate::backup::Backup::to_wire).collect();
    Ok(Response::new(v1::ListBackupsResponse { backups }))
}

/// The same on every node.
pub(crate) async fn delete_backup(url: &str) -> Result<Response<v1::DeleteBackupResponse>, Status> {
    let failed = |error| backup_status(&error);
    let (place, name) = Place::of_backup(url).map_err(failed)?;
    place.remove_named(&name).await.map_err(failed)?;
    Ok(Response::new(v1::DeleteBackupResponse {}))
}
