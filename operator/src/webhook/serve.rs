//! TLS connections of the API server.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    routing::post,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use kube::core::{DynamicObject, admission::AdmissionReview};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tracing::{debug, warn};

use super::{Error, Review};

/// API servers keep a few open. More wait in the listener's queue.
const CONNECTIONS: usize = 128;
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
const HEADERS_WITHIN: Duration = Duration::from_secs(60);
/// A request holds an object as it is and as it was, each as large as etcd allows, escaped.
const LARGEST_BODY: usize = 16 << 20;

/// The port is held from here on.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    pub async fn bind(address: SocketAddr) -> Result<Self, Error> {
        let failed = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves as long as it is polled. Connections that come before there is a certificate are closed.
pub async fn serve(server: Server, serving: watch::Receiver<Option<Arc<ServerConfig>>>, review: Arc<Review>) {
    let router = Router::new()
        .route("/validate-yararuleset", post(validate))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(review);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let permit = Arc::clone(&room).acquire_owned();
        let accepted = tokio::select! {
            Some(_) = connections.join_next() => continue,
            accepted = async { (permit.await, server.listener.accept().await) } => accepted,
        };
        match accepted {
            (Ok(permit), Ok((stream, _))) => {
                let Some(config) = serving.borrow().clone() else { continue };
                let connection = connection(stream, config, router.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            (_, Err(error)) => {
                // Out of descriptors, mostly: a pause, or this loop would spin on it.
                warn!(%error, "failed to accept a connection to the webhook");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            (Err(_), _) => return, // nobody closes the semaphore
        }
    }
}

async fn connection(stream: TcpStream, config: Arc<ServerConfig>, router: Router) {
    let stream = match timeout(HANDSHAKE_WITHIN, TlsAcceptor::from(config).accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return debug!(%error, "a TLS handshake with the webhook failed"),
        Err(_) => return debug!("a TLS handshake with the webhook took too long"),
    };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN);
    let service = TowerToHyperService::new(router);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        debug!(%error, "a connection to the webhook ended");
    }
}

async fn validate(
    State(review): State<Arc<Review>>,
    body: Bytes,
) -> Result<Json<AdmissionReview<DynamicObject>>, (StatusCode, String)> {
    let asked = serde_json::from_slice::<AdmissionReview<DynamicObject>>(&body);
    let asked = asked.map_err(|error| (StatusCode::BAD_REQUEST, format!("this is no AdmissionReview: {error}")))?;
    let request = asked.try_into().map_err(|_| (StatusCode::BAD_REQUEST, "the review holds no request".to_owned()))?;
    Ok(Json(review.answer(&request).await.into_review()))
}
