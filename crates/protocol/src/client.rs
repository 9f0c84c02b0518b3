//! Finding the leader and following it.
//!
//! A client is given the addresses of some members. It asks the last known leader first; a node that
//! does not lead names the leader, and the client goes there. Between rounds it waits, so that an
//! election is met with patience and not with a storm.

use std::{collections::BTreeMap, future::Future, time::Duration};

use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout},
};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use crate::{CLUSTER_ID_METADATA, LEADER_METADATA, NODE_ID_METADATA};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const PAUSE_BETWEEN_ROUNDS: Duration = Duration::from_millis(150);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{address:?} is no address of the form HOST:PORT")]
    Address { address: String, source: tonic::transport::Error },
    #[error("no leader answered within {:.1} s at {addresses}; is the cluster up?", .waited.as_secs_f64())]
    NoLeader { waited: Duration, addresses: String, source: Box<Status> },
    /// The leader answered with an error that trying again does not mend.
    #[error("{}", .0.message())]
    Refused(Box<Status>),
}

/// A status that sends the caller to the leader, if one is known.
pub fn not_leader(leader_address: Option<&str>) -> Status {
    let mut status = Status::failed_precondition("this node does not lead");
    if let Some(address) = leader_address.and_then(|address| address.parse().ok()) {
        status.metadata_mut().insert(LEADER_METADATA, address);
    } else {
        status = Status::unavailable("there is no leader right now; an election is under way");
    }
    status
}

/// The leader's address, when the status names it.
pub fn leader_hint(status: &Status) -> Option<String> {
    Some(status.metadata().get(LEADER_METADATA)?.to_str().ok()?.to_owned())
}

/// The identity of a node that was told to take another: its cluster's name and its id there.
pub fn identity_hint(status: &Status) -> Option<(String, u64)> {
    let text = |key: &str| status.metadata().get(key)?.to_str().ok();
    Some((text(CLUSTER_ID_METADATA)?.to_owned(), text(NODE_ID_METADATA)?.parse().ok()?))
}

/// Opens a lazy connection to `HOST:PORT`; the first call connects.
pub fn channel(address: &str) -> Result<Channel, Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|source| Error::Address { address: address.to_owned(), source })?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(Duration::from_secs(10))
        .keep_alive_timeout(Duration::from_secs(5))
        .connect_lazy())
}

/// A client of whichever member leads.
#[derive(Debug)]
pub struct LeaderClient {
    addresses: Vec<String>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    leader: Option<String>,
    channels: BTreeMap<String, Channel>,
}

impl LeaderClient {
    /// `addresses` are `HOST:PORT` of members; one that answers is enough.
    pub fn new(addresses: Vec<String>) -> Self {
        Self { addresses, inner: Mutex::default() }
    }

    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// Runs `call` against the leader until it succeeds, is refused for good, or `deadline` has passed.
    ///
    /// A call whose connection broke may have been carried out; it is repeated, so it must be harmless
    /// to repeat. Each try is cut off after `deadline` as well.
    pub async fn call<T, Fut>(&self, deadline: Duration, call: impl Fn(Channel) -> Fut) -> Result<T, Error>
    where
        Fut: Future<Output = Result<T, Status>>,
    {
        let started = Instant::now();
        let mut last = Status::unavailable("no member was asked");
        loop {
            for address in self.candidates().await {
                let left = deadline.saturating_sub(started.elapsed());
                if left.is_zero() {
                    break;
                }
                let channel = self.channel(&address).await?;
                let answer = timeout(left, call(channel)).await;
                match answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time"))) {
                    Ok(value) => {
                        self.inner.lock().await.leader = Some(address);
                        return Ok(value);
                    }
                    Err(status) => {
                        let hint = leader_hint(&status);
                        let forgot = self.note_failure(&address, hint.clone()).await;
                        if !retryable(&status) {
                            return Err(Error::Refused(Box::new(status)));
                        }
                        last = status;
                        if hint.is_some() && forgot {
                            break; // start the next round at the leader
                        }
                    }
                }
            }
            if started.elapsed() + PAUSE_BETWEEN_ROUNDS >= deadline {
                let addresses = self.addresses.join(", ");
                return Err(Error::NoLeader { waited: started.elapsed(), addresses, source: Box::new(last) });
            }
            sleep(PAUSE_BETWEEN_ROUNDS).await;
        }
    }

    /// The known leader first, then the others.
    async fn candidates(&self) -> Vec<String> {
        let leader = self.inner.lock().await.leader.clone();
        let others = self.addresses.iter().filter(|address| Some(*address) != leader.as_ref()).cloned();
        leader.clone().into_iter().chain(others).collect()
    }

    async fn channel(&self, address: &str) -> Result<Channel, Error> {
        let mut inner = self.inner.lock().await;
        if let Some(channel) = inner.channels.get(address) {
            return Ok(channel.clone());
        }
        let channel = channel(address)?;
        inner.channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    /// Follows the hint if there is a new one; else forgets a leader that failed. True if the known leader changed.
    async fn note_failure(&self, address: &str, hint: Option<String>) -> bool {
        let mut inner = self.inner.lock().await;
        let before = inner.leader.clone();
        match hint {
            Some(hint) => inner.leader = Some(hint),
            None if before.as_deref() == Some(address) => inner.leader = None,
            None => {}
        }
        inner.leader != before
    }
}

/// Whether another try, maybe elsewhere, can help.
pub fn retryable(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Aborted => true,
        Code::FailedPrecondition => leader_hint(status).is_some(),
        // A connection that breaks in the middle of a call surfaces as Unknown or Internal from the transport.
        Code::Unknown => std::error::Error::source(status).is_some(),
        Code::Internal => std::error::Error::source(status).is_some() || status.message().contains("h2 protocol error"),
        _ => false,
    }
}
