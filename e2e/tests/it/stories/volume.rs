//! A volume is gone for good.

use anyhow::{Result, ensure};

use super::hunt::{self, Size};
use crate::runner::{Needs, Story};
use crate::scene::{Scene, number, secs, text};
use testcluster::parts::CLUSTER;

pub(crate) const STORY: Story = Story {
    name: "a_member_whose_volume_is_lost_comes_back_as_a_new_one",
    deadline: secs(300),
    needs: Needs::Cluster,
    tell,
};

fn tell(scene: &mut Scene<'_>) -> Result<()> {
    let hunt = hunt::begin(scene, &Size { members: 3, workers: 1, files: 200, kilobytes: 4 })?;
    hunt.is_complete(scene, 60)?;
    let leader = super::faults::leader(scene)?;
    let victim = (0..3).map(|ordinal| format!("{CLUSTER}-orchestrator-{ordinal}")).find(|pod| *pod != leader);
    let victim = victim.unwrap_or_default();
    let before = node_id(scene, &victim)?;

    let claim = format!("data-{victim}");
    scene.kubectl().run(&["delete", "persistentvolumeclaim", &claim, "--wait=false"])?;
    scene.kubectl().run(&["delete", "pod", &victim, "--grace-period=0", "--force"])?;
    scene.until("the member is there again under another id", 120, || {
        let now = node_id(scene, &victim)?;
        let orchestrator = scene.kubectl().get("orchestrator", CLUSTER)?;
        Ok((now != 0 && now != before && number(&orchestrator, "/status/voters") == 3).then_some(()))
    })?;
    scene.until_ready("orchestrator", CLUSTER, 60)?;
    let members = scene.dragnet(&["status"])?;
    ensure!(!members.is_empty(), "dragnet status says nothing");
    hunt.is_complete(scene, 60)
}

fn node_id(scene: &Scene<'_>, pod: &str) -> Result<u64> {
    let orchestrator = scene.kubectl().get("orchestrator", CLUSTER)?;
    let members = orchestrator["status"]["members"].as_array().into_iter().flatten();
    let member = members.into_iter().find(|member| text(member, "/name") == pod);
    Ok(member.map_or(0, |member| number(member, "/nodeId")))
}
