//! Scanners that are killed, hang, or run out of memory.

use std::io::Write;

use protocol::v1::FileException;

use crate::{
    fake_leader::until,
    world::{Segment, World, kill, target},
};

/// Some seconds of pure computing for one file, and none for the others.
fn slow_rule(steps: u64) -> String {
    format!(
        r#"rule slow {{ condition: filename == "slow" and for all i in (1..{steps}) : (i != 0) }}
           rule every {{ condition: true }}"#
    )
}

const SECONDS: u64 = 60_000_000;
const FOR_EVER: u64 = 1_000_000_000_000;

async fn slow_segment(world: &World) -> Segment {
    for number in 0..200 {
        world.write(&format!("f{number}"), "x");
    }
    world.write("slow", "x");
    world.segment(0).await
}

#[tokio::test]
async fn a_scanner_killed_in_mid_file_costs_no_answer() {
    let world = World::new(&[]).await;
    let segment = slow_segment(&world).await;
    let rules = world.rules(1, &slow_rule(SECONDS)).await;
    let lease = world.grant_scan(&segment, vec![target(1, &rules)]);
    kill("-KILL", world.busy_scanner(None).await);
    let settle = world.leader.settled(lease).await;
    let results = crate::world::Results(settle.results);
    assert_eq!((results.done(1).matched, results.done(1).findings), (201, 202));
}

#[tokio::test]
async fn a_file_at_which_two_scanners_die_is_crashed_and_the_others_are_scanned() {
    let world = World::new(&[]).await;
    let segment = slow_segment(&world).await;
    let rules = world.rules(1, &slow_rule(FOR_EVER)).await;
    let lease = world.grant_scan(&segment, vec![target(1, &rules)]);
    let first = world.busy_scanner(None).await;
    kill("-KILL", first);
    kill("-KILL", world.busy_scanner(Some(first)).await);
    let results = crate::world::Results(world.leader.settled(lease).await.results);
    assert_eq!(results.excepted(1, &segment), [("slow".to_owned(), FileException::Crashed)].into());
    assert_eq!((results.done(1).matched, results.done(1).findings), (200, 200));
}

#[tokio::test]
async fn a_scanner_that_hangs_is_replaced_and_the_file_timed_out() {
    // Long enough to be stopped in the middle of it.
    let world = World::new(&["--file-timeout-s", "5"]).await;
    let segment = slow_segment(&world).await;
    let rules = world.rules(1, &slow_rule(FOR_EVER)).await;
    let lease = world.grant_scan(&segment, vec![target(1, &rules)]);
    let hung = world.busy_scanner(None).await;
    kill("-STOP", hung);
    let results = crate::world::Results(world.leader.settled(lease).await.results);
    assert_eq!(results.excepted(1, &segment), [("slow".to_owned(), FileException::TimedOut)].into());
    assert_eq!(results.done(1).matched, 200);
    until("the hung scanner's end", || (!world.scanners().contains(&hung)).then_some(())).await;
    // And the next job is scanned.
    let (_, results) =
        world.scan(&segment, vec![target(2, &world.rules(1, "rule every { condition: true }").await)]).await;
    assert_eq!(results.done(2).matched, 201);
}

#[tokio::test]
async fn a_file_over_the_time_limit_is_timed_out_for_its_ruleset_alone() {
    let world = World::new(&["--file-timeout-s", "1"]).await;
    let segment = slow_segment(&world).await;
    let slow = world.rules(1, &slow_rule(FOR_EVER)).await;
    let quick = world.rules(1, "rule quick { condition: true }").await;
    let (lease, results) = world.scan(&segment, vec![target(1, &slow), target(2, &quick)]).await;
    assert_eq!(results.excepted(1, &segment), [("slow".to_owned(), FileException::TimedOut)].into());
    assert_eq!((results.done(2).matched, results.done(2).excepted.len()), (201, 0));
    assert_eq!(world.found(2, 1, lease).await.len(), 201);
}

#[tokio::test]
async fn a_file_that_needs_more_memory_than_there_is_is_crashed() {
    let world = World::new(&["--memory-limit-mib", "192"]).await;
    world.write("bomb", vec![b'a'; 900_000]);
    world.write("other", "a");
    let segment = world.segment(0).await;
    // Each of a million matches keeps half a kilobyte.
    let rules =
        world.rules(1, r#"rule bomb { strings: $a = /a{600}/ condition: $a } rule every { condition: true }"#).await;
    let (_, results) = world.scan(&segment, vec![target(1, &rules)]).await;
    assert_eq!(results.excepted(1, &segment), [("bomb".to_owned(), FileException::Crashed)].into());
    assert_eq!(results.done(1).matched, 1);
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_scanned_is_gone() {
    let world = World::new(&[]).await;
    let segment = slow_segment(&world).await;
    let rules = world.rules(1, &slow_rule(SECONDS)).await;
    let lease = world.grant_scan(&segment, vec![target(1, &rules)]);
    world.busy_scanner(None).await;
    std::fs::File::options().append(true).open(world.path("slow")).unwrap().write_all(b"more").unwrap();
    let results = crate::world::Results(world.leader.settled(lease).await.results);
    assert_eq!(results.excepted(1, &segment), [("slow".to_owned(), FileException::Gone)].into());
    assert_eq!((results.done(1).matched, results.done(1).findings), (200, 200));
}

#[tokio::test]
async fn scanners_die_with_their_worker() {
    let mut world = World::new(&[]).await;
    let segment = slow_segment(&world).await;
    let rules = world.rules(1, &slow_rule(FOR_EVER)).await;
    world.grant_scan(&segment, vec![target(1, &rules)]);
    let busy = world.busy_scanner(None).await;
    world.signal_and_wait("-KILL").await;
    until("the scanner's end", || (!is_alive(busy)).then_some(())).await;
}

#[tokio::test]
async fn a_scanner_has_no_privileges_and_no_way_to_gain_any() {
    let world = World::new(&[]).await;
    let segment = slow_segment(&world).await;
    let rules = world.rules(1, &slow_rule(FOR_EVER)).await;
    world.grant_scan(&segment, vec![target(1, &rules)]);
    let busy = world.busy_scanner(None).await;
    let status = std::fs::read_to_string(format!("/proc/{busy}/status")).unwrap();
    assert!(status.contains("NoNewPrivs:\t1") && status.contains("Seccomp:\t2"), "{status}");
    let limits = std::fs::read_to_string(format!("/proc/{busy}/limits")).unwrap();
    let limit =
        |name: &str| limits.lines().find(|line| line.starts_with(name)).unwrap().split_whitespace().rev().nth(1);
    assert_eq!(limit("Max file size"), Some("0"));
    assert_eq!(limit("Max address space"), Some((2_u64 << 30).to_string().as_str()));
    assert!(std::fs::read(format!("/proc/{busy}/environ")).unwrap().is_empty());
}

fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
