//! Orchestrator: the members of a Raft cluster, as a StatefulSet whose pods the operator replaces itself.
//!
//! ```text
//! caches, members ──observe──► Observed ──plan──► Plan ──execute──► objects, one step
//!                                            └──status──► conditions, members, backlog
//! ```

mod backups;
mod cluster;
mod execute;
mod objects;
mod observe;
mod observed;
mod plan;
mod status;
#[cfg(test)]
mod tests;
mod turns;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crd::{Kind, Orchestrator};
use futures::StreamExt as _;
use jiff::Timestamp;
use kube::ResourceExt as _;
use tokio_util::sync::CancellationToken;

use crate::{
    fail_point,
    frame::{self, Context, Error, Outcome, status as frame_status, volumes},
};
use plan::{SetPlan, Step};
use turns::Turns;

pub(crate) use cluster::Peer;
pub(crate) use observe::host as member_host;
pub(crate) use status::rough;

/// Members are asked so often when nothing is going on; it costs the API server nothing.
const QUIET: Duration = Duration::from_secs(10);
/// While something is.
const BUSY: Duration = Duration::from_secs(2);
/// After a step: there is likely another.
const NEXT: Duration = Duration::from_millis(500);

/// A backlog is asked for no more often.
const BACKLOG_AGE: jiff::SignedDuration = jiff::SignedDuration::from_secs(10);

/// A backlog by class, and when the leader said so.
type Asked = (Timestamp, Vec<(String, u64)>);

/// What outlasts one look.
#[derive(Default)]
struct Memory {
    turns: Turns,
    /// The backlog of each, and when it was asked for: it costs the leader something to say.
    backlogs: Mutex<BTreeMap<(String, String), Asked>>,
    /// When the last backup of each failed.
    failed_backups: Mutex<BTreeMap<(String, String), Timestamp>>,
}

/// Runs the controller until `stop`.
pub async fn run(ctx: Arc<Context>, stop: CancellationToken) {
    let memory = Arc::new(Memory::default());
    let reconcile = move |orchestrator: Arc<Orchestrator>, ctx: Arc<Context>| {
        let memory = Arc::clone(&memory);
        async move { reconcile(&orchestrator, &ctx, &memory).await }
    };
    frame::run(ctx, Kind::Orchestrator, stop, futures::stream::pending().boxed(), reconcile).await;
}

async fn reconcile(orchestrator: &Orchestrator, ctx: &Context, memory: &Memory) -> Result<Outcome, Error> {
    if orchestrator.metadata.deletion_timestamp.is_some() {
        // Owner references take everything along, and the volumes' policy what is left.
        return Ok(Outcome::Later);
    }
    let key = (orchestrator.namespace().unwrap_or_default(), orchestrator.name_any());
    let mut observed = observe::observe(ctx, orchestrator, false).await;
    add_backlog(ctx, memory, &key, &mut observed).await;
    let mut planned = plan::plan(&observed);
    if planned.roll.as_ref().is_some_and(|roll| roll.staged) {
        let begun =
            orchestrator.status.as_ref().and_then(|status| status.roll.as_ref()).is_some_and(|roll| !roll.staged);
        observed.turn = memory.turns.take(&key, begun, ctx.settings.upgrades_at_a_time);
        planned = plan::plan(&observed);
    } else if planned.roll.is_some() {
        // Begun by a process before this one, or asked for: either way others wait for it.
        memory.turns.take(&key, true, ctx.settings.upgrades_at_a_time);
    } else if turns::is_over(&planned) {
        memory.turns.give_back(&key);
    }
    if orchestrator.spec.paused {
        planned = plan::Plan { set: SetPlan::Leave, grow: Vec::new(), step: paused(planned.step), roll: planned.roll };
    }

    let (done, failed) = carry_out(ctx, &observed, &planned).await;
    let failed_at = memory.failed_backups.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
    let backup = if orchestrator.spec.paused {
        orchestrator.status.as_ref().and_then(|status| status.backup.clone())
    } else {
        backups::look(ctx, &observed, failed_at).await
    };
    note_backup(memory, &key, backup.as_ref(), orchestrator, observed.now);

    let (next, moved) = done;
    if let Some(next) = next {
        observed.resource.status = Some(next);
    }
    let status = status::status(&observed, &planned, backup, failed.as_ref());
    frame_status::write(ctx, Kind::Orchestrator, orchestrator, orchestrator.status.as_ref(), &status).await?;
    if let Step::Choose { .. } = planned.step {
        fail_point::reach(fail_point::AFTER_CLUSTER_ID);
    }
    // A volume that may not grow is told in the status, and all else goes on at its own pace.
    match failed.filter(|error| !volumes::is_refusal(error)) {
        Some(error) => Err(error),
        None if moved => Ok(Outcome::After(NEXT)),
        None if planned.step == Step::Nothing && planned.roll.is_none() && planned.grow.is_empty() => {
            Ok(Outcome::After(QUIET))
        }
        None => Ok(Outcome::After(BUSY)),
    }
}

