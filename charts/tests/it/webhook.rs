//! The webhook: whose certificate, and what is refused while nobody answers.

use charts::{Helm, Object};
use serde_json::Value;

fn environment(objects: &[Object]) -> Vec<(String, String)> {
    let operator = objects.iter().find(|object| object.kind() == "Deployment").unwrap();
    let variables = operator.0["spec"]["template"]["spec"]["containers"][0]["env"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let ours = variables.iter().filter(|variable| variable["name"].as_str().unwrap().starts_with("DRAGNET_WEBHOOK"));
    ours.map(|variable| (text(&variable["name"]), text(&variable["value"]))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn configuration(objects: &[Object]) -> Option<&Object> {
    objects.iter().find(|object| object.kind() == "ValidatingWebhookConfiguration")
}

#[test]
fn the_operators_own_certificate_is_left_to_the_operator() {
    let Some(helm) = Helm::or_skip("the_operators_own_certificate_is_left_to_the_operator") else { return };
    let objects = helm.template("dragnet", &[]).unwrap();
    let expected = [
        ("DRAGNET_WEBHOOK", "own"),
        ("DRAGNET_WEBHOOK_CONFIGURATION", "dragnet-operator"),
        ("DRAGNET_WEBHOOK_SERVICE", "dragnet-operator"),
        ("DRAGNET_WEBHOOK_SECRET", "dragnet-operator-webhook"),
    ];
    assert_eq!(environment(&objects), pairs(&expected));
    let webhook = &configuration(&objects).unwrap().0["webhooks"][0];
    // Helm would take back what the operator writes there, at every upgrade.
    assert!(webhook["clientConfig"].get("caBundle").is_none());
    assert_eq!(webhook["failurePolicy"], "Ignore");
    assert!(
        objects.iter().all(|object| object.kind() != "Secret"),
        "keys are not made by Helm, whose releases keep them readable"
    );
}

#[test]
fn cert_managers_certificate_is_asked_for_and_mounted() {
    let Some(helm) = Helm::or_skip("cert_managers_certificate_is_asked_for_and_mounted") else { return };
    let objects = helm.template("dragnet", &[r#"webhook={"certificate":"certManager"}"#]).unwrap();
    assert!(environment(&objects).contains(&("DRAGNET_WEBHOOK".to_owned(), "mounted".to_owned())));
    let certificate = objects.iter().find(|object| object.kind() == "Certificate").unwrap();
    assert_eq!(certificate.0["spec"]["dnsNames"][0], "dragnet-operator.dragnet-system.svc");
    let annotation = &configuration(&objects).unwrap().0["metadata"]["annotations"]["cert-manager.io/inject-ca-from"];
    assert_eq!(*annotation, format!("dragnet-system/{}", certificate.name()));
    let operator = objects.iter().find(|object| object.kind() == "Deployment").unwrap();
    let volumes = operator.0["spec"]["template"]["spec"]["volumes"].to_string();
    assert!(volumes.contains(certificate.0["spec"]["secretName"].as_str().unwrap()), "{volumes}");
    let rules = objects
        .iter()
        .filter(|object| object.kind() == "ClusterRole")
        .map(|role| role.0["rules"].to_string())
        .collect::<String>();
    assert!(!rules.contains("validatingwebhookconfigurations"), "cert-manager writes it, so the operator need not");
}

#[test]
fn switched_off_nothing_of_it_is_left() {
    let Some(helm) = Helm::or_skip("switched_off_nothing_of_it_is_left") else { return };
    let objects = helm.template("dragnet", &[r#"webhook={"enabled":false}"#]).unwrap();
    assert_eq!(environment(&objects), pairs(&[("DRAGNET_WEBHOOK", "off")]));
    assert!(configuration(&objects).is_none());
    let all: String = objects.iter().map(|object| object.0.to_string()).collect();
    assert!(!all.contains("9443"), "no port either");
}

#[test]
fn only_watched_namespaces_are_asked_about() {
    let Some(helm) = Helm::or_skip("only_watched_namespaces_are_asked_about") else { return };
    let objects = helm.template("dragnet", &[r#"watchNamespaces=["red"]"#]).unwrap();
    let selector = &configuration(&objects).unwrap().0["webhooks"][0]["namespaceSelector"];
    assert_eq!(selector["matchExpressions"][0]["values"], serde_json::json!(["red"]));
}
