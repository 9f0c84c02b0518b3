//! Corpora, rulesets and datasets against a real API server; no cluster of Dragnet answers here.

use serde_json::{Value, json};
use testcluster::{ApiServer, Kubectl};

use crate::{
    api::condition,
    process::{OWN, Operator, define},
};

const BROKEN: &str = r#"
apiVersion: dragnet.dev/v1alpha1
kind: YaraRuleset
metadata: {name: web, namespace: default}
spec:
  sources:
  - name: web.yar
    inline: |
      rule a {
        condition: nonsense
      }
"#;

const FROM_MAP: &str = r#"
apiVersion: dragnet.dev/v1alpha1
kind: YaraRuleset
metadata: {name: web, namespace: default}
spec: {sources: [{name: web.yar, configMap: {name: rules, key: web.yar}}]}
"#;

const CORPUS: &str = r#"
apiVersion: dragnet.dev/v1alpha1
kind: Corpus
metadata: {name: incoming, namespace: default}
spec: {url: 's3://samples/incoming', datasets: [known]}
"#;

const DATASET: &str = r#"
apiVersion: dragnet.dev/v1alpha1
kind: BatchDataset
metadata: {name: known, namespace: default}
spec:
  versions: {url: 's3://facts/known'}
  source: {storage: {url: 's3://rows/known.csv'}, format: csv, key: sha256}
  shards: 2
  replicas: 2
"#;

const WEBHOOK: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: dragnet-operator}
webhooks:
- name: rules.dragnet.dev
  clientConfig: {service: {name: dragnet-operator, namespace: default, path: /validate-yararuleset}}
  rules: [{apiGroups: [dragnet.dev], apiVersions: [v1alpha1], resources: [nothings], operations: [CREATE]}]
  failurePolicy: Ignore
  sideEffects: None
  admissionReviewVersions: [v1]
"#;

