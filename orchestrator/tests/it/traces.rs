//! Spans that leave over OTLP, and log lines for whoever reads them.

use std::sync::{Arc, Mutex};

use axum::{Router, body::Bytes, extract::State, http::header, response::IntoResponse, routing::post};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::task::TaskTracker;
use tonic::service::Routes;

use crate::cluster::{Cluster, eventually};

type Received = Arc<Mutex<Vec<u8>>>;

/// Takes what is exported, and answers nothing that anybody waits for.
async fn export(State(received): State<Received>, body: Bytes) -> impl IntoResponse {
    received.lock().unwrap().extend_from_slice(&body);
    [(header::CONTENT_TYPE, "application/grpc"), (header::HeaderName::from_static("grpc-status"), "0")]
}

#[tokio::test]
async fn spans_go_to_the_collector_that_is_named_and_to_nobody_else() {
    let received = Received::default();
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let collector = Router::new().route(path, post(export)).with_state(Arc::clone(&received));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let server = tonic::transport::Server::builder().add_routes(Routes::from(collector));
    let serving = TaskTracker::new().spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let mut cluster = Cluster::not_started(1, &[]);
    let mut command = cluster.command(0);
    command.args(["--bootstrap"]).env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).env("OTEL_BSP_SCHEDULE_DELAY", "100");
    cluster.adopt(0, command.spawn().unwrap());
    eventually("it leads", async || cluster.status(0).await.filter(|status| status.ready)).await;
    cluster.put_corpus("files").await;

    let holds = |text: &str| {
        let received = received.lock().unwrap();
        received.windows(text.len()).any(|window| window == text.as_bytes())
    };
    for text in ["service.name", "orchestrator", "proposal", "Scan/PutCorpus"] {
        eventually(text, async || holds(text).then_some(())).await;
    }
    assert!(!holds("Raft/"), "what members say to each other is not told");
    serving.abort();
    assert!(cluster.stop(0).await.success(), "a collector that is gone holds nobody up");
}

#[tokio::test]
async fn an_endpoint_that_makes_no_sense_is_told_and_left_alone() {
    let mut cluster = Cluster::not_started(1, &[]);
    let mut command = cluster.command(0);
    command.args(["--bootstrap"]).env("OTEL_EXPORTER_OTLP_ENDPOINT", "not a url");
    cluster.adopt(0, command.spawn().unwrap());
    eventually("it leads", async || cluster.status(0).await.filter(|status| status.ready)).await;
    assert!(cluster.log(0).contains("no traces"), "{}", cluster.log(0));
}

#[tokio::test]
async fn log_lines_are_json_where_no_terminal_reads() {
    let mut cluster = Cluster::awaiting(1, &[]).await;
    cluster.kill(0);
    let log = cluster.log(0);
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let waiting = lines.iter().find(|line| line["message"].as_str().unwrap_or_default().contains("waiting"));
    assert!(waiting.is_some_and(|line| line["level"] == "INFO" && line["address"].is_string()), "{log}");

    let mut text = cluster.command(0);
    text.args(["--await-role", "--log-format", "text"]);
    cluster.adopt(0, text.spawn().unwrap());
    eventually("the node answers", async || cluster.status(0).await).await;
    assert!(cluster.log(0).lines().any(|line| line.contains(" INFO ") && !line.starts_with('{')), "{}", cluster.log(0));
}
