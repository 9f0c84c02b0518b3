//! Stories of rollouts: servers that do what they are told, or do not.

use super::*;
use crate::dataset::facts::{Seen, VersionError};

const A: &str = "000001-aaaaaaaa";
const B: &str = "000002-bbbbbbbb";
const C: &str = "000003-cccccccc";

struct Story {
    rules: Rollout,
    pin: Option<&'static str>,
    servers: Vec<Server>,
    status: BatchDatasetStatus,
    now: Timestamp,
    spec_changed: bool,
}

impl Story {
    /// Servers that serve A, and have heard of B.
    fn of(count: u16) -> Self {
        let server = |ordinal: u16| Server {
            pod: format!("kv-{ordinal}"),
            shard: 0,
            ready: true,
            restarts: 1,
            seen: Some(Seen {
                serving: Some(A.into()),
                announced: Some(B.into()),
                prepared: Some(B.into()),
                keys: 100,
                ..Seen::default()
            }),
        };
        Self {
            rules: Rollout::default(),
            pin: None,
            servers: (0..count).map(server).collect(),
            status: BatchDatasetStatus { serving_version: Some(A.into()), ..BatchDatasetStatus::default() },
            now: "2027-01-01T00:00:00Z".parse().unwrap(),
            spec_changed: false,
        }
    }

    fn seen(&mut self, ordinal: usize) -> &mut Seen {
        self.servers[ordinal].seen.as_mut().unwrap()
    }

    fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    fn decide(&mut self) -> Decision {
        let decision = decide(&Facts {
            rules: &self.rules,
            wait: self.rules.wait.duration().unwrap(),
            deadline: self.rules.deadline.duration().unwrap(),
            pin: self.pin,
            spec_changed: self.spec_changed,
            servers: &self.servers,
            before: &self.status,
            now: self.now,
        });
        self.spec_changed = false;
        self.status.serving_version = decision.serving.clone();
        self.status.previous_version = decision.previous.clone();
        self.status.target_version = decision.target.clone();
        self.status.rollout = decision.rollout.clone();
        self.status.bad_versions = decision.bad.clone();
        decision
    }

    /// Decides, has servers obey, and tells who was told to serve what.
    fn step(&mut self) -> Vec<(String, String)> {
        let decision = self.decide();
        for server in &mut self.servers {
            if let (Some(version), Some(seen)) = (decision.switch.get(&server.pod), server.seen.as_mut()) {
                seen.serving = Some(version.clone());
            }
        }
        decision.switch.into_iter().collect()
    }

    fn phase(&self) -> Option<Phase> {
        self.status.rollout.as_ref().map(|rollout| rollout.phase)
    }
}

fn told(pods: &[&str], version: &str) -> Vec<(String, String)> {
    pods.iter().map(|pod| ((*pod).to_owned(), version.to_owned())).collect()
}

#[test]
fn a_version_goes_to_the_first_servers_then_waits_then_goes_everywhere() {
    let mut story = Story::of(4);
    assert_eq!(story.step(), told(&["kv-3"], B));
    assert_eq!(story.step(), []);
    assert_eq!(story.phase(), Some(Phase::Waiting));
    story.pass(59);
    assert_eq!(story.step(), []);
    story.pass(1);
    assert_eq!(story.step(), told(&["kv-0", "kv-1", "kv-2"], B));
    let done = story.decide();
    assert_eq!((done.serving.as_deref(), done.previous.as_deref(), done.rollout), (Some(B), Some(A), None));
    assert_eq!(done.finished.as_deref(), Some(B));
    assert_eq!(story.step(), [], "and stays so");
}

#[test]
fn nobody_is_told_before_the_version_is_at_hand() {
    let mut story = Story::of(2);
    story.seen(1).prepared = None;
    assert_eq!((story.step(), story.phase()), (vec![], Some(Phase::Preparing)));
    story.seen(1).prepared = Some(B.into());
    assert_eq!(story.step(), told(&["kv-1"], B));
}

#[test]
fn a_version_that_does_not_verify_never_serves() {
    let mut story = Story::of(2);
    story.seen(1).prepared = None;
    story.step();
    let error = VersionError { version: Some(B.into()), is_final: true, text: "chunk 3 of 000009.sst is wrong".into() };
    story.seen(0).last_error = Some(error);
    let decision = story.decide();
    assert_eq!(decision.switch, BTreeMap::new());
    assert_eq!(decision.failed.unwrap().reason, "VerificationFailed");
    assert_eq!((story.status.serving_version.as_deref(), story.phase()), (Some(A), None));
    assert_eq!(story.step(), [], "it is not tried again");
    story.servers.iter_mut().for_each(|it| it.seen.as_mut().unwrap().announced = Some(C.into()));
    story.decide();
    assert_eq!(story.status.target_version.as_deref(), Some(C), "the next version is");
}

fn waiting() -> Story {
    let mut story = Story::of(4);
    story.step();
    story.step();
    assert_eq!(story.phase(), Some(Phase::Waiting));
    story
}

fn fails_with(story: &mut Story, reason: &str) {
    let failed = story.step();
    assert_eq!(story.status.bad_versions[0].reason, reason);
    assert_eq!(failed, told(&["kv-3"], A));
    assert_eq!((story.phase(), story.status.target_version.as_deref()), (Some(Phase::RollingBack), Some(A)));
    assert_eq!(story.step(), []);
    assert_eq!((story.phase(), story.status.serving_version.as_deref()), (None, Some(A)));
    assert_eq!(story.step(), [], "it is not tried again");
}

