//! What is counted about lookups.
//!
//! | name (all begin with `dragnet_enrichment_`) | unit | labels |
//! |---|---|---|
//! | `lookups_total`, `hits_total`, `misses_total` | keys | dataset |
//! | `unavailable_total` | keys | dataset, reason: see [`Reason`] |
//! | `lookup_seconds` (histogram) | | dataset |
//! | `server_left_alone` | 1 while it is | dataset, server |

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::{Family, MetricConstructor},
        gauge::Gauge,
        histogram::Histogram,
    },
    registry::Registry,
};
use types::Name;

use crate::{Answer, Reason};

/// Upper ends of the latency's buckets, in seconds: from a lookup on this machine to the longest deadline.
const BUCKETS: [f64; 12] = [0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0];

/// Counters of all datasets. Cheap to clone; clones count together.
///
/// `lookups = hits + misses + unavailable`, in keys, at every moment that no lookup is under way.
#[derive(Clone, Debug)]
pub struct Metrics {
    lookups: Family<Labels, Counter>,
    hits: Family<Labels, Counter>,
    misses: Family<Labels, Counter>,
    unavailable: Family<ReasonLabels, Counter>,
    latency: Family<Labels, Histogram, Buckets>,
    left_alone: Family<ServerLabels, Gauge>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Labels {
    dataset: String,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ReasonLabels {
    dataset: String,
    reason: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ServerLabels {
    dataset: String,
    server: String,
}

#[derive(Clone, Debug)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(BUCKETS)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            lookups: Family::default(),
            hits: Family::default(),
            misses: Family::default(),
            unavailable: Family::default(),
            latency: Family::new_with_constructor(Buckets),
            left_alone: Family::default(),
        }
    }
}

impl Metrics {
    /// Names the metrics in a registry whose prefix is the product's.
    pub fn register(&self, registry: &mut Registry) {
        let Self { lookups, hits, misses, unavailable, latency, left_alone } = self;
        let registry = registry.sub_registry_with_prefix("enrichment");
        registry.register("lookups", "Keys looked up in a dataset", lookups.clone());
        registry.register("hits", "Keys that the dataset has", hits.clone());
        registry.register("misses", "Keys that the dataset has not", misses.clone());
        registry.register("unavailable", "Keys without an answer, by reason", unavailable.clone());
        registry.register("lookup_seconds", "Time of a lookup of up to a segment's files", latency.clone());
        registry.register("server_left_alone", "1 while a server is not asked because it failed", left_alone.clone());
    }

    pub(crate) fn looked_up(&self, dataset: &Name, answers: &[Answer], took: Duration) {
        let labels = Labels { dataset: dataset.to_string() };
        let count = |wanted: fn(&Answer) -> bool| answers.iter().filter(|answer| wanted(answer)).count() as u64;
        self.lookups.get_or_create(&labels).inc_by(answers.len() as u64);
        self.hits.get_or_create(&labels).inc_by(count(|answer| matches!(answer, Answer::Found { .. })));
        self.misses.get_or_create(&labels).inc_by(count(|answer| matches!(answer, Answer::Missing { .. })));
        for answer in answers {
            if let Answer::Unavailable(reason) = answer {
                self.unavailable.get_or_create(&reason_labels(dataset, reason)).inc();
            }
        }
        self.latency.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub(crate) fn server(&self, dataset: &Name, server: &Arc<str>, left_alone: bool) {
        let labels = ServerLabels { dataset: dataset.to_string(), server: server.to_string() };
        self.left_alone.get_or_create(&labels).set(left_alone.into());
    }

    /// Keys of a dataset so far: looked up, found, missing, unavailable.
    pub fn counts(&self, dataset: &Name) -> Counts {
        let labels = Labels { dataset: dataset.to_string() };
        let (lookups, hits) = (self.lookups.get_or_create(&labels).get(), self.hits.get_or_create(&labels).get());
        let misses = self.misses.get_or_create(&labels).get();
        Counts { lookups, hits, misses, unavailable: lookups.saturating_sub(hits + misses) }
    }
}

/// See [`Metrics::counts`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    pub lookups: u64,
    pub hits: u64,
    pub misses: u64,
    pub unavailable: u64,
}

fn reason_labels(dataset: &Name, reason: &Reason) -> ReasonLabels {
    ReasonLabels { dataset: dataset.to_string(), reason: reason.label() }
}
