//! Resources of ours that others refer to, as the watch shows them.

use std::{fmt::Debug, sync::Arc};

use futures::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource, ResourceExt as _,
    runtime::{
        WatchStreamExt as _, reflector,
        reflector::{ObjectRef, Store},
        watcher::{self, watcher},
    },
};
use serde::de::DeserializeOwned;
use tracing::warn;

use super::{Watched, children::Keeping};

/// All resources of one kind in the namespaces looked after.
pub struct Known<K: Resource<DynamicType = ()> + Clone + Debug + 'static> {
    stores: Vec<Store<Watched<K>>>,
}

impl<K> Known<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    pub(super) fn new(client: &Client, namespaces: &[String]) -> (Self, Vec<Keeping>) {
        let apis: Vec<Api<Watched<K>>> = if namespaces.is_empty() {
            vec![Api::all(client.clone())]
        } else {
            namespaces.iter().map(|namespace| Api::namespaced(client.clone(), namespace)).collect()
        };
        let (mut stores, mut keeping): (Vec<_>, Vec<Keeping>) = (Vec::new(), Vec::new());
        for api in apis {
            let (store, writer) = reflector::store();
            stores.push(store);
            keeping.push(Box::pin(async move {
                let events = watcher(api, watcher::Config::default()).default_backoff().reflect(writer);
                let mut events = Box::pin(events);
                while let Some(event) = events.next().await {
                    if let Err(error) = event {
                        warn!(kind = %K::kind(&()), %error, "a watch was interrupted");
                    }
                }
            }));
        }
        (Self { stores }, keeping)
    }

    /// Waits until all there are have been seen once.
    pub async fn wait_until_seen(&self) -> bool {
        for store in &self.stores {
            if store.wait_until_ready().await.is_err() {
                return false;
            }
        }
        true
    }

    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<Watched<K>>> {
        let key = ObjectRef::new(name).within(namespace);
        self.stores.iter().find_map(|store| store.get(&key))
    }

    /// Those of `namespace`, by name.
    pub fn of(&self, namespace: &str) -> Vec<Arc<Watched<K>>> {
        let here = |object: &Arc<Watched<K>>| object.namespace().as_deref() == Some(namespace);
        let mut found: Vec<_> = self.stores.iter().flat_map(Store::state).filter(here).collect();
        found.sort_by_key(|object| object.name_any());
        found
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Watched<K>>> {
        self.stores.iter().flat_map(Store::state).collect()
    }
}
