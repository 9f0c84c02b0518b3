//! The operator dies wherever it could leave something half done, again and again, and whoever comes after it finishes all the same.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use testcluster::parts::CLUSTER;
use testcluster::{SYSTEM, has_condition, is_ready, run};

use super::hunt::{self, Size};
use super::volume::{self, MEMBERS, claimed};
use crate::runner::{Needs, Story};
use crate::scene::{Scene, number, secs, text};

pub(crate) const STORY: Story = Story {
    name: "an_operator_that_dies_at_any_fail_point_is_finished_by_the_next",
    deadline: secs(1500),
    needs: Needs::ClusterAlone,
    tell,
};

const SIZE: Size = Size { members: 1, workers: 1, files: 200, kilobytes: 4 };

/// An annotation of pods; another value, and all are to be replaced.
const ROUND: &str = "dragnet.test/round";

/// What the operator returns that met a fail point.
const MET: u64 = 70;

fn tell(scene: &mut Scene<'_>) -> Result<()> {
    let mut command = std::process::Command::new(scene.world().program("operator"));
    command.arg("fail-points");
    let known = run(command, None)?;
    let known: BTreeSet<&str> = known.lines().filter_map(|line| line.split_whitespace().next()).collect();
    scene.reinstall_at_the_end();
    // Nobody gives up the Lease of who died: it has to run out each time.
    let all = ["extraEnv[0].name=DRAGNET_FAIL_POINTS", "extraEnv[0].value=all", "leaseSeconds=6"];
    scene.world().install(&scene.world().charts(), scene.world().image(), &all)?;

    let mut trial = Trial { scene, met: BTreeSet::new() };
    hunt::begin_unattended(scene, &SIZE)?;
    trial.settles("a cluster is founded", &["after-cluster-id", "after-found"])?;
    trial.asks(&json!({ "replicas": 3 }))?;
    trial.settles("two members come", &["after-scale-out", "after-join", "after-learner", "after-promote"])?;
    let victim = format!("{CLUSTER}-orchestrator-2");
    let before = volume::node_id(scene, &victim)?;
    volume::lose(scene, &victim)?;
    trial.until("the loss is noticed", |scene| {
        let now = volume::node_id(scene, &victim)?;
        Ok((now != 0 && now != before).then_some(()))
    })?;
    trial.settles("a member loses its volume", &["after-replaced-removed"])?;
    trial.asks(&json!({ "volume": { "size": "2Gi" }, "pods": { "annotations": { ROUND: "2" } } }))?;
    let met = ["after-claim-resize", "after-set-orphaned", "after-pod-delete"];
    trial.settles("volumes grow and pods are replaced", &met)?;
    trial.until("all volumes are larger", |scene| Ok((claimed(scene, MEMBERS)? == ["2Gi"; 3]).then_some(())))?;
    trial.asks(&json!({ "replicas": 1 }))?;
    trial.settles("two members go", &["after-remove-member", "after-scale-in"])?;

    hunt::Hunt::of(&SIZE).is_complete(scene, 120)?;
    let url = format!("s3://dragnet/{}/backups", scene.namespace());
    trial.asks(&json!({ "backup": { "url": url, "interval": "1h", "keep": 2 } }))?;
    trial.until("a backup is there", |scene| {
        let orchestrator = scene.kubectl().get("orchestrator", CLUSTER)?;
        Ok((!text(&orchestrator, "/status/backup/lastUrl").is_empty()).then_some(()))
    })?;
    trial.has_met(&["after-backup"])?;
    trial.asks(&json!({ "backup": null }))?;
    volume::lose(scene, &format!("{CLUSTER}-orchestrator-0"))?;
    trial.until("the loss is told", |scene| {
        let orchestrator = scene.kubectl().get("orchestrator", CLUSTER)?;
        Ok(has_condition(&orchestrator, "QuorumHealthy", "False").then_some(()))
    })?;
    let word = json!({ "metadata": { "annotations": { "dragnet.dev/recover-from": url } } });
    scene.kubectl().patch("orchestrator", CLUSTER, &word)?;
    trial.settles("the backup is restored", &["after-set-deleted", "after-claim-deleted", "after-restore"])?;
    hunt::Hunt::of(&SIZE).is_complete(scene, 120)?;

    let missed: Vec<_> = known.iter().filter(|point| !trial.met.contains(**point)).collect();
    ensure!(missed.is_empty(), "nothing that was asked for led past {missed:?}");
    Ok(())
}

