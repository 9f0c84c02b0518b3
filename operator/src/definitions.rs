//! Waits until the API server knows all kinds. A chart may bring the definitions after the operator, and to restart until
//! then would only make the wait longer.

use std::time::Duration;

use crd::{GROUP, KINDS, Kind, VERSION};
use kube::Client;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::{http::Health, metrics::Metrics};

const PAUSE: Duration = Duration::from_secs(3);
const DEADLINE: Duration = Duration::from_secs(10);

/// Returns once every kind is there.
pub(crate) async fn wait(client: &Client, health: &Health, metrics: &Metrics) {
    let mut told: Option<String> = None;
    loop {
        let missing = match timeout(DEADLINE, missing(client)).await {
            Ok(Ok(missing)) => missing,
            Ok(Err(error)) => {
                say(health, &mut told, format!("the API server does not answer: {error}"));
                sleep(PAUSE).await;
                continue;
            }
            Err(_) => {
                say(health, &mut told, "the API server does not answer in time".to_owned());
                sleep(PAUSE).await;
                continue;
            }
        };
        metrics.missing(missing.len());
        if missing.is_empty() {
            info!("the API server knows all kinds");
            return;
        }
        let names: Vec<&str> = missing.iter().map(|kind| kind.as_str()).collect();
        let names = names.join(", ");
        let remedy = format!(
            "custom resource definitions are missing for {names} ({GROUP}/{VERSION}); install the chart dragnet-crds"
        );
        say(health, &mut told, remedy);
        sleep(PAUSE).await;
    }
}

fn say(health: &Health, told: &mut Option<String>, reason: String) {
    if told.as_ref() != Some(&reason) {
        warn!(reason, "waiting");
        health.not_ready(reason.clone());
        *told = Some(reason);
    }
}

async fn missing(client: &Client) -> Result<Vec<Kind>, kube::Error> {
    let known = match client.list_api_group_resources(&format!("{GROUP}/{VERSION}")).await {
        Ok(list) => list.resources.into_iter().map(|resource| resource.kind).collect(),
        Err(kube::Error::Api(status)) if status.code == 404 => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(KINDS.into_iter().filter(|kind| !known.iter().any(|known| known == kind.as_str())).collect())
}
