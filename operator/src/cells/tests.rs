//! A cell and its feed against a leader that says what the test wants, over a real connection.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt as _, stream};
use protocol::v1::{self, scan_server};
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::timeout};
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

use super::{CellKey, Wakes, cells};

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[derive(Clone)]
struct Leader {
    hunts: watch::Sender<Vec<v1::Hunt>>,
    listings: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl scan_server::Scan for Leader {
    type ListSegmentsStream = Responses<v1::ListSegmentsResponse>;
    type WatchHuntsStream = Responses<v1::ListHuntsResponse>;
    type ListFindingsStream = Responses<v1::FindingsObject>;
    type ListExceptionsStream = Responses<v1::SegmentExceptions>;

    async fn put_corpus(&self, _: Request<v1::PutCorpusRequest>) -> Result<Response<v1::PutCorpusResponse>, Status> {
        Err(Status::invalid_argument("no such bucket"))
    }

    async fn delete_corpus(
        &self,
        _: Request<v1::DeleteCorpusRequest>,
    ) -> Result<Response<v1::DeleteCorpusResponse>, Status> {
        Err(Status::not_found("there is no such corpus"))
    }

    async fn list_corpora(
        &self,
        _: Request<v1::ListCorporaRequest>,
    ) -> Result<Response<v1::ListCorporaResponse>, Status> {
        let corpus = v1::Corpus { key: Some(key("incoming")), files: 7, ..v1::Corpus::default() };
        Ok(Response::new(v1::ListCorporaResponse { corpora: vec![corpus] }))
    }

    async fn list_segments(
        &self,
        _: Request<v1::ListSegmentsRequest>,
    ) -> Result<Response<Self::ListSegmentsStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn put_ruleset(
        &self,
        request: Request<v1::PutRulesetRequest>,
    ) -> Result<Response<v1::PutRulesetResponse>, Status> {
        assert_eq!(request.into_inner().key, Some(key("web")), "the tenant is the namespace");
        Ok(Response::new(v1::PutRulesetResponse { created: true, ..v1::PutRulesetResponse::default() }))
    }

    async fn list_rulesets(
        &self,
        _: Request<v1::ListRulesetsRequest>,
    ) -> Result<Response<v1::ListRulesetsResponse>, Status> {
        self.listings.fetch_add(1, Ordering::SeqCst);
        let ruleset = v1::Ruleset { key: Some(key("web")), id: 3, ..v1::Ruleset::default() };
        Ok(Response::new(v1::ListRulesetsResponse { rulesets: vec![ruleset] }))
    }

    async fn set_ruleset_state(
        &self,
        _: Request<v1::SetRulesetStateRequest>,
    ) -> Result<Response<v1::SetRulesetStateResponse>, Status> {
        Err(Status::not_found("there is no such ruleset"))
    }

    async fn list_hunts(&self, _: Request<v1::ListHuntsRequest>) -> Result<Response<v1::ListHuntsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn watch_hunts(&self, _: Request<v1::WatchHuntsRequest>) -> Result<Response<Self::WatchHuntsStream>, Status> {
        let told = stream::unfold((self.hunts.subscribe(), true), |(mut hunts, first)| async move {
            if !first {
                hunts.changed().await.ok()?;
            }
            let answer = v1::ListHuntsResponse { hunts: hunts.borrow_and_update().clone(), applied_index: 1 };
            Some((Ok(answer), (hunts, false)))
        });
        Ok(Response::new(told.boxed()))
    }

    async fn list_findings(
        &self,
        _: Request<v1::ListFindingsRequest>,
    ) -> Result<Response<Self::ListFindingsStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_exceptions(
        &self,
        _: Request<v1::ListExceptionsRequest>,
    ) -> Result<Response<Self::ListExceptionsStream>, Status> {
        Err(Status::unimplemented(""))
    }
}

fn key(name: &str) -> v1::Key {
    v1::Key { tenant: "team".to_owned(), name: name.to_owned() }
}

fn hunt(ruleset: &str, pending: u64) -> v1::Hunt {
    let state = if pending == 0 { v1::HuntState::CaughtUp } else { v1::HuntState::Running };
    v1::Hunt {
        ruleset: Some(key(ruleset)),
        stored_files: 10,
        pending_files: pending,
        state: state.into(),
        ..v1::Hunt::default()
    }
}

async fn leader(tasks: &mut JoinSet<()>) -> (Leader, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let leader = Leader { hunts: watch::Sender::new(Vec::new()), listings: Arc::default() };
    let service = scan_server::ScanServer::new(leader.clone());
    tasks.spawn(async move {
        let served = tonic::transport::Server::builder().add_service(service);
        served.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap();
    });
    (leader, address)
}

fn cell_key() -> CellKey {
    CellKey { namespace: "team".to_owned(), orchestrator: "main".to_owned() }
}

async fn within<T>(what: &str, waited: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), waited).await.unwrap_or_else(|_| panic!("{what} within 30 s"))
}

