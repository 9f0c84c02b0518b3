//! How this node reaches the others: gRPC, one connection each for replication, heartbeats and
//! snapshots, so that a large message never holds a heartbeat back. Each call has a deadline.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, future::BoxFuture, stream, stream::BoxStream};
use openraft::{
    BasicNode, OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};
use protocol::{
    MAX_MESSAGE_BYTES,
    v1::{RaftRequest, RaftResponse, raft_client::RaftClient},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;
use tonic::{Code, Status, transport::Channel};

use super::{Snapshot, TypeConfig, Vote, codec};

const SNAPSHOT_CHUNK_BYTES: usize = 1 << 20;

type RpcError = RPCError<TypeConfig>;
type StreamedAppends<'s> = BoxStream<'s, Result<StreamAppendResult<TypeConfig>, RpcError>>;

/// Makes clients for openraft.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) cluster_id: String,
    pub(crate) own_id: u64,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Peer {
        let channel = protocol::client::channel(&node.addr);
        if let Err(error) = &channel {
            tracing::error!(target, address = node.addr, %error, "a member's address is not valid");
        }
        let address = node.addr.clone();
        Peer {
            cluster_id: self.cluster_id.clone(),
            own_id: self.own_id,
            target,
            address,
            channel: channel.ok(),
            stale: Arc::default(),
        }
    }
}

/// One connection to one member.
#[derive(Debug)]
pub(crate) struct Peer {
    cluster_id: String,
    own_id: u64,
    target: u64,
    address: String,
    /// None when its address is not valid, which is as good as unreachable.
    channel: Option<Channel>,
    /// Set when a call had no answer in time. A member that came back under another IP answers on a new connection, which
    /// resolves its name anew; the old one would be waited for until its keep-alive fails.
    stale: Arc<AtomicBool>,
}

impl Peer {
    fn client(&mut self) -> Result<RaftClient<Channel>, RpcError> {
        if self.stale.swap(false, Ordering::Relaxed) {
            self.channel = protocol::client::channel(&self.address).ok();
        }
        let channel = self.channel.clone().ok_or_else(|| Unreachable::from_string("its address is not valid"))?;
        let client = RaftClient::new(channel);
        Ok(client.max_decoding_message_size(MAX_MESSAGE_BYTES).max_encoding_message_size(MAX_MESSAGE_BYTES))
    }

    fn request(&self, payload: Bytes) -> RaftRequest {
        RaftRequest { cluster_id: self.cluster_id.clone(), target: self.target, payload }
    }

    /// One request, one response, within the time openraft allows.
    async fn call<Q, A, Fut>(
        &mut self,
        action: RPCTypes,
        request: &Q,
        option: &RPCOption,
        send: impl FnOnce(RaftClient<Channel>, RaftRequest) -> Fut,
    ) -> Result<A, RpcError>
    where
        Q: Serialize,
        A: DeserializeOwned,
        Fut: Future<Output = Result<tonic::Response<RaftResponse>, Status>>,
    {
        let payload = codec::encode(request).map_err(|error| network_error(&error))?;
        let client = self.client()?;
        let deadline = option.soft_ttl();
        match timeout(deadline, send(client, self.request(payload.into()))).await {
            Ok(Ok(response)) => codec::decode(&response.into_inner().payload).map_err(|error| network_error(&error)),
            Ok(Err(status)) => Err(rpc_error(&status)),
            Err(_) => Err(self.timed_out(action, deadline)),
        }
    }

    fn timed_out(&self, action: RPCTypes, deadline: Duration) -> RpcError {
        self.stale.store(true, Ordering::Relaxed);
        self.timeout(action, deadline)
    }

    fn timeout(&self, action: RPCTypes, deadline: Duration) -> RpcError {
        Timeout { action, id: self.own_id, target: self.target, timeout: deadline }.into()
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        self.call(RPCTypes::AppendEntries, &request, &option, |mut client, request| async move {
            client.append(request).await
        })
        .await
    }

