//! Brings the cluster to what Corpora say, and their statuses to what the cluster says.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crd::{Corpus, Kind, reason};
use futures::{Stream, StreamExt as _};
use jiff::Timestamp;
use kube::{ResourceExt as _, runtime::reflector::ObjectRef};
use protocol::v1;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::plan::{Known, State, is_same, request, status};
use crate::{
    cells::{self, Cell, Cells, Resolved, finalizer},
    frame::{self, Context, Error, Outcome, conditions},
    judgement::Judgement,
};

/// A corpus that is deleted is given up by the cluster first: else it would be listed for ever.
const FINALIZER: &str = "dragnet.dev/give-up";
/// Until the feed tells what it knows of a corpus that was put just now.
const SOON: Duration = Duration::from_secs(5);
/// While something is missing that nobody here watches.
const MISSING: Duration = Duration::from_secs(15);

/// What was put last, so that what the cluster does not tell back is not put again and again.
type Put = Arc<Mutex<BTreeMap<(String, String), v1::PutCorpusRequest>>>;

pub(crate) async fn run(
    ctx: Arc<Context>,
    cells: Arc<Cells>,
    wakes: impl Stream<Item = ObjectRef<Corpus>> + Send + 'static,
    stop: CancellationToken,
) {
    let put = Put::default();
    let reconcile = move |corpus: Arc<Corpus>, ctx: Arc<Context>| {
        let (cells, put) = (Arc::clone(&cells), Arc::clone(&put));
        async move { reconcile(&corpus, &ctx, &cells, &put).await }
    };
    frame::run(ctx, Kind::Corpus, stop, wakes.boxed(), reconcile).await;
}

async fn reconcile(corpus: &Corpus, ctx: &Context, cells: &Cells, put: &Put) -> Result<Outcome, Error> {
    let key = (corpus.namespace().unwrap_or_default(), corpus.name_any());
    let before = corpus.status.clone().unwrap_or_default();
    let reference = corpus.spec.orchestrator_ref.as_ref();
    let resolved = cells::resolve(ctx, cells, &key.0, reference, before.orchestrator.as_deref());
    if corpus.metadata.deletion_timestamp.is_some() {
        cells.withdraw_corpus(&key.0, &key.1);
        put.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        return give_up(corpus, before.orchestrator.is_some(), resolved.ok(), ctx).await;
    }
    finalizer::add(ctx, corpus, FINALIZER).await?;
    cells.declare_corpus(&key.0, &key.1);
    let missing = missing_datasets(corpus, &key.0, ctx);
    let known = |orchestrator, state| Known {
        spec: &corpus.spec,
        generation: corpus.metadata.generation,
        orchestrator,
        state,
        missing_datasets: &missing,
    };
    let mut waits = !missing.is_empty();
    let (mut status, judgements) = match &resolved {
        Err(unresolved) => {
            waits = true;
            let (status, mut judgements) = status(&known("", State::Silent));
            explain(&mut judgements, unresolved.reason, &unresolved.message);
            (crd::CorpusStatus { orchestrator: None, ..status }, judgements)
        }
        Ok(Resolved { name, cell, .. }) => {
            let brought = bring(corpus, &key, cell, ctx, put).await;
            let state = match &brought {
                Ok(Some(corpus)) => State::There(corpus),
                Ok(None) if corpus.spec.paused => State::NeverPut,
                Ok(None) => State::Coming,
                Err(Failure::Refused(message)) => State::Refused(message),
                Err(Failure::Silent(error)) => {
                    info!(corpus = key.1, %error, "the corpus waits for its orchestrator");
                    State::Silent
                }
            };
            waits |= matches!(state, State::Silent | State::Refused(_));
            status(&known(name, state))
        }
    };
    let is_silent = judgements.iter().any(|it| it.condition == crd::ConditionType::Listed && it.holds.is_none());
    if is_silent && before.observed_generation.is_some() {
        // Numbers stay while nobody tells new ones.
        let generation = status.observed_generation;
        let orchestrator = status.orchestrator.or(before.orchestrator.clone());
        status = crd::CorpusStatus { observed_generation: generation, orchestrator, ..before.clone() };
    }
    status.conditions =
        conditions::merge(Kind::Corpus, &before.conditions, &judgements, corpus.metadata.generation, Timestamp::now());
    frame::status::write(ctx, Kind::Corpus, corpus, corpus.status.as_ref(), &status).await?;
    Ok(match (waits, is_silent) {
        (_, true) => Outcome::After(SOON),
        (true, false) => Outcome::After(MISSING),
        (false, false) => Outcome::Later,
    })
}

