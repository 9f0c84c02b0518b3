//! The columns of `kubectl get`, one table for all kinds. Conditions appear by the same path everywhere.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceColumnDefinition;

use crate::Kind;

/// One column; `wide` ones appear with `-o wide` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    type_: &'static str,
    pub path: &'static str,
    wide: bool,
}

const READY: Column = text("READY", ".status.conditions[?(@.type=='Ready')].status");
const REASON: Column = text("STATUS", ".status.conditions[?(@.type=='Ready')].reason");
const MESSAGE: Column = wide("MESSAGE", ".status.conditions[?(@.type=='Ready')].message");
const AGE: Column = Column { name: "AGE", type_: "date", path: ".metadata.creationTimestamp", wide: false };

const ORCHESTRATOR: &[Column] = &[
    number("DESIRED", ".spec.replicas"),
    number("VOTERS", ".status.voters"),
    text("LEADER", ".status.leader"),
    number("BACKLOG", ".status.backlogSegments"),
    READY,
    REASON,
    wide("TERM", ".status.term"),
    wide("BACKUP", ".status.backup.lastUrl"),
    MESSAGE,
    AGE,
];
const SCAN_WORKER: &[Column] = &[
    number("DESIRED", ".spec.replicas"),
    number("PODS", ".status.readyReplicas"),
    number("SESSIONS", ".status.sessions"),
    number("FILES/S", ".status.filesPerSecond"),
    number("BACKLOG", ".status.backlogSegments"),
    READY,
    REASON,
    MESSAGE,
    AGE,
];
const BATCH_DATASET: &[Column] = &[
    text("VERSION", ".status.servingVersion"),
    text("TARGET", ".status.targetVersion"),
    text("SERVERS", ".status.servers"),
    number("KEYS", ".status.keys"),
    READY,
    REASON,
    text("BUILD", ".status.build.progress"),
    wide("PREVIOUS", ".status.previousVersion"),
    wide("BYTES", ".status.bytes"),
    MESSAGE,
    AGE,
];
const CORPUS: &[Column] = &[
    text("URL", ".spec.url"),
    number("FILES", ".status.files"),
    number("SEGMENTS", ".status.segments"),
    number("SKIPPED", ".status.skipped"),
    READY,
    REASON,
    wide("BYTES", ".status.bytes"),
    MESSAGE,
    AGE,
];
const YARA_RULESET: &[Column] = &[
    number("VERSION", ".status.version"),
    number("RULES", ".status.rules"),
    text("PROGRESS", ".status.progress"),
    text("ETA", ".status.eta"),
    number("FINDINGS", ".status.findings"),
    text("COMPLETE", ".status.conditions[?(@.type=='Complete')].status"),
    READY,
    REASON,
    wide("OWED", ".status.filesOwed"),
    wide("EXCEPTED", ".status.excepted"),
    wide("DIGEST", ".status.digest"),
    MESSAGE,
    AGE,
];

/// The columns of `kind`, from left to right after its name.
pub fn columns(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::Orchestrator => ORCHESTRATOR,
        Kind::ScanWorker => SCAN_WORKER,
        Kind::BatchDataset => BATCH_DATASET,
        Kind::Corpus => CORPUS,
        Kind::YaraRuleset => YARA_RULESET,
    }
}

impl From<&Column> for CustomResourceColumnDefinition {
    fn from(column: &Column) -> Self {
        Self {
            name: column.name.to_owned(),
            type_: column.type_.to_owned(),
            json_path: column.path.to_owned(),
            priority: column.wide.then_some(1),
            ..Self::default()
        }
    }
}

const fn text(name: &'static str, path: &'static str) -> Column {
    Column { name, type_: "string", path, wide: false }
}

const fn number(name: &'static str, path: &'static str) -> Column {
    Column { name, type_: "integer", path, wide: false }
}

const fn wide(name: &'static str, path: &'static str) -> Column {
    Column { name, type_: "string", path, wide: true }
}
