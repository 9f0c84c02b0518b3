//! Brings servers and builds to what BatchDatasets say, and their statuses to what is seen.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crd::{BatchDataset, BatchDatasetStatus, BuildStatus, Kind, reason};
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::StatefulSet,
        batch::v1::Job,
        core::v1::{ConfigMap, Pod, Secret},
    },
};
use kube::{Api, ResourceExt as _, api::DeleteParams};
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{
    admin::Admin,
    build::{self, Missing, Observed},
    facts::Server,
    growth::{Growth, growth},
    names::{self, TOKEN_FILE, TOPOLOGY_FILE},
    objects,
    rollout::{Facts, LATER, SOON, decide},
    status::{Known, NOT_THERE, status},
    topology::{Topology, topology},
};
use crate::{
    frame::{
        self, Context, Error, Outcome,
        apply::{apply, meta},
        conditions,
        labels::{Component, labels, selector},
        pods,
        staging::{self, Staging},
        volumes,
    },
    judgement::Judgement,
};

/// What was refused may be allowed soon: who had the name goes, a quota grows.
const AFTER_REFUSAL: Duration = Duration::from_secs(5);

/// What is remembered between looks. All of it can be found out again.
#[derive(Default)]
struct Memory {
    entries: Mutex<BTreeMap<(String, String), Remembered>>,
    staging: Staging,
}

#[derive(Clone, Default)]
struct Remembered {
    token: Option<String>,
    topology: Option<Topology>,
    /// The epoch that each pod was told, by its uid.
    told: BTreeMap<String, u64>,
}

impl Memory {
    fn of(&self, key: &(String, String)) -> Remembered {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned().unwrap_or_default()
    }

    fn keep(&self, key: &(String, String), remembered: Remembered) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), remembered);
    }

    fn forget(&self, key: &(String, String)) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

pub(crate) async fn run(ctx: Arc<Context>, stop: CancellationToken) {
    let memory = Arc::new(Memory::default());
    // Made once: it keeps connections to servers open between looks.
    let client = reqwest::Client::new();
    let reconcile = move |dataset: Arc<BatchDataset>, ctx: Arc<Context>| {
        let (memory, client) = (Arc::clone(&memory), client.clone());
        async move { reconcile(&dataset, &ctx, &memory, client).await }
    };
    frame::run(ctx, Kind::BatchDataset, stop, Box::pin(futures::stream::empty()), reconcile).await;
}

async fn reconcile(
    dataset: &BatchDataset,
    ctx: &Context,
    memory: &Memory,
    client: reqwest::Client,
) -> Result<Outcome, Error> {
    let key = (dataset.namespace().unwrap_or_default(), dataset.name_any());
    if dataset.metadata.deletion_timestamp.is_some() {
        // Everything goes with its owner; volumes as their policy says.
        memory.forget(&key);
        return Ok(Outcome::Later);
    }
    let before = dataset.status.clone().unwrap_or_default();
    let mut remembered = memory.of(&key);
    let acted = act(dataset, &key, &before, ctx, &mut remembered, &memory.staging, client).await;
    memory.keep(&key, remembered);
    let (status, judgements, outcome) = match acted {
        Ok(acted) => acted,
        Err(error) => {
            let told = match &error {
                Error::NameTaken { .. } => Some((reason::NAME_TAKEN, error.to_string())),
                other => other.refusal().map(|said| (reason::API_REFUSED, format!("{other}: {said}"))),
            };
            let Some((reason, message)) = told else { return Err(error) };
            let judgements = vec![
                Judgement::no(crd::ConditionType::Ready, reason, message.clone()),
                Judgement::yes(crd::ConditionType::Degraded, reason, message),
            ];
            let status = BatchDatasetStatus { observed_generation: dataset.metadata.generation, ..before.clone() };
            (status, judgements, Outcome::After(AFTER_REFUSAL))
        }
    };
    let mut status = status;
    let generation = dataset.metadata.generation;
    status.conditions =
        conditions::merge(Kind::BatchDataset, &before.conditions, &judgements, generation, Timestamp::now());
    frame::status::write(ctx, Kind::BatchDataset, dataset, dataset.status.as_ref(), &status).await?;
    Ok(outcome)
}

