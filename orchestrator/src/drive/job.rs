//! A granted lease as the worker gets it.

use protocol::v1;
use scheduling::{Corpus, Ruleset, State, Target, Work};
use types::{CorpusId, LeaseId, RulesetVersion, SegmentOrdinal};

/// The message for a live lease; none when the lease ended meanwhile.
pub(crate) fn grant(state: &State, id: LeaseId) -> Option<v1::Grant> {
    let lease = state.lease(id)?;
    let job = match &lease.work {
        Work::Scan { corpus, segment, targets } => v1::grant::Job::Scan(scan(state, *corpus, *segment, targets)?),
        Work::List { corpus } => {
            v1::grant::Job::List(v1::ListJob { corpus: Some(corpus_ref(*corpus, state.corpus(*corpus)?)) })
        }
    };
    Some(v1::Grant { lease: Some(id.into()), attempt: lease.attempt, job: Some(job) })
}

fn scan(state: &State, id: CorpusId, segment: SegmentOrdinal, targets: &[Target]) -> Option<v1::ScanJob> {
    let corpus = state.corpus(id)?;
    Some(v1::ScanJob {
        corpus: Some(corpus_ref(id, corpus)),
        segment: Some(v1::Segment::new(segment, corpus.segment(segment)?)),
        targets: targets.iter().map(|target| scan_target(state, id, segment, target)).collect::<Option<_>>()?,
    })
}

fn scan_target(state: &State, corpus: CorpusId, segment: SegmentOrdinal, target: &Target) -> Option<v1::ScanTarget> {
    let ruleset = state.ruleset(target.ruleset)?;
    let coverage = state.coverage(corpus, target.ruleset)?;
    let prior = coverage.findings_of(segment).filter(|_| target.from.is_some());
    Some(v1::ScanTarget {
        ruleset_id: target.ruleset.0,
        ruleset: Some((&ruleset.key).into()),
        from: target.from.and_then(|from| version_ref(ruleset, from)),
        to: version_ref(ruleset, target.to),
        prior: prior.map(|object| v1::FindingsRef { version: object.version.0, lease: Some(object.lease.into()) }),
        excepted: coverage.excepted_of(segment).map(|(file, _)| file.0).collect(),
    })
}

pub(crate) fn version_ref(ruleset: &Ruleset, number: RulesetVersion) -> Option<v1::VersionRef> {
    let version = ruleset.version(number)?;
    Some(v1::VersionRef { number: number.0, digest: version.digest.as_bytes().to_vec() })
}

fn corpus_ref(id: CorpusId, corpus: &Corpus) -> v1::CorpusRef {
    v1::CorpusRef {
        id: id.0,
        key: Some((&corpus.key).into()),
        url: corpus.spec.url.clone(),
        max_file_bytes: corpus.spec.max_file_bytes,
        datasets: corpus.spec.datasets.iter().map(ToString::to_string).collect(),
        include: corpus.spec.include.clone(),
        exclude: corpus.spec.exclude.clone(),
    }
}
