//! The pods that read files and run rules over them.

use k8s_openapi::{
    api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity,
    apimachinery::pkg::apis::meta::v1::Condition,
};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ObjectCredentials, OrchestratorRef, PodOverrides, Resources, Span, schemas};

/// A pool of like scan workers.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "dragnet.dev",
    version = "v1alpha1",
    kind = "ScanWorker",
    plural = "scanworkers",
    shortname = "sw",
    category = "dragnet",
    namespaced,
    status = "ScanWorkerStatus",
    derive = "PartialEq",
    doc = "A pool of like scan workers, which take work from an Orchestrator. Its size is fixed, set by kubectl scale or an autoscaler, or follows the backlog.",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas", label_selector_path = ".status.selector"),
    cel,
    validation = Rule::new("self.metadata.name.size() <= 39").message("metadata.name may have at most 39 characters: names of pods are made of it"),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message("metadata.name must begin with a letter and have only a-z, 0-9 and dashes"),
    validation = Rule::new("has(oldSelf.spec.orchestratorRef) || !has(self.spec.orchestratorRef) || !has(oldSelf.status) || !has(oldSelf.status.orchestrator) || oldSelf.status.orchestrator == self.spec.orchestratorRef.name").message("orchestratorRef cannot change, and these pods already work for status.orchestrator: make another ScanWorker for another Orchestrator")
)]
#[serde(rename_all = "camelCase")]
pub struct ScanWorkerSpec {
    /// The Orchestrator to work for; the namespace's only one without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self == oldSelf", "orchestratorRef cannot change: make another ScanWorker for another Orchestrator"))]
    pub orchestrator_ref: Option<OrchestratorRef>,
    /// Image of the workers; that of the operator without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// How many pods. With `autoscaling`, where it starts, and what the operator sets from then on, as an autoscaler does.
    #[serde(default = "one")]
    #[x_kube(validation = ("self >= 0 && self <= 10000", "replicas must be between 0 and 10000"))]
    pub replicas: i32,
    /// Lets the number of pods follow the backlog.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// Scanner processes of each pod, and the CPUs it gets for them.
    #[serde(default = "one")]
    #[x_kube(validation = ("self >= 1 && self <= 256", "cores must be between 1 and 256"))]
    pub cores: i32,
    /// What runs the rules.
    #[serde(default)]
    pub engine: Engine,
    /// Time after which the scan of one file is given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("duration(self) >= duration('1s') && duration(self) <= duration('1h')", "fileTimeout must be between 1s and 1h"))]
    pub file_timeout: Option<Span>,
    /// Address space of one scanner process: rules, mapped file, working memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::quantity")]
    #[x_kube(validation = ("isQuantity(self) && quantity(self).compareTo(quantity('64Mi')) >= 0", "scannerMemory must be a quantity of at least 64Mi"))]
    pub scanner_memory: Option<Quantity>,
    /// How to get to the files of corpora; as the Orchestrator's storage without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<ObjectCredentials>,
    /// BatchDatasets of this namespace that files can be looked up in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub datasets: Vec<String>,
    /// Time to finish what is being scanned when a pod is to go. What is not finished is handed back and lost to nobody.
    #[serde(default = "drain")]
    #[x_kube(validation = ("duration(self) >= duration('1s') && duration(self) <= duration('1h')", "drainTimeout must be between 1s and 1h"))]
    pub drain_timeout: Span,
    /// Of each pod; made of `cores` and `scannerMemory` where they say nothing.
    #[serde(default)]
    pub resources: Resources,
    /// What may be said about the pods beyond what they are.
    #[serde(default)]
    pub pods: PodOverrides,
    /// The operator changes nothing while this is true. Pods go on.
    #[serde(default)]
    pub paused: bool,
}

/// Lets the number of pods follow the backlog.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.minReplicas <= self.maxReplicas", "autoscaling.minReplicas must not be above autoscaling.maxReplicas"))]
pub struct Autoscaling {
    /// Fewest pods; 0 lets them all go when nothing is owed.
    #[serde(default)]
    #[x_kube(validation = ("self >= 0 && self <= 10000", "autoscaling.minReplicas must be between 0 and 10000"))]
    pub min_replicas: i32,
    /// Most pods.
    #[x_kube(validation = ("self >= 1 && self <= 10000", "autoscaling.maxReplicas must be between 1 and 10000"))]
    pub max_replicas: i32,
    /// Segments owed for each core: twice as many owed segments, twice as many pods.
    #[serde(default = "four")]
    #[x_kube(validation = ("self >= 1 && self <= 1000000", "autoscaling.targetBacklog must be between 1 and 1000000"))]
    pub target_backlog: i32,
    /// Before it becomes smaller, the number must have been too large for so long; a number set by hand stays so long, too.
    #[serde(default = "five_minutes")]
    #[x_kube(validation = ("duration(self) <= duration('24h')", "autoscaling.stabilization must be at most 24h"))]
    pub stabilization: Span,
    /// Most pods added at a time; twice as many as there are, and at least four, without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self >= 1 && self <= 10000", "autoscaling.maxStepUp must be between 1 and 10000"))]
    pub max_step_up: Option<i32>,
    /// Most pods taken away at a time; half of them, and at least one, without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self >= 1 && self <= 10000", "autoscaling.maxStepDown must be between 1 and 10000"))]
    pub max_step_down: Option<i32>,
}

/// What runs the rules.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    #[default]
    Libyara,
}

#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScanWorkerStatus {
    /// The generation of the spec that the rest is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Pods there are.
    #[serde(default)]
    pub replicas: i32,
    /// Of them, ready.
    #[serde(default)]
    pub ready_replicas: i32,
    /// The Orchestrator that they take work from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orchestrator: Option<String>,
    /// What chooses these pods, for autoscalers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Sessions that its pods hold with the Orchestrator.
    #[serde(default)]
    pub sessions: i32,
    /// Files scanned in a second, all pods together, as a rough number.
    #[serde(default)]
    pub files_per_second: i64,
    /// Segments that wait for a worker, as a rough number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backlog_segments: Option<i64>,
    /// Pods that the backlog asks for, within limits; absent without `autoscaling`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recommended_replicas: Option<i32>,
    #[serde(default)]
    #[schemars(schema_with = "schemas::conditions")]
    pub conditions: Vec<Condition>,
}

impl ScanWorkerSpec {
    /// What a container asks for: what is written, and where nothing is, what `cores` and `scannerMemory` come to.
    pub fn requirements(&self) -> ResourceRequirements {
        let mut resources = self.resources.clone();
        let cpu = Quantity(self.cores.to_string());
        resources.requests.entry("cpu".to_owned()).or_insert_with(|| cpu.clone());
        resources.limits.entry("cpu".to_owned()).or_insert(cpu);
        resources.requirements()
    }
}

fn one() -> i32 {
    1
}

fn four() -> i32 {
    4
}

fn drain() -> Span {
    Span("60s".to_owned())
}

fn five_minutes() -> Span {
    Span("5m".to_owned())
}