async fn act(
    dataset: &BatchDataset,
    key: &(String, String),
    before: &BatchDatasetStatus,
    ctx: &Context,
    remembered: &mut Remembered,
    staging: &Staging,
    client: reqwest::Client,
) -> Result<(BatchDatasetStatus, Vec<Judgement>, Outcome), Error> {
    let (namespace, name) = (key.0.as_str(), key.1.as_str());
    let paused = dataset.spec.paused;
    let pods = ctx.children.pods.with_labels(namespace, &selector(Component::KvServer, name));
    if !pods.iter().all(|pod| pods::is_ready(pod)) {
        // Perhaps somebody deleted the Secret, and new pods wait for it.
        remembered.token = None;
    }
    let token = token(dataset, key, ctx, remembered).await?;
    let topology = topology_of(dataset, key, &pods, before, ctx, remembered).await?;
    let mut made = Servers::default();
    if !paused {
        make(dataset, ctx, topology.as_ref()).await?;
        made = make_servers(dataset, ctx, staging).await?;
    }
    let build = build(dataset, key, before, ctx).await?;
    let admin = Admin::new(client, token, name.to_owned());
    let servers = look(dataset, name, &pods, &admin).await;
    let wrong = |field: &str, error: &crd::SpanError| Error::Other(format!("spec.rollout.{field}: {error}"));
    let rules = &dataset.spec.rollout;
    let mut decision = decide(&Facts {
        rules,
        wait: rules.wait.duration().map_err(|error| wrong("wait", &error))?,
        deadline: rules.deadline.duration().map_err(|error| wrong("deadline", &error))?,
        pin: dataset.spec.pin(),
        spec_changed: before.observed_generation != dataset.metadata.generation,
        servers: &servers,
        before,
        now: Timestamp::now(),
    });
    if let Some(failed) = &mut decision.failed {
        if failed.message.contains("there is no version") {
            NOT_THERE.clone_into(&mut failed.reason);
            if let Some(bad) = decision.bad.first_mut() {
                NOT_THERE.clone_into(&mut bad.reason);
            }
        }
        let note = format!("version {} is not rolled out ({}): {}", failed.version, failed.reason, failed.message);
        ctx.warn(dataset, "RolloutFailed", note).await;
    }
    if let Some(version) = &decision.finished {
        ctx.tell(dataset, "RolledOut", format!("every server serves version {version}")).await;
    }
    let mut disobedient = BTreeMap::new();
    if !paused {
        disobedient = switch(name, &admin, &pods, &servers, &decision.switch).await;
        tell_topology(&admin, &pods, topology.as_ref(), remembered).await;
    }
    let builders = ctx.children.pods.with_labels(namespace, &selector(Component::DatasetBuild, name));
    let running = build.as_ref().is_some_and(|build| build.phase == build::RUNNING);
    let trouble = pods::trouble(pods.iter().map(AsRef::as_ref));
    let trouble = trouble.or_else(|| running.then(|| pods::trouble(builders.iter().map(AsRef::as_ref))).flatten());
    let (status, judgements) = status(&Known {
        spec: &dataset.spec,
        generation: dataset.metadata.generation,
        service: (namespace, &names::servers(name)),
        servers: &servers,
        decision: &decision,
        build,
        topology_epoch: topology.as_ref().map(|topology| topology.epoch),
        trouble: trouble.as_deref(),
        disobedient: &disobedient,
        volumes: made.refused.as_deref(),
        staged: made.staged,
        before,
    });
    let wait = decision.look_again.unwrap_or(LATER).max(if disobedient.is_empty() { Duration::ZERO } else { SOON });
    Ok((status, judgements, Outcome::After(wait)))
}

