//! statsd-filter: a UDP sidecar that drops unwanted metrics before they reach the metrics agent.
//!
//! ```text
//!            ┌──────────────────────── worker (one per listening socket) ──────────────────────────┐
//! clients ──►│ inbox: recvmmsg ──► filter: lines ──► rules: prefixes, patterns ──► pack ──► outbox │──► agent
//!            └──────────▲────────────────────────────────────────────────────────────────────▲─────┘
//!   signals ──► server ─┴─ shared: the plan (rules, sizes) and the target ──── resolver ──────┘
//!                                                     metrics: counters ◄── http: GET /metrics
//! ```
//!
//! What decides (`rules`, `filter`, `pack`) touches no socket and no clock. Deliberately not here: aggregation, changes to a
//! line, and a queue on disk. A line is forwarded as it came or not at all.

pub mod config;
pub mod explain;
pub mod filter;
pub mod metrics;
pub mod pack;
pub mod rules;
pub mod server;

mod http;
mod inbox;
mod listener;
mod outbox;
mod resolver;
mod shared;
mod worker;
