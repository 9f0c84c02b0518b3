//! The members that hold all state and decide who scans what.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ObjectCredentials, PodOverrides, Resources, Span, StorageLocation, Volume, schemas};

/// A cluster of orchestrators: one, three or five members that agree by Raft, each with a volume of its own.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "dragnet.dev",
    version = "v1alpha1",
    kind = "Orchestrator",
    plural = "orchestrators",
    shortname = "orch",
    category = "dragnet",
    namespaced,
    status = "OrchestratorStatus",
    derive = "PartialEq",
    doc = "A cluster of orchestrators: one, three or five members that agree by Raft, each with a volume of its own.",
    cel,
    validation = Rule::new("self.metadata.name.size() <= 39").message("metadata.name may have at most 39 characters: names of pods and volumes are made of it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must begin with a letter and have only a-z, 0-9 and dashes: names of Services are made of it")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.bootstrap) == has(oldSelf.bootstrap) && (!has(self.bootstrap) || self.bootstrap == oldSelf.bootstrap)", "bootstrap is only for a new resource; to restore a cluster that lost its quorum, use the annotation dragnet.dev/recover-from"))]
#[x_kube(validation = ("!has(self.backup) || has(self.backup.credentials) || self.backup.url.startsWith('s3://') == self.storage.url.startsWith('s3://')", "backup.url must be of the same sort as storage.url, or backup.credentials must say how to get there"))]
pub struct OrchestratorSpec {
    /// How many members: 1, 3 or 5. One is for trying out: it cannot be replaced without a pause.
    #[serde(default = "three")]
    #[x_kube(validation = ("self in [1, 3, 5]", "replicas must be 1, 3 or 5: an even number tolerates no more lost members than one less"))]
    pub replicas: i32,
    /// Image of the members; that of the operator without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Object storage for rulesets, manifests and findings.
    #[x_kube(validation = ("self.url == oldSelf.url", "storage.url cannot change: what is stored there would be lost to the cluster"))]
    pub storage: StorageLocation,
    /// The volume of each member: its identity, log and snapshots.
    #[serde(default)]
    pub volume: Volume,
    /// Of each member.
    #[serde(default)]
    pub resources: Resources,
    /// When members write snapshots to their volume.
    #[serde(default)]
    pub snapshots: Snapshots,
    /// Regular backups to object storage; none without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<Backup>,
    /// How the cluster begins; empty without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Bootstrap>,
    /// Silent for so long, a worker loses its session and its work.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("duration(self) >= duration('2s') && duration(self) <= duration('10m')", "sessionTtl must be between 2s and 10m"))]
    pub session_ttl: Option<Span>,
    /// What may be said about the pods beyond what they are.
    #[serde(default)]
    pub pods: PodOverrides,
    /// The operator changes nothing while this is true. Pods go on.
    #[serde(default)]
    pub paused: bool,
}

/// When members write snapshots to their volume.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshots {
    /// Once so many MiB were appended to the log since the last one.
    #[serde(default = "sixty_four")]
    #[x_kube(validation = ("self >= 1 && self <= 65536", "snapshots.logMib must be between 1 and 65536"))]
    pub log_mib: i64,
    /// At least so often while the log grows.
    #[serde(default = "ten_minutes")]
    #[x_kube(validation = ("duration(self) >= duration('10s') && duration(self) <= duration('168h')", "snapshots.interval must be between 10s and 168h"))]
    pub interval: Span,
}

