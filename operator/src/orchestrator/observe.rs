//! Looking: from caches and from the members themselves. No request to the API server.

use std::sync::Arc;

use crd::Orchestrator;
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{PersistentVolumeClaim, Pod as KubePod},
};
use kube::ResourceExt as _;
use tracing::debug;

use super::{
    cluster::Peer,
    objects::{self, GENERATION, RECOVERY, REQUESTED, TEMPLATE},
    observed::{Claim, Observed, Pod, Set},
};
use crate::frame::{
    Context,
    labels::{self, Component},
    pods, volumes,
};

/// What is, right now. `turn`: whether it is this cluster's turn to be rolled for the operator's own sake.
pub(crate) async fn observe(ctx: &Context, orchestrator: &Orchestrator, turn: bool) -> Observed {
    let (name, namespace) = (orchestrator.name_any(), orchestrator.namespace().unwrap_or_default());
    let set_name = objects::set_name(orchestrator);
    let selector = labels::selector(Component::Orchestrator, &name);
    let kube_pods = ctx.children.pods.with_labels(&namespace, &selector);
    let own_secret = objects::own_credentials(orchestrator).and_then(|own| own.credentials_secret.as_ref());
    let own_secret = own_secret.map(|secret| ("spec.backup.credentials.credentialsSecret", secret.name.as_str()));
    let of_storage = orchestrator.spec.storage.credentials_secret.as_ref().map(|secret| secret.name.as_str());
    let own_secret = Vec::from_iter(own_secret.filter(|(_field, name)| Some(*name) != of_storage));
    let class = orchestrator.spec.volume.storage_class_name.as_deref();
    let trouble = pods::trouble(kube_pods.iter().map(Arc::as_ref))
        .map(|trouble| format!("{trouble}{}", pods::remedy(&trouble, class, &own_secret)));
    let asked = kube_pods.iter().filter_map(|pod| {
        let ordinal = objects::ordinal(&set_name, &pod.name_any())?;
        Some(async move { (ordinal, ask(pod).await) })
    });
    let pods = join_all(asked).await.into_iter().collect();
    let claims = ctx.children.claims.with_labels(&namespace, &selector).into_iter().filter_map(|claim| {
        let ordinal = objects::ordinal(&format!("data-{set_name}"), &claim.name_any())?;
        Some((ordinal, of_claim(&claim)))
    });
    Observed {
        set: ctx.children.stateful_sets.get(&namespace, &set_name).map(|set| of_set(&set)),
        pods,
        claims: claims.collect(),
        template: pods::digest(&objects::template(&ctx.settings, orchestrator)),
        requested: objects::requested(orchestrator),
        turn,
        trouble,
        now: Timestamp::now(),
        resource: orchestrator.clone(),
    }
}

async fn ask(pod: &KubePod) -> Pod {
    let annotations = pod.metadata.annotations.as_ref();
    let mut seen = Pod {
        uid: pod.uid().unwrap_or_default(),
        template: annotations.and_then(|all| all.get(TEMPLATE)).cloned().unwrap_or_default(),
        ready: pods::is_ready(pod),
        going: pod.metadata.deletion_timestamp.is_some(),
        answer: None,
    };
    let Some(host) = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()) else { return seen };
    let answer = match Peer::new(host) {
        Ok(mut peer) => peer.status(true).await,
        Err(error) => {
            debug!(pod = pod.name_any(), %error, "no connection");
            return seen;
        }
    };
    match answer {
        Ok(answer) => seen.answer = Some(answer),
        Err(status) => debug!(pod = pod.name_any(), %status, "no answer"),
    }
    seen
}

/// Where a pod can be asked.
pub(crate) fn host(ctx: &Context, orchestrator: &Orchestrator, ordinal: i32) -> Option<String> {
    let namespace = orchestrator.namespace().unwrap_or_default();
    let pod = ctx.children.pods.get(&namespace, &objects::pod_name(orchestrator, ordinal))?;
    pod.status.as_ref()?.pod_ip.clone()
}

fn of_set(set: &StatefulSet) -> Set {
    let annotation = |key: &str| set.annotations().get(key).cloned().unwrap_or_default();
    let claim = volumes::template(set);
    Set {
        replicas: set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1),
        template: annotation(TEMPLATE),
        requested: annotation(REQUESTED),
        generation: annotation(GENERATION).parse().ok(),
        claim_bytes: claim.map_or(u128::MAX, volumes::requested),
        recovery: claim.and_then(|claim| claim.labels().get(RECOVERY).cloned()),
        going: set.metadata.deletion_timestamp.is_some(),
    }
}

fn of_claim(claim: &PersistentVolumeClaim) -> Claim {
    Claim {
        requested: volumes::requested(claim),
        recovery: claim.labels().get(RECOVERY).cloned(),
        bound: volumes::is_bound(claim),
        going: claim.metadata.deletion_timestamp.is_some(),
    }
}
