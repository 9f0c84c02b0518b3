//! The quickstart's files agree with one another, with the samples, and with what its README promises to find.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use charts::{Object, documents, files_below};
use crd::{BatchDataset, Corpus, Orchestrator, ScanWorker, YaraRuleset};
use engine::{FileFacts, Known, Part};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use testcluster::Place;
use types::RulesetSource;

fn folder() -> PathBuf {
    Place::find().unwrap().repository().join("examples/quickstart")
}

/// Everything that `kubectl apply -f examples/quickstart/` applies: subfolders are not.
fn applied() -> Vec<Object> {
    let files = files_below(&folder(), "yaml").unwrap().into_iter().filter(|file| file.parent() == Some(&folder()));
    files.flat_map(|file| documents(&fs::read_to_string(file).unwrap()).unwrap()).collect()
}

fn one(objects: &[Object], kind: &str, name: &str) -> Object {
    let mut found = objects.iter().filter(|object| object.kind() == kind && object.name() == name);
    found.next().unwrap_or_else(|| panic!("no {kind} {name}")).clone()
}

fn ruleset(file: &str) -> YaraRuleset {
    typed(
        &documents(&fs::read_to_string(folder().join(file)).unwrap())
            .unwrap()
            .into_iter()
            .find(|object| object.kind() == "YaraRuleset")
            .unwrap(),
    )
}

fn typed<T: DeserializeOwned>(object: &Object) -> T {
    serde_json::from_value(object.0.clone())
        .unwrap_or_else(|error| panic!("{} {}: {error}", object.kind(), object.name()))
}

#[test]
fn every_resource_keeps_the_rules_of_its_kind() {
    let mut kinds = BTreeSet::new();
    for object in applied().into_iter().filter(|object| object.0["apiVersion"] == "dragnet.dev/v1alpha1") {
        let checked = match object.kind() {
            "Orchestrator" => typed::<Orchestrator>(&object).validate_cel(),
            "ScanWorker" => typed::<ScanWorker>(&object).validate_cel(),
            "BatchDataset" => typed::<BatchDataset>(&object).validate_cel(),
            "Corpus" => typed::<Corpus>(&object).validate_cel(),
            "YaraRuleset" => typed::<YaraRuleset>(&object).validate_cel(),
            other => panic!("{other} is no kind of ours"),
        };
        checked.unwrap_or_else(|error| panic!("{} {}: {error}", object.kind(), object.name()));
        kinds.insert(object.kind().to_owned());
    }
    assert_eq!(kinds.len(), 5, "the quickstart shows every kind");
    ruleset("edited/ruleset.yaml").validate_cel().unwrap();
}

