//! What every pod has, whatever runs in it: no privileges, a place to write, the way into object storage.

use std::collections::BTreeMap;

use crd::{LocalRef, ObjectCredentials, PodOverrides};
use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, ContainerPort, EmptyDirVolumeSource, EnvVar, EnvVarSource, HTTPGetAction,
        LocalObjectReference, ObjectFieldSelector, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, SeccompProfile,
        SecretKeySelector, SecurityContext, TopologySpreadConstraint, Volume, VolumeMount,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

use super::labels::{self, Component};
use crate::config::Settings;

/// The user that every program runs as.
const USER: i64 = 65532;

/// The container that `image` (or the operator's own choice) gives, restricted as far as Kubernetes knows how.
pub fn container(settings: &Settings, image: Option<&String>, name: &str, command: &[&str]) -> Container {
    Container {
        name: name.to_owned(),
        image: Some(image.unwrap_or(&settings.image).clone()),
        image_pull_policy: settings.image_pull_policy.clone(),
        command: Some(command.iter().map(|word| (*word).to_owned()).collect()),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
            read_only_root_filesystem: Some(true),
            run_as_non_root: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![mount("tmp", "/tmp")]),
        ..Container::default()
    }
}

/// The pod around it, with what the resource says about its pods.
pub fn template(
    settings: &Settings,
    overrides: &PodOverrides,
    component: Component,
    instance: &str,
    spec: PodSpec,
) -> PodTemplateSpec {
    let mut labels = overrides.labels.clone();
    labels.extend(labels::labels(component, instance));
    let annotations = (!overrides.annotations.is_empty()).then(|| overrides.annotations.clone());
    let secrets = settings.image_pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() });
    let secrets: Vec<_> = overrides.image_pull_secrets.iter().map(LocalObjectReference::from).chain(secrets).collect();
    let mut volumes =
        vec![Volume { name: "tmp".to_owned(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() }];
    volumes.extend(spec.volumes.into_iter().flatten());
    let spec = PodSpec {
        affinity: overrides.affinity.clone(),
        automount_service_account_token: Some(false),
        // Variables for every Service of the namespace would be in every pod, and change with them.
        enable_service_links: Some(false),
        image_pull_secrets: (!secrets.is_empty()).then_some(secrets),
        node_selector: (!overrides.node_selector.is_empty()).then(|| overrides.node_selector.clone()),
        priority_class_name: overrides.priority_class_name.clone(),
        security_context: Some(PodSecurityContext {
            fs_group: Some(USER),
            fs_group_change_policy: Some("OnRootMismatch".to_owned()),
            run_as_group: Some(USER),
            run_as_non_root: Some(true),
            run_as_user: Some(USER),
            seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }),
            ..PodSecurityContext::default()
        }),
        tolerations: (!overrides.tolerations.is_empty()).then(|| overrides.tolerations.clone()),
        topology_spread_constraints: Some(spread(overrides, component, instance)),
        volumes: Some(volumes),
        ..spec
    };
    let metadata = ObjectMeta { labels: Some(labels), annotations, ..ObjectMeta::default() };
    PodTemplateSpec { metadata: Some(metadata), spec: Some(spec) }
}

/// Different nodes if there are such; what the resource says instead, if it says anything.
fn spread(overrides: &PodOverrides, component: Component, instance: &str) -> Vec<TopologySpreadConstraint> {
    let selector =
        || LabelSelector { match_labels: Some(labels::selector(component, instance)), ..LabelSelector::default() };
    if overrides.topology_spread_constraints.is_empty() {
        return vec![TopologySpreadConstraint {
            max_skew: 1,
            topology_key: "kubernetes.io/hostname".to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            label_selector: Some(selector()),
            ..TopologySpreadConstraint::default()
        }];
    }
    let mut constraints = overrides.topology_spread_constraints.clone();
    for constraint in &mut constraints {
        constraint.label_selector.get_or_insert_with(selector);
    }
    constraints
}

