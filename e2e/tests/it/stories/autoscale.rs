//! The number of workers follows the work, down to none at all and back.

use anyhow::Result;
use serde_json::json;
use testcluster::parts::{CLUSTER, EDITED_RULES, RULES, corpora, orchestrator, ruleset, workers, write_corpus};

use super::hunt::{Hunt, Size};
use crate::runner::{Needs, Story};
use crate::scene::{Scene, check_receipts, number, secs};

pub(crate) const STORY: Story = Story {
    name: "workers_come_when_there_is_work_and_go_when_there_is_none",
    deadline: secs(420),
    needs: Needs::Cluster,
    tell,
};

const SIZE: Size = Size { members: 1, workers: 0, files: 400, kilobytes: 8 };
const AUTOSCALING: &str = "  autoscaling: {minReplicas: 0, maxReplicas: 2, targetBacklog: 2, stabilization: 15s}\n";

fn tell(scene: &mut Scene<'_>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    write_corpus(folder.path(), SIZE.files, SIZE.kilobytes)?;
    scene.upload(folder.path())?;
    // A listing that is due is work as well, so there is but the first one.
    let corpora = corpora(scene.namespace()).replace("listingInterval: 5s", "listingInterval: 1h");
    let members = orchestrator(scene.namespace(), SIZE.members, "");
    scene.apply(&[members, workers(0) + AUTOSCALING, corpora, ruleset("marks", RULES)].join("---\n"))?;

    scene.until("as many workers as allowed have come", 120, || Ok((wanted(scene)? == 2).then_some(())))?;
    let hunt = Hunt::of(&SIZE);
    hunt.is_complete(scene, 120)?;
    until_all_have_gone(scene)?;

    scene.apply(&ruleset("marks", EDITED_RULES))?;
    scene.until_condition("yararuleset", "marks", "Complete", "True", 120)?;
    check_receipts(&scene.dragnet(&["receipt", "marks"])?, hunt.files)?;
    until_all_have_gone(scene)?;

    // What a person sets stays for a while, whatever the work: long enough for a pod to come up on a busy node.
    let patient = json!({ "spec": { "autoscaling": { "stabilization": "10m" } } });
    scene.kubectl().patch("scanworker", CLUSTER, &patient)?;
    scene.kubectl().run(&["scale", "scanworker", CLUSTER, "--replicas=1"])?;
    scene.until("the worker that was asked for is there", 60, || {
        let worker = scene.kubectl().get("scanworker", CLUSTER)?;
        Ok((number(&worker, "/status/readyReplicas") == 1).then_some(()))
    })
}

fn until_all_have_gone(scene: &Scene<'_>) -> Result<()> {
    scene.until("all workers have gone", 120, || {
        let pods = scene.kubectl().list("pods", Some("app.kubernetes.io/component=scan-worker"))?;
        Ok((wanted(scene)? == 0 && pods.is_empty()).then_some(()))
    })
}

fn wanted(scene: &Scene<'_>) -> Result<u64> {
    Ok(number(&scene.kubectl().get("scanworker", CLUSTER)?, "/spec/replicas"))
}
