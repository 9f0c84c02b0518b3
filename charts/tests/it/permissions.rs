//! What the operator and people may do.

use charts::{Helm, Object};
use serde_json::Value;

use crate::SETS;

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn rules(object: &Object) -> impl Iterator<Item = &Value> {
    object.0["rules"].as_array().into_iter().flatten()
}

fn roles(objects: &[Object]) -> impl Iterator<Item = &Object> {
    objects.iter().filter(|object| matches!(object.kind(), "Role" | "ClusterRole"))
}

#[test]
fn no_role_has_a_wildcard_or_a_verb_that_grants_more() {
    let Some(helm) = Helm::or_skip("no_role_has_a_wildcard_or_a_verb_that_grants_more") else { return };
    let mut seen = 0;
    for (set, chart, values) in SETS {
        let objects = helm.template(chart, values).unwrap();
        for role in roles(&objects) {
            for rule in rules(role) {
                let what = format!("{set}: {} {}: {rule}", role.kind(), role.name());
                for key in ["apiGroups", "resources", "verbs"] {
                    let words = texts(&rule[key]);
                    assert!(!words.is_empty(), "{what}");
                    assert!(words.iter().all(|word| !word.contains('*')), "{what}");
                }
                for verb in ["escalate", "bind", "impersonate", "deletecollection"] {
                    assert!(!texts(&rule["verbs"]).contains(&verb), "{what}");
                }
                let touches = texts(&rule["resources"]);
                for resource in [
                    "roles",
                    "clusterroles",
                    "rolebindings",
                    "clusterrolebindings",
                    "pods/exec",
                    "nodes",
                    "serviceaccounts/token",
                ] {
                    assert!(!touches.contains(&resource), "{what}");
                }
                seen += 1;
            }
        }
    }
    assert!(seen > 20, "only {seen} rules were looked at");
}

#[test]
fn secrets_are_never_listed() {
    let Some(helm) = Helm::or_skip("secrets_are_never_listed") else { return };
    for (_set, chart, values) in SETS {
        let objects = helm.template(chart, values).unwrap();
        for rule in roles(&objects).flat_map(rules).filter(|rule| texts(&rule["resources"]).contains(&"secrets")) {
            for verb in ["list", "watch", "delete", "update"] {
                let named = rule["resourceNames"].is_array();
                assert!(named || !texts(&rule["verbs"]).contains(&verb), "{rule}");
            }
            assert_eq!(texts(&rule["resources"]), ["secrets"], "a rule for secrets is for nothing else");
        }
    }
}

#[test]
fn with_a_list_of_namespaces_nothing_is_granted_elsewhere() {
    let Some(helm) = Helm::or_skip("with_a_list_of_namespaces_nothing_is_granted_elsewhere") else { return };
    let objects =
        helm.template("dragnet", &[r#"watchNamespaces=["red","blue"]"#, r#"rbac={"aggregate":false}"#]).unwrap();
    let cluster_wide: Vec<&str> = objects
        .iter()
        .filter(|object| object.kind() == "ClusterRole")
        .flat_map(rules)
        .flat_map(|rule| texts(&rule["resources"]))
        .collect();
    assert_eq!(cluster_wide, ["validatingwebhookconfigurations"]);

    let role_in = |namespace: &str| {
        objects
            .iter()
            .find(|object| object.kind() == "Role" && object.namespace() == namespace)
            .map(|role| role.0["rules"].clone())
    };
    assert!(role_in("red").is_some());
    assert_eq!(role_in("red"), role_in("blue"));
    for namespace in ["red", "blue"] {
        let binding =
            objects.iter().find(|object| object.kind() == "RoleBinding" && object.namespace() == namespace).unwrap();
        assert_eq!(binding.0["subjects"][0]["namespace"], "dragnet-system");
        assert_eq!(binding.0["subjects"][0]["name"], "dragnet-operator");
    }
}

#[test]
fn scoped_or_not_the_operator_may_do_the_same_in_a_namespace() {
    let Some(helm) = Helm::or_skip("scoped_or_not_the_operator_may_do_the_same_in_a_namespace") else { return };
    let everywhere = helm.template("dragnet", &[]).unwrap();
    let scoped = helm.template("dragnet", &[r#"watchNamespaces=["red"]"#]).unwrap();
    let of = |objects: &[Object], kind: &str, namespace: &str| -> Vec<Value> {
        let found = objects.iter().find(|object| {
            object.kind() == kind && object.namespace() == namespace && object.name() == "dragnet-operator"
        });
        found.map(|role| rules(role).cloned().collect()).unwrap_or_default()
    };
    let mut parts = of(&scoped, "Role", "red");
    parts.extend(of(&scoped, "ClusterRole", ""));
    assert_eq!(of(&everywhere, "ClusterRole", ""), parts);
}

#[test]
fn analysts_edit_what_to_look_for_and_administrators_the_machinery() {
    let Some(helm) = Helm::or_skip("analysts_edit_what_to_look_for_and_administrators_the_machinery") else { return };
    let objects = helm.template("dragnet", &[]).unwrap();
    let resources = |name: &str| -> Vec<String> {
        let role = objects.iter().find(|object| object.kind() == "ClusterRole" && object.name() == name).unwrap();
        rules(role).flat_map(|rule| texts(&rule["resources"])).map(str::to_owned).collect()
    };
    assert_eq!(resources("dragnet-operator-view").len(), 5);
    assert_eq!(resources("dragnet-operator-edit"), ["corpora", "yararulesets"]);
    assert_eq!(
        resources("dragnet-operator-admin"),
        ["orchestrators", "scanworkers", "batchdatasets", "scanworkers/scale"]
    );
}
