//! From what is and what is planned to what people read.

use crd::{
    BackupStatus, ClassBacklog, ConditionType, Kind, MemberRole, MemberStatus, OrchestratorStatus, RollStatus, reason,
};
use kube::ResourceExt as _;

use super::{
    objects,
    observed::{Answer, Observed, Pod},
    plan::{Plan, Step, healthy},
};
use crate::{
    frame::{Error, conditions, pods::reason_of, volumes},
    judgement::Judgement,
};

/// The status for `observed`. `failed`: what went wrong when the plan was carried out.
pub(crate) fn status(
    observed: &Observed,
    plan: &Plan,
    backup: Option<BackupStatus>,
    failed: Option<&Error>,
) -> OrchestratorStatus {
    let before = observed.resource.status.clone().unwrap_or_default();
    let leader = observed.leader();
    let generation = observed.resource.metadata.generation;
    let backlog = leader.map(|(_, leader)| leader.backlog.clone());
    let voters = leader.map_or(before.voters, |(_, leader)| {
        let voters = leader.members.iter().filter(|member| member.voter).count();
        i32::try_from(voters).unwrap_or(i32::MAX)
    });
    let roll = plan.roll.as_ref().map(|roll| RollStatus {
        template: observed.template.clone(),
        updated: roll.updated,
        staged: roll.staged,
    });
    let judgements = judge(observed, plan, backup.as_ref(), failed);
    OrchestratorStatus {
        observed_generation: generation,
        leader: leader.map(|(ordinal, _)| objects::pod_name(&observed.resource, ordinal)),
        term: leader.map(|(_, leader)| i64::try_from(leader.term).unwrap_or(i64::MAX)).or(before.term),
        voters,
        ready_replicas: i32::try_from(observed.pods.values().filter(|pod| pod.ready).count()).unwrap_or(i32::MAX),
        members: members(observed, leader.map(|(_, leader)| leader)),
        backlog_segments: backlog.as_ref().map(|backlog| rough(backlog.iter().map(|(_, segments)| segments).sum())),
        backlog: backlog
            .unwrap_or_default()
            .into_iter()
            .map(|(class, segments)| ClassBacklog { class, segments: rough(segments) })
            .collect(),
        roll,
        backup,
        conditions: conditions::merge(Kind::Orchestrator, &before.conditions, &judgements, generation, observed.now),
        ..before
    }
}

/// Two digits are enough to see how much is left, and a status that changes with every segment would be written for each.
pub(crate) fn rough(number: u64) -> i64 {
    let mut scale = 1;
    while number / scale >= 100 {
        scale *= 10;
    }
    i64::try_from(number / scale * scale).unwrap_or(i64::MAX)
}

fn members(observed: &Observed, leader: Option<&Answer>) -> Vec<MemberStatus> {
    let member = |(ordinal, pod): (&i32, &Pod)| {
        let answer = pod.answer.as_ref().filter(|answer| answer.node_id != 0);
        let known = leader.zip(answer).and_then(|(leader, answer)| {
            let member = leader.members.iter().find(|member| member.node_id == answer.node_id)?;
            Some((leader, member))
        });
        let role = match known {
            Some((leader, member)) if leader.node_id == member.node_id => MemberRole::Leader,
            Some((_, member)) if member.voter => MemberRole::Voter,
            Some(_) => MemberRole::Learner,
            None => MemberRole::None,
        };
        MemberStatus {
            name: objects::pod_name(&observed.resource, *ordinal),
            node_id: answer.and_then(|answer| i64::try_from(answer.node_id).ok()),
            role,
            // Below a hundred is the work of a moment, and another number at each look.
            lag: known.and_then(|(_, member)| member.lag).map(|lag| if lag < 100 { 0 } else { rough(lag) }),
            ready: answer.is_some_and(|answer| answer.ready),
            version: answer.map(|answer| answer.version.clone()),
        }
    };
    observed.pods.iter().map(member).collect()
}

