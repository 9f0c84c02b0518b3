//! Plans, in a small world that carries them out: pods that start, members that catch up, an operator that may die anywhere.
//!
//! After every step the world checks what must always hold: a majority of voters is up, one member changes at a time, and a
//! cluster is founded once.

use std::collections::{BTreeMap, BTreeSet};

use crd::{Orchestrator, OrchestratorSpec, OrchestratorStatus, reason};
use jiff::Timestamp;

use super::{
    observed::{Answer, Claim, Member, Observed, Pod, RECOVER_FROM, Set},
    plan::{Plan, SetPlan, Step, plan},
};
use crate::frame::orchestrators::member_address;

const GIB: u128 = 1 << 30;

/// A member's memory: what is on its volume.
#[derive(Clone, Debug, Default)]
struct Disk {
    node_id: u64,
    cluster_id: String,
    bytes: u128,
    recovery: Option<String>,
}

#[derive(Clone, Debug)]
struct Running {
    uid: String,
    template: String,
    /// Looks until it answers; a pod needs its time to start.
    starting: u32,
    /// Cut off, or crashing.
    silent: bool,
}

/// A Kubernetes with one Orchestrator in it, as far as plans know it.
struct World {
    resource: Orchestrator,
    set: Option<Set>,
    disks: BTreeMap<i32, Disk>,
    pods: BTreeMap<i32, Running>,
    /// Of the Raft cluster: id, address, whether it votes, entries behind.
    members: Vec<Member>,
    leader: u64,
    next_id: u64,
    next_uid: u32,
    founded: u32,
    template: String,
    requested: String,
    turn: bool,
    history: Vec<String>,
}

impl World {
    fn new(replicas: i32) -> Self {
        let spec: OrchestratorSpec =
            serde_json::from_value(serde_json::json!({ "replicas": replicas, "storage": { "url": "s3://bucket/x" } }))
                .unwrap();
        let mut resource = Orchestrator::new("x", spec);
        resource.metadata.namespace = Some("n".to_owned());
        resource.metadata.uid = Some("uid".to_owned());
        Self {
            resource,
            set: None,
            disks: BTreeMap::new(),
            pods: BTreeMap::new(),
            members: Vec::new(),
            leader: 0,
            next_id: 1,
            next_uid: 1,
            founded: 0,
            template: "t1".to_owned(),
            requested: "r1".to_owned(),
            turn: false,
            history: Vec::new(),
        }
    }

    /// A cluster that has come up.
    fn settled(replicas: i32) -> Self {
        let mut world = Self::new(replicas);
        world.run();
        world.history.clear();
        world
    }

    /// A person changes what pods are made of.
    fn ask_for(&mut self, template: &str) {
        (self.template, self.requested) = (template.to_owned(), format!("asked for {template}"));
        let generation = self.resource.metadata.generation.get_or_insert(1);
        *generation += 1;
    }

    fn status(&mut self) -> &mut OrchestratorStatus {
        self.resource.status.get_or_insert_default()
    }

    fn observe(&self) -> Observed {
        let pods = self.pods.iter().map(|(ordinal, pod)| (*ordinal, self.seen(*ordinal, pod)));
        let claims = self.disks.iter().map(|(ordinal, disk)| {
            (*ordinal, Claim { requested: disk.bytes, recovery: disk.recovery.clone(), bound: true, going: false })
        });
        Observed {
            resource: self.resource.clone(),
            set: self.set.clone(),
            pods: pods.collect(),
            claims: claims.collect(),
            template: self.template.clone(),
            requested: self.requested.clone(),
            turn: self.turn,
            trouble: None,
            now: Timestamp::UNIX_EPOCH,
        }
    }

    fn up(&self, ordinal: i32) -> bool {
        self.pods.get(&ordinal).is_some_and(|pod| pod.starting == 0 && !pod.silent)
    }

    /// Voters whose pods run with the disk of that member.
    fn voters_up(&self) -> usize {
        let up = |member: &&Member| {
            member.voter && self.disks.iter().any(|(ordinal, disk)| disk.node_id == member.node_id && self.up(*ordinal))
        };
        self.members.iter().filter(up).count()
    }

