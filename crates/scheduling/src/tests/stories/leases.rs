//! Who may run what, and what becomes of it when they are gone.

use types::{LeaseId, SegmentOrdinal, SessionId};

use crate::{
    Command, Event, FreeSlots, Grant, Planner, Refusal, Reservations, Work,
    tests::story::{Story, clean, scan, target},
};

#[test]
fn a_lost_worker_returns_its_segment() {
    let (mut story, ..) = Story::of_segments(1);
    let first = story.grant_to("a").unwrap();
    assert_eq!((first.segment(), first.attempt), (SegmentOrdinal(0), 1));
    assert_eq!(story.grant_to("b"), None);

    story.lose("a");
    story.expect([
        Event::LeaseEnded { lease: first.lease, session: first.session },
        Event::SessionEnded { session: first.session },
    ]);

    let second = story.grant_to("b").unwrap();
    assert_eq!((second.segment(), second.attempt), (first.segment(), 2));
    assert!(second.lease > first.lease, "the fencing id grows");
    story.expect_nothing_more();
}

#[test]
fn a_settlement_by_a_lease_that_has_ended_is_refused() {
    let (mut story, ..) = Story::of_segments(1);
    let lost = story.grant_to("a").unwrap();
    story.lose("a");
    let again = story.grant_to("b").unwrap();

    let late = Command::SettleAttempt { lease: lost.lease, results: lost.results(&clean()) };
    assert_eq!(story.refusal(late.clone()), Refusal::LeaseNotLive);
    story.finish(&again);
    assert_eq!(story.refusal(late), Refusal::LeaseNotLive);
    let twice = Command::SettleAttempt { lease: again.lease, results: again.results(&clean()) };
    assert_eq!(story.refusal(twice), Refusal::LeaseNotLive);
}

#[test]
fn two_sessions_never_get_one_segment() {
    let (mut story, corpus, rules) = Story::of_segments(2);
    let one = story.grant_to("a").unwrap();
    let other = story.grant_to("b").unwrap();
    assert_ne!(one.segment(), other.segment());

    let session = story.session("b");
    let taken = scan(corpus, one.segment().0, &[target(rules, None, 1)]);
    let grants = vec![Grant { session, work: taken }];
    assert_eq!(story.refusal(Command::GrantLeases { grants }), Refusal::NotOwed);
}

#[test]
fn of_two_equal_grants_in_one_command_the_second_is_refused() {
    let (mut story, corpus, rules) = Story::of_segments(1);
    let (a, b) = (story.session("a"), story.session("b"));
    let work = scan(corpus, 0, &[target(rules, None, 1)]);
    let grants = vec![Grant { session: a, work: work.clone() }, Grant { session: b, work }];
    let events = story.commit(Command::GrantLeases { grants });
    let [Event::LeaseGranted { session, .. }, Event::Refused { refusal: Refusal::NotOwed }] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(*session, a);
    assert_eq!(story.state.leases().count(), 1);
}

#[test]
fn a_grant_to_a_session_that_has_ended_is_refused() {
    let (mut story, corpus, rules) = Story::of_segments(1);
    let session = story.session("a");
    let grants = story.plan("a", 1);
    story.lose("a");
    assert_eq!(story.refusal(Command::GrantLeases { grants }), Refusal::SessionNotLive);
    assert!(story.state.leases().next().is_none() && story.state.session(session).is_none());
    assert!(story.coverage(corpus, rules).attempts().next().is_none(), "nobody acquired it");
}

#[test]
fn ending_a_session_twice_is_harmless() {
    let (mut story, ..) = Story::of_segments(1);
    let session = story.session("a");
    story.tell(Command::EndSessions { sessions: vec![session, session] });
    story.expect([Event::SessionEnded { session }]);
    story.tell(Command::EndSessions { sessions: vec![session, SessionId { index: 999, slot: 9 }] });
    story.expect_nothing_more();
}

#[test]
fn a_session_ends_with_all_its_leases_and_no_other() {
    let (mut story, ..) = Story::of_segments(3);
    let lost = story.grant_many("a", 2);
    let kept = story.grant_to("b").unwrap();
    story.lose("a");
    story.expect([
        Event::LeaseEnded { lease: lost[0].lease, session: lost[0].session },
        Event::LeaseEnded { lease: lost[1].lease, session: lost[1].session },
        Event::SessionEnded { session: lost[0].session },
    ]);
    let left: Vec<_> = story.state.leases().map(|(id, _)| id).collect();
    assert_eq!(left, [kept.lease]);
    assert_eq!(story.state.backlog().leased_segments, 1);
    assert_eq!(story.state.backlog().owed_segments, 2);
    story.finish(&kept);
    assert!(story.state.session(kept.session).unwrap().leases.is_empty(), "a session forgets what it settled");
}

#[test]
fn leases_of_one_entry_have_ids_in_slot_order() {
    let (mut story, ..) = Story::of_segments(2);
    let jobs = story.grant_many("a", 2);
    let index = jobs[0].lease.index;
    assert_eq!([jobs[0].lease, jobs[1].lease], [0, 1].map(|slot| LeaseId { index, slot }));
}

#[test]
fn the_planner_leaves_out_what_is_reserved_until_it_is_released() {
    let (mut story, ..) = Story::of_segments(2);
    let session = story.session("a");
    let free = [FreeSlots { session, slots: 5 }];
    let (mut planner, mut reservations) = (Planner::default(), Reservations::default());
    let planned = planner.plan(&story.state, &reservations, story.now(), &free);
    assert_eq!(planned.len(), 2);
    for grant in &planned {
        reservations.reserve(&grant.work);
    }
    assert_eq!(planner.plan(&story.state, &reservations, story.now(), &free), []);
    reservations.release(&planned[1].work);
    assert_eq!(planner.plan(&story.state, &reservations, story.now(), &free), planned[1..]);

    story.put_corpus("new");
    let listing = planner.plan(&story.state, &reservations, story.now(), &free[..]);
    assert!(matches!(listing[0].work, Work::List { .. }));
    reservations.reserve(&listing[0].work);
    assert_eq!(planner.plan(&story.state, &reservations, story.now(), &free), planned[1..]);
    reservations.release(&listing[0].work);
    assert_eq!(planner.plan(&story.state, &reservations, story.now(), &free)[0].work, listing[0].work);
}

#[test]
fn few_jobs_spread_over_many_workers() {
    let (mut story, ..) = Story::of_segments(3);
    let [a, b, c] = ["a", "b", "c"].map(|worker| story.session(worker));
    let free = [(a, 2), (b, 0), (c, 9)].map(|(session, slots)| FreeSlots { session, slots });
    let grants = Planner::default().plan(&story.state, &Reservations::default(), story.now(), &free);
    let sessions: Vec<_> = grants.iter().map(|grant| grant.session).collect();
    assert_eq!(sessions, [a, c, a]);
}

#[test]
fn the_planner_leaves_out_a_session_that_has_ended() {
    let (mut story, ..) = Story::of_segments(1);
    let [gone, live] = ["a", "b"].map(|worker| story.session(worker));
    story.lose("a");
    let free = [gone, live].map(|session| FreeSlots { session, slots: 1 });
    let grants = Planner::default().plan(&story.state, &Reservations::default(), story.now(), &free);
    assert_eq!(grants.iter().map(|grant| grant.session).collect::<Vec<_>>(), [live]);
}
