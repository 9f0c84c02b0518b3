//! What to do next with an Orchestrator: decided from what is, touching nothing.
//!
//! One step at a time, and each begins from what is there and not from what was done before. So a step that was cut off in
//! its middle is found half done and is finished, whoever begins the next look.
//!
//! ```text
//! not founded:  choose a name ─► found, or restore ─► founded
//! founded:      lost volume: member out ─► join ─► learner ─► voter      (also: one more replica)
//!               one replica less: lead elsewhere ─► member out ─► pod gone
//!               new template: followers, one by one ─► lead elsewhere ─► the last
//! ```

use std::collections::BTreeSet;

use crd::reason;
use kube::ResourceExt as _;

use super::observed::{Answer, Member, Observed, Pod, RECOVER_FROM};
use crate::frame::{
    orchestrators::member_address,
    pods::{digest_of, reason_of},
};

/// A learner so little behind is made a voter; it catches up with the rest while it votes.
const CAUGHT_UP: u64 = 1000;

/// One change, safe to repeat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing to do; all is as asked for.
    Nothing,
    /// Nothing can be done now: why, as a reason and in words.
    Wait {
        reason: &'static str,
        message: String,
    },
    /// Nothing may be done without a person.
    Stuck {
        reason: &'static str,
        message: String,
    },
    /// Write into the status which cluster is to be founded.
    Choose {
        cluster_id: String,
    },
    /// Write into the status that the cluster exists, perhaps one that volumes brought along.
    Record {
        cluster_id: String,
        recovered_from: Option<String>,
    },
    Found {
        ordinal: i32,
        cluster_id: String,
    },
    Restore {
        ordinal: i32,
        url: String,
        cluster_id: String,
    },
    /// The lost cluster's set, with its pods.
    DeleteSet,
    /// A claim that is not to be used again, with the pod that uses it.
    DeleteClaim {
        ordinal: i32,
    },
    Join {
        ordinal: i32,
        cluster_id: String,
    },
    AddLearner {
        ordinal: i32,
        node_id: u64,
        cluster_id: String,
    },
    Promote {
        ordinal: i32,
        node_id: u64,
    },
    /// `why`: what people are told.
    Remove {
        node_id: u64,
        name: String,
        replaced: bool,
    },
    Transfer {
        to: u64,
        name: String,
    },
    /// A pod that is to be made anew.
    DeletePod {
        ordinal: i32,
        uid: String,
    },
}

/// What to do with a StatefulSet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SetPlan {
    /// As it is: it is going, or a newer operator waits for its turn.
    Leave,
    Apply {
        replicas: i32,
        recovery: Option<String>,
    },
    /// Away with it and not with its pods; it comes back with larger volumes in its template.
    Orphan,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) set: SetPlan,
    /// Claims to make larger.
    pub(crate) grow: Vec<i32>,
    pub(crate) step: Step,
    /// Pods that have the wanted template, and whether replacing the others waits for its turn; if there are others.
    pub(crate) roll: Option<Roll>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Roll {
    pub(crate) updated: i32,
    pub(crate) staged: bool,
}

/// Decides everything; depends on the argument alone.
pub(crate) fn plan(observed: &Observed) -> Plan {
    let staged = is_staged(observed);
    let grow = to_grow(observed);
    let set = set_plan(observed, staged);
    let updated = observed.pods.values().filter(|pod| pod.template == observed.template).count();
    let outdated = observed.pods.len() > updated;
    let roll = outdated.then(|| Roll { updated: i32::try_from(updated).unwrap_or(i32::MAX), staged });
    Plan { set, grow, step: step(observed, staged), roll }
}

/// The template differs from what the set was applied with, but nobody asked for it: the operator is another one.
fn is_staged(observed: &Observed) -> bool {
    let Some(set) = &observed.set else { return false };
    // A newer operator may say the same of a resource in other words; its generation says whether anybody touched it.
    let asked_for = set.requested != observed.requested && set.generation != observed.resource.metadata.generation;
    set.template != observed.template && !asked_for && !observed.turn
}

/// The recovery that is to be carried out, or was.
fn recovery(observed: &Observed) -> Option<String> {
    let status = observed.resource.status.as_ref();
    wanted_recovery(observed).or_else(|| status?.recovered_from.clone())
}

