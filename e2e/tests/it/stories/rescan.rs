//! Rules are edited, and only what is new runs over the old files.

use anyhow::{Result, ensure};

use super::hunt::{self, Size};
use crate::runner::{Needs, Story};
use crate::scene::{Scene, check_receipts, number, secs};
use testcluster::parts::{EDITED_RULES, ruleset};

pub(crate) const STORY: Story =
    Story { name: "edited_rules_start_an_incremental_rescan", deadline: secs(480), needs: Needs::Cluster, tell };

fn tell(scene: &mut Scene<'_>) -> Result<()> {
    let hunt = hunt::begin(scene, &Size { members: 3, workers: 2, files: 300, kilobytes: 4 })?;
    hunt.is_complete(scene, 180)?;
    let first = scene.kubectl().get("yararuleset", "marks")?;
    ensure!(number(&first, "/status/version") == 1, "the first version is called {}", first["status"]["version"]);

    scene.apply(&ruleset("marks", EDITED_RULES))?;
    let second = scene.until_condition("yararuleset", "marks", "Complete", "True", 120)?;
    ensure!(number(&second, "/status/version") == 2, "the edit made version {}", second["status"]["version"]);
    check_receipts(&scene.dragnet(&["receipt", "marks"])?, hunt.files)?;
    let of_rule = |rule: &str| Ok::<_, anyhow::Error>(scene.dragnet(&["findings", "--rule", rule])?.len() as u64);
    ensure!(of_rule("marked")? == hunt.marked, "findings of the rule that stayed are not what they were");
    ensure!(of_rule("numbered")? == hunt.files, "the new rule did not run over every old file");
    Ok(())
}
