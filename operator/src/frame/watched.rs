//! A resource as the watch brings it: perhaps not readable, and without what nobody here reads.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Resource, core::DeserializeGuard, core::error_boundary::InvalidObject};
use serde::{Deserialize, Deserializer};

/// `K`, or why it cannot be read: one bad object must not stop the watch of all others.
///
/// `managedFields`, half of most objects' metadata, is dropped before anything is kept.
#[derive(Clone, Debug)]
pub struct Watched<K>(pub Result<K, InvalidObject>);

impl<'de, K: Resource + Deserialize<'de>> Deserialize<'de> for Watched<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let DeserializeGuard(read) = DeserializeGuard::<K>::deserialize(deserializer)?;
        let mut watched = Self(read);
        watched.meta_mut().managed_fields = None;
        Ok(watched)
    }
}

impl<K: Resource> Resource for Watched<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::kind(dynamic)
    }

    fn group(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::group(dynamic)
    }

    fn version(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::version(dynamic)
    }

    fn plural(dynamic: &K::DynamicType) -> Cow<'_, str> {
        K::plural(dynamic)
    }

    fn meta(&self) -> &ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta(),
            Err(invalid) => &invalid.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match &mut self.0 {
            Ok(object) => object.meta_mut(),
            Err(invalid) => &mut invalid.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_cannot_be_read_still_has_a_name_and_a_reason() {
        let object = json!({
            "apiVersion": "dragnet.dev/v1alpha1", "kind": "Orchestrator",
            "metadata": { "name": "x", "namespace": "n", "managedFields": [{ "manager": "kubectl" }] },
            "spec": { "replicas": "three" }
        });
        let watched: Watched<crd::Orchestrator> = serde_json::from_value(object).unwrap();
        assert_eq!(watched.meta().name.as_deref(), Some("x"));
        assert_eq!(watched.meta().managed_fields, None);
        assert!(watched.0.unwrap_err().error.contains("three"));
    }
}
