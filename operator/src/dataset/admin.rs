//! The servers' administrative HTTP: what they serve, and telling them what to serve.

use std::{collections::BTreeSet, time::Duration};

use futures::future::join_all;
use reqwest::{Client, Method};
use serde::Deserialize;

use super::{
    facts::{Seen, VersionError},
    names::ADMIN_PORT,
    topology::Topology,
};

/// A server answers from memory.
const PATIENCE: Duration = Duration::from_secs(5);
/// A server that is told to switch answers when it has, or after 10 s.
const SWITCH_PATIENCE: Duration = Duration::from_secs(15);

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{host} does not answer")]
    Silent { host: String, source: reqwest::Error },
    #[error("{host} refuses: {text}")]
    Refused { host: String, status: u16, text: String },
    #[error("{host} answers what makes no sense")]
    Answer { host: String, source: serde_json::Error },
}

/// Speaks to the servers of one dataset.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    client: Client,
    token: String,
    dataset: String,
}

/// As `GET /datasets/{name}` answers; what is of no use here is left out.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    serving: Option<String>,
    opened: BTreeSet<String>,
    ready: Option<String>,
    order: Option<Order>,
    state: String,
    keys: u64,
    announced: Option<String>,
    pinned: Option<String>,
    bad: BTreeSet<String>,
    last_error: Option<LastError>,
}

#[derive(Debug, Deserialize)]
struct Order {
    version: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LastError {
    version: Option<String>,
    kind: String,
    error: String,
    file: Option<String>,
}

impl Admin {
    pub(crate) fn new(client: Client, token: String, dataset: String) -> Self {
        Self { client, token, dataset }
    }

    /// What each of the hosts says of itself; `None` where none answers.
    pub(crate) async fn see_all(&self, hosts: &[String]) -> Vec<Option<Seen>> {
        join_all(hosts.iter().map(|host| self.see(host))).await.into_iter().map(Result::ok).collect()
    }

    async fn see(&self, host: &str) -> Result<Seen, Error> {
        let path = format!("/datasets/{}", self.dataset);
        let (answer, metrics) =
            tokio::join!(self.ask(host, Method::GET, &path, None), self.ask(host, Method::GET, "/metrics", None));
        let answer = answer?;
        let answer: Answer =
            serde_json::from_slice(&answer).map_err(|source| Error::Answer { host: host.to_owned(), source })?;
        let metrics = String::from_utf8_lossy(&metrics.unwrap_or_default()).into_owned();
        let announced = answer.announced;
        let prepared = answer.ready.or_else(|| announced.clone().filter(|version| answer.opened.contains(version)));
        Ok(Seen {
            serving: answer.serving,
            prepared,
            ordered: answer.order.map(|order| order.version),
            state: answer.state,
            keys: i64::try_from(answer.keys).unwrap_or(i64::MAX),
            announced,
            pinned: answer.pinned,
            bad: answer.bad,
            last_error: answer.last_error.map(|error| VersionError {
                version: error.version,
                is_final: error.kind == "verification",
                text: error.file.map_or_else(|| error.error.clone(), |file| format!("{file}: {}", error.error)),
            }),
            requests: sum(&metrics, "dragnet_kv_requests_total"),
            errors: sum(&metrics, "dragnet_kv_read_errors_total"),
        })
    }

    /// Has a server serve a version. Success also when it is on its way.
    pub(crate) async fn switch(&self, host: &str, version: &str) -> Result<(), Error> {
        let body = serde_json::json!({ "version": version }).to_string();
        self.ask(host, Method::POST, &format!("/datasets/{}/switch", self.dataset), Some(body)).await.map(drop)
    }

    /// Tells a server who answers for which hash slots. One that knows it already, or a newer one, is no error.
    pub(crate) async fn tell_topology(&self, host: &str, topology: &Topology) -> Result<(), Error> {
        let body = serde_json::to_string(topology).unwrap_or_default();
        match self.ask(host, Method::PUT, "/topology", Some(body)).await {
            Ok(_) | Err(Error::Refused { status: 409, .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn ask(&self, host: &str, method: Method, path: &str, body: Option<String>) -> Result<Vec<u8>, Error> {
        let silent = |source| Error::Silent { host: host.to_owned(), source };
        let mut request = self
            .client
            .request(method.clone(), format!("http://{host}:{ADMIN_PORT}{path}"))
            .header("authorization", format!("Bearer {}", self.token))
            .timeout(if method == Method::POST { SWITCH_PATIENCE } else { PATIENCE });
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = request.send().await.map_err(silent)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(silent)?;
        match status.is_success() {
            true => Ok(bytes.to_vec()),
            false => {
                let text = String::from_utf8_lossy(&bytes).trim().chars().take(300).collect();
                Err(Error::Refused { host: host.to_owned(), status: status.as_u16(), text })
            }
        }
    }
}

/// The sum of a counter over its labels.
fn sum(metrics: &str, name: &str) -> i64 {
    let values = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        if !rest.starts_with([' ', '{']) {
            return None;
        }
        let rest = rest.rsplit_once('}').map_or(rest, |(_, rest)| rest);
        rest.split_whitespace().next()?.parse::<f64>().ok()
    });
    // Counters are whole numbers below 2^53.
    #[expect(clippy::cast_possible_truncation, reason = "see above")]
    values.map(|value| value as i64).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_summed_over_its_labels() {
        let metrics = "# HELP dragnet_kv_requests x\ndragnet_kv_requests_total{command=\"get\"} 10\n\
                       dragnet_kv_requests_total{command=\"mget\"} 5 1700000000.1\ndragnet_kv_read_errors_total 2\n\
                       dragnet_kv_requests_total_else 7\n";
        assert_eq!((sum(metrics, "dragnet_kv_requests_total"), sum(metrics, "dragnet_kv_read_errors_total")), (15, 2));
        assert_eq!(sum("", "dragnet_kv_requests_total"), 0);
    }
}
