//! What people read of a ScanWorker.

use crd::{ConditionType, Kind, ScanWorker, ScanWorkerStatus, reason};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt as _;

use super::scaling::Recommendation;
use crate::{
    frame::{
        Error, conditions,
        labels::{self, Component},
        orchestrators::Unresolved,
        pods::reason_of,
    },
    judgement::Judgement,
};

/// What was seen and done in one look.
pub(crate) struct Look<'a> {
    pub(crate) worker: &'a ScanWorker,
    pub(crate) deployment: Option<&'a Deployment>,
    /// The name of the Orchestrator that is meant, if it is known.
    pub(crate) orchestrator: Option<&'a str>,
    /// Sessions of its pods and files a second; `None`: the Orchestrator does not answer.
    pub(crate) sessions: Option<(i32, i64)>,
    pub(crate) backlog: Option<i64>,
    pub(crate) recommendation: Option<Recommendation>,
    /// What it refers to and is not there.
    pub(crate) unresolved: Vec<Unresolved>,
    pub(crate) trouble: Option<String>,
    /// The pods differ only because the operator is another one, and it is not their turn.
    pub(crate) staged: bool,
    pub(crate) failed: Option<&'a Error>,
    pub(crate) now: Timestamp,
}

pub(crate) fn status(look: &Look<'_>) -> ScanWorkerStatus {
    let worker = look.worker;
    let before = worker.status.clone().unwrap_or_default();
    let generation = worker.metadata.generation;
    let deployed = look.deployment.and_then(|deployment| deployment.status.clone()).unwrap_or_default();
    let judgements = judge(look);
    ScanWorkerStatus {
        observed_generation: generation,
        replicas: deployed.replicas.unwrap_or(0),
        ready_replicas: deployed.ready_replicas.unwrap_or(0),
        orchestrator: look.orchestrator.map(str::to_owned),
        selector: Some(labels::selector_text(Component::ScanWorker, &worker.name_any())),
        sessions: look.sessions.map_or(0, |(sessions, _)| sessions),
        files_per_second: look.sessions.map_or(0, |(_, files)| files),
        backlog_segments: look.backlog,
        recommended_replicas: look.recommendation.map(|recommendation| recommendation.wanted),
        conditions: conditions::merge(Kind::ScanWorker, &before.conditions, &judgements, generation, look.now),
    }
}

fn judge(look: &Look<'_>) -> Vec<Judgement> {
    let wanted = look.worker.spec.replicas;
    let deployed = look.deployment.and_then(|deployment| deployment.status.clone()).unwrap_or_default();
    let ready = deployed.ready_replicas.unwrap_or(0);
    let current = look.deployment.is_some_and(|deployment| {
        deployed.observed_generation >= deployment.metadata.generation
            && deployed.updated_replicas.unwrap_or(0) >= wanted
    });
    let sessions = look.sessions.map_or(0, |(sessions, _)| sessions);
    let unresolved = look.unresolved.first();

    let ready_judgement = if let Some(unresolved) = unresolved {
        Judgement::no(ConditionType::Ready, unresolved.reason, unresolved.message.clone())
    } else if ready >= wanted && (sessions >= wanted || wanted == 0) && look.sessions.is_some() {
        Judgement::yes(ConditionType::Ready, reason::AS_EXPECTED, format!("{ready} of {wanted} pods work"))
    } else if look.sessions.is_none() && wanted > 0 && ready == 0 {
        let message = "the Orchestrator does not answer yet; see its status".to_owned();
        Judgement::no(ConditionType::Ready, reason::ORCHESTRATOR_UNREACHABLE, message)
    } else {
        let message = format!("{ready} of {wanted} pods are ready, {sessions} are connected");
        // Some work is done, and that is what they are for.
        if ready > 0 && wanted > 0 && ready.saturating_mul(4) >= wanted.saturating_mul(3) && sessions > 0 {
            Judgement::yes(ConditionType::Ready, reason::WAITING_FOR_PODS, message)
        } else {
            Judgement::no(ConditionType::Ready, reason::WAITING_FOR_PODS, message)
        }
    };

    let progressing = if look.staged {
        let message = "the operator is newer and would make pods differently; others come first".to_owned();
        Judgement::yes(ConditionType::Progressing, reason::UPGRADE_STAGED, message)
    } else if !current {
        Judgement::yes(
            ConditionType::Progressing,
            reason::ROLLING,
            format!("{} of {wanted} pods are as wanted", deployed.updated_replicas.unwrap_or(0)),
        )
    } else if deployed.replicas.unwrap_or(0) != wanted || ready < wanted {
        Judgement::yes(
            ConditionType::Progressing,
            reason::SCALING,
            format!("from {} to {wanted} pods", deployed.replicas.unwrap_or(0)),
        )
    } else {
        Judgement::no(ConditionType::Progressing, reason::AS_EXPECTED, "")
    };

    let degraded = if let Some(error) = look.failed.filter(|error| !error.is_conflict()) {
        let reason = if matches!(error, Error::NameTaken { .. }) { reason::NAME_TAKEN } else { reason::API_REFUSED };
        Judgement::yes(ConditionType::Degraded, reason, error.words())
    } else if let Some(unresolved) = unresolved {
        Judgement::yes(ConditionType::Degraded, unresolved.reason, unresolved.message.clone())
    } else if let Some(trouble) = &look.trouble {
        Judgement::yes(ConditionType::Degraded, reason_of(trouble), trouble.clone())
    } else {
        Judgement::no(ConditionType::Degraded, reason::AS_EXPECTED, "")
    };

    let paused = if look.worker.spec.paused {
        Judgement::yes(ConditionType::Paused, reason::PAUSED_BY_SPEC, "spec.paused is true; nothing is changed")
    } else {
        Judgement::no(ConditionType::Paused, reason::AS_EXPECTED, "")
    };
    vec![ready_judgement, progressing, degraded, paused, scaling(look)]
}

fn scaling(look: &Look<'_>) -> Judgement {
    let condition = ConditionType::ScalingActive;
    if look.worker.spec.autoscaling.is_none() {
        let message = "spec.autoscaling is not set; spec.replicas says how many";
        return Judgement::no(condition, reason::NOT_CONFIGURED, message);
    }
    match look.recommendation {
        None => Judgement::no(
            condition,
            reason::ORCHESTRATOR_UNREACHABLE,
            "the backlog is not known; the number of pods stays",
        ),
        Some(Recommendation { by_hand: true, replicas, .. }) => {
            let message = format!("{replicas} pods were asked for by hand; they stay for autoscaling.stabilization");
            Judgement::yes(condition, reason::SCALED_BY_HAND, message)
        }
        Some(Recommendation { limited: true, wanted, .. }) => {
            let message = format!("the backlog asks for another number, and {wanted} is the limit that was set");
            Judgement::yes(condition, reason::SCALING_LIMITED, message)
        }
        Some(Recommendation { wanted, .. }) => {
            Judgement::yes(condition, reason::AS_EXPECTED, format!("the backlog asks for {wanted} pods"))
        }
    }
}
