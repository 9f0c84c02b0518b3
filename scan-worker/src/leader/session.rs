use std::{
    collections::{BTreeMap, VecDeque},
    ops::ControlFlow,
    time::Duration,
};

use protocol::v1::{self, WorkerMessage, leader_message, worker_message::Message};
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tracing::{debug, info, warn};
use types::LeaseId;

use crate::metrics::Metrics;

use super::{
    connect::{Stream, connect},
    ledger::{Ledger, Request},
};

/// Between rounds over all addresses: an election takes a few hundred milliseconds.
const PAUSE_BETWEEN_ROUNDS: Duration = Duration::from_millis(200);
/// A stream that takes no message for so long is broken.
const SEND_WITHIN: Duration = Duration::from_secs(10);
/// How long the leader may take over a goodbye.
const GOODBYE_WITHIN: Duration = Duration::from_secs(2);
/// Orders of all jobs: each waits for its answer, so there are never more than jobs, and a listing's few.
const ORDERS: usize = 64;

#[derive(Clone, Debug)]
pub struct Config {
    /// Members, `HOST:PORT`; any of them tells who leads.
    pub addresses: Vec<String>,
    pub worker: String,
    /// Jobs in flight.
    pub capacity: u32,
    pub metrics: Metrics,
}

/// What jobs have to know.
#[derive(Debug)]
pub enum Event {
    /// A new session, and where its objects are.
    Opened {
        storage_url: String,
    },
    Granted(Box<v1::Grant>),
    /// Whatever is held belongs to others now.
    Ended,
}

/// What became of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answered {
    Accepted,
    /// The log refused it: it was applied before, or the lease is lost. Either way the job is over.
    Refused(String),
    /// The session ended first.
    SessionEnded,
}

#[derive(Debug)]
enum Order {
    Request(Request, oneshot::Sender<Answered>),
    Drain,
    Goodbye(oneshot::Sender<()>),
}

/// Talks to the leader through the session.
#[derive(Clone, Debug)]
pub struct Handle {
    orders: mpsc::Sender<Order>,
}

impl Handle {
    pub async fn settle(&self, lease: LeaseId, results: Vec<v1::RulesetResult>) -> Answered {
        self.request(Request::Settle { lease, results }).await
    }

    pub async fn append(&self, lease: LeaseId, segments: Vec<v1::Segment>, gone: Vec<v1::SegmentFiles>) -> Answered {
        self.request(Request::Append { lease, segments, gone }).await
    }

    pub async fn settle_listing(&self, lease: LeaseId, result: v1::settle_listing::Result) -> Answered {
        self.request(Request::SettleListing { lease, result }).await
    }

    /// Takes no more jobs from now on.
    pub async fn drain(&self) {
        let _ = self.orders.send(Order::Drain).await;
    }

    /// Ends the session; what is still held is given back. Returns when the leader has heard it, or should have.
    pub async fn goodbye(&self) {
        let (done, heard) = oneshot::channel();
        if self.orders.send(Order::Goodbye(done)).await.is_ok() {
            let _ = heard.await;
        }
    }

    async fn request(&self, request: Request) -> Answered {
        let (answer, answered) = oneshot::channel();
        // A session that is gone has said goodbye, and that gave everything back.
        if self.orders.send(Order::Request(request, answer)).await.is_err() {
            return Answered::SessionEnded;
        }
        answered.await.unwrap_or(Answered::SessionEnded)
    }
}

/// The task that owns the stream.
#[derive(Debug)]
pub struct Session {
    addresses: Vec<String>,
    leader: Option<String>,
    ledger: Ledger,
    waiting: BTreeMap<u64, oneshot::Sender<Answered>>,
    orders: mpsc::Receiver<Order>,
    events: mpsc::Sender<Event>,
    metrics: Metrics,
}

/// Why a stream is left.
enum Left {
    Broken(String),
    SessionEnded,
    Goodbye(oneshot::Sender<()>),
}

