//! What the worker counts, and how it is asked: metrics and health over plain HTTP.
//!
//! | name (all begin with `dragnet_worker_`) | unit | labels |
//! |---|---|---|
//! | `files_total`: files whose scan ended, once for each job | files | outcome: matched, clean, timed_out, crashed, too_large, unreadable, gone, abandoned |
//! | `scanned_bytes_total`: given to the engine; a file that is scanned twice counts twice | bytes | |
//! | `findings_total`: written to object storage | findings | |
//! | `engine_seconds_total`: spent by scanners on files, over all of them | seconds | |
//! | `scanner_restarts_total` | | reason: crashed, hung, failed |
//! | `jobs_ended_total` | | kind: scan, list; result: settled, refused, dropped |
//! | `jobs`: under way | | |
//! | `scanners`: processes this worker may run | | |
//! | `connected`, `draining` | 1 or 0 | |
//! | `build_info`: 1 | | version |
//!
//! What is counted about lookups stands in the crate `enrichment`.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use tokio::net::TcpListener;
use tracing::info;
use types::Exception;

use crate::{leader::Answered, pool::FileFate};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to listen on {address} for metrics")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("the metrics' endpoint ended")]
    Serve(#[source] io::Error),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct JobLabels {
    kind: &'static str,
    result: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct VersionLabels {
    version: &'static str,
}

/// Why a scanner was started anew.
#[derive(Clone, Copy, Debug)]
pub enum Restart {
    Crashed,
    Hung,
    /// It could not be started.
    Failed,
}

/// Which kind of job ended, and how.
#[derive(Clone, Copy, Debug)]
pub enum JobEnd {
    Settled,
    /// The log refused it: it was applied before, or the lease is lost.
    Refused,
    /// The session ended, or the worker drains.
    Dropped,
}

impl From<Answered> for JobEnd {
    fn from(answered: Answered) -> Self {
        match answered {
            Answered::Accepted => Self::Settled,
            Answered::Refused(_) => Self::Refused,
            Answered::SessionEnded => Self::Dropped,
        }
    }
}

/// Counters of the whole worker. Cheap to clone; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    files: Family<OutcomeLabels, Counter>,
    scanned_bytes: Counter,
    findings: Counter,
    engine_seconds: Counter<f64, AtomicU64>,
    scanner_restarts: Family<ReasonLabels, Counter>,
    jobs_ended: Family<JobLabels, Counter>,
    jobs: Gauge,
    scanners: Gauge,
    connected: Gauge,
    draining: Gauge,
}

impl Metrics {
    /// Names the metrics in a registry whose prefix is the product's.
    fn register(&self, registry: &mut Registry) {
        let Self {
            files,
            scanned_bytes,
            findings,
            engine_seconds,
            scanner_restarts,
            jobs_ended,
            jobs,
            scanners,
            connected,
            draining,
        } = self;
        let registry = registry.sub_registry_with_prefix("worker");
        registry.register("files", "Files whose scan ended, by outcome", files.clone());
        registry.register_with_unit("scanned", "Bytes given to the engine", Unit::Bytes, scanned_bytes.clone());
        registry.register("findings", "Findings written to object storage", findings.clone());
        let help = "Time that scanners spent on files, over all of them";
        registry.register_with_unit("engine", help, Unit::Seconds, engine_seconds.clone());
        registry.register("scanner_restarts", "Scanners started anew, by reason", scanner_restarts.clone());
        registry.register("jobs", "Jobs under way", jobs.clone());
        registry.register("jobs_ended", "Jobs that ended, by kind and result", jobs_ended.clone());
        registry.register("scanners", "Scanner processes this worker may run", scanners.clone());
        registry.register("connected", "1 while there is a stream to the leader", connected.clone());
        registry.register("draining", "1 since the worker was told to stop", draining.clone());
        let build = Family::<VersionLabels, Gauge>::default();
        build.get_or_create(&VersionLabels { version: telemetry::build_info() }).set(1);
        registry.register("build_info", "The program's version; always 1", build);
        for outcome in ["matched", "clean"].into_iter().chain(Exception::ALL.map(Exception::as_str)) {
            drop(files.get_or_create(&OutcomeLabels { outcome })); // a rate needs a first zero
        }
        for restart in [Restart::Crashed, Restart::Hung, Restart::Failed] {
            drop(scanner_restarts.get_or_create(&ReasonLabels { reason: restart.reason() }));
        }
    }