    /// Pipelined: requests go out while responses to earlier ones are awaited.
    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<StreamedAppends<'s>, RpcError>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + OptionalSend + Unpin + 'static,
    {
        Box::pin(async move {
            // openraft backs off inside its request stream, so the first request is drawn before the connection
            // is tried; without it a member that is down was tried eight thousand times a second.
            let Some(first) = input.next().await else {
                return Ok(stream::empty().boxed());
            };
            let input = stream::once(std::future::ready(first)).chain(input);
            let mut client = self.client()?;
            let idle_limit = option.soft_ttl();
            let unanswered = Arc::new(AtomicUsize::new(0));
            let (cluster_id, target) = (self.cluster_id.clone(), self.target);
            let counter = Arc::clone(&unanswered);
            let requests = input.filter_map(move |request| {
                counter.fetch_add(1, Ordering::Relaxed);
                let encoded = codec::encode(&request);
                if let Err(error) = &encoded {
                    tracing::error!(%error, "cannot encode log entries");
                }
                let cluster_id = cluster_id.clone();
                let request = encoded.ok().map(|payload| RaftRequest { cluster_id, target, payload: payload.into() });
                std::future::ready(request)
            });
            let opened = timeout(idle_limit, client.stream_append(requests)).await;
            let responses = match opened {
                Ok(Ok(response)) => response.into_inner(),
                Ok(Err(status)) => return Err(rpc_error(&status)),
                Err(_) => return Err(self.timed_out(RPCTypes::AppendEntries, idle_limit)),
            };
            let timed_out = self.timeout(RPCTypes::AppendEntries, idle_limit);
            let stale = Arc::clone(&self.stale);
            let answers = stream::unfold(Some(responses), move |responses| {
                let (unanswered, timed_out, stale) = (Arc::clone(&unanswered), timed_out.clone(), Arc::clone(&stale));
                async move {
                    let mut responses = responses?;
                    loop {
                        return match timeout(idle_limit, responses.next()).await {
                            // Silence is no fault while nothing is asked.
                            Err(_) if unanswered.load(Ordering::Relaxed) == 0 => continue,
                            Err(_) => {
                                stale.store(true, Ordering::Relaxed);
                                Some((Err(timed_out), None))
                            }
                            Ok(None) => None,
                            Ok(Some(Err(status))) => Some((Err(rpc_error(&status)), None)),
                            Ok(Some(Ok(response))) => {
                                unanswered.fetch_sub(1, Ordering::Relaxed);
                                match codec::decode::<StreamAppendResult<TypeConfig>>(&response.payload) {
                                    Ok(result) => {
                                        let more = result.is_ok().then_some(responses);
                                        Some((Ok(result), more))
                                    }
                                    Err(error) => Some((Err(network_error(&error)), None)),
                                }
                            }
                        };
                    }
                }
            });
            Ok(answers.boxed())
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.call(RPCTypes::Vote, &request, &option, |mut client, request| async move { client.vote(request).await })
            .await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.call(
            RPCTypes::Vote,
            &request,
            &option,
            |mut client, request| async move { client.pre_vote(request).await },
        )
        .await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let Snapshot { meta, snapshot: body } = snapshot;
        let head = codec::encode(&(vote, meta)).map_err(|error| StreamingError::from(network_error(&error)))?;
        let mut chunks = vec![self.request(head.into())];
        let starts = (0..body.len()).step_by(SNAPSHOT_CHUNK_BYTES);
        chunks.extend(starts.map(|start| {
            let end = body.len().min(start + SNAPSHOT_CHUNK_BYTES);
            self.request(body.slice(start..end))
        }));
        let mut client = self.client()?;
        let send = client.install_snapshot(stream::iter(chunks));
        tokio::select! {
            sent = timeout(option.soft_ttl(), send) => match sent {
                Ok(Ok(response)) => codec::decode(&response.into_inner().payload)
                    .map_err(|error| network_error(&error).into()),
                Ok(Err(status)) => Err(rpc_error(&status).into()),
                Err(_) => Err(self.timed_out(RPCTypes::InstallSnapshot, option.soft_ttl()).into()),
            },
            closed = cancel => Err(closed.into()),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        self.call(RPCTypes::TransferLeader, &request, &option, |mut client, request| async move {
            client.transfer_leader(request).await
        })
        .await
    }
}

fn network_error(error: &(impl Error + 'static)) -> RpcError {
    NetworkError::<TypeConfig>::new(error).into()
}

/// Unreachable makes openraft back off; so does a node that is not who we look for.
fn rpc_error(status: &Status) -> RpcError {
    match status.code() {
        Code::Unavailable | Code::FailedPrecondition | Code::Unimplemented => Unreachable::new(status).into(),
        _ => NetworkError::<TypeConfig>::new(status).into(),
    }
}
