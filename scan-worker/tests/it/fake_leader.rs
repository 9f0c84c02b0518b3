//! A leader that does what the test tells it, and remembers what it heard.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::Stream;
use protocol::v1::{
    self, LeaderMessage, leader_message as to_worker, scan_server, worker_message as from_worker, worker_server,
};
use tokio::{net::TcpListener, sync::mpsc, time::Instant};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

#[derive(Clone)]
pub(crate) struct FakeLeader {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(crate) struct State {
    storage_url: String,
    last_index: u64,
    credits: u32,
    to_grant: VecDeque<v1::Grant>,
    outbox: Option<mpsc::Sender<Result<LeaderMessage, Status>>>,
    /// Answers are kept back until the next stream.
    pub(crate) mute: bool,
    /// Another node leads.
    pub(crate) leads_elsewhere: Option<SocketAddr>,
    pub(crate) hellos: Vec<v1::Hello>,
    pub(crate) granted: Vec<v1::LeaseId>,
    /// By request; a repeat must be the same.
    pub(crate) settled: BTreeMap<u64, v1::Settle>,
    pub(crate) repeats: usize,
    pub(crate) segments: Vec<v1::Segment>,
    pub(crate) gone: Vec<v1::SegmentFiles>,
    pub(crate) listings: Vec<v1::SettleListing>,
    pub(crate) goodbyes: usize,
    pub(crate) heartbeats: usize,
}

impl FakeLeader {
    pub(crate) async fn start(storage_url: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { storage_url, last_index: 100, ..State::default() }));
        let leader = Self { address, state };
        let server = tonic::transport::Server::builder()
            .add_service(worker_server::WorkerServer::new(leader.clone()))
            .add_service(scan_server::ScanServer::new(leader.clone()));
        let serving = server.serve_with_incoming(TcpListenerStream::new(listener));
        // Ends with the test's runtime.
        #[expect(clippy::disallowed_methods, reason = "a test's server has nobody to join it")]
        tokio::spawn(serving);
        leader
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Grants a job as soon as the worker has asked for one.
    pub(crate) fn grant(&self, job: v1::grant::Job) -> v1::LeaseId {
        let mut state = self.state();
        state.last_index += 1;
        let lease = v1::LeaseId { index: state.last_index, slot: 0 };
        state.to_grant.push_back(v1::Grant { lease: Some(lease), attempt: 1, job: Some(job) });
        state.send_grants();
        lease
    }

    /// Waits until the state is as wanted; panics after half a minute.
    pub(crate) async fn until<T>(&self, what: &str, mut look: impl FnMut(&State) -> Option<T>) -> T {
        until(what, || look(&self.state())).await
    }

    pub(crate) async fn settled(&self, lease: v1::LeaseId) -> v1::Settle {
        self.settled_within(lease, DEADLINE_S).await
    }

    pub(crate) async fn settled_within(&self, lease: v1::LeaseId, seconds: u64) -> v1::Settle {
        let settled = || self.state().settled.values().find(|settle| settle.lease == Some(lease)).cloned();
        until_within("a settlement", seconds, settled).await
    }

    pub(crate) async fn listed(&self, lease: v1::LeaseId) -> v1::SettleListing {
        self.until("the end of a listing", |state| {
            state.listings.iter().find(|settle| settle.lease == Some(lease)).cloned()
        })
        .await
    }

    /// Cuts the worker's stream; its session lives on.
    pub(crate) fn cut(&self) {
        self.state().outbox = None;
    }

    pub(crate) fn end_session(&self) {
        let mut state = self.state();
        state.send(to_worker::Message::SessionEnded(v1::SessionEnded {}));
        state.to_grant.clear();
        state.credits = 0;
        state.last_index += 1;
    }
}

const DEADLINE_S: u64 = 30;

/// Waits for a condition with a deadline.
pub(crate) async fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_within(what, DEADLINE_S, look).await
}

