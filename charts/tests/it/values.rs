//! Values that cannot be meant are refused before anything is rendered.

use std::fs;

use charts::Helm;
use serde_json::Value;
use testcluster::Place;

#[test]
fn mistaken_values_are_refused_by_name() {
    let Some(helm) = Helm::or_skip("mistaken_values_are_refused_by_name") else { return };
    for (value, named) in [
        ("replica=3", "replica"),
        ("replicas=-1", "replicas"),
        (r#"replicas="2""#, "replicas"),
        (r#"webhook={"failurePolicy":"Maybe"}"#, "failurePolicy"),
        (r#"webhook={"certificate":"mine"}"#, "certificate"),
        (r#"webhook={"timeoutSeconds":31}"#, "timeoutSeconds"),
        (r#"image={"digest":"latest"}"#, "digest"),
        (r#"image={"pullPolicy":"Sometimes"}"#, "pullPolicy"),
        (r#"image={"repository":""}"#, "repository"),
        (r#"watchNamespaces=["Red"]"#, "watchNamespaces"),
        (r#"watchNamespaces=["red","red"]"#, "watchNamespaces"),
        (r#"networkPolicy={"apiServer":{"cidrs":["10.0.0.1"]}}"#, "cidrs"),
        (r#"networkPolicy={"apiServer":{"ports":[70000]}}"#, "ports"),
        (r#"podMonitor={"interval":"soon"}"#, "interval"),
        (r#"tracing={"endpoint":"collector:4317"}"#, "endpoint"),
        (r#"imagePullSecrets=["name"]"#, "imagePullSecrets"),
        (r#"logging={"format":"xml"}"#, "format"),
    ] {
        let error = helm.render("dragnet", &[value]).expect_err(value).to_string();
        assert!(error.contains(named) && error.contains("schema"), "{value}: {error}");
    }
    let error = helm.render("dragnet-crds", &["kept=true"]).expect_err("kept").to_string();
    assert!(error.contains("kept"), "{error}");
}

#[test]
fn the_schema_knows_exactly_the_values_there_are() {
    let charts = Place::find().unwrap().repository().join("charts");
    for chart in ["dragnet", "dragnet-crds"] {
        let read = |name: &str| fs::read_to_string(charts.join(chart).join(name)).unwrap();
        let values: Value = yaml_serde::from_str(&read("values.yaml")).unwrap();
        let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
        assert_eq!(only_in_one(&values, &schema, ""), ["global is not in values.yaml"], "{chart}");
    }
}

fn only_in_one(values: &Value, schema: &Value, path: &str) -> Vec<String> {
    let Some(known) = schema["properties"].as_object() else { return Vec::new() };
    let empty = serde_json::Map::new();
    let present = values.as_object().unwrap_or(&empty);
    // A map that is empty by default has keys that only its user knows.
    if present.is_empty() || !path.is_empty() && schema["additionalProperties"] != false {
        return Vec::new();
    }
    let mut found: Vec<String> = known
        .keys()
        .filter(|key| !present.contains_key(*key))
        .filter(|key| !is_free(path, key))
        .map(|key| format!("{path}{key} is not in values.yaml"))
        .collect();
    found.extend(
        present.keys().filter(|key| !known.contains_key(*key)).map(|key| format!("{path}{key} is not in the schema")),
    );
    for (key, value) in present {
        found.extend(only_in_one(value, &known.get(key).cloned().unwrap_or_default(), &format!("{path}{key}.")));
    }
    found
}

/// `resources` is Kubernetes' own structure, of which the defaults use a part.
fn is_free(path: &str, key: &str) -> bool {
    path == "resources." && key == "claims"
}
