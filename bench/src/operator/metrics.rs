//! What the operator says of itself (Prometheus' text format), and what its kubelet says of it.

use std::collections::BTreeMap;

use serde_json::Value;

/// Samples by name and labels, as they were printed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Metrics(BTreeMap<String, f64>);

const REQUESTS: &str = "dragnet_operator_api_requests_total";
const RECONCILES: &str = "dragnet_operator_reconcile_seconds_bucket";

impl Metrics {
    pub(super) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let samples = lines.filter_map(|line| {
            // `name{labels} value`, perhaps followed by an exemplar.
            let end = line.find('}').map_or_else(|| line.find(' '), |brace| Some(brace + 1))?;
            let value = line.get(end..)?.split_whitespace().next()?.parse().ok()?;
            Some((line[..end].to_owned(), value))
        });
        Self(samples.collect())
    }

    fn of(&self, name: &str) -> impl Iterator<Item = (&str, f64)> {
        let samples = self.0.iter().filter(move |(sample, _)| sample.split('{').next() == Some(name));
        samples.map(|(sample, value)| (sample.as_str(), *value))
    }

    /// To the API server, of all sorts.
    pub(super) fn requests(&self) -> f64 {
        self.of(REQUESTS).map(|(_, value)| value).sum()
    }

    pub(super) fn requests_by_verb(&self, before: &Self) -> String {
        let grown = self.of(REQUESTS).map(|(sample, value)| (sample, value - before.0.get(sample).unwrap_or(&0.0)));
        let shown = grown.filter(|(_, count)| *count > 0.0).map(|(sample, count)| format!("{count} {sample}"));
        shown.collect::<Vec<_>>().join(", ")
    }

    /// The 95th percentile of the time of reconciles since `before`, in seconds: the upper edge of its bucket.
    pub(super) fn reconcile_p95_since(&self, before: &Self) -> Option<f64> {
        let mut by_edge: Vec<(f64, f64)> = Vec::new();
        for (sample, value) in self.of(RECONCILES) {
            let edge = sample.split("le=\"").nth(1)?.split('"').next()?;
            let edge = if edge == "+Inf" { f64::INFINITY } else { edge.parse().ok()? };
            let grown = value - before.0.get(sample).unwrap_or(&0.0);
            match by_edge.iter_mut().find(|(known, _)| known.total_cmp(&edge).is_eq()) {
                Some((_, sum)) => *sum += grown,
                None => by_edge.push((edge, grown)),
            }
        }
        by_edge.sort_by(|one, other| one.0.total_cmp(&other.0));
        let all = by_edge.last()?.1;
        let bucket = by_edge.iter().find(|(_, below)| all > 0.0 && *below >= 0.95 * all)?;
        Some(bucket.0)
    }
}

/// Of one pod.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usage {
    pub(super) cpu_seconds: f64,
    pub(super) mebibytes: f64,
}

impl Usage {
    /// From the pod's entry in the kubelet's summary.
    pub(super) fn parse(pod: &Value) -> Option<Self> {
        let nanoseconds = pod["cpu"]["usageCoreNanoSeconds"].as_f64()?;
        let bytes = pod["memory"]["workingSetBytes"].as_f64()?;
        Some(Self { cpu_seconds: nanoseconds / 1e9, mebibytes: bytes / (1024.0 * 1024.0) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BEFORE: &str = "# TYPE dragnet_operator_api_requests counter
dragnet_operator_api_requests_total{verb=\"get\"} 5
dragnet_operator_api_requests_total{verb=\"patch\"} 2
dragnet_operator_reconcile_seconds_bucket{kind=\"Corpus\",le=\"0.1\"} 10
dragnet_operator_reconcile_seconds_bucket{kind=\"Corpus\",le=\"1.0\"} 10
dragnet_operator_reconcile_seconds_bucket{kind=\"Corpus\",le=\"+Inf\"} 10
";
    const AFTER: &str = "dragnet_operator_api_requests_total{verb=\"get\"} 15
dragnet_operator_api_requests_total{verb=\"patch\"} 6
dragnet_operator_reconcile_seconds_bucket{kind=\"Corpus\",le=\"0.1\"} 100
dragnet_operator_reconcile_seconds_bucket{kind=\"Corpus\",le=\"1.0\"} 110 # {trace_id=\"x\"} 0.5
dragnet_operator_reconcile_seconds_bucket{kind=\"Corpus\",le=\"+Inf\"} 110
";

    #[test]
    fn requests_of_all_verbs_are_added_up() {
        let (before, after) = (Metrics::parse(BEFORE), Metrics::parse(AFTER));
        assert!((after.requests() - before.requests() - 14.0).abs() < f64::EPSILON);
    }

    #[test]
    fn the_percentile_is_of_what_came_since() {
        let p95 = Metrics::parse(AFTER).reconcile_p95_since(&Metrics::parse(BEFORE)).unwrap();
        assert!((p95 - 1.0).abs() < f64::EPSILON);
        assert_eq!(Metrics::parse(AFTER).reconcile_p95_since(&Metrics::parse(AFTER)), None);
    }

    #[test]
    fn usage_is_read_from_the_summary() {
        let pod =
            json!({ "cpu": { "usageCoreNanoSeconds": 1_500_000_000_u64 }, "memory": { "workingSetBytes": 1_048_576 } });
        assert_eq!(Usage::parse(&pod), Some(Usage { cpu_seconds: 1.5, mebibytes: 1.0 }));
    }
}