fn message(object: &Value, name: &str) -> String {
    let conditions = object["status"]["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|condition| condition["type"] == name).unwrap();
    found["message"].as_str().unwrap().to_owned()
}

/// Waits until the condition of an object has this status and reason, and returns the object.
fn when(operator: &Operator, kubectl: &Kubectl, object: (&str, &str), wanted: (&str, &str, &str)) -> Value {
    let (kind, name) = object;
    let (type_, status, reason) = wanted;
    operator.eventually(&format!("{type_} of {kind} {name} is {status}: {reason}"), || {
        let found = kubectl.try_get(kind, name).ok()??;
        (condition(&found, type_)? == (status.to_owned(), reason.to_owned())).then_some(found)
    })
}

#[test]
fn a_mistake_in_rules_is_told_with_line_and_column_also_without_a_webhook() {
    let test = "a_mistake_in_rules_is_told_with_line_and_column_also_without_a_webhook";
    let Some(server) = ApiServer::start_or_skip(test) else { return };
    let kubectl = server.kubectl();
    define(&kubectl);
    let operator = Operator::start(&server, "one", &[]);
    kubectl.apply(BROKEN).unwrap();
    let ruleset = when(&operator, &kubectl, ("yararuleset", "web"), ("RulesValid", "False", "RulesBroken"));
    let told = "spec.sources[0] (web.yar), line 2, column 14: nothing is called \"nonsense\" here";
    assert!(message(&ruleset, "RulesValid").starts_with(told), "{ruleset}");
    assert_eq!((&ruleset["status"]["state"], &ruleset["status"]["version"]), (&json!("Refused"), &Value::Null));
    assert_eq!(condition(&ruleset, "Complete").unwrap().0, "False");

    kubectl.apply(&BROKEN.replace("nonsense", "true")).unwrap();
    let ruleset = when(&operator, &kubectl, ("yararuleset", "web"), ("RulesValid", "True", "AsExpected"));
    assert_eq!(ruleset["status"].get("problems"), None);
    when(&operator, &kubectl, ("yararuleset", "web"), ("Ready", "False", "ReferenceNotFound"));
    assert!(message(&ruleset, "Ready").contains("there is no Orchestrator in namespace default"), "{ruleset}");

    kubectl.run(&["delete", "yararuleset", "web", "--timeout=30s"]).unwrap();
}

#[test]
fn a_config_map_that_comes_later_or_changes_is_noticed() {
    let Some(server) = ApiServer::start_or_skip("a_config_map_that_comes_later_or_changes_is_noticed") else { return };
    let kubectl = server.kubectl();
    define(&kubectl);
    let operator = Operator::start(&server, "one", &[]);
    kubectl.apply(FROM_MAP).unwrap();
    let ruleset = when(&operator, &kubectl, ("yararuleset", "web"), ("RulesValid", "False", "ReferenceNotFound"));
    assert!(message(&ruleset, "RulesValid").contains("there is no ConfigMap \"rules\""), "{ruleset}");
    kubectl.run(&["create", "configmap", "rules", "--from-literal=web.yar=rule a { condition: x }"]).unwrap();
    let ruleset = when(&operator, &kubectl, ("yararuleset", "web"), ("RulesValid", "False", "RulesBroken"));
    assert!(message(&ruleset, "RulesValid").contains("ConfigMap rules, key web.yar, line 1"), "{ruleset}");
    let good = json!({ "data": { "web.yar": "rule a { condition: true }" } });
    kubectl.patch("configmap", "rules", &good).unwrap();
    when(&operator, &kubectl, ("yararuleset", "web"), ("RulesValid", "True", "AsExpected"));
}

#[test]
fn what_a_corpus_refers_to_in_vain_is_told_and_it_can_be_deleted() {
    let test = "what_a_corpus_refers_to_in_vain_is_told_and_it_can_be_deleted";
    let Some(server) = ApiServer::start_or_skip(test) else { return };
    let kubectl = server.kubectl();
    define(&kubectl);
    let operator = Operator::start(&server, "one", &[]);
    kubectl.apply(CORPUS).unwrap();
    let corpus = when(&operator, &kubectl, ("corpus", "incoming"), ("Ready", "False", "ReferenceNotFound"));
    assert!(message(&corpus, "Ready").contains("create one"), "{corpus}");
    kubectl.run(&["delete", "corpus", "incoming", "--timeout=30s"]).unwrap();
}

#[test]
fn a_dataset_gets_servers_a_build_and_a_secret_of_its_own() {
    let Some(server) = ApiServer::start_or_skip("a_dataset_gets_servers_a_build_and_a_secret_of_its_own") else {
        return;
    };
    let kubectl = server.kubectl();
    define(&kubectl);
    let operator = Operator::start(&server, "one", &[]);
    kubectl.apply(DATASET).unwrap();
    let set = operator.eventually("there is a StatefulSet", || kubectl.try_get("statefulset", "known-kv").ok()?);
    assert_eq!(set["spec"]["replicas"], 4);
    for (kind, name) in [
        ("service", "known-kv"),
        ("service", "known-kv-nodes"),
        ("secret", "known-kv-admin"),
        ("poddisruptionbudget", "known-kv"),
    ] {
        operator.eventually(&format!("there is {kind} {name}"), || kubectl.try_get(kind, name).ok()?);
    }
    let map = operator.eventually("there is a topology", || kubectl.try_get("configmap", "known-kv-topology").ok()?);
    let topology: Value = serde_json::from_str(map["data"]["topology.json"].as_str().unwrap()).unwrap();
    assert_eq!((&topology["epoch"], topology["nodes"].as_array().unwrap().len()), (&json!(1), 4));
    let job = operator.eventually("there is a Job", || kubectl.list("jobs", None).ok()?.pop());
    assert_eq!((&job["spec"]["completions"], &job["spec"]["completionMode"]), (&json!(2), &json!("Indexed")));
    let dataset = when(&operator, &kubectl, ("batchdataset", "known"), ("SourceBuilt", "False", "Building"));
    assert_eq!(dataset["status"]["servers"], "0/4");
    let token = kubectl.get("secret", "known-kv-admin").unwrap()["data"]["token"].clone();
    assert_eq!(operator.stop().code(), Some(0), "and gives up its lease");
    let operator = Operator::start(&server, "two", &[]);
    kubectl.patch("batchdataset", "known", &json!({ "spec": { "replicas": 1 } })).unwrap();
    operator.eventually("there are fewer servers", || {
        (kubectl.get("statefulset", "known-kv").ok()?["spec"]["replicas"] == 2).then_some(())
    });
    assert_eq!(kubectl.get("secret", "known-kv-admin").unwrap()["data"]["token"], token, "another operator keeps it");
    assert_eq!(kubectl.list("jobs", None).unwrap().len(), 1, "and builds nothing again");
}

#[test]
fn the_webhooks_certificate_is_made_once_and_told_to_the_api_server() {
    let test = "the_webhooks_certificate_is_made_once_and_told_to_the_api_server";
    let Some(server) = ApiServer::start_or_skip(test) else { return };
    let kubectl = server.kubectl();
    define(&kubectl);
    kubectl.apply(WEBHOOK).unwrap();
    let variables = [("DRAGNET_WEBHOOK", "own"), ("DRAGNET_WEBHOOK_LISTEN", "127.0.0.1:0")];
    let look = |operator: &Operator| {
        operator.eventually("the configuration has an authority", || {
            let configuration = kubectl.get("validatingwebhookconfiguration", "dragnet-operator").ok()?;
            configuration["webhooks"][0]["clientConfig"]["caBundle"].as_str().map(str::to_owned)
        })
    };
    let operator = Operator::start(&server, "one", &variables);
    let bundle = look(&operator);
    let secret = kubectl.in_namespace(OWN).get("secret", "dragnet-operator-webhook").unwrap();
    assert_eq!(secret["data"]["ca.crt"], bundle);
    let configuration = kubectl.get("validatingwebhookconfiguration", "dragnet-operator").unwrap();
    assert_eq!(configuration["webhooks"][0]["clientConfig"]["service"]["name"], "dragnet-operator", "the rest stays");
    drop(operator);

    let unset = json!([{ "op": "remove", "path": "/webhooks/0/clientConfig/caBundle" }]);
    let patch = ["patch", "validatingwebhookconfiguration", "dragnet-operator", "--type=json", "-p"];
    kubectl.run(&[&patch[..], &[&unset.to_string()]].concat()).unwrap();
    let operator = Operator::start(&server, "two", &variables);
    assert_eq!(look(&operator), bundle, "another replica takes the certificate that is there");
}