#[test]
fn everything_lies_in_the_quickstarts_namespace_which_comes_first() {
    let objects = applied();
    assert_eq!((objects[0].kind(), objects[0].name()), ("Namespace", "dragnet-quickstart"));
    assert_eq!(objects[0].0["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    for object in &objects[1..] {
        assert_eq!(object.namespace(), "dragnet-quickstart", "{} {}", object.kind(), object.name());
    }
}

#[test]
fn what_is_referred_to_is_there() {
    let objects = applied();
    let text = objects.iter().map(|object| object.0.to_string()).collect::<String>();
    for (kind, name, named) in [
        ("Secret", "object-storage", r#""credentialsSecret":{"name":"object-storage"}"#),
        ("Service", "object-storage", "http://object-storage:7070"),
        ("BatchDataset", "known", r#""datasets":["known"]"#),
    ] {
        assert!(text.contains(named), "{named}");
        one(&objects, kind, name);
    }
    let dataset: BatchDataset = typed(&one(&objects, "BatchDataset", "known"));
    let known = one(&objects, "ConfigMap", "known-files");
    let file = Path::new(&dataset.spec.source.unwrap().storage.url).file_name().unwrap().to_string_lossy().into_owned();
    assert!(known.0["data"][&file].is_string(), "{file} is uploaded");
    let job = one(&objects, "Job", "upload-samples").0.to_string();
    let corpus: Corpus = typed(&one(&objects, "Corpus", "samples"));
    for url in ["s3://quickstart/known", &corpus.spec.url] {
        let below = url.strip_prefix("s3://quickstart/").unwrap();
        assert!(job.contains(&format!(r#""mountPath":"/upload/{below}""#)), "{url} is uploaded");
    }
}

#[test]
fn the_image_is_the_one_that_the_chart_runs() {
    let job = one(&applied(), "Job", "upload-samples");
    let image = &job.0["spec"]["template"]["spec"]["containers"][0]["image"];
    let chart = fs::read_to_string(folder().join("../../charts/dragnet/Chart.yaml")).unwrap();
    let chart: serde_json::Value = yaml_serde::from_str(&chart).unwrap();
    assert_eq!(*image, format!("dragnet:{}", chart["appVersion"].as_str().unwrap()));
}

#[test]
fn samples_are_those_of_the_examples() {
    let samples = one(&applied(), "ConfigMap", "samples");
    let data = samples.0["data"].as_object().unwrap();
    assert_eq!(data.len(), files_below(&folder().join("../samples"), "txt").unwrap().len());
    for (name, content) in data {
        let original = fs::read_to_string(folder().join("../samples").join(name)).unwrap();
        assert_eq!(content.as_str().unwrap(), original, "{name}");
    }
}

/// Rule names by file, as a worker would find them.
fn findings(ruleset: &YaraRuleset) -> BTreeMap<String, Vec<String>> {
    let objects = applied();
    let known = one(&objects, "ConfigMap", "known-files").0["data"]["known.jsonl"].as_str().unwrap().to_owned();
    let known: Vec<serde_json::Value> = known.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let sources: Vec<RulesetSource> = ruleset
        .spec
        .sources
        .iter()
        .map(|source| RulesetSource { namespace: source.name.clone(), text: source.inline.clone().unwrap() })
        .collect();
    let program = engine::compile(&[Part { name: "first-rules", sources: &sources }]).unwrap();
    let mut scanner = program.scanner().unwrap();
    let mut found = BTreeMap::new();
    for (name, content) in one(&objects, "ConfigMap", "samples").0["data"].as_object().unwrap() {
        let content = content.as_str().unwrap().as_bytes();
        let digest: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
        let is_known = known.iter().any(|entry| entry["sha256"] == digest && entry["known_good"] == true);
        let facts = FileFacts::new(name.as_bytes(), content.len() as u64).with(Known::new(is_known, "", "", 0));
        let hits = scanner.scan_mem(content, &facts, Duration::from_secs(10)).unwrap();
        if !hits.is_empty() {
            found.insert(name.clone(), hits.into_iter().map(|hit| hit.rule).collect());
        }
    }
    found
}

fn expected(pairs: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
    pairs.iter().map(|(file, rule)| ((*file).to_owned(), vec![(*rule).to_owned()])).collect()
}

#[test]
fn the_rules_find_what_the_readme_says() {
    let first = [("private-key.txt", "private_key"), ("ransom-note.txt", "ransom_note")];
    assert_eq!(findings(&ruleset("40-hunt.yaml")), expected(&first));
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    let next =
        [("ransom-note.txt", "ransom_note"), ("reverse-shell.txt", "reverse_shell"), ("web-shell.txt", "web_shell")];
    assert_eq!(findings(&ruleset("edited/ruleset.yaml")), expected(&next), "the dataset vouches for the key");
    for (_file, rule) in first.into_iter().chain(next) {
        assert!(readme.contains(rule), "{rule}");
    }
}

#[test]
fn the_edit_keeps_a_rule_and_the_broken_one_does_not_compile() {
    let source = |ruleset: &YaraRuleset, name: &str| {
        ruleset.spec.sources.iter().find(|source| source.name == name).and_then(|source| source.inline.clone())
    };
    let (before, after) = (ruleset("40-hunt.yaml"), ruleset("edited/ruleset.yaml"));
    assert_eq!(before.metadata.name, after.metadata.name);
    assert_eq!(source(&before, "notes.yar"), source(&after, "notes.yar"), "what did not change is not scanned again");
    let broken = ruleset("edited/broken.yaml");
    let sources = [RulesetSource { namespace: "broken".to_owned(), text: source(&broken, "broken.yar").unwrap() }];
    let failure = engine::compile(&[Part { name: "broken", sources: &sources }]).unwrap_err();
    assert!(failure.to_string().contains("missing"), "{failure}");
}
