//! YaraRuleset: from rules in a resource to a hunt in the cluster, and back to numbers in its status.
//!
//! ```text
//! spec, ConfigMaps ──sources──► texts ──check (a process of its own)──► verdict
//! cluster's ruleset ─────────────────┬──────────────────────────────────┘
//!                                   plan ──► push · pause · resume · retire
//! hunts (cells) ─────────────────► status ──► numbers, conditions
//! ```

mod check;
mod controller;
mod known;
mod plan;
mod sources;
pub(crate) mod status;

pub use check::{CHILD_ARGUMENT, Checker, child};
pub(crate) use controller::{Shared, run};
pub(crate) use known::Memory;
pub(crate) use sources::{Gathered, Refusal, config_maps, gather};
