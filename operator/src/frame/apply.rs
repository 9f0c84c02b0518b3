//! Server-side apply of what is made for a resource, and nothing sent when nothing changed.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Mutex, PoisonError},
};

use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, Preconditions, PropagationPolicy},
};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use super::{Context, Error};

/// Field manager of everything that the operator applies.
pub const FIELD_MANAGER: &str = "dragnet-operator";

/// What was applied last, by kind, namespace and name: its digest, and what the object was like right after.
///
/// An object whose digest is as before and which nobody touched since is not sent again. The watch tells of touches; an
/// entry is also gone after a restart, so that then everything is applied once.
#[derive(Debug, Default)]
pub struct Applied {
    entries: Mutex<BTreeMap<Key, Entry>>,
}

type Key = (String, String, String);

#[derive(Debug)]
struct Entry {
    digest: [u8; 32],
    /// Generation where the kind has one, since status may change all the time; else the resource version.
    token: String,
}

impl Applied {
    /// The watch shows the object so; `None`: it is gone.
    pub fn saw<K: Resource<DynamicType = ()>>(&self, meta: &ObjectMeta, gone: bool) {
        let key = key_of::<K>(meta);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.get(&key).is_some_and(|entry| gone || entry.token != token(meta)) {
            entries.remove(&key);
        }
    }

    fn holds(&self, key: &Key, digest: &[u8; 32]) -> bool {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(key).is_some_and(|entry| entry.digest == *digest)
    }

    fn note(&self, key: Key, digest: [u8; 32], meta: &ObjectMeta) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.insert(key, Entry { digest, token: token(meta) });
    }
}

/// Makes the object so. Fields that others manage stay theirs; those we name become ours.
///
/// An object of that name which exists and is controlled by another is left alone.
///
/// Returns whether anything was sent. Errors: the API server refused, or did not answer; the name is taken.
pub async fn apply<K>(ctx: &Context, object: &K) -> Result<bool, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned,
{
    let meta = object.meta();
    let what = format!("apply {} {}", K::kind(&()), object.name_any());
    let mut value =
        serde_json::to_value(object).map_err(|error| Error::Other(format!("failed to write {what}: {error}")))?;
    value["apiVersion"] = K::api_version(&()).into();
    value["kind"] = K::kind(&()).into();
    let digest: [u8; 32] = Sha256::digest(value.to_string().as_bytes()).into();
    let key = key_of::<K>(meta);
    if ctx.applied.holds(&key, &digest) {
        return Ok(false);
    }
    let api: Api<K> = Api::namespaced(ctx.client.clone(), &key.1);
    ctx.metrics.request("get");
    let existing = api.get_opt(&key.2).await.map_err(Error::api(what.clone()))?;
    if let Some(existing) = existing
        && let Some(taken) = taken(existing.meta(), meta)
    {
        return Err(Error::NameTaken { kind: K::kind(&()).into_owned(), name: key.2, by: taken });
    }
    ctx.metrics.request("apply");
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let now = api.patch(&key.2, &params, &Patch::Apply(&value)).await.map_err(Error::api(what))?;
    ctx.applied.note(key, digest, now.meta());
    Ok(true)
}

/// Deletes the object if it is still the one that was seen; success also when it is gone.
pub async fn delete<K>(ctx: &Context, seen: &K, orphan: bool) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let (namespace, name) = (seen.namespace().unwrap_or_default(), seen.name_any());
    let api: Api<K> = Api::namespaced(ctx.client.clone(), &namespace);
    let params = DeleteParams {
        preconditions: Some(Preconditions { uid: seen.uid(), resource_version: None }),
        propagation_policy: orphan.then_some(PropagationPolicy::Orphan),
        ..DeleteParams::default()
    };
    ctx.metrics.request("delete");
    match api.delete(&name, &params).await {
        Ok(_) => Ok(()),
        // Gone, or another one of that name: the one that was meant is no more.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(Error::api(format!("delete {} {name}", K::kind(&())))(error)),
    }
}

/// Metadata of something that belongs to `owner`.
pub fn meta<K: Resource<DynamicType = ()>>(owner: &K, name: String, labels: BTreeMap<String, String>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: owner.namespace(),
        labels: Some(labels),
        owner_references: owner.controller_owner_ref(&()).map(|reference| vec![reference]),
        ..ObjectMeta::default()
    }
}

/// Whose the existing object is, if it is not ours: it has another controller, or none although ours has one.
fn taken(existing: &ObjectMeta, ours: &ObjectMeta) -> Option<String> {
    let controller = |meta: &ObjectMeta| -> Option<OwnerReference> {
        meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true)).cloned()
    };
    let ours = controller(ours)?;
    match controller(existing) {
        Some(theirs) if theirs.uid == ours.uid => None,
        Some(theirs) => Some(format!("{} {}", theirs.kind, theirs.name)),
        None => Some("somebody who made it by hand".to_owned()),
    }
}

fn key_of<K: Resource<DynamicType = ()>>(meta: &ObjectMeta) -> Key {
    (K::kind(&()).into_owned(), meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

fn token(meta: &ObjectMeta) -> String {
    match meta.generation {
        Some(generation) => format!("{}/{generation}", meta.uid.as_deref().unwrap_or_default()),
        None => meta.resource_version.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;

    use super::*;

    fn object(version: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some("a".to_owned()),
            namespace: Some("n".to_owned()),
            resource_version: Some(version.to_owned()),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn what_nobody_touched_is_not_sent_again() {
        let (applied, digest) = (Applied::default(), [7; 32]);
        let key = key_of::<Service>(&object("1"));
        assert!(!applied.holds(&key, &digest));
        applied.note(key.clone(), digest, &object("1"));
        applied.saw::<Service>(&object("1"), false);
        assert!(applied.holds(&key, &digest));
        assert!(!applied.holds(&key, &[8; 32]));
    }

    #[test]
    fn what_somebody_touched_or_deleted_is() {
        let (applied, digest) = (Applied::default(), [7; 32]);
        let key = key_of::<Service>(&object("1"));
        applied.note(key.clone(), digest, &object("1"));
        applied.saw::<Service>(&object("2"), false);
        assert!(!applied.holds(&key, &digest));
        applied.note(key.clone(), digest, &object("2"));
        applied.saw::<Service>(&object("2"), true);
        assert!(!applied.holds(&key, &digest));
    }

    #[test]
    fn a_name_is_taken_by_whoever_controls_it() {
        let owned = |uid: &str| ObjectMeta {
            owner_references: Some(vec![OwnerReference {
                uid: uid.to_owned(),
                kind: "Orchestrator".to_owned(),
                name: uid.to_owned(),
                controller: Some(true),
                ..OwnerReference::default()
            }]),
            ..ObjectMeta::default()
        };
        assert_eq!(taken(&owned("x"), &owned("x")), None);
        assert_eq!(taken(&owned("y"), &owned("x")), Some("Orchestrator y".to_owned()));
        assert!(taken(&object("1"), &owned("x")).is_some_and(|by| by.contains("by hand")));
    }
}
