//! What one ruleset has answered about one corpus: the *latest done version* of each segment, as one
//! bitmap per version, with small maps of what is unusual.

use std::{collections::BTreeMap, sync::Arc};

use roaring::RoaringBitmap;
use serde::{Deserialize, Serialize};
use types::{
    Exception, FileOrdinal, LeaseId, Outcome, OutcomeCounts, RulesetVersion, SegmentDescriptor, SegmentOrdinal,
    Timestamp,
};

use crate::{Corpus, ScanDone};

#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
pub struct Coverage {
    /// Segments by their latest done version; disjoint, never empty.
    done: BTreeMap<RulesetVersion, RoaringBitmap>,
    /// Segments from here on arrived under a standing ruleset: fresh work, not a sweep.
    pub(crate) first_fresh: SegmentOrdinal,
    /// Where the findings of a segment's latest done version lie. No finding, no entry. Shared on its own,
    /// like `excepted`: most segments are clean, and must not copy either because somebody holds a frozen view.
    findings: Arc<BTreeMap<SegmentOrdinal, FindingsObject>>,
    /// Files without an answer at their segment's latest done version.
    excepted: Arc<BTreeMap<SegmentOrdinal, BTreeMap<FileOrdinal, Exception>>>,
    /// Segments whose attempts did not all succeed, until one does.
    attempts: BTreeMap<SegmentOrdinal, Attempts>,
    /// Why a segment was given up at its latest done version.
    abandoned: BTreeMap<SegmentOrdinal, String>,
    hunts: BTreeMap<RulesetVersion, Hunt>,
}

/// The object that holds a segment's findings, by the lease that wrote it: an attempt that lost its
/// lease writes elsewhere and can never replace what was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingsObject {
    pub version: RulesetVersion,
    pub lease: LeaseId,
    pub files: u32,
    pub findings: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Attempts {
    /// Times a worker was given the segment.
    pub acquired: u32,
    /// Times it reported a failure that was the segment's or the rules'.
    pub failed: u32,
    /// Times its session ended with the lease live.
    pub lost: u32,
    /// Not granted before this time.
    pub not_before: Timestamp,
    pub last_error: Option<String>,
}

/// Running sums of one ruleset version over one corpus. Each segment is added once, when it is done at
/// this version, so that what is not in the sums has not been scanned at it.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Hunt {
    pub started_at: Timestamp,
    /// When the last stored file got its outcome; none while files are owed or the first listing has not
    /// ended. A superseded hunt keeps what it had when files arrive.
    pub caught_up_at: Option<Timestamp>,
    pub outcomes: OutcomeCounts,
    pub segments: u32,
    /// Bytes of the segments done, as stored.
    pub bytes: u64,
    /// Bytes that the engine was given; less than `bytes` where files were carried over or excepted.
    pub scanned_bytes: u64,
    pub findings: u64,
}

impl Hunt {
    fn answers_all_of(&self, corpus: &Corpus) -> bool {
        corpus.listing.last_done_at.is_some() && self.outcomes.total() == corpus.files
    }
}

impl Coverage {
    pub(crate) fn starting_at(first_fresh: SegmentOrdinal) -> Self {
        Self { first_fresh, ..Self::default() }
    }

    pub fn done_version(&self, segment: SegmentOrdinal) -> Option<RulesetVersion> {
        self.done.iter().find(|(_, segments)| segments.contains(segment.0)).map(|(version, _)| *version)
    }

    pub fn done_at(&self, version: RulesetVersion) -> Option<&RoaringBitmap> {
        self.done.get(&version)
    }

    pub(crate) fn done_bitmaps(&self) -> impl Iterator<Item = &RoaringBitmap> {
        self.done.values()
    }

    pub fn hunt(&self, version: RulesetVersion) -> Option<&Hunt> {
        self.hunts.get(&version)
    }

    pub fn hunts(&self) -> impl Iterator<Item = (RulesetVersion, &Hunt)> {
        self.hunts.iter().map(|(version, hunt)| (*version, hunt))
    }

    pub fn findings(&self) -> impl Iterator<Item = (SegmentOrdinal, &FindingsObject)> {
        self.findings.iter().map(|(segment, object)| (*segment, object))
    }

    pub fn findings_of(&self, segment: SegmentOrdinal) -> Option<&FindingsObject> {
        self.findings.get(&segment)
    }

    pub fn excepted(&self) -> impl Iterator<Item = (SegmentOrdinal, &BTreeMap<FileOrdinal, Exception>)> {
        self.excepted.iter().map(|(segment, files)| (*segment, files))
    }

    pub fn excepted_of(&self, segment: SegmentOrdinal) -> impl Iterator<Item = (FileOrdinal, Exception)> {
        self.excepted.get(&segment).into_iter().flatten().map(|(file, exception)| (*file, *exception))
    }