fn judge(observed: &Observed, plan: &Plan, backup: Option<&BackupStatus>, failed: Option<&Error>) -> Vec<Judgement> {
    let replicas = observed.resource.spec.replicas;
    let leader = observed.leader();
    let healthy = leader.map(|(_, leader)| healthy(observed, leader).len()).unwrap_or(0);
    let all = leader.is_some() && i32::try_from(healthy).is_ok_and(|healthy| healthy >= replicas);
    let mut judgements = vec![quorum(observed, plan, healthy)];

    let (progressing, because, mut message) = progress(observed, plan);
    if let Some(error) = failed.filter(|error| error.is_passing()) {
        message = format!("{message}; at the last try: {}", error.words());
    }
    judgements.push(match progressing {
        true => Judgement::yes(ConditionType::Progressing, because, message.clone()),
        false => Judgement::no(ConditionType::Progressing, because, message.clone()),
    });
    judgements.push(match (&plan.step, leader) {
        (_, Some(_)) if all => Judgement::yes(
            ConditionType::Ready,
            reason::AS_EXPECTED,
            format!("{replicas} of {replicas} members agree and have caught up"),
        ),
        // A majority serves; what is missing is said by Progressing or Degraded.
        (step, Some((_, leader)))
            if founded(observed)
                && healthy > leader.members.iter().filter(|member| member.voter).count() / 2
                && serves_meanwhile(step, plan) =>
        {
            let message = format!("{healthy} of {replicas} members have caught up");
            match plan.roll {
                Some(_) => {
                    Judgement::yes(ConditionType::Ready, reason::ROLLING, format!("{message}; pods are being replaced"))
                }
                None => Judgement::yes(ConditionType::Ready, reason::MEMBER_UNHEALTHY, message),
            }
        }
        (Step::Stuck { reason, message } | Step::Wait { reason, message }, _) => {
            Judgement::no(ConditionType::Ready, reason, message.clone())
        }
        (_other, _) => Judgement::no(ConditionType::Ready, because, message),
    });
    judgements.push(degraded(observed, plan, failed));
    judgements.push(if observed.resource.spec.paused {
        Judgement::yes(ConditionType::Paused, reason::PAUSED_BY_SPEC, "spec.paused is true; nothing is changed")
    } else {
        Judgement::no(ConditionType::Paused, reason::AS_EXPECTED, "")
    });
    judgements.push(backups(observed, backup));
    judgements
}

fn founded(observed: &Observed) -> bool {
    observed.resource.status.as_ref().is_some_and(|status| status.founded)
}

/// Whether what is going on is a replacement of pods, or the absence of one of them; not a cluster that is still being made.
fn serves_meanwhile(step: &Step, plan: &Plan) -> bool {
    plan.roll.is_some() || matches!(step, Step::Wait { reason: reason::MEMBER_UNHEALTHY, .. })
}

fn quorum(observed: &Observed, plan: &Plan, healthy: usize) -> Judgement {
    let condition = ConditionType::QuorumHealthy;
    if !founded(observed) {
        let message = "the cluster is not founded yet".to_owned();
        return Judgement { condition, holds: None, reason: reason::BOOTSTRAPPING, message };
    }
    match (observed.leader(), &plan.step) {
        (Some((_, leader)), _) => {
            let voters = leader.members.iter().filter(|member| member.voter).count();
            let message = format!("{healthy} of {voters} voters have caught up");
            if healthy > voters / 2 {
                Judgement::yes(condition, reason::AS_EXPECTED, message)
            } else {
                Judgement::no(condition, reason::MEMBER_UNHEALTHY, message)
            }
        }
        (None, Step::Stuck { reason, message } | Step::Wait { reason, message }) => {
            Judgement::no(condition, reason, message.clone())
        }
        (None, _step) => Judgement::no(condition, reason::NO_LEADER, "no leader is known"),
    }
}

