//! The Kubernetes objects of a ScanWorker, as values.

use crd::{ObjectCredentials, ScanWorker};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{PodSpec, ServiceAccount},
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kube::ResourceExt as _;

use crate::{
    config::Settings,
    frame::{
        apply,
        labels::{self, Component},
        pods, staging,
    },
};

const HTTP_PORT: i32 = 7691;
/// Beyond the time to drain, for what comes before and after.
const GRACE_SECONDS: u64 = 15;
/// What the worker is told of its surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// Of the Orchestrator's members.
    pub(crate) orchestrators: Vec<String>,
    /// As the worker says it, unless the resource has its own.
    pub(crate) storage: ObjectCredentials,
    /// Sources to look files up in, as `--kv` takes them.
    pub(crate) datasets: Vec<String>,
}

pub(crate) fn name(worker: &ScanWorker) -> String {
    format!("{}-scan-worker", worker.name_any())
}

pub(crate) fn account(worker: &ScanWorker) -> ServiceAccount {
    ServiceAccount {
        metadata: apply::meta(worker, name(worker), labels::labels(Component::ScanWorker, &worker.name_any())),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

/// What a person can change of the template.
fn requested(worker: &ScanWorker, surroundings: &Surroundings) -> serde_json::Value {
    let spec = &worker.spec;
    serde_json::json!([
        spec.image,
        spec.cores,
        spec.engine,
        spec.file_timeout,
        spec.scanner_memory,
        spec.storage,
        spec.datasets,
        spec.drain_timeout,
        spec.resources,
        spec.pods,
        surroundings.orchestrators,
        surroundings.storage,
        surroundings.datasets
    ])
}

pub(crate) fn deployment(settings: &Settings, worker: &ScanWorker, surroundings: &Surroundings) -> Deployment {
    let (instance, spec) = (worker.name_any(), &worker.spec);
    let drain = spec.drain_timeout.duration().map_or(60, |drain| drain.as_secs());
    let seconds = |span: &crd::Span| span.duration().map_or(60, |span| span.as_secs());
    let mut arguments = vec![
        format!("--orchestrators={}", surroundings.orchestrators.join(",")),
        "--name=$(POD_NAME)".to_owned(),
        format!("--scanners={}", spec.cores),
        format!("--drain-s={drain}"),
        format!("--metrics-listen=0.0.0.0:{HTTP_PORT}"),
    ];
    if let Some(timeout) = &spec.file_timeout {
        arguments.push(format!("--file-timeout-s={}", seconds(timeout).max(1)));
    }
    if let Some(mib) = spec.scanner_memory.as_ref().and_then(crd::bytes_of).map(|bytes| bytes >> 20) {
        arguments.push(format!("--memory-limit-mib={mib}"));
    }
    arguments.extend(surroundings.datasets.iter().map(|source| format!("--kv={source}")));
    let mut container = pods::container(settings, spec.image.as_ref(), "scan-worker", &["/scan-worker"]);
    container.args = Some(arguments);
    let mut env = vec![pods::from_field("POD_NAME", "metadata.name"), pods::variable("DRAGNET_LOG_FORMAT", "json")];
    env.extend(pods::storage_env(spec.storage.as_ref().unwrap_or(&surroundings.storage)));
    env.extend(pods::tracing_env(settings));
    container.env = Some(env);
    container.ports = Some(vec![pods::port("http", HTTP_PORT)]);
    container.resources = Some(spec.requirements());
    container.liveness_probe = Some(pods::probe("/healthz", 10, 6));
    container.readiness_probe = Some(pods::probe("/readyz", 3, 2));
    let pod = PodSpec {
        containers: vec![container],
        service_account_name: Some(name(worker)),
        termination_grace_period_seconds: i64::try_from(drain.saturating_add(GRACE_SECONDS)).ok(),
        ..PodSpec::default()
    };
    let template = pods::template(settings, &spec.pods, Component::ScanWorker, &instance, pod);
    let mut metadata = apply::meta(worker, name(worker), labels::labels(Component::ScanWorker, &instance));
    metadata.annotations =
        Some(staging::annotations(&template, &requested(worker, surroundings), worker.metadata.generation));
    Deployment {
        metadata,
        spec: Some(DeploymentSpec {
            replicas: Some(spec.replicas),
            selector: LabelSelector {
                match_labels: Some(labels::selector(Component::ScanWorker, &instance)),
                ..LabelSelector::default()
            },
            // A quarter at a time: what a pod has not finished is handed back, and others take it.
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(0)),
                    max_unavailable: Some(IntOrString::String("25%".to_owned())),
                }),
            }),
            revision_history_limit: Some(2),
            // Pods wait as long as it takes; a status says why.
            progress_deadline_seconds: Some(600),
            template,
            ..DeploymentSpec::default()
        }),
        status: None,
    }
}
