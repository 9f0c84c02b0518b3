//! What people do with Dragnet on Kubernetes, and what happens to them: on real nodes, with the programs of this checkout, installed by
//! its charts.
//!
//! `cargo test --release --workspace --test it -- rescan` runs the stories whose names contain a word; `--list` names them all.
//! KUBECONFIG names a cluster to use instead of our own, and DRAGNET_E2E_IMAGE an image that its nodes can pull. With
//! DRAGNET_E2E_KEEP=1 our own clusters stay, and the next run uses them again.

mod runner;
mod scene;
mod stories;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    runner::run(stories::ALL)
}
