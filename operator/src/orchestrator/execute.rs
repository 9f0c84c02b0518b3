//! Doing: each step is one change, safe to repeat, and told to people once it is done.

use crd::{Orchestrator, OrchestratorStatus};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, Pod as KubePod},
};
use kube::{Api, ResourceExt as _};
use tracing::info;

use super::{
    cluster::Peer,
    objects,
    observe::host,
    observed::Observed,
    plan::{Plan, SetPlan, Step},
};
use crate::{
    fail_point,
    frame::{
        Context, Error, apply,
        labels::{self, Component},
        orchestrators::member_address,
        volumes,
    },
};

/// Makes the objects so, as far as the plan says.
pub(crate) async fn objects(ctx: &Context, observed: &Observed, plan: &Plan) -> Result<(), Error> {
    let orchestrator = &observed.resource;
    let objects::Around { account, peers, clients, budget } = objects::around(orchestrator);
    apply::apply(ctx, &account).await?;
    apply::apply(ctx, &peers).await?;
    apply::apply(ctx, &clients).await?;
    apply::apply(ctx, &budget).await?;
    match &plan.set {
        SetPlan::Leave => {}
        SetPlan::Apply { replicas, recovery } => {
            let mut set = objects::stateful_set(&ctx.settings, orchestrator, *replicas, recovery.as_deref());
            if let Some(existing) =
                ctx.children.stateful_sets.get(&set.namespace().unwrap_or_default(), &set.name_any())
            {
                volumes::keep_template(&existing, &mut set);
            }
            apply::apply(ctx, &set).await?;
            let before = observed.set.as_ref().map(|set| set.replicas);
            tell_of_size(ctx, orchestrator, before, *replicas).await;
        }
        SetPlan::Orphan => {
            if let Some(set) = set(ctx, orchestrator) {
                volumes::remake(ctx, orchestrator, set.as_ref()).await?;
                fail_point::reach(fail_point::AFTER_SET_ORPHANED);
            }
        }
    }
    // Last: a storage class may refuse it for ever, and nothing else waits for that.
    let mut first = Ok(());
    for ordinal in &plan.grow {
        let claim = format!("data-{}", objects::pod_name(orchestrator, *ordinal));
        first = first.and(volumes::enlarge(ctx, orchestrator, &claim, &orchestrator.spec.volume.size).await);
        fail_point::reach(fail_point::AFTER_CLAIM_RESIZE);
    }
    first
}

async fn tell_of_size(ctx: &Context, orchestrator: &Orchestrator, before: Option<i32>, replicas: i32) {
    match before {
        None => ctx.tell(orchestrator, "Created", format!("StatefulSet with {replicas} pods")).await,
        Some(before) if before < replicas => {
            fail_point::reach(fail_point::AFTER_SCALE_OUT);
            ctx.tell(orchestrator, "ScaledOut", format!("from {before} to {replicas} pods")).await;
        }
        Some(before) if before > replicas => {
            fail_point::reach(fail_point::AFTER_SCALE_IN);
            ctx.tell(orchestrator, "ScaledIn", format!("from {before} to {replicas} pods")).await;
        }
        Some(_same) => {}
    }
}

