//! What is made for a dataset in the Kubernetes API: values of the spec and the operator's settings, and of nothing else.

use std::collections::BTreeMap;

use crd::{BatchDataset, BatchDatasetSpec, DatasetSource, Format, OnDuplicate};
use k8s_openapi::{
    api::{
        apps::v1::{
            StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
        },
        batch::v1::{
            Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement,
            PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
        },
        core::v1::{
            ConfigMap, ConfigMapVolumeSource, Container, EmptyDirVolumeSource, PersistentVolumeClaim,
            PersistentVolumeClaimSpec, PodSpec, SecretVolumeSource, Service, ServiceAccount, ServicePort, ServiceSpec,
            Volume, VolumeResourceRequirements,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use kube::ResourceExt as _;

use super::{
    names::{self, ADMIN_PORT, REDIS_PORT, TOKEN_FILE, TOPOLOGY_FILE},
    topology::Topology,
};
use crate::{
    config::Settings,
    frame::{
        apply::meta,
        labels::{Component, labels, selector},
        pods, staging,
    },
};

/// Of wrong usage: another try will not help.
const EXIT_USAGE: i32 = 64;
/// Time for requests under way when a pod is to go.
const GRACE_SECONDS: i64 = 30;
/// A build that is done is looked at by people for a day.
const KEPT_SECONDS: i32 = 86_400;

/// How many servers there are to be.
pub(crate) fn server_count(spec: &BatchDatasetSpec) -> u16 {
    u16::try_from(spec.shards.max(1) * spec.replicas.max(0)).unwrap_or(0)
}

fn meta_of(dataset: &BatchDataset, name: String, component: Component) -> ObjectMeta {
    meta(dataset, name, labels(component, &dataset.name_any()))
}

pub(crate) fn stateful_set(settings: &Settings, dataset: &BatchDataset) -> StatefulSet {
    let (name, spec) = (dataset.name_any(), &dataset.spec);
    let component = Component::KvServer;
    let volumes = vec![
        // Without it servers wait; the topology may come later, and of one part there is none.
        from_config_map("topology", &names::topology(&name)),
        from_secret("admin", &names::admin(&name)),
    ];
    let pod = PodSpec {
        containers: vec![server(settings, dataset)],
        service_account_name: Some(names::servers(&name)),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        volumes: Some(volumes),
        ..PodSpec::default()
    };
    let claim = PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some("data".to_owned()),
            labels: Some(labels(component, &name)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), spec.volume.size.clone())])),
                limits: None,
            }),
            storage_class_name: spec.volume.storage_class_name.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    };
    let template = pods::template(settings, &spec.pods, component, &name, pod);
    let requested = serde_json::json!([
        spec.versions,
        spec.source.as_ref().map(|source| &source.prefix),
        spec.shards,
        spec.keep,
        spec.image,
        spec.resources,
        spec.pods
    ]);
    let mut metadata = meta_of(dataset, names::servers(&name), component);
    metadata.annotations = Some(staging::annotations(&template, &requested, dataset.metadata.generation));
    StatefulSet {
        metadata,
        spec: Some(StatefulSetSpec {
            replicas: Some(i32::from(server_count(spec))),
            // They need nothing of one another.
            pod_management_policy: Some("Parallel".to_owned()),
            service_name: Some(names::nodes(&name)),
            selector: LabelSelector { match_labels: Some(selector(component, &name)), ..LabelSelector::default() },
            template,
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: None,
            }),
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some(spec.volume.policy.when_deleted.as_str().to_owned()),
                when_scaled: Some(spec.volume.policy.when_scaled.as_str().to_owned()),
            }),
            volume_claim_templates: Some(vec![claim]),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}

fn server(settings: &Settings, dataset: &BatchDataset) -> Container {
    let (name, spec) = (dataset.name_any(), &dataset.spec);
    let prefix = spec.source.as_ref().map_or("", |source| source.prefix.as_str());
    let prefix = if prefix.is_empty() { String::new() } else { format!(",prefix={prefix}") };
    let mut args = vec![
        format!("--dataset={},name={name}{prefix}", spec.versions.url),
        "--data-dir=/data".to_owned(),
        format!("--listen=0.0.0.0:{REDIS_PORT}"),
        format!("--admin-listen=0.0.0.0:{ADMIN_PORT}"),
        format!("--admin-token-file=/etc/dragnet/admin/{TOKEN_FILE}"),
        // The operator tells them, so that a version comes to some before it comes to all.
        "--switch=when-told".to_owned(),
        format!("--keep={}", spec.keep.max(2) - 1),
    ];
    if spec.shards > 1 {
        args.push(format!("--shards=part:$(POD_INDEX)/{}", spec.shards));
        args.push("--cluster-node=name:$(POD_NAME)".to_owned());
        args.push(format!("--cluster-topology=/etc/dragnet/topology/{TOPOLOGY_FILE}"));
    }
    let mut container = pods::container(settings, spec.image.as_ref(), "kv-server", &["/kv-server"]);
    let mut env = pods::storage_env(&spec.versions.credentials());
    env.extend(pods::tracing_env(settings));
    env.push(pods::from_field("POD_NAME", "metadata.name"));
    env.push(pods::from_field("POD_INDEX", "metadata.labels['apps.kubernetes.io/pod-index']"));
    container.args = Some(args);
    container.env = Some(env);
    container.ports = Some(vec![pods::port("redis", REDIS_PORT), pods::port("http", ADMIN_PORT)]);
    container.readiness_probe = Some(pods::probe("/readyz", 2, 2));
    container.liveness_probe = Some(pods::probe("/healthz", 10, 6));
    container.resources = Some(spec.resources.requirements());
    let mounts = container.volume_mounts.get_or_insert_default();
    mounts.push(pods::mount("data", "/data"));
    mounts.push(pods::mount("admin", "/etc/dragnet/admin"));
    mounts.push(pods::mount("topology", "/etc/dragnet/topology"));
    container
}

