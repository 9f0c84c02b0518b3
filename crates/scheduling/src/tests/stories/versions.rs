//! Versions of rulesets: who owes what to whom, and the states of a ruleset.

use types::{CorpusSelection, Name, RulesetVersion, SegmentOrdinal};

use crate::{
    Command, Event, Grant, HuntState, Refusal, RulesetState,
    tests::story::{Story, clean, push, ruleset_key, scan, target},
};

#[test]
fn rulesets_ride_along_in_one_job() {
    let (mut story, _, first) = Story::of_segments(1);
    let second = story.push("more", &["b"]);
    let job = story.grant_to("a").unwrap();
    assert_eq!(job.targets(), [target(first, None, 1), target(second, None, 1)]);
    story.settle(&job, &clean());
    let done = |ruleset| Event::SegmentDone {
        corpus: job.corpus(),
        segment: job.segment(),
        ruleset,
        version: RulesetVersion(1),
    };
    story.expect([Event::LeaseEnded { lease: job.lease, session: job.session }, done(first), done(second)]);
    assert_eq!(story.grant_to("a"), None);
}

#[test]
fn a_new_version_makes_a_delta_job() {
    let (mut story, corpus, rules) = Story::of_segments(1);
    story.finish_all();
    story.push("rules", &["a", "b"]);
    let job = story.grant_to("a").unwrap();
    assert_eq!(job.targets(), [target(rules, Some(1), 2)]);
    assert_eq!(job.attempt, 1, "what was done before is no attempt at this");
    story.finish(&job);
    assert_eq!(story.coverage(corpus, rules).done_version(SegmentOrdinal(0)), Some(RulesetVersion(2)));

    let versions = &story.state.ruleset(rules).unwrap().versions;
    assert_eq!((versions[0].units_new, versions[0].units_carried), (1, 0));
    assert_eq!((versions[1].units_new, versions[1].units_carried), (1, 1));
}

#[test]
fn a_skipped_version_is_never_scanned() {
    let (mut story, _, rules) = Story::of_segments(1);
    story.finish_all();
    story.push("rules", &["a", "b"]);
    story.push("rules", &["a", "b", "c"]);
    assert_eq!(story.grant_to("a").unwrap().targets(), [target(rules, Some(1), 3)]);
}

#[test]
fn a_version_pushed_while_a_lease_is_live_is_owed_after_it_settles() {
    let (mut story, _, rules) = Story::of_segments(1);
    let job = story.grant_to("a").unwrap();
    story.push("rules", &["b"]);
    assert_eq!(story.grant_to("b"), None, "its segment is leased");
    story.finish(&job);
    assert_eq!(story.grant_to("b").unwrap().targets(), [target(rules, Some(1), 2)]);
}

#[test]
fn a_grant_planned_before_a_push_is_refused_after_it() {
    let (mut story, corpus, rules) = Story::of_segments(1);
    let grants = story.plan("a", 1);
    story.push("rules", &["b"]);
    assert_eq!(story.refusal(Command::GrantLeases { grants }), Refusal::NotOwed);

    let job = story.grant_to("a").unwrap();
    story.finish(&job);
    let session = story.session("a");
    let mut refused = |from, to| {
        let work = scan(corpus, 0, &[target(rules, from, to)]);
        assert_eq!(story.refusal(Command::GrantLeases { grants: vec![Grant { session, work }] }), Refusal::NotOwed);
    };
    refused(Some(2), 2);
    refused(None, 2);
    refused(Some(2), 3);
    refused(Some(2), 1);
    refused(Some(1), 2);
}

#[test]
fn the_same_sources_twice_make_no_new_version() {
    let (mut story, _, rules) = Story::of_segments(1);
    let put = |version, created| Event::RulesetPut { ruleset: rules, version: RulesetVersion(version), created };
    story.tell(push("rules", &["a"], CorpusSelection::All));
    story.tell(push("rules", &["b"], CorpusSelection::All));
    story.tell(push("rules", &["a"], CorpusSelection::All));
    story.expect([put(1, false), put(2, true), put(3, true)]);
    assert_eq!(story.state.ruleset(rules).unwrap().versions.len(), 3);
}

