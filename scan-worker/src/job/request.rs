use std::collections::BTreeSet;

use corpus::Patterns;
use protocol::{ConvertError, v1};
use types::{
    CorpusKey, Digest, FileOrdinal, LeaseId, RulesetId, RulesetKey, RulesetVersion, SegmentDescriptor, SegmentOrdinal,
};

/// A scan job as granted, checked.
#[derive(Clone, Debug)]
pub struct ScanJob {
    pub lease: LeaseId,
    pub corpus: Corpus,
    pub ordinal: SegmentOrdinal,
    pub segment: SegmentDescriptor,
    pub targets: Vec<Target>,
}

#[derive(Clone, Debug)]
pub struct Corpus {
    pub id: types::CorpusId,
    pub key: CorpusKey,
    pub url: String,
    pub max_file_bytes: u64,
    /// To look the files up in; the first is believed first.
    pub datasets: Vec<types::Name>,
    /// Which files are meant.
    pub patterns: Patterns,
}

/// One ruleset version to answer for.
#[derive(Clone, Debug)]
pub struct Target {
    pub id: RulesetId,
    pub key: RulesetKey,
    pub from: Option<Version>,
    pub to: Version,
    /// The lease that wrote the findings of `from`.
    pub prior: Option<(RulesetVersion, LeaseId)>,
    pub excepted: BTreeSet<FileOrdinal>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    pub number: RulesetVersion,
    pub digest: Digest,
}

impl ScanJob {
    pub fn from_wire(lease: LeaseId, job: v1::ScanJob) -> Result<Self, ConvertError> {
        let v1::ScanJob { corpus, segment, targets } = job;
        let segment = segment.ok_or_else(ConvertError::missing("segment"))?;
        Ok(Self {
            lease,
            corpus: Corpus::from_wire(corpus.ok_or_else(ConvertError::missing("corpus"))?)?,
            ordinal: SegmentOrdinal(segment.ordinal),
            segment: segment.descriptor()?,
            targets: targets.into_iter().map(Target::from_wire).collect::<Result<_, _>>()?,
        })
    }
}

impl Corpus {
    pub fn from_wire(corpus: v1::CorpusRef) -> Result<Self, ConvertError> {
        let v1::CorpusRef { id, key, url, max_file_bytes, datasets, include, exclude } = corpus;
        let key = key.ok_or_else(ConvertError::missing("corpus.key"))?.try_into()?;
        let datasets = protocol::names("corpus.datasets", datasets)?;
        let patterns = Patterns::new(&include, &exclude);
        Ok(Self { id: types::CorpusId(id), key, url, max_file_bytes, datasets, patterns })
    }
}

impl Target {
    fn from_wire(target: v1::ScanTarget) -> Result<Self, ConvertError> {
        let v1::ScanTarget { ruleset_id, ruleset, from, to, prior, excepted } = target;
        let prior = prior.map(|v1::FindingsRef { version, lease }| {
            let lease = lease.ok_or_else(ConvertError::missing("prior.lease"))?;
            Ok((RulesetVersion(version), lease.into()))
        });
        Ok(Self {
            id: RulesetId(ruleset_id),
            key: ruleset.ok_or_else(ConvertError::missing("ruleset"))?.try_into()?,
            from: from.map(|version| Version::from_wire(&version)).transpose()?,
            to: Version::from_wire(&to.ok_or_else(ConvertError::missing("to"))?)?,
            prior: prior.transpose()?,
            excepted: excepted.into_iter().map(FileOrdinal).collect(),
        })
    }
}

impl Version {
    fn from_wire(version: &v1::VersionRef) -> Result<Self, ConvertError> {
        Ok(Self { number: RulesetVersion(version.number), digest: version.digest()? })
    }
}
