//! Facts about files, looked up in key-value servers while the files are scanned.
//!
//! ```text
//! Datasets::lookup ──► Dataset: keys by hash slot ──► Node: breaker ──► connection ──► KV.VERSION, MGET.., KV.VERSION
//!                          ▲                             │
//!                      Topology ◄── MOVED, lost node ────┘
//! ```
//!
//! Whoever asks gets an [`Answer`] for each key, within a bounded time, whatever the servers do: what cannot be had is
//! [`Answer::Unavailable`] with a reason, never an error of the whole. A scan goes on without its facts; a finding that says
//! *missing* although nobody was asked would be a lie.
//!
//! Any server that speaks the Redis protocol will do, alone or as a cluster. One that answers `KV.VERSION` also says
//! which version of a dataset an answer is from: it is asked before and after the keys in the same pipeline, so that a
//! switch in between is noticed and the keys are asked again.
//!
//! Deliberately absent: caches (a server answers a batch in less time than a cache takes to be explained), writes, and
//! retries beyond those that a switch, a moved slot or a connection closed while idle make necessary.
//!
//! On the client: `redis` does connections, its multiplexer and the protocol. Its cluster client is not used, because it hides
//! which node answered, and so the version, and retries inside where the breaker cannot count.

mod answer;
mod breaker;
mod dataset;
mod metrics;
mod node;
mod source;
mod topology;

pub use answer::{Answer, Reason, Version};
pub use breaker::{Breaker, Limits, Permit};
pub use dataset::{Datasets, Error, Options};
pub use metrics::{Counts, Metrics};
pub use source::{Source, SourceError};

#[cfg(test)]
mod tests;
