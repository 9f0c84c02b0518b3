//! Corpus: from a resource to a set of files that the cluster keeps under examination.
//!
//! ```text
//! spec ──► request ──plan──► put, if the cluster has it otherwise
//! what the cluster says (cells) ──► status ──► numbers, conditions
//! ```

mod controller;
mod plan;

pub(crate) use controller::run;
