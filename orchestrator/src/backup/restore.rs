//! Founding a new cluster from a backup.

use std::{collections::BTreeMap, fs, io, path::Path};

use openraft::{BasicNode, Membership, storage::RaftLogStorage, vote::RaftLeaderId};
use scheduling::{Command, Event, Stamp, State};

use super::{Backup, Error, Place, file};
use crate::{
    identity::{self, Identity, Origin},
    raft::{LogId, SnapshotMeta, StoredMembership, Vote, log_store::LogStore, snapshot},
};

/// A restored log goes on at the next multiple of this. The lost cluster may have granted leases and opened sessions after the
/// backup, and objects and workers name those by log index: the new cluster's must never be taken for them.
const INDEX_STEP: u64 = 1 << 32;

/// What the new cluster is to be.
pub(crate) struct Wish<'a> {
    /// Of a place or of one backup.
    pub(crate) url: &'a str,
    /// Empty: any.
    pub(crate) from_cluster_id: &'a str,
    /// Empty: random.
    pub(crate) cluster_id: &'a str,
}

/// Writes log, snapshot and identity of the first member into `dir`, the identity last: until it is there the directory
/// belongs to nobody, and the next try begins anew.
pub(crate) async fn restore(dir: &Path, advertise: &str, wish: Wish<'_>) -> Result<(Identity, Backup), Error> {
    let cluster_id = identity::cluster_id_or_random(wish.cluster_id)?;
    let (backup, bytes) = fetch(&wish).await?;
    let url = backup.url.clone();
    let read = tokio::task::spawn_blocking(move || file::unpack(&bytes)).await;
    let read = read.unwrap_or_else(|panicked| Err(panicked.to_string()));
    let (header, state) = read.map_err(|what| Error::Damaged { url, what })?;
    if header.cluster_id == cluster_id {
        return Err(Error::SameCluster { cluster_id });
    }
    let index = (header.index / INDEX_STEP + 1) * INDEX_STEP;
    let (state, node_id) = begin_anew(state, index);
    let identity = Identity::new(cluster_id, node_id, Origin::Restored);
    let disk = |source| Error::Disk { dir: dir.to_owned(), source };
    write(dir, advertise, &identity, (header.term, index), &state).await.map_err(disk)?;
    identity.save(dir)?;
    tracing::info!(
        url = backup.url,
        backed_up = header.cluster_id,
        cluster_id = identity.cluster_id,
        node_id,
        index,
        "restored as a new cluster"
    );
    Ok((identity, backup))
}

async fn fetch(wish: &Wish<'_>) -> Result<(Backup, bytes::Bytes), Error> {
    let missing = || Error::Missing { url: wish.url.to_owned() };
    let (place, wanted) = if Place::is_backup(wish.url) {
        let (place, name) = Place::of_backup(wish.url)?;
        (place, Some(name))
    } else {
        (Place::open(wish.url)?, None)
    };
    let backups = place.list().await?.into_iter();
    let fits = |backup: &Backup| match &wanted {
        Some(name) => backup.name() == name,
        None => wish.from_cluster_id.is_empty() || backup.cluster_id == wish.from_cluster_id,
    };
    let backup = backups.filter(fits).max_by_key(|backup| (backup.taken_at, backup.index)).ok_or_else(missing)?;
    let bytes = place.get(backup.name()).await?;
    Ok((backup, bytes))
}

/// Ends every session with its leases, and takes an id that no member of the lost cluster had.
fn begin_anew(mut state: State, index: u64) -> (State, u64) {
    let stamp = Stamp { index, at: state.now(), first_slot: 0 };
    let sessions = state.sessions().map(|(id, _)| id).collect();
    state.apply(stamp, Command::EndSessions { sessions });
    let allocated = state.apply(stamp, Command::AllocateNode);
    let node = allocated.iter().find_map(|event| match event {
        Event::NodeAllocated { node } => Some(node.0),
        _ => None,
    });
    (state, node.expect("an id is always allocated"))
}

async fn write(
    dir: &Path,
    advertise: &str,
    identity: &Identity,
    (term, index): (u64, u64),
    state: &State,
) -> io::Result<()> {
    for left_over in [identity::log_dir(dir), identity::snapshot_dir(dir)] {
        match fs::remove_dir_all(left_over) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    let node_id = identity.node_id;
    let leader_id = openraft::alias::LeaderIdOf::<crate::raft::TypeConfig>::new(term, node_id);
    let last = LogId::new(leader_id, index);
    let nodes = BTreeMap::from([(node_id, BasicNode::new(advertise))]);
    let membership = Membership::new(vec![[node_id].into()], nodes).map_err(io::Error::other)?;
    let last_membership = StoredMembership::new(Some(last), membership);
    let meta = SnapshotMeta { last_log_id: Some(last), last_membership };
    let folder = snapshot::SnapshotFolder::open(identity::snapshot_dir(dir))?;
    folder.save(&meta, &snapshot::pack(state)?)?;
    // The first election must be of a later term than the entry that the snapshot ends with.
    let mut log = LogStore::open(&identity::log_dir(dir))?;
    log.save_vote(&Vote::new(term, node_id)).await?;
    log.purge(last).await
}
