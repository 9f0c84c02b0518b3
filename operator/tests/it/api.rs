//! The operator against a real API server, without controllers and nodes: what it writes, and what it leaves alone.

use serde_json::{Value, json};
use testcluster::ApiServer;

use crate::process::{OWN, Operator, define};

const ORCHESTRATOR: &str = "
apiVersion: dragnet.dev/v1alpha1
kind: Orchestrator
metadata: {name: main, namespace: default}
spec: {replicas: 3, storage: {url: 's3://bucket/x', credentialsSecret: {name: keys}}}
";

const WORKER: &str = "
apiVersion: dragnet.dev/v1alpha1
kind: ScanWorker
metadata: {name: pool, namespace: default}
spec: {replicas: 2, cores: 2}
";

pub(crate) fn condition(object: &Value, name: &str) -> Option<(String, String)> {
    let conditions = object["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == name)?;
    Some((found["status"].as_str()?.to_owned(), found["reason"].as_str()?.to_owned()))
}

#[test]
fn it_waits_for_its_definitions_and_says_so() {
    let Some(server) = ApiServer::start_or_skip("it_waits_for_its_definitions_and_says_so") else { return };
    let operator = Operator::start(&server, "one", &[]);
    let (status, reason) = operator.eventually("it says what is missing", || {
        operator.ask("/readyz").filter(|(_, body)| body.contains("custom resource definitions are missing"))
    });
    assert_eq!(status, 503);
    assert!(reason.contains("Orchestrator, ScanWorker, BatchDataset, Corpus, YaraRuleset"), "{reason}");
    assert_eq!(operator.ask("/healthz").unwrap().0, 200, "waiting is no reason to be restarted");
    define(&server.kubectl());
    operator.wait_until_leading();
    assert_eq!(operator.ask("/readyz").unwrap().0, 200);
}

#[test]
fn an_orchestrator_gets_its_objects_and_a_status() {
    let Some(server) = ApiServer::start_or_skip("an_orchestrator_gets_its_objects_and_a_status") else { return };
    let kubectl = server.kubectl();
    define(&kubectl);
    let operator = Operator::start(&server, "one", &[]);
    kubectl.apply(ORCHESTRATOR).unwrap();

    let set =
        operator.eventually("there is a StatefulSet", || kubectl.try_get("statefulset", "main-orchestrator").ok()?);
    assert_eq!(set["spec"]["replicas"], 3);
    assert_eq!(set["spec"]["podManagementPolicy"], "Parallel");
    assert_eq!(set["spec"]["updateStrategy"]["type"], "OnDelete");
    assert_eq!(set["metadata"]["ownerReferences"][0]["kind"], "Orchestrator");
    for (kind, name) in [
        ("service", "main-orchestrator"),
        ("service", "main-orchestrator-peers"),
        ("serviceaccount", "main-orchestrator"),
        ("poddisruptionbudget", "main-orchestrator"),
    ] {
        operator.eventually(&format!("there is {kind} {name}"), || kubectl.try_get(kind, name).ok()?);
    }
    let orchestrator = operator.eventually("there is a status", || {
        let orchestrator = kubectl.get("orchestrator", "main").ok()?;
        condition(&orchestrator, "Ready").is_some().then_some(orchestrator)
    });
    assert_eq!(condition(&orchestrator, "Ready").unwrap(), ("False".to_owned(), "WaitingForPods".to_owned()));
    assert_eq!(condition(&orchestrator, "QuorumHealthy").unwrap().0, "Unknown");
    assert_eq!(orchestrator["status"]["observedGeneration"], 1);
    let told = operator.eventually("an Event tells of it", || {
        let events = kubectl.list("events.events.k8s.io", None).ok()?;
        events.into_iter().find(|event| event["reason"] == "Created" && event["regarding"]["name"] == "main")
    });
    assert!(told["note"].as_str().unwrap().contains("3 pods"), "{told}");
}

#[test]
fn what_somebody_changes_is_mended_and_what_is_not_ours_is_left() {
    let test = "what_somebody_changes_is_mended_and_what_is_not_ours_is_left";
    let Some(server) = ApiServer::start_or_skip(test) else { return };
    let kubectl = server.kubectl();
    define(&kubectl);
    let operator = Operator::start(&server, "one", &[]);
    kubectl.apply(ORCHESTRATOR).unwrap();
    operator.eventually("there is a Service", || kubectl.try_get("service", "main-orchestrator").ok()?);

    let change = json!({
        "metadata": { "annotations": { "team": "theirs" } },
        "spec": { "selector": { "app.kubernetes.io/instance": "other" } }
    });
    kubectl.patch("service", "main-orchestrator", &change).unwrap();
    let service = operator.eventually("the selector is as it was", || {
        let service = kubectl.get("service", "main-orchestrator").ok()?;
        (service["spec"]["selector"]["app.kubernetes.io/instance"] == "main").then_some(service)
    });
    assert_eq!(service["metadata"]["annotations"]["team"], "theirs", "an annotation of somebody else stays");

    kubectl.run(&["delete", "poddisruptionbudget", "main-orchestrator"]).unwrap();
    operator.eventually("the budget is back", || kubectl.try_get("poddisruptionbudget", "main-orchestrator").ok()?);
}

#[test]
fn a_name_that_is_taken_is_told_and_nothing_is_stolen() {
    let Some(server) = ApiServer::start_or_skip("a_name_that_is_taken_is_told_and_nothing_is_stolen") else { return };
    let kubectl = server.kubectl();
    define(&kubectl);
    let theirs = "
apiVersion: v1
kind: Service
metadata: {name: main-orchestrator, namespace: default}
spec: {ports: [{port: 80}], selector: {app: theirs}}
";
    kubectl.apply(theirs).unwrap();
    let operator = Operator::start(&server, "one", &[]);
    kubectl.apply(ORCHESTRATOR).unwrap();
    let orchestrator = operator.eventually("it is told", || {
        let orchestrator = kubectl.get("orchestrator", "main").ok()?;
        (condition(&orchestrator, "Degraded")? == ("True".to_owned(), "NameTaken".to_owned())).then_some(orchestrator)
    });
    let message = orchestrator["status"]["conditions"].to_string();
    assert!(message.contains("Service main-orchestrator exists") && message.contains("rename"), "{message}");
    assert_eq!(kubectl.get("service", "main-orchestrator").unwrap()["spec"]["selector"], json!({ "app": "theirs" }));
}

#[test]
fn one_object_that_cannot_be_read_does_not_stop_the_others() {
    let test = "one_object_that_cannot_be_read_does_not_stop_the_others";
    let Some(server) = ApiServer::start_or_skip(test) else { return };
    let kubectl = server.kubectl();
    define(&kubectl);
    // As an older, laxer definition might have let it in.
    let lax = json!({ "spec": { "versions": [{
        "name": "v1alpha1", "served": true, "storage": true, "subresources": { "status": {} },
        "schema": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } }
    }]}});
    kubectl.patch("crd", "orchestrators.dragnet.dev", &lax).unwrap();
    let bad = ORCHESTRATOR.replace("name: main", "name: bad").replace("replicas: 3", "replicas: three");
    let operator = Operator::start(&server, "one", &[]);
    operator.eventually("the lax definition is in force", || kubectl.apply(&bad).ok());
    kubectl.apply(ORCHESTRATOR).unwrap();
    let bad = operator.eventually("the bad one is told", || {
        let bad = kubectl.get("orchestrator", "bad").ok()?;
        (condition(&bad, "Degraded")? == ("True".to_owned(), "InvalidSpec".to_owned())).then_some(bad)
    });
    assert!(bad["status"]["conditions"].to_string().contains("three"), "{bad}");
    operator.eventually("the good one is served", || kubectl.try_get("statefulset", "main-orchestrator").ok()?);
}

