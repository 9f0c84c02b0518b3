use super::story::{AUTO, Story, WHEN_TOLD, v};
use crate::manage::decide::{Policy, Rest, Step, SwitchMode};

fn serving() -> Step {
    Step::Rest(Rest::Serving)
}

fn life_of(version: u32) -> [Step; 3] {
    [Step::Download(v(version)), Step::Open(v(version)), Step::Switch(v(version))]
}

#[test]
fn an_empty_server_fetches_what_is_announced_and_serves_it() {
    let mut story = Story::new(AUTO);
    story.expect(life_of(1));
    story.expect([serving()]);
}

#[test]
fn nothing_is_announced_so_there_is_nothing_to_do() {
    let mut story = Story::new(AUTO);
    story.announced = None;
    story.expect([Step::Rest(Rest::NothingAllowed)]);
}

#[test]
fn a_new_version_is_opened_beside_the_old_one_before_the_switch() {
    let mut story = Story::serving(1, AUTO);
    story.announce(2);
    story.expect([Step::Download(v(2)), Step::Open(v(2))]);
    assert_eq!(story.observed.serving, Some(v(1)));
    story.expect([Step::Switch(v(2)), serving()]);
}

#[test]
fn the_previous_version_stays_on_disk_and_open_and_the_one_before_it_goes() {
    let mut story = Story::serving(2, AUTO);
    story.announce(3);
    story.expect(life_of(3));
    story.expect([Step::Close(v(1)), Step::Remove(v(1)), serving()]);
    assert!(story.local.verified.contains(&v(2)) && story.observed.opened.contains(&v(2)));
}

#[test]
fn as_many_old_versions_stay_as_keep_says_the_newest_ones() {
    let story = Story::serving(6, Policy { switch: SwitchMode::Auto, keep: 3 });
    assert_eq!(story.local.verified, [v(3), v(4), v(5), v(6)].into());
    let story = Story::serving(6, Policy { switch: SwitchMode::Auto, keep: 0 });
    assert_eq!(story.local.verified, [v(5), v(6)].into(), "the previous one is kept whatever keep says");
}

#[test]
fn a_version_is_not_deleted_under_its_last_reader() {
    let mut story = Story::serving(2, AUTO);
    story.announce(3);
    story.expect(life_of(3));
    story.expect([Step::Close(v(1))]);
    story.observed.readers.insert(v(1));
    story.expect([serving()]);
    story.observed.readers.clear();
    story.expect([Step::Remove(v(1))]);
}

#[test]
fn room_is_made_before_the_next_version_is_downloaded() {
    let mut story = Story::serving(3, AUTO);
    story.local.verified.insert(v(1));
    story.announce(4);
    story.expect([Step::Remove(v(1)), Step::Download(v(4))]);
}

#[test]
fn when_told_stops_at_ready() {
    let mut story = Story::serving(1, WHEN_TOLD);
    story.announce(2);
    story.expect([Step::Download(v(2)), Step::Open(v(2)), Step::Rest(Rest::Ready(v(2)))]);
    story.tell(2);
    story.expect([Step::Switch(v(2)), serving()]);
}

#[test]
fn an_order_lasts_until_the_next_announcement() {
    let mut story = Story::serving(2, WHEN_TOLD);
    story.tell(1);
    story.expect([Step::Switch(v(1)), serving()]);
    story.announce(3);
    story.expect([Step::Download(v(3)), Step::Open(v(3))]);
    assert!(matches!(story.next(), Step::Close(_) | Step::Rest(Rest::Ready(_))), "ready, and not switched");
    assert_eq!(story.observed.serving, Some(v(1)));
}

#[test]
fn an_empty_server_takes_its_first_version_without_being_told() {
    let mut story = Story::new(WHEN_TOLD);
    story.expect(life_of(1));
}

#[test]
fn a_rollback_is_one_step_and_the_version_left_is_not_chosen_again() {
    let mut story = Story::serving(2, AUTO);
    story.roll_back();
    story.expect([Step::Switch(v(1)), serving()]);
    story.announce(2); // the same version announced anew is as bad as before
    story.expect([serving()]);
    story.announce(3);
    story.expect(life_of(3));
}

