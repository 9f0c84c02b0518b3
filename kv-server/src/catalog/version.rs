//! One opened version of a dataset.

use std::{
    collections::BTreeSet,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, TryLockError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use dataset::{Manifest, SlotRange, VersionId};
use resp::{HASH_SLOTS, hash_slot};
use shard::{InMemory, OpenOptions, Residence, Shard};

use super::Memory;

/// A mapped shard is read on the event loops while at least this share of its pages is in memory. Below, a read may wait for the
/// disk too often: at 0.999 one in a thousand waits 0.1 ms, which leaves the p99 alone.
const RESIDENT_ENOUGH: f64 = 0.999;

/// Which shards of a version this server holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    #[default]
    All,
    Only(BTreeSet<u32>),
    /// Those with keys of these hash slots, however many shards a version has.
    Slots(SlotRange),
}

impl Wanted {
    /// Whether shard `index`, which has these hash slots, is one of them.
    pub fn contains(&self, index: u32, slots: SlotRange) -> bool {
        match self {
            Self::All => true,
            Self::Only(indexes) => indexes.contains(&index),
            Self::Slots(wanted) => slots.first <= wanted.last && wanted.first <= slots.last,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("failed to open shard {index} of the version in {}", folder.display())]
    Shard { index: u32, folder: PathBuf, source: shard::Error },
    #[error("failed to look at the files in {}", folder.display())]
    Look { folder: PathBuf, source: std::io::Error },
    #[error(
        "the version was built for keys that begin with {built_for:?}, and the server was told {served_as:?}: give the dataset \
         ,prefix={built_for}"
    )]
    Prefix { built_for: String, served_as: String },
    #[error("the manifest of the version in {} leaves out or repeats hash slots", folder.display())]
    Slots { folder: PathBuf },
}

/// An opened, immutable version. Closed when dropped.
pub struct Version {
    manifest: Option<Arc<Manifest>>,
    folder: PathBuf,
    opened_at: SystemTime,
    /// All shards in the order of their slots, held here or not.
    parts: Vec<Part>,
    keys: u64,
    bytes: u64,
}

/// One shard of a version: a range of hash slots.
pub struct Part {
    index: u32,
    /// Its last hash slot; it begins after the one of the part before.
    last_slot: u16,
    /// `None` if this server does not hold it.
    shard: Option<Shard>,
    /// Keys in it, if it is held here.
    keys: u64,
    /// Whether reading it hardly ever waits for the disk, so that an event loop may.
    inline: AtomicBool,
    /// Keys by hash slot, counted when somebody asks for the first time: that takes a look at every key.
    by_slot: OnceLock<Box<[u32]>>,
    counting: Mutex<()>,
}

impl Version {
    pub(super) fn open(
        folder: &Path,
        manifest: Option<Arc<Manifest>>,
        wanted: &Wanted,
        memory: &Memory,
        beside: u64,
    ) -> Result<Self, OpenError> {
        let planned = plan(folder, manifest.as_deref())?;
        let firsts = std::iter::once(0).chain(planned.iter().map(|(_, _, last_slot)| last_slot.saturating_add(1)));
        let slots: Vec<_> =
            firsts.zip(&planned).map(|(first, (_, _, last))| SlotRange { first, last: *last }).collect();
        let wanted: BTreeSet<u32> = planned
            .iter()
            .zip(slots)
            .filter(|((index, ..), slots)| manifest.is_none() || wanted.contains(*index, *slots))
            .map(|((index, ..), _)| *index)
            .collect();
        let held = |index: u32| wanted.contains(&index);
        let mut bytes = 0;
        for (_, folder, _) in planned.iter().filter(|(index, ..)| held(*index)) {
            bytes += shard::bytes_in(folder).map_err(|source| OpenError::Look { folder: folder.clone(), source })?;
        }
        let residence = memory.residence(bytes, beside);
        // Whoever downloaded a version verified it. What was made elsewhere nobody looked at; yet in memory a block would be
        // checked again at each read of it, which takes an eighth of all time at 16 requests in a batch.
        let verify_checksums = manifest.is_none() && matches!(residence, Residence::Cached(_));
        let options = OpenOptions { residence, verify_checksums, ..OpenOptions::default() };
        let mut parts = Vec::new();
        for (index, folder, last_slot) in planned {
            let open = || Shard::open(&folder, &options);
            let failed = |source| OpenError::Shard { index, folder: folder.clone(), source };
            let shard = held(index).then(open).transpose().map_err(failed)?;
            let inline = AtomicBool::new(shard.as_ref().is_some_and(|shard| !shard.is_mapped()));
            let counted =
                manifest.as_ref().and_then(|manifest| Some(manifest.shards.get(usize::try_from(index).ok()?)?.keys));
            let keys = shard.as_ref().map_or(0, |shard| counted.unwrap_or_else(|| shard.keys()));
            parts.push(Part {
                index,
                last_slot,
                shard,
                inline,
                keys,
                by_slot: OnceLock::new(),
                counting: Mutex::new(()),
            });
        }
        let keys = parts.iter().map(Part::keys).sum();
        let version = Self { manifest, folder: folder.to_owned(), opened_at: SystemTime::now(), parts, keys, bytes };
        version.look_at_residence(|| ControlFlow::Continue(()));
        Ok(version)
    }

