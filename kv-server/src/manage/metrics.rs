//! The metrics of versions: read from the same [`Status`] that people see, at the moment of a scrape.
//!
//! | name (all begin with `dragnet_kv_dataset_`) | unit | labels |
//! |---|---|---|
//! | `serving_info` | 1 for the served version | dataset, version |
//! | `state` | 1 for the state it is in | dataset, state |
//! | `up` | 1 if a version is served | dataset |
//! | `age_seconds` | age of the served data | dataset |
//! | `announcement_age_seconds` | since object storage told the announcement last | dataset |
//! | `announced_epoch` | | dataset |
//! | `keys` | keys served here | dataset |
//! | `last_error_seconds` | Unix time of the last error, 0 for none | dataset |
//! | `download_bytes`, `download_total_bytes` | of the download under way | dataset |
//! | `downloaded_bytes_total`, `downloads_total`, `verifications_total` | | dataset |
//! | `failures_total` | | dataset, kind: storage, verification, no_space, local |
//! | `switches_total`, `rollbacks_total` | | dataset |
//!
//! The label `version` has one value a dataset at a time; `dataset` is as many as were configured.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::{Registry, Unit},
};

use super::{
    desks::Desks,
    status::{Kind, Status, now_ms},
};

const PREFIX: &str = "dragnet_kv_dataset";

/// Adds the metrics of all datasets to `registry`.
pub fn register(desks: Arc<Desks>, registry: &mut Registry) {
    registry.register_collector(Box::new(Versions(desks)));
}

struct Versions(Arc<Desks>);

impl fmt::Debug for Versions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Versions")
    }
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Collector for Versions {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let statuses = self.0.statuses();
        let mut table = Table { encoder, statuses: &statuses };
        table.gauges("serving_info", "The version that is served", None, |status, add| {
            if let Some(version) = &status.observed.serving {
                add(vec![("version", &version.to_string())], 1.0);
            }
        })?;
        table.gauges("state", "What the manager of the dataset is at", None, |status, add| {
            add(vec![("state", status.report.state.as_str())], 1.0);
        })?;
        table.gauge("up", "Whether any version is served", None, |status| {
            Some(f64::from(u8::from(status.is_served())))
        })?;
        let seconds = Some(Unit::Seconds);
        table.gauge("age", "Time since the served version was built", seconds.clone(), |status| {
            Some(status.age()?.as_secs_f64())
        })?;
        table.gauge("announcement_age", "Time since storage told the announcement", seconds.clone(), |status| {
            Some(number(now_ms().saturating_sub(status.report.announcement_read_at_ms?)) / 1000.0)
        })?;
        table.gauge("announced_epoch", "Epoch of the announcement", None, |status| {
            Some(number(status.report.announcement.epoch))
        })?;
        table.gauge("keys", "Keys that are served here", None, |status| Some(number(status.keys)))?;
        table.gauge("last_error", "Unix time of the last error, 0 for none", seconds, |status| {
            Some(status.report.last_error.as_ref().map_or(0.0, |error| number(error.at_ms) / 1000.0))
        })?;
        let bytes = Some(Unit::Bytes);
        table.gauge("download", "Bytes that the download under way has", bytes.clone(), |status| {
            Some(number(status.report.progress?.bytes))
        })?;
        table.gauge("download_total", "Bytes that the download under way will have", bytes.clone(), |status| {
            Some(number(status.report.progress?.total))
        })?;
        let counters = |status: &Status| status.report.counters;
        table.counter("downloaded", "Bytes downloaded", bytes, |status| counters(status).downloaded_bytes)?;
        table.counter("downloads", "Downloads begun", None, |status| counters(status).downloads)?;
        table.counter("verifications", "Versions verified", None, |status| counters(status).verifications)?;
        table.counters("failures", "Tries that failed, by kind", None, |status, add| {
            for kind in Kind::ALL {
                add(vec![("kind", kind.as_str())], counters(status).failures(kind));
            }
        })?;
        table.counter("switches", "Switches to another version", None, |status| status.switches)?;
        table.counter("rollbacks", "Rollbacks that this server was told", None, |status| status.rollbacks)
    }
}

struct Table<'e, 'a> {
    encoder: DescriptorEncoder<'e>,
    statuses: &'a [Status],
}

impl Table<'_, '_> {
    fn gauge(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        value: impl Fn(&Status) -> Option<f64>,
    ) -> fmt::Result {
        self.gauges(name, help, unit, |status, add| {
            if let Some(value) = value(status) {
                add(Vec::new(), value);
            }
        })
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        values: impl Fn(&Status, &mut dyn FnMut(Labels<'_>, f64)),
    ) -> fmt::Result {
        self.family(name, help, unit, MetricType::Gauge, values, ConstGauge::new)
    }

    fn counter(&mut self, name: &str, help: &str, unit: Option<Unit>, value: impl Fn(&Status) -> u64) -> fmt::Result {
        self.counters(name, help, unit, |status, add| add(Vec::new(), value(status)))
    }

    fn counters(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        values: impl Fn(&Status, &mut dyn FnMut(Labels<'_>, u64)),
    ) -> fmt::Result {
        self.family(name, help, unit, MetricType::Counter, values, ConstCounter::new)
    }

    fn family<V, M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        kind: MetricType,
        values: impl Fn(&Status, &mut dyn FnMut(Labels<'_>, V)),
        metric: impl Fn(V) -> M,
    ) -> fmt::Result {
        let name = format!("{PREFIX}_{name}");
        let mut family = self.encoder.encode_descriptor(&name, help, unit.as_ref(), kind)?;
        let mut result = Ok(());
        for status in self.statuses {
            values(status, &mut |labels, value| {
                let mut all: Labels<'_> = vec![("dataset", &status.name)];
                all.extend(labels);
                let all = all.as_slice();
                let encoded = family.encode_family(&all).and_then(|encoder| metric(value).encode(encoder));
                result = result.and(encoded);
            });
        }
        result
    }
}

fn number(value: u64) -> f64 {
    value as f64
}
