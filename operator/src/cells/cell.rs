//! One tenant of one Orchestrator: questions to its leader, and what was seen of it last.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use protocol::{
    MAX_MESSAGE_BYTES,
    client::LeaderClient,
    v1::{self, scan_client::ScanClient},
};
use tokio::{sync::watch, time::Instant};
use tonic::{Code, Response, Status, transport::Channel};

/// Longer than an election. A reconciliation that waits in vain is tried again, later and later.
const DEADLINE: Duration = Duration::from_secs(8);
/// Who was silent a moment ago is given little time: a thousand rulesets must not wait in vain one after the other.
const SHORT_DEADLINE: Duration = Duration::from_millis(500);
const A_MOMENT: Duration = Duration::from_secs(10);
/// Rulesets asked for by one reconciliation serve all that come within this time: a thousand at once ask once a second.
const FRESH: Duration = Duration::from_secs(1);

/// An Orchestrator and the namespace that it is asked about, which is both its own and its tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CellKey {
    pub(crate) namespace: String,
    pub(crate) orchestrator: String,
}

impl fmt::Display for CellKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.orchestrator)
    }
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nobody answers, or there is no leader right now. Worth trying again.
    #[error("the Orchestrator does not answer")]
    Unreachable(#[source] protocol::client::Error),
    /// The leader says no, and trying the same again will not help.
    #[error("{message}")]
    Refused { code: Code, message: String },
}

impl Error {
    pub(crate) fn is(&self, wanted: Code) -> bool {
        matches!(self, Self::Refused { code, .. } if *code == wanted)
    }
}

/// What was seen last. Rows of hunts by ruleset.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    pub(crate) hunts: BTreeMap<String, Vec<Sighting>>,
    pub(crate) corpora: BTreeMap<String, v1::Corpus>,
}

/// One ruleset in one corpus.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sighting {
    pub(crate) hunt: v1::Hunt,
    /// About how long until nothing is owed.
    pub(crate) left: Option<Duration>,
}

#[derive(Debug)]
pub(crate) struct Cell {
    key: CellKey,
    client: LeaderClient,
    seen: watch::Sender<Option<Arc<Seen>>>,
    rulesets: Mutex<Option<(Instant, BTreeMap<String, v1::Ruleset>)>>,
    /// When it was asked in vain last; `None` if the last answer was one.
    silent_at: Mutex<Option<Instant>>,
    closed: watch::Sender<bool>,
}

impl Cell {
    pub(super) fn new(key: CellKey, addresses: Vec<String>) -> Self {
        let (seen, closed) = (watch::Sender::new(None), watch::Sender::new(false));
        let client = LeaderClient::new(addresses);
        Self { key, client, seen, rulesets: Mutex::default(), silent_at: Mutex::default(), closed }
    }

    pub(crate) fn key(&self) -> &CellKey {
        &self.key
    }

    pub(super) fn addresses(&self) -> &[String] {
        self.client.addresses()
    }

    pub(super) fn close(&self) {
        self.closed.send_replace(true);
    }

    pub(super) async fn until_closed(&self) {
        // The sender is ours, so that it cannot be gone.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// `None`: nothing yet, or the Orchestrator does not answer any more.
    pub(crate) fn seen(&self) -> Option<Arc<Seen>> {
        self.seen.borrow().clone()
    }

    pub(super) fn see(&self, seen: Option<Seen>) {
        self.seen.send_replace(seen.map(Arc::new));
    }

    fn wire_key(&self, name: &str) -> v1::Key {
        v1::Key { tenant: self.key.namespace.clone(), name: name.to_owned() }
    }

    /// A ruleset as the cluster has it, seen a moment ago at most.
    pub(crate) async fn ruleset(&self, name: &str) -> Result<Option<v1::Ruleset>, Error> {
        if let Some((at, rulesets)) = &*self.known_rulesets()
            && at.elapsed() < FRESH
        {
            return Ok(rulesets.get(name).cloned());
        }
        let request = v1::ListRulesetsRequest { tenant: self.key.namespace.clone() };
        let asked_at = Instant::now();
        let answer = self.ask(request, async |mut client, request| client.list_rulesets(request).await).await?;
        let named = answer.rulesets.into_iter().filter_map(|it| Some((it.key.as_ref()?.name.clone(), it)));
        let rulesets: BTreeMap<_, _> = named.collect();
        let found = rulesets.get(name).cloned();
        *self.known_rulesets() = Some((asked_at, rulesets));
        Ok(found)
    }

    fn known_rulesets(&self) -> std::sync::MutexGuard<'_, Option<(Instant, BTreeMap<String, v1::Ruleset>)>> {
        self.rulesets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) async fn put_ruleset(
        &self,
        name: &str,
        artifact: Vec<u8>,
        corpora: Vec<String>,
        priority: crd::PriorityClass,
    ) -> Result<v1::PutRulesetResponse, Error> {
        let priority = match priority {
            crd::PriorityClass::Sweep => v1::RulesetPriority::Sweep,
            crd::PriorityClass::Background => v1::RulesetPriority::Background,
            crd::PriorityClass::Urgent => v1::RulesetPriority::Urgent,
        };
        let request =
            v1::PutRulesetRequest { key: Some(self.wire_key(name)), artifact, corpora, priority: priority.into() };
        let answer = self.ask(request, async |mut client, request| client.put_ruleset(request).await).await;
        *self.known_rulesets() = None;
        answer
    }