    fn voters(&self) -> usize {
        self.members.iter().filter(|member| member.voter).count()
    }

    fn quorum(&self) -> bool {
        self.voters() > 0 && self.voters_up() > self.voters() / 2
    }

    fn seen(&self, ordinal: i32, pod: &Running) -> Pod {
        let disk = self.disks.get(&ordinal).cloned().unwrap_or_default();
        let member = self.members.iter().find(|member| member.node_id == disk.node_id && disk.node_id != 0);
        let (leads, quorum) = (self.leader == disk.node_id && disk.node_id != 0, self.quorum());
        let answer = (pod.starting == 0 && !pod.silent).then(|| Answer {
            node_id: disk.node_id,
            cluster_id: disk.cluster_id.clone(),
            ready: quorum && member.is_some_and(|member| member.lag.unwrap_or(0) == 0),
            leader_id: if quorum && member.is_some() { self.leader } else { 0 },
            term: 1,
            members: if disk.node_id == 0 {
                Vec::new()
            } else {
                let lag = |lag: Option<u64>| if leads { Some(lag.unwrap_or(0)) } else { None };
                self.members.iter().map(|member| Member { lag: lag(member.lag), ..member.clone() }).collect()
            },
            version: "1".to_owned(),
            backlog: Vec::new(),
        });
        Pod {
            uid: pod.uid.clone(),
            template: pod.template.clone(),
            ready: answer.as_ref().is_some_and(|it| it.ready),
            going: false,
            answer,
        }
    }

    /// Time passes: pods start, learners catch up, somebody is elected.
    fn tick(&mut self) {
        if let Some(set) = self.set.clone() {
            for ordinal in 0..set.replicas {
                self.disks.entry(ordinal).or_insert_with(|| Disk {
                    bytes: set.claim_bytes,
                    recovery: set.recovery.clone(),
                    ..Disk::default()
                });
                if !self.pods.contains_key(&ordinal) {
                    let uid = self.next_uid.to_string();
                    self.next_uid += 1;
                    let pod = Running { uid, template: set.template.clone(), starting: 2, silent: false };
                    self.pods.insert(ordinal, pod);
                }
            }
            self.pods.retain(|ordinal, _| *ordinal < set.replicas);
            // whenScaled: Delete
            self.disks.retain(|ordinal, _| *ordinal < set.replicas);
        }
        for pod in self.pods.values_mut() {
            pod.starting = pod.starting.saturating_sub(1);
        }
        for member in &mut self.members {
            member.lag = member.lag.map(|lag| lag.saturating_sub(1500));
        }
        let leads = self
            .disks
            .iter()
            .any(|(ordinal, disk)| disk.node_id == self.leader && self.leader != 0 && self.up(*ordinal));
        if !leads && self.quorum() {
            let candidate = self.members.iter().filter(|member| member.voter).find(|member| {
                self.disks.iter().any(|(ordinal, disk)| disk.node_id == member.node_id && self.up(*ordinal))
            });
            self.leader = candidate.map_or(0, |member| member.node_id);
        }
    }

    fn carry_out(&mut self, plan: &Plan) {
        match &plan.set {
            SetPlan::Leave => {}
            SetPlan::Orphan => {
                self.history.push("orphan".to_owned());
                self.set = None;
            }
            SetPlan::Apply { replicas, recovery } => {
                let before = self.set.as_ref().map(|set| set.replicas);
                if before != Some(*replicas) {
                    self.history.push(format!("set {replicas}"));
                }
                self.set = Some(Set {
                    replicas: *replicas,
                    template: self.template.clone(),
                    requested: self.requested.clone(),
                    generation: self.resource.metadata.generation,
                    claim_bytes: self.set.as_ref().map_or(self.wanted_bytes(), |set| set.claim_bytes),
                    recovery: self.set.as_ref().map_or(recovery.clone(), |set| set.recovery.clone()),
                    going: false,
                });
            }
        }
        for ordinal in &plan.grow {
            self.disks.get_mut(ordinal).unwrap().bytes = self.wanted_bytes();
            self.history.push(format!("grow {ordinal}"));
        }
        self.step(&plan.step);
    }