/// Tells servers which version to serve, all at a time; returns those that refused, and why.
async fn switch(
    name: &str,
    admin: &Admin,
    pods: &[Arc<Pod>],
    servers: &[Server],
    wanted: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let told = wanted.iter().filter_map(|(pod, version)| {
        let is_about_it = servers.iter().any(|server| server.pod == *pod && server.is_about(version));
        let address = pods.iter().find(|it| it.name_any() == *pod).and_then(|pod| address(pod))?;
        let telling = async move {
            info!(dataset = name, pod, version, "telling a server which version to serve");
            let refused = admin.switch(&address, version).await.err()?;
            Some((pod.clone(), refused.to_string()))
        };
        (!is_about_it).then_some(telling)
    });
    join_all(told).await.into_iter().flatten().collect()
}

/// Everything but servers and builds.
async fn make(dataset: &BatchDataset, ctx: &Context, topology: Option<&Topology>) -> Result<(), Error> {
    apply(ctx, &objects::service_account(dataset)).await?;
    for service in objects::services(dataset) {
        apply(ctx, &service).await?;
    }
    apply(ctx, &objects::topology_map(dataset, topology)).await?;
    apply(ctx, &objects::disruption_budget(dataset)).await?;
    Ok(())
}

/// What was left undone of the servers, which go on serving.
#[derive(Default)]
struct Servers {
    /// The operator is another one and would make pods differently; other datasets come first.
    staged: bool,
    /// Why volumes stay as small as they are.
    refused: Option<String>,
}

/// The servers, and volumes as large as they are to be.
async fn make_servers(dataset: &BatchDataset, ctx: &Context, staging: &Staging) -> Result<Servers, Error> {
    let mut wanted = objects::stateful_set(&ctx.settings, dataset);
    let (namespace, name) = (dataset.namespace().unwrap_or_default(), dataset.name_any());
    let existing = ctx.children.stateful_sets.get(&namespace, &wanted.name_any());
    if existing.as_ref().is_some_and(|set| set.metadata.deletion_timestamp.is_some()) {
        return Ok(Servers::default());
    }
    let size = &dataset.spec.volume.size;
    let claims = ctx.children.claims.with_labels(&namespace, &selector(Component::KvServer, &name));
    let claims = claims.iter().map(AsRef::as_ref);
    let growth = growth(crd::bytes_of(size).unwrap_or(0), existing.as_deref(), claims);
    if let (Growth::Template, Some(set)) = (&growth, &existing) {
        return volumes::remake(ctx, dataset, set.as_ref()).await.map(|()| Servers::default());
    }
    let mut staged = false;
    if let Some(existing) = &existing {
        volumes::keep_template(existing, &mut wanted);
        let made = (existing.annotations(), wanted.annotations());
        staged = staging.has_to_wait(&(namespace, name), made, is_settled(existing), ctx.settings.upgrades_at_a_time);
        if staged {
            keep_pods(existing, &mut wanted);
        }
    }
    apply(ctx, &wanted).await?;
    let Growth::Claims(small) = growth else { return Ok(Servers { staged, refused: None }) };
    let mut refused = None;
    for claim in small {
        match volumes::enlarge(ctx, dataset, &claim, size).await {
            Err(error) if volumes::is_refusal(&error) => refused = refused.or_else(|| Some(error.words())),
            other => other?,
        }
    }
    Ok(Servers { staged, refused })
}

/// All servers are there, and of the template that exists.
fn is_settled(set: &StatefulSet) -> bool {
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    set.status.as_ref().is_some_and(|status| {
        status.observed_generation >= set.metadata.generation
            && status.updated_replicas.unwrap_or(0) >= wanted
            && status.ready_replicas.unwrap_or(0) >= wanted
    })
}

fn keep_pods(existing: &StatefulSet, wanted: &mut StatefulSet) {
    if let (Some(spec), Some(annotations), Some(old)) =
        (wanted.spec.as_mut(), wanted.metadata.annotations.as_mut(), existing.spec.as_ref())
    {
        staging::keep_template((&mut spec.template, annotations), (&old.template, existing.annotations()));
    }
}

