//! What comes first.

use types::{CorpusId, CorpusSelection};

use crate::{
    Command, Planner, Priority, Work, WorkClass,
    tests::story::{Job, Story, push},
};

#[test]
fn a_corpus_added_after_the_ruleset_is_fresh_and_goes_before_the_sweep() {
    let mut story = Story::new();
    let old = story.put_corpus("old");
    story.list(old, &[1; 3]);
    story.push("rules", &["a"]);
    let new = story.put_corpus("new");
    story.list(new, &[1; 3]);
    let order: Vec<_> = story.grant_many("a", 6).iter().map(Job::corpus).collect();
    assert_eq!(order, [new, new, new, old, old, old]);
}

#[test]
fn new_files_go_before_stored_ones_of_the_same_corpus() {
    let (mut story, corpus, _) = Story::of_segments(2);
    story.list(corpus, &[1, 1]);
    let order: Vec<_> = story.grant_many("a", 4).iter().map(|job| job.segment().0).collect();
    assert_eq!(order, [2, 3, 0, 1]);
}

#[test]
fn the_sweep_has_its_floor_of_one_in_eight() {
    let (mut story, corpus, _) = Story::of_segments(5);
    story.list(corpus, &[1; 40]);
    let mut swept = Vec::new();
    for grant in 1..=24 {
        let job = story.grant_to("a").unwrap(); // one at a time: the floor holds across calls
        if job.segment().0 < 5 {
            swept.push(grant);
        }
    }
    assert_eq!(swept, [8, 16, 24]);
}

fn push_with(story: &mut Story, key: &str, unit: &str, priority: Priority) {
    let Command::PutRuleset { key, digest, units, corpora, source_bytes, .. } =
        push(key, &[unit], CorpusSelection::All)
    else {
        panic!("a push is a push");
    };
    story.commit(Command::PutRuleset { key, digest, units, corpora, source_bytes, priority });
}

#[test]
fn urgent_rules_go_first_and_background_rules_last_and_nobody_starves() {
    let mut story = Story::new();
    let corpora = ["a/x", "b/x", "c/x", "d/x"].map(|corpus| story.put_corpus(corpus));
    let [urgent, fresh, sweep, background] = corpora;
    story.push("b/rules", &["u"]);
    for corpus in corpora {
        story.list(corpus, &[1; 40]);
    }
    push_with(&mut story, "a/rules", "u", Priority::Urgent);
    story.push("c/rules", &["u"]);
    push_with(&mut story, "d/rules", "u", Priority::Background);
    let order: Vec<_> = story.grant_many("w", 48).iter().map(Job::corpus).collect();
    let of = |corpus| order.iter().filter(|granted| **granted == corpus).count();
    assert_eq!(order[..7], [urgent; 7], "with nothing missed yet, urgent work comes first");
    assert_eq!((of(fresh), of(sweep), of(background)), (5, 5, 1), "each class has its floor: {order:?}");
    assert_eq!(of(urgent), 37, "and the rest is urgent");
}

#[test]
fn a_priority_is_that_of_the_last_push() {
    let (mut story, corpus, ruleset) = Story::of_segments(2);
    assert_eq!(story.state.ruleset(ruleset).unwrap().priority, Priority::Sweep);
    push_with(&mut story, "rules", "a", Priority::Background);
    assert_eq!(story.state.ruleset(ruleset).unwrap().priority, Priority::Background);
    assert_eq!(story.state.ruleset(ruleset).unwrap().versions.len(), 1, "the same sources make no new version");
    let owed: Vec<_> = story.state.owed_work().into_keys().map(|(_, class)| class).collect();
    assert_eq!(owed, [WorkClass::Background]);
    assert_eq!(story.grant_many("a", 2).iter().map(Job::corpus).collect::<Vec<_>>(), [corpus; 2]);
}

