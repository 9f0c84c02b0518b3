//! The custom resources of Dragnet: what a person may write in a manifest, what they are told when it is wrong, and what
//! the operator answers in `status`.
//!
//! ```text
//! Rust types here ──► crds/*.yaml (generated, `cargo xtask fix`) ──► charts/dragnet-crds ──► the API server
//!        └──────────► the operator (reads specs, writes statuses), tests (the same CEL rules, run without a server)
//! ```
//!
//! Everything that can be said in a schema or a CEL rule is said here, with a message for someone who has never seen this
//! code. What needs another object, or the YARA compiler, is the operator's business.

#![expect(unreachable_pub, reason = "the derive makes a second, public struct of each, inside a function")]

mod batch_dataset;
mod columns;
mod conditions;
mod corpus;
mod generate;
mod orchestrator;
mod scan_worker;
mod schemas;
mod shared;
mod yara_ruleset;

pub use batch_dataset::{
    BadVersion, Baseline, BatchDataset, BatchDatasetSpec, BatchDatasetStatus, Build, BuildStatus, DatasetSource,
    Format, OnDuplicate, Phase, Rollout, RolloutStatus, ServerStatus,
};
pub use columns::{Column, columns};
pub use conditions::{Condition, ConditionType, KINDS, Kind, reason};
pub use corpus::{Corpus, CorpusSpec, CorpusStatus};
pub use generate::{crds, yaml};
pub use orchestrator::{
    Backup, BackupStatus, Bootstrap, ClassBacklog, MemberRole, MemberStatus, Orchestrator, OrchestratorSpec,
    OrchestratorStatus, Recovery, RollStatus, Snapshots,
};
pub use scan_worker::{Autoscaling, Engine, ScanWorker, ScanWorkerSpec, ScanWorkerStatus};
pub use shared::{
    LocalRef, ObjectCredentials, OrchestratorRef, PodOverrides, Resources, RetainPolicy, Span, SpanError,
    StorageLocation, Volume, VolumePolicy, bytes_of,
};
pub use yara_ruleset::{
    ConfigMapKey, CorpusProgress, PriorityClass, RuleSource, RulesetState, YaraRuleset, YaraRulesetSpec,
    YaraRulesetStatus,
};

/// The API group of all kinds.
pub const GROUP: &str = "dragnet.dev";
/// The one version there is.
pub const VERSION: &str = "v1alpha1";
/// `kubectl get dragnet` lists every kind.
pub const CATEGORY: &str = "dragnet";
