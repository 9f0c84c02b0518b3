//! How a node comes to its identity and into the cluster.

use std::time::Duration;

use protocol::{
    client::LeaderClient,
    v1::{self, cluster_client::ClusterClient},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{Config, Start},
    identity::{self, Identity},
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
}

/// The node's identity: from its directory, or new. The flag says whether the cluster is new with it.
pub(crate) async fn identity(config: &Config) -> Result<(Identity, bool), Error> {
    if let Some(identity) = Identity::load(&config.dir)? {
        return Ok((identity, false));
    }
    let (identity, founded) = match &config.start {
        Start::Bootstrap => (Identity::new(identity::random_cluster_id()?, 1), true),
        Start::Join(members) => (allocate(members, &config.advertise).await?, false),
        Start::Rejoin => return Err(Error::NoCluster { dir: config.dir.clone() }),
    };
    identity.save(&config.dir)?;
    tracing::info!(node_id = identity.node_id, cluster_id = identity.cluster_id, "new identity");
    Ok((identity, founded))
}

async fn allocate(members: &[String], address: &str) -> Result<Identity, Error> {
    let client = LeaderClient::new(members.to_vec());
    let allocate = |channel| async move {
        let request = v1::AllocateNodeRequest { address: address.to_owned() };
        ClusterClient::new(channel).allocate_node(request).await
    };
    let answer = client.call(JOIN_DEADLINE, allocate).await.map_err(|source| Error::Join { source })?.into_inner();
    Ok(Identity::new(answer.cluster_id, answer.node_id))
}

/// Asks the leader until this node is a voter. Runs beside the services, which the leader needs to reach.
pub(crate) async fn become_member(identity: Identity, members: Vec<String>, address: String, stop: CancellationToken) {
    let client = LeaderClient::new(members);
    let add = |channel| {
        let request = v1::AddMemberRequest {
            node_id: identity.node_id,
            address: address.clone(),
            cluster_id: identity.cluster_id.clone(),
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
