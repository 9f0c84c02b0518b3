//! The rules of the schemas, run as the API server runs them: what is refused, and what a stranger is told.
#![expect(clippy::unwrap_used, reason = "these are tests")]

use crd::{BatchDataset, Corpus, Orchestrator, ScanWorker, YaraRuleset};
use kube::{CustomResourceExt, core::cel::Validator};
use serde_json::{Value, json};

/// The messages with which `spec` is refused; `old`: the spec before, for a change.
fn refused<K: CustomResourceExt>(name: &str, spec: &Value, old: Option<&Value>) -> Vec<String> {
    refused_with_status::<K>(name, spec, old, None)
}

/// The same of an object that has a status.
fn refused_with_status<K: CustomResourceExt>(
    name: &str,
    spec: &Value,
    old: Option<&Value>,
    status: Option<&Value>,
) -> Vec<String> {
    let crd = K::crd();
    let schema = crd.spec.versions[0].schema.as_ref().unwrap().open_api_v3_schema.as_ref().unwrap();
    let schema = serde_json::to_value(schema).unwrap();
    let object = |spec: &Value| {
        let mut object = json!({ "metadata": { "name": name, "namespace": "n" }, "spec": spec });
        if let Some(status) = status {
            object["status"] = status.clone();
        }
        object
    };
    let (object, old) = (object(spec), old.map(object));
    match Validator::new().validate(&schema, &object, old.as_ref()) {
        Ok(()) => Vec::new(),
        Err(errors) => errors.iter().map(|error| error.message.clone()).collect(),
    }
}

fn merged(base: &Value, change: &Value) -> Value {
    let mut merged = base.clone();
    for (key, value) in change.as_object().unwrap() {
        merged[key] = value.clone();
    }
    merged
}

/// `base` is accepted; with `change` it is refused, and one of the messages has `words`.
fn refuses<K: CustomResourceExt>(base: &Value, change: &Value, words: &str) {
    assert_eq!(refused::<K>("x", base, None), [""; 0], "the base itself");
    let messages = refused::<K>("x", &merged(base, change), None);
    assert!(messages.iter().any(|message| message.contains(words)), "{change}: {messages:?} lacks {words:?}");
}

fn refuses_change<K: CustomResourceExt>(base: &Value, change: &Value, words: &str) {
    let messages = refused::<K>("x", &merged(base, change), Some(base));
    assert!(messages.iter().any(|message| message.contains(words)), "{change}: {messages:?} lacks {words:?}");
}

fn orchestrator() -> Value {
    json!({
        "replicas": 3, "storage": { "url": "s3://bucket/x" },
        "volume": { "size": "10Gi", "storageClassName": "fast", "policy": { "whenScaled": "Delete", "whenDeleted": "Retain" } }
    })
}

#[test]
fn an_orchestrator_is_refused_with_reasons() {
    let refuses = |change: Value, words: &str| refuses::<Orchestrator>(&orchestrator(), &change, words);
    refuses(json!({ "replicas": 2 }), "must be 1, 3 or 5");
    refuses(json!({ "replicas": 0 }), "must be 1, 3 or 5");
    refuses(
        json!({ "storage": { "url": "http://bucket" } }),
        "url must be s3://bucket/prefix or file:///absolute/path",
    );
    refuses(json!({ "storage": { "url": "s3://b?x=y" } }), "url must be");
    refuses(json!({ "storage": { "url": "file:///data", "region": "eu" } }), "file:// URL takes no endpoint");
    refuses(json!({ "storage": { "url": "s3://bucket", "endpoint": "http://minio:9000" } }), "allowHttp: true");
    refuses(json!({ "storage": { "url": "s3://bucket", "endpoint": "minio:9000" } }), "endpoint must be https://host");
    refuses(json!({ "volume": { "size": "0" } }), "above zero");
    refuses(json!({ "sessionTtl": "1s" }), "between 2s and 10m");
    refuses(json!({ "snapshots": { "logMib": 0, "interval": "10m" } }), "between 1 and 65536");
    refuses(json!({ "snapshots": { "logMib": 1, "interval": "1s" } }), "between 10s and 168h");
    refuses(json!({ "backup": { "url": "ftp://x", "interval": "6h", "keep": 7 } }), "backup.url must be");
    refuses(json!({ "backup": { "url": "file:///x", "interval": "6h", "keep": 7 } }), "same sort as storage.url");
    let own = json!({ "credentialsSecret": { "name": "backups" } });
    refuses(
        json!({ "backup": { "url": "file:///x", "credentials": own, "interval": "6h", "keep": 7 } }),
        "a file:// URL takes no credentials",
    );
    let own = json!({ "endpoint": "http://minio:9000" });
    refuses(
        json!({ "backup": { "url": "s3://other/b", "credentials": own, "interval": "6h", "keep": 7 } }),
        "allowHttp: true",
    );
    refuses(json!({ "backup": { "url": "s3://bucket/b", "interval": "1s", "keep": 7 } }), "between 10s and 720h");
    refuses(json!({ "backup": { "url": "s3://bucket/b", "interval": "6h", "keep": 0 } }), "between 1 and 1000");
    refuses(json!({ "bootstrap": { "recovery": { "url": "x" } } }), "bootstrap.recovery.url must be");
}

