//! Replicas, snapshots and frozen views of the state.

use crate::{State, tests::story::Story};

fn bytes(state: &State) -> Vec<u8> {
    rmp_serde::to_vec_named(state).unwrap()
}

fn restored(state: &State) -> State {
    rmp_serde::from_slice(&bytes(state)).unwrap()
}

#[test]
fn a_clone_is_a_frozen_view() {
    let (mut story, corpus, _) = Story::of_segments(2);
    let view = story.state.clone();
    let before = bytes(&view);
    story.finish_all();
    story.list(corpus, &[5]);
    story.push("rules", &["b"]);
    story.grant_to("a").unwrap();
    assert_eq!(bytes(&view), before);
    assert_ne!(bytes(&story.state), before);
}

#[test]
fn a_restored_replica_is_the_same_to_the_byte_when_bitmaps_changed_their_form() {
    // Above 4 096 members Roaring changes from a list to bits; both ways must not show in a snapshot.
    let (mut story, corpus, _) = Story::of_segments(0);
    story.list(corpus, &[1; 5_000]);
    let jobs = story.grant_many("a", 4_096);
    story.grant_many("b", 904);
    let mut replica = restored(&story.state);
    assert_eq!(bytes(&replica), bytes(&story.state));
    for job in &jobs {
        story.finish(job);
        replica = if job.segment().0 % 1_000 == 0 { restored(&story.state) } else { replica };
    }
    story.lose("b");
    assert_eq!(bytes(&restored(&story.state)), bytes(&story.state));
    assert_eq!(story.finish_all(), 904);
    assert_eq!(bytes(&restored(&story.state)), bytes(&story.state));
    story.push("rules", &["b"]);
    story.finish_all();
    assert_eq!(bytes(&restored(&story.state)), bytes(&story.state));
}
