//! Rules, kept over every file there is and every file there will be.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Engine, OrchestratorRef, schemas};

/// A named set of YARA rules. Changed rules make the next version, for which only what changed is scanned again.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "dragnet.dev",
    version = "v1alpha1",
    kind = "YaraRuleset",
    plural = "yararulesets",
    shortname = "yr",
    category = "dragnet",
    namespaced,
    status = "YaraRulesetStatus",
    derive = "PartialEq",
    doc = "A named set of YARA rules over corpora: every stored file and every later one. Changed rules make the next version; deleting it retires the ruleset.",
    cel,
    validation = Rule::new("self.metadata.name.size() <= 63").message("metadata.name may have at most 63 characters"),
    validation = Rule::new("has(oldSelf.spec.orchestratorRef) || !has(self.spec.orchestratorRef) || !has(oldSelf.status) || !has(oldSelf.status.orchestrator) || oldSelf.status.orchestrator == self.spec.orchestratorRef.name").message("orchestratorRef cannot change, and status.orchestrator already keeps this one: make another YaraRuleset for another Orchestrator")
)]
#[serde(rename_all = "camelCase")]
pub struct YaraRulesetSpec {
    /// The Orchestrator that keeps it; the namespace's only one without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self == oldSelf", "orchestratorRef cannot change: make another YaraRuleset for another Orchestrator"))]
    pub orchestrator_ref: Option<OrchestratorRef>,
    /// The rules, as files.
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[x_kube(validation = ("self.size() >= 1", "sources must have at least one entry: a ruleset without rules finds nothing"))]
    #[x_kube(validation = ("self.map(source, has(source.inline) ? source.inline.size() : 0).sum() <= 1000000", "sources may have at most 1,000,000 characters inline, all together; put larger rules into several ConfigMaps, and name each as a source (configMap)"))]
    pub sources: Vec<RuleSource>,
    /// Corpora of this namespace; all of them, later ones included, without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub corpora: Vec<String>,
    /// What runs the rules.
    #[serde(default)]
    pub engine: Engine,
    /// How urgent its sweep over stored files is. New files are always scanned first.
    #[serde(default)]
    pub priority_class: PriorityClass,
    /// No more files are scanned for it while this is true; what was found stays.
    #[serde(default)]
    pub paused: bool,
    /// From then on it is retired as if it were deleted, and its findings stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schemas::time")]
    pub expires: Option<Time>,
}

/// One file of rules, written here or in a ConfigMap.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.inline) != has(self.configMap)", "a source has either inline or configMap"))]
pub struct RuleSource {
    /// Name of the file, as mistakes and findings name it: `ransomware.yar`.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = ("self.matches('^[A-Za-z0-9][A-Za-z0-9._-]*$')", "sources[].name must have only letters, digits, dots, dashes and underscores, and begin with a letter or digit"))]
    pub name: String,
    /// The rules themselves.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1_400_000))]
    #[x_kube(validation = ("self.size() <= 1000000", "sources[].inline may have at most 1,000,000 characters; put larger rules into several ConfigMaps, and name each as a source (configMap)"))]
    pub inline: Option<String>,
    /// Of a ConfigMap of this namespace. Rules beyond the megabyte that an object may have go into several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapKey>,
}

/// Rules in a ConfigMap of this namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapKey {
    /// The ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key that holds the rules. Without it every key that ends in .yar or .yara is one file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// How urgent a sweep over stored files is.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PriorityClass {
    /// As rulesets do unless told otherwise.
    #[default]
    Sweep,
    /// When nothing else is owed.
    Background,
    /// Before other sweeps.
    Urgent,
}

/// How a ruleset stands, in one word.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RulesetState {
    /// The cluster has not taken it yet, or does not tell.
    Pending,
    /// Files are owed.
    Hunting,
    /// Every file has its answer; new ones are scanned as they come.
    CaughtUp,
    /// There is no corpus to hunt in yet.
    NoCorpus,
    /// By its spec.
    Paused,
    /// Its time is over.
    Expired,
    /// Nothing hunts: the rules were refused, and there is no version before.
    Refused,
}

#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct YaraRulesetStatus {
    /// The generation of the spec that the rest is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The Orchestrator that keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orchestrator: Option<String>,
    /// The version in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// Digest of its rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Rules in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<i64>,
    /// Of those, the ones that the version before did not have: only they are scanned for again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules_new: Option<i64>,
    /// How it stands, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<RulesetState>,
    /// What the compiler warns of, with line and column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub warnings: Vec<String>,
    /// Why the rules of this spec are refused, with line and column. The version before goes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100))]
    pub problems: Vec<String>,
    /// Files with an answer of all files, in percent: `42%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// When it will be complete, if it goes on like this, as a rough length of time: `12m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta: Option<String>,
    /// Files that have no answer at this version yet, all corpora together.
    #[serde(default)]
    pub files_owed: i64,
    /// Files that have.
    #[serde(default)]
    pub files_done: i64,
    /// Rules that fired, all corpora together.
    #[serde(default)]
    pub findings: i64,
    /// Files that were given up, each with a reason in the receipt.
    #[serde(default)]
    pub excepted: i64,
    /// The same by corpus.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub corpora: Vec<CorpusProgress>,
    #[serde(default)]
    #[schemars(schema_with = "schemas::conditions")]
    pub conditions: Vec<Condition>,
}

#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CorpusProgress {
    pub name: String,
    /// Files stored.
    pub stored: i64,
    /// Files that have no answer at this version yet.
    pub owed: i64,
    /// Files that have.
    pub done: i64,
    /// Bytes of all files.
    pub bytes: i64,
    pub findings: i64,
    pub excepted: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta: Option<String>,
    /// Whether every stored file has an answer.
    #[serde(default)]
    pub complete: bool,
    /// Why the corpus cannot be listed; nobody knows of new files then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listing_error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruleset() -> YaraRuleset {
        let source = serde_json::json!({"name": "web.yar", "inline": "rule a { condition: true }"});
        let spec = serde_json::json!({"sources": [source], "expires": "2027-01-31T00:00:00Z"});
        YaraRuleset::new("web", serde_json::from_value(spec).unwrap())
    }

    fn refusal(change: impl FnOnce(&mut YaraRulesetSpec)) -> String {
        let mut ruleset = ruleset();
        change(&mut ruleset.spec);
        ruleset.validate_cel().unwrap_err().to_string()
    }

    #[test]
    fn a_good_ruleset_is_taken() {
        ruleset().validate_cel().unwrap();
    }

    #[test]
    fn rules_say_what_to_write_instead() {
        let map = || Some(ConfigMapKey { name: "rules".into(), key: None });
        assert!(refusal(|spec| spec.sources[0].config_map = map()).contains("either inline or configMap"));
        assert!(refusal(|spec| spec.sources[0].inline = None).contains("either inline or configMap"));
        assert!(refusal(|spec| spec.sources[0].name = "../x".into()).contains("begin with a letter or digit"));
        assert!(refusal(|spec| spec.sources.clear()).contains("at least one entry"));
    }
}
