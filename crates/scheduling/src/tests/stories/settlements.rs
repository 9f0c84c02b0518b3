//! Answers that do not fit their segment: a failure of the attempt, never a panic, never a wrong sum.

use types::{Exception, FileOrdinal, RulesetId, RulesetVersion, SegmentOrdinal};

use crate::{
    Command, Refusal, RulesetResult, ScanDone, Verdict,
    tests::story::{Story, found},
};

#[test]
fn outcomes_are_counted_by_kind() {
    let (mut story, corpus, rules) = Story::of_segments(2);
    let job = story.grant_to("a").unwrap();
    story.settle(&job, &found(3, 7, &[(0, Exception::TimedOut), (4, Exception::Gone), (9, Exception::Gone)]));
    let hunt = story.hunt(corpus, rules, 1);
    let outcomes = hunt.outcomes;
    assert_eq!((outcomes.matched, outcomes.clean, outcomes.timed_out, outcomes.gone), (3, 4, 1, 2));
    assert_eq!((hunt.stored_files, hunt.pending_files, hunt.findings), (20, 10, 7));
    assert_eq!((hunt.done_bytes, hunt.scanned_bytes), (1_000, 1_000));
    let object = story.coverage(corpus, rules).findings_of(job.segment()).unwrap();
    assert_eq!((object.lease, object.version, object.files, object.findings), (job.lease, RulesetVersion(1), 3, 7));
    let excepted: Vec<_> = story.coverage(corpus, rules).excepted_of(job.segment()).collect();
    assert_eq!(excepted[1], (FileOrdinal(4), Exception::Gone));
}

#[test]
fn a_clean_answer_of_a_new_version_clears_findings_and_exceptions() {
    let (mut story, corpus, rules) = Story::of_segments(1);
    let job = story.grant_to("a").unwrap();
    story.settle(&job, &found(1, 1, &[(0, Exception::Crashed)]));
    story.push("rules", &["b"]);
    story.finish_all();
    let coverage = story.coverage(corpus, rules);
    assert_eq!((coverage.findings().count(), coverage.excepted().count()), (0, 0));
}

#[test]
fn every_file_may_match_or_be_excepted_but_none_twice() {
    let full: Vec<_> = (0..10).map(|file| (file, Exception::Unreadable)).collect();
    for (verdict, fits) in [
        (found(10, 10, &[]), true),
        (found(0, 0, &full), true),
        (found(9, 9, &full[..1]), true),
        (found(0, 4, &full), true), // findings in files that then timed out
        (found(11, 11, &[]), false),
        (found(10, 10, &full[..1]), false),
        (found(1, 1, &full), false),
        (found(2, 1, &[]), false),
        (found(u32::MAX, u32::MAX, &full), false),
        (found(0, 0, &[(10, Exception::Gone)]), false),
        (found(0, 0, &[(u32::MAX, Exception::Gone)]), false),
        (found(0, 0, &[(2, Exception::Gone), (1, Exception::Gone)]), false),
        (found(0, 0, &[(1, Exception::Gone), (1, Exception::Crashed)]), false),
    ] {
        let (mut story, corpus, rules) = Story::of_segments(1);
        let job = story.grant_to("a").unwrap();
        story.settle(&job, &verdict);
        let attempts = story.coverage(corpus, rules).attempts_of(SegmentOrdinal(0));
        assert_eq!(story.receipt(corpus, rules, 1).total(), if fits { 10 } else { 0 }, "{verdict:?}");
        assert_eq!(attempts.failed, u32::from(!fits), "{verdict:?}");
        assert_eq!(attempts.last_error.is_some_and(|error| error.contains("does not add up")), !fits);
    }
}

#[test]
fn a_ruleset_settled_twice_in_one_settlement_is_a_failure() {
    let (mut story, corpus, rules) = Story::of_segments(1);
    let job = story.grant_to("a").unwrap();
    let results = [job.results(&found(1, 1, &[])), job.results(&found(0, 0, &[]))].concat();
    story.tell(Command::SettleAttempt { lease: job.lease, results });
    assert_eq!(story.receipt(corpus, rules, 1).total(), 0);
    assert_eq!(story.coverage(corpus, rules).attempts_of(SegmentOrdinal(0)).failed, 1);
}

#[test]
fn an_answer_for_another_ruleset_or_version_is_passed_over() {
    let (mut story, corpus, rules) = Story::of_segments(1);
    let other = story.push("other", &["b"]);
    story.set_state("other", crate::RulesetState::Paused);
    let job = story.grant_to("a").unwrap();
    let verdict = Verdict::Done(ScanDone::default());
    let result = |ruleset, to| RulesetResult { ruleset, to: RulesetVersion(to), verdict: verdict.clone() };
    let results = vec![result(other, 1), result(RulesetId(u32::MAX), 1), result(rules, 2), result(rules, 0)];
    story.tell(Command::SettleAttempt { lease: job.lease, results });
    for ruleset in [rules, other] {
        assert_eq!(story.receipt(corpus, ruleset, 1).total(), 0);
        assert_eq!(story.coverage(corpus, ruleset).attempts_of(SegmentOrdinal(0)).failed, 0);
    }
    assert_eq!(story.state.leases().count(), 0);
}

#[test]
fn a_lease_settles_only_its_own_kind_of_work() {
    let (mut story, corpus, _) = Story::of_segments(1);
    let scan = story.grant_to("a").unwrap();
    let listing = story.begin_listing(corpus);
    let settle = Command::SettleAttempt { lease: listing.lease, results: Vec::new() };
    assert_eq!(story.refusal(settle), Refusal::WrongWork);
    let append = Command::AppendSegments { lease: scan.lease, segments: Vec::new(), gone: Vec::new() };
    assert_eq!(story.refusal(append), Refusal::WrongWork);
    let result = crate::ListingResult::Failed { reason: String::new() };
    assert_eq!(story.refusal(Command::SettleListing { lease: scan.lease, result }), Refusal::WrongWork);
}
