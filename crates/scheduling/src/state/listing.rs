//! Listings: the jobs that find a corpus's files.

use std::sync::Arc;

use types::{CorpusId, FileOrdinal, LeaseId, MAX_SEGMENT_FILES, SegmentDescriptor, SegmentOrdinal};

use super::{State, bounded, malformed};
use crate::{Event, ListingResult, Refusal, Work};

/// Wait after a failed listing, doubled with each failure in a row, at most 32 times; the interval of the
/// corpus is for listings that succeed, a storage that was away a moment must not cost a day.
const BACK_OFF_MS: u64 = 1_000;

impl State {
    pub(super) fn append_segments(
        &mut self,
        lease: LeaseId,
        segments: Vec<SegmentDescriptor>,
        gone: Vec<(SegmentOrdinal, Vec<FileOrdinal>)>,
        events: &mut Vec<Event>,
    ) -> Result<(), Refusal> {
        let id = self.listed_corpus(lease)?;
        if segments.iter().any(|segment| segment.files == 0 || segment.files as usize > MAX_SEGMENT_FILES) {
            return Err(malformed(format!("a segment has 1 to {MAX_SEGMENT_FILES} files")));
        }
        let corpus = self.corpus_mut(id).ok_or(Refusal::UnknownCorpus)?;
        let first = corpus.next_ordinal();
        let count = segments.into_iter().filter(|segment| corpus.append(*segment)).count();
        for (segment, files) in gone {
            for file in files {
                corpus.mark_gone(segment, file);
            }
        }
        if count > 0 {
            self.note_growth(id);
        }
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        events.push(Event::SegmentsAppended { corpus: id, first, count });
        Ok(())
    }

    pub(super) fn settle_listing(
        &mut self,
        lease: LeaseId,
        result: ListingResult,
        events: &mut Vec<Event>,
    ) -> Result<(), Refusal> {
        let id = self.listed_corpus(lease)?;
        self.take_lease(lease, events);
        let now = self.now;
        let corpus = self.corpus_mut(id).ok_or(Refusal::UnknownCorpus)?;
        let listing = &mut corpus.listing;
        match result {
            ListingResult::Done { skipped } => {
                listing.last_done_at = Some(now);
                listing.skipped = skipped;
                listing.failed = 0;
                listing.last_error = None;
                listing.due_at = now.plus_ms(corpus.spec.listing_interval_ms);
            }
            ListingResult::Failed { reason } => {
                listing.due_at = now.plus_ms(BACK_OFF_MS << listing.failed.min(5));
                listing.failed = listing.failed.saturating_add(1);
                listing.last_error = Some(bounded(&reason));
            }
        }
        self.note_growth(id);
        events.push(Event::ListingSettled { corpus: id });
        Ok(())
    }

    fn listed_corpus(&self, lease: LeaseId) -> Result<CorpusId, Refusal> {
        match self.lease(lease).map(|lease| &lease.work) {
            Some(Work::List { corpus }) => Ok(*corpus),
            Some(Work::Scan { .. }) => Err(Refusal::WrongWork),
            None => Err(Refusal::LeaseNotLive),
        }
    }

    /// Hunts that had caught up owe the new files, and an empty corpus is caught up once it was listed.
    fn note_growth(&mut self, id: CorpusId) {
        let now = self.now;
        let Some(corpus) = self.corpora.get(&id) else {
            return;
        };
        for (ruleset_id, ruleset) in &self.rulesets {
            let version = ruleset.current().number;
            if let Some(coverage) = self.coverage.get_mut(&(id, *ruleset_id))
                && coverage.progress_changed(version, corpus)
            {
                Arc::make_mut(coverage).note_progress(version, corpus, now);
            }
        }
    }
}