#[test]
fn an_orchestrator_may_change_within_limits() {
    let refuses = |change: Value, words: &str| refuses_change::<Orchestrator>(&orchestrator(), &change, words);
    let volume = |size: &str, class: &str| json!({ "volume": { "size": size, "storageClassName": class } });
    refuses(volume("5Gi", "fast"), "cannot shrink");
    refuses(volume("10Gi", "slow"), "cannot change once volumes are made");
    refuses(json!({ "volume": { "size": "10Gi" } }), "cannot change once volumes are made");
    refuses(json!({ "storage": { "url": "s3://other/x" } }), "storage.url cannot change");
    refuses(json!({ "bootstrap": { "recovery": { "url": "s3://bucket/b" } } }), "only for a new resource");
    let change = merged(&orchestrator(), &volume("20Gi", "fast"));
    assert_eq!(refused::<Orchestrator>("x", &change, Some(&orchestrator())), [""; 0]);
    let change = merged(&orchestrator(), &json!({ "replicas": 5 }));
    assert_eq!(refused::<Orchestrator>("x", &change, Some(&orchestrator())), [""; 0]);
}

#[test]
fn names_that_make_no_names_of_pods_are_refused() {
    let named = |name: &str| refused::<Orchestrator>(name, &orchestrator(), None).join(" ");
    assert!(named(&"x".repeat(40)).contains("at most 39 characters"));
    assert!(named("7up").contains("begin with a letter"));
    assert!(named("a.b").contains("only a-z, 0-9 and dashes"));
    assert_eq!(named(&"x".repeat(39)), "");
}

#[test]
fn a_scan_worker_is_refused_with_reasons() {
    let base = json!({ "replicas": 1, "cores": 1 });
    let refuses = |change: Value, words: &str| refuses::<ScanWorker>(&base, &change, words);
    refuses(json!({ "replicas": -1 }), "between 0 and 10000");
    refuses(json!({ "cores": 0 }), "cores must be between 1 and 256");
    refuses(json!({ "scannerMemory": "1Mi" }), "at least 64Mi");
    refuses(json!({ "fileTimeout": "2h" }), "between 1s and 1h");
    refuses(json!({ "drainTimeout": "2h" }), "between 1s and 1h");
    refuses(json!({ "autoscaling": { "minReplicas": 5, "maxReplicas": 2 } }), "minReplicas must not be above");
    refuses(json!({ "autoscaling": { "minReplicas": 0, "maxReplicas": 0 } }), "maxReplicas must be between 1");
    refuses(
        json!({ "autoscaling": { "minReplicas": 0, "maxReplicas": 2, "targetBacklog": 0 } }),
        "targetBacklog must be",
    );
    refuses(json!({ "autoscaling": { "minReplicas": 0, "maxReplicas": 2, "stabilization": "48h" } }), "at most 24h");
    refuses(json!({ "storage": { "endpoint": "http://minio:9000" } }), "allowHttp: true");
    let named = |name: &str| merged(&base, &json!({ "orchestratorRef": { "name": name } }));
    let messages = refused::<ScanWorker>("x", &named("b"), Some(&named("a")));
    assert!(messages.iter().any(|message| message.contains("orchestratorRef cannot change")), "{messages:?}");
}

#[test]
fn other_kinds_are_refused_with_reasons() {
    let dataset = json!({ "versions": { "url": "s3://bucket/d" } });
    refuses::<BatchDataset>(&dataset, &json!({ "shards": 0 }), "shards must be between 1 and 64");
    refuses::<BatchDataset>(&dataset, &json!({ "replicas": 17 }), "replicas must be between 0 and 16");
    refuses::<BatchDataset>(&dataset, &json!({ "keep": 1 }), "keep must be between 2 and 100");
    refuses::<BatchDataset>(&dataset, &json!({ "versions": { "url": "d" } }), "url must be");
    let corpus = json!({ "url": "s3://bucket/files" });
    refuses::<Corpus>(&corpus, &json!({ "url": "bucket" }), "url must be");
    refuses::<Corpus>(&corpus, &json!({ "listingInterval": "0s" }), "between 1s and 720h");
    refuses::<Corpus>(&corpus, &json!({ "maxFileSize": "0" }), "maxFileSize must be");
    refuses_change::<Corpus>(&corpus, &json!({ "url": "s3://bucket/others" }), "url cannot change");
    let rules = json!({ "sources": [{ "name": "a.yar", "inline": "rule a { condition: true }" }] });
    refuses::<YaraRuleset>(&rules, &json!({ "sources": [] }), "at least one entry");
    refuses::<YaraRuleset>(&rules, &json!({ "sources": [{ "name": "a.yar" }] }), "either inline or configMap");
    let both = json!({ "sources": [{ "name": "a.yar", "inline": "x", "configMap": { "name": "c", "key": "k" } }] });
    refuses::<YaraRuleset>(&rules, &both, "either inline or configMap");
    refuses::<YaraRuleset>(&rules, &json!({ "sources": [{ "name": "../a", "inline": "x" }] }), "only letters, digits");
    let inline = |name: &str, length: usize| json!({ "name": name, "inline": "x".repeat(length) });
    let large = json!({ "sources": [inline("a", 1_000_001)] });
    refuses::<YaraRuleset>(&rules, &large, "put larger rules into several ConfigMaps");
    let together = json!({ "sources": [inline("a", 600_000), inline("b", 600_000)] });
    refuses::<YaraRuleset>(&rules, &together, "all together; put larger rules into several ConfigMaps");
}