/// An instruction that was not carried out yet.
fn wanted_recovery(observed: &Observed) -> Option<String> {
    let wanted = observed.resource.annotations().get(RECOVER_FROM)?;
    let done = observed.resource.status.as_ref().and_then(|status| status.recovered_from.as_ref());
    (done != Some(wanted)).then(|| wanted.clone())
}

fn recovery_label(observed: &Observed) -> Option<String> {
    recovery(observed).map(|url| digest_of(&url))
}

/// The name of the cluster that is to be founded; after a lost one it is another one's.
fn new_cluster_id(observed: &Observed) -> String {
    let uid = observed.resource.uid().unwrap_or_default();
    let seed = match wanted_recovery(observed) {
        Some(url) => format!("{uid} {url}"),
        None => uid,
    };
    format!("{}-{}", observed.resource.name_any(), digest_of(&seed))
}

fn set_plan(observed: &Observed, staged: bool) -> SetPlan {
    let recovery = recovery_label(observed);
    let wanted = observed.resource.spec.replicas;
    let Some(set) = &observed.set else {
        // Claims of the lost cluster would be taken up again.
        let old =
            observed.claims.values().any(|claim| claim.recovery != recovery) && wanted_recovery(observed).is_some();
        // Founded, and the set is gone: its members are as many as claims say, whatever is asked for now.
        let members = observed.claims.keys().max().map_or(0, |highest| highest + 1);
        let replicas = if observed.resource.status.as_ref().is_some_and(|status| status.founded) {
            wanted.max(members)
        } else {
            wanted
        };
        return if old { SetPlan::Leave } else { SetPlan::Apply { replicas, recovery } };
    };
    if set.going || staged {
        return SetPlan::Leave;
    }
    if wanted_recovery(observed).is_some() && set.recovery != recovery {
        return SetPlan::Leave;
    }
    let wanted_bytes = crd::bytes_of(&observed.resource.spec.volume.size).unwrap_or(0);
    // Before the claims that are there: new ones are to be large enough even where a storage class cannot make the old ones larger.
    if set.claim_bytes < wanted_bytes {
        return SetPlan::Orphan;
    }
    // Pods of members stay until they are members no more. That nobody leads says nothing about who is a member.
    let highest = observed.members().iter().filter_map(|member| ordinal_of(observed, member)).max();
    let keep = match (observed.leader(), highest) {
        (Some(_), Some(highest)) => highest + 1,
        _unknown => set.replicas,
    };
    let replicas = wanted.max(keep.min(set.replicas));
    SetPlan::Apply { replicas, recovery: set.recovery.clone().or(recovery) }
}

/// Claims that are smaller than asked for, of those that have a volume.
fn to_grow(observed: &Observed) -> Vec<i32> {
    let Some(wanted) = crd::bytes_of(&observed.resource.spec.volume.size) else { return Vec::new() };
    let small = observed.claims.iter().filter(|(_, claim)| claim.bound && !claim.going && claim.requested < wanted);
    small.map(|(ordinal, _)| *ordinal).collect()
}

fn step(observed: &Observed, staged: bool) -> Step {
    let status = observed.resource.status.clone().unwrap_or_default();
    if let Some(url) = wanted_recovery(observed) {
        return recover(observed, url, status.cluster_id.as_deref());
    }
    if !status.founded {
        return found(observed, status.cluster_id.as_deref());
    }
    let Some((leading, leader)) = observed.leader() else {
        return without_leader(observed, staged);
    };
    member_step(observed, leader)
        .or_else(|| scale_in(observed, leading, leader))
        .unwrap_or_else(|| if staged { Step::Nothing } else { roll(observed, leading, leader) })
}

fn found(observed: &Observed, chosen: Option<&str>) -> Step {
    // Volumes may have been kept from before: then there is a cluster already, and it is this one.
    let known = observed.pods.values().filter_map(|pod| pod.answer.as_ref()).find(|answer| answer.node_id != 0);
    let recovery = observed.resource.spec.bootstrap.as_ref().and_then(|bootstrap| bootstrap.recovery.as_ref());
    if let Some(answer) = known {
        return Step::Record { cluster_id: answer.cluster_id.clone(), recovered_from: None };
    }
    // A volume with a cluster on it may be among those that have not answered.
    let silent = (0..observed.resource.spec.replicas)
        .find(|ordinal| observed.pods.get(ordinal).is_none_or(|pod| pod.answer.is_none()));
    if let Some(ordinal) = silent {
        return waits_for(observed, ordinal);
    }
    let Some(cluster_id) = chosen else { return Step::Choose { cluster_id: new_cluster_id(observed) } };
    let cluster_id = cluster_id.to_owned();
    match recovery {
        Some(recovery) => Step::Restore { ordinal: 0, url: recovery.url.clone(), cluster_id },
        None => Step::Found { ordinal: 0, cluster_id },
    }
}

