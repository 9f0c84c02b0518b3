use super::Step;

pub(super) fn check(step: &Step<'_>) {
    for hunt in step.after.hunts() {
        assert_eq!(hunt.stored_files, hunt.outcomes.total() + hunt.pending_files);
        let corpus = step.after.corpus(hunt.corpus_id).expect("a hunt has its corpus");
        let ruleset = step.after.ruleset(hunt.ruleset_id).expect("a hunt has its ruleset");
        let files: u64 = corpus.segments().iter().map(|segment| u64::from(segment.files)).sum();
        assert_eq!(hunt.stored_files, files);
        if hunt.version.number != ruleset.current().number {
            continue; // the segments it answered may have moved on to a later version
        }
        let coverage = step.after.coverage(hunt.corpus_id, hunt.ruleset_id).expect("a hunt has its coverage");
        let owed = coverage.owed(hunt.version.number, corpus.next_ordinal());
        let pending: u64 = owed.iter().map(|ordinal| u64::from(corpus.segments()[ordinal as usize].files)).sum();
        assert_eq!(hunt.pending_files, pending);
        assert_eq!(hunt.caught_up_at.is_some(), pending == 0 && hunt.listed_once);
    }
}
