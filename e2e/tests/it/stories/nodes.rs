//! Nodes that go down or off the network in the middle of a sweep, with the leader on them.

use anyhow::Result;

use super::faults::leader;
use super::hunt::{self, Hunt, SLOW, Size};
use crate::runner::{Needs, Story};
use crate::scene::{Scene, secs, text};
use testcluster::parts::{CLUSTER, RULES, ruleset};

pub(crate) const CRASHED: Story = Story {
    name: "a_node_crashes_in_the_middle_of_a_sweep_and_nothing_is_lost",
    deadline: secs(600),
    needs: Needs::OwnNodesAlone,
    tell: crash,
};
pub(crate) const CUT_OFF: Story = Story {
    name: "a_node_is_cut_off_in_the_middle_of_a_sweep_and_nothing_is_lost",
    deadline: secs(600),
    needs: Needs::OwnNodesAlone,
    tell: cut_off,
};

const SWEEP: Size = Size { members: 3, workers: 3, files: 3000, kilobytes: 16 };

/// Files scanned once; a slow rule is on its way over all of them again.
fn begin(scene: &Scene<'_>) -> Result<Hunt> {
    let hunt = hunt::begin(scene, &SWEEP)?;
    hunt.is_complete(scene, 120)?;
    scene.apply(&ruleset("marks", &[RULES, SLOW].concat()))?;
    hunt::is_under_way(scene, 2)?;
    Ok(hunt)
}

fn crash(scene: &mut Scene<'_>) -> Result<()> {
    let hunt = begin(scene)?;
    let (node, leader) = node_of_the_leader(scene)?;
    scene.crash(&node)?;
    another_leads(scene, &leader)?;
    hunt.is_complete(scene, 180)?;
    scene.boot(&node)?;
    scene.until_ready("orchestrator", CLUSTER, 120).map(drop)
}

fn cut_off(scene: &mut Scene<'_>) -> Result<()> {
    let hunt = begin(scene)?;
    let (node, leader) = node_of_the_leader(scene)?;
    scene.cut(&node)?;
    another_leads(scene, &leader)?;
    hunt.is_complete(scene, 180)?;
    scene.heal(&node)?;
    // Who was cut off believes nothing that the others have not decided: after healing the sums are still right.
    scene.until_ready("orchestrator", CLUSTER, 120)?;
    hunt.is_complete(scene, 60)
}

fn another_leads(scene: &Scene<'_>, before: &str) -> Result<()> {
    scene.until("another member leads", 60, || Ok((leader(scene)? != before).then_some(())))
}

fn node_of_the_leader(scene: &Scene<'_>) -> Result<(String, String)> {
    let leader = leader(scene)?;
    let pod = scene.kubectl().get("pod", &leader)?;
    Ok((text(&pod, "/spec/nodeName").to_owned(), leader))
}