#[test]
fn it_goes_back_by_itself_when_a_server_is_not_ready() {
    let mut story = waiting();
    story.servers[3].ready = false;
    fails_with(&mut story, "ServerNotReady");
}

#[test]
fn it_goes_back_by_itself_when_a_server_was_restarted() {
    let mut story = waiting();
    story.servers[3].restarts = 2;
    fails_with(&mut story, "ServerRestarted");
}

#[test]
fn it_goes_back_by_itself_when_keys_are_missing() {
    let mut story = waiting();
    story.seen(3).keys = 50;
    assert_eq!(story.step(), [], "half of them may be");
    story.seen(3).keys = 49;
    fails_with(&mut story, "TooFewKeys");
    assert!(story.status.bad_versions[0].message.contains("49 keys where the version before had 100"));
}

#[test]
fn it_goes_back_by_itself_when_reads_fail() {
    let mut story = waiting();
    (story.seen(3).requests, story.seen(3).errors) = (10_000, 10);
    assert_eq!(story.step(), [], "one in a thousand may");
    story.seen(3).errors = 11;
    fails_with(&mut story, "TooManyErrors");
}

#[test]
fn it_goes_back_by_itself_when_it_takes_too_long() {
    let mut story = Story::of(4);
    story.decide();
    story.pass(1801);
    let decision = story.decide();
    assert_eq!(decision.failed.unwrap().reason, "DeadlineExceeded");
    assert_eq!(decision.rollout, None, "nobody serves it");
}

#[test]
fn a_clock_that_is_set_back_costs_no_more_than_the_wait() {
    let mut story = waiting();
    story.pass(-86_400);
    assert_eq!(story.step(), []);
    story.pass(61);
    assert_eq!(story.step(), told(&["kv-0", "kv-1", "kv-2"], B), "the day is not waited for");
}

#[test]
fn without_automatic_rollback_it_stops_until_somebody_decides() {
    let mut story = waiting();
    story.rules.automatic_rollback = false;
    story.servers[3].ready = false;
    assert_eq!((story.step(), story.phase()), (vec![], Some(Phase::Stopped)));
    story.servers[3].ready = true;
    assert_eq!((story.step(), story.phase()), (vec![], Some(Phase::Stopped)));
    (story.pin, story.spec_changed) = (Some(A), true);
    assert_eq!(story.step(), told(&["kv-3"], A));
}

#[test]
fn a_pin_goes_back_by_the_same_steps() {
    let mut story = Story::of(2);
    story.servers.iter_mut().for_each(|it| it.seen.as_mut().unwrap().serving = Some(B.into()));
    (story.status.serving_version, story.pin) = (Some(B.into()), Some(A));
    assert_eq!(story.step(), told(&["kv-1"], A));
    story.step();
    story.pass(60);
    assert_eq!(story.step(), told(&["kv-0"], A));
    story.step();
    assert_eq!(story.status.serving_version.as_deref(), Some(A));
    assert_eq!(story.step(), [], "and stays, whatever is announced");
}

#[test]
fn a_rollout_that_is_called_off_goes_back_and_marks_nothing() {
    let mut story = waiting();
    story.pin = Some(A);
    assert_eq!(story.step(), told(&["kv-3"], A));
    story.step();
    assert_eq!((story.phase(), story.status.bad_versions.len()), (None, 0));
}

#[test]
fn who_names_a_bad_version_has_it_tried_again() {
    let mut story = Story::of(1);
    story.status.bad_versions = vec![BadVersion { version: B.into(), ..BadVersion::default() }];
    assert_eq!(story.step(), []);
    (story.pin, story.spec_changed) = (Some(B), true);
    assert_eq!(story.step(), told(&["kv-0"], B));
}

#[test]
fn what_serves_already_is_written_down_and_strays_are_brought_back() {
    let mut story = Story::of(3);
    story.status = BatchDatasetStatus::default();
    story.pin = Some(A);
    story.decide();
    assert_eq!(story.status.serving_version.as_deref(), Some(A));
    story.seen(2).serving = Some(B.into());
    assert_eq!(story.step(), told(&["kv-2"], A), "a new server took what is announced");
    story.servers[0].seen = None;
    assert_eq!(story.step(), []);
}

#[test]
fn who_was_told_to_serve_what_is_not_there_is_told_to_stay() {
    let mut story = Story::of(2);
    story.pin = Some(C);
    assert_eq!(story.decide().switch, BTreeMap::from([("kv-1".to_owned(), C.to_owned())]));
    let error = VersionError { version: Some(C.into()), is_final: true, text: "there is no version".into() };
    (story.seen(1).last_error, story.seen(1).ordered) = (Some(error), Some(C.into()));
    assert_eq!(story.decide().failed.unwrap().reason, "VerificationFailed");
    assert_eq!(story.decide().switch, BTreeMap::from([("kv-1".to_owned(), A.to_owned())]));
    story.seen(1).ordered = Some(A.into());
    assert_eq!(story.step(), []);
}

#[test]
fn a_dataset_without_any_version_waits() {
    let mut story = Story::of(1);
    story.status = BatchDatasetStatus::default();
    *story.seen(0) = Seen::default();
    let decision = story.decide();
    assert_eq!((decision.target, decision.serving, decision.look_again), (None, None, Some(SOON)));
}

#[test]
fn a_version_that_somebody_marked_bad_in_storage_is_left_alone() {
    let mut story = Story::of(1);
    story.seen(0).bad.insert(B.into());
    assert_eq!((story.step(), story.phase()), (vec![], None));
}