async fn until_within<T>(what: &str, seconds: u64, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl State {
    fn send(&self, message: to_worker::Message) {
        if let Some(outbox) = &self.outbox {
            outbox.try_send(Ok(LeaderMessage { message: Some(message) })).unwrap();
        }
    }

    fn send_grants(&mut self) {
        while self.credits > 0 && self.outbox.is_some() {
            let Some(grant) = self.to_grant.pop_front() else { return };
            self.credits -= 1;
            self.granted.extend(grant.lease);
            self.send(to_worker::Message::Grant(grant));
        }
    }

    fn answer(&self, request: u64) {
        if !self.mute {
            self.send(to_worker::Message::Answer(v1::Answer { request, refusal: String::new() }));
        }
    }

    fn hear(&mut self, message: from_worker::Message) {
        match message {
            from_worker::Message::Hello(_) => panic!("a second hello"),
            from_worker::Message::Ask(ask) => self.credits += ask.jobs,
            from_worker::Message::Settle(settle) => {
                self.credits += settle.ask;
                let request = settle.request;
                if let Some(before) = self.settled.insert(request, settle.clone()) {
                    assert_eq!(before, settle, "a repeat must be the same");
                    self.repeats += 1;
                }
                self.answer(request);
            }
            from_worker::Message::AppendSegments(append) => {
                for mut segment in append.segments {
                    segment.ordinal = u32::try_from(self.segments.len()).unwrap();
                    self.segments.push(segment);
                }
                self.gone.extend(append.gone);
                self.answer(append.request);
            }
            from_worker::Message::SettleListing(settle) => {
                self.credits += settle.ask;
                let request = settle.request;
                self.listings.push(settle);
                self.answer(request);
            }
            from_worker::Message::Heartbeat(_) => self.heartbeats += 1,
            from_worker::Message::Goodbye(_) => {
                self.goodbyes += 1;
                self.outbox = None;
            }
        }
        self.send_grants();
    }
}

type Messages = Pin<Box<dyn Stream<Item = Result<LeaderMessage, Status>> + Send>>;

#[tonic::async_trait]
impl worker_server::Worker for FakeLeader {
    type WorkStream = Messages;

    async fn work(&self, request: Request<Streaming<v1::WorkerMessage>>) -> Result<Response<Self::WorkStream>, Status> {
        if let Some(elsewhere) = self.state().leads_elsewhere {
            return Err(protocol::client::not_leader(Some(&elsewhere.to_string())));
        }
        let mut messages = request.into_inner();
        let first = messages.message().await?.and_then(|first| first.message);
        let Some(from_worker::Message::Hello(hello)) = first else { return Err(Status::invalid_argument("no hello")) };
        let (outbox, answers) = mpsc::channel(1000);
        {
            let mut state = self.state();
            let session = hello.resume.unwrap_or(v1::SessionId { index: state.last_index, slot: 0 });
            state.hellos.push(hello);
            state.outbox = Some(outbox.clone());
            state.credits = 0;
            state.mute = false;
            let storage_url = state.storage_url.clone();
            state.send(to_worker::Message::Welcome(v1::Welcome {
                session: Some(session),
                heartbeat_ms: 50,
                session_ttl_ms: 1000,
                storage_url,
            }));
        }
        let leader = self.clone();
        #[expect(clippy::disallowed_methods, reason = "a test's server has nobody to join it")]
        tokio::spawn(async move {
            while let Ok(Some(v1::WorkerMessage { message: Some(message) })) = messages.message().await {
                let mut state = leader.state();
                if !state.outbox.as_ref().is_some_and(|current| current.same_channel(&outbox)) {
                    return; // cut
                }
                state.hear(message);
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }
}

type Pages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl scan_server::Scan for FakeLeader {
    type ListSegmentsStream = Pages<v1::ListSegmentsResponse>;
    type WatchHuntsStream = Pages<v1::ListHuntsResponse>;
    type ListFindingsStream = Pages<v1::FindingsObject>;
    type ListExceptionsStream = Pages<v1::SegmentExceptions>;

    async fn list_segments(
        &self,
        request: Request<v1::ListSegmentsRequest>,
    ) -> Result<Response<Self::ListSegmentsStream>, Status> {
        let from = request.into_inner().from_ordinal as usize;
        let state = self.state();
        let page = v1::ListSegmentsResponse { segments: state.segments[from..].to_vec(), gone: state.gone.clone() };
        Ok(Response::new(Box::pin(futures::stream::iter([Ok(page)]))))
    }

    async fn watch_hunts(&self, _: Request<v1::WatchHuntsRequest>) -> Result<Response<Self::WatchHuntsStream>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn list_findings(
        &self,
        _: Request<v1::ListFindingsRequest>,
    ) -> Result<Response<Self::ListFindingsStream>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn list_exceptions(
        &self,
        _: Request<v1::ListExceptionsRequest>,
    ) -> Result<Response<Self::ListExceptionsStream>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn put_corpus(&self, _: Request<v1::PutCorpusRequest>) -> Result<Response<v1::PutCorpusResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn list_corpora(
        &self,
        _: Request<v1::ListCorporaRequest>,
    ) -> Result<Response<v1::ListCorporaResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn put_ruleset(&self, _: Request<v1::PutRulesetRequest>) -> Result<Response<v1::PutRulesetResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn list_rulesets(
        &self,
        _: Request<v1::ListRulesetsRequest>,
    ) -> Result<Response<v1::ListRulesetsResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn delete_corpus(
        &self,
        _: Request<v1::DeleteCorpusRequest>,
    ) -> Result<Response<v1::DeleteCorpusResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn set_ruleset_state(
        &self,
        _: Request<v1::SetRulesetStateRequest>,
    ) -> Result<Response<v1::SetRulesetStateResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }

    async fn list_hunts(&self, _: Request<v1::ListHuntsRequest>) -> Result<Response<v1::ListHuntsResponse>, Status> {
        Err(Status::unimplemented("not in this test"))
    }
}
