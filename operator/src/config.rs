//! What the user wrote, and what the operator runs with.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};

use crate::{fail_point, webhook};

/// Keeps what runs in a cluster equal to what Orchestrators, ScanWorkers, BatchDatasets, Corpora and YaraRulesets say.
///
/// Two of them may run: one leads and acts, the other waits. All settings come from the environment, as the chart gives them.
#[derive(Debug, Parser)]
#[command(name = "operator", version = telemetry::build_info(), args_conflicts_with_subcommands = true)]
#[command(after_help = "Signals: SIGTERM and SIGINT finish what was begun, hand over leadership, and exit with 0.\n\
Exit codes: 0 stopped as asked, 1 failed while running (leadership lost is a failure, so that nobody acts twice),\n\
64 wrong usage, 70 a fail point was reached.")]
pub struct Args {
    #[command(subcommand)]
    pub task: Option<Task>,

    /// Image of what it starts, where a resource names none
    #[arg(long, env = "DRAGNET_IMAGE", value_name = "IMAGE")]
    pub image: Option<String>,

    /// When nodes fetch that image [default: as Kubernetes does]
    #[arg(long, env = "DRAGNET_IMAGE_PULL_POLICY", value_name = "POLICY")]
    pub image_pull_policy: Option<String>,

    /// Secrets to fetch images with, in the namespace of each resource
    #[arg(long, env = "DRAGNET_IMAGE_PULL_SECRETS", value_name = "NAME", value_delimiter = ',')]
    pub image_pull_secrets: Vec<String>,

    /// Namespaces to look after [default: all]
    #[arg(long, env = "DRAGNET_WATCH_NAMESPACES", value_name = "NAMESPACE", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,

    /// What this replica calls itself
    #[arg(long, env = "POD_NAME", default_value = "operator")]
    pub pod_name: String,

    /// Namespace it runs in
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub pod_namespace: String,

    /// Lease that says who leads
    #[arg(long, env = "DRAGNET_LEASE", default_value = "dragnet-operator")]
    pub lease: String,

    /// Where to answer GET /metrics, /healthz and /readyz
    #[arg(long, env = "DRAGNET_HTTP_LISTEN", value_name = "IP:PORT", default_value = "0.0.0.0:8080")]
    pub http_listen: SocketAddr,

    /// Clusters whose pods are replaced at a time because the operator itself is a newer one
    #[arg(long, env = "DRAGNET_UPGRADES_AT_A_TIME", value_name = "N", default_value_t = 1)]
    pub upgrades_at_a_time: u32,

    /// Whether rules are checked when they are applied, and whose certificate that is served with
    #[arg(long, env = "DRAGNET_WEBHOOK", value_enum, default_value = "off")]
    pub webhook: WebhookMode,

    /// Where to answer the API server
    #[arg(long, env = "DRAGNET_WEBHOOK_LISTEN", value_name = "IP:PORT", default_value = "0.0.0.0:9443")]
    pub webhook_listen: SocketAddr,

    /// Service by which the API server reaches the webhook
    #[arg(long, env = "DRAGNET_WEBHOOK_SERVICE", value_name = "NAME", default_value = "dragnet-operator")]
    pub webhook_service: String,

    /// ValidatingWebhookConfiguration that is to trust the operator's own certificate
    #[arg(long, env = "DRAGNET_WEBHOOK_CONFIGURATION", value_name = "NAME", default_value = "dragnet-operator")]
    pub webhook_configuration: String,

    /// Secret for the operator's own certificate
    #[arg(long, env = "DRAGNET_WEBHOOK_SECRET", value_name = "NAME", default_value = "dragnet-operator-webhook")]
    pub webhook_secret: String,

    /// Folder with tls.crt and tls.key, if others make the certificate
    #[arg(long, env = "DRAGNET_WEBHOOK_CERTIFICATES", value_name = "FOLDER", default_value = "/etc/dragnet/webhook")]
    pub webhook_certificates: PathBuf,

    /// How long a leader may be silent before another replica leads, in seconds
    #[arg(long, env = "DRAGNET_LEASE_SECONDS", value_name = "SECONDS", default_value_t = 30)]
    #[arg(value_parser = clap::value_parser!(u16).range(6..=3600))]
    pub lease_seconds: u16,

    /// Where traces go over OTLP, of the pods that it makes as well
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", hide = true)]
    pub tracing_endpoint: Option<String>,

    /// End the process where a write was done and the next was not; `all`, or names with commas between; for tests
    #[arg(long, env = "DRAGNET_FAIL_POINTS", value_name = "NAMES", hide = true)]
    pub fail_points: Option<String>,

    #[command(flatten)]
    pub telemetry: telemetry::Args,
}

#[derive(Debug, Subcommand)]
pub enum Task {
    /// Asks a URL until it answers with 200, and prints the answer
    Probe {
        /// http://HOST:PORT/PATH
        url: String,
        /// How long to go on asking, in seconds
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        wait: u64,
    },
    /// Lists the fail points that DRAGNET_FAIL_POINTS may name
    FailPoints,
    /// Compiles the rules on standard input; the operator starts it, so that no rule can take the operator down
    #[command(hide = true)]
    CheckRules,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WebhookMode {
    /// A certificate that the operator makes and renews
    Own,
    /// A certificate that is mounted
    Mounted,
    /// No webhook; status says it when rules do not compile
    Off,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("--image-pull-policy is {0:?}; it may be Always, IfNotPresent or Never")]
    PullPolicy(String),
    #[error("--image is needed (DRAGNET_IMAGE): the image of what resources ask for")]
    NoImage,
    #[error("--watch-namespaces has {0:?}, which is no name of a namespace")]
    Namespace(String),
    #[error("there is no fail point {0:?}; `operator fail-points` lists them")]
    FailPoint(String),
}

