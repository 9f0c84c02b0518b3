//! Calls to the cluster, each with a deadline, each to whichever member leads.

use std::{collections::BTreeMap, future::Future, time::Duration};

use anyhow::{Context as _, Result, bail};
use protocol::{
    MAX_MESSAGE_BYTES,
    client::{LeaderClient, channel},
    v1::{self, cluster_client::ClusterClient, scan_client::ScanClient},
};
use store::Store;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Response, Status, Streaming, transport::Channel};
use types::{Name, Tenant};

/// Several elections long; a cluster that has no leader for that long has lost its majority.
const DEADLINE: Duration = Duration::from_secs(5);
/// A member that is up answers its status from memory.
const STATUS_DEADLINE: Duration = Duration::from_secs(2);
/// A watch goes on through elections and restarts of this length, as the cluster itself does.
const WATCH_PATIENCE: Duration = Duration::from_secs(60);
/// The leader repeats a watch at most this often.
const WATCH_INTERVAL_MS: u64 = 250;
/// A watch without any change is silent; after so long it is asked for again, as its connection may be dead.
const WATCH_SILENCE: Duration = Duration::from_secs(30);

/// A cluster as one tenant sees it.
#[derive(Debug)]
pub struct Cluster {
    leader: LeaderClient,
    tenant: Tenant,
}

impl Cluster {
    pub fn new(addresses: Vec<String>, tenant: Tenant) -> Self {
        Self { leader: LeaderClient::new(addresses), tenant }
    }

    pub fn addresses(&self) -> &[String] {
        self.leader.addresses()
    }

    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// A corpus or ruleset of the tenant.
    pub fn key(&self, name: &Name) -> v1::Key {
        v1::Key { tenant: self.tenant.to_string(), name: name.to_string() }
    }

    pub async fn put_corpus(&self, request: v1::PutCorpusRequest) -> Result<v1::PutCorpusResponse> {
        let what = format!("add corpus {}", request.key.as_ref().map_or("", |key| &key.name));
        self.ask(&what, request, async |mut client, request| client.put_corpus(request).await).await
    }

    pub async fn corpora(&self) -> Result<Vec<v1::Corpus>> {
        let request = v1::ListCorporaRequest { tenant: self.tenant.to_string() };
        let answer =
            self.ask("list corpora", request, async |mut client, request| client.list_corpora(request).await).await?;
        Ok(answer.corpora)
    }

    pub async fn put_ruleset(&self, request: v1::PutRulesetRequest) -> Result<v1::PutRulesetResponse> {
        self.ask("push the ruleset", request, async |mut client, request| client.put_ruleset(request).await).await
    }

    pub async fn rulesets(&self) -> Result<Vec<v1::Ruleset>> {
        let request = v1::ListRulesetsRequest { tenant: self.tenant.to_string() };
        let answer =
            self.ask("list rulesets", request, async |mut client, request| client.list_rulesets(request).await).await?;
        Ok(answer.rulesets)
    }

    pub async fn set_ruleset_state(&self, name: &Name, state: v1::RulesetState) -> Result<()> {
        let request = v1::SetRulesetStateRequest { key: Some(self.key(name)), state: state.into() };
        self.ask(&format!("change the state of ruleset {name}"), request, async |mut client, request| {
            client.set_ruleset_state(request).await
        })
        .await?;
        Ok(())
    }

    /// Hunts of current versions, or of all versions there ever were.
    pub async fn hunts(&self, include_superseded: bool) -> Result<Vec<v1::Hunt>> {
        let request = v1::ListHuntsRequest { tenant: self.tenant.to_string(), include_superseded };
        let answer =
            self.ask("list hunts", request, async |mut client, request| client.list_hunts(request).await).await?;
        Ok(answer.hunts)
    }

    /// Empty names select everything.
    pub async fn findings(&self, ruleset: String, corpus: String) -> Result<Streaming<v1::FindingsObject>> {
        let request = v1::ListFindingsRequest { tenant: self.tenant.to_string(), ruleset, corpus };
        self.ask("list findings", request, async |mut client, request| client.list_findings(request).await).await
    }

