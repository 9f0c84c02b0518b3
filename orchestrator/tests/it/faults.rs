//! Members and workers that die, stall and come back while jobs run.

use std::sync::{Arc, Mutex};

use protocol::v1;
use rustix::process::Signal;

use crate::{
    cluster::{Cluster, eventually},
    worker::{Account, FakeWorker, Script},
};

pub(crate) const SEGMENTS: u32 = 600;
const FILES: u32 = 10;

pub(crate) fn script(cluster: &Cluster, name: &str, account: &Arc<Mutex<Account>>) -> Script {
    Script {
        name: name.to_owned(),
        members: cluster.addresses(),
        segments: SEGMENTS,
        files: FILES,
        account: Arc::clone(account),
    }
}

pub(crate) fn settled(account: &Arc<Mutex<Account>>) -> usize {
    account.lock().unwrap().accepted.len()
}

/// The receipt adds up, each segment was settled once, and nobody heard twice that he had settled it.
pub(crate) async fn check_complete(cluster: &Cluster, account: &Arc<Mutex<Account>>, rulesets: u32) {
    let hunts = eventually("every hunt has caught up", async || {
        let hunts = cluster.hunts().await;
        let done = hunts.iter().all(|hunt| hunt.state() == v1::HuntState::CaughtUp);
        (done && hunts.len() == rulesets as usize).then_some(hunts)
    })
    .await;
    for hunt in hunts {
        let outcomes = hunt.outcomes.unwrap();
        let files = u64::from(SEGMENTS * FILES);
        assert_eq!(hunt.stored_files, files);
        assert_eq!(hunt.pending_files, 0);
        // The fake worker reports one match and one time-out per segment; a segment settled twice would show.
        let segments = u64::from(SEGMENTS);
        assert_eq!((outcomes.matched, outcomes.timed_out), (segments, segments));
        assert_eq!(outcomes.clean, files - 2 * segments);
        assert_eq!(hunt.findings, 2 * segments);
    }
    let twice: Vec<_> = account.lock().unwrap().accepted.iter().filter(|(_, n)| **n > 1).map(|(k, _)| *k).collect();
    assert_eq!(twice, []);
}

#[tokio::test]
async fn the_leader_killed_in_the_middle_of_a_sweep_loses_and_doubles_nothing() {
    let mut cluster = Cluster::start(3).await;
    cluster.put_corpus("files").await;
    cluster.put_ruleset("one", "rule one {condition: true}").await;
    cluster.put_ruleset("two", "rule two {condition: true}").await;
    let account = Arc::default();
    let _workers: Vec<_> =
        ["a", "b", "c"].into_iter().map(|name| FakeWorker::start(script(&cluster, name, &account))).collect();
    eventually("the sweep is under way", async || (settled(&account) > 50).then_some(())).await;

    let leader = cluster.wait_for_leader().await;
    cluster.kill(leader);

    check_complete(&cluster, &account, 2).await;
    cluster.restart(leader);
    cluster.wait_for_voters(3).await;
    cluster.check_replicas_agree().await;
}

#[tokio::test]
async fn a_leader_killed_and_restarted_at_once_loses_and_doubles_nothing() {
    let mut cluster = Cluster::start(3).await;
    cluster.put_corpus("files").await;
    cluster.put_ruleset("one", "rule one {condition: true}").await;
    let account = Arc::default();
    let _workers: Vec<_> =
        ["a", "b"].into_iter().map(|name| FakeWorker::start(script(&cluster, name, &account))).collect();
    eventually("the sweep is under way", async || (settled(&account) > 30).then_some(())).await;
    let leader = cluster.wait_for_leader().await;
    let term = cluster.told(leader).await.term;

    cluster.kill(leader);
    cluster.restart(leader);

    check_complete(&cluster, &account, 1).await;
    let now = cluster.wait_for_leader().await;
    assert!(cluster.told(now).await.term > term, "whoever leads now was elected");
    cluster.check_replicas_agree().await;
}

#[tokio::test]
async fn a_single_orchestrator_killed_in_the_middle_of_a_sweep_goes_on_where_it_was() {
    let mut cluster = Cluster::start(1).await;
    cluster.put_corpus("files").await;
    cluster.put_ruleset("one", "rule one {condition: true}").await;
    let account = Arc::default();
    let _worker = FakeWorker::start(script(&cluster, "a", &account));
    eventually("the sweep is under way", async || (settled(&account) > 30).then_some(())).await;

    cluster.kill(0);
    cluster.restart(0);

    check_complete(&cluster, &account, 1).await;
}

#[tokio::test]
async fn a_follower_killed_and_restarted_catches_up() {
    let mut cluster = Cluster::start(3).await;
    cluster.put_corpus("files").await;
    cluster.put_ruleset("one", "rule one {condition: true}").await;
    let leader = cluster.wait_for_leader().await;
    let follower = (leader + 1) % 3;
    cluster.kill(follower);
    let account = Arc::default();
    let _worker = FakeWorker::start(script(&cluster, "a", &account));

    check_complete(&cluster, &account, 1).await;
    cluster.restart(follower);

    cluster.check_replicas_agree().await;
}

#[tokio::test]
async fn a_stalled_leader_is_replaced_and_takes_nothing_away_when_it_wakes() {
    let mut cluster = Cluster::start(3).await;
    cluster.put_corpus("files").await;
    cluster.put_ruleset("one", "rule one {condition: true}").await;
    let account = Arc::default();
    let _workers: Vec<_> =
        ["a", "b"].into_iter().map(|name| FakeWorker::start(script(&cluster, name, &account))).collect();
    eventually("the sweep is under way", async || (settled(&account) > 20).then_some(())).await;

    let stalled = cluster.wait_for_leader().await;
    cluster.signal(stalled, Signal::STOP);
    eventually("another leads", async || cluster.leader().await.filter(|leader| *leader != stalled)).await;
    cluster.signal(stalled, Signal::CONT);

    check_complete(&cluster, &account, 1).await;
    cluster.check_replicas_agree().await;
    cluster.kill(stalled);
}

#[tokio::test]
async fn a_dead_worker_loses_its_session_when_nothing_else_happens() {
    let cluster = Cluster::start_with(1, &["--session-ttl-ms", "1500"]).await;
    cluster.put_corpus("files").await;
    let account: Arc<Mutex<Account>> = Arc::default();
    let dying = FakeWorker::start(script(&cluster, "dying", &account));
    eventually("it has a session", async || {
        cluster.status(0).await.filter(|status| status.open_sessions.len() == 1 && status.listings == 0)
    })
    .await;
    drop(dying);

    eventually("no session is left", async || cluster.status(0).await.filter(|status| status.open_sessions.is_empty()))
        .await;
}

#[tokio::test]
async fn a_silent_worker_loses_its_session_and_another_does_its_work() {
    let cluster = Cluster::start_with(1, &["--session-ttl-ms", "600"]).await;
    cluster.put_corpus("files").await;
    cluster.put_ruleset("one", "rule one {condition: true}").await;
    let account: Arc<Mutex<Account>> = Arc::default();
    let dying = FakeWorker::start(script(&cluster, "dying", &account));
    eventually("it has a lease", async || (!account.lock().unwrap().leases.is_empty()).then_some(())).await;
    drop(dying);

    let _other = FakeWorker::start(script(&cluster, "other", &account));

    check_complete(&cluster, &account, 1).await;
    eventually("one session is left", async || {
        cluster
            .status(0)
            .await
            .filter(|status| status.open_sessions.len() == 1 && status.open_sessions[0].worker == "other")
    })
    .await;
}