/// Whether something is under way, and what.
fn progress(observed: &Observed, plan: &Plan) -> (bool, &'static str, String) {
    let name = observed.resource.name_any();
    if let Some(roll) = plan.roll.as_ref().filter(|roll| roll.staged) {
        let message = format!(
            "the operator is newer and would make pods differently; {} of {} pods are as it would; other clusters come first",
            roll.updated,
            observed.pods.len()
        );
        return (true, reason::UPGRADE_STAGED, message);
    }
    let rolled =
        plan.roll.as_ref().map(|roll| format!("{} of {} pods are as wanted", roll.updated, observed.pods.len()));
    match &plan.step {
        Step::Nothing if !plan.grow.is_empty() => (true, reason::RESIZING, "volumes are made larger".to_owned()),
        Step::Nothing => (false, reason::AS_EXPECTED, String::new()),
        Step::Wait { reason, message } => (true, reason, message.clone()),
        Step::Stuck { reason, message } => (false, reason, message.clone()),
        Step::Choose { .. } | Step::Record { .. } | Step::Found { .. } => {
            (true, reason::BOOTSTRAPPING, format!("cluster {name} is being founded"))
        }
        Step::Restore { url, .. } => (true, reason::RECOVERING, format!("restoring the backup at {url}")),
        Step::DeleteSet | Step::DeleteClaim { .. } => {
            (true, reason::RECOVERING, "what is left of the lost cluster is taken away".to_owned())
        }
        Step::Join { ordinal, .. } | Step::AddLearner { ordinal, .. } | Step::Promote { ordinal, .. } => {
            (true, reason::SCALING, format!("{name}-orchestrator-{ordinal} is being made a member"))
        }
        Step::Remove { name, .. } => (true, reason::SCALING, format!("{name} is being removed")),
        Step::Transfer { name, .. } => (true, reason::ROLLING, format!("{name} is to lead")),
        Step::DeletePod { ordinal, .. } => {
            (true, reason::ROLLING, format!("replacing {name}-orchestrator-{ordinal}; {}", rolled.unwrap_or_default()))
        }
    }
}

fn degraded(observed: &Observed, plan: &Plan, failed: Option<&Error>) -> Judgement {
    let condition = ConditionType::Degraded;
    if let Some(error) = failed.filter(|error| !error.is_passing() && !error.is_conflict()) {
        let reason = match error {
            Error::NameTaken { .. } => reason::NAME_TAKEN,
            error if volumes::is_refusal(error) => reason::RESIZE_REFUSED,
            Error::Api { .. } => reason::API_REFUSED,
            Error::Cluster { .. } | Error::Other(_) => reason::ORCHESTRATOR_UNREACHABLE,
        };
        return Judgement::yes(condition, reason, error.words());
    }
    match &plan.step {
        Step::Stuck { reason, message } => Judgement::yes(condition, reason, message.clone()),
        Step::Wait { reason: reason::PODS_NOT_STARTING | reason::SECRET_MISSING, message } => {
            let reason = reason_of(message);
            Judgement::yes(condition, reason, message.clone())
        }
        // A pod that is being replaced is away as planned.
        Step::Wait { reason, message } if *reason == reason::MEMBER_UNHEALTHY && plan.roll.is_none() => {
            Judgement::yes(condition, reason, message.clone())
        }
        _fine => match (&observed.trouble, observed.pods.is_empty()) {
            (Some(trouble), false) => Judgement::yes(condition, reason_of(trouble), trouble.clone()),
            _ => Judgement::no(condition, reason::AS_EXPECTED, ""),
        },
    }
}

fn backups(observed: &Observed, backup: Option<&BackupStatus>) -> Judgement {
    let condition = ConditionType::BackupHealthy;
    let Some(spec) = &observed.resource.spec.backup else {
        return Judgement::yes(condition, reason::NOT_CONFIGURED, "spec.backup is not set; there are no backups");
    };
    let Some(backup) = backup else {
        let message = "no backup was due yet".to_owned();
        return Judgement { condition, holds: None, reason: reason::UNKNOWN, message };
    };
    if let Some(error) = &backup.error {
        return Judgement::no(condition, reason::BACKUP_FAILED, error.clone());
    }
    let interval = spec.interval.duration().unwrap_or_default();
    let since = backup.last_time.as_ref().map(|time| observed.now.duration_since(time.0));
    let limit = jiff::SignedDuration::try_from(interval.saturating_mul(2)).unwrap_or(jiff::SignedDuration::MAX);
    match since {
        Some(since) if since > limit => Judgement::no(
            condition,
            reason::BACKUP_OVERDUE,
            format!("the newest backup is older than twice {}", spec.interval),
        ),
        Some(_) => Judgement::yes(condition, reason::AS_EXPECTED, format!("there are {} backups", backup.kept)),
        None => {
            Judgement { condition, holds: None, reason: reason::UNKNOWN, message: "there is no backup yet".to_owned() }
        }
    }
}
