//! Pods that go without warning.

use anyhow::Result;

use super::hunt::{self, Size};
use crate::runner::{Needs, Story};
use crate::scene::{Scene, secs, text};
use testcluster::parts::CLUSTER;

pub(crate) const STORY: Story =
    Story { name: "deleted_worker_and_leader_pods_lose_nothing", deadline: secs(300), needs: Needs::Cluster, tell };

fn tell(scene: &mut Scene<'_>) -> Result<()> {
    let hunt = hunt::begin(scene, &Size { members: 3, workers: 2, files: 2000, kilobytes: 8 })?;
    for _ in 0..2 {
        let workers = scene.kubectl().list("pods", Some("app.kubernetes.io/component=scan-worker"))?;
        if let Some(worker) = workers.first() {
            scene.kubectl().run(&["delete", "pod", text(worker, "/metadata/name"), "--grace-period=0", "--force"])?;
        }
        let leader = leader(scene)?;
        scene.kubectl().run(&["delete", "pod", &leader, "--grace-period=0", "--force"])?;
        scene.until("another member leads", 60, || {
            let now = self::leader(scene)?;
            Ok((now != leader).then_some(()))
        })?;
    }
    scene.until_ready("orchestrator", CLUSTER, 90)?;
    hunt.is_complete(scene, 120)
}

/// The pod of the member that leads.
pub(super) fn leader(scene: &Scene<'_>) -> Result<String> {
    scene.until("a member leads", 60, || {
        let orchestrator = scene.kubectl().get("orchestrator", CLUSTER)?;
        let leader = text(&orchestrator, "/status/leader");
        Ok((!leader.is_empty()).then(|| leader.to_owned()))
    })
}
