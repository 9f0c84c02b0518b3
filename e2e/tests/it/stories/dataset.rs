//! A dataset gets a new version, and a bad one goes back by itself.

use std::fs;

use anyhow::{Result, ensure};
use serde_json::json;
use testcluster::parts::storage;

use super::volume;
use crate::runner::{Needs, Story};
use crate::scene::{Scene, secs, text};

pub(crate) const STORY: Story = Story {
    name: "a_dataset_switches_versions_a_bad_one_is_rolled_back_and_volumes_grow",
    deadline: secs(360),
    needs: Needs::Cluster,
    tell,
};

const NAME: &str = "facts";
const KEYS: u32 = 2_000;

fn tell(scene: &mut Scene<'_>) -> Result<()> {
    upload(scene, "one", KEYS)?;
    scene.apply(&dataset(scene.namespace(), "one"))?;
    let ready = scene.until_ready("batchdataset", NAME, 150)?;
    let first = text(&ready, "/status/servingVersion").to_owned();
    ensure!(!first.is_empty(), "it is ready and serves no version");
    ensure!(answers(scene, "key-7")? == "one-7", "key-7 is answered by {:?}", answers(scene, "key-7")?);

    upload(scene, "two", KEYS)?;
    scene.apply(&dataset(scene.namespace(), "two"))?;
    let second = scene.until("the second version is served", 150, || {
        let object = scene.kubectl().get("batchdataset", NAME)?;
        let version = text(&object, "/status/servingVersion");
        Ok((version != first && testcluster::has_condition(&object, "Ready", "True")).then(|| version.to_owned()))
    })?;
    ensure!(answers(scene, "key-7")? == "two-7", "the second version is told and not served");

    // Nearly all keys are missing: that is not a version that anyone wanted.
    upload(scene, "three", KEYS / 100)?;
    scene.apply(&dataset(scene.namespace(), "three"))?;
    scene.until_condition("batchdataset", NAME, "Degraded", "True", 150)?;
    let object = scene.kubectl().get("batchdataset", NAME)?;
    ensure!(text(&object, "/status/servingVersion") == second, "the bad version is served");
    ensure!(answers(scene, "key-7")? == "two-7", "the bad version answers");

    // Back by spec.
    scene.kubectl().patch("batchdataset", NAME, &json!({ "spec": { "version": first } }))?;
    scene.until("the first version is served again", 90, || Ok((answers(scene, "key-7")? == "one-7").then_some(())))?;
    volume::grow(scene, "batchdataset", NAME, "kv-server")?;
    ensure!(answers(scene, "key-7")? == "one-7", "larger volumes, and another answer");
    Ok(())
}

fn upload(scene: &Scene<'_>, revision: &str, keys: u32) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let rows: String = (0..keys).map(|key| format!("key-{key},{revision}-{key}\n")).collect();
    fs::write(folder.path().join("facts.csv"), format!("key,value\n{rows}"))?;
    scene.world().upload(folder.path(), &format!("{}/source-{revision}", scene.namespace()))
}

fn dataset(namespace: &str, revision: &str) -> String {
    let versions = storage(namespace, "versions");
    let source = storage(namespace, &format!("source-{revision}/facts.csv"));
    format!(
        "apiVersion: dragnet.dev/v1alpha1
kind: BatchDataset
metadata: {{name: {NAME}}}
spec:
  versions: {versions}
  source: {{storage: {source}, format: csv, key: key, value: value}}
  shards: 2
  replicas: 1
  rollout: {{canaryPercent: 50, wait: 5s}}
  resources: {{requests: {{cpu: 20m, memory: 64Mi}}}}
  volume: {{size: 1Gi}}
"
    )
}

/// The value of a key, asked as any Redis client does.
fn answers(scene: &Scene<'_>, key: &str) -> Result<String> {
    for pod in scene.kubectl().list("pods", Some("app.kubernetes.io/component=kv-server"))? {
        let address = text(&pod, "/status/podIP");
        let mut command = scene.world().cluster().command("redis-cli".as_ref());
        command.args(["-h", address, "--raw", "GET", key]);
        let answer = testcluster::run(command, None)?;
        if !answer.starts_with("MOVED") && !answer.trim().is_empty() {
            return Ok(answer.trim().to_owned());
        }
    }
    Ok(String::new())
}
