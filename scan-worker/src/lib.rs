//! The scan worker: asks the leader for jobs, scans files in sandboxed processes, reports.
//!
//! ```text
//!                 ┌──────────────── supervisor (this process) ────────────────┐
//!  leader ◄─gRPC─►│ leader::Session ──► job::Runner ──► pool: one thread      │──fds──► scanner process
//!                 │                └──► listing::Lister      per scanner      │──fds──► scanner process
//!                 └───────────▲──────────────▲────────────────────────────────┘
//!                    object storage: manifests, rulesets, hashes, findings
//! ```
//!
//! The supervisor opens files and never looks inside; a scanner looks inside and can open nothing. So what a
//! hostile file does to the engine costs that file its answer and the worker one process.

pub mod config;
pub mod metrics;
pub mod server;

pub mod leader;

pub mod job;
pub mod listing;
pub mod origin;

pub mod pool;
pub mod scanner;
pub mod wire;
