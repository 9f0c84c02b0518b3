//! Most members lose their volumes at once: said plainly, healed by nobody, restored from a backup on an explicit word.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::hunt::{self, Size};
use crate::runner::{Needs, Story};
use crate::scene::{Scene, secs, text};
use testcluster::parts::{CLUSTER, orchestrator, secret, way};

pub(crate) const STORY: Story = Story {
    name: "a_lost_quorum_is_told_and_restored_from_a_backup",
    deadline: secs(420),
    needs: Needs::Cluster,
    tell,
};

fn tell(scene: &mut Scene<'_>) -> Result<()> {
    let hunt = hunt::begin(scene, &Size { members: 3, workers: 1, files: 200, kilobytes: 4 })?;
    hunt.is_complete(scene, 60)?;
    scene.apply(&secret("backups"))?;
    let url = format!("s3://dragnet/{}/backups", scene.namespace());
    let backup = format!("  backup: {{url: '{url}', credentials: {{{}}}, interval: 10s, keep: 3}}\n", way("backups"));
    scene.apply(&orchestrator(scene.namespace(), 3, &backup))?;
    // With keys of their own, which members get by being replaced. One that was taken after the hunt was complete.
    let first = scene.until("a backup is there", 180, || backup_of(scene))?;
    let url = scene.until("a later backup is there", 60, || Ok(backup_of(scene)?.filter(|url| *url != first)))?;

    for ordinal in 0..3 {
        let pod = format!("{CLUSTER}-orchestrator-{ordinal}");
        scene.kubectl().run(&["delete", "persistentvolumeclaim", &format!("data-{pod}"), "--wait=false"])?;
    }
    let pods = "app.kubernetes.io/component=orchestrator";
    scene.kubectl().run(&["delete", "pods", "--selector", pods, "--grace-period=0", "--force"])?;
    let lost = scene.until_condition("orchestrator", CLUSTER, "QuorumHealthy", "False", 90)?;
    let message = condition_message(&lost, "QuorumHealthy")?;
    ensure!(message.contains("dragnet.dev/recover-from"), "the condition does not say what to do: {message}");

    let word = json!({ "metadata": { "annotations": { "dragnet.dev/recover-from": url } } });
    scene.kubectl().patch("orchestrator", CLUSTER, &word)?;
    scene.until_condition("orchestrator", CLUSTER, "QuorumHealthy", "True", 120)?;
    scene.until_ready("orchestrator", CLUSTER, 120)?;
    hunt.is_complete(scene, 120)
}

fn backup_of(scene: &Scene<'_>) -> Result<Option<String>> {
    let orchestrator = scene.kubectl().get("orchestrator", CLUSTER)?;
    let url = text(&orchestrator, "/status/backup/lastUrl");
    Ok((!url.is_empty()).then(|| url.to_owned()))
}

fn condition_message(object: &serde_json::Value, name: &str) -> Result<String> {
    let conditions = object["status"]["conditions"].as_array().context("it has conditions")?;
    let condition = conditions.iter().find(|condition| condition["type"] == name).context("it has the condition")?;
    Ok(text(condition, "/message").to_owned())
}
