//! Settling attempts at segments.

use std::sync::Arc;

use types::{CorpusId, Exception, FileOrdinal, LeaseId, SegmentDescriptor, SegmentOrdinal};

use super::{FAILED_ATTEMPTS_LIMIT, State, bounded};
use crate::{Attempts, Event, Refusal, RulesetResult, ScanDone, Target, Verdict, Work};

/// Wait before the next attempt after a failure; doubled with each counted one, at most 32 times.
const BACK_OFF_MS: u64 = 1_000;

impl State {
    pub(super) fn settle_attempt(
        &mut self,
        id: LeaseId,
        results: Vec<RulesetResult>,
        events: &mut Vec<Event>,
    ) -> Result<(), Refusal> {
        let (corpus, segment, targets) = match self.lease(id).map(|lease| &lease.work) {
            None => return Err(Refusal::LeaseNotLive),
            Some(Work::List { .. }) => return Err(Refusal::WrongWork),
            Some(Work::Scan { corpus, segment, targets }) => (*corpus, *segment, targets.clone()),
        };
        self.take_lease(id, events);
        for target in targets {
            let mut matching =
                results.iter().filter(|result| result.ruleset == target.ruleset && result.to == target.to);
            match (matching.next(), matching.next()) {
                (None, _) => {} // given back unscanned: owed again, uncounted
                (Some(result), None) => self.settle_target(id, corpus, segment, target, &result.verdict, events),
                (Some(_), Some(_)) => {
                    let verdict = Verdict::Failed { reason: "the worker settled one ruleset twice".to_owned() };
                    self.settle_target(id, corpus, segment, target, &verdict, events);
                }
            }
        }
        Ok(())
    }

    fn settle_target(
        &mut self,
        lease: LeaseId,
        corpus: CorpusId,
        segment: SegmentOrdinal,
        target: Target,
        verdict: &Verdict,
        events: &mut Vec<Event>,
    ) {
        match verdict {
            Verdict::Done(done) => {
                let Some(descriptor) = self.corpus(corpus).and_then(|corpus| corpus.segment(segment)).copied() else {
                    return;
                };
                match check(&descriptor, done) {
                    Ok(()) => self.finish(lease, corpus, segment, target, done.clone(), events),
                    Err(what) => {
                        let reason = format!("the worker's settlement does not add up: {what}");
                        self.fail(lease, corpus, segment, target, &reason, true, events);
                    }
                }
            }
            Verdict::Failed { reason } => self.fail(lease, corpus, segment, target, reason, true, events),
            Verdict::Hindered { reason } => self.fail(lease, corpus, segment, target, reason, false, events),
        }
    }

    fn finish(
        &mut self,
        lease: LeaseId,
        corpus_id: CorpusId,
        segment: SegmentOrdinal,
        target: Target,
        done: ScanDone,
        events: &mut Vec<Event>,
    ) {
        let now = self.now;
        let Some(corpus) = self.corpora.get(&corpus_id) else {
            return;
        };
        let Some(descriptor) = corpus.segment(segment) else {
            return;
        };
        let Some(coverage) = self.coverage.get_mut(&(corpus_id, target.ruleset)).map(Arc::make_mut) else {
            return;
        };
        coverage.mark_done(segment, descriptor, target.to, lease, done);
        coverage.note_progress(target.to, corpus, now);
        events.push(Event::SegmentDone { corpus: corpus_id, segment, ruleset: target.ruleset, version: target.to });
    }

    #[expect(clippy::too_many_arguments, reason = "one attempt is named by all of them")]
    fn fail(
        &mut self,
        lease: LeaseId,
        corpus: CorpusId,
        segment: SegmentOrdinal,
        target: Target,
        reason: &str,
        counted: bool,
        events: &mut Vec<Event>,
    ) {
        let now = self.now;
        let Some(coverage) = self.coverage_mut(corpus, target.ruleset) else {
            return;
        };
        let attempts = coverage.attempts_mut(segment);
        attempts.last_error = Some(bounded(reason));
        attempts.not_before = now.plus_ms(BACK_OFF_MS << attempts.failed.min(5));
        attempts.failed += u32::from(counted);
        let failed = attempts.failed;
        events.push(Event::AttemptFailed { corpus, segment, ruleset: target.ruleset, version: target.to });
        if failed >= FAILED_ATTEMPTS_LIMIT {
            self.abandon(lease, corpus, segment, target, events);
        }
    }

    /// Gives up on a segment under one ruleset version: each of its files becomes an exception, never clean.
    pub(super) fn abandon(
        &mut self,
        lease: LeaseId,
        corpus: CorpusId,
        segment: SegmentOrdinal,
        target: Target,
        events: &mut Vec<Event>,
    ) {
        let Some(descriptor) = self.corpus(corpus).and_then(|corpus| corpus.segment(segment)).copied() else {
            return;
        };
        let excepted = (0..descriptor.files).map(|file| (FileOrdinal(file), Exception::Abandoned)).collect();
        let done = ScanDone { excepted, ..ScanDone::default() };
        let attempts = self.coverage(corpus, target.ruleset).map(|coverage| coverage.attempts_of(segment));
        self.finish(lease, corpus, segment, target, done, events);
        if let (Some(coverage), Some(attempts)) = (self.coverage_mut(corpus, target.ruleset), attempts) {
            coverage.note_abandoned(segment, reason_to_abandon(&attempts));
        }
        events.push(Event::SegmentAbandoned { corpus, segment, ruleset: target.ruleset, version: target.to });
    }
}

fn reason_to_abandon(attempts: &Attempts) -> String {
    let Attempts { failed, lost, last_error, .. } = attempts;
    match last_error {
        Some(error) => format!("gave up after {failed} failed attempts, {lost} lost: {error}"),
        None => format!("gave up after {lost} workers were lost with it"),
    }
}

/// Whether an answer fits its segment, so that receipts always add up.
fn check(segment: &SegmentDescriptor, done: &ScanDone) -> Result<(), &'static str> {
    let ScanDone { matched, findings, excepted, scanned_bytes: _ } = done;
    if !excepted.is_sorted_by(|a, b| a.0 < b.0) || excepted.last().is_some_and(|(file, _)| file.0 >= segment.files) {
        return Err("excepted files are not ascending ordinals of the segment");
    }
    if u64::from(*matched) + excepted.len() as u64 > u64::from(segment.files) {
        return Err("more outcomes than files");
    }
    if findings < matched {
        return Err("fewer findings than matched files");
    }
    Ok(())
}
