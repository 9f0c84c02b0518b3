//! What the worker counts, for Prometheus, over plain HTTP.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::net::TcpListener;
use tracing::info;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to listen on {address} for metrics")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("the metrics' endpoint ended")]
    Serve(#[source] io::Error),
}

/// A place where metrics can be asked for, or none.
#[derive(Debug)]
pub struct Endpoint {
    listener: Option<TcpListener>,
    registry: Arc<Registry>,
}

impl Endpoint {
    /// The port is held before any work starts.
    pub async fn bind(address: Option<SocketAddr>, enrichment: &enrichment::Metrics) -> Result<Self, Error> {
        let mut registry = Registry::with_prefix("dragnet");
        enrichment.register(&mut registry);
        let listener = match address {
            Some(address) => {
                let listener = TcpListener::bind(address).await.map_err(|source| Error::Bind { address, source })?;
                info!(%address, "metrics can be asked for");
                Some(listener)
            }
            None => None,
        };
        Ok(Self { listener, registry: Arc::new(registry) })
    }

    /// Answers for ever.
    pub async fn serve(self) -> Error {
        let Self { listener, registry } = self;
        let Some(listener) = listener else { return std::future::pending().await };
        let routes = Router::new().route("/metrics", get(metrics)).route("/healthz", get(async || "ok\n"));
        match axum::serve(listener, routes.with_state(registry)).await {
            Ok(()) => Error::Serve(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => Error::Serve(error),
        }
    }
}

async fn metrics(State(registry): State<Arc<Registry>>) -> impl IntoResponse {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, &registry);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}
