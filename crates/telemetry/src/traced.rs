//! Log lines, and spans to a collector over OTLP when one is named.
//!
//! A module of its own, with types of its own: a program that only calls [`crate::init`] links none of this. A sidecar of which
//! thousands run must stay as small as it is.

use std::{
    env,
    error::Error,
    io::{IsTerminal as _, stderr},
    process::ExitCode,
    time::Duration,
};

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, SpanExporter};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tracing::{Subscriber, level_filters::LevelFilter, warn};
use tracing_subscriber::{
    Layer, filter::Targets, layer::SubscriberExt as _, registry::LookupSpan, util::SubscriberInitExt as _,
};

use crate::{Args, Format, Telemetry, chain::Chain, colours};

/// Either of these names the collector; the second is for traces alone. The client reads them, and all others that the
/// OpenTelemetry specification knows (`OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, ...).
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
/// What a process may spend at its end on telling its last spans.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// [`Telemetry`] that also sends spans. Dropped last, it sends what it still holds, so the runtime must outlive it.
#[derive(Debug)]
#[must_use = "a process reports its fatal error through this"]
pub struct Traced {
    telemetry: Telemetry,
    provider: Option<SdkTracerProvider>,
}

/// Like [`crate::init`], and sends spans to the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names, over gRPC, as those of `service`.
///
/// To be called inside the process's tokio runtime, which carries the connection. A collector that is away costs spans, no
/// more; an endpoint that makes no sense is told and left alone.
pub fn init_traced(args: &Args, service: &'static str) -> Traced {
    let named = ENDPOINTS.iter().any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()));
    if !named {
        return Traced { telemetry: crate::init(args), provider: None };
    }
    match provider(service) {
        Ok(provider) => {
            let lines = lines(args).with_filter(args.log.to_env_filter());
            let subscriber = tracing_subscriber::registry().with(lines).with(spans(&provider, service));
            let telemetry = Telemetry::after(subscriber.try_init().is_err());
            Traced { telemetry, provider: Some(provider) }
        }
        Err(error) => {
            let telemetry = crate::init(args);
            warn!(error = %Chain(&error), "no traces: the collector's endpoint cannot be used");
            Traced { telemetry, provider: None }
        }
    }
}

impl Traced {
    /// See [`Telemetry::fail`].
    pub fn fail(&self, code: u8, error: &dyn Error) -> ExitCode {
        self.telemetry.fail(code, error)
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if let Some(provider) = &self.provider
            && let Err(error) = provider.shutdown_with_timeout(LAST_WORDS)
        {
            warn!(%error, "the last spans were not sent");
        }
    }
}

fn provider(service: &'static str) -> Result<SdkTracerProvider, ExporterBuildError> {
    let exporter = SpanExporter::builder().with_tonic().build()?;
    let resource = Resource::builder();
    let resource = match env::var_os("OTEL_SERVICE_NAME") {
        Some(_) => resource,
        None => resource.with_service_name(service),
    };
    let version = opentelemetry::KeyValue::new("service.version", crate::build_info());
    let resource = resource.with_attribute(version).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}

/// Our own spans from `info` on. The exporter's connection has spans too, which would beget others without end.
fn spans<S>(provider: &SdkTracerProvider, service: &'static str) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let quiet = [
        "openraft",
        "h2",
        "hyper",
        "hyper_util",
        "tonic",
        "tower",
        "opentelemetry",
        "opentelemetry_sdk",
        "opentelemetry_otlp",
    ];
    let filter = Targets::new().with_default(LevelFilter::INFO);
    let filter = filter.with_targets(quiet.map(|target| (target, LevelFilter::OFF)));
    tracing_opentelemetry::layer().with_tracer(provider.tracer(service)).with_filter(filter)
}

fn lines<S>(args: &Args) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(stderr);
    match args.format(stderr().is_terminal()) {
        Format::Text => layer.with_ansi(colours()).boxed(),
        Format::Json => layer.json().flatten_event(true).boxed(),
    }
}