    fn wanted_bytes(&self) -> u128 {
        crd::bytes_of(&self.resource.spec.volume.size).unwrap()
    }

    fn step(&mut self, step: &Step) {
        let before = self.quorum();
        match step {
            Step::Nothing | Step::Wait { .. } | Step::Stuck { .. } => return,
            Step::Choose { cluster_id } => {
                self.status().cluster_id = Some(cluster_id.clone());
                self.status().founded = false;
                self.history.push("choose".to_owned());
            }
            Step::Record { cluster_id, recovered_from } => {
                let recovered_from = recovered_from.clone();
                self.status().cluster_id = Some(cluster_id.clone());
                self.status().founded = true;
                if recovered_from.is_some() {
                    self.status().recovered_from = recovered_from;
                }
                self.history.push("record".to_owned());
            }
            Step::Found { ordinal, cluster_id } | Step::Restore { ordinal, cluster_id, .. } => {
                let word = if matches!(step, Step::Found { .. }) { "found" } else { "restore" };
                self.history.push(format!("{word} {ordinal}"));
                self.founded += 1;
                let id = self.identity(*ordinal, cluster_id.clone());
                self.members = vec![self.member(*ordinal, id, true)];
                self.leader = id;
            }
            Step::DeleteSet => {
                self.history.push("delete set".to_owned());
                (self.set, self.pods) = (None, BTreeMap::new());
            }
            Step::DeleteClaim { ordinal } => {
                self.history.push(format!("delete claim {ordinal}"));
                self.disks.remove(ordinal);
            }
            Step::Join { ordinal, cluster_id } => {
                self.history.push(format!("join {ordinal}"));
                self.identity(*ordinal, cluster_id.clone());
            }
            Step::AddLearner { ordinal, node_id, .. } => {
                self.history.push(format!("learner {ordinal}"));
                assert!(self.members.iter().all(|member| member.voter), "two learners at a time");
                let mut member = self.member(*ordinal, *node_id, false);
                member.lag = Some(5000);
                self.members.push(member);
            }
            Step::Promote { node_id, ordinal } => {
                self.history.push(format!("promote {ordinal}"));
                let member = self.members.iter_mut().find(|member| member.node_id == *node_id).unwrap();
                assert!(member.lag.unwrap_or(0) <= 1000, "a voter that is far behind");
                (member.voter, member.lag) = (true, Some(0));
            }
            Step::Remove { node_id, name, .. } => {
                self.history.push(format!("remove {name}"));
                assert_ne!(*node_id, self.leader, "the leader is not removed");
                self.members.retain(|member| member.node_id != *node_id);
            }
            Step::Transfer { to, name } => {
                self.history.push(format!("transfer {name}"));
                self.leader = *to;
            }
            Step::DeletePod { ordinal, uid } => {
                self.history.push(format!("replace {ordinal}"));
                assert_eq!(&self.pods[ordinal].uid, uid);
                self.pods.remove(ordinal);
            }
        }
        assert!(!before || self.voters() <= 1 || self.quorum(), "no majority after {:?}", self.history);
    }

    fn identity(&mut self, ordinal: i32, cluster_id: String) -> u64 {
        let disk = self.disks.get_mut(&ordinal).unwrap();
        assert_eq!(disk.node_id, 0, "an identity is never replaced");
        (disk.node_id, disk.cluster_id) = (self.next_id, cluster_id);
        self.next_id += 1;
        disk.node_id
    }

    fn member(&self, ordinal: i32, node_id: u64, voter: bool) -> Member {
        Member { node_id, address: member_address("n", "x", ordinal), voter, lag: Some(0) }
    }

    /// Looks and acts until nothing changes any more; returns the last plan.
    fn run(&mut self) -> Plan {
        let mut quiet = 0;
        for _ in 0..300 {
            let planned = plan(&self.observe());
            let before = self.history.len();
            self.carry_out(&planned);
            self.tick();
            quiet = if self.history.len() == before { quiet + 1 } else { 0 };
            if quiet > 8 {
                return planned;
            }
        }
        panic!("it goes on for ever: {:?}", self.history);
    }

