use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use types::{
    CorpusKey, CorpusSpec, Digest, FileOrdinal, LeaseId, SegmentDescriptor, SegmentOrdinal, Skipped, Timestamp,
};

/// A corpus: its segments, and how its listings go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Corpus {
    pub key: CorpusKey,
    pub spec: CorpusSpec,
    pub created_at: Timestamp,
    /// Shared on their own: a lease changes a corpus many times between two arrivals, and must not copy
    /// megabytes because somebody holds a frozen view.
    segments: Arc<Vec<SegmentDescriptor>>,
    manifests: Arc<BTreeSet<Digest>>,
    /// Files ever stored.
    pub files: u64,
    /// Their bytes as workers reported them; stops at `u64::MAX`.
    pub bytes: u64,
    /// Files that listings no longer met, per segment.
    gone: BTreeMap<SegmentOrdinal, RoaringBitmap>,
    pub gone_files: u64,
    /// Segments under a live lease.
    pub(crate) leased: RoaringBitmap,
    pub listing: Listing,
}

#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Listing {
    pub lease: Option<LeaseId>,
    /// Not granted before this time.
    pub due_at: Timestamp,
    pub last_done_at: Option<Timestamp>,
    /// Of the last complete listing.
    pub skipped: Skipped,
    /// Attempts failed in a row, and why the last one did.
    pub failed: u32,
    pub last_error: Option<String>,
}

impl Corpus {
    pub(crate) fn new(key: CorpusKey, spec: CorpusSpec, now: Timestamp) -> Self {
        Self {
            key,
            spec,
            created_at: now,
            segments: Arc::default(),
            manifests: Arc::default(),
            files: 0,
            bytes: 0,
            gone: BTreeMap::new(),
            gone_files: 0,
            leased: RoaringBitmap::new(),
            listing: Listing { due_at: now, ..Listing::default() },
        }
    }

    pub fn segments(&self) -> &[SegmentDescriptor] {
        &self.segments
    }

    pub fn segment(&self, ordinal: SegmentOrdinal) -> Option<&SegmentDescriptor> {
        self.segments.get(ordinal.0 as usize)
    }

    /// Number of segments, and so the ordinal that the next one gets.
    pub fn next_ordinal(&self) -> SegmentOrdinal {
        SegmentOrdinal(u32::try_from(self.segments.len()).unwrap_or(u32::MAX))
    }

    pub fn gone(&self) -> impl Iterator<Item = (SegmentOrdinal, &RoaringBitmap)> {
        self.gone.iter().map(|(segment, files)| (*segment, files))
    }

    /// Files of one segment that listings no longer met, or met changed; ascending.
    pub fn gone_of(&self, segment: SegmentOrdinal) -> impl Iterator<Item = FileOrdinal> {
        self.gone.get(&segment).into_iter().flatten().map(FileOrdinal)
    }

    /// Appends a segment unless one with the same manifest is there: a repeated proposal stores no file twice.
    pub(crate) fn append(&mut self, segment: SegmentDescriptor) -> bool {
        let room = self.segments.len() < u32::MAX as usize;
        if !room || self.manifests.contains(&segment.manifest) {
            return false;
        }
        self.files += u64::from(segment.files);
        self.bytes = self.bytes.saturating_add(segment.bytes);
        Arc::make_mut(&mut self.manifests).insert(segment.manifest);
        Arc::make_mut(&mut self.segments).push(segment);
        true
    }

    pub(crate) fn mark_gone(&mut self, segment: SegmentOrdinal, file: FileOrdinal) {
        let known = self.segment(segment).is_some_and(|descriptor| file.0 < descriptor.files);
        if known && self.gone.entry(segment).or_default().insert(file.0) {
            self.gone_files += 1;
        }
    }
}