#[test]
fn a_version_that_was_left_comes_back_when_it_is_named() {
    let mut story = Story::serving(2, AUTO);
    story.roll_back();
    story.settle();
    story.tell(2);
    story.expect([Step::Switch(v(2)), serving()]);

    let mut story = Story::serving(2, AUTO);
    story.roll_back();
    story.settle();
    story.pin(Some(2));
    story.expect([Step::Switch(v(2)), serving()]);
}

#[test]
fn a_version_marked_bad_for_all_is_left_for_the_one_before_it() {
    let mut story = Story::serving(2, AUTO);
    story.mark_bad(2);
    story.expect([Step::Switch(v(1)), serving()]);
}

#[test]
fn with_every_version_bad_the_served_one_goes_on_being_served() {
    let mut story = Story::serving(2, AUTO);
    story.mark_bad(2);
    story.mark_bad(1);
    story.expect([Step::Rest(Rest::NothingAllowed)]);
}

#[test]
fn a_pin_overrides_marks_orders_and_announcements() {
    let mut story = Story::serving(3, AUTO);
    story.mark_bad(1);
    story.pin(Some(1));
    story.tell(3);
    story.expect(life_of(1));
    assert_eq!(story.observed.serving, Some(v(1)));
    story.announce(4);
    assert!(!story.settle().contains(&Step::Download(v(4))));
    story.pin(None);
    assert!(story.settle().contains(&Step::Switch(v(4))));
}

#[test]
fn a_failed_version_is_left_alone_until_its_time_while_the_old_one_serves() {
    let mut story = Story::serving(1, AUTO);
    story.announce(2);
    story.fail(2);
    story.wait(59_999);
    story.expect([Step::Rest(Rest::BackingOff { version: v(2), until: story.local.now + 1 })]);
    story.wait(1);
    story.expect(life_of(2));
}

#[test]
fn a_failed_version_is_tried_at_once_when_somebody_says_so() {
    let mut story = Story::serving(1, AUTO);
    story.announce(2);
    story.fail(2);
    story.wait(1);
    story.tell(2);
    story.expect([Step::Download(v(2))]);
    story.fail(2); // again: the order is older than this failure
    story.local.verified.remove(&v(2));
    assert!(matches!(story.next(), Step::Rest(Rest::BackingOff { .. })));
}

#[test]
fn an_empty_server_does_not_go_behind_a_failed_version_by_itself() {
    let mut story = Story::new(AUTO);
    story.fail(1);
    assert!(matches!(story.next(), Step::Rest(Rest::BackingOff { .. })));
}

#[test]
fn a_newer_announcement_ends_the_download_of_an_older_one() {
    let mut story = Story::serving(1, AUTO);
    story.announce(2);
    story.local.working = Some(v(2));
    story.expect([Step::Rest(Rest::Working(v(2)))]);
    story.announce(3);
    story.expect([Step::Cancel(v(2)), Step::Download(v(3))]);
}

#[test]
fn a_rollback_does_not_wait_for_a_download() {
    let mut story = Story::serving(2, AUTO);
    story.announce(3);
    story.local.working = Some(v(3));
    story.roll_back();
    story.expect([Step::Cancel(v(3)), Step::Switch(v(1))]);
}

#[test]
fn after_a_kill_the_server_serves_what_it_has_before_storage_answers() {
    let mut story = Story::serving(2, AUTO);
    story.announce(3);
    story.kill_and_start();
    story.expect([Step::Open(v(2)), Step::Switch(v(2)), Step::Rest(Rest::Unreachable(v(3)))]);
    story.local.reachable = true;
    story.expect(life_of(3));
}

#[test]
fn after_a_restart_the_way_back_is_opened_again() {
    let mut story = Story::serving(2, AUTO);
    story.kill_and_start();
    story.expect([Step::Open(v(2)), Step::Switch(v(2)), Step::Open(v(1)), serving()]);

    story.roll_back();
    story.settle();
    story.kill_and_start();
    story.expect([Step::Open(v(1)), Step::Switch(v(1)), serving()]);
}

