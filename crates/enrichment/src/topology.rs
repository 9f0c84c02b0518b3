//! Which server has which keys.

use std::sync::Arc;

use redis::Value;

/// Owners of hash slots, by first slot. Slots without an owner are in no range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Topology {
    ranges: Vec<(u16, u16, Arc<str>)>,
}

impl Topology {
    /// One server has everything.
    pub(crate) fn single(server: Arc<str>) -> Self {
        Self { ranges: vec![(0, u16::MAX, server)] }
    }

    /// Reads the answer to `CLUSTER SLOTS` that `asked` gave: an empty host in it means the server that was asked.
    pub(crate) fn parse(answer: &Value, asked: &str) -> Option<Self> {
        let Value::Array(entries) = answer else { return None };
        let mut ranges = entries.iter().map(|entry| range(entry, asked)).collect::<Option<Vec<_>>>()?;
        ranges.sort();
        Some(Self { ranges })
    }

    pub(crate) fn owner(&self, slot: u16) -> Option<&Arc<str>> {
        let after = self.ranges.partition_point(|(first, ..)| *first <= slot);
        let (_, last, server) = self.ranges.get(after.checked_sub(1)?)?;
        (slot <= *last).then_some(server)
    }

    pub(crate) fn servers(&self) -> impl Iterator<Item = &Arc<str>> {
        self.ranges.iter().map(|(.., server)| server)
    }
}

/// First slot, last slot, then nodes, the one to ask first; each with host and port.
fn range(entry: &Value, asked: &str) -> Option<(u16, u16, Arc<str>)> {
    let Value::Array(fields) = entry else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(node), ..] = fields.as_slice() else { return None };
    let [host, Value::Int(port), ..] = node.as_slice() else { return None };
    let host = match host {
        Value::BulkString(host) => str::from_utf8(host).ok()?,
        Value::SimpleString(host) => host,
        Value::Nil => "",
        _ => return None,
    };
    let host = if host.is_empty() { asked.rsplit_once(':')?.0 } else { host };
    let brackets = host.contains(':') && !host.starts_with('[');
    let server = if brackets { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    Some((u16::try_from(*first).ok()?, u16::try_from(*last).ok()?, server.into()))
}