#[test]
fn a_scan_worker_gets_pods_and_follows_kubectl_scale() {
    let Some(server) = ApiServer::start_or_skip("a_scan_worker_gets_pods_and_follows_kubectl_scale") else { return };
    let kubectl = server.kubectl();
    define(&kubectl);
    let operator = Operator::start(&server, "one", &[]);
    kubectl.apply(WORKER).unwrap();
    let worker = operator.eventually("it is told what is missing", || {
        let worker = kubectl.get("scanworker", "pool").ok()?;
        (condition(&worker, "Degraded")?.1 == "ReferenceNotFound").then_some(worker)
    });
    assert!(worker["status"]["conditions"].to_string().contains("there is no Orchestrator in namespace default"));

    kubectl.apply(ORCHESTRATOR).unwrap();
    let replicas = |wanted: i64| {
        kubectl.try_get("deployment", "pool-scan-worker").ok()??["spec"]["replicas"].as_i64().filter(|it| *it == wanted)
    };
    operator.eventually("there is a Deployment of two", || replicas(2));
    kubectl.run(&["scale", "scanworker", "pool", "--replicas=5"]).unwrap();
    operator.eventually("there is a Deployment of five", || replicas(5));
    let scale = kubectl.run(&["get", "--raw", "/apis/dragnet.dev/v1alpha1/namespaces/default/scanworkers/pool/scale"]);
    let scale: Value = serde_json::from_str(&scale.unwrap()).unwrap();
    assert_eq!(
        scale["status"]["selector"],
        "app.kubernetes.io/component=scan-worker,app.kubernetes.io/instance=pool,app.kubernetes.io/name=dragnet"
    );
}