/// The secret between the operator and the servers, made once.
async fn token(
    dataset: &BatchDataset,
    key: &(String, String),
    ctx: &Context,
    remembered: &mut Remembered,
) -> Result<String, Error> {
    if let Some(token) = &remembered.token {
        return Ok(token.clone());
    }
    let name = names::admin(&key.1);
    let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), &key.0);
    ctx.metrics.request("get");
    let found = secrets.get_opt(&name).await.map_err(Error::api(format!("read Secret {name}")))?;
    let there = found.and_then(|secret| String::from_utf8(secret.data?.remove(TOKEN_FILE)?.0).ok());
    let token = match there.filter(|token| token.len() >= 32) {
        Some(token) => token,
        None => {
            let token = random_token()?;
            let data = BTreeMap::from([(TOKEN_FILE.to_owned(), ByteString(token.clone().into_bytes()))]);
            let metadata = meta(dataset, name, labels(Component::KvServer, &key.1));
            apply(ctx, &Secret { metadata, data: Some(data), ..Secret::default() }).await?;
            token
        }
    };
    remembered.token = Some(token.clone());
    Ok(token)
}

fn random_token() -> Result<String, Error> {
    let mut bytes = [0; 32];
    let filled = aws_lc_rs::default_provider().secure_random.fill(&mut bytes);
    filled.map_err(|_| Error::Other("the system gives no random numbers".to_owned()))?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

/// The topology that holds from now on.
async fn topology_of(
    dataset: &BatchDataset,
    key: &(String, String),
    pods: &[Arc<Pod>],
    before: &BatchDatasetStatus,
    ctx: &Context,
    remembered: &mut Remembered,
) -> Result<Option<Topology>, Error> {
    let spec = &dataset.spec;
    if spec.shards > 1 && remembered.topology.is_none() {
        let maps: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), &key.0);
        let name = names::topology(&key.1);
        ctx.metrics.request("get");
        let found = maps.get_opt(&name).await.map_err(Error::api(format!("read ConfigMap {name}")))?;
        let text = found.and_then(|map| map.data?.remove(TOPOLOGY_FILE));
        remembered.topology = text.and_then(|text| serde_json::from_str(&text).ok());
    }
    let is_ready = |name: &str| pods.iter().any(|pod| pod.name_any() == name && pods::is_ready(pod));
    let count = |number: i32| u16::try_from(number.max(0)).unwrap_or(u16::MAX);
    let epoch = before.topology_epoch.and_then(|epoch| u64::try_from(epoch).ok()).unwrap_or(0);
    let place = (key.0.as_str(), key.1.as_str());
    let known = remembered.topology.as_ref();
    let topology = topology(place, count(spec.shards), count(spec.replicas).max(1), is_ready, known, epoch);
    if topology.is_some() {
        remembered.topology.clone_from(&topology);
    }
    Ok(topology)
}

async fn tell_topology(admin: &Admin, pods: &[Arc<Pod>], topology: Option<&Topology>, remembered: &mut Remembered) {
    let Some(topology) = topology else { return };
    for pod in pods {
        let (Some(address), Some(uid)) = (address(pod), pod.uid()) else { continue };
        if remembered.told.get(&uid) == Some(&topology.epoch) {
            continue;
        }
        match admin.tell_topology(&address, topology).await {
            Ok(()) => {
                remembered.told.insert(uid, topology.epoch);
            }
            // It reads the same from its file, a moment later.
            Err(error) => debug!(pod = pod.name_any(), %error, "a server was not told the topology"),
        }
    }
    remembered.told.retain(|uid, _| pods.iter().any(|pod| pod.uid().as_ref() == Some(uid)));
}

