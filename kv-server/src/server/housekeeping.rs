//! What is looked at now and then, beside serving.

use std::{
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    catalog::{Catalog, Version},
    cluster::Cluster,
};

/// How soon it is noticed that pages were evicted. Until then an event loop may wait for the disk now and then.
const LOOK: Duration = Duration::from_secs(1);
/// Between two pieces of a look, each of which takes some 50 us: an event loop that shares the core waits no longer than for one, and
/// all of them together take one part in a hundred of a core.
const BETWEEN_PIECES: Duration = Duration::from_millis(5);

/// Decides again and again whether event loops may read the mapped shards.
pub(super) async fn watch_residence(catalog: Arc<Catalog>, stop: CancellationToken) {
    while !ends_within(&stop, LOOK).await {
        let (serving, stop) = (catalog.serving(), stop.clone());
        let looking = tokio::task::spawn_blocking(move || {
            for version in serving.slots().iter().filter_map(|slot| slot.current.as_ref()) {
                version.look_at_residence(|| {
                    std::thread::sleep(BETWEEN_PIECES);
                    if stop.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                });
            }
        });
        if let Err(error) = looking.await {
            warn!(%error, "failed to see what of the datasets is in memory");
        }
    }
}

/// Takes the topology in `path` each time the file changes.
pub(super) async fn watch_topology(cluster: Arc<Cluster>, path: PathBuf, stop: CancellationToken) {
    let mut seen = modified(&path);
    while !ends_within(&stop, LOOK).await {
        let now = modified(&path);
        if now == seen {
            continue;
        }
        seen = now;
        match cluster.read(&path) {
            Ok(epoch) => info!(epoch, path = %path.display(), "took a topology"),
            Err(error) => warn!(%error, path = %path.display(), "left the topology as it is"),
        }
    }
}

/// Brings a directory's files into memory, on a thread of its own: reads go to the read pool until that is done.
pub(super) fn warm(version: Arc<Version>) {
    std::thread::spawn(move || {
        for shard in version.shards().filter(|shard| shard.is_mapped()) {
            if let Err(error) = shard.warm(|_| ControlFlow::Continue(())) {
                warn!(%error, folder = %version.folder().display(), "failed to warm; reads will wait for the disk");
            }
        }
        version.look_at_residence(|| ControlFlow::Continue(()));
    });
}

async fn ends_within(stop: &CancellationToken, time: Duration) -> bool {
    tokio::select! {
        () = stop.cancelled() => true,
        () = sleep(time) => false,
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}
