//! The operator dies between two writes, at every place where that could leave something half done, and the next one finishes it.

use anyhow::{Context, Result, ensure};
use serde_json::json;
use testcluster::parts::CLUSTER;
use testcluster::{SYSTEM, has_condition, is_ready, run};

use super::hunt::{self, Size};
use crate::runner::{Needs, Story};
use crate::scene::{Scene, check_receipts, number, secs};

pub(crate) const STORY: Story = Story {
    name: "an_operator_that_dies_at_any_fail_point_is_finished_by_the_next",
    deadline: secs(900),
    needs: Needs::ClusterAlone,
    tell,
};

const SIZE: Size = Size { members: 3, workers: 1, files: 200, kilobytes: 4 };

/// An annotation of pods; another value, and all are to be replaced.
const ROUND: &str = "dragnet.test/round";

/// Fail points, and what to ask for so that they are met: as many members, and whether pods are to be replaced. In such an order that
/// none is on the way of what the one before left to be finished. Those of recoveries and volumes belong to stories of their own.
const MET: &[(&str, u32, bool)] = &[
    ("after-found", 3, false),
    ("after-scale-out", 5, false),
    ("after-remove-member", 3, false),
    ("after-join", 5, false),
    ("after-scale-in", 3, false),
    ("after-learner", 5, false),
    ("after-transfer", 3, true),
    ("after-promote", 5, false),
    ("after-pod-delete", 3, true),
];

fn tell(scene: &mut Scene<'_>) -> Result<()> {
    let mut command = std::process::Command::new(scene.world().program("operator"));
    command.arg("fail-points");
    let known = run(command, None)?;
    scene.reinstall_at_the_end();
    for (point, ..) in MET {
        ensure!(known.contains(point), "the operator knows no fail point {point}: {known}");
    }
    let mut round = 0;
    arm(scene, MET[0].0)?;
    for (index, (point, members, replaced)) in MET.iter().enumerate() {
        round += u32::from(*replaced);
        if index == 0 {
            hunt::begin_unattended(scene, &SIZE)?;
        } else {
            let pods = if *replaced { json!({ "annotations": { ROUND: round.to_string() } }) } else { json!({}) };
            let change = json!({ "spec": { "replicas": members, "pods": pods } });
            scene.kubectl().patch("orchestrator", CLUSTER, &change)?;
        }
        scene.until(&format!("an operator dies at {point}"), 120, || Ok(has_died(scene)?.then_some(())))?;
        // Who finishes this is about to die at the next point, which is not on its way.
        arm(scene, MET.get(index + 1).map_or("", |(next, ..)| next))?;
        let context = || format!("after dying at {point}");
        scene.until_ready("orchestrator", CLUSTER, 180).with_context(context)?;
        scene.until("what was begun is finished", 180, || is_settled(scene)).with_context(context)?;
        check_receipts(&scene.dragnet(&["receipt", "marks"])?, u64::from(SIZE.files))
            .or_else(|_| hunt::Hunt::of(&SIZE).is_complete(scene, 120))?;
    }
    Ok(())
}

/// As many voters and pods as are wanted, all of the newest template.
fn is_settled(scene: &Scene<'_>) -> Result<Option<()>> {
    let orchestrator = scene.kubectl().get("orchestrator", CLUSTER)?;
    let wanted = number(&orchestrator, "/spec/replicas");
    let pods = scene.kubectl().list("pods", Some("app.kubernetes.io/component=orchestrator"))?;
    let round = &orchestrator["spec"]["pods"]["annotations"][ROUND];
    let is_new = |pod: &serde_json::Value| &pod["metadata"]["annotations"][ROUND] == round;
    let is_settled = number(&orchestrator, "/status/voters") == wanted
        && pods.len() as u64 == wanted
        && pods.iter().all(|pod| is_ready(pod) && is_new(pod))
        && has_condition(&orchestrator, "Progressing", "False");
    Ok(is_settled.then_some(()))
}

/// Whether a container of the operator ended as one does that met its fail point.
fn has_died(scene: &Scene<'_>) -> Result<bool> {
    let pods =
        scene.world().kubectl().in_namespace(SYSTEM).list("pods", Some("app.kubernetes.io/component=operator"))?;
    let mut statuses = pods.iter().filter_map(|pod| pod["status"]["containerStatuses"].as_array()).flatten();
    Ok(statuses.any(|status| {
        let ended = [&status["lastState"]["terminated"], &status["state"]["terminated"]];
        ended.iter().any(|ended| ended["exitCode"] == 70)
    }))
}

/// Gives every operator a fail point, or none. Pods of before are gone when this returns; the Lease of whoever died has to expire.
fn arm(scene: &Scene<'_>, point: &str) -> Result<()> {
    let world = scene.world();
    let value = format!("extraEnv[0].value={point}");
    let armed = ["extraEnv[0].name=DRAGNET_FAIL_POINT", value.as_str()];
    let settings: &[&str] = if point.is_empty() { &[] } else { &armed };
    world.install(&world.charts(), world.image(), settings)?;
    world
        .kubectl()
        .in_namespace(SYSTEM)
        .run(&["rollout", "status", "deployment/dragnet-operator", "--timeout=60s"])
        .map(drop)
}
