use std::time::Duration;

use crate::{Breaker, Limits, Permit};

/// A breaker and a clock.
struct Story {
    breaker: Breaker,
    now: Duration,
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

impl Story {
    /// Opens after three failures, for ten seconds.
    fn new() -> Self {
        Self { breaker: Breaker::new(Limits { failures: 3, cool_down: secs(10) }), now: secs(1000) }
    }

    fn open() -> Self {
        let mut story = Self::new();
        (0..3).for_each(|_| story.ask_and_fail());
        story
    }

    fn ask(&mut self) -> Permit {
        self.breaker.permit(self.now).expect("asking is allowed")
    }

    fn expect_refusal(&mut self) {
        assert_eq!(self.breaker.permit(self.now), None);
    }

    fn ask_and_fail(&mut self) {
        let permit = self.ask();
        self.breaker.failed(permit, self.now);
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }
}

#[test]
fn failures_in_a_row_open_it() {
    let mut story = Story::new();
    story.ask_and_fail();
    story.ask_and_fail();
    let last = story.ask();
    assert!(story.breaker.failed(last, story.now), "the third failure is told as the one that opened it");
    story.expect_refusal();
}

#[test]
fn a_success_between_failures_starts_the_count_again() {
    let mut story = Story::new();
    for _ in 0..10 {
        story.ask_and_fail();
        story.ask_and_fail();
        let permit = story.ask();
        assert!(!story.breaker.succeeded(permit), "it was closed all the time");
    }
    assert!(story.breaker.is_closed());
}

#[test]
fn it_stays_open_for_the_whole_cool_down_and_then_lets_one_try() {
    let mut story = Story::open();
    story.wait(secs(9));
    story.expect_refusal();
    story.wait(secs(1));
    let _trial = story.ask();
    story.expect_refusal();
    story.wait(secs(100));
    story.expect_refusal();
}

#[test]
fn a_trial_that_succeeds_closes_it_for_all() {
    let mut story = Story::open();
    story.wait(secs(10));
    let trial = story.ask();
    assert!(story.breaker.succeeded(trial));
    assert!(story.breaker.is_closed());
    // All the failures that it takes, anew.
    story.ask_and_fail();
    story.ask_and_fail();
    let _third = story.ask();
}

#[test]
fn a_trial_that_fails_opens_it_for_another_cool_down() {
    let mut story = Story::open();
    story.wait(secs(10));
    let trial = story.ask();
    story.wait(secs(2));
    assert!(story.breaker.failed(trial, story.now));
    story.wait(secs(9));
    story.expect_refusal();
    story.wait(secs(1));
    let _second = story.ask();
}

#[test]
fn a_trial_that_nobody_waits_for_any_more_makes_room_for_another() {
    let mut story = Story::open();
    story.wait(secs(10));
    let trial = story.ask();
    story.breaker.abandoned(trial);
    let _other = story.ask();
    story.expect_refusal();
}

#[test]
fn late_answers_to_questions_of_before_change_nothing() {
    let mut story = Story::new();
    let (slow, slower, slowest) = (story.ask(), story.ask(), story.ask());
    (0..3).for_each(|_| story.ask_and_fail());
    assert!(!story.breaker.succeeded(slow), "an answer from before it opened does not close it");
    story.expect_refusal();
    story.wait(secs(10));
    let trial = story.ask();
    assert!(!story.breaker.failed(slower, story.now));
    story.breaker.abandoned(slowest);
    story.expect_refusal();
    assert!(story.breaker.succeeded(trial));
}

#[test]
fn one_failure_is_enough_where_the_limit_says_so() {
    let mut breaker = Breaker::new(Limits { failures: 1, cool_down: secs(1) });
    let permit = breaker.permit(secs(0)).unwrap();
    assert!(breaker.failed(permit, secs(0)));
    assert_eq!(breaker.permit(secs(0)), None);
}
