//! ScanWorker: a Deployment of workers, whose number may follow the backlog.

mod objects;
mod scaling;
mod status;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crd::{Kind, Orchestrator, ScanWorker, reason};
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    frame::{
        self, Context, Error, Outcome, apply,
        labels::{self, Component},
        orchestrators::{Unresolved, addresses},
        pods,
        staging::{self, Staging},
        status as frame_status,
    },
    orchestrator::{Peer, member_host, rough},
};
use objects::Surroundings;
use scaling::{History, recommend};
use status::Look;

/// The leader is asked so often for sessions and backlog. It costs the API server nothing.
const QUIET: Duration = Duration::from_secs(15);
/// While pods come and go.
const BUSY: Duration = Duration::from_secs(3);

/// What outlasts one look.
struct Memory {
    born: Instant,
    histories: Mutex<BTreeMap<Key, History>>,
    staging: Staging,
}

type Key = (String, String);

/// Runs the controller until `stop`.
pub async fn run(ctx: Arc<Context>, stop: CancellationToken) {
    let memory = Arc::new(Memory { born: Instant::now(), histories: Mutex::default(), staging: Staging::default() });
    let reconcile = move |worker: Arc<ScanWorker>, ctx: Arc<Context>| {
        let memory = Arc::clone(&memory);
        async move { reconcile(&worker, &ctx, &memory).await }
    };
    frame::run(ctx, Kind::ScanWorker, stop, futures::stream::pending().boxed(), reconcile).await;
}

/// What the leader says of the pool.
struct Heard {
    sessions: i32,
    files_per_second: i64,
    /// Segments that wait, listings that are due, and what is being worked on.
    waiting: u64,
    listings: u64,
    working: u64,
}

async fn reconcile(worker: &ScanWorker, ctx: &Context, memory: &Memory) -> Result<Outcome, Error> {
    let (name, namespace) = (worker.name_any(), worker.namespace().unwrap_or_default());
    let key = (namespace.clone(), name.clone());
    if worker.metadata.deletion_timestamp.is_some() {
        memory.histories.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        return Ok(Outcome::Later);
    }
    let mut unresolved = Vec::new();
    let orchestrator = orchestrator(ctx, worker, &mut unresolved);
    let heard = match &orchestrator {
        Some(orchestrator) => hear(ctx, orchestrator, worker).await,
        None => None,
    };

    let mut worker = worker.clone();
    let recommendation = match (&worker.spec.autoscaling, &heard) {
        (Some(autoscaling), Some(heard)) if !worker.spec.paused => {
            let mut histories = memory.histories.lock().unwrap_or_else(PoisonError::into_inner);
            let history = histories.entry(key.clone()).or_default();
            let (now, load) =
                (memory.born.elapsed(), heard.waiting.saturating_add(heard.listings).saturating_add(heard.working));
            Some(recommend(autoscaling, worker.spec.cores, load, worker.spec.replicas, now, history))
        }
        _fixed => None,
    };
    let mut failed = None;
    if let Some(replicas) = recommendation.map(|it| it.replicas).filter(|replicas| *replicas != worker.spec.replicas) {
        match scale(ctx, &worker, replicas).await {
            Ok(()) => worker.spec.replicas = replicas,
            Err(error) => failed = Some(error),
        }
    }

    let mut staged = false;
    if !worker.spec.paused
        && failed.is_none()
        && let Some(orchestrator) = &orchestrator
    {
        let surroundings = surroundings(ctx, orchestrator, &worker, &mut unresolved);
        staged = is_staged(ctx, memory, &key, &worker, &surroundings);
        failed = execute(ctx, &worker, &surroundings, staged).await.err();
    }

    let selector = labels::selector(Component::ScanWorker, &name);
    let kube_pods = ctx.children.pods.with_labels(&namespace, &selector);
    let deployment = ctx.children.deployments.get(&namespace, &objects::name(&worker));
    let look = Look {
        worker: &worker,
        deployment: deployment.as_deref(),
        orchestrator: orchestrator.as_ref().and_then(|it| it.metadata.name.as_deref()),
        sessions: heard.as_ref().map(|heard| (heard.sessions, heard.files_per_second)),
        backlog: heard.as_ref().map(|heard| rough(heard.waiting)),
        recommendation,
        unresolved,
        trouble: pods::trouble(kube_pods.iter().map(Arc::as_ref))
            .map(|trouble| format!("{trouble}{}", pods::remedy(&trouble, None, &[]))),
        staged,
        failed: failed.as_ref(),
        now: Timestamp::now(),
    };
    let status = status::status(&look);
    let settled = frame::conditions::find(&status.conditions, crd::ConditionType::Progressing)
        .is_some_and(|condition| condition.status == "False")
        && status.sessions >= worker.spec.replicas;
    frame_status::write(ctx, Kind::ScanWorker, &worker, worker.status.as_ref(), &status).await?;
    match failed {
        Some(error) => Err(error),
        None if settled => Ok(Outcome::After(QUIET)),
        None => Ok(Outcome::After(BUSY)),
    }
}