    fn lose_volume(&mut self, ordinal: i32) {
        let bytes = self.disks[&ordinal].bytes;
        let recovery = self.disks[&ordinal].recovery.clone();
        self.disks.insert(ordinal, Disk { bytes, recovery, ..Disk::default() });
        self.pods.remove(&ordinal);
        if self.members.iter().all(|member| member.node_id != self.leader || !self.is_up(member.node_id)) {
            self.leader = 0;
        }
    }

    fn is_up(&self, node_id: u64) -> bool {
        self.disks.iter().any(|(ordinal, disk)| disk.node_id == node_id && self.up(*ordinal))
    }

    fn voter_ordinals(&self) -> BTreeSet<i32> {
        let ordinal = |member: &Member| {
            self.disks.iter().find(|(_, disk)| disk.node_id == member.node_id).map(|(ordinal, _)| *ordinal)
        };
        self.members.iter().filter(|member| member.voter).filter_map(ordinal).collect()
    }
}

#[test]
fn three_members_come_up_from_nothing() {
    let mut world = World::new(3);
    let last = world.run();
    assert_eq!(
        world.history,
        [
            "set 3",
            "choose",
            "found 0",
            "record",
            "join 1",
            "learner 1",
            "promote 1",
            "join 2",
            "learner 2",
            "promote 2"
        ]
    );
    assert_eq!(last.step, Step::Nothing);
    assert_eq!(world.founded, 1);
}

#[test]
fn one_member_is_a_cluster_too() {
    let mut world = World::new(1);
    assert_eq!(world.run().step, Step::Nothing);
    assert_eq!(world.history, ["set 1", "choose", "found 0", "record"]);
}

#[test]
fn two_more_come_in_one_after_the_other() {
    let mut world = World::settled(3);
    world.resource.spec.replicas = 5;
    assert_eq!(world.run().step, Step::Nothing);
    assert_eq!(world.history, ["set 5", "join 3", "learner 3", "promote 3", "join 4", "learner 4", "promote 4"]);
}

#[test]
fn two_go_the_highest_first_and_their_pods_after_them() {
    let mut world = World::settled(5);
    world.resource.spec.replicas = 3;
    assert_eq!(world.run().step, Step::Nothing);
    assert_eq!(world.history, ["remove x-orchestrator-4", "set 4", "remove x-orchestrator-3", "set 3"]);
    assert_eq!(world.voter_ordinals(), [0, 1, 2].into());
}

#[test]
fn a_leader_that_has_to_go_hands_over_first() {
    let mut world = World::settled(5);
    world.leader = world.disks[&4].node_id;
    world.resource.spec.replicas = 3;
    assert_eq!(world.run().step, Step::Nothing);
    assert_eq!(world.history[..2], ["transfer x-orchestrator-0", "remove x-orchestrator-4"]);
}

#[test]
fn a_roll_takes_followers_first_and_the_leader_last() {
    let mut world = World::settled(3);
    world.leader = world.disks[&1].node_id;
    world.ask_for("t2");
    let last = world.run();
    assert_eq!((last.step, last.roll), (Step::Nothing, None));
    assert_eq!(world.history, ["replace 2", "replace 0", "transfer x-orchestrator-0", "replace 1"]);
}

#[test]
fn a_roll_waits_for_a_member_that_is_away() {
    let mut world = World::settled(5);
    world.pods.get_mut(&1).unwrap().silent = true;
    world.ask_for("t2");
    world.run();
    // The silent one is of no use as it is; once it is back as silent as before, nothing else is touched.
    assert_eq!(
        world.history,
        ["replace 1", "replace 4", "replace 3", "replace 2", "transfer x-orchestrator-1", "replace 0"]
    );

    let mut world = World::settled(3);
    world.ask_for("t2");
    world.pods.get_mut(&1).unwrap().silent = true;
    world.pods.get_mut(&1).unwrap().template = "t2".to_owned();
    let last = world.run();
    assert!(matches!(last.step, Step::Wait { reason: reason::ROLLING, .. }), "{last:?}");
    assert_eq!(world.history, [""; 0]);
}

