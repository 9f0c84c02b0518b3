//! Objects of a ScanWorker, as a person would write them.

use crd::{ScanWorker, ScanWorkerSpec};
use serde_json::json;

use super::objects::{Surroundings, deployment};
use crate::config::Settings;

fn settings() -> Settings {
    Settings {
        image: "dragnet:1".to_owned(),
        image_pull_policy: None,
        image_pull_secrets: Vec::new(),
        namespaces: Vec::new(),
        upgrades_at_a_time: 1,
        tracing_endpoint: None,
    }
}

fn worker(spec: serde_json::Value) -> ScanWorker {
    let spec: ScanWorkerSpec = serde_json::from_value(spec).unwrap();
    let mut worker = ScanWorker::new("y", spec);
    worker.metadata.namespace = Some("n".to_owned());
    worker.metadata.uid = Some("uid".to_owned());
    worker
}

fn surroundings() -> Surroundings {
    Surroundings {
        orchestrators: vec!["x-orchestrator.n.svc:7601".to_owned()],
        storage: serde_json::from_value(json!({ "endpoint": "https://s3", "credentialsSecret": { "name": "keys" } }))
            .unwrap(),
        datasets: vec!["known=redis://known-kv.n.svc:6379".to_owned()],
    }
}

#[test]
fn a_worker_is_told_all_it_needs() {
    let worker = worker(json!({
        "replicas": 2, "cores": 3, "scannerMemory": "1Gi", "fileTimeout": "90s", "drainTimeout": "2m", "datasets": ["known"]
    }));
    let deployment = deployment(&settings(), &worker, &surroundings());
    let pod = deployment.spec.unwrap().template.spec.unwrap();
    let container = &pod.containers[0];
    assert_eq!(
        container.args.as_ref().unwrap().join(" "),
        "--orchestrators=x-orchestrator.n.svc:7601 --name=$(POD_NAME) --scanners=3 --drain-s=120 \
         --metrics-listen=0.0.0.0:7691 --file-timeout-s=90 --memory-limit-mib=1024 --kv=known=redis://known-kv.n.svc:6379"
    );
    assert_eq!(pod.termination_grace_period_seconds, Some(135));
    let names: Vec<&str> = container.env.as_ref().unwrap().iter().map(|variable| variable.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "POD_NAME",
            "DRAGNET_LOG_FORMAT",
            "AWS_ENDPOINT",
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN"
        ]
    );
}

#[test]
fn a_worker_has_the_cores_it_uses_and_no_privileges() {
    let deployment = deployment(&settings(), &worker(json!({ "cores": 2 })), &surroundings());
    let pod = deployment.spec.unwrap().template.spec.unwrap();
    let container = &pod.containers[0];
    let resources = container.resources.clone().unwrap();
    assert_eq!(resources.limits.unwrap()["cpu"].0, "2");
    let security = container.security_context.clone().unwrap();
    assert_eq!(
        (security.allow_privilege_escalation, security.read_only_root_filesystem, security.run_as_non_root),
        (Some(false), Some(true), Some(true))
    );
    assert_eq!(security.capabilities.unwrap().drop.unwrap(), ["ALL"]);
    assert_eq!(pod.security_context.unwrap().seccomp_profile.unwrap().type_, "RuntimeDefault");
    assert_eq!(pod.automount_service_account_token, Some(false));
}

#[test]
fn what_the_resource_says_of_its_pods_is_there_beside_what_dragnet_says() {
    let worker = worker(
        json!({ "pods": { "labels": { "team": "a", "app.kubernetes.io/name": "mine" }, "annotations": { "x": "y" } } }),
    );
    let metadata = deployment(&settings(), &worker, &surroundings()).spec.unwrap().template.metadata.unwrap();
    let labels = metadata.labels.unwrap();
    assert_eq!((labels["team"].as_str(), labels["app.kubernetes.io/name"].as_str()), ("a", "dragnet"));
    assert_eq!(metadata.annotations.unwrap()["x"], "y");
}

#[test]
fn pods_send_traces_where_the_operator_does() {
    let env = |endpoint: Option<&str>| {
        let settings = Settings { tracing_endpoint: endpoint.map(str::to_owned), ..settings() };
        let made = serde_json::to_value(deployment(&settings, &worker(json!({})), &surroundings())).unwrap();
        let env = made["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap().clone();
        env.into_iter().find(|variable| variable["name"] == "OTEL_EXPORTER_OTLP_ENDPOINT")
    };
    assert_eq!(env(Some("http://collector:4317")).unwrap()["value"], "http://collector:4317");
    assert_eq!(env(None), None);
}