fn from_config_map(volume: &str, name: &str) -> Volume {
    let config_map = Some(ConfigMapVolumeSource { name: name.to_owned(), ..ConfigMapVolumeSource::default() });
    Volume { name: volume.to_owned(), config_map, ..Volume::default() }
}

fn from_secret(volume: &str, name: &str) -> Volume {
    let source = SecretVolumeSource { secret_name: Some(name.to_owned()), ..SecretVolumeSource::default() };
    Volume { name: volume.to_owned(), secret: Some(source), ..Volume::default() }
}

/// Where clients connect, and what gives each pod its name.
pub(crate) fn services(dataset: &BatchDataset) -> [Service; 2] {
    let name = dataset.name_any();
    let component = Component::KvServer;
    let port = |name: &str, port| ServicePort {
        name: Some(name.to_owned()),
        port,
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    };
    let clients = ServiceSpec {
        selector: Some(selector(component, &name)),
        ports: Some(vec![port("redis", REDIS_PORT)]),
        ..ServiceSpec::default()
    };
    let nodes = ServiceSpec {
        cluster_ip: Some("None".to_owned()),
        publish_not_ready_addresses: Some(true),
        ports: Some(vec![port("redis", REDIS_PORT), port("http", ADMIN_PORT)]),
        selector: Some(selector(component, &name)),
        ..ServiceSpec::default()
    };
    let service = |service_name, spec| Service {
        metadata: meta_of(dataset, service_name, component),
        spec: Some(spec),
        status: None,
    };
    [service(names::servers(&name), clients), service(names::nodes(&name), nodes)]
}

pub(crate) fn service_account(dataset: &BatchDataset) -> ServiceAccount {
    let metadata = meta_of(dataset, names::servers(&dataset.name_any()), Component::KvServer);
    ServiceAccount { metadata, automount_service_account_token: Some(false), ..ServiceAccount::default() }
}

pub(crate) fn disruption_budget(dataset: &BatchDataset) -> PodDisruptionBudget {
    let name = dataset.name_any();
    PodDisruptionBudget {
        metadata: meta_of(dataset, names::servers(&name), Component::KvServer),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(selector(Component::KvServer, &name)),
                ..LabelSelector::default()
            }),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}

/// Empty for a dataset in one part: pods mount it whatever it holds.
pub(crate) fn topology_map(dataset: &BatchDataset, topology: Option<&Topology>) -> ConfigMap {
    let json = topology.map(|topology| serde_json::to_string_pretty(topology).unwrap_or_default());
    ConfigMap {
        metadata: meta_of(dataset, names::topology(&dataset.name_any()), Component::KvServer),
        data: Some(json.into_iter().map(|json| (TOPOLOGY_FILE.to_owned(), json)).collect()),
        ..ConfigMap::default()
    }
}

/// Builds one shard in each of its pods.
pub(crate) fn build_job(settings: &Settings, dataset: &BatchDataset, source: &DatasetSource, input: &str) -> Job {
    let build = dataset.spec.build.clone().unwrap_or_default();
    let mut args = build_args(dataset, source, input);
    args.push("--from=/scratch/source".to_owned());
    args.push("--part=$(JOB_COMPLETION_INDEX)".to_owned());
    args.push("--temp-dir=/scratch".to_owned());
    args.push(format!("--memory={}MiB", memory_mib(&build.resources)));
    let mut fetch = pods::container(settings, dataset.spec.image.as_ref(), "fetch", &["/dragnet"]);
    fetch.args = Some(vec![
        "dataset".to_owned(),
        "fetch".to_owned(),
        source.storage.url.clone(),
        "--to=/scratch/source".to_owned(),
    ]);
    fetch.env = Some(pods::storage_env(&source.storage.credentials()));
    fetch.volume_mounts.get_or_insert_default().push(pods::mount("source", "/scratch/source"));
    fetch.termination_message_policy = Some("FallbackToLogsOnError".to_owned());
    let mut container = builder(settings, dataset, args);
    container.resources = Some(build.resources.requirements());
    let mounts = container.volume_mounts.get_or_insert_default();
    mounts.push(pods::mount("work", "/scratch"));
    mounts.push(pods::mount("source", "/scratch/source"));
    let mut spec = job_spec(settings, dataset, container, Some(fetch));
    spec.completion_mode = Some("Indexed".to_owned());
    spec.completions = Some(dataset.spec.shards);
    spec.parallelism = Some(build.parallelism.unwrap_or(dataset.spec.shards).min(dataset.spec.shards));
    spec.backoff_limit = None;
    spec.backoff_limit_per_index = Some(build.retries);
    Job {
        metadata: meta_of(dataset, names::build_job(&dataset.name_any(), input), Component::DatasetBuild),
        spec: Some(spec),
        status: None,
    }
}