#[test]
fn a_broken_template_stops_after_one_pod_and_is_mended_by_another() {
    let mut world = World::settled(3);
    world.ask_for("broken");
    for _ in 0..30 {
        let planned = plan(&world.observe());
        world.carry_out(&planned);
        world.tick();
        for pod in world.pods.values_mut().filter(|pod| pod.template == "broken") {
            pod.silent = true;
        }
    }
    assert_eq!(world.history, ["replace 2"]);
    world.ask_for("t3");
    let last = world.run();
    assert_eq!((last.step, last.roll), (Step::Nothing, None));
}

#[test]
fn another_operator_waits_for_its_turn() {
    let mut world = World::settled(3);
    world.template = "t2".to_owned();
    let planned = plan(&world.observe());
    assert_eq!(planned.set, SetPlan::Leave);
    assert!(planned.roll.as_ref().is_some_and(|roll| roll.staged), "{planned:?}");
    world.run();
    assert_eq!(world.history, [""; 0]);
    world.turn = true;
    assert_eq!(world.run().roll, None);
    assert_eq!(world.history.len(), 4);
}

#[test]
fn an_operator_that_says_the_same_in_other_words_waits_as_well() {
    let mut world = World::settled(3);
    (world.template, world.requested) = ("t2".to_owned(), "other words".to_owned());
    assert!(plan(&world.observe()).roll.is_some_and(|roll| roll.staged));
}

#[test]
fn a_lost_volume_comes_back_as_a_new_member() {
    let mut world = World::settled(3);
    let before = world.disks[&2].node_id;
    world.lose_volume(2);
    assert_eq!(world.run().step, Step::Nothing);
    assert_eq!(world.history, ["remove x-orchestrator-2", "join 2", "learner 2", "promote 2"]);
    assert_ne!(world.disks[&2].node_id, before);
}

#[test]
fn a_lost_volume_of_the_leader_is_no_different() {
    let mut world = World::settled(3);
    world.lose_volume(0);
    world.tick();
    assert_eq!(world.run().step, Step::Nothing);
    assert_eq!(world.history, ["remove x-orchestrator-0", "join 0", "learner 0", "promote 0"]);
}

#[test]
fn a_lost_quorum_is_told_and_not_touched() {
    let mut world = World::settled(3);
    world.lose_volume(0);
    world.lose_volume(1);
    let last = world.run();
    assert!(matches!(last.step, Step::Stuck { reason: reason::QUORUM_LOST, .. }), "{last:?}");
    assert_eq!((world.history.len(), world.founded), (0, 1));
}

#[test]
fn a_quorum_that_is_only_cut_off_comes_back_by_itself() {
    let mut world = World::settled(3);
    for ordinal in [0, 1] {
        world.pods.get_mut(&ordinal).unwrap().silent = true;
    }
    world.leader = 0;
    assert!(matches!(world.run().step, Step::Stuck { reason: reason::QUORUM_LOST, .. }));
    for ordinal in [0, 1] {
        world.pods.get_mut(&ordinal).unwrap().silent = false;
    }
    world.tick();
    assert_eq!(world.run().step, Step::Nothing);
    assert_eq!(world.history, [""; 0]);
}

#[test]
fn a_lost_cluster_begins_anew_when_told() {
    let mut world = World::settled(3);
    world.lose_volume(0);
    world.lose_volume(1);
    world.run();
    let annotations = [(RECOVER_FROM.to_owned(), "s3://bucket/backups".to_owned())];
    world.resource.metadata.annotations = Some(annotations.into());
    let last = world.run();
    assert_eq!(last.step, Step::Nothing, "{:?}", world.history);
    assert_eq!(
        world.history[..8],
        ["choose", "delete set", "delete claim 0", "delete claim 1", "delete claim 2", "set 3", "restore 0", "record"]
    );
    assert_eq!(world.founded, 2);
    assert_eq!(world.voter_ordinals(), [0, 1, 2].into());
    assert_eq!(world.status().recovered_from.as_deref(), Some("s3://bucket/backups"));
    // The annotation stays, and means nothing any more.
    world.history.clear();
    assert_eq!(world.run().step, Step::Nothing);
    assert_eq!(world.history, [""; 0]);
}

