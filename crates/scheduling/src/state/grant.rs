//! Granting leases, and what becomes of them when their session ends.

use types::{CorpusId, LeaseId, SegmentOrdinal, SessionId};

use super::{LOST_ATTEMPTS_LIMIT, State, malformed};
use crate::{Event, Grant, Lease, MAX_GRANTS_PER_COMMAND, Refusal, Stamp, Target, Work};

impl State {
    pub(super) fn grant_leases(
        &mut self,
        stamp: Stamp,
        grants: Vec<Grant>,
        events: &mut Vec<Event>,
    ) -> Result<(), Refusal> {
        if grants.len() > MAX_GRANTS_PER_COMMAND {
            return Err(malformed(format!("at most {MAX_GRANTS_PER_COMMAND} grants in one command")));
        }
        let count = u32::try_from(grants.len()).unwrap_or(u32::MAX);
        let Some(end) = stamp.first_slot.checked_add(count) else {
            return Err(malformed("the entry has used up its id slots".to_owned()));
        };
        for (slot, grant) in (stamp.first_slot..end).zip(grants) {
            match self.grant(LeaseId { index: stamp.index, slot }, grant) {
                Ok(event) => events.push(event),
                Err(refusal) => events.push(Event::Refused { refusal }),
            }
        }
        Ok(())
    }

    /// Compare-and-set: grants what is still owed, to a session that still lives.
    fn grant(&mut self, id: LeaseId, grant: Grant) -> Result<Event, Refusal> {
        let Grant { session, work } = grant;
        if !self.sessions.contains_key(&session) {
            return Err(Refusal::SessionNotLive);
        }
        let attempt = match &work {
            Work::Scan { corpus, segment, targets } => {
                self.check_owed(*corpus, *segment, targets)?;
                self.acquire(*corpus, *segment, targets)
            }
            Work::List { corpus } => {
                let corpus = self.corpus_mut(*corpus).ok_or(Refusal::UnknownCorpus)?;
                if corpus.listing.lease.is_some() {
                    return Err(Refusal::NotOwed);
                }
                corpus.listing.lease = Some(id);
                corpus.listing.failed.saturating_add(1)
            }
        };
        self.leases.insert(id, Lease { session, work, attempt, granted_at: self.now });
        if let Some(session) = self.sessions.get_mut(&session) {
            session.leases.insert(id);
        }
        Ok(Event::LeaseGranted { lease: id, session })
    }

    fn check_owed(&self, corpus: CorpusId, segment: SegmentOrdinal, targets: &[Target]) -> Result<(), Refusal> {
        if targets.is_empty() || !targets.is_sorted_by(|a, b| a.ruleset < b.ruleset) {
            return Err(malformed("a job's targets are sorted, unique and at least one".to_owned()));
        }
        let stored = self.corpus(corpus).ok_or(Refusal::UnknownCorpus)?;
        if stored.segment(segment).is_none() || stored.leased.contains(segment.0) {
            return Err(Refusal::NotOwed);
        }
        for target in targets {
            let ruleset = self.ruleset(target.ruleset).ok_or(Refusal::UnknownRuleset)?;
            let coverage = self.coverage(corpus, target.ruleset).ok_or(Refusal::NotOwed)?;
            let owed = self.hunts_in(ruleset, stored)
                && target.to == ruleset.current().number
                && target.from != Some(target.to)
                && target.from == coverage.done_version(segment);
            if !owed {
                return Err(Refusal::NotOwed);
            }
        }
        Ok(())
    }

    /// Takes the segment for a lease; returns the attempt's number.
    fn acquire(&mut self, corpus: CorpusId, segment: SegmentOrdinal, targets: &[Target]) -> u32 {
        if let Some(corpus) = self.corpus_mut(corpus) {
            corpus.leased.insert(segment.0);
        }
        let mut attempt = 1;
        for target in targets {
            if let Some(coverage) = self.coverage_mut(corpus, target.ruleset) {
                let attempts = coverage.attempts_mut(segment);
                attempts.acquired = attempts.acquired.saturating_add(1);
                attempt = attempt.max(attempts.acquired);
            }
        }
        attempt
    }

    pub(super) fn end_sessions(&mut self, sessions: &[SessionId], events: &mut Vec<Event>) -> Result<(), Refusal> {
        for id in sessions {
            let Some(session) = self.sessions.remove(id) else {
                continue; // ended before: saying it twice is harmless
            };
            for lease in session.leases {
                self.lose(lease, events);
            }
            events.push(Event::SessionEnded { session: *id });
        }
        Ok(())
    }

    /// Ends a lease whose worker is gone. Its work is owed again: derived, so nothing to requeue.
    fn lose(&mut self, id: LeaseId, events: &mut Vec<Event>) {
        let Some(lease) = self.take_lease(id, events) else {
            return;
        };
        let Work::Scan { corpus, segment, targets } = lease.work else {
            return;
        };
        for target in targets {
            let Some(coverage) = self.coverage_mut(corpus, target.ruleset) else {
                continue;
            };
            let attempts = coverage.attempts_mut(segment);
            attempts.lost += 1;
            if attempts.lost >= LOST_ATTEMPTS_LIMIT {
                self.abandon(id, corpus, segment, target, events);
            }
        }
    }

    /// Removes a lease from wherever it is noted.
    pub(super) fn take_lease(&mut self, id: LeaseId, events: &mut Vec<Event>) -> Option<Lease> {
        let lease = self.leases.remove(&id)?;
        if let Some(session) = self.sessions.get_mut(&lease.session) {
            session.leases.remove(&id);
        }
        match &lease.work {
            Work::Scan { corpus, segment, .. } => {
                if let Some(corpus) = self.corpus_mut(*corpus) {
                    corpus.leased.remove(segment.0);
                }
            }
            Work::List { corpus } => {
                if let Some(corpus) = self.corpus_mut(*corpus) {
                    corpus.listing.lease = None;
                }
            }
        }
        events.push(Event::LeaseEnded { lease: id, session: lease.session });
        Some(lease)
    }
}