    /// A file's scan ended.
    pub(crate) fn file(&self, outcome: Outcome) {
        let outcome = match outcome {
            Outcome::Matched => "matched",
            Outcome::Clean => "clean",
            Outcome::Excepted(exception) => exception.as_str(),
        };
        self.files.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(crate) fn scanned(&self, bytes: u64) {
        self.scanned_bytes.inc_by(bytes);
    }

    pub(crate) fn found(&self, findings: u64) {
        self.findings.inc_by(findings);
    }

    pub(crate) fn engine_ran(&self, time: Duration) {
        self.engine_seconds.inc_by(time.as_secs_f64());
    }

    pub(crate) fn restarted(&self, why: Restart) {
        self.scanner_restarts.get_or_create(&ReasonLabels { reason: why.reason() }).inc();
    }

    pub(crate) fn job_began(&self) {
        self.jobs.inc();
    }

    pub(crate) fn job_ended(&self, kind: &'static str, end: JobEnd) {
        self.jobs.dec();
        let result = match end {
            JobEnd::Settled => "settled",
            JobEnd::Refused => "refused",
            JobEnd::Dropped => "dropped",
        };
        self.jobs_ended.get_or_create(&JobLabels { kind, result }).inc();
    }

    pub(crate) fn has_scanners(&self, scanners: u32) {
        self.scanners.set(scanners.into());
    }

    pub(crate) fn is_connected(&self, connected: bool) {
        self.connected.set(connected.into());
    }

    pub(crate) fn drains(&self) {
        self.draining.set(1);
    }

    /// Err: why it takes no work.
    fn readiness(&self) -> Result<(), &'static str> {
        match (self.draining.get(), self.connected.get()) {
            (1, _) => Err("draining"),
            (_, 0) => Err("no leader is connected"),
            _ => Ok(()),
        }
    }
}

/// What became of a file, over all rulesets of its job.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Outcome {
    Clean,
    Excepted(Exception),
    Matched,
}

impl From<&FileFate> for Outcome {
    fn from(fate: &FileFate) -> Self {
        match fate {
            FileFate::Scanned { hits, .. } if hits.is_empty() => Self::Clean,
            FileFate::Scanned { .. } => Self::Matched,
            FileFate::Excepted(exception) => Self::Excepted(*exception),
        }
    }
}

impl Restart {
    fn reason(self) -> &'static str {
        match self {
            Self::Crashed => "crashed",
            Self::Hung => "hung",
            Self::Failed => "failed",
        }
    }
}

/// A place where metrics and health can be asked for, or none.
#[derive(Debug)]
pub struct Endpoint {
    listener: Option<TcpListener>,
    desk: Arc<Desk>,
}

#[derive(Debug)]
struct Desk {
    registry: Registry,
    metrics: Metrics,
}

impl Endpoint {
    /// The port is held before any work starts.
    pub async fn bind(
        address: Option<SocketAddr>,
        metrics: &Metrics,
        enrichment: &enrichment::Metrics,
    ) -> Result<Self, Error> {
        let mut registry = Registry::with_prefix("dragnet");
        metrics.register(&mut registry);
        enrichment.register(&mut registry);
        let listener = match address {
            Some(address) => {
                let listener = TcpListener::bind(address).await.map_err(|source| Error::Bind { address, source })?;
                info!(%address, "metrics can be asked for");
                Some(listener)
            }
            None => None,
        };
        Ok(Self { listener, desk: Arc::new(Desk { registry, metrics: metrics.clone() }) })
    }

    /// Answers for ever.
    pub async fn serve(self) -> Error {
        let Self { listener, desk } = self;
        let Some(listener) = listener else { return std::future::pending().await };
        let routes = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(async || "ok\n"))
            .route("/readyz", get(readyz));
        match axum::serve(listener, routes.with_state(desk)).await {
            Ok(()) => Error::Serve(io::ErrorKind::UnexpectedEof.into()),
            Err(error) => Error::Serve(error),
        }
    }
}

async fn metrics(State(desk): State<Arc<Desk>>) -> impl IntoResponse {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, &desk.registry);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
}

async fn readyz(State(desk): State<Arc<Desk>>) -> Response {
    match desk.metrics.readiness() {
        Ok(()) => "ready\n".into_response(),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n")).into_response(),
    }
}
