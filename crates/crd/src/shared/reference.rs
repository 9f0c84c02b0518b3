use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// An object of the same namespace, by name.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The Orchestrator this belongs to, of the same namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrchestratorRef {
    /// Its name.
    #[schemars(length(min = 1, max = 39))]
    pub name: String,
}
