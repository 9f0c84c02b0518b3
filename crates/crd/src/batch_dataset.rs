//! Keys and values, built in batches and served read-only.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{PodOverrides, Resources, Span, StorageLocation, Volume, schemas};

/// A dataset: immutable versions of keys and values in object storage, and servers that speak the Redis protocol.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "dragnet.dev",
    version = "v1alpha1",
    kind = "BatchDataset",
    plural = "batchdatasets",
    shortname = "bds",
    category = "dragnet",
    namespaced,
    status = "BatchDatasetStatus",
    derive = "PartialEq",
    doc = "A dataset: immutable versions of keys and values in object storage, and servers that answer for them over the Redis protocol.",
    cel,
    validation = Rule::new("self.metadata.name.size() <= 39").message("metadata.name may have at most 39 characters: names of pods and Jobs are made of it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must begin with a letter and have only a-z, 0-9 and dashes: names of Services are made of it")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.build) || has(self.source)", "build says how to build from source, and there is no source"))]
pub struct BatchDatasetSpec {
    /// Image of servers and builds; that of the operator without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Where versions lie: built here from `source`, or elsewhere by `dragnet dataset build`.
    #[x_kube(validation = ("self.url == oldSelf.url", "versions.url cannot change: make another BatchDataset for another place"))]
    pub versions: StorageLocation,
    /// What to build versions from; without it versions are made elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<DatasetSource>,
    /// How to build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
    /// Parts that keys are divided into, each served by `replicas` pods. Versions made elsewhere must have as many.
    #[serde(default = "one")]
    #[x_kube(validation = ("self >= 1 && self <= 64", "shards must be between 1 and 64"))]
    #[x_kube(validation = ("self == oldSelf", "shards cannot change: every version is divided so; make another BatchDataset"))]
    pub shards: i32,
    /// Pods for each shard.
    #[serde(default = "two")]
    #[x_kube(validation = ("self >= 0 && self <= 16", "replicas must be between 0 and 16"))]
    pub replicas: i32,
    /// Which version to serve: `latest`, or the name of one, which stays until this is changed.
    #[serde(default = "latest")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = ("self == 'latest' || self.matches('^[0-9]{6,10}-[0-9a-f]{8}$')", "version must be latest, or the name of a version such as 000007-1f0c22ab, as status and dragnet dataset list show it"))]
    pub version: String,
    /// How many versions each server keeps on its volume, that which is served among them. In object storage all of them stay.
    #[serde(default = "two")]
    #[x_kube(validation = ("self >= 2 && self <= 100", "keep must be between 2 and 100: the version before is needed for going back"))]
    pub keep: i32,
    /// How a new version comes to be served.
    #[serde(default)]
    pub rollout: Rollout,
    /// The volume of each server, for the versions it keeps.
    #[serde(default)]
    pub volume: Volume,
    /// Of each server.
    #[serde(default)]
    pub resources: Resources,
    /// What may be said about the servers' pods beyond what they are.
    #[serde(default)]
    pub pods: PodOverrides,
    /// The operator changes nothing while this is true. Servers go on.
    #[serde(default)]
    pub paused: bool,
}

impl BatchDatasetSpec {
    /// What `version` says if the newest good version is to be served.
    pub const LATEST: &str = "latest";

    /// The version that is asked for by name.
    pub fn pin(&self) -> Option<&str> {
        Some(self.version.as_str()).filter(|version| *version != Self::LATEST)
    }
}

/// What to build versions from: rows in files.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatasetSource {
    /// A file, or a folder whose files are read one after another.
    pub storage: StorageLocation,
    /// What the files are.
    pub format: Format,
    /// The column of keys.
    #[schemars(length(min = 1, max = 256))]
    pub key: String,
    /// The column of values. Without it all other columns are the value, as one JSON object.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub value: Option<String>,
    /// What clients put before a key when they ask.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub prefix: String,
    /// What happens if two rows have one key.
    #[serde(default)]
    pub on_duplicate: OnDuplicate,
    /// Changed by a person, it starts a new build from the same place. Any text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub revision: Option<String>,
}

