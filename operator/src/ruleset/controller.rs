//! Brings the cluster to what YaraRulesets say, and their statuses to what the cluster says.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crd::{Kind, YaraRuleset, YaraRulesetStatus, reason};
use futures::{Stream, StreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt as _,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt as _,
        reflector::ObjectRef,
        watcher::{self, Event, watcher},
    },
};
use protocol::v1;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tracing::{info, warn};
use types::{RulesetArtifact, RulesetSource};

use super::{
    Checker,
    known::{Checked, Good, Memory},
    plan::{Desired, Step, plan},
    sources::{Refusal, config_maps, gather},
    status::{Known, Rules, Silence, status},
};
use crate::{
    cells::{self, Cell, Cells, Resolved, Sighting, finalizer},
    frame::{self, Context, Error, Outcome, conditions},
};

/// A ruleset that is deleted is retired first: else it would hunt for ever.
const FINALIZER: &str = "dragnet.dev/retire";
/// Until the Orchestrator has said something of a ruleset that it has just been given.
const SOON: Duration = Duration::from_secs(2);
/// While something is missing that nobody here watches.
const MISSING: Duration = Duration::from_secs(15);

/// What reconciliations share.
pub(crate) struct Shared {
    pub(crate) cells: Arc<Cells>,
    pub(crate) checker: Arc<Checker>,
    pub(crate) memory: Memory,
}

pub(crate) async fn run(
    ctx: Arc<Context>,
    shared: Arc<Shared>,
    wakes: impl Stream<Item = ObjectRef<YaraRuleset>> + Send + 'static,
    stop: CancellationToken,
) {
    let wakes = stream::select(wakes.boxed(), changed_maps(&ctx, Arc::clone(&shared)).boxed()).boxed();
    let reconcile = move |ruleset: Arc<YaraRuleset>, ctx: Arc<Context>| {
        let shared = Arc::clone(&shared);
        async move { reconcile(&ruleset, &ctx, &shared).await }
    };
    frame::run(ctx, Kind::YaraRuleset, stop, wakes, reconcile).await;
}

/// Rulesets whose ConfigMaps changed. Only metadata is watched: most ConfigMaps hold something else.
fn changed_maps(ctx: &Context, shared: Arc<Shared>) -> impl Stream<Item = ObjectRef<YaraRuleset>> + Send + 'static {
    let namespaces = &ctx.settings.namespaces;
    let apis: Vec<Api<PartialObjectMeta<ConfigMap>>> = match namespaces.is_empty() {
        true => vec![Api::all(ctx.client.clone())],
        false => namespaces.iter().map(|namespace| Api::namespaced(ctx.client.clone(), namespace)).collect(),
    };
    let events = apis.into_iter().map(|api| watcher(api, watcher::Config::default()).default_backoff().boxed());
    stream::select_all(events).flat_map(move |event| {
        let woken = match event {
            Ok(Event::Apply(map) | Event::InitApply(map) | Event::Delete(map)) => {
                let namespace = map.namespace().unwrap_or_default();
                let readers = shared.memory.changed(&(namespace.clone(), map.name_any()));
                readers.into_iter().map(|name| ObjectRef::new(&name).within(&namespace)).collect()
            }
            Ok(Event::Init | Event::InitDone) => Vec::new(),
            Err(error) => {
                warn!(%error, "the watch of ConfigMaps was interrupted");
                Vec::new()
            }
        };
        stream::iter(woken)
    })
}