/// Makes a version of the shards that are built, and announces it.
pub(crate) fn finish_job(settings: &Settings, dataset: &BatchDataset, source: &DatasetSource, input: &str) -> Job {
    let mut args = build_args(dataset, source, input);
    args.push("--finish".to_owned());
    let spec = job_spec(settings, dataset, builder(settings, dataset, args), None);
    Job {
        metadata: meta_of(dataset, names::finish_job(&dataset.name_any(), input), Component::DatasetBuild),
        spec: Some(spec),
        status: None,
    }
}

fn build_args(dataset: &BatchDataset, source: &DatasetSource, input: &str) -> Vec<String> {
    let DatasetSource { storage: _, format, key, value, prefix, on_duplicate, revision: _ } = source;
    let format = match format {
        Format::Parquet => "parquet",
        Format::Csv => "csv",
        Format::Jsonl => "jsonl",
    };
    let on_duplicate = match on_duplicate {
        OnDuplicate::Error => "error",
        OnDuplicate::First => "first",
        OnDuplicate::Last => "last",
    };
    let mut args = vec![
        "--json".to_owned(),
        "dataset".to_owned(),
        "build".to_owned(),
        format!("--to={}", dataset.spec.versions.url),
        format!("--name={}", dataset.name_any()),
        format!("--format={format}"),
        format!("--key={key}"),
        format!("--shards={}", dataset.spec.shards),
        format!("--on-duplicate={on_duplicate}"),
        format!("--build-id={input}"),
        // What the operator reads when the pod has ended.
        "--report=/dev/termination-log".to_owned(),
    ];
    match value {
        Some(value) => args.push(format!("--value={value}")),
        None => args.push("--value-json".to_owned()),
    }
    if !prefix.is_empty() {
        args.push(format!("--prefix={prefix}"));
    }
    args
}

fn builder(settings: &Settings, dataset: &BatchDataset, args: Vec<String>) -> Container {
    let mut container = pods::container(settings, dataset.spec.image.as_ref(), "build", &["/dragnet"]);
    container.args = Some(args);
    container.env = Some(pods::storage_env(&dataset.spec.versions.credentials()));
    container.termination_message_policy = Some("FallbackToLogsOnError".to_owned());
    container
}

fn job_spec(settings: &Settings, dataset: &BatchDataset, container: Container, before: Option<Container>) -> JobSpec {
    let build = dataset.spec.build.clone().unwrap_or_default();
    let empty = |name: &str| Volume {
        name: name.to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    };
    let pod = PodSpec {
        containers: vec![container],
        init_containers: before.map(|before| vec![before]),
        restart_policy: Some("Never".to_owned()),
        volumes: Some(vec![empty("work"), empty("source")]),
        ..PodSpec::default()
    };
    let component = Component::DatasetBuild;
    let mut template = pods::template(settings, &dataset.spec.pods, component, &dataset.name_any(), pod);
    if let Some(spec) = &mut template.spec {
        // Builds may crowd together; what spreads them costs the scheduler more than it gains.
        spec.topology_spread_constraints = None;
    }
    let rule = |action: &str| PodFailurePolicyRule { action: action.to_owned(), ..PodFailurePolicyRule::default() };
    JobSpec {
        active_deadline_seconds: build
            .deadline
            .duration()
            .ok()
            .and_then(|deadline| i64::try_from(deadline.as_secs()).ok()),
        backoff_limit: Some(build.retries),
        pod_failure_policy: Some(PodFailurePolicy {
            rules: vec![
                PodFailurePolicyRule {
                    on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
                        type_: "DisruptionTarget".to_owned(),
                        status: "True".to_owned(),
                    }]),
                    ..rule("Ignore")
                },
                PodFailurePolicyRule {
                    on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
                        container_name: Some("build".to_owned()),
                        operator: "In".to_owned(),
                        values: vec![EXIT_USAGE],
                    }),
                    ..rule("FailJob")
                },
            ],
        }),
        template,
        ttl_seconds_after_finished: Some(KEPT_SECONDS),
        ..JobSpec::default()
    }
}

/// Half of what a pod may have: the rest is for what reads and writes.
fn memory_mib(resources: &crd::Resources) -> u128 {
    let limit = resources.limits.get("memory").and_then(crd::bytes_of);
    limit.map_or(256, |limit| (limit / 2) >> 20).clamp(16, 16 << 10)
}

#[cfg(test)]
mod tests;
