//! The orchestrator: all job state of a cluster, in a replicated log, handed out as leases.
//!
//! ```text
//!            workers                people, programs           members
//!               │ grpc::worker          │ grpc::scan, cluster     │ grpc::raft
//!               ▼                       ▼                         ▼
//!            drive (leader only) ──── log entries ───────────► raft ──► log_store (fsync before ack)
//!               ▲                                               │
//!               └───────────── events of applied entries ◄── machine: scheduling::State
//!                                                               │
//!                                                            snapshot (zstd, CRC)
//! ```
//!
//! Deliberately not here: file data, rules' meaning, findings. It knows digests and counts.

pub mod backup;
pub mod config;
pub mod drive;
mod grpc;
mod http;
pub mod identity;
mod join;
mod membership;
mod metrics;
mod node;
pub mod raft;
mod readiness;
mod role;
pub mod server;