async fn reconcile(ruleset: &YaraRuleset, ctx: &Context, shared: &Shared) -> Result<Outcome, Error> {
    let key = (ruleset.namespace().unwrap_or_default(), ruleset.name_any());
    let before = ruleset.status.clone().unwrap_or_default();
    let reference = ruleset.spec.orchestrator_ref.as_ref();
    let resolved = cells::resolve(ctx, &shared.cells, &key.0, reference, before.orchestrator.as_deref());
    if ruleset.metadata.deletion_timestamp.is_some() {
        return retire(ruleset, &before, resolved.ok(), ctx, shared).await;
    }
    finalizer::add(ctx, ruleset, FINALIZER).await?;
    let mut checked = check(ruleset, &key, ctx, shared).await?;
    let now = Timestamp::now();
    let digest = checked.rules.as_ref().ok().filter(|good| good.verdict.problems.is_empty()).map(|good| good.digest);
    let desired = Desired::of(&ruleset.spec, digest, now);
    let mut look_again = None;
    let (mut has, mut silence) = (None, None);
    match &resolved {
        Err(unresolved) => silence = Some(Silence { reason: unresolved.reason, message: unresolved.message.clone() }),
        Ok(Resolved { name, cell, .. }) => match bring(ruleset, &key, &desired, cell, ctx).await {
            Ok(brought) => {
                look_again = brought.look_again;
                has = brought.has;
            }
            Err(Failure::Cell(error @ cells::Error::Unreachable(_))) => {
                info!(ruleset = key.1, %error, "the ruleset waits for its orchestrator");
                let message = format!("Orchestrator {name} does not answer; see its conditions");
                silence = Some(Silence { reason: reason::ORCHESTRATOR_UNREACHABLE, message });
            }
            Err(Failure::Cell(cells::Error::Refused { code: Code::PermissionDenied, message })) => {
                let message = format!(
                    "Orchestrator {name} may not write to its object storage; check its spec.storage, and what is in the Secret \
                     that spec.storage.credentialsSecret names: {message}"
                );
                silence = Some(Silence { reason: reason::STORAGE_REFUSED, message });
            }
            Err(Failure::Cell(cells::Error::Refused { message, .. })) => {
                let message = format!("Orchestrator {name} refuses the ruleset: {message}");
                checked.rules = Err(Refusal { reason: reason::INVALID_SPEC, message });
            }
            Err(Failure::Refused(refusal)) => checked.rules = Err(refusal),
            Err(Failure::Frame(error)) => return Err(error),
        },
    }
    let seen = resolved.as_ref().ok().and_then(|resolved| resolved.cell.seen());
    let hunts: Option<Vec<Sighting>> = seen.as_ref().map(|seen| seen.hunts.get(&key.1).cloned().unwrap_or_default());
    let corpora = seen.as_ref().map(|seen| seen.corpora.keys().cloned().collect());
    let declared = shared.cells.declared_corpora(&key.0);
    let known = Known {
        spec: &ruleset.spec,
        generation: ruleset.metadata.generation,
        orchestrator: resolved.as_ref().map_or("", |resolved| &resolved.name),
        rules: match &checked.rules {
            Ok(good) => Rules::Checked { verdict: &good.verdict, places: &good.places },
            Err(refusal) => Rules::Refused(refusal),
        },
        intent: desired.intent,
        ruleset: has.as_ref(),
        hunts: hunts.as_deref(),
        corpora: corpora.as_ref(),
        declared_corpora: &declared,
        silence: silence.as_ref(),
        before: &before,
    };
    let (mut status, judgements) = status(&known);
    status.conditions =
        conditions::merge(Kind::YaraRuleset, &before.conditions, &judgements, ruleset.metadata.generation, now);
    frame::status::write(ctx, Kind::YaraRuleset, ruleset, ruleset.status.as_ref(), &status).await?;
    let waits = silence.is_some() || status.state == Some(crd::RulesetState::NoCorpus);
    let pending = status.state == Some(crd::RulesetState::Pending);
    let soonest = [look_again, waits.then_some(MISSING), pending.then_some(SOON)].into_iter().flatten().min();
    Ok(soonest.map_or(Outcome::Later, Outcome::After))
}

/// Finds out whether the rules compile, if that is not known yet.
async fn check(
    ruleset: &YaraRuleset,
    key: &(String, String),
    ctx: &Context,
    shared: &Shared,
) -> Result<Checked, Error> {
    let generation = ruleset.metadata.generation;
    if let Some(checked) = shared.memory.checked(key, generation) {
        return Ok(checked);
    }
    let since = shared.memory.now();
    let (sources, places) = match texts(ruleset, key, ctx, shared).await? {
        Ok(gathered) => gathered,
        Err(refusal) => {
            let checked = Checked { generation, rules: Err(refusal) };
            shared.memory.keep(key, since, checked.clone());
            return Ok(checked);
        }
    };
    let artifact = RulesetArtifact { format: RulesetArtifact::FORMAT, sources, units: Vec::new() };
    let digest = artifact.digest();
    let verdict = match shared.memory.verdict(key, digest) {
        Some(verdict) => Ok(verdict),
        None => shared.checker.check(&artifact.sources).await.map(Arc::new),
    };
    let rules = match verdict {
        Ok(verdict) => Ok(Good { digest, verdict, places: Arc::new(places) }),
        Err(error) if error.blames_rules() => Err(Refusal { reason: reason::RULES_BROKEN, message: error.to_string() }),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            return Err(Error::Other(format!("failed to check rules: {error}: {cause}")));
        }
    };
    let checked = Checked { generation, rules };
    shared.memory.keep(key, since, checked.clone());
    Ok(checked)
}

type Texts = Result<(Vec<RulesetSource>, BTreeMap<String, String>), Refusal>;

async fn texts(ruleset: &YaraRuleset, key: &(String, String), ctx: &Context, shared: &Shared) -> Result<Texts, Error> {
    let names = config_maps(&ruleset.spec.sources);
    shared.memory.reads(key, &names);
    let maps: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), &key.0);
    let mut found = BTreeMap::new();
    for name in names {
        ctx.metrics.request("get");
        let map = maps.get_opt(name).await.map_err(Error::api(format!("read ConfigMap {name}")))?;
        found.extend(map.map(|map| (name.to_owned(), map)));
    }
    Ok(gather(&ruleset.spec.sources, &found).map(|gathered| (gathered.sources, gathered.places)))
}