#[test]
fn a_sweep_that_starts_after_much_fresh_work_waits_for_nothing() {
    let (mut story, corpus, _) = Story::of_segments(0);
    let stored = story.put_corpus("other/stored");
    story.list(stored, &[1; 2]);
    story.list(corpus, &[1; 40]);
    story.grant_many("a", 20);
    story.push("other/rules", &["b"]);
    let order = story.grant_many("a", 9);
    let swept: Vec<_> = (0..9).filter(|at| order[*at].corpus() == stored).collect();
    assert_eq!(swept, [0, 8]);
}

#[test]
fn a_version_change_does_not_push_fresh_segments_back() {
    let (mut story, corpus, _) = Story::of_segments(3);
    story.list(corpus, &[1; 3]);
    let first = story.grant_to("a").unwrap();
    assert_eq!(first.segment().0, 3);
    story.finish(&first);
    story.push("rules", &["b"]);
    let order: Vec<_> = story.grant_many("a", 6).iter().map(|job| job.segment().0).collect();
    assert_eq!(order, [4, 5, 0, 1, 2, 3], "only what an older version had answered became part of the sweep");
}

#[test]
fn a_segment_fresh_for_one_ruleset_is_not_swept_for_another() {
    let (mut story, corpus, _) = Story::of_segments(1);
    story.list(corpus, &[1; 2]);
    story.push("late", &["b"]); // for it all three are a sweep
    let jobs = story.grant_many("a", 9);
    let order: Vec<_> = jobs.iter().map(|job| (job.segment().0, job.targets().len())).collect();
    assert_eq!(order, [(1, 2), (2, 2), (0, 2)]);
}

#[test]
fn corpora_take_turns_even_when_slots_come_one_by_one() {
    let mut story = Story::new();
    let corpora = ["x", "y", "z"].map(|name| story.put_corpus(name));
    for corpus in corpora {
        story.list(corpus, &[1; 4]);
    }
    story.push("rules", &["a"]);
    let order: Vec<_> = (0..6).map(|_| story.grant_to("a").unwrap().corpus()).collect();
    assert_eq!(order, [corpora, corpora].concat());
    let at_once: Vec<_> = story.grant_many("a", 6).iter().map(Job::corpus).collect();
    assert_eq!(at_once, [corpora, corpora].concat());
}

#[test]
fn listings_go_first_the_longest_due_before_the_others() {
    let (mut story, ..) = Story::of_segments(1);
    let early = story.put_corpus("early");
    story.wait_ms(10);
    let late = story.put_corpus("late");
    let order: Vec<_> = story.grant_many("a", 3).iter().map(|job| job.work.clone()).collect();
    assert_eq!(order[..2], [Work::List { corpus: early }, Work::List { corpus: late }]);
    assert!(matches!(order[2], Work::Scan { .. }));
}

#[test]
fn a_corpus_listed_without_pause_neither_stops_scanning_nor_other_listings() {
    let (mut story, files, _) = Story::of_segments(3);
    let restless = story.put_corpus_listed_every("restless", 0);
    let restless_too = story.put_corpus_listed_every("restless-too", 0);
    let mut order: Vec<(bool, CorpusId)> = Vec::new();
    for _ in 0..16 {
        story.wait_ms(1);
        let job = story.grant_to("a").unwrap();
        let listing = matches!(job.work, Work::List { .. });
        order.push((listing, job.corpus()));
        if listing {
            story.end_listing(&job);
        } else {
            story.finish(&job);
        }
    }
    let scans: Vec<_> = (0..16).filter(|at| !order[*at].0).collect();
    assert_eq!(scans, [7, 15]);
    assert!(scans.iter().all(|at| order[*at].1 == files));
    for corpus in [restless, restless_too] {
        assert_eq!(order.iter().filter(|job| **job == (true, corpus)).count(), 7);
    }
}

#[test]
fn no_free_slot_gets_no_job() {
    let (mut story, ..) = Story::of_segments(1);
    assert_eq!(story.plan("a", 0), []);
    let state = &story.state;
    assert_eq!(Planner::default().plan(state, &Default::default(), story.now(), &[]), []);
}
