//! Health and metrics over plain HTTP, from the moment that the process holds its ports.
//!
//! ```text
//! GET /healthz    the process lives; what ends it, ends it at once
//! GET /readyz     it hears from a leader and has caught up; else 503 and why not
//! GET /metrics    Prometheus' text format
//! ```

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{metrics, node::Node};

/// What is answered; the node is there once it has its role.
#[derive(Clone, Default)]
pub(crate) struct Health(Arc<OnceLock<Running>>);

struct Running {
    node: Arc<Node>,
    registry: Registry,
}

impl Health {
    pub(crate) fn begin(&self, node: &Arc<Node>) {
        let mut registry = Registry::default();
        node.metrics.register(registry.sub_registry_with_prefix("dragnet_orchestrator"));
        metrics::register_node(Arc::clone(node), &mut registry);
        let began = self.0.set(Running { node: Arc::clone(node), registry });
        assert!(began.is_ok(), "a process has one node");
    }
}

/// Answers until `stop`.
pub(crate) async fn serve(listener: TcpListener, health: Health, stop: CancellationToken) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .with_state(health);
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}

pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener, crate::server::Error> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| crate::server::Error::Listen { address, source })
}

async fn readyz(State(health): State<Health>) -> Response {
    let ready = match health.0.get() {
        None => Err(crate::role::waiting::WAITING.to_owned()),
        Some(running) if running.node.stop.is_cancelled() => Err("stopping".to_owned()),
        Some(running) => running.node.readiness(),
    };
    match ready {
        Ok(()) => "ready\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}

/// Off the async threads: adding up the backlog of many segments takes its milliseconds.
async fn scrape(State(health): State<Health>) -> Response {
    let scraped = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        match health.0.get() {
            Some(running) => encode(&mut text, &running.registry).map(|()| text),
            None => encode(&mut text, &Registry::default()).map(|()| text),
        }
    });
    match scraped.await {
        Ok(Ok(text)) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], text).into_response()
        }
        Ok(Err(_)) | Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