#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    Parquet,
    Csv,
    Jsonl,
}

#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDuplicate {
    #[default]
    Error,
    First,
    Last,
}

/// How to build.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Build {
    /// Of each pod that builds; there is one for each shard.
    #[serde(default)]
    pub resources: Resources,
    /// Pods that may build at a time; all of them without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self >= 1 && self <= 64", "build.parallelism must be between 1 and 64"))]
    pub parallelism: Option<i32>,
    /// How often the pod of one shard is started again before the build is given up.
    #[serde(default = "three")]
    #[x_kube(validation = ("self >= 0 && self <= 20", "build.retries must be between 0 and 20"))]
    pub retries: i32,
    /// A build that takes longer is given up.
    #[serde(default = "day")]
    #[x_kube(validation = ("duration(self) >= duration('10s') && duration(self) <= duration('168h')", "build.deadline must be between 10s and 168h"))]
    pub deadline: Span,
}

/// How a new version comes to be served: by a share of the servers first, then by all.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Share of the servers that serve it first, in percent, at least one; 100 for all at once.
    #[serde(default = "quarter")]
    #[x_kube(validation = ("self >= 1 && self <= 100", "rollout.canaryPercent must be between 1 and 100"))]
    pub canary_percent: i32,
    /// How long they serve it before the others do.
    #[serde(default = "minute")]
    #[x_kube(validation = ("duration(self) <= duration('168h')", "rollout.wait must be at most 168h"))]
    pub wait: Span,
    /// How long servers may take to fetch and open it before the rollout is stopped.
    #[serde(default = "half_hour")]
    #[x_kube(validation = ("duration(self) >= duration('5s') && duration(self) <= duration('168h')", "rollout.deadline must be between 5s and 168h"))]
    pub deadline: Span,
    /// Failed requests in a thousand that stop the rollout while the first servers serve.
    #[serde(default = "one")]
    #[x_kube(validation = ("self >= 0 && self <= 1000", "rollout.maxErrorsPerMille must be between 0 and 1000"))]
    pub max_errors_per_mille: i32,
    /// A version that has fewer keys than the one before by more than this, in percent, goes wrong.
    #[serde(default = "half")]
    #[x_kube(validation = ("self >= 0 && self <= 100", "rollout.maxKeyLossPercent must be between 0 and 100"))]
    pub max_key_loss_percent: i32,
    /// Whether a rollout that goes wrong is taken back by itself. If not, it stops where it is and waits for a person.
    #[serde(default = "yes")]
    pub automatic_rollback: bool,
}

#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchDatasetStatus {
    /// The generation of the spec that the rest is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The version that all servers are to serve; the one before while a rollout is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving_version: Option<String>,
    /// The version before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_version: Option<String>,
    /// The version that servers are brought to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_version: Option<String>,
    /// Versions that were stopped or taken back, newest first; they are never picked again by themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub bad_versions: Vec<BadVersion>,
    /// A rollout that is under way, or was stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// The newest build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildStatus>,
    /// Keys of the serving version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<i64>,
    /// Bytes of the serving version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// Servers that serve what they should, of all: `4/4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub servers: Option<String>,
    /// What each server serves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1024))]
    pub replicas: Vec<ServerStatus>,
    /// Counts every change of who answers for which hash slots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology_epoch: Option<i64>,
    /// Where clients connect: `redis://HOST:PORT`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(default)]
    #[schemars(schema_with = "schemas::conditions")]
    pub conditions: Vec<Condition>,
}

#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatus {
    /// Its pod.
    pub name: String,
    pub shard: i32,
    /// What it serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What it has fetched and verified, and would serve when told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prepared: Option<String>,
    #[serde(default)]
    pub ready: bool,
    /// What it does, in its own words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub state: String,
    /// Keys it holds of that version.
    #[serde(default)]
    pub keys: i64,
    /// The last thing that went wrong with a version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A version that is not picked again by itself.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BadVersion {
    pub version: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, for people.
    #[serde(default)]
    pub message: String,
}

