//! Members come and go, and are replaced one by one, while a hunt runs.

use anyhow::{Result, ensure};
use serde_json::json;

use super::hunt::{self, SLOW, Size};
use super::volume::{MEMBERS, uids};
use crate::runner::{Needs, Story};
use crate::scene::{Scene, check_receipts, number, secs};
use testcluster::parts::{CLUSTER, EDITED_RULES, ruleset};

pub(crate) const STORY: Story = Story {
    name: "scaling_3_5_3_and_a_roll_under_load_lose_nothing",
    deadline: secs(480),
    needs: Needs::Cluster,
    tell,
};

fn tell(scene: &mut Scene<'_>) -> Result<()> {
    let hunt = hunt::begin(scene, &Size { members: 3, workers: 2, files: 2000, kilobytes: 8 })?;
    let scaled_to = |members: u64| {
        scene.kubectl().patch("orchestrator", CLUSTER, &json!({ "spec": { "replicas": members } }))?;
        scene.until(&format!("{members} members vote"), 120, || {
            let orchestrator = scene.kubectl().get("orchestrator", CLUSTER)?;
            let pods = scene.kubectl().list("pods", Some("app.kubernetes.io/component=orchestrator"))?;
            let is_there = number(&orchestrator, "/status/voters") == members && pods.len() as u64 == members;
            Ok((is_there && testcluster::has_condition(&orchestrator, "Ready", "True")).then_some(()))
        })
    };
    scaled_to(5)?;
    scaled_to(3)?;
    hunt.is_complete(scene, 120)?;

    // A new version of the rules runs while each member is replaced.
    let before = uids(scene, MEMBERS)?;
    scene.apply(&ruleset("marks", &[EDITED_RULES, SLOW].concat()))?;
    hunt::is_under_way(scene, 2)?;
    let annotation = json!({ "spec": { "pods": { "annotations": { "dragnet.test/rolled": "yes" } } } });
    scene.kubectl().patch("orchestrator", CLUSTER, &annotation)?;
    scene.until("every member was replaced", 180, || {
        let now = uids(scene, MEMBERS)?;
        Ok((now.len() == before.len() && now.iter().all(|uid| !before.contains(uid))).then_some(()))
    })?;
    scene.until_ready("orchestrator", CLUSTER, 90)?;
    scene.until_condition("yararuleset", "marks", "Complete", "True", 120)?;
    check_receipts(&scene.dragnet(&["receipt", "marks"])?, hunt.files)?;
    let found = scene.dragnet(&["findings", "--rule", "numbered"])?.len() as u64;
    ensure!(found == hunt.files, "{found} of {} files have the new rule's finding", hunt.files);
    Ok(())
}
