//! Hunts and their receipts.

use crate::{
    Command, HuntState, ListingResult,
    tests::story::{INTERVAL_MS, Story},
};

#[test]
fn a_hunt_catches_up_and_falls_behind_when_files_arrive() {
    let (mut story, corpus, rules) = Story::of_segments(1);
    assert_eq!(story.hunt(corpus, rules, 1).state, HuntState::Running);
    story.wait_ms(5);
    let caught_up = story.now();
    story.finish_all();
    let hunt = story.hunt(corpus, rules, 1);
    assert_eq!((hunt.state, hunt.caught_up_at), (HuntState::CaughtUp, Some(caught_up)));

    story.wait_ms(5);
    story.list(corpus, &[]);
    assert_eq!(story.hunt(corpus, rules, 1).caught_up_at, Some(caught_up), "nothing new, nothing changed");

    let listing = story.begin_listing(corpus);
    story.arrive(&listing, &[4]);
    let hunt = story.hunt(corpus, rules, 1);
    assert_eq!((hunt.state, hunt.caught_up_at, hunt.pending_files), (HuntState::Running, None, 4));
    story.end_listing(&listing);
    story.wait_ms(5);
    story.finish_all();
    assert_eq!(story.hunt(corpus, rules, 1).caught_up_at, Some(story.now()));
}

#[test]
fn a_hunt_has_not_caught_up_before_the_first_listing_ended() {
    let mut story = Story::new();
    let corpus = story.put_corpus("files");
    let rules = story.push("rules", &["a"]);
    let listing = story.begin_listing(corpus);
    story.arrive(&listing, &[1]);
    story.finish_all();
    let hunt = story.hunt(corpus, rules, 1);
    assert_eq!((hunt.state, hunt.caught_up_at, hunt.pending_files), (HuntState::Running, None, 0));
    assert!(!hunt.listed_once);

    story.arrive(&listing, &[1]);
    assert_eq!(story.hunt(corpus, rules, 1).caught_up_at, None);
    story.finish_all();
    story.wait_ms(3);
    story.end_listing(&listing);
    let hunt = story.hunt(corpus, rules, 1);
    assert_eq!((hunt.state, hunt.caught_up_at), (HuntState::CaughtUp, Some(story.now())));
    assert!(hunt.listed_once);
}

#[test]
fn a_listed_corpus_without_files_owes_nothing() {
    let mut story = Story::new();
    let corpus = story.put_corpus("files");
    let before = story.push("before", &["a"]);
    assert_eq!(story.hunt(corpus, before, 1).state, HuntState::Running);
    story.list(corpus, &[]);
    let after = story.push("after", &["a"]);
    for rules in [before, after] {
        assert_eq!(story.hunt(corpus, rules, 1).state, HuntState::CaughtUp);
    }
    story.push("after", &["b"]);
    assert_eq!(story.hunt(corpus, after, 2).state, HuntState::CaughtUp);
}

#[test]
fn a_superseded_hunt_keeps_its_receipt() {
    let (mut story, corpus, rules) = Story::of_segments(3);
    let job = story.grant_to("a").unwrap();
    let late = story.grant_to("b").unwrap();
    story.finish(&job);
    story.push("rules", &["b"]);
    story.finish(&late);
    story.finish_all();
    let old = story.hunt(corpus, rules, 1);
    assert_eq!((old.state, old.outcomes.clean, old.pending_files), (HuntState::Superseded, 20, 10));
    let new = story.hunt(corpus, rules, 2);
    assert_eq!((new.state, new.outcomes.clean, new.pending_files), (HuntState::CaughtUp, 30, 0));
}

#[test]
fn a_superseded_hunt_that_had_caught_up_keeps_saying_so() {
    let (mut story, corpus, rules) = Story::of_segments(1);
    let job = story.grant_to("a").unwrap();
    story.wait_ms(3);
    story.push("rules", &["b"]);
    story.finish(&job); // the last file of version 1, settled after version 2 came
    let when = Some(story.now());
    assert_eq!(story.hunt(corpus, rules, 1).caught_up_at, when);
    story.wait_ms(3);
    story.list(corpus, &[1]);
    let old = story.hunt(corpus, rules, 1);
    assert_eq!((old.state, old.caught_up_at, old.pending_files), (HuntState::Superseded, when, 1));
    assert_eq!(story.hunt(corpus, rules, 2).caught_up_at, None);
}

#[test]
fn a_hunt_has_not_caught_up_while_its_corpus_cannot_be_listed() {
    let (mut story, corpus, rules) = Story::of_segments(1);
    story.finish_all();
    assert_eq!(story.hunt(corpus, rules, 1).state, HuntState::CaughtUp);

    story.wait_ms(INTERVAL_MS);
    let listing = story.begin_listing(corpus);
    let result = ListingResult::Failed { reason: "the folder is gone".to_owned() };
    story.tell(Command::SettleListing { lease: listing.lease, result });
    let hunt = story.hunt(corpus, rules, 1);
    assert_eq!((hunt.state, hunt.listing_error.as_deref()), (HuntState::Running, Some("the folder is gone")));

    story.wait_ms(INTERVAL_MS);
    let listing = story.begin_listing(corpus);
    story.end_listing(&listing);
    let hunt = story.hunt(corpus, rules, 1);
    assert_eq!((hunt.state, hunt.listing_error), (HuntState::CaughtUp, None));
}