#[test]
fn of_two_replicas_one_acts_and_the_other_takes_over() {
    let Some(server) = ApiServer::start_or_skip("of_two_replicas_one_acts_and_the_other_takes_over") else { return };
    let kubectl = server.kubectl();
    define(&kubectl);
    let first = Operator::start(&server, "one", &[]);
    first.wait_until_leading();
    let second = Operator::start(&server, "two", &[]);
    second.eventually("the other is ready", || second.ask("/readyz").filter(|(status, _)| *status == 200));
    assert!(!second.leads());
    assert_eq!(first.stop().code(), Some(0));
    second.wait_until_leading();
    let holder = kubectl.in_namespace(OWN).get("lease", "dragnet-operator").unwrap();
    assert!(holder["spec"]["holderIdentity"].as_str().unwrap().starts_with("two_"), "{holder}");
}

#[test]
fn who_loses_the_lease_ends_at_once() {
    let Some(server) = ApiServer::start_or_skip("who_loses_the_lease_ends_at_once") else { return };
    let kubectl = server.kubectl();
    define(&kubectl);
    let mut operator = Operator::start(&server, "one", &[]);
    operator.wait_until_leading();
    kubectl
        .in_namespace(OWN)
        .patch("lease", "dragnet-operator", &json!({ "spec": { "holderIdentity": "somebody-else" } }))
        .unwrap();
    assert_eq!(operator.ended().code(), Some(1));
    assert!(operator.log().contains("leadership was lost"), "{}", operator.log());
}

#[test]
fn what_nobody_changes_costs_no_requests() {
    let Some(server) = ApiServer::start_or_skip("what_nobody_changes_costs_no_requests") else { return };
    let kubectl = server.kubectl();
    define(&kubectl);
    let operator = Operator::start(&server, "one", &[]);
    kubectl.apply(ORCHESTRATOR).unwrap();
    operator.eventually("there is a budget", || kubectl.try_get("poddisruptionbudget", "main-orchestrator").ok()?);
    let sum = |text: &str, name: &str| -> u64 {
        text.lines()
            .filter(|line| line.starts_with(name))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    };
    let counts = || {
        let (_, text) = operator.ask("/metrics")?;
        Some((sum(&text, "dragnet_operator_reconciles_total"), sum(&text, "dragnet_operator_api_requests_total")))
    };
    // It waits for pods that never come, and looks again and again.
    let mut settled = counts().unwrap();
    operator.eventually("three looks in a row without a request", || {
        let now = counts()?;
        if now.1 != settled.1 {
            settled = now;
        }
        (now.0 >= settled.0 + 3).then_some(())
    });
}
