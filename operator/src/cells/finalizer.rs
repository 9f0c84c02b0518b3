//! Holding a resource back from being gone until what stands outside the Kubernetes API is gone too.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Resource, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::frame::{Context, Error};

/// Adds the finalizer if it is not there. Errors: somebody else wrote in between, see [`Error::is_conflict`].
pub(crate) async fn add<K>(ctx: &Context, object: &K, finalizer: &str) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    if object.finalizers().iter().any(|there| there == finalizer) {
        return Ok(());
    }
    let mut finalizers = object.finalizers().to_vec();
    finalizers.push(finalizer.to_owned());
    write(ctx, object, &finalizers).await
}

/// Lets the resource go, as far as this finalizer is concerned.
pub(crate) async fn remove<K>(ctx: &Context, object: &K, finalizer: &str) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let left: Vec<_> = object.finalizers().iter().filter(|there| *there != finalizer).cloned().collect();
    match left.len() == object.finalizers().len() {
        true => Ok(()),
        false => write(ctx, object, &left).await,
    }
}

async fn write<K>(ctx: &Context, object: &K, finalizers: &[String]) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let api: Api<K> = Api::namespaced(ctx.client.clone(), &namespace);
    // With the version that was seen, so that nobody else's finalizer is lost.
    let patch = json!({ "metadata": { "finalizers": finalizers, "resourceVersion": object.resource_version() } });
    ctx.metrics.request("patch");
    match api.patch(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(Error::api(format!("write the finalizers of {} {name}", K::kind(&())))(error)),
    }
}
