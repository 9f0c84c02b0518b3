//! The members' side of consensus: unpacks what the others' `raft::network` sends.

use std::{pin::Pin, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use openraft::raft::{AppendEntriesRequest, TransferLeaderRequest, VoteRequest};
use protocol::v1::{RaftRequest, RaftResponse, raft_server};
use serde::{Serialize, de::DeserializeOwned};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    node::Node,
    raft::{Snapshot, SnapshotMeta, TypeConfig, Vote, codec},
};

/// A snapshot larger than this is refused, in bytes: more than any state that fits the memory of a node.
const MAX_SNAPSHOT_BYTES: usize = 8 << 30;

pub(crate) struct Service(pub(crate) Arc<Node>);

type Responses = Pin<Box<dyn Stream<Item = Result<RaftResponse, Status>> + Send>>;

#[tonic::async_trait]
impl raft_server::Raft for Service {
    type StreamAppendStream = Responses;

    async fn append(&self, request: Request<RaftRequest>) -> Result<Response<RaftResponse>, Status> {
        let request: AppendEntriesRequest<TypeConfig> = self.unpack(request.into_inner())?;
        let response = self.0.raft.append_entries(request).await.map_err(fatal)?;
        self.0.pulse.beat();
        pack(&response)
    }

    async fn stream_append(
        &self,
        request: Request<Streaming<RaftRequest>>,
    ) -> Result<Response<Self::StreamAppendStream>, Status> {
        let (node, heard) = (Arc::clone(&self.0), Arc::clone(&self.0));
        let requests = request.into_inner().map(move |request| check(&node, request?));
        // The stream ends at the first request that cannot be read; the leader opens another.
        let requests = requests.scan((), |(), request| std::future::ready(request.and_then(|r| decode(&r)).ok()));
        let responses = self.0.raft.stream_append(requests);
        let responses = responses.map(move |result| {
            let result = result.map_err(fatal)?;
            heard.pulse.beat();
            Ok(RaftResponse { payload: encode(&result)? })
        });
        Ok(Response::new(Box::pin(responses)))
    }

    async fn vote(&self, request: Request<RaftRequest>) -> Result<Response<RaftResponse>, Status> {
        let request: VoteRequest<TypeConfig> = self.unpack(request.into_inner())?;
        pack(&self.0.raft.vote(request).await.map_err(fatal)?)
    }

    async fn pre_vote(&self, request: Request<RaftRequest>) -> Result<Response<RaftResponse>, Status> {
        let request: VoteRequest<TypeConfig> = self.unpack(request.into_inner())?;
        pack(&self.0.raft.pre_vote(request).await.map_err(fatal)?)
    }

    async fn transfer_leader(&self, request: Request<RaftRequest>) -> Result<Response<RaftResponse>, Status> {
        let request: TransferLeaderRequest<TypeConfig> = self.unpack(request.into_inner())?;
        pack(&self.0.raft.handle_transfer_leader(request).await.map_err(fatal)?)
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<RaftRequest>>,
    ) -> Result<Response<RaftResponse>, Status> {
        let mut chunks = request.into_inner();
        let head = chunks.message().await?.ok_or_else(|| Status::invalid_argument("an empty snapshot stream"))?;
        let (vote, meta): (Vote, SnapshotMeta) = self.unpack(head)?;
        let mut body = BytesMut::new();
        while let Some(chunk) = chunks.message().await? {
            let chunk = check(&self.0, chunk)?;
            if body.len() + chunk.payload.len() > MAX_SNAPSHOT_BYTES {
                return Err(Status::resource_exhausted(format!("a snapshot has at most {MAX_SNAPSHOT_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk.payload);
        }
        let snapshot = Snapshot { meta, snapshot: body.freeze() };
        pack(&self.0.raft.install_full_snapshot(vote, snapshot).await.map_err(fatal)?)
    }
}

impl Service {
    fn unpack<T: DeserializeOwned>(&self, request: RaftRequest) -> Result<T, Status> {
        decode(&check(&self.0, request)?)
    }
}

/// Refuses what is meant for another cluster or for a former owner of this address.
fn check(node: &Node, request: RaftRequest) -> Result<RaftRequest, Status> {
    let identity = &node.identity;
    if request.cluster_id == identity.cluster_id && request.target == identity.node_id {
        Ok(request)
    } else {
        Err(Status::failed_precondition(format!("this is node {} of another identity", identity.node_id)))
    }
}

fn decode<T: DeserializeOwned>(request: &RaftRequest) -> Result<T, Status> {
    codec::decode(&request.payload).map_err(|error| Status::invalid_argument(format!("unreadable message: {error}")))
}

fn encode<T: Serialize>(value: &T) -> Result<Bytes, Status> {
    codec::encode(value).map(Bytes::from).map_err(|error| Status::internal(error.to_string()))
}

fn pack<T: Serialize>(value: &T) -> Result<Response<RaftResponse>, Status> {
    Ok(Response::new(RaftResponse { payload: encode(value)? }))
}

fn fatal(error: impl std::fmt::Display) -> Status {
    Status::unavailable(format!("raft does not run here: {error}"))
}