fn orchestrator(ctx: &Context, worker: &ScanWorker, unresolved: &mut Vec<Unresolved>) -> Option<Orchestrator> {
    let namespace = worker.namespace().unwrap_or_default();
    let before = worker.status.as_ref().and_then(|status| status.orchestrator.as_deref());
    match ctx.orchestrators.resolve_as_before(&namespace, worker.spec.orchestrator_ref.as_ref(), before) {
        Ok(found) => match &found.0 {
            Ok(orchestrator) => Some(orchestrator.clone()),
            Err(invalid) => {
                unresolved.push(Unresolved {
                    reason: reason::REFERENCE_NOT_FOUND,
                    message: format!("Orchestrator {} cannot be read: {}", found.name_any(), invalid.error),
                });
                None
            }
        },
        Err(nowhere) => {
            unresolved.push(nowhere);
            None
        }
    }
}

/// Asks the member that leads; `None`: nobody does, or it does not answer.
async fn hear(ctx: &Context, orchestrator: &Orchestrator, worker: &ScanWorker) -> Option<Heard> {
    let leader = orchestrator.status.as_ref()?.leader.clone()?;
    let ordinal = leader.rsplit('-').next()?.parse().ok()?;
    let mut peer = Peer::new(&member_host(ctx, orchestrator, ordinal)?).ok()?;
    let load = peer.load().await.ok()?;
    let prefix = format!("{}-", objects::name(worker));
    let ours: Vec<&(String, f64)> = load.sessions.iter().filter(|(name, _)| name.starts_with(&prefix)).collect();
    let rate: f64 = ours.iter().map(|(_, rate)| rate.max(0.0)).sum();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is small, and never below zero"
    )]
    let files_per_second = rough(rate.min(1e12) as u64);
    Some(Heard {
        sessions: i32::try_from(ours.len()).unwrap_or(i32::MAX),
        files_per_second,
        waiting: load.waiting,
        listings: load.listings,
        working: load.working,
    })
}

fn surroundings(
    ctx: &Context,
    orchestrator: &Orchestrator,
    worker: &ScanWorker,
    unresolved: &mut Vec<Unresolved>,
) -> Surroundings {
    let namespace = worker.namespace().unwrap_or_default();
    let mut datasets = Vec::new();
    for name in &worker.spec.datasets {
        let Some(found) = ctx.datasets.get(&namespace, name) else {
            unresolved.push(Unresolved {
                reason: reason::REFERENCE_NOT_FOUND,
                message: format!("spec.datasets: there is no BatchDataset {name} in namespace {namespace}"),
            });
            continue;
        };
        if let Ok(dataset) = &found.0 {
            datasets.push(source(&namespace, dataset));
        }
    }
    Surroundings {
        orchestrators: addresses(&namespace, &orchestrator.name_any(), orchestrator.spec.replicas),
        storage: orchestrator.spec.storage.credentials(),
        datasets,
    }
}