/// What the operator runs with; every field present and checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub settings: Settings,
    pub pod_name: String,
    pub pod_namespace: String,
    pub lease: String,
    pub lease_term: Duration,
    pub http_listen: SocketAddr,
    pub webhook: Webhook,
    /// Mostly none.
    pub fail_points: Vec<&'static str>,
}

/// What controllers need to know of the operator's surroundings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub image: String,
    pub image_pull_policy: Option<String>,
    pub image_pull_secrets: Vec<String>,
    /// Empty: all namespaces.
    pub namespaces: Vec<String>,
    pub upgrades_at_a_time: usize,
    /// Where the pods send traces over OTLP.
    pub tracing_endpoint: Option<String>,
}

/// How rules are checked when they are applied.
#[derive(Clone, Debug)]
pub struct Webhook {
    pub mode: WebhookMode,
    pub listen: SocketAddr,
    pub namespace: String,
    pub service: String,
    pub configuration: String,
    pub secret: String,
    pub certificates: PathBuf,
}

impl Config {
    /// Errors: what a restart will not mend.
    pub fn from_args(args: Args) -> Result<Self, Error> {
        let Args {
            task: _,
            image,
            image_pull_policy,
            image_pull_secrets,
            watch_namespaces,
            pod_name,
            pod_namespace,
            lease,
            http_listen,
            upgrades_at_a_time,
            webhook,
            webhook_listen,
            webhook_service,
            webhook_configuration,
            webhook_secret,
            webhook_certificates,
            lease_seconds,
            tracing_endpoint,
            fail_points,
            telemetry: _,
        } = args;
        let image_pull_policy = image_pull_policy.filter(|policy| !policy.is_empty());
        if let Some(policy) = &image_pull_policy
            && !["Always", "IfNotPresent", "Never"].contains(&policy.as_str())
        {
            return Err(Error::PullPolicy(policy.clone()));
        }
        let namespaces = present(watch_namespaces);
        if let Some(namespace) = namespaces.iter().find(|namespace| !is_label(namespace)) {
            return Err(Error::Namespace(namespace.clone()));
        }
        let fail_points = match fail_points.filter(|names| !names.is_empty()) {
            Some(names) => fail_point::find(&names).map_err(Error::FailPoint)?,
            None => Vec::new(),
        };
        let settings = Settings {
            image: image.filter(|image| !image.is_empty()).ok_or(Error::NoImage)?,
            image_pull_policy,
            image_pull_secrets: present(image_pull_secrets),
            namespaces,
            upgrades_at_a_time: usize::try_from(upgrades_at_a_time.max(1)).unwrap_or(1),
            tracing_endpoint: tracing_endpoint.filter(|endpoint| !endpoint.is_empty()),
        };
        let webhook = Webhook {
            mode: webhook,
            listen: webhook_listen,
            namespace: pod_namespace.clone(),
            service: webhook_service,
            configuration: webhook_configuration,
            secret: webhook_secret,
            certificates: webhook_certificates,
        };
        let lease_term = Duration::from_secs(lease_seconds.into());
        Ok(Self { settings, pod_name, pod_namespace, lease, lease_term, http_listen, webhook, fail_points })
    }
}

impl Webhook {
    /// `None` if it is off.
    pub fn config(self) -> Option<webhook::Config> {
        let Self { mode, listen, namespace, service, configuration, secret, certificates } = self;
        let mode = match mode {
            WebhookMode::Own => webhook::Mode::Own { namespace, secret, configuration, service },
            WebhookMode::Mounted => webhook::Mode::Mounted { folder: certificates },
            WebhookMode::Off => return None,
        };
        Some(webhook::Config { mode, listen })
    }
}

/// An empty variable is a list of one empty name.
fn present(names: Vec<String>) -> Vec<String> {
    names.into_iter().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

fn is_label(name: &str) -> bool {
    name.len() <= 63
        && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(flags: &[&str]) -> Result<Config, Error> {
        Config::from_args(Args::try_parse_from([&["operator"], flags].concat()).unwrap())
    }

    #[test]
    fn an_image_is_needed() {
        assert!(matches!(config(&[]), Err(Error::NoImage)));
        assert_eq!(config(&["--image", "dragnet:1"]).unwrap().settings.image, "dragnet:1");
    }

    #[test]
    fn empty_variables_of_a_chart_are_as_good_as_none() {
        let config = config(&["--image", "i", "--image-pull-policy", "", "--watch-namespaces", ""]).unwrap();
        assert_eq!((config.settings.image_pull_policy, config.settings.namespaces), (None, Vec::new()));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let error = |flags: &[&str]| config(&[&["--image", "i"], flags].concat()).unwrap_err().to_string();
        assert!(error(&["--image-pull-policy", "Sometimes"]).contains("\"Sometimes\""));
        assert!(error(&["--watch-namespaces", "a,B"]).contains("\"B\""));
        assert!(error(&["--fail-points", "nowhere"]).contains("\"nowhere\""));
    }
}