    /// `None` for a directory made elsewhere.
    pub fn id(&self) -> Option<&VersionId> {
        self.manifest.as_ref().map(|manifest| &manifest.version)
    }

    /// The id, or what stands for it where there is none.
    pub fn label(&self) -> String {
        self.id().map_or_else(|| "directory".to_owned(), ToString::to_string)
    }

    pub fn manifest(&self) -> Option<&Arc<Manifest>> {
        self.manifest.as_ref()
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn opened_at(&self) -> SystemTime {
        self.opened_at
    }

    /// Keys in the shards held here.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// Bytes on disk of the shards held here.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// All parts in the order of their hash slots, those included that this server does not hold.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The opened shards.
    pub fn shards(&self) -> impl Iterator<Item = &Shard> {
        self.parts.iter().filter_map(Part::shard)
    }

    /// The part that has `key`, given as the client writes it, with its prefix: the prefix counts for the hash slot.
    #[inline]
    pub fn part_of(&self, key: &[u8]) -> &Part {
        match &self.parts[..] {
            [only] => only,
            parts => {
                let slot = hash_slot(key);
                &parts[parts.partition_point(|part| part.last_slot < slot)]
            }
        }
    }

    /// Decides anew whether event loops may read the mapped shards. To be called now and then, and after warming: pages come and
    /// go. Costs one to two milliseconds of a core for each shard, in pieces between which `pace` is called, to sleep or to break off;
    /// false if the disk refused to say.
    pub fn look_at_residence(&self, mut pace: impl FnMut() -> ControlFlow<()>) -> bool {
        let mut all_told = true;
        for part in &self.parts {
            let Some(shard) = part.shard.as_ref().filter(|shard| shard.is_mapped()) else { continue };
            // A file system that cannot tell is taken at its word: then a mapped shard is all it has.
            let resident = shard.resident_fraction(&mut pace);
            let resident = resident.map(|fraction| fraction.is_none_or(|it| it >= RESIDENT_ENOUGH));
            all_told &= resident.is_ok();
            part.inline.store(resident.unwrap_or(true), Ordering::Relaxed);
        }
        all_told
    }
}

impl Part {
    pub fn index(&self) -> u32 {
        self.index
    }

    pub fn last_slot(&self) -> u16 {
        self.last_slot
    }

    pub fn shard(&self) -> Option<&Shard> {
        self.shard.as_ref()
    }

    /// Keys in it; 0 if this server does not hold it.
    pub fn keys(&self) -> u64 {
        self.keys
    }

    /// Keys of a hash slot, each with the prefix that clients write before it, which is the same in every call. Looks at every key
    /// the first time, and may take minutes; `None` while another thread does that.
    pub fn keys_in_slot(&self, prefix: &[u8], slot: u16) -> Result<Option<u64>, shard::Error> {
        let Some(shard) = &self.shard else { return Ok(Some(0)) };
        let told = |counts: &[u32]| Ok(counts.get(usize::from(slot)).copied().map(u64::from));
        if let Some(counts) = self.by_slot.get() {
            return told(counts);
        }
        let _ours = match self.counting.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        if let Some(counts) = self.by_slot.get() {
            return told(counts); // by whom we just missed
        }
        let mut counts = vec![0_u32; usize::from(HASH_SLOTS)];
        let mut asked = prefix.to_vec();
        let _to_the_end = shard.scan_checked(|key, _| {
            asked.truncate(prefix.len());
            asked.extend_from_slice(key);
            let count = &mut counts[usize::from(hash_slot(&asked))];
            *count = count.saturating_add(1);
            ControlFlow::Continue(())
        })?;
        told(self.by_slot.get_or_init(|| counts.into()))
    }

    /// Whether all reads can be answered on an event loop without asking first: mapped, and in memory.
    #[inline]
    pub fn is_in_memory(&self) -> bool {
        self.inline.load(Ordering::Relaxed) && self.shard.as_ref().is_some_and(Shard::is_mapped)
    }
}

/// Reads `key` (as stored) without waiting for a disk, as far as can be known.
#[inline]
pub(crate) fn get_now<R>(
    part: &Part,
    shard: &Shard,
    key: &[u8],
    read: impl FnOnce(Option<&[u8]>) -> R,
) -> Result<InMemory<R>, shard::Error> {
    if !part.inline.load(Ordering::Relaxed) {
        return Ok(InMemory::MayNeedDisk);
    }
    shard.get_in_memory(key, read)
}

/// Index, folder and last hash slot of each shard.
fn plan(folder: &Path, manifest: Option<&Manifest>) -> Result<Vec<(u32, PathBuf, u16)>, OpenError> {
    let Some(manifest) = manifest else { return Ok(vec![(0, folder.to_owned(), HASH_SLOTS - 1)]) };
    let mut planned = Vec::new();
    let mut next_slot = 0;
    for (index, shard) in (0..).zip(&manifest.shards) {
        let (first, last) = (shard.slots.first, shard.slots.last);
        if first != next_slot || last < first {
            return Err(OpenError::Slots { folder: folder.to_owned() });
        }
        next_slot = last + 1;
        planned.push((index, folder.join(format!("shard-{index:04}")), last));
    }
    if next_slot != HASH_SLOTS {
        return Err(OpenError::Slots { folder: folder.to_owned() });
    }
    Ok(planned)
}
