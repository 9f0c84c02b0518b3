//! How a node comes to its identity and into the cluster.

use std::time::Duration;

use protocol::{
    client::LeaderClient,
    v1::{self, cluster_client::ClusterClient},
};
use tokio::{net::TcpListener, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    backup,
    config::{Config, Start},
    identity::{self, Identity, Origin},
    role,
};

/// A cluster that elects or catches up may need its time; after it the process ends and is started anew.
const JOIN_DEADLINE: Duration = Duration::from_secs(60);
const ADD_MEMBER_DEADLINE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Identity(#[from] identity::Error),
    #[error(
        "{dir} belongs to no cluster yet: start the first node with --bootstrap, every other with --join HOST:PORT of \
         one that runs"
    )]
    NoCluster { dir: std::path::PathBuf },
    #[error("failed to join the cluster")]
    Join { source: protocol::client::Error },
    #[error("failed to restore a cluster from {url}")]
    Restore { url: String, source: backup::Error },
    #[error("failed to serve while waiting for a role")]
    Await { source: tonic::transport::Error },
}

/// The node's identity: from its directory, or new. `listener` is served while waiting to be told.
pub(crate) async fn identity(config: &Config, listener: TcpListener) -> Result<Identity, Error> {
    if let Some(identity) = Identity::load(&config.dir)? {
        return Ok(identity);
    }
    let identity = match &config.start {
        Start::Bootstrap => Identity::new(identity::random_cluster_id()?, 1, Origin::Founded),
        Start::Join(members) => allocate(members, &config.advertise, "", JOIN_DEADLINE).await?,
        Start::AwaitRole => {
            return role::await_role(config, listener).await.map_err(|source| Error::Await { source });
        }
        Start::Restore(url) => {
            let wish = backup::Wish { url, from_cluster_id: "", cluster_id: "" };
            let restored = backup::restore(&config.dir, &config.advertise, wish).await;
            let restored = restored.map_err(|source| Error::Restore { url: url.clone(), source });
            return restored.map(|(identity, _)| identity);
        }
        Start::Rejoin => return Err(Error::NoCluster { dir: config.dir.clone() }),
    };
    identity.save(&config.dir)?;
    tracing::info!(node_id = identity.node_id, cluster_id = identity.cluster_id, "new identity");
    Ok(identity)
}

/// Reserves an id in the cluster of `members`, which must be `cluster_id` unless that is empty.
pub(crate) async fn allocate(
    members: &[String],
    address: &str,
    cluster_id: &str,
    deadline: Duration,
) -> Result<Identity, Error> {
    let client = LeaderClient::new(members.to_vec());
    let allocate = |channel| async move {
        let request = v1::AllocateNodeRequest { address: address.to_owned(), cluster_id: cluster_id.to_owned() };
        ClusterClient::new(channel).allocate_node(request).await
    };
    let answer = client.call(deadline, allocate).await.map_err(|source| Error::Join { source })?.into_inner();
    Ok(Identity::new(answer.cluster_id, answer.node_id, Origin::Joined))
}

/// Asks the leader until this node is a voter. Runs beside the services, which the leader needs to reach.
pub(crate) async fn become_member(identity: Identity, members: Vec<String>, address: String, stop: CancellationToken) {
    let client = LeaderClient::new(members);
    let add = |channel| {
        let request = v1::AddMemberRequest {
            node_id: identity.node_id,
            address: address.clone(),
            cluster_id: identity.cluster_id.clone(),
            learner_only: false,
        };
        async move { ClusterClient::new(channel).add_member(request).await }
    };
    loop {
        let added = tokio::select! {
            () = stop.cancelled() => return,
            added = client.call(ADD_MEMBER_DEADLINE, add) => added,
        };
        match added {
            Ok(_) => {
                tracing::info!(node_id = identity.node_id, "a voter of the cluster");
                return;
            }
            Err(error) => tracing::warn!(%error, "not a member yet; asking again"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(PAUSE) => {}
        }
    }
}