    /// Empty names select everything.
    pub async fn exceptions(&self, ruleset: String, corpus: String) -> Result<Streaming<v1::SegmentExceptions>> {
        let request = v1::ListExceptionsRequest { tenant: self.tenant.to_string(), ruleset, corpus };
        self.ask("list files without an answer", request, async |mut client, request| {
            client.list_exceptions(request).await
        })
        .await
    }

    pub fn watch_hunts(&self) -> HuntWatch<'_> {
        HuntWatch { cluster: self, stream: None }
    }

    async fn ask<Request, Answer, Fut>(
        &self,
        what: &str,
        request: Request,
        call: impl Fn(ScanClient<Channel>, Request) -> Fut,
    ) -> Result<Answer>
    where
        Request: Clone,
        Fut: Future<Output = Result<Response<Answer>, Status>>,
    {
        self.ask_within(DEADLINE, what, request, call).await
    }

    async fn ask_within<Request, Answer, Fut>(
        &self,
        deadline: Duration,
        what: &str,
        request: Request,
        call: impl Fn(ScanClient<Channel>, Request) -> Fut,
    ) -> Result<Answer>
    where
        Request: Clone,
        Fut: Future<Output = Result<Response<Answer>, Status>>,
    {
        let answer = self.leader.call(deadline, |channel| {
            let client = ScanClient::new(channel)
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES);
            let answer = call(client, request.clone());
            async move { answer.await.map(Response::into_inner) }
        });
        answer.await.with_context(|| format!("could not {what}"))
    }
}

/// Hunts again and again, through broken connections and elections.
#[derive(Debug)]
pub struct HuntWatch<'a> {
    cluster: &'a Cluster,
    stream: Option<Streaming<v1::ListHuntsResponse>>,
}

impl HuntWatch<'_> {
    /// The hunts after the next change.
    ///
    /// Safe to drop while it waits: at worst the next call connects again.
    pub async fn next(&mut self) -> Result<Vec<v1::Hunt>> {
        let started = Instant::now();
        loop {
            if let Some(stream) = &mut self.stream {
                match timeout(WATCH_SILENCE, stream.message()).await {
                    Ok(Ok(Some(answer))) => return Ok(answer.hunts),
                    // The connection broke, or another member leads now: ask anew.
                    Ok(Ok(None) | Err(_)) | Err(_) => self.stream = None,
                }
                sleep(Duration::from_millis(WATCH_INTERVAL_MS)).await;
            }
            let request = v1::WatchHuntsRequest {
                tenant: self.cluster.tenant.to_string(),
                interval_ms: WATCH_INTERVAL_MS,
                include_superseded: false,
            };
            let patience = WATCH_PATIENCE.saturating_sub(started.elapsed()).max(DEADLINE);
            let watch = self.cluster.ask_within(patience, "watch hunts", request, async |mut client, request| {
                client.watch_hunts(request).await
            });
            self.stream = Some(watch.await?);
        }
    }
}

/// What one member says about itself and the cluster, whoever leads.
pub async fn status_of(address: &str) -> Result<v1::StatusResponse> {
    let mut client = ClusterClient::new(channel(address)?);
    let answer = timeout(STATUS_DEADLINE, client.status(v1::StatusRequest { brief: false })).await;
    let Ok(answer) = answer else { bail!("no answer within {} s", STATUS_DEADLINE.as_secs()) };
    Ok(answer.with_context(|| format!("{address} did not answer"))?.into_inner())
}

/// Object storage by URL, each opened once.
#[derive(Debug, Default)]
pub struct Stores {
    open: BTreeMap<String, Store>,
}

impl Stores {
    pub fn open(&mut self, url: &str) -> Result<Store> {
        if let Some(store) = self.open.get(url) {
            return Ok(store.clone());
        }
        let store =
            Store::open(url).with_context(|| format!("cannot reach the cluster's object storage from here ({url})"))?;
        self.open.insert(url.to_owned(), store.clone());
        Ok(store)
    }
}
