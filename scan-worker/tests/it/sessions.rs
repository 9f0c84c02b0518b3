//! Streams that break, leaders that change, workers that are told to stop.

use protocol::v1::{self, SessionId};

use crate::{
    fake_leader::FakeLeader,
    world::{Results, World, target},
};

const SLOW: &str = r#"rule slow { condition: for all i in (1..60000000) : (i != 0) }"#;
const FOR_EVER: &str = r#"rule slow { condition: for all i in (1..1000000000000) : (i != 0) }"#;

#[tokio::test]
async fn a_worker_asks_for_one_job_more_than_it_has_scanners_and_tells_that_it_lives() {
    let world = World::new(&["--name", "pod-7"]).await;
    world.write("a", "x");
    let segment = world.segment(0).await;
    let rules = world.rules(1, FOR_EVER).await;
    for _ in 0..5 {
        world.grant_scan(&segment, vec![target(1, &rules)]);
    }
    world.leader.until("three grants", |state| (state.granted.len() == 3).then_some(())).await;
    let beats = world.leader.state().heartbeats;
    world.leader.until("heartbeats", |state| (state.heartbeats > beats + 3).then_some(())).await;
    let state = world.leader.state();
    assert_eq!(state.granted.len(), 3);
    assert_eq!(state.hellos[0].worker, "pod-7");
    assert!(state.hellos[0].resume.is_none() && !state.hellos[0].program_version.is_empty());
}

#[tokio::test]
async fn a_cut_stream_is_resumed_and_the_job_goes_on() {
    let world = World::new(&[]).await;
    world.write("a", "x");
    let segment = world.segment(0).await;
    let rules = world.rules(1, SLOW).await;
    let lease = world.grant_scan(&segment, vec![target(1, &rules)]);
    world.busy_scanner(None).await;
    world.leader.cut();
    world.leader.until("a resumed session", |state| (state.hellos.len() == 2).then_some(())).await;
    let hello = world.leader.state().hellos[1].clone();
    assert!(hello.resume.is_some());
    assert_eq!(hello.holding, [lease]);
    let results = Results(world.leader.settled(lease).await.results);
    assert_eq!(results.done(1).matched, 1);
}

#[tokio::test]
async fn an_unanswered_settlement_is_sent_again_word_for_word() {
    let world = World::new(&[]).await;
    world.write("a", "x");
    let segment = world.segment(0).await;
    let rules = world.rules(1, "rule every { condition: true }").await;
    world.leader.until("a session", |state| (!state.hellos.is_empty()).then_some(())).await;
    world.leader.state().mute = true;
    let lease = world.grant_scan(&segment, vec![target(1, &rules)]);
    world.leader.settled(lease).await;
    world.leader.cut();
    world.leader.until("the repeat", |state| (state.repeats == 1).then_some(())).await;
    assert_eq!(world.leader.state().hellos[1].holding, [lease]);
    let (_, results) = world.scan(&segment, vec![target(1, &rules)]).await;
    assert_eq!(results.done(1).matched, 1);
}

#[tokio::test]
async fn an_ended_session_drops_its_jobs_and_a_new_one_is_opened() {
    let world = World::new(&[]).await;
    world.write("a", "x");
    let segment = world.segment(0).await;
    let slow = world.rules(1, SLOW).await;
    let lost = world.grant_scan(&segment, vec![target(1, &slow)]);
    world.busy_scanner(None).await;
    world.leader.end_session();
    world.leader.until("a new session", |state| (state.hellos.len() == 2).then_some(())).await;
    let hello = world.leader.state().hellos[1].clone();
    assert_eq!((hello.resume, hello.holding.len()), (None::<SessionId>, 0));
    let quick = world.rules(2, "rule every { condition: true }").await;
    let (_, results) = world.scan(&segment, vec![target(1, &quick)]).await;
    assert_eq!(results.done(1).matched, 1);
    assert!(world.leader.state().settled.values().all(|settle| settle.lease != Some(lost)));
}

#[tokio::test]
async fn a_worker_follows_the_hint_to_the_leader() {
    let world = World::new(&[]).await;
    world.write("a", "x");
    let segment = world.segment(0).await;
    let rules = world.rules(1, "rule every { condition: true }").await;
    world.leader.until("a session", |state| (!state.hellos.is_empty()).then_some(())).await;
    let other = FakeLeader::start(world.store.url().to_owned()).await;
    world.leader.state().leads_elsewhere = Some(other.address);
    world.leader.cut();
    other.until("the worker", |state| (!state.hellos.is_empty()).then_some(())).await;
    let job = v1::ScanJob {
        corpus: Some(world.corpus()),
        segment: Some(segment.wire.clone()),
        targets: vec![target(1, &rules)],
    };
    let lease = other.grant(v1::grant::Job::Scan(job));
    assert_eq!(Results(other.settled(lease).await.results).done(1).matched, 1);
}

#[tokio::test]
async fn sigterm_finishes_what_is_scanned_and_says_goodbye() {
    let mut world = World::new(&[]).await;
    world.write("a", "x");
    let segment = world.segment(0).await;
    let rules = world.rules(1, SLOW).await;
    let lease = world.grant_scan(&segment, vec![target(1, &rules)]);
    world.busy_scanner(None).await;
    let status = world.signal_and_wait("-TERM").await;
    assert_eq!(status.code(), Some(0));
    let settle = world.leader.settled(lease).await;
    assert_eq!(settle.ask, 0);
    assert_eq!(Results(settle.results).done(1).matched, 1);
    world.leader.until("the goodbye", |state| (state.goodbyes == 1).then_some(())).await;
}

#[tokio::test]
async fn sigterm_gives_back_what_cannot_be_finished_in_time() {
    let mut world = World::new(&["--drain-s", "0"]).await;
    world.write("a", "x");
    let segment = world.segment(0).await;
    let rules = world.rules(1, FOR_EVER).await;
    world.grant_scan(&segment, vec![target(1, &rules)]);
    world.busy_scanner(None).await;
    let status = world.signal_and_wait("-TERM").await;
    assert_eq!(status.code(), Some(0));
    world.leader.until("the goodbye", |state| (state.goodbyes == 1).then_some(())).await;
    assert_eq!(world.leader.state().settled.len(), 0);
}

#[tokio::test]
async fn a_worker_without_a_leader_can_be_stopped() {
    let mut world = World::new(&["--orchestrators", "127.0.0.1:1"]).await;
    world.leader.until("a session", |state| (!state.hellos.is_empty()).then_some(())).await;
    world.leader.state().leads_elsewhere = Some("127.0.0.1:1".parse().unwrap());
    world.leader.cut();
    let status = world.signal_and_wait("-INT").await;
    assert_eq!(status.code(), Some(0));
}
