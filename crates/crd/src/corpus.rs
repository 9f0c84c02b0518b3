//! Files to keep under examination.

use k8s_openapi::apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Condition};
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use crate::{OrchestratorRef, Span, schemas};

/// A named, growing set of files in object storage.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "dragnet.dev",
    version = "v1alpha1",
    kind = "Corpus",
    plural = "corpora",
    shortname = "corp",
    category = "dragnet",
    namespaced,
    status = "CorpusStatus",
    derive = "PartialEq",
    doc = "A named, growing set of files in object storage. It is listed again and again, and what is new is scanned with every ruleset.",
    cel,
    validation = Rule::new("self.metadata.name.size() <= 63").message("metadata.name may have at most 63 characters"),
    validation = Rule::new("has(oldSelf.spec.orchestratorRef) || !has(self.spec.orchestratorRef) || !has(oldSelf.status) || !has(oldSelf.status.orchestrator) || oldSelf.status.orchestrator == self.spec.orchestratorRef.name").message("orchestratorRef cannot change, and status.orchestrator already keeps this one: make another Corpus for another Orchestrator")
)]
#[serde(rename_all = "camelCase")]
pub struct CorpusSpec {
    /// The Orchestrator that keeps it; the namespace's only one without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("self == oldSelf", "orchestratorRef cannot change: make another Corpus for another Orchestrator"))]
    pub orchestrator_ref: Option<OrchestratorRef>,
    /// Where the files are: `s3://bucket/prefix`, or `file:///absolute/path` on every worker.
    #[schemars(length(max = 1024))]
    #[x_kube(validation = ("self.matches('^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^?#]*)?|file:///[^?#]*)$')", "url must be s3://bucket/prefix or file:///absolute/path"))]
    #[x_kube(validation = ("self == oldSelf", "url cannot change: answers so far are about the files there; make another Corpus"))]
    pub url: String,
    /// Only files whose path below the URL matches one of these: `**/*.exe`. All without any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub include: Vec<String>,
    /// No files whose path below the URL matches one of these, even if included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(min = 1, max = 256)))]
    pub exclude: Vec<String>,
    /// Larger files are not scanned, and counted as too large.
    #[serde(default = "half_gib")]
    #[schemars(schema_with = "schemas::quantity")]
    #[x_kube(validation = ("isQuantity(self) && quantity(self).isGreaterThan(quantity('0')) && quantity(self).compareTo(quantity('2G')) <= 0", "maxFileSize must be a quantity above zero and at most 2G: larger files cannot be scanned"))]
    pub max_file_size: Quantity,
    /// Time from the end of one listing to the start of the next.
    #[serde(default = "five_minutes")]
    #[x_kube(validation = ("duration(self) >= duration('1s') && duration(self) <= duration('720h')", "listingInterval must be between 1s and 720h"))]
    pub listing_interval: Span,
    /// BatchDatasets of this namespace that files are looked up in, the first one asked first believed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)), extend("x-kubernetes-list-type" = "set"))]
    pub datasets: Vec<String>,
    /// The operator changes nothing while this is true. What was begun goes on.
    #[serde(default)]
    pub paused: bool,
}

#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CorpusStatus {
    /// The generation of the spec that the rest is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The Orchestrator that keeps it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub orchestrator: Option<String>,
    /// Files stored.
    #[serde(default)]
    pub files: i64,
    /// Their bytes.
    #[serde(default)]
    pub bytes: i64,
    /// Segments they are in.
    #[serde(default)]
    pub segments: i64,
    /// Objects that listings left out: no regular files, not readable, too new.
    #[serde(default)]
    pub skipped: i64,
    /// Of the files, known to be gone by now.
    #[serde(default)]
    pub gone: i64,
    #[serde(default)]
    #[schemars(schema_with = "schemas::conditions")]
    pub conditions: Vec<Condition>,
}

fn half_gib() -> Quantity {
    Quantity("512Mi".to_owned())
}

fn five_minutes() -> Span {
    Span("5m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corpus() -> Corpus {
        let spec =
            serde_json::json!({"url": "s3://samples/incoming", "include": ["**/*.exe"], "datasets": ["packages"]});
        Corpus::new("incoming", serde_json::from_value(spec).unwrap())
    }

    fn refusal(change: impl FnOnce(&mut Corpus)) -> String {
        let mut corpus = corpus();
        change(&mut corpus);
        corpus.validate_cel().unwrap_err().to_string()
    }

    #[test]
    fn what_is_left_out_has_defaults() {
        let corpus = corpus();
        corpus.validate_cel().unwrap();
        assert_eq!((corpus.spec.max_file_size.0.as_str(), corpus.spec.listing_interval.0.as_str()), ("512Mi", "5m"));
    }

    #[test]
    fn rules_say_what_to_write_instead() {
        assert!(refusal(|corpus| corpus.spec.url = "/samples".into()).contains("s3://bucket/prefix or file:///"));
        assert!(refusal(|corpus| corpus.spec.listing_interval = Span("800h".into())).contains("between 1s and 720h"));
        assert!(refusal(|corpus| corpus.spec.max_file_size = Quantity("3Gi".into())).contains("at most 2G"));
        assert!(refusal(|corpus| corpus.metadata.name = Some("x".repeat(64))).contains("63 characters"));
    }

    #[test]
    fn its_place_does_not_change() {
        let mut moved = corpus();
        moved.spec.url = "s3://samples/elsewhere".to_owned();
        let refused = moved.validate_cel_update(&corpus()).unwrap_err().to_string();
        assert!(refused.contains("url cannot change"), "{refused}");
    }
}