#[test]
fn numbers_out_of_range_are_refused() {
    let dataset = json!({ "versions": { "url": "s3://bucket/d" } });
    let with = |part: &str, field: &str, value: Value| {
        let mut change = json!({});
        change[part][field] = value;
        change
    };
    let refuses = |part: &str, field: &str, value: Value, words: &str| {
        refuses::<BatchDataset>(&dataset, &with(part, field, value), words);
    };
    refuses("build", "parallelism", json!(0), "build.parallelism must be between 1 and 64");
    refuses("build", "parallelism", json!(65), "build.parallelism must be between 1 and 64");
    refuses("build", "retries", json!(-1), "build.retries must be between");
    refuses("rollout", "canaryPercent", json!(101), "canaryPercent must be between");
    refuses("build", "deadline", json!("1s"), "build.deadline must be between 10s and 168h");
    refuses("rollout", "deadline", json!("1s"), "rollout.deadline must be between 5s and 168h");
    refuses("rollout", "wait", json!("200h"), "rollout.wait must be at most 168h");
    refuses("rollout", "maxErrorsPerMille", json!(1001), "maxErrorsPerMille must be between");
    refuses("rollout", "maxKeyLossPercent", json!(101), "maxKeyLossPercent must be between");
    let worker = json!({ "replicas": 1, "cores": 1 });
    for step in ["maxStepUp", "maxStepDown"] {
        let mut change = json!({ "autoscaling": { "minReplicas": 0, "maxReplicas": 2 } });
        change["autoscaling"][step] = json!(0);
        self::refuses::<ScanWorker>(&worker, &change, &format!("autoscaling.{step} must be between 1 and 10000"));
    }
}

#[test]
fn what_versions_and_answers_hang_on_cannot_change() {
    let dataset = json!({ "versions": { "url": "s3://bucket/d" }, "shards": 2 });
    refuses_change::<BatchDataset>(&dataset, &json!({ "versions": { "url": "s3://bucket/e" } }), "versions.url cannot");
    refuses_change::<BatchDataset>(&dataset, &json!({ "shards": 3 }), "shards cannot change");
    let reference = |name: &str| json!({ "orchestratorRef": { "name": name } });
    let corpus = merged(&json!({ "url": "s3://bucket/files" }), &reference("a"));
    refuses_change::<Corpus>(&corpus, &reference("b"), "orchestratorRef cannot change");
    let rules = merged(&json!({ "sources": [{ "name": "a.yar", "inline": "x" }] }), &reference("a"));
    refuses_change::<YaraRuleset>(&rules, &reference("b"), "orchestratorRef cannot change");
}

#[test]
fn an_orchestrator_that_has_it_already_can_be_named_and_no_other() {
    let bare = json!({ "sources": [{ "name": "a.yar", "inline": "x" }] });
    let named = |name: &str| merged(&bare, &json!({ "orchestratorRef": { "name": name } }));
    let kept = json!({ "orchestrator": "a" });
    let messages = |name: &str| refused_with_status::<YaraRuleset>("x", &named(name), Some(&bare), Some(&kept));
    assert_eq!(messages("a"), [""; 0]);
    assert!(
        messages("b").iter().any(|message| message.contains("orchestratorRef cannot change")),
        "{:?}",
        messages("b")
    );
    assert_eq!(refused::<YaraRuleset>("x", &named("b"), Some(&bare)), [""; 0], "nobody has it yet");
}

#[test]
fn what_lies_in_crds_is_what_is_said_here() {
    for crd in crd::crds() {
        // Asked for when it runs: a program that another checkout built into the same folder names that one.
        let here = std::env::var("CARGO_MANIFEST_DIR").unwrap();
        let path = format!("{here}/../../crds/{}_{}.yaml", crd.spec.group, crd.spec.names.plural);
        let lying = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(lying == crd::yaml(&crd).unwrap(), "{path} is not current; run `cargo xtask fix`");
    }
}
