//! From the charts and the image of the commit before to these, while a hunt runs.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use testcluster::parts::{CLUSTER, EDITED_RULES, ruleset};
use testcluster::{Image, output};

use super::hunt::{self, Size};
use crate::runner::{Needs, Story};
use crate::scene::{Scene, check_receipts, secs, text};

pub(crate) const STORY: Story = Story {
    name: "an_upgrade_from_the_commit_before_keeps_everything",
    deadline: secs(900),
    needs: Needs::OwnNodesAlone,
    tell,
};

/// What `previous.sh` says when history has no charts.
const NO_SUCH_COMMIT: i32 = 3;

fn tell(scene: &mut Scene<'_>) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let programs = scene.world().program("dragnet");
    let target = programs.ancestors().nth(2).context("programs are in a target folder")?;
    let mut command = Command::new("bash");
    command.arg(scene.world().place().script("previous.sh")).arg(folder.path()).arg(target);
    let previous = output(command, None)?;
    if previous.status.code() == Some(NO_SUCH_COMMIT) {
        println!("this history has no commit with charts before this one: there is nothing to upgrade from");
        return Ok(());
    }
    if !previous.status.success() {
        bail!("previous.sh: {}", String::from_utf8_lossy(&previous.stderr));
    }
    let image = Image::parse(String::from_utf8_lossy(&previous.stdout).trim()).context("previous.sh names an image")?;
    scene.world().cluster().load(&folder.path().join("image.tar"))?;

    scene.reinstall_at_the_end();
    scene.world().install(&folder.path().join("charts"), &image, &[])?;
    let hunt = hunt::begin(scene, &Size { members: 3, workers: 2, files: 1000, kilobytes: 8 })?;
    ensure!(images(scene)? == [image.name()], "pods run {:?} and not the image of before", images(scene)?);

    scene.world().install(&scene.world().charts(), scene.world().image(), &[])?;
    scene.until("every pod runs the new image", 240, || {
        Ok((images(scene)? == [scene.world().image().name()]).then_some(()))
    })?;
    scene.until_ready("orchestrator", CLUSTER, 120)?;
    hunt.is_complete(scene, 120)?;
    scene.apply(&ruleset("marks", EDITED_RULES))?;
    scene.until_condition("yararuleset", "marks", "Complete", "True", 120)?;
    check_receipts(&scene.dragnet(&["receipt", "marks"])?, hunt.files)
}

/// Of all pods here, each once.
fn images(scene: &Scene<'_>) -> Result<Vec<String>> {
    let pods = scene.kubectl().list("pods", Some("app.kubernetes.io/part-of=dragnet"))?;
    let mut images: Vec<String> = pods.iter().map(|pod| text(pod, "/spec/containers/0/image").to_owned()).collect();
    images.sort();
    images.dedup();
    Ok(images)
}
