//! The metrics of the serving threads, summed up at the moment of a scrape.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};

use super::{Closed, Metrics};
use crate::shared::Shared;

/// Adds what is counted to `registry`.
pub fn register(shared: Arc<Shared>, registry: &mut Registry) {
    registry.register_collector(Box::new(Exposition(shared)));
}

struct Exposition(Arc<Shared>);

impl fmt::Debug for Exposition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Exposition")
    }
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let metrics = &self.0.metrics;
        by_command(&mut encoder, metrics)?;
        let totals = metrics.totals();
        for (name, help, value) in [
            ("hits", "Keys that were looked up and found", totals.hits),
            ("misses", "Keys that were looked up and are not there", totals.misses),
            ("refused_mutations", "Commands that would have changed data", totals.refused),
            ("error_replies", "Replies that are errors", totals.errors),
            ("read_errors", "Reads that the disk or RocksDB failed", totals.read_errors),
            ("wrong_passwords", "Passwords that were not the one", totals.wrong_passwords),
            ("received_bytes", "Bytes of requests", totals.bytes_in),
            ("sent_bytes", "Bytes of replies", totals.bytes_out),
            ("connections", "Connections accepted", totals.connections),
            ("rejected_connections", "Connections refused because there were too many", totals.rejected),
            ("waits", "Batches of requests that waited for the read pool", totals.waits),
            ("lost_log_lines", "Log lines left out because too many came at once", self.0.events.lost()),
        ] {
            counter(&mut encoder, name, help, value)?;
        }
        let name = "dragnet_kv_closed_connections";
        let mut family =
            encoder.encode_descriptor(name, "Connections closed by the server", None, MetricType::Counter)?;
        for reason in Closed::ALL {
            let labels = [("reason", reason.as_str())];
            ConstCounter::new(totals.closed[reason as usize]).encode(family.encode_family(&labels)?)?;
        }
        use std::sync::atomic::Ordering::Relaxed;
        gauge(&mut encoder, "open_connections", "Connections open now", metrics.open.load(Relaxed))?;
        gauge(&mut encoder, "waiting", "Batches in the read pool or waiting for it", metrics.waiting.load(Relaxed))
    }
}

fn by_command(encoder: &mut DescriptorEncoder<'_>, metrics: &Metrics) -> fmt::Result {
    let histograms = metrics.histograms();
    let mut requests = encoder.encode_descriptor(
        "dragnet_kv_requests",
        "Requests carried out or refused",
        None,
        MetricType::Counter,
    )?;
    for (command, histogram) in &histograms {
        let labels = [("command", *command)];
        ConstCounter::new(histogram.count()).encode(requests.encode_family(&labels)?)?;
    }
    let name = "dragnet_kv_request_seconds";
    let help = "Time of a request on the server, the mean of its batch";
    let mut seconds = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (command, histogram) in &histograms {
        let labels = [("command", *command)];
        let mut metric = seconds.encode_family(&labels)?;
        metric.encode_histogram::<NoLabelSet>(histogram.seconds(), histogram.count(), &histogram.buckets(), None)?;
    }
    Ok(())
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let name = format!("dragnet_kv_{name}");
    ConstCounter::new(value).encode(encoder.encode_descriptor(&name, help, None, MetricType::Counter)?)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let name = format!("dragnet_kv_{name}");
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    ConstGauge::new(value).encode(encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?)
}
