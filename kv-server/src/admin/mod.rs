//! The administrative HTTP of a server: metrics and health for machines, switching for people, and what a manager beside
//! the server says.
//!
//! ```text
//! GET  /metrics /healthz /readyz         Prometheus text; "the process lives"; "every dataset is served"
//! GET  /datasets                         the state of every dataset, as JSON
//! POST /datasets/{name}/switch           {"version": "000007-1a2b3c4d"}, or {} for the one that is ready
//! POST /datasets/{name}/rollback         back to the version before, which is not chosen again by itself
//! PUT  /topology                         a newer topology of the cluster
//! POST /datasets/{name}/manage           a manager beside the server: open, switch, close, report
//! ```
//!
//! Everything is bounded: bodies, headers, connections, and the time that each of these may take. On an address that others
//! can reach, what changes something needs a token; what only tells does not need one unless there is one.
//!
//! Deliberately not here: what an order means ([`crate::manage`]), and TLS, which a mesh or a proxy does better.

mod access;
mod answer;
mod routes;
mod serve;

use std::{path::PathBuf, sync::Arc};

pub use access::Token;
pub use serve::{Server, serve};

use crate::manage::Desks;

/// What the routes act on. Whoever wires the process together hands it in.
pub struct Admin {
    pub desks: Arc<Desks>,
    /// The whole exposition, in Prometheus' text format.
    pub metrics: Box<dyn Fn() -> String + Send + Sync>,
    /// Why the server is not ready, if it is not; besides the datasets, which are looked at here.
    pub ready: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
    /// Applies a topology and returns the epoch that holds afterwards, or why it was refused.
    pub topology: ApplyTopology,
    pub token: Option<Token>,
}

pub type ApplyTopology = Box<dyn Fn(&[u8]) -> Result<u64, String> + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to listen on {address} for administration: is the port taken?")]
    Listen { address: std::net::SocketAddr, source: std::io::Error },
    #[error("failed to read the admin token in {path}")]
    ReadToken { path: PathBuf, source: std::io::Error },
    #[error("the admin token in {path} is shorter than 16 characters")]
    ShortToken { path: PathBuf },
}
