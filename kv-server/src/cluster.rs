//! The cluster as clients see it: which node answers for which hash slots. Nodes do not talk to each other; the topology comes
//! from a file or is pushed, with an epoch, and only a newer epoch replaces what is known.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use resp::{HASH_SLOTS, hash_slot};
use serde::{Deserialize, Serialize};

/// Larger than any cluster needs.
const MOST_NODES: usize = 4096;

/// As written in a file or pushed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Description {
    pub epoch: u64,
    pub nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// 40 hex digits.
    pub id: String,
    /// A name that stays when the machine behind it changes.
    pub host: String,
    pub port: u16,
    /// First and last of each range. A replica has those of the node it stands in for, and lists none.
    #[serde(default)]
    pub slots: Vec<(u16, u16)>,
    #[serde(default)]
    pub replica_of: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to read the topology in {path}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the topology is not valid JSON of the right form")]
    Json(#[from] serde_json::Error),
    #[error("the topology names {count} nodes, more than {MOST_NODES}")]
    TooManyNodes { count: usize },
    #[error("node {id:?}: {reason}")]
    Node { id: String, reason: &'static str },
    #[error("hash slot {slot} belongs to both {first} and {second}")]
    SlotTwice { slot: u16, first: String, second: String },
    #[error("this node's id {id} is not in the topology")]
    NotInIt { id: String },
    #[error("epoch {offered} is not newer than {current}, which holds")]
    NotNewer { offered: u64, current: u64 },
    #[error("this server has no --cluster-node id, so that it cannot be part of a topology")]
    NoIdentity,
}

/// A checked topology, seen from one of its nodes.
#[derive(Debug)]
pub struct Topology {
    pub(crate) epoch: u64,
    pub(crate) nodes: Vec<Node>,
    me: usize,
    /// The node whose slots this one answers: itself, or the one it stands in for.
    primary: usize,
    /// For each hash slot its node, or `NOBODY`.
    owners: Box<[u16]>,
}

const NOBODY: u16 = u16::MAX;

impl Topology {
    pub fn check(description: Description, me: &str) -> Result<Self, Error> {
        let Description { epoch, nodes } = description;
        if nodes.len() > MOST_NODES {
            return Err(Error::TooManyNodes { count: nodes.len() });
        }
        let mut owners = vec![NOBODY; usize::from(HASH_SLOTS)].into_boxed_slice();
        for (number, (index, node)) in (0u16..).zip(nodes.iter().enumerate()) {
            check_node(node, &nodes, index)?;
            for (first, last) in &node.slots {
                for slot in *first..=*last {
                    let owner = &mut owners[usize::from(slot)];
                    if *owner != NOBODY {
                        let first = nodes[usize::from(*owner)].id.clone();
                        return Err(Error::SlotTwice { slot, first, second: node.id.clone() });
                    }
                    *owner = number;
                }
            }
        }
        let position = |id: &str| nodes.iter().position(|node| node.id == id);
        let me = position(me).ok_or_else(|| Error::NotInIt { id: me.to_owned() })?;
        let primary = nodes[me].replica_of.as_deref().and_then(position).unwrap_or(me);
        Ok(Self { epoch, nodes, me, primary, owners })
    }

    pub(crate) fn is_replica(&self) -> bool {
        self.me != self.primary
    }

    pub(crate) fn me(&self) -> &Node {
        &self.nodes[self.me]
    }

    /// Nodes that have slots of their own, each with those that stand in for it.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&Node, Vec<&Node>)> {
        self.nodes.iter().filter(|node| node.replica_of.is_none()).map(|node| {
            let replicas = self.nodes.iter().filter(|it| it.replica_of.as_ref() == Some(&node.id));
            (node, replicas.collect())
        })
    }

    pub(crate) fn covered(&self) -> usize {
        self.owners.iter().filter(|owner| **owner != NOBODY).count()
    }

    /// Why this node does not answer for `keys`, as an error reply; `None` if it does.
    pub(crate) fn refusal<'a>(
        &self,
        mut keys: impl Iterator<Item = &'a [u8]>,
        reads_from_replicas: bool,
    ) -> Option<String> {
        let slot = hash_slot(keys.next()?);
        if keys.any(|key| hash_slot(key) != slot) {
            return Some("CROSSSLOT Keys in request don't hash to the same slot".to_owned());
        }
        let owner = self.owners[usize::from(slot)];
        if owner == NOBODY {
            return Some("CLUSTERDOWN Hash slot not served".to_owned());
        }
        let owner = usize::from(owner);
        if owner == self.me || (owner == self.primary && reads_from_replicas) {
            return None;
        }
        let Node { host, port, .. } = &self.nodes[owner];
        Some(format!("MOVED {slot} {host}:{port}"))
    }
}