/// How the build stands, after the Job that it needs was made.
async fn build(
    dataset: &BatchDataset,
    (namespace, name): &(String, String),
    before: &BatchDatasetStatus,
    ctx: &Context,
) -> Result<Option<BuildStatus>, Error> {
    let Some(source) = &dataset.spec.source else { return Ok(None) };
    if dataset.spec.paused {
        return Ok(before.build.clone());
    }
    let input = names::build_input(dataset, source);
    let (build_name, finish_name) = (names::build_job(name, &input), names::finish_job(name, &input));
    let (job, finish) = (ctx.children.jobs.get(namespace, &build_name), ctx.children.jobs.get(namespace, &finish_name));
    let pods = ctx.children.pods.with_labels(namespace, &selector(Component::DatasetBuild, name));
    let (status, missing) = build::plan(&Observed {
        input: &input,
        shards: dataset.spec.shards,
        build_name: build_name.clone(),
        build: job.as_deref(),
        finish: finish.as_deref(),
        pods: &pods,
        before: before.build.as_ref(),
    });
    match missing {
        Some(Missing::Build) => {
            // Builds of what is not wanted any more would only be in the way.
            for old in ctx.children.jobs.with_labels(namespace, &selector(Component::DatasetBuild, name)) {
                if ![&build_name, &finish_name].contains(&&old.name_any()) {
                    delete_job(ctx, namespace, &old.name_any()).await?;
                }
            }
            if apply(ctx, &objects::build_job(&ctx.settings, dataset, source, &input)).await? {
                ctx.tell(dataset, "BuildStarted", format!("Job {build_name} builds a version from spec.source")).await;
            }
        }
        Some(Missing::Finish) => {
            apply(ctx, &objects::finish_job(&ctx.settings, dataset, source, &input)).await?;
        }
        None => {}
    }
    let was = before.build.as_ref().filter(|build| build.input == input).map(|build| build.phase.as_str());
    if was != Some(build::SUCCEEDED) && status.phase == build::SUCCEEDED {
        let version = status.version.as_deref().unwrap_or("a version");
        ctx.tell(dataset, "Built", format!("version {version} was built and is announced")).await;
    }
    Ok(Some(status))
}

/// With its pods: of Jobs the API would leave them behind.
async fn delete_job(ctx: &Context, namespace: &str, name: &str) -> Result<(), Error> {
    let jobs: Api<Job> = Api::namespaced(ctx.client.clone(), namespace);
    ctx.metrics.request("delete");
    match jobs.delete(name, &DeleteParams::background()).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(Error::api(format!("delete Job {name}"))(error)),
    }
}

/// What there is to be known of each server there should be.
async fn look(dataset: &BatchDataset, name: &str, pods: &[Arc<Pod>], admin: &Admin) -> Vec<Server> {
    let shards = u16::try_from(dataset.spec.shards.max(1)).unwrap_or(1);
    let found: Vec<(u16, Option<&Arc<Pod>>)> = (0..objects::server_count(&dataset.spec))
        .map(|ordinal| (ordinal, pods.iter().find(|pod| pod.name_any() == names::pod(name, ordinal))))
        .collect();
    let addresses: Vec<String> =
        found.iter().map(|(_, pod)| pod.and_then(|pod| address(pod)).unwrap_or_default()).collect();
    let asked: Vec<String> = addresses.iter().filter(|address| !address.is_empty()).cloned().collect();
    let mut answers: BTreeMap<_, _> = asked.iter().cloned().zip(admin.see_all(&asked).await).collect();
    let server = |((ordinal, pod), address): ((u16, Option<&Arc<Pod>>), &String)| Server {
        pod: names::pod(name, ordinal),
        shard: ordinal % shards,
        ready: pod.is_some_and(|pod| pods::is_ready(pod)),
        restarts: pod.map_or(0, |pod| restarts(pod)),
        seen: answers.remove(address).flatten(),
    };
    found.into_iter().zip(&addresses).map(server).collect()
}

/// Where a pod can be asked: by its address, since its name takes a while to be known everywhere.
fn address(pod: &Pod) -> Option<String> {
    let ip = pod.status.as_ref()?.pod_ip.as_ref()?;
    Some(if ip.contains(':') { format!("[{ip}]") } else { ip.clone() })
}

fn restarts(pod: &Pod) -> i32 {
    let containers = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    containers.map(|container| container.restart_count).sum()
}