    /// A ruleset that is not there is no error: nothing hunts with it.
    pub(crate) async fn set_ruleset_state(&self, name: &str, state: v1::RulesetState) -> Result<(), Error> {
        let request = v1::SetRulesetStateRequest { key: Some(self.wire_key(name)), state: state.into() };
        let answer = self.ask(request, async |mut client, request| client.set_ruleset_state(request).await).await;
        *self.known_rulesets() = None;
        match answer {
            Ok(v1::SetRulesetStateResponse {}) => Ok(()),
            Err(error) if error.is(Code::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn put_corpus(&self, mut request: v1::PutCorpusRequest) -> Result<v1::PutCorpusResponse, Error> {
        let name = request.key.take().map(|key| key.name).unwrap_or_default();
        request.key = Some(self.wire_key(&name));
        self.ask(request, async |mut client, request| client.put_corpus(request).await).await
    }

    /// A corpus that is not there is no error.
    pub(crate) async fn delete_corpus(&self, name: &str) -> Result<(), Error> {
        let request = v1::DeleteCorpusRequest { key: Some(self.wire_key(name)) };
        let answer = self.ask(request, async |mut client, request| client.delete_corpus(request).await).await;
        match answer {
            Ok(v1::DeleteCorpusResponse { .. }) => Ok(()),
            Err(error) if error.is(Code::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn corpora(&self) -> Result<BTreeMap<String, v1::Corpus>, Error> {
        let request = v1::ListCorporaRequest { tenant: self.key.namespace.clone() };
        let answer = self.ask(request, async |mut client, request| client.list_corpora(request).await).await?;
        let named = answer.corpora.into_iter().filter_map(|corpus| Some((corpus.key.as_ref()?.name.clone(), corpus)));
        Ok(named.collect())
    }

    pub(super) async fn watch_hunts(
        &self,
        interval: Duration,
    ) -> Result<tonic::Streaming<v1::ListHuntsResponse>, Error> {
        let request = v1::WatchHuntsRequest {
            tenant: self.key.namespace.clone(),
            interval_ms: u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
            include_superseded: false,
        };
        self.ask(request, async |mut client, request| client.watch_hunts(request).await).await
    }

    async fn ask<Request, Answer, Fut>(
        &self,
        request: Request,
        call: impl Fn(ScanClient<Channel>, Request) -> Fut,
    ) -> Result<Answer, Error>
    where
        Request: Clone,
        Fut: Future<Output = Result<Response<Answer>, Status>>,
    {
        let silent_at = *self.silent_at.lock().unwrap_or_else(PoisonError::into_inner);
        let was_silent = silent_at.is_some_and(|at| at.elapsed() < A_MOMENT);
        let deadline = if was_silent { SHORT_DEADLINE } else { DEADLINE };
        let answer = self.client.call(deadline, |channel| {
            let client = ScanClient::new(channel)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES);
            let answer = call(client, request.clone());
            async move { answer.await.map(Response::into_inner) }
        });
        let answer = answer.await;
        let is_silent = matches!(answer, Err(protocol::client::Error::NoLeader { .. }));
        *self.silent_at.lock().unwrap_or_else(PoisonError::into_inner) = is_silent.then(Instant::now);
        answer.map_err(|error| match error {
            protocol::client::Error::Refused(status) => {
                Error::Refused { code: status.code(), message: status.message().to_owned() }
            }
            other => Error::Unreachable(other),
        })
    }
}
