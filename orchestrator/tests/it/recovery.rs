//! Restarts: from the log alone, from a snapshot and the log, from a snapshot alone; and a member that
//! was away for longer than the log remembers.

use protocol::v1::{self, cluster_client::ClusterClient};

use crate::cluster::{Cluster, eventually};

async fn snapshot(cluster: &Cluster, index: usize) -> u64 {
    let channel = protocol::client::channel(cluster.address(index)).unwrap();
    let taken = ClusterClient::new(channel).take_snapshot(v1::TakeSnapshotRequest {}).await.unwrap();
    taken.into_inner().index
}

async fn names(cluster: &Cluster) -> Vec<String> {
    let mut names: Vec<_> = cluster.corpora().await.into_iter().map(|corpus| corpus.key.unwrap().name).collect();
    names.sort();
    names
}

async fn restart(cluster: &mut Cluster) {
    cluster.kill(0);
    cluster.restart(0);
    eventually("it leads again", async || cluster.status(0).await.filter(|status| status.ready)).await;
}

#[tokio::test]
async fn a_restart_from_the_log_alone_finds_everything_acknowledged() {
    let mut cluster = Cluster::start(1).await;
    for name in ["a", "b", "c"] {
        cluster.put_corpus(name).await;
    }

    restart(&mut cluster).await;

    assert_eq!(names(&cluster).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_restart_from_a_snapshot_and_the_log_finds_everything_acknowledged() {
    let mut cluster = Cluster::start(1).await;
    cluster.put_corpus("a").await;
    assert!(snapshot(&cluster, 0).await > 0);
    cluster.put_corpus("b").await;

    restart(&mut cluster).await;

    assert_eq!(names(&cluster).await, ["a", "b"]);
    assert!(cluster.told(0).await.snapshot_index > 0);
}

#[tokio::test]
async fn a_restart_from_a_snapshot_alone_finds_everything_acknowledged() {
    let mut cluster = Cluster::start_with(1, &["--keep-log-entries", "0"]).await;
    for name in ["a", "b"] {
        cluster.put_corpus(name).await;
    }
    let index = snapshot(&cluster, 0).await;
    assert!(cluster.told(0).await.last_log_index <= index, "the snapshot covers the whole log");

    restart(&mut cluster).await;

    assert_eq!(names(&cluster).await, ["a", "b"]);
    cluster.put_corpus("c").await;
    assert_eq!(names(&cluster).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_member_that_missed_more_than_the_log_remembers_gets_a_snapshot() {
    let mut cluster = Cluster::start_with(3, &["--keep-log-entries", "0"]).await;
    let leader = cluster.wait_for_leader().await;
    let away = (leader + 1) % 3;
    cluster.kill(away);
    for number in 0..20 {
        cluster.put_corpus(&format!("corpus-{number}")).await;
    }
    for index in (0..3).filter(|index| *index != away) {
        snapshot(&cluster, index).await;
    }

    cluster.restart(away);

    cluster.check_replicas_agree().await;
    assert_eq!(names(&cluster).await.len(), 20);
}

#[tokio::test]
async fn a_new_member_joins_after_the_log_was_purged() {
    let mut cluster = Cluster::start_with(3, &["--keep-log-entries", "0"]).await;
    for number in 0..5 {
        cluster.put_corpus(&format!("corpus-{number}")).await;
    }
    let leader = cluster.wait_for_leader().await;
    for index in 0..3 {
        snapshot(&cluster, index).await;
    }
    let lost = (leader + 2) % 3;
    cluster.kill(lost);
    std::fs::remove_dir_all(cluster.member_dir(lost)).unwrap();

    cluster.restart(lost);

    cluster.check_replicas_agree().await;
    cluster.wait_for_voters(3).await;
}

#[tokio::test]
async fn all_members_killed_at_once_come_back_with_everything() {
    let mut cluster = Cluster::start(3).await;
    cluster.put_corpus("a").await;
    cluster.put_ruleset("r", "rule r {condition: true}").await;
    for index in 0..3 {
        cluster.kill(index);
    }

    for index in 0..3 {
        cluster.restart(index);
    }

    cluster.wait_for_leader().await;
    assert_eq!(names(&cluster).await, ["a"]);
    let again = cluster.put_ruleset("r", "rule r {condition: true}").await;
    assert!(!again.created, "the same sources make no new version");
}
