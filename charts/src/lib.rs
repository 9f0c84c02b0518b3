//! Checks of the charts, the quickstart and what belongs to them, by the programs that users have: helm renders, kubeconform
//! validates against the API's own schemas.
//!
//! ```text
//! charts/*, values ──helm template──► Rendered ──► assertions, golden files          tests/it/
//!                                        └──► kubeconform ◄── schemas ◄── published Go modules, crds/
//! ```
//!
//! The crate holds nothing that runs in a cluster.

mod helm;
mod objects;
mod schemas;

pub use helm::Helm;
pub use objects::{Object, documents, files_below};
pub use schemas::Schemas;
