//! Corpora and rulesets: two controllers, and what they hear from orchestrators.

use std::sync::Arc;

use futures::{Stream, stream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    cells::{Wakes, cells},
    corpus,
    frame::Context,
    ruleset::{self, Checker, Memory, Shared},
};

/// Runs until `stop`.
pub async fn run(ctx: Arc<Context>, checker: Arc<Checker>, stop: CancellationToken) {
    let (cells, feeds, Wakes { rulesets, corpora }) = cells();
    let shared = Arc::new(Shared { cells: Arc::clone(&cells), checker, memory: Memory::default() });
    let controllers = async {
        tokio::join!(
            corpus::run(Arc::clone(&ctx), cells, received(corpora), stop.clone()),
            ruleset::run(Arc::clone(&ctx), shared, received(rulesets), stop.clone()),
        );
    };
    tokio::select! {
        () = controllers => {}
        // Ends only with the controllers, which hold the other end.
        () = feeds.run() => {}
    }
}

fn received<T: Send + 'static>(receiver: mpsc::Receiver<T>) -> impl Stream<Item = T> + Send + 'static {
    stream::unfold(receiver, |mut receiver| async move { receiver.recv().await.map(|item| (item, receiver)) })
}
