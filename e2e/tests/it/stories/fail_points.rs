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

/// Those that growing and shrinking a cluster by two, and replacing its pods, comes by. Others belong to stories of their own.
const MET_HERE: &[&str] = &[
    "after-cluster-id",
    "after-found",
    "after-scale-out",
    "after-join",
    "after-learner",
    "after-promote",
    "after-transfer",
    "after-pod-delete",
    "after-remove-member",
    "after-scale-in",
];

fn tell(scene: &mut Scene<'_>) -> Result<()> {
    let mut command = std::process::Command::new(scene.world().program("operator"));
    command.arg("fail-points");
    let known = run(command, None)?;
    scene.reinstall_at_the_end();
    for (number, point) in (0..).zip(MET_HERE) {
        ensure!(known.contains(point), "the operator knows no fail point {point}: {known}");
        arm(scene, point)?;
        if number == 0 {
            hunt::begin_unattended(scene, &SIZE)?;
        } else {
            // Whatever it was, it becomes the other, and every pod is replaced as well.
            let members = if number % 2 == 0 { 3 } else { 5 };
            let pods = json!({ "annotations": { "dragnet.test/round": number.to_string() } });
            let change = json!({ "spec": { "replicas": members, "pods": pods } });
            scene.kubectl().patch("orchestrator", CLUSTER, &change)?;
        }
        scene.until(&format!("an operator dies at {point}"), 120, || Ok(has_died(scene)?.then_some(())))?;
        arm(scene, "")?;
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
    let round = &orchestrator["spec"]["pods"]["annotations"]["dragnet.test/round"];
    let is_new = |pod: &serde_json::Value| &pod["metadata"]["annotations"]["dragnet.test/round"] == round;
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

/// Gives every operator a fail point, or none. Pods of before are gone when this returns.
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
