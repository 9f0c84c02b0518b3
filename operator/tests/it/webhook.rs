//! The webhook over real TLS, asked as an API server asks it.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use operator::{
    ruleset::Checker,
    webhook::{Review, Rules, Server, Serving, issue, serve},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    },
};

const NAME: &str = "dragnet-operator.dragnet-system.svc";

struct Maps(BTreeMap<String, ConfigMap>);

impl Rules for Maps {
    fn config_map<'a>(
        &'a self,
        _namespace: &'a str,
        name: &'a str,
    ) -> Pin<Box<dyn Future<Output = Option<ConfigMap>> + Send + 'a>> {
        let found = self.0.get(name).cloned();
        Box::pin(async move { found })
    }
}

struct Webhook {
    address: std::net::SocketAddr,
    authority: String,
    _tasks: JoinSet<()>,
}

impl Webhook {
    async fn start(maps: &[(&str, &str, &str)]) -> Self {
        let mut there: BTreeMap<String, ConfigMap> = BTreeMap::new();
        for (name, key, text) in maps {
            let data = there.entry((*name).to_owned()).or_default().data.get_or_insert_default();
            data.insert((*key).to_owned(), (*text).to_owned());
        }
        let issued = issue(&[NAME.to_owned()], Timestamp::now()).unwrap();
        let serving = Serving::new(None);
        serving.send_replace(Some(issued.serving().unwrap()));
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = server.address();
        let checker = Arc::new(Checker::new(env!("CARGO_BIN_EXE_operator").into()));
        let review = Arc::new(Review::new(Maps(there), checker));
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(server, serving.subscribe(), review));
        Self { address, authority: issued.authority, _tasks: tasks }
    }

    async fn connect(&self, authority: &str) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.address).await.unwrap();
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(NAME).unwrap(), stream).await
    }

    /// The response of a review.
    async fn ask(&self, review: &Value) -> Value {
        let (status, body) = self.post(review.to_string()).await;
        assert_eq!(status, 200, "{body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(
            (&answer["kind"], &answer["apiVersion"]),
            (&json!("AdmissionReview"), &json!("admission.k8s.io/v1"))
        );
        assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
        answer["response"].clone()
    }

    async fn post(&self, body: String) -> (u16, String) {
        let mut stream = self.connect(&self.authority).await.unwrap();
        let head = format!(
            "POST /validate-yararuleset?timeout=10s HTTP/1.1\r\nHost: {NAME}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

fn ruleset(sources: Value) -> Value {
    json!({
        "apiVersion": "dragnet.dev/v1alpha1", "kind": "YaraRuleset",
        "metadata": { "name": "web", "namespace": "team", "generation": 1 },
        "spec": { "sources": sources },
    })
}

/// As kube-apiserver 1.36 sends it.
fn review(operation: &str, object: &Value, old: &Value) -> Value {
    let kind = json!({ "group": "dragnet.dev", "version": "v1alpha1", "kind": "YaraRuleset" });
    let resource = json!({ "group": "dragnet.dev", "version": "v1alpha1", "resource": "yararulesets" });
    json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": kind, "resource": resource, "requestKind": kind, "requestResource": resource,
            "name": "web", "namespace": "team", "operation": operation,
            "userInfo": { "username": "analyst", "groups": ["system:authenticated"] },
            "object": object, "oldObject": old, "dryRun": false,
            "options": { "kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1" },
        },
    })
}

fn create(sources: Value) -> Value {
    review("CREATE", &ruleset(sources), &Value::Null)
}

fn message(response: &Value) -> &str {
    response["status"]["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_mistake_is_refused_with_its_line_and_column() {
    let webhook = Webhook::start(&[]).await;
    let broken = json!([{ "name": "web.yar", "inline": "rule a {\n  condition: nonsense\n}" }]);
    let response = webhook.ask(&create(broken)).await;
    assert_eq!(response["allowed"], false);
    let told = message(&response);
    assert!(
        told.contains("spec.sources[0] (web.yar), line 2, column 14: nothing is called \"nonsense\" here"),
        "{told}"
    );
}

#[tokio::test]
async fn good_rules_are_let_through_and_warned_about() {
    let webhook = Webhook::start(&[]).await;
    let good = json!([{ "name": "web.yar", "inline": "rule a { strings: $a = \"abcdef\" condition: $a }" }]);
    let response = webhook.ask(&create(good)).await;
    assert_eq!((&response["allowed"], &response["warnings"]), (&json!(true), &Value::Null));
    let slow = json!([{ "name": "web.yar", "inline": "rule a { strings: $a = { 00 00 } condition: $a }" }]);
    let response = webhook.ask(&create(slow)).await;
    assert_eq!(response["allowed"], true);
    assert!(response["warnings"][0].as_str().unwrap().contains("line 1"), "{response}");
}

#[tokio::test]
async fn rules_in_config_maps_are_checked_and_missing_ones_may_come_later() {
    let webhook = Webhook::start(&[("rules", "bad.yar", "rule a { condition: x }")]).await;
    let source = |name: &str| json!([{ "name": "all", "configMap": { "name": name } }]);
    let response = webhook.ask(&create(source("rules"))).await;
    assert!(message(&response).contains("ConfigMap rules, key bad.yar, line 1, column 21"), "{response}");
    let response = webhook.ask(&create(source("later"))).await;
    assert_eq!(response["allowed"], true);
    assert!(response["warnings"][0].as_str().unwrap().contains("there is no ConfigMap"), "{response}");
}

#[tokio::test]
async fn what_does_not_change_rules_is_not_checked() {
    let webhook = Webhook::start(&[]).await;
    let broken = json!([{ "name": "web.yar", "inline": "rule" }]);
    let mut paused = ruleset(broken.clone());
    paused["spec"]["paused"] = json!(true);
    let response = webhook.ask(&review("UPDATE", &paused, &ruleset(broken.clone()))).await;
    assert_eq!(response["allowed"], true, "what is stored already must stay changeable");
    let mut going = ruleset(broken.clone());
    going["metadata"]["deletionTimestamp"] = json!("2027-01-01T00:00:00Z");
    let response = webhook.ask(&review("UPDATE", &going, &ruleset(json!([])))).await;
    assert_eq!(response["allowed"], true, "its finalizer must come off");
    let response = webhook.ask(&review("DELETE", &Value::Null, &ruleset(broken))).await;
    assert_eq!(response["allowed"], true);
}

#[tokio::test]
async fn what_is_no_review_is_refused_and_the_next_one_is_answered() {
    let webhook = Webhook::start(&[]).await;
    assert_eq!(webhook.post("{}".to_owned()).await.0, 400);
    assert_eq!(webhook.post("not json".to_owned()).await.0, 400);
    let good = json!([{ "name": "web.yar", "inline": "rule a { condition: true }" }]);
    assert_eq!(webhook.ask(&create(good)).await["allowed"], true);
}

#[tokio::test]
async fn who_trusts_another_authority_does_not_talk_to_it() {
    let webhook = Webhook::start(&[]).await;
    let other = issue(&[NAME.to_owned()], Timestamp::now()).unwrap();
    assert!(webhook.connect(&other.authority).await.is_err());
    webhook.connect(&webhook.authority).await.unwrap();
}
