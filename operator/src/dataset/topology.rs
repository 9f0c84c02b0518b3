//! Who answers for which hash slots: the topology that servers and their clients are told.
//!
//! A dataset in one part has none: each of its servers answers for everything, and a Service in front of them is enough.

use serde::{Deserialize, Serialize};

use super::names;

/// The number of hash slots of Redis Cluster.
const HASH_SLOTS: u32 = 16_384;

/// As `kv-server --cluster-topology` reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Topology {
    pub(crate) epoch: u64,
    pub(crate) nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) slots: Vec<(u16, u16)>,
    pub(crate) replica_of: Option<String>,
}

/// The topology of `shards` parts with `replicas` servers each. Pod number n holds part n modulo `shards`.
///
/// The primary of a part stays while it is ready; else the first one that is takes its place, so that clients, who ask
/// primaries, find somebody. `before` is what holds now: the same nodes keep its epoch, others get the next one.
pub(crate) fn topology(
    place: (&str, &str),
    shards: u16,
    replicas: u16,
    is_ready: impl Fn(&str) -> bool,
    before: Option<&Topology>,
    epoch_before: u64,
) -> Option<Topology> {
    if shards < 2 {
        return None;
    }
    let (namespace, dataset) = place;
    let mut nodes = Vec::new();
    for shard in 0..shards {
        let pods: Vec<String> = (0..replicas).map(|replica| names::pod(dataset, shard + replica * shards)).collect();
        let was_primary = |pod: &&String| {
            let id = names::node_id(pod);
            before.is_some_and(|before| before.nodes.iter().any(|node| node.id == id && node.replica_of.is_none()))
        };
        let primary = pods
            .iter()
            .find(|pod| was_primary(pod) && is_ready(pod))
            .or_else(|| pods.iter().find(|pod| is_ready(pod)))
            .or_else(|| pods.iter().find(was_primary))
            .or_else(|| pods.first())?
            .clone();
        for pod in &pods {
            let is_primary = *pod == primary;
            nodes.push(Node {
                id: names::node_id(pod),
                host: names::host(namespace, dataset, pod),
                port: u16::try_from(names::REDIS_PORT).unwrap_or(6379),
                slots: if is_primary { vec![slots(shard, shards)] } else { Vec::new() },
                replica_of: (!is_primary).then(|| names::node_id(&primary)),
            });
        }
    }
    let last = before.map_or(0, |before| before.epoch).max(epoch_before);
    let is_same = before.is_some_and(|before| before.nodes == nodes);
    Some(Topology { epoch: if is_same { last } else { last + 1 }, nodes })
}

/// As datasets are divided: from `shard * 16384 / shards` to before those of the next.
fn slots(shard: u16, shards: u16) -> (u16, u16) {
    let begin = |shard: u16| {
        let slot = u32::from(shard) * HASH_SLOTS / u32::from(shards);
        u16::try_from(slot).unwrap_or(u16::MAX)
    };
    (begin(shard), begin(shard + 1) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(shards: u16, replicas: u16, down: &[&str], before: Option<&Topology>) -> Option<Topology> {
        topology(("team", "facts"), shards, replicas, |pod| !down.contains(&pod), before, 0)
    }

    fn primaries(topology: &Topology) -> Vec<&str> {
        let primaries = topology.nodes.iter().filter(|node| node.replica_of.is_none());
        primaries.map(|node| node.host.split('.').next().unwrap()).collect()
    }

    #[test]
    fn one_part_needs_no_topology() {
        assert_eq!(of(1, 3, &[], None), None);
    }

    #[test]
    fn parts_cover_all_slots_and_replicas_stand_in() {
        let topology = of(3, 2, &[], None).unwrap();
        assert_eq!(topology.epoch, 1);
        let slots: Vec<_> = topology.nodes.iter().flat_map(|node| node.slots.clone()).collect();
        assert_eq!(slots, [(0, 5460), (5461, 10_921), (10_922, 16_383)]);
        assert_eq!(topology.nodes[1].host, "facts-kv-3.facts-kv-nodes.team.svc");
        assert_eq!(topology.nodes[1].replica_of, Some(names::node_id("facts-kv-0")));
    }

    #[test]
    fn the_epoch_moves_with_the_nodes_and_only_then() {
        let first = of(2, 2, &[], None).unwrap();
        assert_eq!(of(2, 2, &[], Some(&first)).unwrap(), first);
        let larger = of(2, 3, &[], Some(&first)).unwrap();
        assert_eq!((larger.epoch, larger.nodes.len()), (2, 6));
        let forgotten = topology(("team", "facts"), 2, 2, |_| true, None, 7).unwrap();
        assert_eq!(forgotten.epoch, 8, "the status remembers when the ConfigMap is gone");
    }

    #[test]
    fn who_is_ready_takes_the_place_of_who_is_not_and_keeps_it() {
        let first = of(2, 2, &[], None).unwrap();
        let moved = of(2, 2, &["facts-kv-0"], Some(&first)).unwrap();
        assert_eq!((moved.epoch, primaries(&moved)), (2, vec!["facts-kv-2", "facts-kv-1"]));
        let back = of(2, 2, &[], Some(&moved)).unwrap();
        assert_eq!(back, moved, "coming back changes nothing");
        let all_down = of(2, 2, &["facts-kv-0", "facts-kv-2"], Some(&moved)).unwrap();
        assert_eq!(all_down, moved, "with nobody ready nothing moves");
    }
}
