//! Nodes that wait for a role: founding, joining, growing and shrinking, each step repeated and interrupted.

use protocol::{client::identity_hint, v1};
use tonic::Code;

use crate::cluster::{Cluster, eventually};

fn found(name: &str) -> v1::FoundRequest {
    v1::FoundRequest { cluster_id: name.to_owned() }
}

fn join(cluster: &Cluster, name: &str) -> v1::JoinRequest {
    v1::JoinRequest { addresses: cluster.addresses(), cluster_id: name.to_owned() }
}

async fn remove(cluster: &Cluster, node_id: u64) {
    let request = v1::RemoveMemberRequest { node_id, force: false };
    cluster.ask(|mut client| async move { client.remove_member(request).await }).await;
}

async fn remove_at(cluster: &Cluster, index: usize, node_id: u64) -> Result<(), tonic::Status> {
    let request = v1::RemoveMemberRequest { node_id, force: false };
    cluster.node(index).remove_member(request).await.map(drop)
}

#[tokio::test]
async fn a_node_that_awaits_its_role_says_so_and_takes_one() {
    let cluster = Cluster::awaiting(1, &[]).await;

    let status = cluster.told(0).await;
    assert_eq!((status.role(), status.node_id, status.ready), (v1::MemberRole::Awaiting, 0, false));
    assert_eq!(status.advertised_address, cluster.address(0));
    assert_eq!(cluster.page(0, "/healthz").await.0, 200);
    assert_eq!(cluster.page(0, "/readyz").await, (503, "waiting for a role\n".to_owned()));
    let mut other = protocol::v1::scan_client::ScanClient::new(protocol::client::channel(cluster.address(0)).unwrap());
    let refused = other.list_corpora(v1::ListCorporaRequest::default()).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unavailable, "waiting for a role"));
    let refused = cluster.node(0).found(found("No Name")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");

    let founded = cluster.found(0, "blue").await;

    assert_eq!((founded.cluster_id.as_str(), founded.node_id), ("blue", 1));
    assert_eq!(cluster.page(0, "/readyz").await.0, 200);
    let status = cluster.told(0).await;
    assert_eq!((status.role(), status.cluster_id.as_str()), (v1::MemberRole::Voter, "blue"));
    for again in ["blue", ""] {
        let again = cluster.node(0).found(found(again)).await.unwrap().into_inner();
        assert_eq!((again.cluster_id.as_str(), again.node_id), ("blue", 1));
    }
    let refused = cluster.node(0).found(found("green")).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert_eq!(identity_hint(&refused), Some(("blue".to_owned(), 1)));
    let refused = cluster.node(0).join(join(&cluster, "")).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn a_cluster_grows_to_three_and_shrinks_to_one_without_losing_anything() {
    let mut cluster = Cluster::awaiting(3, &[]).await;
    cluster.found(0, "blue").await;
    cluster.put_corpus("one").await;

    let second = cluster.join(1).await;
    assert_eq!(cluster.told(1).await.role(), v1::MemberRole::Joining);
    assert_eq!(cluster.members().await, (vec![1], vec![]), "an id is no membership");
    cluster.add_learner(1, &second).await;
    cluster.add_learner(1, &second).await;
    assert_eq!(cluster.members().await, (vec![1], vec![2]));
    eventually("the learner is ready", async || {
        let learner = cluster.status(1).await?.role() == v1::MemberRole::Learner;
        cluster.get(1, "/readyz").await.filter(|(status, _)| learner && *status == 200)
    })
    .await;
    cluster.promote(2).await;
    cluster.promote(2).await;
    assert_eq!(cluster.members().await, (vec![1, 2], vec![]));
    cluster.add(2).await;
    cluster.wait_for_voters(3).await;
    cluster.put_corpus("three").await;
    cluster.check_replicas_agree().await;

    let leader = cluster.wait_for_leader().await;
    let leader_id = cluster.told(leader).await.node_id;
    let refused = remove_at(&cluster, leader, leader_id).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains("leads"), "{refused:?}");

    let to = cluster.told((leader + 1) % 3).await.node_id;
    for _ in 0..2 {
        cluster.ask(|mut client| async move { client.transfer_leader(v1::TransferLeaderRequest { to }).await }).await;
    }
    eventually("the new leader hears of everyone", async || {
        let status = cluster.status(cluster.leader().await?).await?;
        let hears = |member: &v1::Member| {
            member.node_id == status.node_id || member.silent_ms.is_some_and(|silent| silent < 2_000)
        };
        (status.node_id == to && status.members.iter().all(hears)).then_some(())
    })
    .await;
    remove(&cluster, leader_id).await;
    remove(&cluster, leader_id).await;
    assert!(cluster.stop(leader).await.success());
    let last = cluster.told((leader + 2) % 3).await.node_id;
    remove(&cluster, last).await;
    assert_eq!(cluster.members().await, (vec![to], vec![]));
    let only = cluster.wait_for_leader().await;
    let refused = remove_at(&cluster, only, to).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    cluster.put_corpus("alone").await;
    assert_eq!(cluster.corpora().await.len(), 3);

    // A removed member's volume was kept: it comes back as who it was.
    cluster.spawn_awaiting(leader).await;
    let back = cluster.told(leader).await;
    assert_eq!((back.node_id, back.cluster_id.as_str(), back.ready), (leader_id, "blue", false));
    let role = v1::RoleResponse { cluster_id: "blue".to_owned(), node_id: leader_id, restored: None };
    cluster.add_learner(leader, &role).await;
    cluster.promote(leader_id).await;
    assert_eq!(cluster.members().await.0.len(), 2);
    eventually("it is ready again", async || cluster.status(leader).await.filter(|status| status.ready)).await;
}

