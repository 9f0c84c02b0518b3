//! Attempts that fail: counted, uncounted, backed off, given up.

use types::{Exception, SegmentOrdinal};

use crate::{
    Command, Event, FAILED_ATTEMPTS_LIMIT, LOST_ATTEMPTS_LIMIT, RulesetResult, Verdict,
    tests::story::{INTERVAL_MS, Story, clean, failed, hindered, target},
};

#[test]
fn three_counted_failures_make_every_file_abandoned() {
    let (mut story, corpus, rules) = Story::of_segments(1);
    for attempt in 1..=FAILED_ATTEMPTS_LIMIT {
        story.wait_ms(60_000);
        let job = story.grant_to("a").unwrap();
        assert_eq!(job.attempt, attempt);
        story.settle(&job, &failed());
        let (segment, ruleset, version) = (job.segment(), rules, job.targets()[0].to);
        let ended = Event::LeaseEnded { lease: job.lease, session: job.session };
        let failed = Event::AttemptFailed { corpus, segment, ruleset, version };
        if attempt < FAILED_ATTEMPTS_LIMIT {
            assert_eq!(story.receipt(corpus, rules, 1).total(), 0);
            story.expect([ended, failed]);
        } else {
            story.expect([
                ended,
                failed,
                Event::SegmentDone { corpus, segment, ruleset, version },
                Event::SegmentAbandoned { corpus, segment, ruleset, version },
            ]);
        }
    }
    let receipt = story.receipt(corpus, rules, 1);
    assert_eq!((receipt.abandoned, receipt.clean, receipt.total()), (10, 0, 10));
    let excepted: Vec<_> = story.coverage(corpus, rules).excepted_of(SegmentOrdinal(0)).collect();
    assert_eq!(excepted.len(), 10);
    assert!(excepted.iter().all(|(_, exception)| *exception == Exception::Abandoned));
    story.wait_ms(INTERVAL_MS / 2);
    assert_eq!(story.grant_to("a"), None, "done, if without answers");
}

#[test]
fn an_abandoned_segment_is_owed_to_the_next_version_and_starts_anew() {
    let (mut story, corpus, rules) = Story::of_segments(1);
    for _ in 0..FAILED_ATTEMPTS_LIMIT {
        story.wait_ms(60_000);
        let job = story.grant_to("a").unwrap();
        story.settle(&job, &failed());
    }
    let reason = story.coverage(corpus, rules).abandoned_because(SegmentOrdinal(0)).unwrap().to_owned();
    assert!(reason.starts_with("gave up after 3 failed attempts, 0 lost: "), "{reason}");
    story.push("rules", &["b"]);
    let job = story.grant_to("a").unwrap();
    assert_eq!((job.attempt, job.targets()), (1, &[target(rules, Some(1), 2)][..]));
    story.finish(&job);
    assert_eq!(story.coverage(corpus, rules).abandoned_because(SegmentOrdinal(0)), None);
    assert_eq!(story.coverage(corpus, rules).excepted().count(), 0, "the new version has answers");
    assert_eq!(story.receipt(corpus, rules, 1).abandoned, 10, "the old one has not");
    assert_eq!(story.receipt(corpus, rules, 2).clean, 10);
}

#[test]
fn failures_of_an_old_version_do_not_count_against_a_new_one() {
    let (mut story, corpus, rules) = Story::of_segments(1);
    for _ in 1..FAILED_ATTEMPTS_LIMIT {
        story.wait_ms(60_000);
        let job = story.grant_to("a").unwrap();
        story.settle(&job, &failed());
    }
    story.push("rules", &["mended"]);

    let job = story.grant_to("a").expect("no back-off is left over either");
    story.settle(&job, &failed());

    assert_eq!(story.coverage(corpus, rules).attempts_of(SegmentOrdinal(0)).failed, 1);
    assert_eq!(story.receipt(corpus, rules, 2).abandoned, 0);
}

