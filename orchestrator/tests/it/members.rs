//! Who leads, who is a member, and how that changes.

use protocol::{
    client::{channel, leader_hint},
    v1::{self, cluster_client::ClusterClient, scan_client::ScanClient},
};
use tonic::Code;

use crate::cluster::{Cluster, eventually, free_addresses};

#[tokio::test]
async fn a_follower_names_the_leader_and_clients_follow() {
    let cluster = Cluster::start(3).await;
    let (follower, refused) = eventually("a follower names the leader", async || {
        let leader = cluster.leader().await?;
        let follower = (leader + 1) % 3;
        let mut direct = ScanClient::new(channel(cluster.address(follower)).unwrap());
        let refused = direct.list_corpora(v1::ListCorporaRequest { tenant: String::new() }).await.err()?;
        let names_it = leader_hint(&refused).as_deref() == Some(cluster.address(leader));
        names_it.then_some((follower, refused))
    })
    .await;
    assert_eq!(refused.code(), Code::FailedPrecondition);

    let client = protocol::client::LeaderClient::new(vec![cluster.address(follower).to_owned()]);
    let list = |channel| async move {
        ScanClient::new(channel).list_corpora(v1::ListCorporaRequest { tenant: String::new() }).await
    };
    client.call(crate::cluster::DEADLINE, list).await.expect("it follows the hint to an address it was not given");
}

#[tokio::test]
async fn sigterm_hands_leadership_over_and_exits_cleanly() {
    let mut cluster = Cluster::start(3).await;
    // One election, not a time-out and several; but a machine that stands still meanwhile makes some of its own.
    for tries in 0.. {
        let leader = cluster.wait_for_leader().await;
        let term = cluster.told(leader).await.term;
        assert!(cluster.stop(leader).await.success());
        let next = cluster.wait_for_leader().await;
        let log = cluster.log(leader);
        let is_handed_over = next != leader && log.contains("leadership handed over");
        if is_handed_over && cluster.told(next).await.term == term + 1 {
            break;
        }
        assert!(tries < 3, "{log}");
        cluster.restart(leader);
        cluster.wait_for_voters(3).await;
    }
}

#[tokio::test]
async fn a_lost_directory_comes_back_as_a_new_member() {
    let mut cluster = Cluster::start(3).await;
    cluster.put_corpus("before").await;
    let leader = cluster.wait_for_leader().await;
    let lost = (leader + 1) % 3;
    let old_id = cluster.told(lost).await.node_id;
    cluster.kill(lost);
    std::fs::remove_dir_all(cluster.member_dir(lost)).unwrap();

    cluster.restart(lost);

    let new_id = eventually("it votes under a new id", async || {
        let status = cluster.status(cluster.leader().await?).await?;
        let address = cluster.address(lost);
        let voters: Vec<_> = status.members.iter().filter(|member| member.voter).collect();
        let member = voters.iter().find(|member| member.address == address && member.node_id != old_id)?;
        (status.members.len() == 3 && voters.len() == 3).then_some(member.node_id)
    })
    .await;
    assert!(new_id > 3);
    cluster.check_replicas_agree().await;
    cluster.put_corpus("after").await;
}

#[tokio::test]
async fn a_lost_leader_directory_comes_back_as_a_new_member_too() {
    let mut cluster = Cluster::start(3).await;
    cluster.put_corpus("before").await;
    let lost = cluster.wait_for_leader().await;
    cluster.kill(lost);
    std::fs::remove_dir_all(cluster.member_dir(lost)).unwrap();

    cluster.restart(lost);

    eventually("three voters again, one of them new", async || {
        let status = cluster.status(cluster.leader().await?).await?;
        let new = status.members.iter().any(|member| member.voter && member.node_id > 3);
        (status.members.len() == 3 && new).then_some(())
    })
    .await;
    cluster.check_replicas_agree().await;
    assert_eq!(cluster.corpora().await.len(), 1);
}

#[tokio::test]
async fn leadership_is_transferred_on_request() {
    let cluster = Cluster::start(3).await;
    let leader = cluster.wait_for_leader().await;
    let to = cluster.told((leader + 1) % 3).await.node_id;

    let transfer =
        |channel| async move { ClusterClient::new(channel).transfer_leader(v1::TransferLeaderRequest { to }).await };
    cluster.client().call(crate::cluster::DEADLINE, transfer).await.unwrap();

    eventually("the chosen one leads", async || {
        cluster.status(cluster.leader().await?).await.filter(|status| status.leader_id == to)
    })
    .await;
}

#[tokio::test]
async fn an_empty_directory_without_bootstrap_or_join_is_refused_with_the_way_out() {
    let cluster = Cluster::start(1).await;
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_orchestrator"))
        .arg("--dir")
        .arg(cluster.dir.path().join("fresh"))
        .args(["--listen", &free_addresses(1)[0], "--storage", &cluster.storage_url()])
        .output()
        .unwrap();

    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("--bootstrap") && error.contains("--join"), "{error}");
}

#[tokio::test]
async fn a_second_process_in_one_directory_is_refused() {
    let cluster = Cluster::start(1).await;
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_orchestrator"))
        .arg("--dir")
        .arg(cluster.member_dir(0))
        .args(["--listen", &free_addresses(1)[0], "--storage", &cluster.storage_url()])
        .output()
        .unwrap();

    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("another orchestrator runs in"), "{error}");
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let cluster = Cluster::start(1).await;
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_orchestrator"))
        .arg("--dir")
        .arg(cluster.dir.path().join("other"))
        .args(["--listen", cluster.address(0), "--storage", &cluster.storage_url(), "--bootstrap"])
        .output()
        .unwrap();

    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains(cluster.address(0)), "{error}");
}

#[tokio::test]
async fn the_object_storage_is_no_corpus() {
    let cluster = Cluster::start(1).await;
    for url in [cluster.storage_url(), format!("{}/findings", cluster.storage_url())] {
        let request = v1::PutCorpusRequest {
            key: Some(crate::cluster::key("own")),
            url,
            max_file_bytes: 0,
            listing_interval_ms: 0,
            datasets: Vec::new(),
            ..v1::PutCorpusRequest::default()
        };
        let mut client = ScanClient::new(channel(cluster.address(0)).unwrap());
        let refused = client.put_corpus(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains("own object storage"), "{}", refused.message());
    }
}
