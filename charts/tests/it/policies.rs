//! NetworkPolicies: nothing but what is needed.

use charts::{Helm, Object};
use serde_json::Value;

fn policies(objects: &[Object]) -> Vec<&Object> {
    objects.iter().filter(|object| object.kind() == "NetworkPolicy").collect()
}

fn ports(rules: &Value) -> Vec<i64> {
    let mut ports: Vec<i64> = rules
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|rule| rule["ports"].as_array().into_iter().flatten())
        .filter_map(|port| port["port"].as_i64())
        .collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

#[test]
fn every_pod_begins_with_nothing_allowed() {
    let Some(helm) = Helm::or_skip("every_pod_begins_with_nothing_allowed") else { return };
    let objects = helm.template("dragnet", &[r#"networkPolicy={"operandNamespaces":["red","blue"]}"#]).unwrap();
    let denies: Vec<&Object> =
        policies(&objects).into_iter().filter(|policy| policy.name().ends_with("default-deny")).collect();
    let mut namespaces: Vec<&str> = denies.iter().map(|policy| policy.namespace()).collect();
    namespaces.sort_unstable();
    assert_eq!(namespaces, ["blue", "dragnet-system", "red"]);
    for policy in denies {
        let spec = &policy.0["spec"];
        assert_eq!(spec["policyTypes"], serde_json::json!(["Ingress", "Egress"]));
        assert!(spec["ingress"].is_null() && spec["egress"].is_null(), "{spec}");
    }
}

#[test]
fn no_rule_allows_every_port() {
    let Some(helm) = Helm::or_skip("no_rule_allows_every_port") else { return };
    let objects = helm.template("dragnet", &[r#"networkPolicy={"operandNamespaces":["red"]}"#]).unwrap();
    let mut seen = 0;
    for policy in policies(&objects) {
        for direction in ["ingress", "egress"] {
            for rule in policy.0["spec"][direction].as_array().into_iter().flatten() {
                assert!(rule["ports"].as_array().is_some_and(|ports| !ports.is_empty()), "{}: {rule}", policy.name());
                seen += 1;
            }
        }
    }
    assert!(seen > 10, "only {seen} rules");
}

#[test]
fn each_component_reaches_what_it_needs_and_no_more() {
    let Some(helm) = Helm::or_skip("each_component_reaches_what_it_needs_and_no_more") else { return };
    let objects = helm.template("dragnet", &[r#"networkPolicy={"operandNamespaces":["red"]}"#]).unwrap();
    let reach = |name: &str| {
        let policy = policies(&objects).into_iter().find(|policy| policy.name() == name).unwrap();
        (ports(&policy.0["spec"]["ingress"]), ports(&policy.0["spec"]["egress"]))
    };
    assert_eq!(reach("dragnet-operator"), (vec![8080, 9443], vec![53, 443, 6443, 7601, 9121]));
    assert_eq!(reach("dragnet-orchestrator"), (vec![7601, 7690], vec![53, 443, 7601]));
    assert_eq!(reach("dragnet-scan-worker"), (vec![7691], vec![53, 443, 6379, 7601]));
    assert_eq!(reach("dragnet-kv-server"), (vec![6379, 9121], vec![53, 443]));
    assert_eq!(reach("dragnet-dataset-build"), (vec![], vec![53, 443]));
}

#[test]
fn known_addresses_of_the_api_server_are_the_only_ones() {
    let Some(helm) = Helm::or_skip("known_addresses_of_the_api_server_are_the_only_ones") else { return };
    let objects =
        helm.template("dragnet", &[r#"networkPolicy={"apiServer":{"cidrs":["10.0.0.1/32"],"ports":[6443]}}"#]).unwrap();
    let operator = policies(&objects).into_iter().find(|policy| policy.name() == "dragnet-operator").unwrap();
    let peers = |direction: &str, port: i64, key: &str| {
        let rules = operator.0["spec"][direction].as_array().unwrap();
        rules.iter().find(|rule| rule["ports"][0]["port"] == port).unwrap()[key].clone()
    };
    let expected = serde_json::json!([{"ipBlock": {"cidr": "10.0.0.1/32"}}]);
    assert_eq!(peers("ingress", 9443, "from"), expected);
    assert_eq!(peers("egress", 6443, "to"), expected);
}

#[test]
fn watched_namespaces_get_policies_without_being_named_twice() {
    let Some(helm) = Helm::or_skip("watched_namespaces_get_policies_without_being_named_twice") else { return };
    let objects = helm.template("dragnet", &[r#"watchNamespaces=["red"]"#]).unwrap();
    assert!(
        policies(&objects).iter().any(|policy| policy.namespace() == "red" && policy.name() == "dragnet-default-deny")
    );
    let objects =
        helm.template("dragnet", &[r#"watchNamespaces=["red"]"#, r#"networkPolicy={"enabled":false}"#]).unwrap();
    assert!(policies(&objects).is_empty());
}
