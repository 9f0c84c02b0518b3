//! Which Orchestrator a resource means, and where it answers.

use std::sync::Arc;

use crd::{Orchestrator, OrchestratorRef, reason};
use kube::Client;

use super::{Watched, children::Keeping, known::Known};

/// Port of an orchestrator's services: for clients, workers and the other members.
pub const GRPC_PORT: i32 = 7601;

/// All Orchestrators of the namespaces looked after.
pub struct Orchestrators(Known<Orchestrator>);

/// Why a reference leads nowhere: a reason for conditions, and words for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    pub reason: &'static str,
    pub message: String,
}

impl Orchestrators {
    pub(super) fn new(client: &Client, namespaces: &[String]) -> (Self, Vec<Keeping>) {
        let (known, keeping) = Known::new(client, namespaces);
        (Self(known), keeping)
    }

    /// Waits until all there are have been seen once.
    pub async fn wait_until_seen(&self) -> bool {
        self.0.wait_until_seen().await
    }

    /// The Orchestrator that `reference` means in `namespace`: the named one, or the only one.
    pub fn resolve(
        &self,
        namespace: &str,
        reference: Option<&OrchestratorRef>,
    ) -> Result<Arc<Watched<Orchestrator>>, Unresolved> {
        if let Some(OrchestratorRef { name }) = reference {
            return self.0.get(namespace, name).ok_or_else(|| Unresolved {
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

    /// The same for a resource that was with the Orchestrator `before`, which stays meant if the spec names none, although there may be
    /// several by now.
    pub fn resolve_as_before(
        &self,
        namespace: &str,
        reference: Option<&OrchestratorRef>,
        before: Option<&str>,
    ) -> Result<Arc<Watched<Orchestrator>>, Unresolved> {
        let remembered = before.filter(|_| reference.is_none()).and_then(|name| self.0.get(namespace, name));
        remembered.map_or_else(|| self.resolve(namespace, reference), Ok)
    }

    /// Those of `namespace`, by name.
    pub fn of(&self, namespace: &str) -> Vec<Arc<Watched<Orchestrator>>> {
        self.0.of(namespace)
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<Watched<Orchestrator>>> {
        self.0.all()
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
