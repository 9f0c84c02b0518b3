//! Tenants do not meet.

use crate::{
    Command, Grant, Refusal, RulesetState,
    tests::story::{Story, ruleset_key, scan, target},
};

#[test]
fn a_ruleset_never_hunts_in_a_corpus_of_another_tenant() {
    let mut story = Story::new();
    let (theirs, ours) = (story.put_corpus("b/files"), story.put_corpus("a/files"));
    story.list(theirs, &[1]);
    let rules = story.push("a/rules", &["x"]);
    story.list(ours, &[1]);
    assert_eq!(story.state.hunts().count(), 1);
    let job = story.grant_to("w").unwrap();
    assert_eq!(job.corpus(), ours);
    assert_eq!(story.grant_to("w"), None);

    let session = story.session("w");
    let grants = vec![Grant { session, work: scan(theirs, 0, &[target(rules, None, 1)]) }];
    assert_eq!(story.refusal(Command::GrantLeases { grants }), Refusal::NotOwed);
}

#[test]
fn one_name_in_two_tenants_is_two_things() {
    let mut story = Story::new();
    assert_ne!(story.put_corpus("a/files"), story.put_corpus("b/files"));
    assert_ne!(story.push("a/rules", &["x"]), story.push("b/rules", &["x"]));
    story.set_state("a/rules", RulesetState::Retired);
    let other = story.state.ruleset_id(&ruleset_key("b/rules")).unwrap();
    assert_eq!(story.state.ruleset(other).unwrap().state, RulesetState::Active);
    let command = Command::SetRulesetState { key: ruleset_key("c/rules"), state: RulesetState::Paused };
    assert_eq!(story.refusal(command), Refusal::UnknownRuleset);
}
