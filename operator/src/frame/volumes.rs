//! Volumes of StatefulSets that grow: what new claims are made of, then the claims that are there. The former cannot change in a set that
//! exists, so the set goes without its pods and comes back.

use k8s_openapi::{
    NamespaceResourceScope,
    api::{apps::v1::StatefulSet, core::v1::PersistentVolumeClaim},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{Context, Error, apply};

/// The field that says how large volumes are to be.
const FIELD: &str = "spec.volume.size";

/// Whether a claim may not grow, which another try will not change.
pub(crate) fn is_refusal(error: &Error) -> bool {
    matches!(error, Error::Api { what, .. } if what.contains(FIELD)) && error.refusal().is_some()
}

/// Bytes that the claim asks for; of one that does not say, more than anyone wants.
pub(crate) fn requested(claim: &PersistentVolumeClaim) -> u128 {
    let requests = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref()?.requests.as_ref());
    requests.and_then(|requests| crd::bytes_of(requests.get("storage")?)).unwrap_or(u128::MAX)
}

/// Whether the claim has a volume: others cannot grow.
pub(crate) fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

/// What the set's new claims are made of.
pub(crate) fn template(set: &StatefulSet) -> Option<&PersistentVolumeClaim> {
    set.spec.as_ref()?.volume_claim_templates.as_ref()?.first()
}

/// Deletes the set and leaves its pods; whoever looks next makes it as it is to be, and it takes the pods up again.
pub(crate) async fn remake<K>(ctx: &Context, owner: &K, set: &StatefulSet) -> Result<(), Error>
where
    K: Resource<DynamicType = ()>,
{
    apply::delete(ctx, set, true).await?;
    ctx.tell(owner, "Resizing", "the StatefulSet is made anew for larger volumes; pods stay").await;
    Ok(())
}

/// Has the claim ask for `size`, as the owner's spec.volume.size says.
pub(crate) async fn enlarge<K>(ctx: &Context, owner: &K, claim: &str, size: &Quantity) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let api: Api<PersistentVolumeClaim> = Api::namespaced(ctx.client.clone(), &owner.namespace().unwrap_or_default());
    let body = json!({ "spec": { "resources": { "requests": { "storage": size } } } });
    ctx.metrics.request("patch");
    let patched = api.patch(claim, &PatchParams::default(), &Patch::Merge(&body)).await;
    patched.map_err(Error::api(format!("make volume {claim} larger ({FIELD})")))?;
    ctx.tell(owner, "Resizing", format!("volume {claim} is to have {}", size.0)).await;
    Ok(())
}

/// What new claims are made of cannot change in a set that exists; what exists is said again, to the byte.
pub(crate) fn keep_template(existing: &StatefulSet, set: &mut StatefulSet) {
    let claims = existing.spec.as_ref().and_then(|spec| spec.volume_claim_templates.clone());
    if let (Some(spec), Some(mut claims)) = (set.spec.as_mut(), claims) {
        for claim in &mut claims {
            claim.status = None;
        }
        spec.volume_claim_templates = Some(claims);
    }
}
