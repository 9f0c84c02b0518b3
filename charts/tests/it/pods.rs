//! Every pod that charts and examples bring fits the Pod Security Standard `restricted`.

use std::fs;

use charts::{Helm, Object, documents, files_below};
use serde_json::Value;
use testcluster::Place;

use crate::SETS;

/// Why `pod` would be refused by `restricted`, in the standard's own terms.
fn violations(pod: &Value) -> Vec<String> {
    let spec = &pod["spec"];
    let mut found = Vec::new();
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        if spec[field] == true {
            found.push(field.to_owned());
        }
    }
    let of_pod = &spec["securityContext"];
    for volume in spec["volumes"].as_array().into_iter().flatten() {
        let kinds = [
            "configMap",
            "csi",
            "downwardAPI",
            "emptyDir",
            "ephemeral",
            "persistentVolumeClaim",
            "projected",
            "secret",
        ];
        if !kinds.iter().any(|kind| volume.get(kind).is_some()) {
            found.push(format!("volume {volume}"));
        }
    }
    let containers =
        ["initContainers", "containers"].into_iter().flat_map(|key| spec[key].as_array().into_iter().flatten());
    for container in containers {
        let of_container = &container["securityContext"];
        let either =
            |key: &str| if of_container[key].is_null() { of_pod[key].clone() } else { of_container[key].clone() };
        let wanted = [
            ("runAsNonRoot", either("runAsNonRoot") == true),
            ("runAsUser", either("runAsUser") != 0),
            (
                "seccompProfile",
                matches!(either("seccompProfile")["type"].as_str(), Some("RuntimeDefault" | "Localhost")),
            ),
            ("allowPrivilegeEscalation", of_container["allowPrivilegeEscalation"] == false),
            (
                "capabilities",
                of_container["capabilities"]["drop"] == serde_json::json!(["ALL"])
                    && of_container["capabilities"]["add"].is_null(),
            ),
            ("privileged", of_container["privileged"] != true),
            // Beyond the standard, and a promise of ours.
            ("readOnlyRootFilesystem", of_container["readOnlyRootFilesystem"] == true),
        ];
        let broken = wanted.into_iter().filter(|(_, kept)| !kept);
        found.extend(broken.map(|(name, _)| format!("{name} of container {}", container["name"])));
    }
    found
}

fn check(where_from: &str, objects: &[Object]) -> usize {
    let pods: Vec<(&Object, &Value)> = objects.iter().filter_map(|object| Some((object, object.pod()?))).collect();
    for (object, pod) in &pods {
        assert_eq!(violations(pod), [""; 0], "{where_from}: {} {}", object.kind(), object.name());
    }
    pods.len()
}

#[test]
fn the_charts_pods_are_restricted() {
    let Some(helm) = Helm::or_skip("the_charts_pods_are_restricted") else { return };
    for (set, chart, values) in SETS {
        assert!(check(set, &helm.template(chart, values).unwrap()) >= 2, "{set}: the operator and helm's test");
    }
}

#[test]
fn the_examples_pods_are_restricted() {
    let examples = Place::find().unwrap().repository().join("examples/quickstart");
    let mut pods = 0;
    for file in files_below(&examples, "yaml").unwrap() {
        pods += check(&file.display().to_string(), &documents(&fs::read_to_string(&file).unwrap()).unwrap());
    }
    assert!(pods > 0);
}

#[test]
fn a_pod_that_may_do_more_is_found() {
    let pod = serde_json::json!({"spec": {"hostNetwork": true, "volumes": [{"name": "h", "hostPath": {"path": "/"}}], "containers": [{"name": "c"}]}});
    let found = violations(&pod).join(", ");
    for word in [
        "hostNetwork",
        "hostPath",
        "runAsNonRoot",
        "seccompProfile",
        "allowPrivilegeEscalation",
        "capabilities",
        "readOnlyRootFilesystem",
    ] {
        assert!(found.contains(word), "{word} is not in {found}");
    }
}

#[test]
fn the_operator_runs_what_the_values_name() {
    let Some(helm) = Helm::or_skip("the_operator_runs_what_the_values_name") else { return };
    let image = |values: &[&str]| {
        let objects = helm.template("dragnet", values).unwrap();
        let operator = objects.iter().find(|object| object.kind() == "Deployment").unwrap();
        let container = operator.0["spec"]["template"]["spec"]["containers"][0].clone();
        let given =
            container["env"].as_array().unwrap().iter().find(|variable| variable["name"] == "DRAGNET_IMAGE").unwrap();
        (container["image"].as_str().unwrap().to_owned(), given["value"].as_str().unwrap().to_owned())
    };
    let both = |name: &str| (name.to_owned(), name.to_owned());
    assert_eq!(image(&[]), both("dragnet:0.1.0"));
    assert_eq!(image(&[r#"image={"registry":"r.example.com/","tag":"2"}"#]), both("r.example.com/dragnet:2"));
    let digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let by_digest = format!(r#"image={{"tag":"2","digest":"{digest}"}}"#);
    assert_eq!(image(&[&by_digest]), both(&format!("dragnet@{digest}")), "a digest wins over a tag");
    assert_eq!(image(&[r#"operandImage="other:1""#]), ("dragnet:0.1.0".to_owned(), "other:1".to_owned()));
}

#[test]
fn the_operator_knows_every_variable_that_it_is_given() {
    let Some(helm) = Helm::or_skip("the_operator_knows_every_variable_that_it_is_given") else { return };
    let root = helm.place().repository();
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let sources = ["operator/src/config.rs", "crates/telemetry/src/args.rs", "crates/telemetry/src/traced.rs"];
    let known = sources.map(read).concat();
    for (set, chart, values) in SETS {
        for object in helm.template(chart, values).unwrap().iter().filter(|object| object.kind() == "Deployment") {
            let variables = object.0["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
            for name in variables.iter().map(|variable| variable["name"].as_str().unwrap()) {
                let is_the_users = name == "RUST_BACKTRACE";
                assert!(is_the_users || known.contains(&format!("\"{name}\"")), "{set}: nobody reads {name}");
            }
        }
    }
}
