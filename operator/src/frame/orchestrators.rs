//! Which Orchestrator a resource means, and where it answers.

use std::sync::Arc;

use crd::{Orchestrator, OrchestratorRef, reason};
use futures::StreamExt as _;
use kube::{
    Api, Client, ResourceExt as _,
    runtime::{
        WatchStreamExt as _, reflector,
        reflector::{ObjectRef, Store},
        watcher::{self, watcher},
    },
};
use tracing::warn;

use super::{Watched, children::Keeping};

/// Port of an orchestrator's services: for clients, workers and the other members.
pub const GRPC_PORT: i32 = 7601;

/// All Orchestrators of the namespaces looked after, as the watch shows them.
pub struct Orchestrators {
    stores: Vec<Store<Watched<Orchestrator>>>,
}

/// Why a reference leads nowhere: a reason for conditions, and words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    pub reason: &'static str,
    pub message: String,
}

impl Orchestrators {
    pub(super) fn new(client: &Client, namespaces: &[String]) -> (Self, Vec<Keeping>) {
        let apis: Vec<Api<Watched<Orchestrator>>> = if namespaces.is_empty() {
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
                        warn!(kind = "Orchestrator", %error, "a watch was interrupted");
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

    /// The Orchestrator that `reference` means in `namespace`: the named one, or the only one.
    pub fn resolve(
        &self,
        namespace: &str,
        reference: Option<&OrchestratorRef>,
    ) -> Result<Arc<Watched<Orchestrator>>, Unresolved> {
        if let Some(OrchestratorRef { name }) = reference {
            let key = ObjectRef::new(name).within(namespace);
            return self.stores.iter().find_map(|store| store.get(&key)).ok_or_else(|| Unresolved {
                reason: reason::REFERENCE_NOT_FOUND,
                message: format!("spec.orchestratorRef.name: there is no Orchestrator {name} in namespace {namespace}"),
            });
        }
        let mut here = self.of(namespace);
        match (here.pop(), here.len()) {
            (Some(only), 0) => Ok(only),
            (None, _) => Err(Unresolved {
                reason: reason::REFERENCE_NOT_FOUND,
                message: format!("there is no Orchestrator in namespace {namespace}; create one"),
            }),
            (Some(_), others) => Err(Unresolved {
                reason: reason::ORCHESTRATOR_AMBIGUOUS,
                message: format!(
                    "there are {} Orchestrators in namespace {namespace}; say which one with spec.orchestratorRef.name",
                    others + 1
                ),
            }),
        }
    }

    /// Those of `namespace`, by name.
    pub fn of(&self, namespace: &str) -> Vec<Arc<Watched<Orchestrator>>> {
        let here = |object: &Arc<Watched<Orchestrator>>| object.namespace().as_deref() == Some(namespace);
        let mut found: Vec<_> = self.stores.iter().flat_map(Store::state).filter(here).collect();
        found.sort_by_key(|object| object.name_any());
        found
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Watched<Orchestrator>>> {
        self.stores.iter().flat_map(Store::state).collect()
    }
}

/// Where clients reach the Orchestrator `name`: any member that is ready.
pub fn client_address(namespace: &str, name: &str) -> String {
    format!("{name}-orchestrator.{namespace}.svc:{GRPC_PORT}")
}

/// Where one member answers, ready or not.
pub fn member_address(namespace: &str, name: &str, ordinal: i32) -> String {
    format!("{name}-orchestrator-{ordinal}.{name}-orchestrator-peers.{namespace}.svc:{GRPC_PORT}")
}

/// All of these, the members one by one last: a client that knows them finds the leader also when the Service does not.
pub fn addresses(namespace: &str, name: &str, replicas: i32) -> Vec<String> {
    let members = (0..replicas.max(1)).map(|ordinal| member_address(namespace, name, ordinal));
    std::iter::once(client_address(namespace, name)).chain(members).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_names_that_stay() {
        assert_eq!(
            addresses("n", "x", 1),
            ["x-orchestrator.n.svc:7601", "x-orchestrator-0.x-orchestrator-peers.n.svc:7601"]
        );
    }
}
