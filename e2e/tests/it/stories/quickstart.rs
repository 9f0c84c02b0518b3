//! The quickstart, file by file as its README tells it.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use testcluster::Kubectl;

use crate::runner::{Needs, Story};
use crate::scene::{Scene, number, secs};

pub(crate) const STORY: Story =
    Story { name: "the_quickstart_leads_to_findings", deadline: secs(360), needs: Needs::OwnNodes, tell };

/// The namespace that the quickstart makes for itself.
const NAMESPACE: &str = "dragnet-quickstart";
const RULESET: &str = "first-rules";

fn tell(scene: &mut Scene<'_>) -> Result<()> {
    let folder = scene.world().place().repository().join("examples/quickstart");
    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    scene.delete_at_the_end(NAMESPACE);
    scene.world().kubectl().run(&["apply", "-f", &file("")])?;

    let quickstart = scene.elsewhere(NAMESPACE);
    for (kind, name) in quickstart.all_resources()? {
        quickstart.until_ready(&kind, &name, 150).inspect_err(|_| quickstart.explain())?;
    }
    let kubectl = quickstart.kubectl();
    let at_a_glance = kubectl.run(&["get", "dragnet"])?;
    println!("{at_a_glance}");
    for kind in ["orchestrator", "scanworker", "batchdataset", "corpus", "yararuleset"] {
        ensure!(at_a_glance.contains(kind), "kubectl get dragnet shows no {kind}:\n{at_a_glance}");
    }
    complete(&kubectl)?;
    let found = rules_that_fired(&quickstart)?;
    ensure!(found.contains("ransom_note"), "the quickstart found {found:?}");

    kubectl.run(&["apply", "-f", &file("edited/ruleset.yaml")])?;
    quickstart.until("the edited rules are the second version", 60, || {
        Ok((number(&kubectl.get("yararuleset", RULESET)?, "/status/version") == 2).then_some(()))
    })?;
    complete(&kubectl)?;
    let found = rules_that_fired(&quickstart)?;
    ensure!(found.contains("ransom_note") && found.contains("web_shell"), "after the edit it found {found:?}");

    let refused = kubectl.run(&["apply", "-f", &file("edited/broken.yaml")]);
    let refusal = format!("{:#}", refused.err().unwrap_or_else(|| anyhow::anyhow!("it was accepted")));
    ensure!(refusal.contains("line 4") || refusal.contains(":4"), "broken rules are answered by: {refusal}");
    Ok(())
}

fn complete(kubectl: &Kubectl) -> Result<()> {
    kubectl.run(&["wait", "--for=condition=Complete", &format!("yararuleset/{RULESET}"), "--timeout=90s"]).map(drop)
}

fn rules_that_fired(quickstart: &Scene<'_>) -> Result<BTreeSet<String>> {
    let files = quickstart.dragnet(&["findings"])?;
    let rules = files.iter().filter_map(|file| file["rules"].as_array()).flatten();
    Ok(rules.filter_map(|rule| rule["identifier"].as_str().map(str::to_owned)).collect())
}
