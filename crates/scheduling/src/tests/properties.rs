//! Random histories, held against the model and the invariants after every step.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
};

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{TestCaseError, TestRunner},
};

use super::{
    compare::compare,
    history::{Kind, Leader},
    invariants::{Invariants, Step},
    model::Model,
};
use crate::{Command, Stamp, State};

const COMMANDS: usize = 200;

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        2 => Just(Kind::PutCorpus),
        3 => Just(Kind::Push),
        2 => Just(Kind::SetState),
        1 => Just(Kind::DeleteCorpus),
        3 => Just(Kind::Open),
        2 => Just(Kind::End),
        25 => Just(Kind::Plan),
        8 => Just(Kind::Commit),
        4 => Just(Kind::GrantSpoiled),
        36 => Just(Kind::SettleScan),
        12 => Just(Kind::SettleListing),
        3 => Just(Kind::SettleDead),
        1 => Just(Kind::AllocateNode),
    ]
}

/// Begins with a corpus, a ruleset and a session of each tenant more often than not.
fn steps() -> impl Strategy<Value = Vec<(Kind, u64)>> {
    let opening = [Kind::PutCorpus, Kind::Push, Kind::Open, Kind::PutCorpus, Kind::Push, Kind::Plan];
    let opening = opening.map(|kind| (Just(kind), any::<u64>()));
    let rest = prop::collection::vec((kind(), any::<u64>()), COMMANDS - 6);
    (opening, rest).prop_map(|(opening, rest)| opening.into_iter().chain(rest).collect())
}

fn run(steps: &[(Kind, u64)], log: &mut Vec<(Stamp, Command)>) {
    let (mut state, mut model, mut leader) = (State::default(), Model::default(), Leader::new());
    let mut invariants = Invariants::default();
    for (kind, seed) in steps {
        let (stamp, command) = leader.step(&state, *kind, *seed);
        log.push((stamp, command.clone()));
        let before = state.clone();
        let events = state.apply(stamp, command.clone());
        assert_eq!(events, model.apply(stamp, command.clone()));
        compare(&state, &model);
        let (now, after) = (leader.now(), &state);
        let grantable = model.grantable(now);
        invariants.check(&Step { before: &before, stamp, command: &command, events: &events, after, grantable, now });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, max_shrink_iters: 5_000, ..ProptestConfig::default() })]

    #[test]
    fn the_core_does_what_the_model_says(steps in steps()) {
        let mut log = Vec::new();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(&steps, &mut log))) {
            return Err(TestCaseError::fail(story_of(&log, panic.as_ref())));
        }
    }
}

/// The concrete commands of a failed history, to be made a story of.
fn story_of(log: &[(Stamp, Command)], panic: &(dyn std::any::Any + Send)) -> String {
    let message = panic.downcast_ref::<String>().map(String::as_str);
    let message = message.or(panic.downcast_ref::<&str>().copied()).unwrap_or("panicked");
    let mut text = format!("{message}\nafter these commands:\n");
    for (stamp, command) in log {
        writeln!(text, "    state.apply({stamp:?}, {command:?});").expect("a string takes everything");
    }
    text
}

/// A generator that has gone blind would make the property above true of nothing.
#[test]
fn random_histories_meet_every_event_and_most_of_their_commands_hold() {
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut runner = TestRunner::deterministic();
    for _ in 0..60 {
        let (mut state, mut leader) = (State::default(), Leader::new());
        for (kind, seed) in steps().new_tree(&mut runner).expect("nothing is filtered out").current() {
            let (stamp, command) = leader.step(&state, kind, seed);
            for event in state.apply(stamp, command) {
                let text = format!("{event:?}");
                let name = text.split([' ', '{']).next().expect("a name comes first");
                let refusal =
                    text.strip_prefix("Refused { refusal: ").and_then(|refusal| refusal.split([' ', '}']).next());
                *counts.entry(refusal.map_or(name.to_owned(), |refusal| format!("Refused {refusal}"))).or_default() +=
                    1;
            }
        }
    }
    for name in [
        "CorpusPut",
        "RulesetPut",
        "RulesetStateSet",
        "SessionOpened",
        "SessionEnded",
        "LeaseGranted",
        "LeaseEnded",
        "SegmentDone",
        "AttemptFailed",
        "SegmentAbandoned",
        "SegmentsAppended",
        "ListingSettled",
        "NodeAllocated",
        "CorpusDeleted",
        "Refused UnknownCorpus",
        "Refused UnknownRuleset",
        "Refused SessionNotLive",
        "Refused LeaseNotLive",
        "Refused NotOwed",
        "Refused WrongWork",
        "Refused UrlFixed",
        "Refused Malformed",
    ] {
        assert!(counts.get(name).is_some_and(|count| *count >= 5), "{name} in {counts:#?}");
    }
    let refused: u32 = counts.iter().filter(|(name, _)| name.starts_with("Refused")).map(|(_, count)| count).sum();
    let all: u32 = counts.values().sum();
    assert!(refused * 4 < all, "{counts:#?}");
}
