//! The command line against real processes: `dragnet up` with its orchestrators and worker.
//!
//! They are started from the folder of the tested executable, so `cargo test --workspace` or
//! `cargo build` has to have built them.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail like tests")]

mod cluster;
mod datasets;
mod enrichment;
mod faults;
mod hunting;
mod members;
mod running;
mod without_cluster;