/// Fills in the leader's backlog, anew if it is old.
async fn add_backlog(ctx: &Context, memory: &Memory, key: &(String, String), observed: &mut observed::Observed) {
    let Some((leading, _)) = observed.leader() else { return };
    let known = memory.backlogs.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
    let fresh = known.filter(|(at, _)| observed.now.duration_since(*at) < BACKLOG_AGE).map(|(_, backlog)| backlog);
    let backlog = match fresh {
        Some(backlog) => backlog,
        None => {
            let Some(Ok(mut peer)) = member_host(ctx, &observed.resource, leading).map(|host| Peer::new(&host)) else {
                return;
            };
            let Ok(answer) = peer.status(false).await else { return };
            let mut backlogs = memory.backlogs.lock().unwrap_or_else(PoisonError::into_inner);
            backlogs.insert(key.clone(), (observed.now, answer.backlog.clone()));
            answer.backlog
        }
    };
    if let Some(answer) = observed.pods.get_mut(&leading).and_then(|pod| pod.answer.as_mut()) {
        answer.backlog = backlog;
    }
}

type Done = (Option<crd::OrchestratorStatus>, bool);

/// Objects first: a step may need the pods that they make.
async fn carry_out(ctx: &Context, observed: &observed::Observed, planned: &plan::Plan) -> (Done, Option<Error>) {
    let nothing = (None, false);
    if observed.resource.spec.paused {
        return (nothing, None);
    }
    // Members can be looked after even if a volume cannot be made larger.
    let objects = execute::objects(ctx, observed, planned).await.err();
    if objects.as_ref().is_some_and(|error| matches!(error, Error::NameTaken { .. })) {
        return (nothing, objects);
    }
    match execute::step(ctx, observed, &planned.step).await {
        Ok(done) => (done, objects),
        Err(error) => (nothing, Some(objects.unwrap_or(error))),
    }
}

/// What is lost is said even while nothing may be changed.
fn paused(step: Step) -> Step {
    match step {
        step @ (Step::Nothing | Step::Stuck { .. } | Step::Wait { .. }) => step,
        _change => Step::Wait {
            reason: crd::reason::PAUSED_BY_SPEC,
            message: "there is something to do, and spec.paused is true".to_owned(),
        },
    }
}

fn note_backup(
    memory: &Memory,
    key: &(String, String),
    backup: Option<&crd::BackupStatus>,
    orchestrator: &Orchestrator,
    now: Timestamp,
) {
    let before = orchestrator.status.as_ref().and_then(|status| status.backup.as_ref());
    let mut failed = memory.failed_backups.lock().unwrap_or_else(PoisonError::into_inner);
    match backup.and_then(|backup| backup.error.as_ref()) {
        None => {
            failed.remove(key);
        }
        Some(_) if backup != before || !failed.contains_key(key) => {
            failed.insert(key.clone(), now);
        }
        Some(_same) => {
            // Tried again in this look and failed alike, or not tried.
            if failed.get(key).is_some_and(|at| now.duration_since(*at) >= jiff::SignedDuration::from_secs(60)) {
                failed.insert(key.clone(), now);
            }
        }
    }
}