/// The way into object storage, as `crates/store` reads it.
pub fn storage_env(credentials: &ObjectCredentials) -> Vec<EnvVar> {
    let ObjectCredentials { endpoint, region, allow_http, credentials_secret } = credentials;
    let mut env = Vec::new();
    if let Some(endpoint) = endpoint {
        env.push(variable("AWS_ENDPOINT", endpoint));
    }
    if let Some(region) = region {
        env.push(variable("AWS_REGION", region));
    }
    if *allow_http == Some(true) {
        env.push(variable("AWS_ALLOW_HTTP", "true"));
    }
    if let Some(secret) = credentials_secret {
        env.push(from_secret("AWS_ACCESS_KEY_ID", secret, false));
        env.push(from_secret("AWS_SECRET_ACCESS_KEY", secret, false));
        env.push(from_secret("AWS_SESSION_TOKEN", secret, true));
    }
    env
}

/// Where the pod's program sends traces, if anywhere.
pub fn tracing_env(settings: &Settings) -> Option<EnvVar> {
    settings.tracing_endpoint.as_ref().map(|endpoint| variable("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint))
}

pub fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar { name: name.to_owned(), value: Some(value.to_owned()), value_from: None }
}

/// What the pod knows of itself: `metadata.name`, `metadata.namespace`.
pub fn from_field(name: &str, path: &str) -> EnvVar {
    let field_ref = ObjectFieldSelector { field_path: path.to_owned(), ..ObjectFieldSelector::default() };
    let source = EnvVarSource { field_ref: Some(field_ref), ..EnvVarSource::default() };
    EnvVar { name: name.to_owned(), value: None, value_from: Some(source) }
}

fn from_secret(key: &str, secret: &LocalRef, optional: bool) -> EnvVar {
    let selector =
        SecretKeySelector { key: key.to_owned(), name: secret.name.clone(), optional: optional.then_some(true) };
    let source = EnvVarSource { secret_key_ref: Some(selector), ..EnvVarSource::default() };
    EnvVar { name: key.to_owned(), value: None, value_from: Some(source) }
}

pub fn mount(name: &str, path: &str) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), ..VolumeMount::default() }
}

pub fn port(name: &str, port: i32) -> ContainerPort {
    ContainerPort { name: Some(name.to_owned()), container_port: port, ..ContainerPort::default() }
}

/// GET `path` at the port called `http`, every `period` seconds.
pub fn probe(path: &str, period: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("http".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period),
        timeout_seconds: Some(5),
        failure_threshold: Some(failures),
        ..Probe::default()
    }
}

/// The reason for conditions that `trouble` comes to.
pub fn reason_of(trouble: &str) -> &'static str {
    let lower = trouble.to_lowercase();
    let about_secret = lower.contains("secret");
    if about_secret && (lower.contains("not found") || lower.contains("couldn't find key")) {
        crd::reason::SECRET_MISSING
    } else {
        crd::reason::PODS_NOT_STARTING
    }
}

/// What to look at in the resource, for a pod that does not start. `secrets`: fields that name Secrets of their own, with those names.
pub fn remedy(trouble: &str, storage_class: Option<&str>, secrets: &[(&str, &str)]) -> String {
    let lower = trouble.to_lowercase();
    if reason_of(trouble) == crd::reason::SECRET_MISSING {
        let named = secrets.iter().find(|(_field, secret)| trouble.contains(&format!("\"{secret}\"")));
        let field = named.map_or("spec.storage.credentialsSecret", |(field, _secret)| *field);
        return format!(
            "; make that Secret with the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or correct {field}"
        );
    }
    if lower.contains("image") {
        return "; correct spec.image, or name a Secret to fetch it with in spec.pods.imagePullSecrets".to_owned();
    }
    if lower.contains("persistentvolumeclaim") {
        let class =
            storage_class.map_or("the default storage class".to_owned(), |class| format!("storage class {class}"));
        return format!(
            "; {class} (spec.volume.storageClassName) makes no volume: is there such a class, and does its provisioner run?"
        );
    }
    if lower.contains("not scheduled") {
        return "; make room, or change spec.resources, spec.pods.affinity or spec.pods.tolerations".to_owned();
    }
    "; see the pod's log and Events".to_owned()
}

