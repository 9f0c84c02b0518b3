//! CLUSTER: what clients ask to find the node of a key. Without a topology one node answers for all slots.

use std::{fmt::Write as _, ops::ControlFlow};

use resp::{HASH_SLOTS, Reply, Request, hash_slot, parse_integer};

use super::{
    Flow,
    executor::Context,
    keyspace::{Failure, Found, MOST_KEYS, count_slot, walk_slot},
};
use crate::cluster::Node;

/// Nodes with slots, each with those that stand in for it.
struct Group {
    primary: Node,
    replicas: Vec<Node>,
}

fn groups(context: &Context<'_>) -> Vec<Group> {
    if let Some(topology) = context.topology {
        let group = |(primary, replicas): (&Node, Vec<&Node>)| Group {
            primary: primary.clone(),
            replicas: replicas.into_iter().cloned().collect(),
        };
        return topology.groups().map(group).collect();
    }
    // The address by which the client reached this node is one that it can reach.
    let local = context.session.local;
    let (host, port) =
        context.view.announce.clone().unwrap_or_else(|| (local.ip().to_canonical().to_string(), local.port()));
    let slots = vec![(0, HASH_SLOTS - 1)];
    vec![Group { primary: Node { id: context.view.id.clone(), host, port, slots, replica_of: None }, replicas: vec![] }]
}

pub(super) fn slots(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    let groups = groups(context);
    let mut reply = context.reply();
    let mut ranges: Vec<_> =
        groups.iter().flat_map(|group| group.primary.slots.iter().map(move |range| (*range, group))).collect();
    ranges.sort_by_key(|(range, _)| *range);
    reply.array(ranges.len());
    for ((first, last), group) in ranges {
        reply.array(3 + group.replicas.len());
        reply.integer(first.into());
        reply.integer(last.into());
        for node in std::iter::once(&group.primary).chain(&group.replicas) {
            reply.array(4);
            reply.bulk(node.host.as_bytes());
            reply.integer(node.port.into());
            reply.bulk(node.id.as_bytes());
            reply.array(0);
        }
    }
    Flow::Done
}

pub(super) fn shards(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    let groups = groups(context);
    let mut reply = context.reply();
    reply.array(groups.len());
    for group in groups {
        reply.map(2);
        reply.bulk(b"slots");
        reply.array(group.primary.slots.len() * 2);
        for (first, last) in &group.primary.slots {
            reply.integer((*first).into());
            reply.integer((*last).into());
        }
        reply.bulk(b"nodes");
        reply.array(1 + group.replicas.len());
        for node in std::iter::once(&group.primary).chain(&group.replicas) {
            shard_node(&mut reply, node);
        }
    }
    Flow::Done
}

fn shard_node(reply: &mut Reply<'_>, node: &Node) {
    let role = if node.replica_of.is_some() { "replica" } else { "master" };
    reply.map(7);
    reply.bulk(b"id");
    reply.bulk(node.id.as_bytes());
    reply.bulk(b"port");
    reply.integer(node.port.into());
    for name in ["ip", "endpoint"] {
        reply.bulk(name.as_bytes());
        reply.bulk(node.host.as_bytes());
    }
    reply.bulk(b"role");
    reply.bulk(role.as_bytes());
    reply.bulk(b"replication-offset");
    reply.integer(0);
    reply.bulk(b"health");
    reply.bulk(b"online");
}

/// Lines of `<id> <host>:<port>@<bus port> <flags> <primary> <ping> <pong> <epoch> <link> <slots>`.
pub(super) fn nodes(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    let me = my_id(context);
    let epoch = context.topology.map_or(0, |topology| topology.epoch);
    let mut lines = String::new();
    for group in groups(context) {
        for node in std::iter::once(&group.primary).chain(&group.replicas) {
            let myself = if node.id == me { "myself," } else { "" };
            let (role, primary) = match &node.replica_of {
                Some(primary) => ("slave", primary.as_str()),
                None => ("master", "-"),
            };
            // There is no bus. The field must be there, and 10,000 above the port is what clients expect in it.
            let bus = u32::from(node.port) + 10_000;
            let Node { id, host, port, slots, .. } = node;
            let _ = write!(lines, "{id} {host}:{port}@{bus} {myself}{role} {primary} 0 0 {epoch} connected");
            for (first, last) in slots {
                let _ = if first == last { write!(lines, " {first}") } else { write!(lines, " {first}-{last}") };
            }
            lines.push('\n');
        }
    }
    context.reply().text(&lines);
    Flow::Done
}