    pub fn attempts(&self) -> impl Iterator<Item = (SegmentOrdinal, &Attempts)> {
        self.attempts.iter().map(|(segment, attempts)| (*segment, attempts))
    }

    pub fn attempts_of(&self, segment: SegmentOrdinal) -> Attempts {
        self.attempts.get(&segment).cloned().unwrap_or_default()
    }

    /// Segments owed to `version` out of `segments` stored ones, leased ones and back-offs not regarded.
    pub fn owed(&self, version: RulesetVersion, segments: SegmentOrdinal) -> RoaringBitmap {
        let mut owed = RoaringBitmap::new();
        owed.insert_range(0..segments.0);
        if let Some(done) = self.done.get(&version) {
            owed -= done;
        }
        owed
    }

    /// Why the segment was given up at its latest done version; none when it was not.
    pub fn abandoned_because(&self, segment: SegmentOrdinal) -> Option<&str> {
        self.abandoned.get(&segment).map(String::as_str)
    }

    /// Segments that wait for their back-off to end.
    pub(crate) fn backing_off(&self, now: Timestamp) -> impl Iterator<Item = SegmentOrdinal> {
        self.attempts.iter().filter(move |(_, attempts)| attempts.not_before > now).map(|(segment, _)| *segment)
    }

    pub(crate) fn open_hunt(&mut self, version: RulesetVersion, now: Timestamp) {
        self.hunts.entry(version).or_insert_with(|| Hunt { started_at: now, ..Hunt::default() });
    }

    pub(crate) fn attempts_mut(&mut self, segment: SegmentOrdinal) -> &mut Attempts {
        self.attempts.entry(segment).or_default()
    }

    /// A new version starts with a clean sheet: what failed may have been the rules.
    pub(crate) fn forget_attempts(&mut self) {
        self.attempts.clear();
    }

    pub(crate) fn note_abandoned(&mut self, segment: SegmentOrdinal, reason: String) {
        self.abandoned.insert(segment, reason);
    }

    /// Records the answer of `version` for a segment. The caller has checked that it fits the segment.
    pub(crate) fn mark_done(
        &mut self,
        ordinal: SegmentOrdinal,
        segment: &SegmentDescriptor,
        version: RulesetVersion,
        lease: LeaseId,
        done: ScanDone,
    ) {
        let ScanDone { matched, findings, excepted, scanned_bytes } = done;
        self.move_to(ordinal, version);
        self.attempts.remove(&ordinal);
        self.abandoned.remove(&ordinal);

        let hunt = self.hunts.entry(version).or_default();
        let clean = u64::from(segment.files) - u64::from(matched) - excepted.len() as u64;
        hunt.outcomes.add(Outcome::Matched, u64::from(matched));
        hunt.outcomes.add(Outcome::Clean, clean);
        for (_, exception) in &excepted {
            hunt.outcomes.add(Outcome::Excepted(*exception), 1);
        }
        hunt.segments += 1;
        hunt.bytes = hunt.bytes.saturating_add(segment.bytes);
        hunt.scanned_bytes = hunt.scanned_bytes.saturating_add(scanned_bytes);
        hunt.findings += u64::from(findings);

        if findings > 0 {
            let object = FindingsObject { version, lease, files: matched, findings };
            Arc::make_mut(&mut self.findings).insert(ordinal, object);
        } else if self.findings.contains_key(&ordinal) {
            Arc::make_mut(&mut self.findings).remove(&ordinal);
        }
        if !excepted.is_empty() {
            Arc::make_mut(&mut self.excepted).insert(ordinal, excepted.into_iter().collect());
        } else if self.excepted.contains_key(&ordinal) {
            Arc::make_mut(&mut self.excepted).remove(&ordinal);
        }
    }

    fn move_to(&mut self, ordinal: SegmentOrdinal, version: RulesetVersion) {
        for segments in self.done.values_mut() {
            segments.remove(ordinal.0);
        }
        self.done.retain(|_, segments| !segments.is_empty());
        self.done.entry(version).or_default().insert(ordinal.0);
    }

    /// Whether the hunt's `caught_up_at` does not say what is so: it should be set when the corpus was listed
    /// and each of its files has an outcome, and only then.
    pub(crate) fn progress_changed(&self, version: RulesetVersion, corpus: &Corpus) -> bool {
        self.hunts.get(&version).is_some_and(|hunt| hunt.caught_up_at.is_some() != hunt.answers_all_of(corpus))
    }

    /// Notes whether `version` now has an answer for each file of the corpus.
    pub(crate) fn note_progress(&mut self, version: RulesetVersion, corpus: &Corpus, now: Timestamp) {
        if let Some(hunt) = self.hunts.get_mut(&version) {
            let caught_up = hunt.answers_all_of(corpus);
            hunt.caught_up_at = caught_up.then(|| hunt.caught_up_at.unwrap_or(now));
        }
    }
}