fn waits_for(observed: &Observed, ordinal: i32) -> Step {
    let (reason, message) = match &observed.trouble {
        Some(trouble) => (reason_of(trouble), trouble.clone()),
        None => (
            reason::WAITING_FOR_PODS,
            format!("waiting for pod {}-orchestrator-{ordinal} to answer", observed.resource.name_any()),
        ),
    };
    Step::Wait { reason, message }
}

/// Begins anew from a backup, as told; only if there is nothing to lose.
fn recover(observed: &Observed, url: String, chosen: Option<&str>) -> Step {
    let cluster_id = new_cluster_id(observed);
    if chosen != Some(cluster_id.as_str()) {
        if observed.leader().is_some() {
            return Step::Stuck {
                reason: reason::RECOVERY_FAILED,
                message: format!(
                    "the annotation {RECOVER_FROM} is set, but the cluster has a leader and would lose what it has; remove \
                     the annotation, or scale it away first if that is what you want"
                ),
            };
        }
        return Step::Choose { cluster_id };
    }
    let label = Some(digest_of(&url));
    if let Some(set) = observed.set.as_ref().filter(|set| set.recovery != label) {
        let message = "waiting for the lost members' pods to end".to_owned();
        return if set.going { Step::Wait { reason: reason::RECOVERING, message } } else { Step::DeleteSet };
    }
    if let Some((ordinal, claim)) = observed.claims.iter().find(|(_, claim)| claim.recovery != label) {
        return if claim.going {
            let message = format!(
                "waiting for the lost members' volumes to go, data-{}-orchestrator-{ordinal} first; a pod on a node that is gone for \
                 good holds its volume until the Node is deleted",
                observed.resource.name_any()
            );
            Step::Wait { reason: reason::RECOVERING, message }
        } else {
            Step::DeleteClaim { ordinal: *ordinal }
        };
    }
    match observed.pods.get(&0).and_then(|pod| pod.answer.as_ref()) {
        None => waits_for(observed, 0),
        Some(answer) if answer.node_id != 0 && answer.cluster_id == cluster_id => {
            Step::Record { cluster_id, recovered_from: Some(url) }
        }
        Some(answer) if answer.node_id != 0 => Step::Wait {
            reason: reason::RECOVERING,
            message: format!("a member still belongs to the lost cluster {}", answer.cluster_id),
        },
        Some(_awaiting) => Step::Restore { ordinal: 0, url, cluster_id },
    }
}

/// Nobody leads. What may be done: replace pods that are of no use as they are; wait; say what is lost.
fn without_leader(observed: &Observed, staged: bool) -> Step {
    if !staged && let Some(step) = replace_useless(observed) {
        return step;
    }
    let voters: Vec<Member> = observed.members().into_iter().filter(|member| member.voter).collect();
    let majority = voters.len() / 2 + 1;
    let alive = voters
        .iter()
        .filter(|voter| {
            let pod = ordinal_of(observed, voter).and_then(|ordinal| observed.pods.get(&ordinal));
            pod.and_then(|pod| pod.answer.as_ref()).is_some_and(|answer| answer.node_id == voter.node_id)
        })
        .count();
    let empty =
        observed.pods.values().filter(|pod| pod.answer.as_ref().is_some_and(|answer| answer.node_id == 0)).count();
    let replicas = usize::try_from(observed.resource.spec.replicas).unwrap_or(0);
    // Nobody remembers anything: all volumes are empty.
    if voters.is_empty() && empty > replicas / 2
        || !voters.is_empty() && voters.len() - empty.min(voters.len()) < majority
    {
        return Step::Stuck { reason: reason::QUORUM_LOST, message: lost_words(alive, voters.len()) };
    }
    if alive < majority {
        let trouble = observed.trouble.as_ref().map(|trouble| format!("; {trouble}")).unwrap_or_default();
        return Step::Stuck {
            reason: reason::QUORUM_LOST,
            message: format!("{}{trouble}", lost_words(alive, voters.len())),
        };
    }
    Step::Wait { reason: reason::NO_LEADER, message: "the members are electing a leader".to_owned() }
}

