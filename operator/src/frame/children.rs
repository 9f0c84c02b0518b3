//! What was made for resources, as the watch shows it: to look at without a request, and to hear of what changes.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc, time::Duration};

use futures::{StreamExt as _, future::BoxFuture};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{Deployment, StatefulSet},
        batch::v1::Job,
        core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service, ServiceAccount},
        policy::v1::PodDisruptionBudget,
    },
};
use kube::{
    Api, Client, Resource, ResourceExt as _,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt as _, reflector,
        reflector::{ObjectRef, Store},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::sync::broadcast;
use tracing::warn;

use super::{apply::Applied, labels};

/// Something that was made for the resource of this kind, namespace and name changed.
pub type Touched = (crd::Kind, String, String);

/// Touches that a controller has not looked at yet. One that falls behind so far looks at everything instead.
const TOUCHES: usize = 1024;
/// How long the first look at the cluster may take before the process gives up and is started anew.
const FIRST_LOOK: Duration = Duration::from_secs(120);

/// All objects of one kind that the operator made, in the namespaces it looks after.
#[derive(Clone, Debug)]
pub struct Cached<K: Resource<DynamicType = ()> + Clone + Debug + 'static> {
    stores: Vec<Store<K>>,
}

impl<K> Cached<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + Sync + 'static,
{
    /// The object, if there is one.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let reference = ObjectRef::new(name).within(namespace);
        self.stores.iter().find_map(|store| store.get(&reference))
    }

    /// Those of `namespace` that carry all of `labels`, by name.
    pub fn with_labels(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Vec<Arc<K>> {
        let matches = |object: &Arc<K>| {
            object.namespace().as_deref() == Some(namespace)
                && labels.iter().all(|(key, value)| object.labels().get(key) == Some(value))
        };
        let mut found: Vec<Arc<K>> = self.stores.iter().flat_map(Store::state).filter(matches).collect();
        found.sort_by_key(|object| object.name_any());
        found
    }

    /// All of `namespace`, by name.
    pub fn of(&self, namespace: &str) -> Vec<Arc<K>> {
        self.with_labels(namespace, &BTreeMap::new())
    }

    /// Everything.
    pub fn all(&self) -> Vec<Arc<K>> {
        self.stores.iter().flat_map(Store::state).collect()
    }
}

/// The caches. Each holds only what carries our label, and no managed fields.
#[derive(Clone, Debug)]
pub struct Children {
    pub pods: Cached<Pod>,
    pub stateful_sets: Cached<StatefulSet>,
    pub deployments: Cached<Deployment>,
    pub claims: Cached<PersistentVolumeClaim>,
    pub jobs: Cached<Job>,
    touched: broadcast::Sender<Touched>,
}

/// The work of keeping the caches; it ends only with an error of ours.
pub type Keeping = BoxFuture<'static, ()>;

impl Children {
    /// The caches, empty, and the work that fills and keeps them.
    pub fn new(client: &Client, namespaces: &[String], applied: &Arc<Applied>) -> (Self, Vec<Keeping>) {
        let (touched, _) = broadcast::channel(TOUCHES);
        let mut keeping = Vec::new();
        let mut maker = Maker { client, namespaces, applied, touched: &touched, keeping: &mut keeping };
        let children = Self {
            pods: maker.cache(),
            stateful_sets: maker.cache(),
            deployments: maker.cache(),
            claims: maker.cache(),
            jobs: maker.cache(),
            touched: touched.clone(),
        };
        // Of these only a change is of interest.
        maker.watch::<Service>();
        maker.watch::<ServiceAccount>();
        maker.watch::<ConfigMap>();
        maker.watch::<PodDisruptionBudget>();
        (children, keeping)
    }

    /// Hears of changes from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Touched> {
        self.touched.subscribe()
    }

    /// Waits until everything there is has been seen once. Until then a cache that is empty says nothing.
    pub async fn wait_until_seen(&self) -> bool {
        let all = async {
            let Self { pods, stateful_sets, deployments, claims, jobs, touched: _ } = self;
            seen(pods).await
                && seen(stateful_sets).await
                && seen(deployments).await
                && seen(claims).await
                && seen(jobs).await
        };
        tokio::time::timeout(FIRST_LOOK, all).await.unwrap_or(false)
    }
}

async fn seen<K>(cached: &Cached<K>) -> bool
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
{
    for store in &cached.stores {
        if store.wait_until_ready().await.is_err() {
            return false;
        }
    }
    true
}

struct Maker<'a> {
    client: &'a Client,
    namespaces: &'a [String],
    applied: &'a Arc<Applied>,
    touched: &'a broadcast::Sender<Touched>,
    keeping: &'a mut Vec<Keeping>,
}

impl Maker<'_> {
    /// Whole objects, kept and watched.
    fn cache<K>(&mut self) -> Cached<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    {
        let mut stores = Vec::new();
        for api in apis::<K>(self.client, self.namespaces) {
            let (store, writer) = reflector::store();
            stores.push(store);
            let (applied, touched) = (Arc::clone(self.applied), self.touched.clone());
            self.keeping.push(Box::pin(async move {
                let strip = |object: &mut K| object.managed_fields_mut().clear();
                let mut events = Box::pin(watcher(api, ours()).default_backoff().modify(strip).reflect(writer));
                while let Some(event) = events.next().await {
                    note::<K, K>(event, &applied, &touched);
                }
            }));
        }
        Cached { stores }
    }

    /// Only that something changed.
    fn watch<K>(&mut self)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + Sync + 'static,
    {
        for api in apis::<PartialObjectMeta<K>>(self.client, self.namespaces) {
            let (applied, touched) = (Arc::clone(self.applied), self.touched.clone());
            self.keeping.push(Box::pin(async move {
                let mut events = Box::pin(watcher(api, ours()).default_backoff());
                while let Some(event) = events.next().await {
                    note::<K, _>(event, &applied, &touched);
                }
            }));
        }
    }
}

/// `K`'s object changed; `O` is what the watch shows of it.
fn note<K: Resource<DynamicType = ()>, O: Resource<DynamicType = ()>>(
    event: Result<Event<O>, watcher::Error>,
    applied: &Applied,
    touched: &broadcast::Sender<Touched>,
) {
    let (object, gone) = match event {
        Ok(Event::Apply(object) | Event::InitApply(object)) => (object, false),
        Ok(Event::Delete(object)) => (object, true),
        Ok(Event::Init | Event::InitDone) => return,
        Err(error) => {
            warn!(kind = %K::kind(&()), %error, "a watch was interrupted");
            return;
        }
    };
    let meta = object.meta();
    applied.saw::<K>(meta, gone);
    if let Some((kind, name)) = meta.labels.as_ref().and_then(labels::owner) {
        // Nobody listens before controllers begin; they look at everything then.
        let _ = touched.send((kind, meta.namespace.clone().unwrap_or_default(), name.to_owned()));
    }
}

fn apis<K>(client: &Client, namespaces: &[String]) -> Vec<Api<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    if namespaces.is_empty() {
        return vec![Api::all(client.clone())];
    }
    namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect()
}

fn ours() -> watcher::Config {
    watcher::Config::default().labels(&format!("{}={}", labels::MANAGED_BY, labels::MANAGER))
}