#[test]
fn hindered_attempts_never_count() {
    let (mut story, corpus, rules) = Story::of_segments(1);
    for attempt in 1..=50 {
        story.wait_ms(1_000);
        let job = story.grant_to("a").expect("its back-off does not grow");
        assert_eq!(job.attempt, attempt);
        story.settle(&job, &hindered());
    }
    let attempts = story.coverage(corpus, rules).attempts_of(SegmentOrdinal(0));
    assert_eq!((attempts.acquired, attempts.failed, attempts.lost), (50, 0, 0));
    assert_eq!(attempts.last_error.as_deref(), Some("storage away"));
    assert_eq!(story.receipt(corpus, rules, 1).total(), 0);
}

#[test]
fn a_back_off_is_respected_and_doubles() {
    let (mut story, ..) = Story::of_segments(1);
    for back_off_ms in [1_000, 2_000] {
        let job = story.grant_to("a").unwrap();
        story.settle(&job, &failed());
        assert_eq!(story.grant_to("a"), None);
        story.wait_ms(back_off_ms - 1);
        assert_eq!(story.grant_to("a"), None);
        story.wait_ms(1);
    }
    assert_eq!(story.grant_to("a").unwrap().attempt, 3);
}

#[test]
fn a_back_off_of_one_ruleset_does_not_hold_another() {
    let (mut story, _, first) = Story::of_segments(1);
    let second = story.push("more", &["b"]);
    let job = story.grant_to("a").unwrap();
    let verdicts = [(first, failed()), (second, Verdict::Done(Default::default()))];
    let results = verdicts.map(|(ruleset, verdict)| RulesetResult { ruleset, to: job.targets()[0].to, verdict });
    story.tell(Command::SettleAttempt { lease: job.lease, results: results.into() });
    story.push("more", &["c"]);
    assert_eq!(story.grant_to("a").unwrap().targets(), [target(second, Some(1), 2)]);
}

#[test]
fn ten_lost_sessions_abandon_a_segment() {
    let (mut story, corpus, rules) = Story::of_segments(1);
    for attempt in 1..=LOST_ATTEMPTS_LIMIT {
        assert_eq!(story.receipt(corpus, rules, 1).total(), 0);
        assert_eq!(story.grant_to("a").unwrap().attempt, attempt);
        story.lose("a");
    }
    assert_eq!(story.receipt(corpus, rules, 1).abandoned, 10);
    assert_eq!(story.grant_to("a"), None);
}

#[test]
fn work_given_back_is_owed_at_once_and_uncounted() {
    let (mut story, corpus, rules) = Story::of_segments(1);
    for attempt in 1..=20 {
        let job = story.grant_to("a").unwrap();
        assert_eq!(job.attempt, attempt);
        story.tell(Command::SettleAttempt { lease: job.lease, results: Vec::new() });
        story.expect([Event::LeaseEnded { lease: job.lease, session: job.session }]);
    }
    let attempts = story.coverage(corpus, rules).attempts_of(SegmentOrdinal(0));
    assert_eq!((attempts.failed, attempts.lost), (0, 0));
}

#[test]
fn failures_and_losses_are_counted_apart_and_forgotten_when_done() {
    let (mut story, corpus, rules) = Story::of_segments(1);
    let job = story.grant_to("a").unwrap();
    story.settle(&job, &failed());
    story.wait_ms(1_000);
    story.grant_to("a").unwrap();
    story.lose("a");
    let attempts = story.coverage(corpus, rules).attempts_of(SegmentOrdinal(0));
    assert_eq!((attempts.acquired, attempts.failed, attempts.lost), (2, 1, 1));
    let job = story.grant_to("a").unwrap();
    story.settle(&job, &clean());
    assert_eq!(story.coverage(corpus, rules).attempts().count(), 0);
}

#[test]
fn an_error_text_is_cut_before_it_is_kept() {
    let (mut story, corpus, rules) = Story::of_segments(1);
    let job = story.grant_to("a").unwrap();
    story.settle(&job, &Verdict::Failed { reason: "ä".repeat(100_000) });
    let kept = story.coverage(corpus, rules).attempts_of(SegmentOrdinal(0)).last_error.unwrap();
    assert_eq!(kept.chars().count(), 500);
}
