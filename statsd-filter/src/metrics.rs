//! Every number that the filter tells about itself, with name, meaning and labels, as Prometheus reads them.
//!
//! A worker counts in its own `Tally` without any sharing and publishes it once a turn. The account is complete: once nothing is
//! under way, `lines_received = dropped + too_long + forwarded + send_failed`.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::rules::Rules;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    DatagramsReceived,
    BytesReceived,
    LinesReceived,
    DroppedByPrefix,
    DroppedByPattern,
    DroppedNotAllowed,
    WouldDropByPrefix,
    WouldDropByPattern,
    WouldDropNotAllowed,
    LinesTooLong,
    LinesForwarded,
    LinesSendFailed,
    DatagramsSent,
    BytesSent,
    SendErrors,
    KernelDrops,
}

struct Metric {
    name: &'static str,
    help: &'static str,
    counts: &'static [(&'static str, Count)],
}

/// Each with its labels. The unit is in the name.
const METRICS: &[Metric] = &[
    Metric {
        name: "datagrams_received",
        help: "Datagrams that clients sent.",
        counts: &[("", Count::DatagramsReceived)],
    },
    Metric { name: "received_bytes", help: "Bytes in them.", counts: &[("", Count::BytesReceived)] },
    Metric { name: "lines_received", help: "Lines in them that are not empty.", counts: &[("", Count::LinesReceived)] },
    Metric {
        name: "lines_dropped",
        help: "Lines that a rule dropped, by the kind of rule.",
        counts: &[
            (r#"{rule="metric_blocklist"}"#, Count::DroppedByPrefix),
            (r#"{rule="metric_blocklist_regex"}"#, Count::DroppedByPattern),
            (r#"{rule="metric_allowlist"}"#, Count::DroppedNotAllowed),
        ],
    },
    Metric {
        name: "lines_would_drop",
        help: "Lines that a rule would have dropped, had this been no dry run.",
        counts: &[
            (r#"{rule="metric_blocklist"}"#, Count::WouldDropByPrefix),
            (r#"{rule="metric_blocklist_regex"}"#, Count::WouldDropByPattern),
            (r#"{rule="metric_allowlist"}"#, Count::WouldDropNotAllowed),
        ],
    },
    Metric {
        name: "lines_too_long",
        help: "Lines beyond max_line_bytes, dropped.",
        counts: &[("", Count::LinesTooLong)],
    },
    Metric {
        name: "lines_forwarded",
        help: "Lines handed to the kernel for the target; what UDP loses later is in no count, refusals are in send_errors.",
        counts: &[("", Count::LinesForwarded)],
    },
    Metric {
        name: "lines_send_failed",
        help: "Lines lost because the target could not be reached.",
        counts: &[("", Count::LinesSendFailed)],
    },
    Metric { name: "datagrams_sent", help: "Datagrams sent to the target.", counts: &[("", Count::DatagramsSent)] },
    Metric { name: "sent_bytes", help: "Bytes in them.", counts: &[("", Count::BytesSent)] },
    Metric { name: "send_errors", help: "Times that sending failed.", counts: &[("", Count::SendErrors)] },
    Metric {
        name: "kernel_drops",
        help: "Datagrams that the kernel dropped because the receive buffer was full (SO_RXQ_OVFL).",
        counts: &[("", Count::KernelDrops)],
    },
];

const COUNTS: usize = Count::KernelDrops as usize + 1;

/// How many entries of the block list get a line of their own: a page of 10,000 is no use to Prometheus.
const TOP_ENTRIES: usize = 100;

/// One worker's account, in its own memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally([u64; COUNTS]);

impl Tally {
    pub fn add(&mut self, count: Count, number: u64) {
        self.0[count as usize] += number;
    }

    pub fn get(&self, count: Count) -> u64 {
        self.0[count as usize]
    }
}

/// One worker's account, for others to read. Written by that worker alone.
#[derive(Debug, Default)]
pub struct Counters([AtomicU64; COUNTS]);

impl Counters {
    pub fn publish(&self, tally: &Tally) {
        for (counter, number) in self.0.iter().zip(tally.0) {
            counter.store(number, Ordering::Relaxed);
        }
    }

    fn get(&self, count: Count) -> u64 {
        self.0[count as usize].load(Ordering::Relaxed)
    }
}

/// How reloads ended.
#[derive(Debug, Default)]
pub struct Reloads {
    pub applied: AtomicU64,
    pub refused: AtomicU64,
}

/// All that the page shows.
#[derive(Debug, Default)]
pub struct Metrics {
    pub workers: Vec<Arc<Counters>>,
    pub reloads: Reloads,
    pub target_changes: AtomicU64,
}

impl Metrics {
    /// The page in Prometheus' text format. Source: the exposition formats page of its documentation, version 0.0.4.
    pub fn page(&self, rules: &Rules) -> String {
        let mut page = String::with_capacity(4096);
        for Metric { name, help, counts } in METRICS {
            head(&mut page, name, "counter", help);
            for (labels, count) in *counts {
                let sum: u64 = self.workers.iter().map(|worker| worker.get(*count)).sum();
                line(&mut page, &format!("{name}_total{labels}"), sum);
            }
        }
        self.reloads_and_target(&mut page);
        top_entries(&mut page, rules);
        page
    }

    fn reloads_and_target(&self, page: &mut String) {
        head(page, "config_reloads", "counter", "Reloads of the configuration, by how they ended.");
        line(page, r#"config_reloads_total{result="applied"}"#, self.reloads.applied.load(Ordering::Relaxed));
        line(page, r#"config_reloads_total{result="refused"}"#, self.reloads.refused.load(Ordering::Relaxed));
        head(page, "target_changes", "counter", "Times that the target's name led to another address.");
        line(page, "target_changes_total", self.target_changes.load(Ordering::Relaxed));
    }
}

fn top_entries(page: &mut String, rules: &Rules) {
    head(page, "rules", "gauge", "Entries in each list of rules.");
    line(page, r#"rules{list="metric_blocklist"}"#, rules.blocked.len() as u64);
    line(page, r#"rules{list="metric_blocklist_regex"}"#, rules.blocked_patterns.len() as u64);
    let allowed = rules.allowed.as_ref().map_or((0, 0), |allowed| (allowed.prefixes.len(), allowed.patterns.len()));
    line(page, r#"rules{list="metric_allowlist"}"#, allowed.0 as u64);
    line(page, r#"rules{list="metric_allowlist_regex"}"#, allowed.1 as u64);
    head(
        page,
        "prefix_hits",
        "counter",
        "Lines that an entry of metric_blocklist decided about since these rules were loaded; the 100 with most.",
    );
    for (entry, hits) in rules.hits.top(TOP_ENTRIES) {
        line(page, &format!("prefix_hits_total{{prefix=\"{}\"}}", escaped(rules.blocked.entry(entry))), hits);
    }
}

fn head(page: &mut String, name: &str, kind: &str, help: &str) {
    let suffix = if kind == "counter" { "_total" } else { "" };
    let _infallible =
        writeln!(page, "# HELP statsd_filter_{name}{suffix} {help}\n# TYPE statsd_filter_{name}{suffix} {kind}");
}

fn line(page: &mut String, name_and_labels: &str, number: u64) {
    let _infallible = writeln!(page, "statsd_filter_{name_and_labels} {number}");
}

fn escaped(label: &str) -> String {
    label.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Patterns, PrefixList};

    #[test]
    fn the_page_adds_up_the_workers() {
        let metrics = Metrics { workers: vec![Arc::default(), Arc::default()], ..Metrics::default() };
        for (worker, number) in metrics.workers.iter().zip([2, 5]) {
            let mut tally = Tally::default();
            tally.add(Count::DroppedByPattern, number);
            worker.publish(&tally);
        }
        let page = metrics.page(&rules(&[]));
        assert!(page.contains("statsd_filter_lines_dropped_total{rule=\"metric_blocklist_regex\"} 7\n"), "{page}");
        assert!(page.contains("# TYPE statsd_filter_kernel_drops_total counter\n"), "{page}");
    }

    #[test]
    fn every_count_is_on_the_page_once() {
        let shown: Vec<Count> = METRICS.iter().flat_map(|metric| metric.counts).map(|(_, count)| *count).collect();
        assert_eq!(shown.len(), COUNTS);
        for count in &shown {
            assert_eq!(shown.iter().filter(|other| *other == count).count(), 1, "{count:?}");
        }
    }

    #[test]
    fn prefixes_that_decided_are_named_and_escaped() {
        let rules = rules(&["quiet.", "a\"b\\"]);
        rules.hits.add(1);
        let page = Metrics::default().page(&rules);
        assert!(page.contains("statsd_filter_prefix_hits_total{prefix=\"a\\\"b\\\\\"} 1\n"), "{page}");
        assert!(!page.contains("quiet."), "{page}");
    }

    fn rules(prefixes: &[&str]) -> Rules {
        let mut blocked = PrefixList::default();
        prefixes.iter().for_each(|prefix| blocked.push(prefix).unwrap());
        Rules::new(blocked, Patterns::default(), None)
    }
}