#[test]
fn a_paused_ruleset_owes_nothing_until_it_is_resumed() {
    let (mut story, corpus, rules) = Story::of_segments(2);
    let under_way = story.grant_to("a").unwrap();
    story.set_state("rules", RulesetState::Paused);
    assert_eq!(story.hunt(corpus, rules, 1).state, HuntState::Paused);
    assert_eq!(story.grant_to("a"), None);
    assert_eq!(story.state.backlog().owed_segments, 0);

    story.finish(&under_way); // what is under way may still settle
    assert_eq!(story.receipt(corpus, rules, 1).clean, 10);
    let session = story.session("a");
    let grants = vec![Grant { session, work: scan(corpus, 1, &[target(rules, None, 1)]) }];
    assert_eq!(story.refusal(Command::GrantLeases { grants }), Refusal::NotOwed);

    story.set_state("rules", RulesetState::Active);
    assert_eq!(story.finish_all(), 1);
    assert_eq!(story.hunt(corpus, rules, 1).state, HuntState::CaughtUp);
}

#[test]
fn a_corpus_that_came_while_a_ruleset_was_paused_is_hunted_when_it_resumes() {
    let (mut story, _, rules) = Story::of_segments(0);
    story.set_state("rules", RulesetState::Paused);
    let later = story.put_corpus("later");
    story.list(later, &[10]);
    assert!(story.state.coverage(later, rules).is_none());
    story.set_state("rules", RulesetState::Active);
    assert_eq!(story.finish_all(), 1);
    assert_eq!(story.hunt(later, rules, 1).state, HuntState::CaughtUp);
}

#[test]
fn a_retired_ruleset_keeps_its_receipt_and_hunts_again_when_pushed() {
    let (mut story, corpus, rules) = Story::of_segments(2);
    let job = story.grant_to("a").unwrap();
    story.finish(&job);
    story.set_state("rules", RulesetState::Retired);
    let hunt = story.hunt(corpus, rules, 1);
    assert_eq!((hunt.state, hunt.outcomes.clean, hunt.pending_files), (HuntState::Retired, 10, 10));
    assert_eq!(story.grant_to("a"), None);

    story.tell(push("rules", &["a"], CorpusSelection::All));
    story.expect([Event::RulesetPut { ruleset: rules, version: RulesetVersion(1), created: false }]);
    assert_eq!(story.finish_all(), 1);
}

#[test]
fn a_ruleset_hunts_only_where_it_was_sent() {
    let mut story = Story::new();
    let (here, there) = (story.put_corpus("here"), story.put_corpus("there"));
    story.list(here, &[1]);
    story.list(there, &[1]);
    let only = |name: &str| CorpusSelection::Named([Name::new(name).unwrap()].into());
    let rules = story.push_for("rules", &["a"], only("here"));
    let session = story.session("a");
    let grants = vec![Grant { session, work: scan(there, 0, &[target(rules, None, 1)]) }];
    assert_eq!(story.refusal(Command::GrantLeases { grants }), Refusal::NotOwed);
    let job = story.grant_to("a").unwrap();
    assert_eq!(job.corpus(), here);

    story.push_for("rules", &["a"], only("there"));
    story.finish(&job);
    assert_eq!(story.hunt(here, rules, 1).state, HuntState::Retired, "sent elsewhere");
    assert_eq!(story.grant_to("a").unwrap().corpus(), there);
}

#[test]
fn the_state_of_an_unknown_ruleset_cannot_be_set() {
    let mut story = Story::new();
    let command = Command::SetRulesetState { key: ruleset_key("nobody"), state: RulesetState::Paused };
    assert_eq!(story.refusal(command), Refusal::UnknownRuleset);
}
