//! Everything that the chart renders, word for word, so that a change of a template shows what it changes.
//!
//! `DRAGNET_UPDATE_GOLDEN=1` writes the files anew; the diff is for the reviewer.

use std::env;
use std::fs;

use charts::Helm;

use crate::SETS;

/// Sets that are kept as files. The others differ from them in a few lines, and have tests that say which.
const REVIEWED: &[&str] = &["default", "everything", "scoped", "bare"];

#[test]
fn helm_has_nothing_to_say_about_the_charts() {
    let Some(helm) = Helm::or_skip("helm_has_nothing_to_say_about_the_charts") else { return };
    for chart in ["dragnet", "dragnet-crds"] {
        helm.lint(chart).unwrap();
    }
}

#[test]
fn what_is_rendered_is_what_was_reviewed() {
    let Some(helm) = Helm::or_skip("what_is_rendered_is_what_was_reviewed") else { return };
    let mut different = Vec::new();
    for (name, chart, values) in SETS.iter().filter(|(name, ..)| REVIEWED.contains(name)) {
        let mut rendered: Vec<String> = helm
            .template(chart, values)
            .unwrap()
            .into_iter()
            // The dashboard and the alerts are files of their own, which reviewers read there.
            .filter(|object| !object.name().ends_with("-dashboard") && object.kind() != "PrometheusRule")
            .map(|object| yaml_serde::to_string(&object.0).unwrap())
            .collect();
        rendered.sort();
        let rendered = rendered.join("---\n");
        let path = helm.place().repository().join(format!("charts/tests/golden/{name}.yaml"));
        if env::var_os("DRAGNET_UPDATE_GOLDEN").is_some() {
            fs::write(&path, &rendered).unwrap();
        }
        if fs::read_to_string(&path).unwrap_or_default() != rendered {
            let actual = env::temp_dir().join(format!("dragnet-golden-{name}.yaml"));
            fs::write(&actual, &rendered).unwrap();
            different.push(format!("diff {} {}", path.display(), actual.display()));
        }
    }
    assert!(
        different.is_empty(),
        "look at it, and if it is right run again with DRAGNET_UPDATE_GOLDEN=1:\n{}",
        different.join("\n")
    );
}

#[test]
fn names_fit_however_long_the_releases_name_is() {
    let Some(helm) = Helm::or_skip("names_fit_however_long_the_releases_name_is") else { return };
    let name = format!("fullnameOverride=\"{}\"", "a-long-name-".repeat(6).trim_end_matches('-'));
    for object in helm.template("dragnet", &[&name, r#"webhook={"certificate":"certManager"}"#]).unwrap() {
        assert!(object.name().len() <= 63, "{} {}", object.kind(), object.name());
        assert!(!object.name().contains("--"), "{} {}", object.kind(), object.name());
    }
}

#[test]
fn everything_is_labelled_as_of_this_chart() {
    let Some(helm) = Helm::or_skip("everything_is_labelled_as_of_this_chart") else { return };
    for (set, chart, values) in SETS {
        for object in helm.template(chart, values).unwrap() {
            if object.name().ends_with("-more") {
                continue; // the user's own
            }
            let labels = &object.0["metadata"]["labels"];
            let what = format!("{set}: {} {}", object.kind(), object.name());
            assert_eq!(labels["app.kubernetes.io/instance"], "dragnet", "{what}");
            assert_eq!(labels["app.kubernetes.io/part-of"], "dragnet", "{what}");
        }
    }
}

#[test]
fn no_label_of_a_user_replaces_one_that_selectors_rely_on() {
    let Some(helm) = Helm::or_skip("no_label_of_a_user_replaces_one_that_selectors_rely_on") else { return };
    let mine = r#"{"app.kubernetes.io/name":"mine","app.kubernetes.io/part-of":"mine","team":"security"}"#;
    let objects = helm.template("dragnet", &[&format!("commonLabels={mine}"), &format!("podLabels={mine}")]).unwrap();
    let operator = objects.iter().find(|object| object.kind() == "Deployment").unwrap();
    for labels in [&operator.0["metadata"]["labels"], &operator.0["spec"]["template"]["metadata"]["labels"]] {
        let label = |key: &str| labels[key].as_str().unwrap().to_owned();
        assert_eq!(
            [label("app.kubernetes.io/name"), label("app.kubernetes.io/part-of"), label("team")],
            ["dragnet", "dragnet", "security"]
        );
    }
}