fn my_id(context: &Context<'_>) -> String {
    context.topology.map_or_else(|| context.view.id.clone(), |topology| topology.me().id.clone())
}

pub(super) fn info(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    let covered = context.topology.map_or(usize::from(HASH_SLOTS), |topology| topology.covered());
    let state = if covered == usize::from(HASH_SLOTS) { "ok" } else { "fail" };
    let groups = groups(context);
    let known: usize = groups.iter().map(|group| 1 + group.replicas.len()).sum();
    let size = groups.iter().filter(|group| !group.primary.slots.is_empty()).count();
    let epoch = context.topology.map_or(0, |topology| topology.epoch);
    context.reply().text(&format!(
        "cluster_state:{state}\r\ncluster_slots_assigned:{covered}\r\ncluster_slots_ok:{covered}\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:{known}\r\ncluster_size:{size}\r\n\
         cluster_current_epoch:{epoch}\r\ncluster_my_epoch:{epoch}\r\ncluster_stats_messages_sent:0\r\n\
         cluster_stats_messages_received:0\r\ntotal_cluster_links_buffer_limit_exceeded:0\r\n"
    ));
    Flow::Done
}

pub(super) fn myid(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    let id = my_id(context);
    context.reply().bulk(id.as_bytes());
    Flow::Done
}

pub(super) fn keyslot(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    context.integer(hash_slot(request.get(2).unwrap_or_default()).into())
}

/// ROLE, which old clients ask for.
pub(super) fn role(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    let mut reply = context.reply();
    reply.array(3);
    reply.bulk(b"master");
    reply.integer(0);
    reply.array(0);
    Flow::Done
}

pub(super) fn countkeysinslot(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let Some(slot) = slot(request) else { return context.error("ERR Invalid slot") };
    if !context.may_wait {
        return Flow::NeedsDisk;
    }
    match count_slot(context, slot) {
        Ok(Some(count)) => context.integer(i64::try_from(count).unwrap_or(i64::MAX)),
        Ok(None) => context.error("TRYAGAIN the keys of this node's slots are being counted, which is done once"),
        Err(Failure::Refused(text)) => context.error(text),
        Err(Failure::Read(error)) => {
            context.read_failed(&error);
            Flow::Done
        }
    }
}

pub(super) fn getkeysinslot(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let Some(slot) = slot(request) else { return context.error("ERR Invalid slot or number of keys") };
    let most = request.get(3).and_then(parse_integer).and_then(|most| usize::try_from(most).ok());
    let Some(most) = most else { return context.error("ERR Invalid slot or number of keys") };
    if !context.may_wait {
        return Flow::NeedsDisk;
    }
    let limit = context.shared.settings.output_limit;
    let mut found = Found::default();
    let walked = walk_slot(context, slot, |prefix, key| {
        if found.count() < most {
            found.push(prefix, key, None);
        }
        let has_room = found.bytes() <= limit;
        if found.count() < most && has_room { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    if found.bytes() > limit {
        return Flow::TooMuchOutput;
    }
    finish(context, walked, |context| {
        found.reply(&mut context.reply());
        Flow::Done
    })
}

fn slot(request: Request<'_>) -> Option<u16> {
    let slot = request.get(2).and_then(parse_integer)?;
    u16::try_from(slot).ok().filter(|slot| *slot < HASH_SLOTS)
}

fn finish(
    context: &mut Context<'_>,
    walked: Result<bool, Failure>,
    answer: impl FnOnce(&mut Context<'_>) -> Flow,
) -> Flow {
    match walked {
        Ok(true) => answer(context),
        Ok(false) => {
            context.error(format!("ERR more than {MOST_KEYS} keys would have to be looked at, use SCAN instead"))
        }
        Err(Failure::Refused(text)) => context.error(text),
        Err(Failure::Read(error)) => {
            context.read_failed(&error);
            Flow::Done
        }
    }
}