#[test]
fn opening_the_way_back_holds_nothing_up() {
    let mut story = Story::serving(2, AUTO);
    story.kill_and_start();
    story.expect([Step::Open(v(2)), Step::Switch(v(2))]);
    story.local.working = Some(v(1));
    story.expect([Step::Rest(Rest::Working(v(1)))]);
    story.local.reachable = true;
    story.announce(3);
    story.expect([Step::Cancel(v(1)), Step::Download(v(3))]);
}

#[test]
fn a_version_that_was_verified_before_the_kill_is_served_at_once() {
    let mut story = Story::serving(1, AUTO);
    story.announce(2);
    story.expect([Step::Download(v(2))]);
    story.kill_and_start();
    story.expect([Step::Open(v(2)), Step::Switch(v(2)), Step::Open(v(1)), serving()]);
}

#[test]
fn a_restart_is_no_reason_to_move_on_when_switching_is_for_others_to_tell() {
    let mut story = Story::serving(1, WHEN_TOLD);
    story.announce(2);
    story.expect([Step::Download(v(2))]);
    story.kill_and_start();
    story.expect([Step::Open(v(1)), Step::Switch(v(1)), Step::Open(v(2)), Step::Rest(Rest::Ready(v(2)))]);
}

#[test]
fn a_restart_stays_rolled_back() {
    for policy in [AUTO, WHEN_TOLD] {
        let mut story = Story::serving(2, policy);
        story.roll_back();
        story.settle();
        story.kill_and_start();
        story.expect([Step::Open(v(1)), Step::Switch(v(1)), serving()]);
    }
}

#[test]
fn without_any_announcement_the_newest_local_version_is_served() {
    let mut story = Story::serving(2, AUTO);
    story.kill_and_start();
    story.announced = None;
    story.observed.last_served = None;
    story.expect([Step::Open(v(2)), Step::Switch(v(2))]);
}

#[test]
fn a_pinned_server_restarts_with_the_pinned_version_or_none() {
    let mut story = Story::serving(2, AUTO);
    story.pin(Some(1));
    story.settle();
    story.kill_and_start();
    story.expect([Step::Open(v(1)), Step::Switch(v(1))]);

    let mut story = Story::serving(2, AUTO);
    story.pin(Some(9));
    story.kill_and_start();
    story.expect([Step::Rest(Rest::Unreachable(v(9)))]);
}

#[test]
fn files_that_changed_on_disk_are_verified_again_and_a_whole_version_goes_first() {
    let mut story = Story::serving(2, AUTO);
    story.kill_and_start();
    story.local.verified.remove(&v(2));
    story.local.unverified.insert(v(2));
    story.expect([Step::Open(v(1)), Step::Switch(v(1)), Step::Verify(v(2)), Step::Open(v(2)), Step::Switch(v(2))]);

    let mut story = Story::serving(2, AUTO);
    story.kill_and_start();
    story.local.unverified = std::mem::take(&mut story.local.verified);
    story.expect([Step::Verify(v(2)), Step::Open(v(2)), Step::Switch(v(2))]);

    let mut story = Story::serving(2, AUTO);
    story.announce(3);
    story.kill_and_start();
    story.local.unverified = std::mem::take(&mut story.local.verified);
    story.expect([Step::Verify(v(2)), Step::Open(v(2)), Step::Switch(v(2)), Step::Rest(Rest::Unreachable(v(3)))]);
}

#[test]
fn a_version_that_does_not_open_gives_way_to_the_one_before_it_at_start() {
    let mut story = Story::serving(2, AUTO);
    story.kill_and_start();
    story.fail(2);
    story.expect([Step::Open(v(1)), Step::Switch(v(1))]);
    assert!(matches!(story.next(), Step::Rest(Rest::BackingOff { .. })));
}

#[test]
fn nothing_is_deleted_before_something_is_served() {
    let mut story = Story::serving(2, AUTO);
    story.kill_and_start();
    story.local.verified.extend([v(1), v(3), v(4)]);
    story.announced.as_mut().unwrap().bad.extend([v(1), v(2), v(3), v(4)]);
    story.expect([Step::Rest(Rest::NothingAllowed)]);
}
