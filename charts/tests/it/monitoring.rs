//! Alerts, runbooks and the dashboard name only metrics that the programs have, and each alert has its runbook.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use charts::{Helm, files_below};
use serde_json::Value;
use testcluster::Place;

/// Where programs and crates list what they count.
const SOURCES: &[&str] = &["orchestrator/src", "scan-worker/src", "kv-server/src", "operator/src", "crates"];
/// Metrics of Kubernetes itself.
const FOREIGN: &[&str] = &["kubelet_volume_stats_available_bytes", "kubelet_volume_stats_capacity_bytes"];

fn root() -> std::path::PathBuf {
    Place::find().unwrap().repository().to_owned()
}

/// Words that may be names of metrics: `dragnet_…` and those of [`FOREIGN`].
fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("dragnet_") || word.starts_with("kubelet_"))
}

/// Without what Prometheus' formats add to a name.
fn base(name: &str) -> &str {
    ["_total", "_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// Names in files called `metrics.rs` or below a folder `metrics`: whole ones, and those of a table whose head says what they
/// all begin with.
fn known() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for folder in SOURCES {
        for file in files_below(&root().join(folder), "rs").unwrap() {
            let is_list = file.file_name().is_some_and(|name| name == "metrics.rs")
                || file.parent().and_then(Path::file_name).is_some_and(|name| name == "metrics");
            if is_list {
                known.extend(names_in(&fs::read_to_string(&file).unwrap()));
            }
        }
    }
    known
}

fn names_in(text: &str) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = words(text).map(|word| base(word).to_owned()).collect();
    let mut prefix = None;
    for line in text.lines().filter_map(|line| line.strip_prefix("//! |")) {
        let cell = line.split('|').next().unwrap_or_default();
        let quoted: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        if cell.contains("all begin with") {
            prefix = quoted.first().copied();
        } else if let Some(prefix) = prefix {
            names.extend(quoted.iter().map(|name| base(&format!("{prefix}{name}")).to_owned()));
        }
    }
    names
}

fn alerts() -> Vec<Value> {
    let text = fs::read_to_string(root().join("charts/dragnet/files/alerts.yaml")).unwrap();
    let file: Value = yaml_serde::from_str(&text).unwrap();
    file["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

fn unknown<'a>(expressions: impl Iterator<Item = &'a str>) -> Vec<String> {
    let known = known();
    let mut unknown: Vec<String> = expressions
        .flat_map(words)
        .filter(|name| !FOREIGN.contains(name) && !known.contains(base(name)))
        .map(str::to_owned)
        .collect();
    unknown.sort();
    unknown.dedup();
    unknown
}

#[test]
fn alerts_look_at_metrics_that_exist() {
    let alerts = alerts();
    assert_eq!(unknown(alerts.iter().map(|alert| alert["expr"].as_str().unwrap())), [""; 0]);
    for alert in &alerts {
        let expression = alert["expr"].as_str().unwrap();
        assert!(words(expression).next().is_some(), "{alert}");
    }
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let alerts: BTreeSet<String> = alerts().iter().map(|alert| alert["alert"].as_str().unwrap().to_owned()).collect();
    let runbooks: BTreeSet<String> = files_below(&root().join("docs/runbooks"), "md")
        .unwrap()
        .iter()
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .filter(|name| name != "README")
        .collect();
    assert_eq!(alerts, runbooks);
    let index = fs::read_to_string(root().join("docs/runbooks/README.md")).unwrap();
    for alert in &alerts {
        assert!(index.contains(&format!("({alert}.md)")), "docs/runbooks/README.md does not name {alert}");
    }
}

#[test]
fn every_runbook_says_what_it_means_and_what_to_do() {
    for path in files_below(&root().join("docs/runbooks"), "md").unwrap() {
        if path.ends_with("README.md") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for heading in ["## What it means", "## What to look at", "## What to do"] {
            assert!(text.contains(heading), "{} has no {heading}", path.display());
        }
        assert_eq!(unknown(std::iter::once(text.as_str())), [""; 0], "{}", path.display());
    }
}

#[test]
fn every_alert_says_how_grave_it_is_and_for_whom() {
    for alert in alerts() {
        assert!(matches!(alert["labels"]["severity"].as_str(), Some("critical" | "warning")), "{alert}");
        assert!(alert["annotations"]["summary"].as_str().is_some_and(|text| text.len() > 20), "{alert}");
        let expression = alert["expr"].as_str().unwrap();
        let count = |bracket: char| expression.matches(bracket).count();
        assert_eq!((count('('), count('['), count('{')), (count(')'), count(']'), count('}')), "{expression}");
    }
}

#[test]
fn rendered_alerts_link_to_their_runbook_and_disabled_ones_are_gone() {
    let Some(helm) = Helm::or_skip("rendered_alerts_link_to_their_runbook_and_disabled_ones_are_gone") else { return };
    let enabled = r#"prometheusRule={"enabled":true,"disabled":["DragnetNoLeader"],"runbookUrl":"https://example.com/r/","alertLabels":{"team":"x"}}"#;
    let objects = helm.template("dragnet", &[enabled]).unwrap();
    let rule = objects.iter().find(|object| object.kind() == "PrometheusRule").unwrap();
    let rendered: Vec<&Value> = rule.0["spec"]["groups"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
        .collect();
    assert_eq!(rendered.len(), alerts().len() - 1);
    for alert in rendered {
        let name = alert["alert"].as_str().unwrap();
        assert_ne!(name, "DragnetNoLeader");
        assert_eq!(alert["annotations"]["runbook_url"], format!("https://example.com/r/{name}.md"));
        assert_eq!(alert["labels"]["team"], "x");
        assert!(alert["labels"]["severity"].is_string(), "{alert}");
    }
}

#[test]
fn the_dashboard_shows_metrics_that_exist() {
    let text = fs::read_to_string(root().join("charts/dragnet/files/dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut expressions = Vec::new();
    collect(&dashboard, &mut expressions);
    assert!(expressions.len() > 20, "only {} expressions", expressions.len());
    assert_eq!(unknown(expressions.iter().map(String::as_str)), [""; 0]);
    let panels = dashboard["panels"].as_array().unwrap();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        for key in ["title", "description"] {
            assert!(panel[key].as_str().is_some_and(|text| !text.is_empty()), "a panel without {key}: {panel}");
        }
    }
    let mut ids: Vec<i64> = panels.iter().map(|panel| panel["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), panels.len(), "ids are given once");
}

/// Every `expr` and `query` below `value`.
fn collect(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str() {
                    Some(text) if key == "expr" || key == "query" => into.push(text.to_owned()),
                    _other => collect(value, into),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn names_are_found_in_lists_and_in_tables() {
    let names = names_in(
        "//! | name (all begin with `dragnet_kv_`) | unit |\n//! |---|---|\n//! | `hits_total`, `waits` | |\nconst A: &str = \"dragnet_x_seconds\";\n",
    );
    for name in ["dragnet_kv_hits", "dragnet_kv_waits", "dragnet_x_seconds"] {
        assert!(names.contains(name), "{name}: {names:?}");
    }
}
