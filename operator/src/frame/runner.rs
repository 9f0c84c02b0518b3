//! One controller: what it watches, how many it looks at a time, what happens when looking fails.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crd::Kind;
use futures::{Stream, StreamExt as _, TryStreamExt as _, future::join_all, stream, stream::BoxStream};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Resource, ResourceExt as _,
    runtime::{
        WatchStreamExt as _,
        controller::{self, Action, ReconcileReason, ReconcileRequest},
        reflector::{self, ObjectRef},
        watcher::{self, watcher},
    },
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{sync::broadcast::error::RecvError, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug, info_span, warn};

use super::{Context, Error, Watched, status};

/// Resources of one kind that are looked at in the same moment. Looking waits for networks, not for the CPU.
const AT_A_TIME: u16 = 8;
/// Pods report several times within a moment what is one change to us.
const DEBOUNCE: Duration = Duration::from_millis(300);
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// Without any reason to, everything is looked at so often: it would mend what a lost watch event broke.
const RESYNC: Duration = Duration::from_secs(600);

/// When to look at a resource again, if nothing changes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Later,
    After(Duration),
}

/// Runs the controller of `K` until `stop`: calls `reconcile` for every resource that changed, whose children changed, that
/// `wakes` names, or whose time has come; never twice at a time for one.
pub async fn run<K, F, Fut>(
    ctx: Arc<Context>,
    kind: Kind,
    stop: CancellationToken,
    wakes: BoxStream<'static, ObjectRef<K>>,
    reconcile: F,
) where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static,
    F: Fn(Arc<K>, Arc<Context>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Outcome, Error>> + Send + 'static,
{
    let apis: Vec<Api<Watched<K>>> = if ctx.settings.namespaces.is_empty() {
        vec![Api::all(ctx.client.clone())]
    } else {
        ctx.settings.namespaces.iter().map(|namespace| Api::namespaced(ctx.client.clone(), namespace)).collect()
    };
    // A wake-up goes to all controllers of the kind; those that do not have the resource ignore it.
    let (sender, _) = tokio::sync::broadcast::channel::<ObjectRef<K>>(1024);
    let relay = relay(wakes, sender.clone(), stop.clone());
    let controllers = apis.into_iter().map(|api| {
        let woken = received(sender.subscribe());
        one(Arc::clone(&ctx), kind, api, stop.clone(), woken, reconcile.clone())
    });
    let controllers: Vec<_> = controllers.collect();
    tokio::join!(relay, join_all(controllers));
}

async fn one<K, F, Fut>(
    ctx: Arc<Context>,
    kind: Kind,
    api: Api<Watched<K>>,
    stop: CancellationToken,
    woken: BoxStream<'static, ObjectRef<K>>,
    reconcile: F,
) where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + Serialize + DeserializeOwned + Send + Sync + 'static,
    F: Fn(Arc<K>, Arc<Context>) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Outcome, Error>> + Send + 'static,
{
    let retries = Arc::new(Retries::default());
    let touched = touched::<K>(&ctx, kind);
    let config = controller::Config::default().concurrency(AT_A_TIME).debounce(DEBOUNCE);
    let looked = {
        let retries = Arc::clone(&retries);
        move |watched: Arc<Watched<K>>, ctx: Arc<Context>| {
            let (reconcile, retries) = (reconcile.clone(), Arc::clone(&retries));
            Box::pin(async move { look(watched, ctx, kind, reconcile, &retries).await })
        }
    };
    let failed = {
        let retries = Arc::clone(&retries);
        move |watched: Arc<Watched<K>>, error: &Error, ctx: Arc<Context>| {
            let wait = retries.failed(&key(watched.as_ref()));
            let name = watched.name_any();
            if error.is_conflict() {
                debug!(%kind, name, "somebody else wrote in between; looking again");
                return Action::requeue(FIRST_RETRY);
            }
            ctx.metrics.failed(kind);
            warn!(%kind, namespace = watched.namespace(), name, error = error.words(), ?wait, "failed; trying again");
            Action::requeue(wait)
        }
    };
    let woken =
        woken.map(|reference| ObjectRef::new(&reference.name).within(reference.namespace.as_deref().unwrap_or("")));
    let (store, writer) = reflector::store();
    let changed = watcher(api, watcher::Config::default()).default_backoff().reflect(writer).applied_objects();
    let changed = changed.map_ok(|object| ReconcileRequest {
        obj_ref: ObjectRef::from_obj(&object),
        reason: ReconcileReason::ObjectUpdated,
    });
    let others = stream::select(touched, woken).map(|reference| Ok(ReconcileRequest::from(reference)));
    let queue = stream::select(changed, others).take_until(stop.cancelled_owned());
    controller::applier(looked, failed, ctx, store, Box::pin(queue), config)
        .for_each(|result| {
            if let Err(controller::Error::QueueError(error)) = result {
                warn!(%kind, %error, "a watch was interrupted");
            }
            std::future::ready(())
        })
        .await;
}

async fn look<K, F, Fut>(
    watched: Arc<Watched<K>>,
    ctx: Arc<Context>,
    kind: Kind,
    reconcile: F,
    retries: &Retries,
) -> Result<Action, Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned,
    F: Fn(Arc<K>, Arc<Context>) -> Fut,
    Fut: Future<Output = Result<Outcome, Error>>,
{
    let (namespace, name) = (watched.namespace().unwrap_or_default(), watched.name_any());
    let span = info_span!("reconcile", %kind, namespace, name);
    let begin = Instant::now();
    let outcome = match &watched.0 {
        Ok(object) => reconcile(Arc::new(object.clone()), Arc::clone(&ctx)).instrument(span).await,
        Err(invalid) => status::write_invalid::<K>(&ctx, kind, invalid).instrument(span).await.map(|()| Outcome::Later),
    };
    ctx.metrics.looked(kind, begin.elapsed());
    let outcome = outcome?;
    retries.succeeded(&key(watched.as_ref()));
    Ok(match outcome {
        Outcome::Later => Action::requeue(RESYNC),
        Outcome::After(wait) => Action::requeue(wait.min(RESYNC)),
    })
}

/// Resources whose children changed. Who fell behind hears of nothing and is helped by the resync, so the bound is generous.
fn touched<K>(ctx: &Arc<Context>, kind: Kind) -> impl Stream<Item = ObjectRef<Watched<K>>> + Send + 'static
where
    K: Resource<DynamicType = ()> + Send + 'static,
{
    received(ctx.children.subscribe()).filter_map(move |(of, namespace, name): (Kind, String, String)| {
        let reference = (of == kind).then(|| ObjectRef::new(&name).within(&namespace));
        std::future::ready(reference)
    })
}

fn received<T: Clone + Send + 'static>(receiver: tokio::sync::broadcast::Receiver<T>) -> BoxStream<'static, T> {
    stream::unfold(receiver, |mut receiver| async move {
        loop {
            match receiver.recv().await {
                Ok(item) => return Some((item, receiver)),
                Err(RecvError::Lagged(missed)) => warn!(missed, "changes came faster than they could be looked at"),
                Err(RecvError::Closed) => return None,
            }
        }
    })
    .boxed()
}

async fn relay<K: Resource<DynamicType = ()>>(
    mut wakes: BoxStream<'static, ObjectRef<K>>,
    sender: tokio::sync::broadcast::Sender<ObjectRef<K>>,
    stop: CancellationToken,
) {
    let forward = async {
        while let Some(reference) = wakes.next().await {
            // Without a receiver the controllers have ended.
            let _ = sender.send(reference);
        }
        std::future::pending::<()>().await;
    };
    tokio::select! { () = forward => {}, () = stop.cancelled() => {} }
}

/// How often each resource failed in a row.
#[derive(Default)]
struct Retries(Mutex<BTreeMap<(String, String), u32>>);

impl Retries {
    /// One second, two, four, up to a minute.
    fn failed(&self, key: &(String, String)) -> Duration {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key.clone()).or_insert(0);
        let wait = FIRST_RETRY.saturating_mul(2_u32.saturating_pow(*count)).min(LONGEST_RETRY);
        *count = count.saturating_add(1);
        wait
    }

    fn succeeded(&self, key: &(String, String)) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

fn key<K: Resource<DynamicType = ()>>(watched: &Watched<K>) -> (String, String) {
    (watched.namespace().unwrap_or_default(), watched.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_fails_again_waits_longer_and_never_more_than_a_minute() {
        let (retries, key) = (Retries::default(), ("n".to_owned(), "x".to_owned()));
        let waits: Vec<u64> = (0..8).map(|_| retries.failed(&key).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        retries.succeeded(&key);
        assert_eq!(retries.failed(&key), FIRST_RETRY);
    }
}
