//! Numbers of the state and of Raft, read at the moment of a scrape.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use openraft::async_runtime::WatchReceiver;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use scheduling::{OwedWork, WorkClass};

use crate::{drive::leading::now, node::Node};

const PREFIX: &str = "dragnet_orchestrator_";
/// Tenants with series of their own; more would let a tenant's users fill a monitoring system.
const TENANTS: usize = 50;
const SILENT: Duration = Duration::from_secs(5);

/// Adds what the node holds to `registry`.
pub(crate) fn register(node: Arc<Node>, registry: &mut Registry) {
    registry.register_collector(Box::new(Exposition(node)));
}

struct Exposition(Arc<Node>);

impl fmt::Debug for Exposition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Exposition")
    }
}

impl Collector for Exposition {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        raft(&self.0, &mut out)?;
        members(&self.0, &mut out)?;
        state(&self.0, &mut out)?;
        let labels = [("version", telemetry::build_info())];
        out.family("build_info", "The program's version; always 1", &[(labels, 1)])
    }
}

fn raft(node: &Node, out: &mut Out<'_>) -> fmt::Result {
    let metrics = node.raft.metrics().borrow_watched().clone(); // a borrow held longer stops Raft
    let index = |id: Option<crate::raft::LogId>| id.map_or(0, |id| id.index);
    let (last, snapshot) = (metrics.last_log_index.unwrap_or(0), index(metrics.snapshot));
    let applied = node.view.last_applied().map_or(0, |id| id.index);
    out.counter("applied_entries", "Log entries applied of all time: the applied index", applied)?;
    out.counter("log_appended_bytes", "Bytes of log entries appended since the start", node.log.appended_bytes())?;
    out.gauge("last_log_index", "Index of the last log entry on this node's disk", last)?;
    out.gauge("committed_index", "Index of the last log entry known to be committed", index(metrics.local_committed))?;
    out.gauge("snapshot_index", "Index of the last log entry in this node's newest snapshot", snapshot)?;
    out.gauge("log_entries_since_snapshot", "Log entries behind the newest snapshot", last.saturating_sub(snapshot))?;
    out.gauge("term", "Raft term of this node", metrics.current_term)?;
    out.gauge("leading", "1 while this node leads", u64::from(metrics.state.is_leader()))?;
    out.gauge("ready", "1 while this node hears from a leader and has caught up", u64::from(node.readiness().is_ok()))
}

fn members(node: &Node, out: &mut Out<'_>) -> fmt::Result {
    let members = node.members();
    let of_role = |voter| members.iter().filter(|member| member.voter == voter).count() as u64;
    let by_role = [([("role", "voter")], of_role(true)), ([("role", "learner")], of_role(false))];
    out.family("members", "Members of the cluster as this node knows them", &by_role)?;
    if !node.raft.is_leader() {
        return Ok(());
    }
    let silent = |id| node.silent_for(id).is_none_or(|silent| silent > SILENT);
    let silent = members.iter().filter(|member| silent(member.id)).count() as u64;
    out.gauge("silent_members", "Members of which the leader has not heard for 5 seconds", silent)?;
    let lag = members.iter().filter_map(|member| node.lag(member.id)).max().unwrap_or(0);
    out.gauge("replication_lag_entries", "Log entries that the furthest member is behind the leader", lag)
}

fn state(node: &Node, out: &mut Out<'_>) -> fmt::Result {
    let (_, state) = node.view.freeze();
    let backlog = state.backlog();
    out.gauge("sessions", "Open sessions of workers", state.sessions().count() as u64)?;
    out.gauge("leased_segments", "Segments under a lease", backlog.leased_segments)?;
    out.gauge("listings", "Listings under way", backlog.listings)?;
    let due = state.listings_due(now().max(state.now()));
    out.gauge("listings_due", "Listings that are due and not under way", due)?;
    let owed = bounded(state.owed_work());
    let mut family = |name: &str, help: &str, value: fn(&OwedWork) -> u64| {
        let series: Vec<_> = owed
            .iter()
            .map(|((tenant, class), work)| ([("tenant", tenant.as_str()), ("class", class.as_str())], value(work)))
            .collect();
        out.family(name, help, &series)
    };
    family("backlog_segments", "Segments that are owed and not leased", |work| work.segments)?;
    family("backlog_files", "Files in segments that are owed and not leased", |work| work.files)?;
    family("backlog_bytes", "Bytes in segments that are owed and not leased", |work| work.bytes)
}

/// The first tenants by name as they are, the others as one.
fn bounded(owed: BTreeMap<(types::Tenant, WorkClass), OwedWork>) -> BTreeMap<(String, WorkClass), OwedWork> {
    let mut tenants = std::collections::BTreeSet::new();
    let mut sums: BTreeMap<(String, WorkClass), OwedWork> = BTreeMap::new();
    for ((tenant, class), work) in owed {
        let tenant = tenant.to_string();
        let own = tenants.contains(&tenant) || tenants.len() < TENANTS && tenants.insert(tenant.clone());
        let sum = sums.entry((if own { tenant } else { "other".to_owned() }, class)).or_default();
        sum.segments += work.segments;
        sum.files += work.files;
        sum.bytes = sum.bytes.saturating_add(work.bytes);
    }
    sums
}

struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let name = format!("{PREFIX}{name}");
        ConstCounter::new(value).encode(self.0.encode_descriptor(&name, help, None, MetricType::Counter)?)
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let name = format!("{PREFIX}{name}");
        ConstGauge::new(signed(value)).encode(self.0.encode_descriptor(&name, help, None, MetricType::Gauge)?)
    }

    fn family<const N: usize>(&mut self, name: &str, help: &str, series: &[([(&str, &str); N], u64)]) -> fmt::Result {
        let name = format!("{PREFIX}{name}");
        let mut family = self.0.encode_descriptor(&name, help, None, MetricType::Gauge)?;
        for (labels, value) in series {
            ConstGauge::new(signed(*value)).encode(family.encode_family(labels)?)?;
        }
        Ok(())
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_tenants_share_one_series() {
        let tenant = |number: usize| types::Tenant(types::Name::new(format!("t{number:03}")).unwrap());
        let one = OwedWork { segments: 1, files: 2, bytes: 3 };
        let owed = (0..80).map(|number| ((tenant(number), WorkClass::Sweep), one)).collect();

        let bounded = bounded(owed);

        assert_eq!(bounded.len(), TENANTS + 1);
        let other = &bounded[&("other".to_owned(), WorkClass::Sweep)];
        assert_eq!((other.segments, other.files, other.bytes), (30, 60, 90));
    }
}
