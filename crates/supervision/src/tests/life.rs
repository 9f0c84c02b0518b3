use super::story::{Story, secs};
use crate::{
    Action::{CloseInput, Died, Kill},
    Death::{Crashed, Hung},
    Seen,
};

#[test]
fn nothing_starts_before_it_is_wanted() {
    let mut story = Story::new();
    story.wait(secs(100), []);
}

#[test]
fn an_idle_scanner_never_hangs() {
    let mut story = Story::running();
    story.wait(secs(10_000), []);
    story.see(Seen::SentFiles, []);
    story.wait(secs(9), []);
}

#[test]
fn a_scanner_without_progress_is_killed_and_was_hung() {
    let mut story = Story::running();
    story.see(Seen::SentFiles, []);
    story.wait(secs(9), []);
    story.see(Seen::Progressed, []);
    story.wait(secs(9), []);
    story.see(Seen::SentFiles, []); // more work in line is no progress
    story.wait(secs(1), [Kill]);
    story.wait(secs(100), []); // once is enough
    story.see(Seen::Exited, [Died(Hung)]);
}

#[test]
fn compiling_has_a_limit_of_its_own() {
    let mut story = Story::running();
    story.see(Seen::SentRules, []);
    story.see(Seen::SentFiles, []);
    story.wait(secs(59), []);
    story.wait(secs(1), [Kill]);
}

#[test]
fn after_the_rules_the_files_are_on_the_clock() {
    let mut story = Story::running();
    story.see(Seen::SentRules, []);
    story.wait(secs(50), []);
    story.see(Seen::Progressed, []);
    story.wait(secs(10), [Kill]);
}

#[test]
fn the_first_death_is_followed_by_a_start_at_once_and_later_ones_by_growing_pauses() {
    let mut story = Story::running();
    for pause in [0, 1, 2, 4, 8, 8, 8] {
        story.see(Seen::Exited, [Died(Crashed)]);
        assert_eq!(story.pause(), secs(pause));
        if pause > 0 {
            story.see(Seen::Wanted, []); // not yet
        }
        story.restart();
    }
}

#[test]
fn a_steady_life_makes_deaths_forgotten() {
    let mut story = Story::running();
    for _ in 0..5 {
        story.see(Seen::Exited, [Died(Crashed)]);
        story.restart();
    }
    story.wait(secs(30), []);
    story.see(Seen::Exited, [Died(Crashed)]);
    assert_eq!(story.pause(), secs(0));
}

#[test]
fn a_start_that_fails_counts_as_a_death() {
    let mut story = Story::new();
    story.see(Seen::Wanted, [crate::Action::Start]);
    story.see(Seen::StartFailed, [Died(Crashed)]);
    story.see(Seen::Wanted, [crate::Action::Start]);
    story.see(Seen::StartFailed, [Died(Crashed)]);
    assert_eq!(story.pause(), secs(1));
}

#[test]
fn a_stop_lets_it_end_by_itself_then_kills() {
    let mut story = Story::running();
    story.see(Seen::StopWanted, [CloseInput]);
    story.see(Seen::StopWanted, []);
    story.wait(secs(1), [Kill]);
    story.see(Seen::Exited, []);
    story.see(Seen::Wanted, []); // never again
}
