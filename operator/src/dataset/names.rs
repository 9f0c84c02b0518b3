//! What things of a dataset are called; the only place that knows it.

use crd::{BatchDataset, DatasetSource};
use kube::ResourceExt as _;
use types::Digest;

/// Port of Redis clients.
pub(crate) const REDIS_PORT: i32 = 6379;
/// Port of metrics, health and switching.
pub(crate) const ADMIN_PORT: i32 = 9121;
/// Key of the topology in its ConfigMap, and its file.
pub(crate) const TOPOLOGY_FILE: &str = "topology.json";
/// Key of the token in its Secret, and its file.
pub(crate) const TOKEN_FILE: &str = "token";

/// StatefulSet, client Service, ServiceAccount and PodDisruptionBudget.
pub(crate) fn servers(dataset: &str) -> String {
    format!("{dataset}-kv")
}

/// Headless Service, which gives each pod a name that stays.
pub(crate) fn nodes(dataset: &str) -> String {
    format!("{dataset}-kv-nodes")
}

pub(crate) fn topology(dataset: &str) -> String {
    format!("{dataset}-kv-topology")
}

pub(crate) fn admin(dataset: &str) -> String {
    format!("{dataset}-kv-admin")
}

pub(crate) fn pod(dataset: &str, ordinal: u16) -> String {
    format!("{dataset}-kv-{ordinal}")
}

/// Where a pod answers, ready or not.
pub(crate) fn host(namespace: &str, dataset: &str, pod: &str) -> String {
    format!("{pod}.{}.{namespace}.svc", nodes(dataset))
}

/// As the server makes it of `--cluster-node name:…`.
pub(crate) fn node_id(pod: &str) -> String {
    Digest::of(pod.as_bytes()).to_string()[..40].to_owned()
}

/// Digest of all that a version is built from, shortened. The same input gives the same version.
pub(crate) fn build_input(dataset: &BatchDataset, source: &DatasetSource) -> String {
    let described =
        serde_json::json!({ "source": source, "shards": dataset.spec.shards, "dataset": dataset.name_any() });
    Digest::of(described.to_string().as_bytes()).to_string()[..10].to_owned()
}

pub(crate) fn build_job(dataset: &str, input: &str) -> String {
    format!("{dataset}-build-{input}")
}

pub(crate) fn finish_job(dataset: &str, input: &str) -> String {
    format!("{dataset}-finish-{input}")
}
