//! Dragnet is uninstalled; what it stored stays, and serves again after it is installed anew.

use anyhow::{Result, ensure};
use testcluster::SYSTEM;
use testcluster::parts::{CLUSTER, orchestrator, workers};

use super::hunt::{self, Size};
use crate::runner::{Needs, Story};
use crate::scene::{Scene, secs, text};

pub(crate) const STORY: Story = Story {
    name: "uninstalled_and_installed_again_over_the_data_that_was_kept",
    deadline: secs(420),
    needs: Needs::ClusterAlone,
    tell,
};

fn tell(scene: &mut Scene<'_>) -> Result<()> {
    let hunt = hunt::begin(scene, &Size { members: 3, workers: 1, files: 200, kilobytes: 4 })?;
    hunt.is_complete(scene, 90)?;
    let cluster_id = cluster_id(scene)?;

    scene.reinstall_at_the_end();
    let cluster = scene.world().cluster();
    cluster.helm(&["uninstall", "dragnet", "--namespace", SYSTEM, "--wait"])?;
    cluster.helm(&["uninstall", "dragnet-crds", "--namespace", SYSTEM, "--wait"])?;
    // The kinds stay, and so do the resources: pods go on without an operator.
    ensure!(scene.kubectl().try_get("orchestrator", CLUSTER)?.is_some(), "uninstalling deleted the Orchestrator");
    hunt.is_complete(scene, 30)?;

    scene.world().install(&scene.world().charts(), scene.world().image(), &[])?;
    scene.until_ready("orchestrator", CLUSTER, 90)?;
    ensure!(self::cluster_id(scene)? == cluster_id, "the cluster was founded anew");
    hunt.is_complete(scene, 60)?;

    // The Orchestrator itself is deleted: its volumes stay, and an Orchestrator of the same name begins with them.
    scene.kubectl().run(&["delete", "scanworker,orchestrator", CLUSTER, "--wait", "--timeout=90s"])?;
    scene.until("its pods are gone", 60, || {
        let pods = scene.kubectl().list("pods", Some("app.kubernetes.io/component=orchestrator"))?;
        Ok(pods.is_empty().then_some(()))
    })?;
    let claims = scene.kubectl().list("persistentvolumeclaims", None)?;
    ensure!(claims.len() == 3, "{} of 3 volumes were kept", claims.len());
    scene.apply(&orchestrator(scene.namespace(), 3, ""))?;
    scene.until_ready("orchestrator", CLUSTER, 120)?;
    scene.apply(&workers(1))?;
    ensure!(self::cluster_id(scene)? == cluster_id, "the cluster was founded anew over its volumes");
    hunt.is_complete(scene, 90)
}

fn cluster_id(scene: &Scene<'_>) -> Result<String> {
    Ok(text(&scene.kubectl().get("orchestrator", CLUSTER)?, "/status/clusterId").to_owned())
}