/// The dataset as `--kv` takes it.
fn source(namespace: &str, dataset: &crd::BatchDataset) -> String {
    let name = dataset.name_any();
    let mut options = Vec::new();
    if dataset.spec.shards > 1 {
        options.push("cluster=true".to_owned());
    }
    if let Some(source) = dataset.spec.source.as_ref().filter(|source| !source.prefix.is_empty()) {
        options.push(format!("prefix={}", source.prefix));
    }
    let options = if options.is_empty() { String::new() } else { format!("?{}", options.join("&")) };
    format!("{name}=redis://{name}-kv.{namespace}.svc:6379{options}")
}

/// Sets `spec.replicas` as an autoscaler does.
async fn scale(ctx: &Context, worker: &ScanWorker, replicas: i32) -> Result<(), Error> {
    let name = worker.name_any();
    let api: Api<ScanWorker> = Api::namespaced(ctx.client.clone(), &worker.namespace().unwrap_or_default());
    // Somebody who sets the number in this very moment must not be overruled by what was seen before.
    let body =
        json!({ "metadata": { "resourceVersion": worker.resource_version() }, "spec": { "replicas": replicas } });
    ctx.metrics.request("patch");
    api.patch(&name, &PatchParams::default(), &Patch::Merge(&body))
        .await
        .map_err(Error::api(format!("scale ScanWorker {name}")))?;
    let note = format!("from {} to {replicas} pods, as the backlog asks for", worker.spec.replicas);
    ctx.tell(worker, "Scaled", note).await;
    Ok(())
}

/// Whether pods would be replaced only because the operator is another one, and others are being replaced for that already.
fn is_staged(ctx: &Context, memory: &Memory, key: &Key, worker: &ScanWorker, surroundings: &Surroundings) -> bool {
    let (namespace, _) = key;
    let Some(existing) = ctx.children.deployments.get(namespace, &objects::name(worker)) else { return false };
    let wanted = objects::deployment(&ctx.settings, worker, surroundings);
    let made = (existing.annotations(), wanted.annotations());
    memory.staging.has_to_wait(key, made, is_settled(&existing), ctx.settings.upgrades_at_a_time)
}

fn is_settled(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    deployment.status.as_ref().is_some_and(|status| {
        status.observed_generation >= deployment.metadata.generation
            && status.updated_replicas.unwrap_or(0) >= wanted
            && status.ready_replicas.unwrap_or(0) >= wanted
    })
}

async fn execute(ctx: &Context, worker: &ScanWorker, surroundings: &Surroundings, staged: bool) -> Result<(), Error> {
    apply::apply(ctx, &objects::account(worker)).await?;
    let mut deployment = objects::deployment(&ctx.settings, worker, surroundings);
    let namespace = worker.namespace().unwrap_or_default();
    let existing = ctx.children.deployments.get(&namespace, &objects::name(worker));
    if staged && let Some(existing) = &existing {
        // Its number may change all the same.
        let replicas = existing.spec.as_ref().and_then(|spec| spec.replicas);
        if replicas == Some(worker.spec.replicas) {
            return Ok(());
        }
        keep_template(&mut deployment, existing);
    }
    apply::apply(ctx, &deployment).await?;
    if existing.is_none() {
        ctx.tell(worker, "Created", format!("Deployment with {} pods", worker.spec.replicas)).await;
    }
    Ok(())
}

fn keep_template(deployment: &mut Deployment, existing: &Deployment) {
    if let (Some(spec), Some(annotations), Some(old)) =
        (deployment.spec.as_mut(), deployment.metadata.annotations.as_mut(), existing.spec.as_ref())
    {
        staging::keep_template((&mut spec.template, annotations), (&old.template, existing.annotations()));
    }
}