/// Regular backups to object storage, each a snapshot that a new cluster can begin with.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!self.url.startsWith('file://') || !has(self.credentials)", "a file:// URL takes no credentials; they are of s3:// URLs"))]
pub struct Backup {
    /// The folder to write to: `s3://bucket/prefix`.
    #[schemars(length(max = 1024))]
    #[x_kube(validation = ("self.matches('^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^?#]*)?|file:///[^?#]*)$')", "backup.url must be s3://bucket/prefix or file:///absolute/path"))]
    pub url: String,
    /// How to get there, if not as to `storage`: so that whoever loses that one, or its keys, keeps the backups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<ObjectCredentials>,
    /// Time from one backup to the next.
    #[serde(default = "six_hours")]
    #[x_kube(validation = ("duration(self) >= duration('10s') && duration(self) <= duration('720h')", "backup.interval must be between 10s and 720h"))]
    pub interval: Span,
    /// How many to keep; older ones are deleted once a newer one is written.
    #[serde(default = "seven")]
    #[x_kube(validation = ("self >= 1 && self <= 1000", "backup.keep must be between 1 and 1000"))]
    pub keep: i32,
}

/// How the cluster begins.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Bootstrap {
    /// From a backup, as a new cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery: Option<Recovery>,
}

/// From a backup, as a new cluster.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recovery {
    /// A backup, or a folder of backups whose newest is taken. Reached with the credentials of `backup` if it has its own, else with those of `storage`.
    #[schemars(length(max = 1024))]
    #[x_kube(validation = ("self.matches('^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^?#]*)?|file:///[^?#]*)$')", "bootstrap.recovery.url must be s3://bucket/prefix or file:///absolute/path"))]
    pub url: String,
}

/// What the operator saw and did.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrchestratorStatus {
    /// The generation of the spec that the rest is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Name of the Raft cluster. Written before the cluster is founded, so that it is founded once; with `founded` it exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<String>,
    /// Whether the cluster exists. From then on nothing but an explicit instruction makes another.
    #[serde(default)]
    pub founded: bool,
    /// The last recovery instruction that was carried out, so that it is carried out once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovered_from: Option<String>,
    /// Pod of the member that leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leader: Option<String>,
    /// Raft term.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub term: Option<i64>,
    /// Members that vote.
    #[serde(default)]
    pub voters: i32,
    /// Pods that are ready.
    #[serde(default)]
    pub ready_replicas: i32,
    /// Members and pods on their way to be members, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub members: Vec<MemberStatus>,
    /// Segments that wait for a worker, all classes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog_segments: Option<i64>,
    /// The same by class.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub backlog: Vec<ClassBacklog>,
    /// A replacement of pods that is under way or waits for its turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roll: Option<RollStatus>,
    /// Of regular backups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupStatus>,
    #[serde(default)]
    #[schemars(schema_with = "schemas::conditions")]
    pub conditions: Vec<Condition>,
}

#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Its pod.
    pub name: String,
    /// Raft id; absent before it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<i64>,
    pub role: MemberRole,
    /// Log entries it is behind, as a rough number; absent where the leader does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag: Option<i64>,
    /// Whether it answers and has caught up.
    #[serde(default)]
    pub ready: bool,
    /// Version of its program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberRole {
    Leader,
    Voter,
    Learner,
    /// No member: its pod starts, or was removed.
    #[default]
    None,
}

#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassBacklog {
    /// `urgent`, `fresh`, `sweep` or `background`; `other` of an orchestrator that knows more.
    pub class: String,
    pub segments: i64,
}

#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollStatus {
    /// Digest of the pod template that pods are brought to.
    pub template: String,
    /// Pods that have it already.
    pub updated: i32,
    /// Whether it waits, because the operator itself is the cause and other clusters come first.
    #[serde(default)]
    pub staged: bool,
}

#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackupStatus {
    /// The newest one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_url: Option<String>,
    /// When it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::time")]
    pub last_time: Option<Time>,
    /// Log index it reaches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_index: Option<i64>,
    /// How many there are.
    #[serde(default)]
    pub kept: i32,
    /// Why the last attempt failed; absent when it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self { log_mib: sixty_four(), interval: ten_minutes() }
    }
}

fn three() -> i32 {
    3
}

fn seven() -> i32 {
    7
}

fn sixty_four() -> i64 {
    64
}

fn ten_minutes() -> Span {
    Span("10m".to_owned())
}

fn six_hours() -> Span {
    Span("6h".to_owned())
}