#[test]
fn a_cluster_that_lives_is_not_thrown_away_by_an_annotation() {
    let mut world = World::settled(3);
    let annotations = [(RECOVER_FROM.to_owned(), "s3://bucket/backups".to_owned())];
    world.resource.metadata.annotations = Some(annotations.into());
    let last = world.run();
    assert!(matches!(last.step, Step::Stuck { reason: reason::RECOVERY_FAILED, .. }), "{last:?}");
    assert_eq!(world.history, [""; 0]);
}

#[test]
fn a_new_cluster_may_begin_with_a_backup() {
    let mut world = World::new(3);
    world.resource.spec.bootstrap =
        serde_json::from_value(serde_json::json!({ "recovery": { "url": "s3://bucket/backups" } })).unwrap();
    assert_eq!(world.run().step, Step::Nothing);
    assert_eq!(world.history[..4], ["set 3", "choose", "restore 0", "record"]);
}

#[test]
fn volumes_that_were_kept_bring_their_cluster_along() {
    let mut before = World::settled(3);
    let mut world = World::new(3);
    world.resource.metadata.uid = Some("another".to_owned());
    (world.disks, world.members) = (std::mem::take(&mut before.disks), std::mem::take(&mut before.members));
    world.next_id = 4;
    let last = world.run();
    assert_eq!(last.step, Step::Nothing);
    assert_eq!(world.history, ["set 3", "record"]);
    assert_eq!(world.founded, 0);
}

#[test]
fn volumes_grow_and_pods_stay() {
    let mut world = World::settled(3);
    world.resource.spec.volume.size = k8s_openapi::apimachinery::pkg::api::resource::Quantity("20Gi".to_owned());
    assert_eq!(world.run().step, Step::Nothing);
    assert_eq!(world.history, ["orphan", "grow 0", "grow 1", "grow 2", "set 3"]);
    assert!(world.disks.values().all(|disk| disk.bytes == 20 * GIB));
    assert_eq!(world.set.unwrap().claim_bytes, 20 * GIB);
}

#[test]
fn a_roll_is_over_when_the_last_pod_is_back_and_not_before() {
    for members in [1, 3] {
        let mut world = World::settled(members);
        world.ask_for("t2");
        let (mut went_on, mut looks) = (0, 0);
        loop {
            let planned = plan(&world.observe());
            if super::turns::is_over(&planned) {
                break;
            }
            // All pods are new ones, or on their way: the turn is kept for those.
            went_on += u32::from(planned.roll.is_none());
            world.carry_out(&planned);
            world.tick();
            looks += 1;
            assert!(looks < 60, "{:?}", world.history);
        }
        assert!(went_on > 0, "{members}: the last pod was never away");
        assert!((0..members).all(|ordinal| world.up(ordinal)), "{:?}", world.history);
    }
}

#[test]
fn nothing_is_founded_while_a_volume_may_hold_a_cluster() {
    let mut world = World::new(3);
    let planned = plan(&world.observe());
    world.carry_out(&planned);
    world.tick();
    world.pods.get_mut(&2).unwrap().silent = true;
    let last = world.run();
    assert!(
        matches!(&last.step, Step::Wait { reason: reason::WAITING_FOR_PODS, message } if message.contains("x-orchestrator-2"))
    );
    assert_eq!((world.history.as_slice(), world.founded), (["set 3".to_owned()].as_slice(), 0));
}

/// The operator dies after any step, and another begins: it must come to the same end, whatever was going on.
#[test]
fn an_operator_that_dies_anywhere_is_replaced_by_one_that_goes_on() {
    for forget_after in 0..12 {
        let mut world = World::new(3);
        for look in 0..40 {
            let planned = plan(&world.observe());
            let status = world.resource.status.clone();
            world.carry_out(&planned);
            // What was written to the status is lost with the operator; what was done stays done.
            if look == forget_after {
                world.resource.status = status;
            }
            world.tick();
        }
        world.resource.spec.replicas = 5;
        for _ in 0..forget_after {
            let planned = plan(&world.observe());
            world.carry_out(&planned);
            world.tick();
        }
        world.resource.spec.replicas = 3;
        world.ask_for("t2");
        assert_eq!(world.run().step, Step::Nothing, "{:?}", world.history);
        assert_eq!((world.founded, world.voter_ordinals()), (1, [0, 1, 2].into()), "{:?}", world.history);
        assert_eq!(world.set.as_ref().unwrap().replicas, 3);
    }
}

