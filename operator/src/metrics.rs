//! What the operator counts, for Prometheus.
//!
//! | name (all begin with `dragnet_operator_`) | unit | labels |
//! |---|---|---|
//! | `is_leader` | 1 or 0 | |
//! | `missing_definitions`: kinds that the API server does not know | kinds | |
//! | `reconciles_total`: looks at a resource | | kind |
//! | `reconcile_errors_total`: those that failed, conflicts left out | | kind |
//! | `reconcile_seconds` (histogram) | seconds | kind |
//! | `api_requests_total`: requests that were sent to the API server; watches and the Lease left out | | verb: get, apply, status, delete, event, patch |
//! | `resource_condition`: of each resource, where it is known | 1 if `True`, 0 if `False` | kind, namespace, name, type |
//!
//! `resource_condition` is labelled with names on purpose, against the rule: resources are few, and an alert that does not
//! name one helps nobody.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crd::Kind;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _, text::encode},
    metrics::{counter::Counter, family::Family, gauge::ConstGauge, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use tokio::time::Instant;

/// From a look that changes nothing to one that waits for a member.
const SECONDS: [f64; 11] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0];
/// Twice the time after which every resource is looked at again: what was not seen so long is gone.
const FORGET: Duration = Duration::from_secs(1300);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Verb {
    verb: &'static str,
}

/// Kind, namespace, name, type.
type OfResource = [(&'static str, String); 4];

/// Cheap to clone; all clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    is_leader: Gauge,
    missing_definitions: Gauge,
    reconciles: Family<OfKind, Counter>,
    errors: Family<OfKind, Counter>,
    seconds: Family<OfKind, Histogram>,
    requests: Family<Verb, Counter>,
    conditions: Conditions,
    registry: Arc<Mutex<Registry>>,
}

#[derive(Clone, Debug, Default)]
struct Conditions(Arc<Mutex<BTreeMap<OfResource, (bool, Instant)>>>);

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            is_leader: Gauge::default(),
            missing_definitions: Gauge::default(),
            reconciles: Family::default(),
            errors: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            requests: Family::default(),
            conditions: Conditions::default(),
            registry: Arc::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&self) {
        let mut registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let mut add = Adding(&mut registry);
        add.gauge("dragnet_operator_is_leader", "Whether this replica acts", &self.is_leader);
        add.gauge(
            "dragnet_operator_missing_definitions",
            "Kinds that the API server does not know",
            &self.missing_definitions,
        );
        add.0.register("dragnet_operator_reconciles", "Looks at a resource", self.reconciles.clone());
        add.0.register("dragnet_operator_reconcile_errors", "Looks that failed", self.errors.clone());
        add.0.register("dragnet_operator_reconcile_seconds", "Time that a look takes", self.seconds.clone());
        add.0.register("dragnet_operator_api_requests", "Requests sent to the API server", self.requests.clone());
        add.0.register_collector(Box::new(self.conditions.clone()));
    }

    pub fn leads(&self, leads: bool) {
        self.is_leader.set(leads.into());
    }

    pub fn missing(&self, kinds: usize) {
        self.missing_definitions.set(i64::try_from(kinds).unwrap_or(i64::MAX));
    }

    /// A resource was looked at.
    pub fn looked(&self, kind: Kind, took: Duration) {
        self.reconciles.get_or_create(&OfKind { kind: kind.as_str() }).inc();
        self.seconds.get_or_create(&OfKind { kind: kind.as_str() }).observe(took.as_secs_f64());
    }

    pub fn failed(&self, kind: Kind) {
        self.errors.get_or_create(&OfKind { kind: kind.as_str() }).inc();
    }

    /// A request is about to be sent.
    pub fn request(&self, verb: &'static str) {
        self.requests.get_or_create(&Verb { verb }).inc();
    }

    /// `None`: nobody knows, which is no reason to wake anyone.
    pub fn condition(&self, kind: Kind, namespace: &str, name: &str, condition: &str, holds: Option<bool>) {
        let labels = [
            ("kind", kind.as_str().to_owned()),
            ("namespace", namespace.to_owned()),
            ("name", name.to_owned()),
            ("type", condition.to_owned()),
        ];
        let mut conditions = self.conditions.0.lock().unwrap_or_else(PoisonError::into_inner);
        match holds {
            Some(holds) => {
                conditions.insert(labels, (holds, Instant::now()));
            }
            None => {
                conditions.remove(&labels);
            }
        }
    }

    /// Everything, as Prometheus reads it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a string does not fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

struct Adding<'a>(&'a mut Registry);

impl Adding<'_> {
    fn gauge(&mut self, name: &str, help: &str, gauge: &Gauge) {
        self.0.register(name, help, gauge.clone());
    }
}

impl Conditions {
    /// Leaves out what was not seen for long.
    fn forget(&self, now: Instant) {
        let mut conditions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        conditions.retain(|_, (_, seen)| now.saturating_duration_since(*seen) < FORGET);
    }
}

impl Collector for Conditions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        self.forget(Instant::now());
        let conditions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let help = "Conditions of resources";
        let mut family = encoder.encode_descriptor(
            "dragnet_operator_resource_condition",
            help,
            None,
            prometheus_client::metrics::MetricType::Gauge,
        )?;
        for (labels, (holds, _)) in conditions.iter() {
            let gauge = ConstGauge::new(i64::from(*holds));
            gauge.encode(family.encode_family(labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_that_nobody_saw_for_long_is_forgotten() {
        let metrics = Metrics::default();
        metrics.condition(Kind::Corpus, "n", "x", "Ready", Some(true));
        let line = r#"dragnet_operator_resource_condition{kind="Corpus",namespace="n",name="x",type="Ready"} 1"#;
        assert!(metrics.text().contains(line), "{}", metrics.text());
        metrics.conditions.forget(Instant::now() + FORGET);
        assert!(!metrics.text().contains("name=\"x\""));
    }

    #[test]
    fn counters_carry_their_kind() {
        let metrics = Metrics::default();
        metrics.looked(Kind::ScanWorker, Duration::from_millis(5));
        metrics.request("apply");
        let text = metrics.text();
        assert!(text.contains(r#"dragnet_operator_reconciles_total{kind="ScanWorker"} 1"#), "{text}");
        assert!(text.contains(r#"dragnet_operator_api_requests_total{verb="apply"} 1"#), "{text}");
    }
}
