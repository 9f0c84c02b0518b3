//! Connections: how many, and how long each may take to say what it wants.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Admin, Error, access::Access, routes::router};

/// Scrapers, probes, a manager and a few people. More wait in the listener's queue.
const CONNECTIONS: usize = 64;

/// From the start of a request, or the end of the one before it, to the end of its headers.
const HEADERS_WITHIN: Duration = Duration::from_secs(15);

const LARGEST_HEADERS: usize = 16 << 10;

/// The port is held from here on.
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

/// Serves until `stop` is cancelled. Errors of single connections are told at `debug` and end nothing.
pub async fn serve(server: Server, admin: Admin, stop: CancellationToken) {
    let access = Access { token: admin.token.clone(), address: server.address };
    let router = router(admin, access);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let permit = room.clone().acquire_owned();
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = async { (permit.await, server.listener.accept().await) } => accepted,
        };
        match accepted {
            (Ok(permit), Ok((stream, _))) => {
                let connection = connection(stream, router.clone());
                connections.spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            (_, Err(error)) => {
                // Out of descriptors, mostly: a pause, or this loop would spin on it.
                warn!(%error, "failed to accept an administrative connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            (Err(_), _) => break, // nobody closes the semaphore
        }
    }
    connections.shutdown().await;
}

async fn connection(stream: TcpStream, router: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADERS_WITHIN).max_buf_size(LARGEST_HEADERS);
    let service = TowerToHyperService::new(router);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        debug!(%error, "an administrative connection ended");
    }
}