#[tokio::test]
async fn a_role_survives_a_crash_at_any_step() {
    let mut cluster = Cluster::awaiting(2, &[]).await;
    cluster.node(0).found(found("blue")).await.unwrap();
    cluster.kill(0);
    cluster.spawn_awaiting(0).await;
    eventually("it leads", async || cluster.status(0).await.filter(|status| status.ready)).await;
    assert_eq!(cluster.node(0).found(found("blue")).await.unwrap().into_inner().node_id, 1);

    let request = join(&cluster, "blue");
    let role = cluster.node(1).join(request.clone()).await.unwrap().into_inner();
    cluster.kill(1);
    cluster.spawn_awaiting(1).await;
    let again = eventually("the node knows who it is", async || {
        cluster.node(1).join(request.clone()).await.ok().map(tonic::Response::into_inner)
    })
    .await;
    assert_eq!(again.node_id, role.node_id, "a repeated order makes no second member");

    cluster.add_learner(1, &role).await;
    cluster.kill(1);
    cluster.spawn_awaiting(1).await;
    cluster.promote(role.node_id).await;
    cluster.wait_for_voters(2).await;
    cluster.check_replicas_agree().await;
}

#[tokio::test]
async fn a_node_joins_only_the_cluster_that_is_meant() {
    let cluster = Cluster::awaiting(2, &[]).await;
    cluster.found(0, "blue").await;

    let refused = cluster.node(1).join(join(&cluster, "green")).await.unwrap_err();

    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains("this is cluster blue"), "{refused:?}");
    assert_eq!(cluster.told(1).await.role(), v1::MemberRole::Awaiting, "it may still be told another");
    let refused = cluster.node(1).join(v1::JoinRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let foreign = v1::AddMemberRequest {
        node_id: 7,
        address: cluster.address(1).to_owned(),
        cluster_id: "green".to_owned(),
        learner_only: true,
    };
    assert_eq!(cluster.node(0).add_member(foreign).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(cluster.add(1).await, 2);
}

#[tokio::test]
async fn a_lost_volume_comes_back_under_a_new_id_and_the_old_one_is_removed() {
    let mut cluster = Cluster::awaiting(3, &[]).await;
    cluster.found(0, "blue").await;
    cluster.add(1).await;
    cluster.add(2).await;
    cluster.put_corpus("before").await;
    let lost = (cluster.wait_for_leader().await + 1) % 3;
    let old = cluster.told(lost).await.node_id;
    cluster.kill(lost);
    std::fs::remove_dir_all(cluster.member_dir(lost)).unwrap();
    cluster.spawn_awaiting(lost).await;
    assert_eq!(cluster.told(lost).await.role(), v1::MemberRole::Awaiting);

    remove(&cluster, old).await;
    let new = cluster.add(lost).await;

    assert!(new > 3, "an id is never used twice");
    let (voters, learners) = cluster.members().await;
    assert_eq!((voters.len(), voters.contains(&old), voters.contains(&new)), (3, false, true));
    assert!(learners.is_empty());
    cluster.check_replicas_agree().await;
}

#[tokio::test]
async fn what_would_cost_the_majority_is_refused() {
    let mut cluster = Cluster::awaiting(3, &[]).await;
    cluster.found(0, "blue").await;
    cluster.add(1).await;
    cluster.add(2).await;
    let leader = cluster.wait_for_leader().await;
    let (dead, alive) = ((leader + 1) % 3, (leader + 2) % 3);
    let dead_id = cluster.told(dead).await.node_id;
    let alive_id = cluster.told(alive).await.node_id;
    cluster.kill(dead);
    eventually("the leader misses it", async || {
        let members = cluster.status(leader).await?.members;
        let member = members.into_iter().find(|member| member.node_id == dead_id)?;
        member.silent_ms.is_none_or(|silent| silent > 5_500).then_some(())
    })
    .await;

    let refused = remove_at(&cluster, leader, alive_id).await.unwrap_err();

    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains("only 1 of the 2 voters"), "{refused:?}");
    remove(&cluster, dead_id).await;
    assert_eq!(cluster.members().await.0.len(), 2);
    let nobody = v1::PromoteMemberRequest { node_id: 99, wait_ms: 0 };
    let refused = cluster.node(cluster.wait_for_leader().await).promote_member(nobody).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

#[tokio::test]
async fn a_learner_that_does_not_answer_is_not_promoted() {
    let mut cluster = Cluster::awaiting(2, &[]).await;
    cluster.found(0, "blue").await;
    let role = cluster.join(1).await;
    cluster.kill(1);
    cluster.add_learner(1, &role).await;

    let request = v1::PromoteMemberRequest { node_id: role.node_id, wait_ms: 200 };
    let refused = cluster.node(0).promote_member(request).await.unwrap_err();

    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert_eq!(cluster.members().await, (vec![1], vec![role.node_id]));
    cluster.put_corpus("nobody-waits-for-a-learner").await;
}

#[tokio::test]
async fn a_member_is_found_under_its_name_when_its_ip_changes() {
    let mut cluster = Cluster::not_started(2, &[]);
    let hosts = cluster.dir.path().join("hosts");
    let tell = |ip: &str| std::fs::write(&hosts, format!("127.0.0.1 localhost\n{ip} member.test\n")).unwrap();
    tell("127.0.0.2");
    if !cluster.with_hosts(&hosts) {
        eprintln!("skipped: this machine lets nobody mount in a namespace of its own");
        return;
    }
    let port = cluster.address(1).rsplit_once(':').unwrap().1.to_owned();
    let name = format!("member.test:{port}");
    cluster.spawn_awaiting(0).await;
    cluster.found(0, "blue").await;
    cluster.move_to(1, &format!("127.0.0.2:{port}"));
    cluster.spawn(1, &["--await-role", "--advertise", &name]);
    eventually("the node answers", async || cluster.status(1).await).await;
    let role = cluster.join(1).await;
    let request = v1::AddMemberRequest {
        node_id: role.node_id,
        address: name.clone(),
        cluster_id: role.cluster_id,
        learner_only: true,
    };
    cluster.node(0).add_member(request).await.unwrap();
    cluster.promote(role.node_id).await;
    cluster.wait_for_voters(2).await;

    cluster.kill(1);
    tell("127.0.0.3");
    cluster.move_to(1, &format!("127.0.0.3:{port}"));
    cluster.spawn(1, &["--await-role", "--advertise", &name]);

    // Both ways: what either of them leads, the other has to hear. The test itself does not know the name.
    for to in [1, role.node_id] {
        eventually("the chosen one leads, and hears from the other", async || {
            let leader = cluster.leader().await?;
            cluster.node(leader).transfer_leader(v1::TransferLeaderRequest { to }).await.ok()?;
            cluster.status(cluster.leader().await?).await.filter(|status| status.leader_id == to && status.ready)
        })
        .await;
        cluster.check_replicas_agree().await;
    }
}