/// Pods take a moment to be given a node and a volume; before that it is no trouble.
const PATIENCE: jiff::SignedDuration = jiff::SignedDuration::from_secs(15);

/// Why pods do not start, in Kubernetes' own words; the first that says anything.
pub fn trouble<'a>(pods: impl Iterator<Item = &'a k8s_openapi::api::core::v1::Pod>) -> Option<String> {
    pods.into_iter().find_map(|pod| {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let status = pod.status.as_ref()?;
        let containers =
            status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten());
        let waiting = containers.into_iter().find_map(|container| {
            let waiting = container.state.as_ref()?.waiting.as_ref()?;
            let reason = waiting.reason.as_deref()?;
            let starting = ["ContainerCreating", "PodInitializing"].contains(&reason);
            (!starting).then(|| format!("{reason}: {}", waiting.message.as_deref().unwrap_or("no details")))
        });
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        if created.is_some_and(|created| jiff::Timestamp::now().duration_since(created) < PATIENCE) {
            return waiting.map(|why| format!("pod {name}: {why}"));
        }
        let unschedulable = status.conditions.iter().flatten().find_map(|condition| {
            let stuck = condition.type_ == "PodScheduled" && condition.status == "False";
            stuck.then(|| format!("not scheduled: {}", condition.message.as_deref().unwrap_or("no details")))
        });
        waiting.or(unschedulable).map(|why| format!("pod {name}: {why}"))
    })
}

/// Whether the pod is ready and is not going away.
pub fn is_ready(pod: &k8s_openapi::api::core::v1::Pod) -> bool {
    let ready = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut ready = ready.filter(|condition| condition.type_ == "Ready");
    pod.metadata.deletion_timestamp.is_none() && ready.any(|condition| condition.status == "True")
}

/// A digest of what pods are made of: it changes when they must be replaced, and only then.
pub fn digest(template: &PodTemplateSpec) -> String {
    digest_of(&serde_json::to_string(template).unwrap_or_default())
}

/// A short name for `text`.
pub fn digest_of(text: &str) -> String {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(text.as_bytes()).iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}

/// Metadata of a template that says its own digest.
pub fn with_annotation(mut template: PodTemplateSpec, key: &str, value: &str) -> PodTemplateSpec {
    let metadata = template.metadata.get_or_insert_default();
    metadata.annotations.get_or_insert_with(BTreeMap::new).insert(key.to_owned(), value.to_owned());
    template
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_leads_to_the_field_that_mends_it() {
        let told = |trouble: &str| {
            (
                reason_of(trouble),
                remedy(trouble, Some("fast"), &[("spec.backup.credentials.credentialsSecret", "others")]),
            )
        };
        let (reason, remedy) = told("pod x: CreateContainerConfigError: secret \"keys\" not found");
        assert!(reason == crd::reason::SECRET_MISSING && remedy.contains("spec.storage.credentialsSecret"), "{remedy}");
        let (_, remedy) = told("pod x: CreateContainerConfigError: secret \"others\" not found");
        assert!(remedy.contains("correct spec.backup.credentials.credentialsSecret"), "{remedy}");
        let (reason, remedy) = told("pod x: ErrImagePull: failed to pull image \"nobody/made-it\"");
        assert!(reason == crd::reason::PODS_NOT_STARTING && remedy.contains("spec.image"), "{remedy}");
        let (_, remedy) = told("pod x: not scheduled: pod has unbound immediate PersistentVolumeClaims");
        assert!(remedy.contains("storage class fast (spec.volume.storageClassName)"), "{remedy}");
        let (_, remedy) = told("pod x: not scheduled: 0/3 nodes are available: 3 Insufficient cpu.");
        assert!(remedy.contains("spec.resources"), "{remedy}");
    }
}
