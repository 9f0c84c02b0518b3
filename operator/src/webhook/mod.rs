//! Answers the API server while `kubectl apply` waits: do the rules of this YaraRuleset compile?
//!
//! ```text
//! API server ──TLS──► serve ──► review ──► ruleset::check (a process of its own)
//!                       ▲
//! certificate, renewed ─┘  own: Secret ◄─► keep ──► caBundle of the webhook's configuration
//!                          mounted: files that somebody else renews
//! ```
//! All replicas serve, whoever leads. Nothing depends on this: what gets past it is checked again by the controller,
//! and refused there, in the status.

mod certificate;
mod keep;
mod review;
mod serve;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use kube::Client;
use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;

use crate::ruleset::Checker;

pub use certificate::{Issued, issue};
pub use keep::keep;
pub use review::{Review, Rules};
pub use serve::{Server, serve};

/// Where the certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Made here, kept in a Secret, and told to the API server by the webhook's configuration.
    Own {
        /// Of the operator, where the Secret is.
        namespace: String,
        secret: String,
        /// Whose `caBundle` is kept up to date.
        configuration: String,
        /// The Service that the API server calls.
        service: String,
    },
    /// `tls.crt` and `tls.key` in a folder, renewed by somebody else, who also tells the API server.
    Mounted { folder: PathBuf },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub mode: Mode,
    pub listen: SocketAddr,
}

/// The certificate to serve with; `None` until there is one.
pub type Serving = watch::Sender<Option<Arc<ServerConfig>>>;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to listen on {address} for the webhook")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("failed to make a certificate")]
    Make(#[source] rcgen::Error),
    #[error("failed to read {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{place} holds no certificate and key that fit each other")]
    Unusable { place: String, source: tokio_rustls::rustls::Error },
    #[error("{place} holds no PEM of a {what}")]
    Pem { place: String, what: &'static str },
    #[error("failed to {what}")]
    Api { what: String, source: Box<kube::Error> },
}

/// Holds the port; what is returned serves, and looks after the certificate, for as long as it is polled.
pub async fn run(
    client: Client,
    config: Config,
    checker: Arc<Checker>,
) -> Result<impl Future<Output = ()> + Send + 'static, Error> {
    let Config { mode, listen } = config;
    let server = Server::bind(listen).await?;
    tracing::info!(address = %server.address(), "the webhook can be asked");
    let serving = Serving::new(None);
    let review = Arc::new(Review::new(client.clone(), checker));
    let served = serve(server, serving.subscribe(), review);
    Ok(async move {
        tokio::select! {
            () = keep(client, mode, serving) => {}
            () = served => {}
        }
    })
}
