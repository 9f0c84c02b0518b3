//! The quickstart, as the README tells it.

use anyhow::{Result, ensure};

use crate::runner::{Needs, Story};
use crate::scene::{Scene, secs};

pub(crate) const STORY: Story =
    Story { name: "the_quickstart_leads_to_findings", deadline: secs(300), needs: Needs::Cluster, tell };

/// The namespace that the quickstart makes for itself.
const NAMESPACE: &str = "dragnet-quickstart";

fn tell(scene: &mut Scene<'_>) -> Result<()> {
    let folder = scene.world().place().repository().join("examples/quickstart");
    let all = scene.world().kubectl();
    let folder = folder.to_string_lossy().into_owned();
    scene.delete_at_the_end(NAMESPACE);
    all.run(&["apply", "-f", &folder])?;

    let quickstart = scene.elsewhere(NAMESPACE);
    for (kind, name) in quickstart.all_resources()? {
        quickstart.until_ready(&kind, &name, 150)?;
    }
    let at_a_glance = quickstart.kubectl().run(&["get", "dragnet"])?;
    println!("{at_a_glance}");
    for kind in ["orchestrator", "scanworker", "batchdataset", "corpus", "yararuleset"] {
        ensure!(at_a_glance.contains(kind), "kubectl get dragnet shows no {kind}:\n{at_a_glance}");
    }
    for ruleset in quickstart.kubectl().list("yararulesets", None)? {
        let name = ruleset["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        quickstart.kubectl().run(&["wait", "--for=condition=Complete", "--timeout=90s", "yararuleset", &name])?;
    }
    ensure!(!quickstart.dragnet(&["findings"])?.is_empty(), "the quickstart found nothing");
    Ok(())
}