/// Carries out the step. Returns what it means for the status, if it means anything, and whether anything was done.
pub(crate) async fn step(
    ctx: &Context,
    observed: &Observed,
    step: &Step,
) -> Result<(Option<OrchestratorStatus>, bool), Error> {
    let orchestrator = &observed.resource;
    let status = orchestrator.status.clone().unwrap_or_default();
    let peer = |ordinal: i32| {
        let host = host(ctx, orchestrator, ordinal)
            .ok_or_else(|| Error::Other(format!("{} has no address", objects::pod_name(orchestrator, ordinal))))?;
        Peer::new(&host)
    };
    let leader = || {
        let (ordinal, _) = observed.leader().ok_or_else(|| Error::Other("the leader is gone".to_owned()))?;
        peer(ordinal)
    };
    let pod_name = |ordinal: &i32| objects::pod_name(orchestrator, *ordinal);
    let namespace = orchestrator.namespace().unwrap_or_default();
    match step {
        Step::Nothing | Step::Wait { .. } | Step::Stuck { .. } => return Ok((None, false)),
        Step::Choose { cluster_id } => {
            let next = OrchestratorStatus { cluster_id: Some(cluster_id.clone()), founded: false, ..status };
            return Ok((Some(next), true));
        }
        Step::Record { cluster_id, recovered_from } => {
            let recovered_from = recovered_from.clone().or(status.recovered_from);
            let next =
                OrchestratorStatus { cluster_id: Some(cluster_id.clone()), founded: true, recovered_from, ..status };
            ctx.tell(orchestrator, "Founded", format!("cluster {cluster_id} exists")).await;
            return Ok((Some(next), true));
        }
        Step::Found { ordinal, cluster_id } => {
            not_founded_meanwhile(ctx, orchestrator, cluster_id).await?;
            peer(*ordinal)?.found(cluster_id).await?;
            fail_point::reach(fail_point::AFTER_FOUND);
            ctx.tell(orchestrator, "Founding", format!("{} founded cluster {cluster_id}", pod_name(ordinal))).await;
        }
        Step::Restore { ordinal, url, cluster_id } => {
            not_founded_meanwhile(ctx, orchestrator, cluster_id).await?;
            peer(*ordinal)?.restore(url, cluster_id).await?;
            fail_point::reach(fail_point::AFTER_RESTORE);
            ctx.tell(orchestrator, "Restored", format!("cluster {cluster_id} begins with the backup at {url}")).await;
        }
        Step::DeleteSet => {
            if let Some(set) = set(ctx, orchestrator) {
                apply::delete(ctx, set.as_ref(), false).await?;
                fail_point::reach(fail_point::AFTER_SET_DELETED);
                ctx.warn(orchestrator, "Recovering", "the lost cluster's pods are deleted, as told").await;
            }
        }
        Step::DeleteClaim { ordinal } => {
            let name = format!("data-{}", pod_name(ordinal));
            if let Some(claim) = ctx.children.claims.get(&namespace, &name) {
                apply::delete::<PersistentVolumeClaim>(ctx, claim.as_ref(), false).await?;
                fail_point::reach(fail_point::AFTER_CLAIM_DELETED);
                ctx.warn(orchestrator, "Recovering", format!("volume {name} of the lost cluster is deleted, as told"))
                    .await;
            }
        }
        Step::Join { ordinal, cluster_id } => {
            // Not itself: it has nothing to give.
            let members = observed.pods.iter().filter(|(other, pod)| {
                *other != ordinal && pod.answer.as_ref().is_some_and(|answer| answer.node_id != 0)
            });
            let addresses =
                members.map(|(member, _)| member_address(&namespace, &orchestrator.name_any(), *member)).collect();
            peer(*ordinal)?.join(addresses, cluster_id).await?;
            fail_point::reach(fail_point::AFTER_JOIN);
        }
        Step::AddLearner { ordinal, node_id, cluster_id } => {
            let address = member_address(&namespace, &orchestrator.name_any(), *ordinal);
            leader()?.add_learner(*node_id, address, cluster_id).await?;
            fail_point::reach(fail_point::AFTER_LEARNER);
            ctx.tell(orchestrator, "LearnerAdded", format!("{} copies the log", pod_name(ordinal))).await;
        }
        Step::Promote { ordinal, node_id } => {
            leader()?.promote(*node_id).await?;
            fail_point::reach(fail_point::AFTER_PROMOTE);
            ctx.tell(orchestrator, "MemberAdded", format!("{} has a vote", pod_name(ordinal))).await;
        }
        Step::Remove { node_id, name, replaced } => {
            leader()?.remove(*node_id).await?;
            if *replaced {
                fail_point::reach(fail_point::AFTER_REPLACED_REMOVED);
                let note = format!("{name} came back without its volume; its old self is no member any more");
                ctx.warn(orchestrator, crd::reason::MEMBER_REPLACED, note).await;
            } else {
                fail_point::reach(fail_point::AFTER_REMOVE_MEMBER);
                ctx.tell(orchestrator, "MemberRemoved", format!("{name} is no member any more")).await;
            }
        }
        Step::Transfer { to, name } => {
            leader()?.transfer(*to).await?;
            fail_point::reach(fail_point::AFTER_TRANSFER);
            ctx.tell(orchestrator, "LeaderMoved", format!("{name} leads")).await;
        }
        Step::DeletePod { ordinal, uid } => {
            let pod: Option<std::sync::Arc<KubePod>> = ctx.children.pods.get(&namespace, &pod_name(ordinal));
            if let Some(pod) = pod.filter(|pod| pod.uid().as_ref() == Some(uid)) {
                apply::delete(ctx, pod.as_ref(), false).await?;
                fail_point::reach(fail_point::AFTER_POD_DELETE);
                ctx.tell(orchestrator, "PodReplaced", format!("{} is made anew", pod_name(ordinal))).await;
            }
        }
    }
    info!(?step, "done");
    Ok((None, true))
}

/// What the watch shows may be a moment old, and a cluster is founded once: so this is looked up.
async fn not_founded_meanwhile(ctx: &Context, orchestrator: &Orchestrator, cluster_id: &str) -> Result<(), Error> {
    let (name, namespace) = (orchestrator.name_any(), orchestrator.namespace().unwrap_or_default());
    let api: Api<Orchestrator> = Api::namespaced(ctx.client.clone(), &namespace);
    ctx.metrics.request("get");
    let now = api.get(&name).await.map_err(Error::api(format!("read Orchestrator {name}")))?;
    let status = now.status.clone().unwrap_or_default();
    let same = now.uid() == orchestrator.uid() && status.cluster_id.as_deref() == Some(cluster_id) && !status.founded;
    if same { Ok(()) } else { Err(Error::Other("the status changed meanwhile; looking again".to_owned())) }
}

fn set(ctx: &Context, orchestrator: &Orchestrator) -> Option<std::sync::Arc<StatefulSet>> {
    let namespace = orchestrator.namespace().unwrap_or_default();
    let selector = labels::selector(Component::Orchestrator, &orchestrator.name_any());
    ctx.children.stateful_sets.with_labels(&namespace, &selector).into_iter().next()
}