struct Brought {
    has: Option<v1::Ruleset>,
    look_again: Option<Duration>,
}

enum Failure {
    Cell(cells::Error),
    Refused(Refusal),
    Frame(Error),
}

impl From<cells::Error> for Failure {
    fn from(error: cells::Error) -> Self {
        Self::Cell(error)
    }
}

/// Takes the step that the plan asks for, and returns the ruleset as the cluster has it then.
async fn bring(
    ruleset: &YaraRuleset,
    key: &(String, String),
    desired: &Desired,
    cell: &Cell,
    ctx: &Context,
) -> Result<Brought, Failure> {
    let has = cell.ruleset(&key.1).await?;
    let plan = plan(desired, has.as_ref());
    let has = match plan.step {
        None => has,
        Some(Step::SetState(state)) => {
            cell.set_ruleset_state(&key.1, state).await?;
            let (word, note) = match state {
                v1::RulesetState::Paused => ("Paused", "it does not hunt until spec.paused is false"),
                v1::RulesetState::Retired => ("Expired", "spec.expires has passed: it does not hunt any more"),
                v1::RulesetState::Active | v1::RulesetState::Unspecified => ("Resumed", "it hunts again"),
            };
            ctx.tell(ruleset, word, note).await;
            cell.ruleset(&key.1).await?
        }
        Some(Step::Push) => {
            let pushed = push(ruleset, key, cell, ctx).await?;
            let number = pushed.version.as_ref().map_or(0, |version| version.number);
            let v1::PutRulesetResponse { created, units_new, units_carried, .. } = pushed;
            let note = match created {
                true => format!("version {number} hunts: {units_new} rules are new, {units_carried} are as before"),
                false => format!("version {number} hunts in the corpora of the spec"),
            };
            ctx.tell(ruleset, "Pushed", note).await;
            cell.ruleset(&key.1).await?
        }
    };
    Ok(Brought { has, look_again: plan.look_again })
}

async fn push(
    ruleset: &YaraRuleset,
    key: &(String, String),
    cell: &Cell,
    ctx: &Context,
) -> Result<v1::PutRulesetResponse, Failure> {
    // Read once more: texts are not kept between looks, there may be thousands of them.
    let names = config_maps(&ruleset.spec.sources);
    let maps: Api<ConfigMap> = Api::namespaced(ctx.client.clone(), &key.0);
    let mut found = BTreeMap::new();
    for name in names {
        ctx.metrics.request("get");
        let map = maps.get_opt(name).await.map_err(|error| Failure::Frame(Error::api("read a ConfigMap")(error)))?;
        found.extend(map.map(|map| (name.to_owned(), map)));
    }
    let sources = gather(&ruleset.spec.sources, &found).map_err(Failure::Refused)?.sources;
    let split = tokio::task::spawn_blocking(move || {
        let artifact = rules::split(sources);
        artifact.validate().map_err(|error| error.to_string())?;
        serde_json::to_vec(&artifact).map_err(|error| error.to_string())
    });
    let split = split.await.map_err(|error| Failure::Frame(Error::Other(format!("failed to split rules: {error}"))))?;
    let artifact = split.map_err(|message| Failure::Refused(Refusal { reason: reason::RULES_BROKEN, message }))?;
    let corpora = ruleset.spec.corpora.clone();
    Ok(cell.put_ruleset(&key.1, artifact, corpora, ruleset.spec.priority_class).await?)
}

/// The resource is being deleted: what it found stays, and it hunts no more.
async fn retire(
    ruleset: &YaraRuleset,
    before: &YaraRulesetStatus,
    resolved: Option<Resolved>,
    ctx: &Context,
    shared: &Shared,
) -> Result<Outcome, Error> {
    let key = (ruleset.namespace().unwrap_or_default(), ruleset.name_any());
    // An Orchestrator that goes as well takes the ruleset with it.
    if let Some(Resolved { name, is_going: false, cell }) = resolved {
        match cell.set_ruleset_state(&key.1, v1::RulesetState::Retired).await {
            Ok(()) => {}
            // It never was there, as far as anybody knows.
            Err(cells::Error::Unreachable(_)) if before.version.is_none() => {}
            Err(cells::Error::Unreachable(_)) => {
                let note = format!(
                    "the ruleset cannot be retired while Orchestrator {name} does not answer; it is tried again. To let the \
                     resource go anyway, remove its finalizer {FINALIZER}"
                );
                ctx.warn(ruleset, reason::ORCHESTRATOR_UNREACHABLE, note).await;
                return Ok(Outcome::After(MISSING));
            }
            Err(error @ cells::Error::Refused { .. }) => {
                warn!(ruleset = key.1, %error, "the ruleset cannot be retired")
            }
        }
    }
    shared.memory.forget(&key);
    finalizer::remove(ctx, ruleset, FINALIZER).await?;
    Ok(Outcome::Later)
}