/// What is made for an Orchestrator, word for word. After a change that is meant: `UPDATE_GOLDEN=1 cargo test`, and read the diff.
fn settings() -> crate::config::Settings {
    crate::config::Settings {
        image: "dragnet:1".to_owned(),
        image_pull_policy: None,
        image_pull_secrets: vec!["pull".to_owned()],
        namespaces: Vec::new(),
        upgrades_at_a_time: 1,
        tracing_endpoint: None,
    }
}

#[test]
fn backups_may_have_a_way_of_their_own() {
    let made = |backup: serde_json::Value| {
        let spec = serde_json::json!({
            "storage": { "url": "s3://bucket/x", "region": "eu", "credentialsSecret": { "name": "keys" } },
            "backup": backup
        });
        let orchestrator = Orchestrator::new("x", serde_json::from_value(spec).unwrap());
        let template = super::objects::template(&settings(), &orchestrator);
        let env = template.spec.unwrap().containers.remove(0).env.unwrap();
        let env: BTreeMap<_, _> = env.into_iter().map(|variable| (variable.name.clone(), variable)).collect();
        (env, super::objects::requested(&orchestrator))
    };
    let (env, without) = made(serde_json::json!({ "url": "s3://bucket/backups" }));
    assert!(!env.keys().any(|name| name.contains("BACKUP")), "{env:?}");

    let own = serde_json::json!({ "endpoint": "https://s3.elsewhere", "credentialsSecret": { "name": "others" } });
    let (env, with) = made(serde_json::json!({ "url": "s3://other/backups", "credentials": own }));
    let value = |name: &str| env[name].value.as_deref();
    let secret = |name: &str| env[name].value_from.clone().unwrap().secret_key_ref.unwrap();
    assert_eq!(value("DRAGNET_BACKUP_STORAGE_AWS_ENDPOINT"), Some("https://s3.elsewhere"));
    assert_eq!(value("DRAGNET_BACKUP_STORAGE_AWS_ALLOW_HTTP"), Some("false"));
    let own = secret("DRAGNET_BACKUP_STORAGE_AWS_ACCESS_KEY_ID");
    assert_eq!((own.name.as_str(), own.key.as_str()), ("others", "AWS_ACCESS_KEY_ID"));
    assert_eq!(secret("AWS_ACCESS_KEY_ID").name, "keys");
    assert_eq!(value("AWS_REGION"), Some("eu"));
    assert_ne!(with, without, "a person asked for it, so pods are replaced");
}

#[test]
fn the_objects_of_an_orchestrator_are_as_written_down() {
    let spec: OrchestratorSpec = serde_json::from_value(serde_json::json!({
        "replicas": 3,
        "storage": {
            "url": "s3://bucket/x", "endpoint": "http://s3:7070", "region": "eu", "allowHttp": true,
            "credentialsSecret": { "name": "keys" }
        },
        "volume": { "size": "20Gi", "storageClassName": "fast" },
        "resources": { "requests": { "cpu": "500m" } },
        "sessionTtl": "15s",
        "pods": { "annotations": { "team": "a" }, "tolerations": [{ "operator": "Exists" }] }
    }))
    .unwrap();
    let mut orchestrator = Orchestrator::new("x", spec);
    orchestrator.metadata.namespace = Some("n".to_owned());
    orchestrator.metadata.uid = Some("uid".to_owned());
    orchestrator.metadata.generation = Some(4);
    let settings = settings();
    let super::objects::Around { account, peers, clients, budget } = super::objects::around(&orchestrator);
    let set = super::objects::stateful_set(&settings, &orchestrator, 3, None);
    let made = serde_json::json!([account, peers, clients, budget, set]);
    let text = format!("{}\n", serde_json::to_string_pretty(&made).unwrap());
    let path = format!("{}/testdata/orchestrator.json", std::env::var("CARGO_MANIFEST_DIR").unwrap());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert!(text == std::fs::read_to_string(&path).unwrap_or_default(), "{path} differs; it would be:\n{text}");
}
