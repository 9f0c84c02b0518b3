//! The operator: keeps what runs in a Kubernetes cluster equal to what custom resources say.
//!
//! ```text
//! kubectl apply ─► API server ─watch─► controller of the kind: fetch → plan (pure) → execute ─► StatefulSets, Deployments, …
//!                      ▲                                         │                          └► orchestrators, kv-servers
//!                      └──────────── status, Events ◄────────────┘
//! ```
//! Every plan is a value made from values: no client, no clock. What executes it makes no choices and may be repeated.
//! Deliberately absent: data. The operator never sees a file, a finding or a key.

pub mod config;
pub mod controllers;
pub mod fail_point;
pub mod frame;
pub mod http;
pub mod hunting;
pub mod metrics;
pub mod probe;
pub mod ruleset;
pub mod server;
pub mod webhook;

mod cells;
mod corpus;
mod dataset;
mod definitions;
mod judgement;

pub mod orchestrator;
pub mod scan_worker;
