//! The charts on a real API server: installed, uninstalled and installed again; what the operator's account may do there.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use charts::Helm;
use testcluster::{ApiServer, Deadline, Kubectl, eventually};

/// For what the API server hears of by its own watches, such as new kinds and rights.
const SOON: Duration = Duration::from_secs(60);
const OPERATOR: &str = "system:serviceaccount:dragnet-system:dragnet-operator";
const CORPUS: &str = "{apiVersion: dragnet.dev/v1alpha1, kind: Corpus, metadata: {name: kept, namespace: default}, spec: {url: 's3://bucket/files'}}";

struct Server {
    helm: Helm,
    server: ApiServer,
}

impl Server {
    fn or_skip(test: &str) -> Option<Self> {
        let helm = Helm::or_skip(test)?;
        let server = ApiServer::start_or_skip(test)?;
        server.kubectl().run(&["create", "namespace", "dragnet-system"]).unwrap();
        Some(Self { helm, server })
    }

    fn kubectl(&self) -> Kubectl {
        self.server.kubectl()
    }

    /// Without waiting for pods: nothing runs any here.
    fn helm(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(self.helm.place().program("helm").unwrap());
        command.args(arguments).args(["--namespace", "dragnet-system"]).env("KUBECONFIG", self.server.kubeconfig());
        testcluster::run(command, None).unwrap()
    }

    fn install(&self, release: &str, chart: &str, more: &[&str]) -> String {
        let chart = self.helm.place().repository().join("charts").join(chart);
        self.helm(&[&["upgrade", "--install", release, path(&chart)], more].concat())
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn uninstalling_keeps_kinds_and_resources_and_installing_again_takes_them_over() {
    let test = "uninstalling_keeps_kinds_and_resources_and_installing_again_takes_them_over";
    let Some(server) = Server::or_skip(test) else { return };
    server.install("dragnet-crds", "dragnet-crds", &[]);
    let kubectl = server.kubectl();
    kubectl
        .run(&[
            "wait",
            "--for=condition=Established",
            "crd",
            "--selector",
            "app.kubernetes.io/part-of=dragnet",
            "--timeout=30s",
        ])
        .unwrap();
    eventually("corpora are served", Deadline::after(SOON), || Ok(kubectl.apply(CORPUS).ok())).unwrap();
    let notes = server.install("dragnet", "dragnet", &[]);
    assert!(!notes.contains("FIRST"), "the kinds are there: {notes}");

    server.helm(&["uninstall", "dragnet"]);
    server.helm(&["uninstall", "dragnet-crds"]);

    let corpus = kubectl.get("corpora", "kept").unwrap();
    assert!(corpus["metadata"]["deletionTimestamp"].is_null(), "{corpus}");
    assert_eq!(kubectl.list("crd", Some("app.kubernetes.io/part-of=dragnet")).unwrap().len(), 5);
    assert!(kubectl.try_get("clusterrole", "dragnet-operator").unwrap().is_none(), "the rest is gone");

    server.install("dragnet-crds", "dragnet-crds", &[]);
    server.install("dragnet", "dragnet", &[]);
    assert_eq!(kubectl.get("corpora", "kept").unwrap()["metadata"]["uid"], corpus["metadata"]["uid"]);
}

#[test]
fn an_upgrade_keeps_what_the_operator_wrote_into_the_webhook() {
    let Some(server) = Server::or_skip("an_upgrade_keeps_what_the_operator_wrote_into_the_webhook") else { return };
    server.install("dragnet", "dragnet", &[]);
    // As the operator does, with its own rights.
    let certificate = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==";
    let patch = format!(r#"[{{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": "{certificate}"}}]"#);
    let operator = server.kubectl().as_user(OPERATOR);
    let patch = ["patch", "validatingwebhookconfiguration", "dragnet-operator", "--type=json", "--patch", &patch];
    eventually("the API server knows its rights", Deadline::after(SOON), || Ok(operator.run(&patch).ok())).unwrap();

    server.install("dragnet", "dragnet", &["--set", "webhook.failurePolicy=Fail"]);

    let webhook =
        server.kubectl().get("validatingwebhookconfiguration", "dragnet-operator").unwrap()["webhooks"][0].clone();
    assert_eq!(webhook["failurePolicy"], "Fail");
    assert_eq!(webhook["clientConfig"]["caBundle"], certificate);
}

#[test]
fn the_operators_account_may_do_its_work_and_nothing_beside() {
    let Some(server) = Server::or_skip("the_operators_account_may_do_its_work_and_nothing_beside") else { return };
    server.install("dragnet-crds", "dragnet-crds", &[]);
    server.install("dragnet", "dragnet", &["--set", "watchNamespaces={default}"]);
    let can = |arguments: &[&str]| {
        let operator = server.kubectl().as_user(OPERATOR);
        operator.run(&[&["auth", "can-i"], arguments].concat()).is_ok_and(|answer| answer.trim() == "yes")
    };
    for allowed in [
        &["create", "statefulsets.apps", "-n", "default"][..],
        &["patch", "deployments.apps", "-n", "default"],
        &["patch", "orchestrators.dragnet.dev", "--subresource=status", "-n", "default"],
        &["get", "secrets", "-n", "default"],
        &["create", "events.events.k8s.io", "-n", "default"],
        &["update", "leases.coordination.k8s.io/dragnet-operator", "-n", "dragnet-system"],
    ] {
        eventually(&format!("it may {allowed:?}"), Deadline::after(SOON), || Ok(can(allowed).then_some(()))).unwrap();
    }
    for refused in [
        &["list", "secrets", "-n", "default"][..],
        &["delete", "secrets", "-n", "default"],
        &["create", "statefulsets.apps", "-n", "dragnet-system"],
        &["get", "secrets", "-n", "kube-system"],
        &["create", "pods", "-n", "default"],
        &["create", "pods", "--subresource=exec", "-n", "default"],
        &["create", "rolebindings.rbac.authorization.k8s.io", "-n", "default"],
        &["patch", "customresourcedefinitions.apiextensions.k8s.io"],
        &["patch", "validatingwebhookconfigurations.admissionregistration.k8s.io/other"],
        &["update", "leases.coordination.k8s.io/other", "-n", "dragnet-system"],
        &["get", "storageclasses.storage.k8s.io"],
        &["delete", "namespaces"],
    ] {
        assert!(!can(refused), "{refused:?}");
    }
}
