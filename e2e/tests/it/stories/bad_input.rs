//! What no schema can see: things that are missing, taken or broken. Conditions name the reason and the remedy, nothing else suffers, and
//! all of it can be deleted in any order.

use anyhow::{Result, ensure};
use testcluster::parts::{PODS, S3_SECRET, corpora, credentials, orchestrator, ruleset, storage};

use crate::runner::{Needs, Story};
use crate::scene::{Scene, secs, text};

pub(crate) const STORY: Story = Story {
    name: "what_is_missing_taken_or_broken_is_named_with_its_remedy",
    deadline: secs(240),
    needs: Needs::Cluster,
    tell,
};

fn tell(scene: &mut Scene<'_>) -> Result<()> {
    // Without any Orchestrator in the namespace.
    scene.apply(&corpora(scene.namespace()))?;
    until_reason(scene, "corpus", "files-0", "ReferenceNotFound", "create one")?;

    scene
        .apply("apiVersion: v1\nkind: Service\nmetadata: {name: taken-orchestrator}\nspec: {ports: [{port: 80}]}\n")?;
    let members = |name: &str, more: &str| {
        let place = storage(scene.namespace(), name);
        let head = format!("apiVersion: dragnet.dev/v1alpha1\nkind: Orchestrator\nmetadata: {{name: {name}}}\n");
        format!("{head}spec:\n  replicas: 1\n  volume: {{size: 1Gi}}\n  pods: {PODS}\n{more}  storage: {place}\n")
    };
    let no_secret = members("keyless", "").replace("{name: s3}", "{name: nobody-made-it}");
    scene.apply(&credentials().replace("name: s3", "name: not-the-key").replace(S3_SECRET, "not-the-secret"))?;
    let documents = [
        members("taken", ""),
        no_secret,
        members("locked-out", "").replace("{name: s3}", "{name: not-the-key}"),
        members("imageless", "  image: dragnet.test/nobody-made-it:1\n"),
        members("classless", "").replace("{size: 1Gi}", "{size: 1Gi, storageClassName: nobody-made-it}"),
    ];
    scene.apply(&documents.join("---\n"))?;
    until_reason(scene, "corpus", "files-0", "OrchestratorAmbiguous", "spec.orchestratorRef.name")?;
    until_reason(scene, "orchestrator", "taken", "NameTaken", "taken-orchestrator")?;
    until_reason(scene, "orchestrator", "keyless", "SecretMissing", "nobody-made-it")?;
    until_reason(scene, "orchestrator", "imageless", "PodsNotStarting", "nobody-made-it")?;
    until_reason(scene, "orchestrator", "classless", "PodsNotStarting", "nobody-made-it")?;

    // Beside all that, one that is right comes up and works.
    scene.apply(&orchestrator(scene.namespace(), 1, ""))?;
    scene.until_ready("orchestrator", "main", 90)?;
    let of_main = |name: &str, source: &str| {
        let head = format!("apiVersion: dragnet.dev/v1alpha1\nkind: YaraRuleset\nmetadata: {{name: {name}}}\n");
        format!("{head}spec: {{orchestratorRef: {{name: main}}, sources: [{{name: rules.yar, {source}}}]}}\n")
    };
    let config_map = |rule: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: rules}}\ndata: {{rules.yar: '{rule}'}}\n")
    };
    scene.apply(&config_map("rule right { condition: true }"))?;
    let documents = [
        of_main("broken", "configMap: {name: rules, key: rules.yar}"),
        of_main("sourceless", "configMap: {name: nobody-made-it, key: rules.yar}"),
        of_main("elsewhere", "inline: 'rule a { condition: true }'").replace("{name: main}", "{name: nobody-made-it}"),
        of_main("unstored", "inline: 'rule a { condition: true }'").replace("{name: main}", "{name: locked-out}"),
    ];
    scene.apply(&documents.join("---\n"))?;
    scene.until_ready("yararuleset", "broken", 60)?;
    until_reason(scene, "yararuleset", "unstored", "StorageRefused", "credentialsSecret")?;
    // No webhook looks at ConfigMaps that change later.
    scene.apply(&config_map("rule broken { condition: nonsense }"))?;
    until_reason(scene, "yararuleset", "broken", "RulesBroken", "nonsense")?;
    until_reason(scene, "yararuleset", "sourceless", "ReferenceNotFound", "nobody-made-it")?;
    until_reason(scene, "yararuleset", "elsewhere", "ReferenceNotFound", "nobody-made-it")?;

    let large = format!("rule large {{ strings: $a = \"{}\" condition: $a }}", "x".repeat(1_100_000));
    let refusal = scene.kubectl().refusal(&ruleset("large", &large))?;
    ensure!(refusal.contains("ConfigMap"), "too large, and the answer is:\n{refusal}");

    // The ones that others refer to go first.
    scene.kubectl().run(&["delete", "orchestrators", "--all", "--wait", "--timeout=60s"])?;
    scene.kubectl().run(&["delete", "corpora,yararulesets", "--all", "--wait", "--timeout=60s"]).map(drop)
}

/// Waits until a condition has the reason, and a message that names `word`.
fn until_reason(scene: &Scene<'_>, kind: &str, name: &str, reason: &str, word: &str) -> Result<()> {
    let mut seen = String::new();
    let waited = scene.until(&format!("{kind} {name} says {reason} and names {word}"), 60, || {
        let object = scene.kubectl().get(kind, name)?;
        seen = object["status"]["conditions"].to_string();
        let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
        let is_told = conditions.any(|one| text(one, "/reason") == reason && text(one, "/message").contains(word));
        Ok(is_told.then_some(()))
    });
    waited.map_err(|error| error.context(format!("its conditions are {seen}")))
}