#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    pub version: String,
    /// The version before, to which it goes back.
    pub from: String,
    pub phase: Phase,
    /// When this phase began.
    pub since: String,
    /// What the servers were like before; by their pods.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub before: BTreeMap<String, Baseline>,
}

/// What a server was like before a rollout.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    #[serde(default)]
    pub keys: i64,
    #[serde(default)]
    pub restarts: i32,
    /// Requests answered, and of those with an error, since the server started.
    #[serde(default)]
    pub requests: i64,
    #[serde(default)]
    pub errors: i64,
}

/// What a rollout does.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Servers fetch and verify the version, and serve the one before.
    #[default]
    Preparing,
    /// The first servers switch to it.
    Canary,
    /// They serve it, and the others wait.
    Waiting,
    /// The others follow.
    Everywhere,
    /// It went wrong, and the servers go back.
    RollingBack,
    /// It went wrong, and waits for a person.
    Stopped,
}

#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildStatus {
    /// Name of the Job.
    pub job: String,
    /// Digest of what was asked for: source and shards.
    pub input: String,
    /// `Running`, `Succeeded` or `Failed`.
    pub phase: String,
    /// The version that was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Shards that are done.
    #[serde(default)]
    pub shards_done: i32,
    /// The same for people: `3/4`, `finishing`, `done` or `failed`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub progress: String,
    /// Bytes of keys and values in that version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Default for Build {
    fn default() -> Self {
        Self { resources: Resources::default(), parallelism: None, retries: three(), deadline: day() }
    }
}

impl Default for Rollout {
    fn default() -> Self {
        Self {
            canary_percent: quarter(),
            wait: minute(),
            deadline: half_hour(),
            max_errors_per_mille: one(),
            max_key_loss_percent: half(),
            automatic_rollback: yes(),
        }
    }
}

fn one() -> i32 {
    1
}

fn two() -> i32 {
    2
}

fn three() -> i32 {
    3
}

fn quarter() -> i32 {
    25
}

fn half() -> i32 {
    50
}

fn yes() -> bool {
    true
}

fn latest() -> String {
    "latest".to_owned()
}

fn minute() -> Span {
    Span("1m".to_owned())
}

fn half_hour() -> Span {
    Span("30m".to_owned())
}

fn day() -> Span {
    Span("24h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset() -> BatchDataset {
        let source = serde_json::json!({"storage": {"url": "s3://facts/in/a.csv"}, "format": "csv", "key": "sha256"});
        let spec = serde_json::json!({"versions": {"url": "s3://facts/packages"}, "source": source});
        BatchDataset::new("packages", serde_json::from_value(spec).unwrap())
    }

    fn refusal(change: impl FnOnce(&mut BatchDatasetSpec)) -> String {
        let mut dataset = dataset();
        change(&mut dataset.spec);
        dataset.validate_cel().unwrap_err().to_string()
    }

    #[test]
    fn what_is_left_out_has_defaults() {
        let dataset = dataset();
        dataset.validate_cel().unwrap();
        let spec = &dataset.spec;
        assert_eq!((spec.shards, spec.replicas, spec.keep, spec.pin()), (1, 2, 2, None));
        assert_eq!((spec.rollout.canary_percent, spec.rollout.wait.0.as_str()), (25, "1m"));
    }

    #[test]
    fn rules_say_what_to_write_instead() {
        assert!(refusal(|spec| spec.version = "newest".into()).contains("000007-1f0c22ab"));
        assert!(refusal(|spec| spec.rollout.wait = Span("169h".into())).contains("rollout.wait"));
        assert!(refusal(|spec| spec.shards = 65).contains("between 1 and 64"));
        assert!(refusal(|spec| spec.keep = 1).contains("needed for going back"));
        assert!(
            refusal(|spec| (spec.source, spec.build) = (None, Some(Build::default()))).contains("there is no source")
        );
    }
}
