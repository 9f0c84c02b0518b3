//! A node whose volume is empty and that was told to wait: it answers health and status, and takes the role it is told.
//!
//! ```text
//! Found, Join, Restore ──► waiting::Service ──order──► await_role ──► identity on the volume ──► the node starts as usual
//! ```
//!
//! Orders are carried out here, one after the other, and not in the calls: a caller that hangs up in the middle must not
//! leave half a member behind. The first that succeeds ends the waiting.

pub(crate) mod waiting;

use std::time::Duration;

use protocol::v1::{self, cluster_server::ClusterServer};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, service::Routes, transport::server::TcpIncoming};

use crate::{
    backup::{self, Backup},
    config::Config,
    identity::{self, Identity, Origin},
    join,
};

/// Orders waiting for the one being carried out; who repeats a call after its deadline may leave some behind.
const ORDERS: usize = 16;
/// A caller must have its answer, and a connection that stays open for nothing must not hold the start up.
const GOODBYE: Duration = Duration::from_secs(3);
/// Shorter than a caller's patience, so that it hears what was wrong.
const JOIN_DEADLINE: Duration = Duration::from_secs(20);

/// What a node can be told to become.
pub(crate) enum Order {
    Found(v1::FoundRequest),
    Join(v1::JoinRequest),
    Restore(v1::RestoreRequest),
}

pub(crate) struct Asked {
    order: Order,
    answer: oneshot::Sender<Result<v1::RoleResponse, Status>>,
}

/// Serves on `listener` until an order has given this node its identity. Dropping it leaves an empty volume, or a whole
/// member.
pub(crate) async fn await_role(config: &Config, listener: TcpListener) -> Result<Identity, tonic::transport::Error> {
    let (sender, mut orders) = mpsc::channel(ORDERS);
    let stop = CancellationToken::new();
    let service = waiting::Service::new(sender, config);
    // Whoever asks for more than there is yet is to ask elsewhere, or again.
    let other = async || Status::unavailable(waiting::WAITING).into_http::<axum::body::Body>();
    let routes = Routes::new(ClusterServer::new(service)).into_axum_router().fallback(other);
    let serve = tonic::transport::Server::builder()
        .add_routes(Routes::from(routes))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), stop.clone().cancelled_owned());
    tokio::pin!(serve);
    tracing::info!(address = config.advertise, "the directory is empty; waiting to be told what to be");
    let identity = tokio::select! {
        served = &mut serve => return Err(served.err().unwrap_or_else(|| unreachable!("nobody stopped the server"))),
        identity = carry_out(config, &mut orders) => identity,
    };
    stop.cancel();
    drop(timeout(GOODBYE, serve).await); // what is still open then is not waited for
    Ok(identity)
}

async fn carry_out(config: &Config, orders: &mut mpsc::Receiver<Asked>) -> Identity {
    while let Some(Asked { order, answer }) = orders.recv().await {
        match obey(config, order).await {
            Ok((identity, restored)) => {
                let restored = restored.map(|backup| backup.to_wire());
                drop(answer.send(Ok(response(&identity, restored)))); // who does not wait any more asks again
                return identity;
            }
            Err(status) => {
                tracing::warn!(reason = status.message(), "an order was not carried out");
                drop(answer.send(Err(status)));
            }
        }
    }
    std::future::pending().await
}

async fn obey(config: &Config, order: Order) -> Result<(Identity, Option<Backup>), Status> {
    match order {
        Order::Found(v1::FoundRequest { cluster_id }) => {
            let cluster_id = identity::cluster_id_or_random(&cluster_id).map_err(|error| refusal(&error))?;
            save(config, Identity::new(cluster_id, 1, Origin::Founded)).map(|identity| (identity, None))
        }
        Order::Join(v1::JoinRequest { addresses, cluster_id }) => {
            if addresses.is_empty() {
                return Err(Status::invalid_argument("no address of a member to join through"));
            }
            let identity = join::allocate(&addresses, &config.advertise, &cluster_id, JOIN_DEADLINE).await;
            let identity = identity.map_err(|error| match error {
                join::Error::Join { source: protocol::client::Error::Refused(status) } => *status,
                error => Status::unavailable(backup::chain(&error)),
            })?;
            save(config, identity).map(|identity| (identity, None))
        }
        Order::Restore(v1::RestoreRequest { url, cluster_id, from_cluster_id }) => {
            let wish = backup::Wish { url: &url, from_cluster_id: &from_cluster_id, cluster_id: &cluster_id };
            let restored = backup::restore(&config.dir, &config.advertise, wish).await;
            restored.map(|(identity, backup)| (identity, Some(backup))).map_err(|error| backup_status(&error))
        }
    }
}

fn save(config: &Config, identity: Identity) -> Result<Identity, Status> {
    identity.save(&config.dir).map_err(|error| Status::internal(backup::chain(&error)))?;
    tracing::info!(node_id = identity.node_id, cluster_id = identity.cluster_id, "new identity");
    Ok(identity)
}

fn refusal(error: &identity::Error) -> Status {
    match error {
        identity::Error::ClusterId { .. } => Status::invalid_argument(error.to_string()),
        _ => Status::internal(backup::chain(error)),
    }
}

/// What a caller hears of a backup that did not work.
pub(crate) fn backup_status(error: &backup::Error) -> Status {
    let text = backup::chain(error);
    match error {
        backup::Error::Missing { .. } => Status::not_found(text),
        backup::Error::Damaged { .. } => Status::data_loss(text),
        backup::Error::Identity(error) => refusal(error),
        _ if error.is_retryable() => Status::unavailable(text),
        _ => Status::invalid_argument(text),
    }
}

pub(crate) fn response(identity: &Identity, restored: Option<v1::BackupInfo>) -> v1::RoleResponse {
    v1::RoleResponse { cluster_id: identity.cluster_id.clone(), node_id: identity.node_id, restored }
}

/// For a member that is told to become something: success if that is what it is.
pub(crate) fn already(identity: &Identity, order: &Order) -> Result<v1::RoleResponse, Status> {
    let (origin, cluster_id) = match order {
        Order::Found(request) => (Origin::Founded, &request.cluster_id),
        Order::Join(request) => (Origin::Joined, &request.cluster_id),
        Order::Restore(request) => (Origin::Restored, &request.cluster_id),
    };
    if identity.origin == origin && (cluster_id.is_empty() || *cluster_id == identity.cluster_id) {
        return Ok(response(identity, None));
    }
    let Identity { cluster_id, node_id, .. } = identity;
    let mut status = Status::already_exists(format!("this is node {node_id} of cluster {cluster_id}"));
    let metadata = status.metadata_mut();
    if let Ok(value) = cluster_id.parse() {
        metadata.insert(protocol::CLUSTER_ID_METADATA, value);
    }
    metadata.insert(protocol::NODE_ID_METADATA, (*node_id).into());
    Err(status)
}
