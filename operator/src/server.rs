//! The operator's life: serve, wait for the definitions, wait for leadership, act, stop.
//!
//! ```text
//! every replica:  http (metrics, health) · webhook
//! the leader:     caches ─► controllers        the Lease, renewed beside them; lost, the process ends
//! ```

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use kube::Client;
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    config::Config,
    controllers, definitions, fail_point,
    frame::{
        Context,
        leadership::{self, Leadership},
    },
    http::{self, Health},
    metrics::Metrics,
    ruleset::Checker,
    webhook,
};

/// For looks that are under way when the process is told to stop; inside the 30 s that Kubernetes gives a pod.
const STOP_DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to listen on {address}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("failed to find the API server")]
    Client(#[source] Box<kube::Error>),
    #[error("failed to listen for signals")]
    Signals(#[source] io::Error),
    #[error("failed to find this program, which checks rules in a process of its own")]
    Program(#[source] io::Error),
    #[error(transparent)]
    Webhook(#[from] webhook::Error),
    #[error(transparent)]
    Leadership(#[from] leadership::Error),
    #[error("the first look at the cluster took too long")]
    FirstLook,
    #[error("{0} ended by itself")]
    Ended(&'static str),
}

/// Runs until `stop`. Errors: something that runs for ever did not, or leadership was lost.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), Error> {
    let Config { settings, pod_name, pod_namespace, lease, lease_term, http_listen, webhook, fail_points } = config;
    if !fail_points.is_empty() {
        warn!(?fail_points, "will die at fail points, as told");
        fail_point::arm(fail_points);
    }
    let listener =
        TcpListener::bind(http_listen).await.map_err(|source| Error::Listen { address: http_listen, source })?;
    info!(address = %http_listen, "metrics and health can be asked for");
    let client = Client::try_default().await.map_err(|source| Error::Client(Box::new(source)))?;
    let (health, metrics) = (Health::default(), Metrics::default());
    let checker = Arc::new(Checker::new(std::env::current_exe().map_err(Error::Program)?));

    let mut serving: JoinSet<Error> = JoinSet::new();
    {
        let (health, metrics) = (health.clone(), metrics.clone());
        serving.spawn(async move {
            let end = http::serve(listener, health, metrics).await;
            error!(?end, "the http server ended");
            Error::Ended("the http server")
        });
    }

    if let Some(webhook) = webhook.config() {
        let webhook = webhook::run(client.clone(), webhook, Arc::clone(&checker)).await?;
        serving.spawn(async move {
            webhook.await;
            Error::Ended("the webhook")
        });
    }

    let lead = async {
        definitions::wait(&client, &health, &metrics).await;
        health.ready();
        let mut leadership = Leadership::new(client.clone(), &pod_namespace, &lease, &pod_name, lease_term);
        if !leadership.acquire(&stop).await {
            return Ok(());
        }
        metrics.leads(true);
        let (ctx, keeping) = Context::new(client.clone(), settings, metrics.clone(), leadership.identity());
        act(ctx, checker, keeping, &mut leadership, &stop).await
    };
    tokio::select! {
        ended = lead => ended,
        Some(ended) = serving.join_next() => Err(ended.unwrap_or(Error::Ended("a server"))),
    }
}

async fn act(
    ctx: Arc<Context>,
    checker: Arc<Checker>,
    keeping: Vec<crate::frame::children::Keeping>,
    leadership: &mut Leadership,
    stop: &CancellationToken,
) -> Result<(), Error> {
    let mut caches = JoinSet::new();
    for keep in keeping {
        caches.spawn(keep);
    }
    // Those may be stopped while the Lease is still kept: what is under way must end before another replica begins.
    let (controllers_stop, lease_stop) = (CancellationToken::new(), CancellationToken::new());
    let mut acting = JoinSet::new();
    {
        let (ctx, stop) = (Arc::clone(&ctx), controllers_stop.clone());
        acting.spawn(async move {
            let seen = ctx.children.wait_until_seen().await
                && ctx.orchestrators.wait_until_seen().await
                && ctx.datasets.wait_until_seen().await;
            if !seen {
                return Err(Error::FirstLook);
            }
            info!("acting");
            controllers::run(ctx, checker, stop).await;
            Ok(())
        });
    }
    let ended = {
        let mut keep = std::pin::pin!(leadership.keep(&lease_stop));
        tokio::select! {
            lost = &mut keep => lost.map_err(Error::from),
            Some(ended) = acting.join_next() => ended.unwrap_or(Err(Error::Ended("a controller"))).and(Err(Error::Ended("the controllers"))),
            Some(_) = caches.join_next() => Err(Error::Ended("a cache")),
            () = stop.cancelled() => {
                info!("stopping: finishing what is under way");
                controllers_stop.cancel();
                let finish = timeout(STOP_DEADLINE, acting.join_next());
                tokio::select! {
                    lost = &mut keep => lost.map_err(Error::from),
                    _ = finish => Ok(()),
                }
            }
        }
    };
    acting.shutdown().await;
    if ended.is_ok() {
        leadership.release().await;
    }
    ended
}