/// Why nobody answers: there is nobody to ask.
fn explain(judgements: &mut [Judgement], reason: &'static str, message: &str) {
    for judgement in judgements {
        if judgement.reason == reason::ORCHESTRATOR_UNREACHABLE {
            (judgement.reason, judgement.message) = (reason, message.to_owned());
        }
    }
}

enum Failure {
    Silent(cells::Error),
    Refused(String),
}

impl From<cells::Error> for Failure {
    fn from(error: cells::Error) -> Self {
        match error {
            cells::Error::Unreachable(_) => Self::Silent(error),
            cells::Error::Refused { message, .. } => Self::Refused(message),
        }
    }
}

/// Puts the corpus if the cluster has it otherwise, and returns it as the cluster has it.
async fn bring(
    corpus: &Corpus,
    key: &(String, String),
    cell: &Cell,
    ctx: &Context,
    put: &Put,
) -> Result<Option<v1::Corpus>, Failure> {
    let wanted = request(&key.1, &corpus.spec).map_err(Failure::Refused)?;
    let seen = match cell.seen() {
        Some(seen) => seen.corpora.get(&key.1).cloned(),
        None => None,
    };
    let was_put = put.lock().unwrap_or_else(PoisonError::into_inner).get(key) == Some(&wanted);
    let is_there = seen.as_ref().is_some_and(|seen| is_same(&wanted, seen));
    if corpus.spec.paused || (was_put && (is_there || seen.is_none())) {
        return match seen {
            Some(seen) => Ok(Some(seen)),
            None => Ok(cell.corpora().await?.remove(&key.1)),
        };
    }
    let answer = cell.put_corpus(wanted.clone()).await?;
    put.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), wanted);
    if answer.created {
        ctx.tell(corpus, "Created", "the Orchestrator keeps its files under examination from now on").await;
    } else if seen.is_some() && !is_there {
        ctx.tell(corpus, "Changed", "the Orchestrator knows of the change").await;
    }
    Ok(cell.corpora().await?.remove(&key.1))
}

/// Datasets that the spec names, and nobody has made.
fn missing_datasets(corpus: &Corpus, namespace: &str, ctx: &Context) -> Vec<String> {
    let is_missing = |name: &&String| ctx.datasets.get(namespace, name).is_none();
    corpus.spec.datasets.iter().filter(is_missing).cloned().collect()
}

/// The resource is being deleted: its files are not listed any more, and rulesets do not hunt in it.
async fn give_up(corpus: &Corpus, was_kept: bool, resolved: Option<Resolved>, ctx: &Context) -> Result<Outcome, Error> {
    // An Orchestrator that goes as well takes the corpus with it.
    if let Some(Resolved { name, is_going: false, cell }) = resolved {
        match cell.delete_corpus(&corpus.name_any()).await {
            Ok(()) => {}
            // It never was there, as far as anybody knows.
            Err(cells::Error::Unreachable(_)) if !was_kept => {}
            Err(cells::Error::Unreachable(_)) => {
                let note = format!(
                    "the corpus cannot be given up while Orchestrator {name} does not answer; it is tried again. To let the \
                     resource go anyway, remove its finalizer {FINALIZER}"
                );
                ctx.warn(corpus, reason::ORCHESTRATOR_UNREACHABLE, note).await;
                return Ok(Outcome::After(MISSING));
            }
            Err(error @ cells::Error::Refused { .. }) => {
                warn!(corpus = corpus.name_any(), %error, "the corpus cannot be given up");
            }
        }
    }
    finalizer::remove(ctx, corpus, FINALIZER).await?;
    Ok(Outcome::Later)
}
