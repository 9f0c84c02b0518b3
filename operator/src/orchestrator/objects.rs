//! The Kubernetes objects of an Orchestrator, as values: what should be there, whatever is.

use std::collections::BTreeMap;

use crd::{ObjectCredentials, Orchestrator};
use k8s_openapi::{
    api::{
        apps::v1::{
            StatefulSet, StatefulSetPersistentVolumeClaimRetentionPolicy, StatefulSetSpec, StatefulSetUpdateStrategy,
        },
        core::v1::{
            EnvVar, PersistentVolumeClaim, PersistentVolumeClaimSpec, PodSpec, PodTemplateSpec, Service,
            ServiceAccount, ServicePort, ServiceSpec, VolumeResourceRequirements,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use kube::ResourceExt as _;

use crate::{
    config::Settings,
    frame::{
        apply,
        labels::{self, Component},
        orchestrators::GRPC_PORT,
        pods,
    },
};

/// Port for metrics and health.
const HTTP_PORT: i32 = 7690;
/// Pods: digest of the template they were made of. StatefulSet: of the template it has.
pub(crate) const TEMPLATE: &str = "dragnet.dev/template";
/// StatefulSet: digest of what the resource alone says of the template, so that a newer operator is told from a person.
pub(crate) const REQUESTED: &str = "dragnet.dev/requested";
/// StatefulSet: generation of the resource that it was applied for.
pub(crate) const GENERATION: &str = "dragnet.dev/generation";
/// Claims: which recovery they were made for, so that those of the lost cluster are told from them.
pub(crate) const RECOVERY: &str = "dragnet.dev/recovery";
/// Longer than a member takes to hand over leadership and end.
const GRACE_SECONDS: i64 = 45;

/// Everything except the StatefulSet; these may be applied at any time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Around {
    pub(crate) account: ServiceAccount,
    pub(crate) peers: Service,
    pub(crate) clients: Service,
    pub(crate) budget: PodDisruptionBudget,
}

/// The name of the StatefulSet, of the Service for clients, and the beginning of the pods' names.
pub(crate) fn set_name(orchestrator: &Orchestrator) -> String {
    format!("{}-orchestrator", orchestrator.name_any())
}

pub(crate) fn pod_name(orchestrator: &Orchestrator, ordinal: i32) -> String {
    format!("{}-{ordinal}", set_name(orchestrator))
}

/// Which pod of the set this is.
pub(crate) fn ordinal(set: &str, pod: &str) -> Option<i32> {
    pod.strip_prefix(set)?.strip_prefix('-')?.parse().ok()
}

pub(crate) fn around(orchestrator: &Orchestrator) -> Around {
    let instance = orchestrator.name_any();
    let labels = labels::labels(Component::Orchestrator, &instance);
    let selector = labels::selector(Component::Orchestrator, &instance);
    let meta = |name: String| apply::meta(orchestrator, name, labels.clone());
    let port = |name: &str, port| ServicePort {
        name: Some(name.to_owned()),
        port,
        target_port: Some(IntOrString::String(name.to_owned())),
        ..ServicePort::default()
    };
    let service = |name: String, headless: bool| Service {
        metadata: meta(name),
        spec: Some(ServiceSpec {
            cluster_ip: headless.then(|| "None".to_owned()),
            // Members must find each other to become ready.
            publish_not_ready_addresses: headless.then_some(true),
            ports: Some(vec![port("grpc", GRPC_PORT), port("http", HTTP_PORT)]),
            selector: Some(selector.clone()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    };
    Around {
        account: ServiceAccount {
            metadata: meta(set_name(orchestrator)),
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        },
        peers: service(format!("{}-peers", set_name(orchestrator)), true),
        clients: service(set_name(orchestrator), false),
        budget: PodDisruptionBudget {
            metadata: meta(set_name(orchestrator)),
            spec: Some(PodDisruptionBudgetSpec {
                max_unavailable: Some(IntOrString::Int(1)),
                selector: Some(LabelSelector { match_labels: Some(selector.clone()), ..LabelSelector::default() }),
                ..PodDisruptionBudgetSpec::default()
            }),
            ..PodDisruptionBudget::default()
        },
    }
}

/// What the members are made of.
pub(crate) fn template(settings: &Settings, orchestrator: &Orchestrator) -> PodTemplateSpec {
    let spec = &orchestrator.spec;
    let seconds = |span: &crd::Span, otherwise: u64| span.duration().map_or(otherwise, |span| span.as_secs());
    let mut arguments = vec![
        "--dir=/data".to_owned(),
        format!("--listen=0.0.0.0:{GRPC_PORT}"),
        format!("--advertise=$(POD_NAME).{}-peers.$(POD_NAMESPACE).svc:{GRPC_PORT}", set_name(orchestrator)),
        format!("--http-listen=0.0.0.0:{HTTP_PORT}"),
        "--await-role".to_owned(),
        format!("--storage={}", spec.storage.url),
        format!("--snapshot-log-mib={}", spec.snapshots.log_mib),
        format!("--snapshot-interval-s={}", seconds(&spec.snapshots.interval, 600)),
        "--drain-s=20".to_owned(),
    ];
    if let Some(ttl) = &spec.session_ttl {
        arguments.push(format!("--session-ttl-ms={}", seconds(ttl, 10).saturating_mul(1000)));
    }
    let mut container = pods::container(settings, spec.image.as_ref(), "orchestrator", &["/orchestrator"]);
    container.args = Some(arguments);
    let mut env = vec![
        pods::from_field("POD_NAME", "metadata.name"),
        pods::from_field("POD_NAMESPACE", "metadata.namespace"),
        pods::variable("DRAGNET_LOG_FORMAT", "json"),
    ];
    env.extend(pods::storage_env(&spec.storage.credentials()));
    env.extend(own_credentials(orchestrator).into_iter().flat_map(backup_env));
    env.extend(pods::tracing_env(settings));
    container.env = Some(env);
    container.ports = Some(vec![pods::port("grpc", GRPC_PORT), pods::port("http", HTTP_PORT)]);
    container.resources = Some(spec.resources.requirements());
    // A large log takes its time to be read; it is alive all the while, and says so late.
    container.startup_probe = Some(pods::probe("/healthz", 2, 150));
    container.liveness_probe = Some(pods::probe("/healthz", 10, 6));
    container.readiness_probe = Some(pods::probe("/readyz", 3, 2));
    container.volume_mounts.get_or_insert_default().push(pods::mount("data", "/data"));
    let pod = PodSpec {
        containers: vec![container],
        service_account_name: Some(set_name(orchestrator)),
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        ..PodSpec::default()
    };
    pods::template(settings, &spec.pods, Component::Orchestrator, &orchestrator.name_any(), pod)
}

/// The way to backups, if it is not that to everything else.
pub(super) fn own_credentials(orchestrator: &Orchestrator) -> Option<&ObjectCredentials> {
    orchestrator.spec.backup.as_ref()?.credentials.as_ref()
}

/// As members read it. One variable is always there: that none is there means the way to everything else.
fn backup_env(credentials: &ObjectCredentials) -> impl Iterator<Item = EnvVar> {
    let mut env = pods::storage_env(credentials);
    if credentials.allow_http != Some(true) {
        env.push(pods::variable("AWS_ALLOW_HTTP", "false"));
    }
    env.into_iter().map(|variable| EnvVar { name: format!("DRAGNET_BACKUP_STORAGE_{}", variable.name), ..variable })
}

/// Digest of what a person can change of the template: it is the same under every operator.
pub(crate) fn requested(orchestrator: &Orchestrator) -> String {
    let spec = &orchestrator.spec;
    let asked =
        serde_json::json!([spec.image, spec.storage, spec.resources, spec.snapshots, spec.session_ttl, spec.pods]);
    // Where there are none, the digest is that of before there could be any: nobody's pods are replaced for them.
    let own = own_credentials(orchestrator).map(|credentials| serde_json::json!(credentials).to_string());
    pods::digest_of(&format!("{asked}{}", own.unwrap_or_default()))
}

/// The StatefulSet with so many pods. `recovery` marks claims that are made from now on.
pub(crate) fn stateful_set(
    settings: &Settings,
    orchestrator: &Orchestrator,
    replicas: i32,
    recovery: Option<&str>,
) -> StatefulSet {
    let (instance, spec) = (orchestrator.name_any(), &orchestrator.spec);
    let template = template(settings, orchestrator);
    let digest = pods::digest(&template);
    let labels = labels::labels(Component::Orchestrator, &instance);
    let mut metadata = apply::meta(orchestrator, set_name(orchestrator), labels.clone());
    metadata.annotations = Some(BTreeMap::from([
        (TEMPLATE.to_owned(), digest.clone()),
        (REQUESTED.to_owned(), requested(orchestrator)),
        (GENERATION.to_owned(), orchestrator.metadata.generation.unwrap_or(0).to_string()),
    ]));
    let mut claim_labels = labels;
    if let Some(recovery) = recovery {
        claim_labels.insert(RECOVERY.to_owned(), recovery.to_owned());
    }
    let claim = PersistentVolumeClaim {
        metadata: ObjectMeta { name: Some("data".to_owned()), labels: Some(claim_labels), ..ObjectMeta::default() },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), spec.volume.size.clone())].into()),
                limits: None,
            }),
            storage_class_name: spec.volume.storage_class_name.clone(),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    };
    StatefulSet {
        metadata,
        spec: Some(StatefulSetSpec {
            replicas: Some(replicas),
            service_name: Some(format!("{}-peers", set_name(orchestrator))),
            // All at once: who is first among members is decided by the cluster, not by the order of pods.
            pod_management_policy: Some("Parallel".to_owned()),
            // The operator replaces pods itself, in an order that keeps a majority.
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                rolling_update: None,
            }),
            selector: LabelSelector {
                match_labels: Some(labels::selector(Component::Orchestrator, &instance)),
                ..LabelSelector::default()
            },
            template: pods::with_annotation(template, TEMPLATE, &digest),
            volume_claim_templates: Some(vec![claim]),
            persistent_volume_claim_retention_policy: Some(StatefulSetPersistentVolumeClaimRetentionPolicy {
                when_deleted: Some(spec.volume.policy.when_deleted.as_str().to_owned()),
                when_scaled: Some(spec.volume.policy.when_scaled.as_str().to_owned()),
            }),
            ..StatefulSetSpec::default()
        }),
        status: None,
    }
}
