//! The list of what runs: one controller per kind.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::{dataset, frame::Context, hunting, orchestrator, ruleset::Checker, scan_worker};

/// Runs all controllers until `stop`.
pub async fn run(ctx: Arc<Context>, checker: Arc<Checker>, stop: CancellationToken) {
    tokio::join!(
        dataset::run(Arc::clone(&ctx), stop.clone()),
        hunting::run(Arc::clone(&ctx), checker, stop.clone()),
        orchestrator::run(Arc::clone(&ctx), stop.clone()),
        scan_worker::run(Arc::clone(&ctx), stop.clone()),
    );
}