fn lost_words(alive: usize, voters: usize) -> String {
    format!(
        "{alive} of {voters} voters answer, too few to agree. If the others come back with their volumes, it heals by itself. \
         If they are lost, set the annotation {RECOVER_FROM} to the URL of a backup, or of a folder of them: a new cluster \
         begins with it, and what came after the backup is lost"
    )
}

/// An outdated pod that does not answer takes part in nothing: whatever is wrong with it, the new template may mend it.
fn replace_useless(observed: &Observed) -> Option<Step> {
    let useless = |pod: &Pod| pod.template != observed.template && !pod.going && !pod.ready && pod.answer.is_none();
    let (ordinal, pod) = observed.pods.iter().find(|(_, pod)| useless(pod))?;
    Some(Step::DeletePod { ordinal: *ordinal, uid: pod.uid.clone() })
}

/// Brings pods in: lost volumes first, then joining, learning, voting; one at a time.
fn member_step(observed: &Observed, leader: &Answer) -> Option<Step> {
    let (name, namespace) = (observed.resource.name_any(), observed.resource.namespace().unwrap_or_default());
    let wanted = observed.resource.spec.replicas;
    let learner = leader.members.iter().find(|member| !member.voter);
    for (ordinal, pod) in observed.pods.range(..wanted) {
        let Some(answer) = pod.answer.as_ref().filter(|_| !pod.going) else { continue };
        let address = member_address(&namespace, &name, *ordinal);
        // Those who had this address before, on a volume that is lost. An id never comes back without its log.
        let before = leader.members.iter().find(|member| member.address == address && member.node_id != answer.node_id);
        if let Some(before) = before {
            let name = format!("{name}-orchestrator-{ordinal}");
            return Some(Step::Remove { node_id: before.node_id, name, replaced: true });
        }
        let cluster_id = leader.cluster_id.clone();
        if answer.node_id == 0 {
            if learner.is_some() {
                continue; // one at a time
            }
            return Some(Step::Join { ordinal: *ordinal, cluster_id });
        }
        if answer.cluster_id != leader.cluster_id {
            return Some(Step::Stuck {
                reason: reason::MEMBER_UNHEALTHY,
                message: format!(
                    "the volume of {name}-orchestrator-{ordinal} belongs to another cluster ({}); delete its claim \
                     data-{name}-orchestrator-{ordinal} and the pod, if nothing on it is needed",
                    answer.cluster_id
                ),
            });
        }
        match leader.members.iter().find(|member| member.node_id == answer.node_id) {
            None if learner.is_none() => {
                return Some(Step::AddLearner { ordinal: *ordinal, node_id: answer.node_id, cluster_id });
            }
            Some(member) if !member.voter => {
                if member.lag.is_some_and(|lag| lag <= CAUGHT_UP) {
                    return Some(Step::Promote { ordinal: *ordinal, node_id: member.node_id });
                }
            }
            None | Some(_) => {}
        }
    }
    None
}

/// Takes members out whose pods are to go, the highest first.
fn scale_in(observed: &Observed, leading: i32, leader: &Answer) -> Option<Step> {
    let wanted = observed.resource.spec.replicas;
    let name = observed.resource.name_any();
    let ordinal = |member: &Member| ordinal_of(observed, member);
    let (out, member) = leader
        .members
        .iter()
        .filter_map(|member| Some((ordinal(member)?, member)))
        .filter(|(ordinal, _)| *ordinal >= wanted)
        .max_by_key(|(ordinal, _)| *ordinal)?;
    if out == leading {
        return Some(transfer(observed, leader, leading, |ordinal| ordinal < wanted));
    }
    Some(Step::Remove { node_id: member.node_id, name: format!("{name}-orchestrator-{out}"), replaced: false })
}