impl Session {
    /// Events are as many as jobs in flight, and two for the session.
    pub fn new(config: Config) -> (Self, Handle, mpsc::Receiver<Event>) {
        let Config { addresses, worker, capacity, metrics } = config;
        let (order_tx, orders) = mpsc::channel(ORDERS);
        let (events, event_rx) = mpsc::channel(capacity as usize + 2);
        let ledger = Ledger::new(worker, capacity);
        let session = Self { addresses, leader: None, ledger, waiting: BTreeMap::new(), orders, events, metrics };
        (session, Handle { orders: order_tx }, event_rx)
    }

    /// Runs until the goodbye, or until nobody is interested any more.
    pub async fn run(mut self) {
        loop {
            let stream = match self.connect().await {
                ControlFlow::Continue(stream) => stream,
                ControlFlow::Break(()) => return,
            };
            self.metrics.is_connected(true);
            let left = self.serve(stream).await;
            self.metrics.is_connected(false);
            match left {
                Left::Broken(reason) => {
                    warn!(reason, "lost the leader; jobs go on while looking for it");
                    // A leader that breaks every stream at once is not helped by the next one at once.
                    if self.pause().await.is_break() {
                        return;
                    }
                }
                Left::SessionEnded => {
                    warn!("the leader ended the session; its jobs are dropped and a new one is opened");
                    self.end_session().await;
                }
                Left::Goodbye(heard) => {
                    let _ = heard.send(());
                    return;
                }
            }
        }
    }

    /// Goes round the members until one leads. A goodbye ends the search.
    async fn connect(&mut self) -> ControlFlow<(), Stream> {
        let mut complained = false;
        loop {
            let mut candidates: VecDeque<String> = self.leader.take().into_iter().collect();
            candidates.extend(self.addresses.iter().cloned());
            let mut hints = 0;
            let mut last_error = None;
            while let Some(address) = candidates.pop_front() {
                match connect(&address, self.ledger.hello()).await {
                    Ok(stream) => {
                        info!(leader = address, "connected");
                        self.leader = Some(address);
                        return ControlFlow::Continue(stream);
                    }
                    Err(error) => {
                        debug!(address, %error, "not the leader");
                        // Two nodes that name each other must not keep us from the third.
                        if let Some(hint) = error.leader_hint().filter(|_| hints < 2) {
                            hints += 1;
                            candidates.push_front(hint);
                        }
                        last_error = Some(error);
                    }
                }
            }
            if let (false, Some(error)) = (complained, last_error) {
                complained = true;
                warn!(addresses = self.addresses.join(","), %error, "found no leader; trying on");
            }
            self.pause().await?;
        }
    }

