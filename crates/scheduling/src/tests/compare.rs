//! Holds the core against the model: every stored row and every derived number.

use super::model::Model;
use crate::{Attempts, FindingsObject, State};

/// Panics where the two differ.
pub(super) fn compare(state: &State, model: &Model) {
    assert_eq!(state.now(), model.now);
    compare_corpora(state, model);
    compare_rulesets(state, model);
    compare_coverage(state, model);
    compare_leases(state, model);
    assert_eq!(state.hunts().collect::<Vec<_>>(), model.hunt_views());
    assert_eq!(state.backlog(), model.backlog());
}

fn compare_corpora(state: &State, model: &Model) {
    assert_eq!(state.corpora().count(), model.corpora.len());
    for row in &model.corpora {
        assert_eq!(state.corpus_id(&row.key), Some(row.id));
        let corpus = state.corpus(row.id).expect("the model has it");
        assert_eq!((&corpus.key, &corpus.spec, corpus.created_at), (&row.key, &row.spec, row.created_at));
        assert!(corpus.segments().iter().eq(model.segments_of(row.id).map(|segment| &segment.descriptor)));
        assert_eq!((corpus.files, corpus.bytes), (model.files(row.id), model.bytes(row.id)));
        let listing = &corpus.listing;
        assert_eq!(
            (listing.lease, listing.due_at, listing.last_done_at, listing.skipped, listing.failed),
            (model.listing_lease(row.id), row.due_at, row.last_done_at, row.skipped, row.failed)
        );
        assert_eq!(listing.last_error, row.last_error);

        let gone: Vec<_> = corpus
            .gone()
            .flat_map(|(segment, files)| files.iter().map(move |file| (row.id, segment.0, file)))
            .collect();
        let mut expected: Vec<_> =
            model.gone.iter().filter(|gone| gone.0 == row.id).map(|gone| (gone.0, gone.1.0, gone.2.0)).collect();
        expected.sort();
        assert_eq!(gone, expected);
        assert_eq!(corpus.gone_files, expected.len() as u64);
    }
}

fn compare_rulesets(state: &State, model: &Model) {
    assert_eq!(state.rulesets().count(), model.rulesets.len());
    for row in &model.rulesets {
        assert_eq!(state.ruleset_id(&row.key), Some(row.id));
        let ruleset = state.ruleset(row.id).expect("the model has it");
        assert_eq!((&ruleset.key, ruleset.state, &ruleset.corpora), (&row.key, row.state, &row.corpora));
        let versions = model.versions.iter().filter(|version| version.ruleset == row.id);
        assert!(ruleset.versions.iter().eq(versions.map(|version| &version.version)));
    }
}

fn compare_coverage(state: &State, model: &Model) {
    for segment in &model.segments {
        let (corpus, ordinal) = (segment.corpus, segment.ordinal);
        for ruleset in &model.rulesets {
            let Some(coverage) = state.coverage(corpus, ruleset.id) else {
                assert!(!model.hunts.iter().any(|hunt| (hunt.corpus, hunt.ruleset) == (corpus, ruleset.id)));
                continue;
            };
            let answer = model.answer(corpus, ruleset.id, ordinal);
            assert_eq!(coverage.done_version(ordinal), answer.map(|row| row.version));

            let found = answer.filter(|row| row.done.findings > 0).map(|row| FindingsObject {
                version: row.version,
                lease: row.lease,
                files: row.done.matched,
                findings: row.done.findings,
            });
            assert_eq!(coverage.findings_of(ordinal).copied(), found);
            let excepted = answer.map_or(&[][..], |row| &row.done.excepted);
            assert!(coverage.excepted_of(ordinal).eq(excepted.iter().copied()));

            let attempts = model.attempts(corpus, ruleset.id, ordinal).cloned().map(|row| Attempts {
                acquired: row.acquired,
                failed: row.failed,
                lost: row.lost,
                not_before: row.not_before,
                last_error: row.last_error,
            });
            assert_eq!(coverage.attempts_of(ordinal), attempts.unwrap_or_default());
        }
    }
    for ruleset in &model.rulesets {
        for corpus in &model.corpora {
            let Some(coverage) = state.coverage(corpus.id, ruleset.id) else { continue };
            let of = |c, r| c == corpus.id && r == ruleset.id;
            let rows = model.attempts.iter().filter(|row| of(row.corpus, row.ruleset)).count();
            assert_eq!(coverage.attempts().count(), rows);
        }
    }
}

fn compare_leases(state: &State, model: &Model) {
    assert_eq!(state.leases().count(), model.leases.len());
    for row in &model.leases {
        let lease = state.lease(row.id).expect("the model has it");
        assert_eq!(
            (lease.session, &lease.work, lease.attempt, lease.granted_at),
            (row.session, &row.work, row.attempt, row.granted_at)
        );
    }
    assert_eq!(state.sessions().count(), model.sessions.len());
    for row in &model.sessions {
        let session = state.session(row.id).expect("the model has it");
        assert_eq!((&session.worker, session.opened_at), (&row.worker, row.opened_at));
        let mut leases: Vec<_> =
            model.leases.iter().filter(|lease| lease.session == row.id).map(|lease| lease.id).collect();
        leases.sort();
        assert!(session.leases.iter().copied().eq(leases));
    }
}