/// Replaces pods that are not of the wanted template: those of no use first, then followers, and the leader's last.
fn roll(observed: &Observed, leading: i32, leader: &Answer) -> Step {
    if let Some(step) = replace_useless(observed) {
        return step;
    }
    let outdated: Vec<i32> = observed
        .pods
        .iter()
        .filter(|(_, pod)| pod.template != observed.template && !pod.going)
        .map(|(ordinal, _)| *ordinal)
        .collect();
    let healthy: BTreeSet<i32> = healthy(observed, leader);
    let voters = leader.members.iter().filter(|member| member.voter).count();
    let Some(candidate) = outdated.iter().rev().find(|ordinal| **ordinal != leading).or(outdated.first()).copied()
    else {
        return settled(observed, leader, &healthy);
    };
    if leader.members.iter().any(|member| !member.voter) {
        return Step::Wait {
            reason: reason::SCALING,
            message: "a learner is catching up; pods are replaced after it".to_owned(),
        };
    }
    let others = healthy.iter().filter(|ordinal| **ordinal != candidate).count();
    let alone = voters == 1;
    if !alone && others < voters / 2 + 1 {
        return Step::Wait {
            reason: reason::ROLLING,
            message: format!(
                "{others} of {} other members have caught up; the next pod waits for a majority",
                voters - 1
            ),
        };
    }
    // Somebody is away already: two at a time would leave no room for an accident.
    if let Some(away) = observed.pods.iter().find(|(ordinal, _)| **ordinal != candidate && !healthy.contains(ordinal)) {
        return Step::Wait {
            reason: reason::ROLLING,
            message: format!("waiting for {}-orchestrator-{} to catch up", observed.resource.name_any(), away.0),
        };
    }
    if candidate == leading && !alone {
        return transfer(observed, leader, leading, |_| true);
    }
    match observed.pods.get(&candidate) {
        Some(pod) => Step::DeletePod { ordinal: candidate, uid: pod.uid.clone() },
        None => Step::Nothing,
    }
}

/// All pods are of the wanted template. Are all of them members that have caught up?
fn settled(observed: &Observed, leader: &Answer, healthy: &BTreeSet<i32>) -> Step {
    let missing = (0..observed.resource.spec.replicas).find(|ordinal| !healthy.contains(ordinal));
    let Some(ordinal) = missing else { return Step::Nothing };
    let name = format!("{}-orchestrator-{ordinal}", observed.resource.name_any());
    let learner = leader.members.iter().any(|member| !member.voter && ordinal_of(observed, member) == Some(ordinal));
    if learner {
        return Step::Wait { reason: reason::SCALING, message: format!("{name} is catching up") };
    }
    match &observed.trouble {
        Some(trouble) => Step::Wait { reason: reason_of(trouble), message: trouble.clone() },
        None => {
            let was_voter =
                leader.members.iter().any(|member| member.voter && ordinal_of(observed, member) == Some(ordinal));
            let reason = if was_voter { reason::MEMBER_UNHEALTHY } else { reason::WAITING_FOR_PODS };
            Step::Wait { reason, message: format!("waiting for {name} to answer and catch up") }
        }
    }
}

/// Leadership to the lowest healthy voter that may have it.
fn transfer(observed: &Observed, leader: &Answer, leading: i32, may: impl Fn(i32) -> bool) -> Step {
    let healthy = healthy(observed, leader);
    let target = healthy.into_iter().find(|ordinal| *ordinal != leading && may(*ordinal));
    let node_id = |ordinal: i32| Some(observed.pods.get(&ordinal)?.answer.as_ref()?.node_id);
    match target.and_then(|ordinal| Some((ordinal, node_id(ordinal)?))) {
        Some((ordinal, to)) => {
            Step::Transfer { to, name: format!("{}-orchestrator-{ordinal}", observed.resource.name_any()) }
        }
        None => Step::Wait {
            reason: reason::MEMBER_UNHEALTHY,
            message: "no other member has caught up and could lead".to_owned(),
        },
    }
}

/// Ordinals of voters that answer, have caught up and stay.
pub(crate) fn healthy(observed: &Observed, leader: &Answer) -> BTreeSet<i32> {
    let is_voter = |id: u64| leader.members.iter().any(|member| member.voter && member.node_id == id);
    let well = |pod: &Pod| {
        !pod.going
            && pod.answer.as_ref().is_some_and(|answer| {
                answer.ready && answer.cluster_id == leader.cluster_id && is_voter(answer.node_id)
            })
    };
    observed.pods.iter().filter(|(_, pod)| well(pod)).map(|(ordinal, _)| *ordinal).collect()
}

/// The pod that a member is, by its address.
pub(crate) fn ordinal_of(observed: &Observed, member: &Member) -> Option<i32> {
    let name = observed.resource.name_any();
    let host = member.address.split('.').next()?;
    super::objects::ordinal(&format!("{name}-orchestrator"), host)
}