/// Waits for what was asked for, and looks on how operators die meanwhile.
struct Trial<'s, 'w> {
    scene: &'s Scene<'w>,
    /// Names of fail points.
    met: BTreeSet<String>,
}

impl Trial<'_, '_> {
    fn asks(&self, spec: &Value) -> Result<()> {
        self.scene.kubectl().patch("orchestrator", CLUSTER, &json!({ "spec": spec })).map(drop)
    }

    /// Waits until all is as asked for, and operators have died at `points` on the way.
    fn settles(&mut self, what: &str, points: &[&str]) -> Result<()> {
        self.until(what, is_settled)?;
        self.has_met(points).with_context(|| what.to_owned())
    }

    /// The kubelet may tell of a death when all is settled already.
    fn has_met(&mut self, points: &[&str]) -> Result<()> {
        let (scene, met) = (self.scene, &mut self.met);
        let told = scene.until("deaths are told", 30, || {
            see_deaths(scene, met)?;
            Ok(points.iter().all(|point| met.contains(*point)).then_some(()))
        });
        if told.is_ok() {
            return Ok(());
        }
        let missed: Vec<_> = points.iter().filter(|point| !self.met.contains(**point)).collect();
        bail!("no operator died at {missed:?}; met so far: {:?}", self.met)
    }

    fn until(&mut self, what: &str, look: impl Fn(&Scene<'_>) -> Result<Option<()>>) -> Result<()> {
        let (scene, met) = (self.scene, &mut self.met);
        scene.until(what, 240, || {
            see_deaths(scene, met)?;
            look(scene)
        })
    }
}

/// As many voters and pods as are wanted, all of the newest template, and nothing to do.
fn is_settled(scene: &Scene<'_>) -> Result<Option<()>> {
    let orchestrator = scene.kubectl().get("orchestrator", CLUSTER)?;
    let wanted = number(&orchestrator, "/spec/replicas");
    let pods = scene.kubectl().list("pods", Some("app.kubernetes.io/component=orchestrator"))?;
    let round = &orchestrator["spec"]["pods"]["annotations"][ROUND];
    let is_new = |pod: &Value| &pod["metadata"]["annotations"][ROUND] == round;
    let is_settled = number(&orchestrator, "/status/voters") == wanted
        && pods.len() as u64 == wanted
        && pods.iter().all(|pod| is_ready(pod) && is_new(pod))
        && has_condition(&orchestrator, "Ready", "True")
        && has_condition(&orchestrator, "Progressing", "False");
    Ok(is_settled.then_some(()))
}

/// Notes at which fail points containers of the operator ended. Where nodes take longer and longer to start one again, that is cut
/// short.
fn see_deaths(scene: &Scene<'_>, met: &mut BTreeSet<String>) -> Result<()> {
    let kubectl = scene.world().kubectl().in_namespace(SYSTEM);
    for pod in kubectl.list("pods", Some("app.kubernetes.io/component=operator"))? {
        let Some(status) = pod.pointer("/status/containerStatuses/0") else { continue };
        for ended in [&status["lastState"]["terminated"], &status["state"]["terminated"]] {
            if number(ended, "/exitCode") == MET {
                let last_words =
                    text(ended, "/message").lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
                met.extend(last_words.filter_map(|line| Some(line["point"].as_str()?.to_owned())));
            }
        }
        if !scene.world().cluster().is_own() && text(status, "/state/waiting/reason") == "CrashLoopBackOff" {
            kubectl.run(&["delete", "pod", text(&pod, "/metadata/name"), "--wait=false"])?;
        }
    }
    Ok(())
}