fn check_node(node: &Node, nodes: &[Node], index: usize) -> Result<(), Error> {
    let refused = |reason| Err(Error::Node { id: node.id.clone(), reason });
    if node.id.len() != 40 || !node.id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return refused("an id is 40 hex digits");
    }
    if nodes[..index].iter().any(|other| other.id == node.id) {
        return refused("two nodes have this id");
    }
    // What clients are told stands in lines with blanks, commas and colons between fields.
    if node.host.is_empty() || node.host.bytes().any(|byte| !byte.is_ascii_graphic() || matches!(byte, b',' | b'@')) {
        return refused("its host is no name or address");
    }
    if node.port == 0 {
        return refused("its port is 0");
    }
    if node.slots.iter().any(|(first, last)| first > last || *last >= HASH_SLOTS) {
        return refused("a range of its hash slots is none");
    }
    if let Some(primary) = &node.replica_of {
        if !node.slots.is_empty() {
            return refused("it stands in for another node, and yet has slots of its own");
        }
        if !nodes.iter().any(|other| other.id == *primary && other.replica_of.is_none()) {
            return refused("it stands in for a node that is not there, or stands in itself");
        }
    }
    Ok(())
}

/// What holds now: a topology, or none, in which case this node answers for all slots.
#[derive(Debug)]
pub struct View {
    generation: u64,
    topology: Option<Topology>,
    /// This node's id, also without a topology.
    pub(crate) id: String,
    /// What a node without a topology calls itself; else the address that the client reached.
    pub(crate) announce: Option<(String, u16)>,
}

impl View {
    pub fn topology(&self) -> Option<&Topology> {
        self.topology.as_ref()
    }

    /// Grows by one with each topology.
    pub fn generation(&self) -> u64 {
        self.generation
    }
}

/// Holds the view, and replaces it.
#[derive(Debug)]
pub struct Cluster {
    view: ArcSwap<View>,
    generation: AtomicU64,
    has_identity: bool,
    changing: Mutex<()>,
}

impl Cluster {
    /// `id` is given by `--cluster-node`. Without one this server makes one up, and takes no topology.
    pub fn new(id: Option<String>, announce: Option<(String, u16)>) -> Self {
        let has_identity = id.is_some();
        let id = id.unwrap_or_else(crate::shared::random_id);
        let view = ArcSwap::from_pointee(View { generation: 0, topology: None, id, announce });
        Self { view, generation: AtomicU64::new(0), has_identity, changing: Mutex::new(()) }
    }

    pub fn view(&self) -> Arc<View> {
        self.view.load_full()
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Takes the topology in a file.
    pub fn read(&self, path: &Path) -> Result<u64, Error> {
        let json = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        self.apply(&json)
    }

    /// Takes a topology as JSON. Returns its epoch, which holds from now on. The same topology again is no error.
    pub fn apply(&self, json: &[u8]) -> Result<u64, Error> {
        let description: Description = serde_json::from_slice(json)?;
        if !self.has_identity {
            return Err(Error::NoIdentity);
        }
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let view = self.view.load();
        if let Some(current) = &view.topology {
            if current.epoch == description.epoch && current.nodes == description.nodes {
                return Ok(current.epoch);
            }
            if current.epoch >= description.epoch {
                return Err(Error::NotNewer { offered: description.epoch, current: current.epoch });
            }
        }
        let topology = Topology::check(description, &view.id)?;
        let epoch = topology.epoch;
        let generation = view.generation + 1;
        let (id, announce) = (view.id.clone(), view.announce.clone());
        self.view.store(Arc::new(View { generation, topology: Some(topology), id, announce }));
        self.generation.store(generation, Ordering::Release);
        Ok(epoch)
    }
}

#[cfg(test)]
mod tests;
