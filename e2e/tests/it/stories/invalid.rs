//! What is wrong is refused at once, in words a stranger understands.

use anyhow::{Result, ensure};

use crate::runner::{Needs, Story};
use crate::scene::{Scene, secs};
use testcluster::parts::{CLUSTER, orchestrator, ruleset};

pub(crate) const STORY: Story = Story {
    name: "invalid_resources_of_every_kind_are_refused_in_plain_words",
    deadline: secs(120),
    needs: Needs::Cluster,
    tell,
};

/// Kind, its spec, and what the answer has to say.
const CASES: &[(&str, &str, &str)] = &[
    ("Orchestrator", "{replicas: 4, storage: {url: 's3://bucket/x'}}", "replicas must be 1, 3 or 5"),
    (
        "Orchestrator",
        "{replicas: 3, storage: {url: 'ftp://bucket/x'}}",
        "url must be s3://bucket/prefix or file:///absolute/path",
    ),
    ("Orchestrator", "{storage: {url: 's3://bucket/x', endpoint: 'http://s3.example.org'}}", "allowHttp: true"),
    (
        "Orchestrator",
        "{storage: {url: 'file:///data', region: us-east-1}}",
        "a file:// URL takes no endpoint, region or credentialsSecret",
    ),
    ("Orchestrator", "{storage: {url: 's3://bucket/x'}, sessionTtl: 1s}", "sessionTtl must be between 2s and 10m"),
    ("ScanWorker", "{replicas: -1}", "replicas must be between 0 and 10000"),
    ("ScanWorker", "{cores: 0}", "cores must be between 1 and 256"),
    (
        "ScanWorker",
        "{autoscaling: {minReplicas: 5, maxReplicas: 2}}",
        "minReplicas must not be above autoscaling.maxReplicas",
    ),
    ("BatchDataset", "{versions: {url: 's3://bucket/x'}, shards: 0}", "shards must be between 1 and 64"),
    ("BatchDataset", "{versions: {url: 's3://bucket/x'}, keep: 1}", "keep must be between 2 and 100"),
    ("Corpus", "{url: '/usr/bin'}", "url must be s3://bucket/prefix or file:///absolute/path"),
    ("Corpus", "{url: 's3://bucket/x', listingInterval: 0s}", "listingInterval must be between 1s and 720h"),
    ("YaraRuleset", "{sources: []}", "sources must have at least one entry"),
    ("YaraRuleset", "{sources: [{name: a}]}", "a source has either inline or configMap"),
];

fn tell(scene: &mut Scene<'_>) -> Result<()> {
    for (kind, spec, expected) in CASES {
        let document =
            format!("apiVersion: dragnet.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: wrong}}\nspec: {spec}\n");
        let refusal = scene.kubectl().refusal(&document)?;
        ensure!(refusal.contains(expected), "{kind} {spec}: expected {expected:?}, the answer was:\n{refusal}");
    }
    let broken = "rule broken {\n  condition: nonsense\n}";
    let refusal = scene.kubectl().refusal(&ruleset("broken", broken))?;
    ensure!(
        refusal.contains("nonsense") && refusal.contains("line 2, column 14"),
        "the answer does not name the place and the word:\n{refusal}"
    );

    // What was right may not become wrong either.
    scene.apply(&orchestrator(scene.namespace(), 1, "  paused: true\n"))?;
    let elsewhere = orchestrator("another-place", 1, "  paused: true\n");
    let refusal = scene.kubectl().refusal(&elsewhere)?;
    ensure!(refusal.contains("storage.url cannot change"), "{CLUSTER} may move its storage:\n{refusal}");
    Ok(())
}