    /// Waits for the next round; orders are taken meanwhile, so that jobs do not stand still.
    async fn pause(&mut self) -> ControlFlow<()> {
        let pause = sleep(PAUSE_BETWEEN_ROUNDS);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return ControlFlow::Continue(()),
                order = self.orders.recv() => match order {
                    Some(Order::Request(request, answer)) => {
                        let (number, _) = self.ledger.request(request);
                        self.waiting.insert(number, answer);
                    }
                    Some(Order::Drain) => self.ledger.drain(),
                    Some(Order::Goodbye(heard)) => {
                        let _ = heard.send(());
                        return ControlFlow::Break(());
                    }
                    None => return ControlFlow::Break(()),
                },
            }
        }
    }

    async fn serve(&mut self, stream: Stream) -> Left {
        let Stream { welcome, outbox, mut inbox } = stream;
        let v1::Welcome { session, heartbeat_ms, session_ttl_ms: _, storage_url } = welcome;
        let session = session.expect("checked by connect").into();
        let (is_new, messages) = self.ledger.welcome(session);
        if is_new {
            self.drop_waiting();
            info!(%session, storage_url, "session opened");
            let _ = self.events.send(Event::Opened { storage_url }).await;
        }
        for message in messages {
            if let Err(left) = send(&outbox, message).await {
                return left;
            }
        }
        let mut heartbeat = interval(Duration::from_millis(heartbeat_ms.max(10)));
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let sent = tokio::select! {
                message = inbox.message() => match message {
                    Ok(Some(message)) => match self.take(message).await {
                        ControlFlow::Continue(()) => Ok(()),
                        ControlFlow::Break(left) => Err(left),
                    },
                    Ok(None) => Err(Left::Broken("the leader closed the stream".to_owned())),
                    Err(status) => {
                        if let Some(hint) = protocol::client::leader_hint(&status) {
                            self.leader = Some(hint);
                        }
                        Err(Left::Broken(status.message().to_owned()))
                    }
                },
                _ = heartbeat.tick() => send(&outbox, Message::Heartbeat(v1::Heartbeat {})).await,
                order = self.orders.recv() => match order {
                    Some(Order::Request(request, answer)) => {
                        let (number, message) = self.ledger.request(request);
                        self.waiting.insert(number, answer);
                        send(&outbox, message).await
                    }
                    Some(Order::Drain) => {
                        self.ledger.drain();
                        Ok(())
                    }
                    Some(Order::Goodbye(heard)) => {
                        say_goodbye(outbox, inbox).await;
                        return Left::Goodbye(heard);
                    }
                    None => Err(Left::Goodbye(oneshot::channel().0)),
                },
            };
            if let Err(left) = sent {
                return left;
            }
        }
    }

    async fn take(&mut self, message: v1::LeaderMessage) -> ControlFlow<Left> {
        match message.message {
            Some(leader_message::Message::Grant(grant)) => self.take_grant(grant).await,
            Some(leader_message::Message::Answer(v1::Answer { request, refusal })) => {
                if self.ledger.answered(request)
                    && let Some(waiting) = self.waiting.remove(&request)
                {
                    let answered = if refusal.is_empty() { Answered::Accepted } else { Answered::Refused(refusal) };
                    let _ = waiting.send(answered);
                }
            }
            Some(leader_message::Message::SessionEnded(_)) => return ControlFlow::Break(Left::SessionEnded),
            Some(leader_message::Message::Welcome(_)) | None => debug!("a message without meaning here"),
        }
        ControlFlow::Continue(())
    }

    async fn take_grant(&mut self, grant: v1::Grant) {
        let Some(lease) = grant.lease else { return warn!("a grant without a lease") };
        if self.ledger.granted(lease.into()) {
            let _ = self.events.send(Event::Granted(Box::new(grant))).await;
        }
    }

    async fn end_session(&mut self) {
        self.ledger.session_ended();
        self.drop_waiting();
        let _ = self.events.send(Event::Ended).await;
    }

    fn drop_waiting(&mut self) {
        for (_, waiting) in std::mem::take(&mut self.waiting) {
            let _ = waiting.send(Answered::SessionEnded);
        }
    }
}

async fn send(outbox: &mpsc::Sender<WorkerMessage>, message: Message) -> Result<(), Left> {
    match timeout(SEND_WITHIN, outbox.send(WorkerMessage { message: Some(message) })).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Left::Broken("the stream is closed".to_owned())),
        Err(_) => Err(Left::Broken(format!("the leader took no message for {SEND_WITHIN:?}"))),
    }
}

/// Says it, closes this side, and waits for the leader to close the other.
async fn say_goodbye(outbox: mpsc::Sender<WorkerMessage>, mut inbox: tonic::Streaming<v1::LeaderMessage>) {
    if send(&outbox, Message::Goodbye(v1::Goodbye {})).await.is_ok() {
        drop(outbox);
        let closed = async { while let Ok(Some(_)) = inbox.message().await {} };
        if timeout(GOODBYE_WITHIN, closed).await.is_err() {
            debug!("the leader did not close the stream after the goodbye");
        }
    }
}
