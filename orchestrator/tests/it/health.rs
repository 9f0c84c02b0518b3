//! What probes and scrapers are told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use rustix::process::Signal;

use crate::{
    cluster::{Cluster, eventually},
    faults::{check_complete, script},
    worker::{Account, FakeWorker},
};

/// Samples by name with labels, types by name. Fails on a line that is no exposition.
fn parse(text: &str) -> (BTreeMap<String, f64>, BTreeMap<String, String>) {
    let (mut samples, mut types) = (BTreeMap::new(), BTreeMap::new());
    for line in text.lines() {
        let words: Vec<_> = line.split(' ').collect();
        match words.as_slice() {
            ["#", "EOF"] => {}
            ["#", "TYPE", name, kind] => {
                let before = types.insert((*name).to_owned(), (*kind).to_owned());
                assert_eq!(before, None, "{name} is told twice");
            }
            ["#", "HELP", _, help @ ..] => assert!(!help.is_empty(), "{line}"),
            ["#", "UNIT", ..] => {}
            [series, value] => {
                let before = samples.insert((*series).to_owned(), value.parse().unwrap());
                assert_eq!(before, None, "{series} is told twice");
            }
            _ => panic!("not a line of an exposition: {line}"),
        }
    }
    assert!(text.ends_with("# EOF\n"), "it was cut off");
    (samples, types)
}

/// Names in the table of `metrics/mod.rs`, without `_total`.
fn documented() -> Vec<String> {
    let source = include_str!("../../src/metrics/mod.rs");
    let rows = source.lines().filter_map(|line| line.strip_prefix("//! | `"));
    let names = rows.flat_map(|row| {
        let cell = row.split(" | ").next().unwrap_or_default();
        let names = cell.split('`').step_by(2).map(str::trim).filter(|name| !name.is_empty());
        names.map(|name| format!("dragnet_orchestrator_{}", name.trim_end_matches("_total"))).collect::<Vec<_>>()
    });
    names.collect()
}

#[tokio::test]
async fn metrics_parse_and_are_those_that_are_documented() {
    let cluster = Cluster::start(3).await;
    cluster.put_corpus("files").await;
    cluster.put_ruleset("one", "rule one {condition: true}").await;
    let account: Arc<Mutex<Account>> = Arc::default();
    let worker = FakeWorker::start(script(&cluster, "w", &account));
    check_complete(&cluster, &account, 1).await;
    drop(worker);
    cluster.put_ruleset("two", "rule two {condition: true}").await;

    let (leader, samples, types) = eventually("one leads, is ready and has the worker's session", async || {
        let leader = cluster.leader().await?;
        let (status, text) = cluster.get(leader, "/metrics").await?;
        assert_eq!(status, 200);
        let (samples, types) = parse(&text);
        let is_one = |name: &str| samples[&format!("dragnet_orchestrator_{name}")] == 1.0;
        ["leading", "ready", "sessions"].into_iter().all(is_one).then_some((leader, samples, types))
    })
    .await;

    let documented = documented();
    assert!(documented.len() > 25, "{documented:?}");
    for name in &documented {
        // A backlog has a series when there is one, and there is.
        assert!(types.contains_key(name), "{name} is documented and not told: {types:#?}");
    }
    for name in types.keys() {
        assert!(documented.contains(name), "{name} is told and not documented");
    }
    let value = |name: &str| samples[&format!("dragnet_orchestrator_{name}")];
    assert_eq!(value("members{role=\"voter\"}"), 3.0);
    assert_eq!(value("settlements_total"), f64::from(crate::faults::SEGMENTS));
    assert!(value("proposal_seconds_count") > 0.0 && value("grant_seconds_count") > 0.0);
    assert!(value("entry_commands_sum") >= value("entry_commands_count"));
    // The rest is in flux while members apply what was proposed last.
    eventually("all that is owed is told, and all of the log is applied", async || {
        let samples = samples_of(&cluster, leader).await;
        let value = |name: &str| samples[&format!("dragnet_orchestrator_{name}")];
        // The worker left without a word; what it was granted last is leased until its session ends.
        let owed = value("backlog_segments{tenant=\"default\",class=\"sweep\"}") + value("leased_segments");
        let is_applied = value("applied_entries_total") >= value("log_entries_since_snapshot");
        (owed == f64::from(crate::faults::SEGMENTS) && is_applied).then_some(())
    })
    .await;
    eventually("a follower tells of the backlog", async || {
        let samples = samples_of(&cluster, (leader + 1) % 3).await;
        let backlog = samples.get("dragnet_orchestrator_backlog_segments{tenant=\"default\",class=\"sweep\"}")?;
        (samples["dragnet_orchestrator_leading"] == 0.0 && *backlog > 500.0).then_some(())
    })
    .await;
}

async fn samples_of(cluster: &Cluster, index: usize) -> BTreeMap<String, f64> {
    parse(&cluster.page(index, "/metrics").await.1).0
}

#[tokio::test]
async fn a_member_without_a_majority_lives_and_is_not_ready() {
    let mut cluster = Cluster::start(3).await;
    for index in 0..3 {
        eventually("it is ready", async || cluster.get(index, "/readyz").await.filter(|(code, _)| *code == 200)).await;
    }
    let left = (cluster.wait_for_leader().await + 1) % 3;
    for index in (0..3).filter(|index| *index != left) {
        cluster.signal(index, Signal::STOP);
    }

    let (_, why) =
        eventually("it is not ready", async || cluster.get(left, "/readyz").await.filter(|(code, _)| *code == 503))
            .await;

    assert!(why.contains("no leader has been heard of"), "{why}");
    assert_eq!(cluster.page(left, "/healthz").await.0, 200);
    let status = cluster.status(left).await.expect("status needs no majority");
    assert_eq!((status.ready, status.not_ready_reason.is_empty()), (false, false));
    for index in (0..3).filter(|index| *index != left) {
        cluster.signal(index, Signal::CONT);
    }
    for index in 0..3 {
        eventually("it is ready", async || cluster.get(index, "/readyz").await.filter(|(code, _)| *code == 200)).await;
    }
    let leader = cluster.wait_for_leader().await;
    for index in (0..3).filter(|index| *index != leader) {
        cluster.kill(index);
    }
    let (_, why) = eventually("a leader without followers is not ready", async || {
        cluster.get(leader, "/readyz").await.filter(|(code, _)| *code == 503)
    })
    .await;
    assert!(why.contains("leads, but a majority does not answer") || why.contains("no leader"), "{why}");
}

#[tokio::test]
async fn a_member_that_was_away_is_ready_when_it_has_caught_up() {
    let mut cluster = Cluster::start(3).await;
    let away = (cluster.wait_for_leader().await + 1) % 3;
    cluster.kill(away);
    cluster.put_corpus("while-it-was-away").await;
    let leader = cluster.wait_for_leader().await;
    let committed = cluster.told(leader).await.committed_index;

    cluster.restart(away);

    let status = eventually("it is ready", async || cluster.status(away).await.filter(|status| status.ready)).await;
    assert!(status.committed_index > 0 && status.term > 0);
    eventually("it has what it missed", async || {
        cluster.status(away).await.filter(|status| status.applied_index >= committed)
    })
    .await;
}