#[tokio::test]
async fn whose_numbers_change_is_woken_and_sees_them() {
    let mut tasks = JoinSet::new();
    let (leader, address) = leader(&mut tasks).await;
    let (cells, feeds, mut wakes) = cells();
    tasks.spawn(feeds.run());
    let cell = cells.cell(&cell_key(), vec![address]);
    let corpus = within("the corpus is told", wakes.corpora.recv()).await.unwrap();
    assert_eq!((corpus.name.as_str(), corpus.namespace.as_deref()), ("incoming", Some("team")));

    leader.hunts.send_replace(vec![hunt("web", 4)]);
    assert_eq!(within("the first hunt is told", wakes.rulesets.recv()).await.unwrap().name, "web");
    leader.hunts.send_replace(vec![hunt("web", 4), hunt("other", 1)]);
    assert_eq!(within("another one is told", wakes.rulesets.recv()).await.unwrap().name, "other");
    leader.hunts.send_replace(vec![hunt("web", 0), hunt("other", 1)]);
    assert_eq!(within("its end is told", wakes.rulesets.recv()).await.unwrap().name, "web");
    let seen = cell.seen().unwrap();
    assert_eq!((seen.hunts["web"][0].hunt.pending_files, seen.corpora["incoming"].files), (0, 7));

    cells.forget(&cell_key());
    within("what was seen is forgotten", async {
        while cell.seen().is_some() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn many_who_ask_at_once_ask_once_and_a_push_is_seen() {
    let mut tasks = JoinSet::new();
    let (leader, address) = leader(&mut tasks).await;
    let (cells, _feeds, Wakes { .. }) = cells();
    let cell = cells.cell(&cell_key(), vec![address]);
    for _ in 0..100 {
        assert_eq!(cell.ruleset("web").await.unwrap().unwrap().id, 3);
        assert_eq!(cell.ruleset("none").await.unwrap(), None);
    }
    assert!(leader.listings.load(Ordering::SeqCst) <= 2, "a second may have passed");
    let before = leader.listings.load(Ordering::SeqCst);
    cell.put_ruleset("web", Vec::new(), Vec::new(), crd::PriorityClass::Sweep).await.unwrap();
    cell.ruleset("web").await.unwrap();
    assert_eq!(leader.listings.load(Ordering::SeqCst), before + 1);
}

#[tokio::test]
async fn what_is_not_there_need_not_be_taken_away_and_a_refusal_is_told() {
    let mut tasks = JoinSet::new();
    let (_leader, address) = leader(&mut tasks).await;
    let (cells, _feeds, Wakes { .. }) = cells();
    let cell = cells.cell(&cell_key(), vec![address]);
    cell.set_ruleset_state("gone", v1::RulesetState::Retired).await.unwrap();
    cell.delete_corpus("gone").await.unwrap();
    let request = v1::PutCorpusRequest { key: Some(key("in")), ..v1::PutCorpusRequest::default() };
    let refused = cell.put_corpus(request).await.unwrap_err();
    assert!(matches!(&refused, super::Error::Refused { message, .. } if message == "no such bucket"), "{refused:?}");
}
