//! From the charts and the image of the commit before to these, while a hunt runs.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use testcluster::parts::{CLUSTER, EDITED_RULES, credentials, orchestrator, restricted_namespace, ruleset};
use testcluster::{Image, output};

use super::hunt::{self, Size};
use crate::runner::{Needs, Story};
use crate::scene::{Scene, Skip, check_receipts, secs, text};
use crate::world;

pub(crate) const STORY: Story = Story {
    name: "an_upgrade_from_the_commit_before_keeps_everything",
    deadline: secs(3600),
    needs: Needs::OwnNodesAlone,
    tell,
};

/// Clusters beside the one that hunts: those that nobody touched are restarted one after the other.
const OTHERS: [&str; 2] = ["second", "third"];

/// What `previous.sh` says when history has no charts.
const NO_SUCH_COMMIT: i32 = 3;

fn tell(scene: &mut Scene<'_>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let built = world::built()?;
    let target = built.parent().context("programs are in a target folder")?;
    let mut command = Command::new("bash");
    command.arg(scene.world().place().script("previous.sh")).arg(folder.path()).arg(target);
    let previous = output(command, None)?;
    if previous.status.code() == Some(NO_SUCH_COMMIT) {
        bail!(Skip("this history has no commit with charts before this one, so there is nothing to upgrade from"));
    }
    if !previous.status.success() {
        bail!("previous.sh: {}", String::from_utf8_lossy(&previous.stderr));
    }
    let image = Image::parse(String::from_utf8_lossy(&previous.stdout).trim()).context("previous.sh names an image")?;
    scene.world().cluster().load(&folder.path().join("image.tar"))?;

    scene.reinstall_at_the_end();
    scene.world().install(&folder.path().join("charts"), &image, &[])?;
    let hunt = hunt::begin(scene, &Size { members: 3, workers: 2, files: 1000, kilobytes: 8 })?;
    let others = beside(scene)?;
    ensure!(images(scene)? == [image.name()], "pods run {:?} and not the image of before", images(scene)?);

    scene.world().install(&scene.world().charts(), scene.world().image(), &[])?;
    let (new, mut most) = (scene.world().image().name(), BTreeSet::new());
    scene.until("every pod runs the new image", 240, || {
        let mut changing = changing(scene, &[(CLUSTER, 3)], &new)?;
        changing.extend(self::changing(&others, &[(OTHERS[0], 1), (OTHERS[1], 1)], &new)?);
        if changing.len() > most.len() {
            most = changing;
        }
        let is_done = images(scene)? == [new.clone()] && images(&others)? == [new.clone()];
        Ok((is_done || most.len() > 1).then_some(()))
    })?;
    ensure!(most.len() == 1, "clusters that changed at a time: {most:?}");
    for name in OTHERS {
        others.until_ready("orchestrator", name, 60)?;
    }
    scene.until_ready("orchestrator", CLUSTER, 120)?;
    hunt.is_complete(scene, 120)?;
    scene.apply(&ruleset("marks", EDITED_RULES))?;
    scene.until_condition("yararuleset", "marks", "Complete", "True", 120)?;
    check_receipts(&scene.dragnet(&["receipt", "marks"])?, hunt.files)?;

    let mut command = Command::new("bash");
    command.arg(scene.world().place().script("previous.sh")).arg("--keep").arg(built);
    testcluster::run(command, None).map(drop)
}

/// [`OTHERS`], ready, in a namespace of their own.
fn beside<'w>(scene: &mut Scene<'w>) -> Result<Scene<'w>> {
    let namespace = format!("{}-others", scene.namespace());
    scene.delete_at_the_end(&namespace);
    let others = scene.elsewhere(&namespace);
    scene.world().kubectl().apply(&restricted_namespace(&namespace))?;
    others.apply(&credentials())?;
    for name in OTHERS {
        let other = orchestrator(&namespace, 1, "").replace("name: main", &format!("name: {name}"));
        others.apply(&other.replace("/cell'", &format!("/cell-{name}'")))?;
    }
    for name in OTHERS {
        others.until_ready("orchestrator", name, 90)?;
    }
    Ok(others)
}

/// Orchestrators of which a pod is missing, or some pods have the new image and others have not. Readiness does not count: the operator
/// asks members themselves, and hears of them sooner than the kubelet does.
fn changing(scene: &Scene<'_>, clusters: &[(&str, usize)], new: &str) -> Result<BTreeSet<String>> {
    let pods = scene.kubectl().list("pods", Some("app.kubernetes.io/component=orchestrator"))?;
    let of = |name: &str| -> Vec<bool> {
        let its = pods.iter().filter(|pod| pod["metadata"]["labels"]["app.kubernetes.io/instance"] == name);
        its.map(|pod| text(pod, "/spec/containers/0/image") == new).collect()
    };
    let is_changing = |(name, replicas): &(&str, usize)| {
        let its = of(name);
        its.len() < *replicas || (its.contains(&true) && its.contains(&false))
    };
    Ok(clusters.iter().filter(|one| is_changing(one)).map(|(name, _)| (*name).to_owned()).collect())
}

/// Of all pods here, each once.
fn images(scene: &Scene<'_>) -> Result<Vec<String>> {
    let pods = scene.kubectl().list("pods", Some("app.kubernetes.io/part-of=dragnet"))?;
    let mut images: Vec<String> = pods.iter().map(|pod| text(pod, "/spec/containers/0/image").to_owned()).collect();
    images.sort();
    images.dedup();
    Ok(images)
}
