//! From answers of scanners, and findings of the version before, to one target's findings and counts. Pure.

use std::collections::{BTreeMap, BTreeSet};

use corpus::{Hashes, Manifest};
use findings::{Finding, Match};
use protocol::v1;
use types::{Digest, Exception, FileOrdinal, SegmentOrdinal};

use super::{facts::Facts, request::Target};
use crate::{
    origin::Origin,
    pool::{FileAnswer, FileFate, Part, TargetParts},
    wire::{Hit, MetadataValue, PatternMatch},
};

/// What every finding of a segment says alike.
pub struct Segment<'a> {
    pub corpus: &'a str,
    pub ordinal: SegmentOrdinal,
    pub manifest: &'a Manifest,
    pub hashes: &'a Hashes,
    pub source: &'a Origin,
    pub facts: &'a Facts,
}

/// The whole answer of one target.
#[derive(Debug, PartialEq)]
pub struct Merged {
    pub rows: Vec<Finding>,
    pub done: v1::ScanDone,
}

/// Files of the plan that nobody answered for: they must never pass as clean.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{files} files of the segment were left without an answer")]
pub struct Unanswered {
    pub files: usize,
}

/// Adds up what is known about one target, the `index`th of its job.
///
/// `planned` are the files that it was to be scanned on; `prior` the findings of its version before. Kept of
/// those are rows of units that both versions have, in files that were not scanned anew with the whole version. A file
/// that has no answer now keeps no rows either, so that findings and counts agree.
pub fn merge(
    segment: &Segment<'_>,
    index: usize,
    target: &Target,
    parts: &TargetParts,
    planned: &BTreeSet<FileOrdinal>,
    prior: Vec<Finding>,
    answers: &[FileAnswer],
) -> Result<Merged, Unanswered> {
    let mut excepted: BTreeMap<FileOrdinal, Exception> = BTreeMap::new();
    let mut answered = BTreeSet::new();
    let mut rows = Vec::new();
    let mut scanned_bytes = 0;
    for FileAnswer { file, shares, fate } in answers {
        let Some((part, share)) = shares.iter().enumerate().find(|(_, share)| share.target == index) else { continue };
        answered.insert(*file);
        match fate {
            FileFate::Excepted(exception) => {
                excepted.insert(*file, *exception);
            }
            FileFate::Scanned { bytes, sha256, hits } => {
                scanned_bytes += bytes;
                let program = if share.whole { &parts.whole } else { &parts.delta };
                let ours: Vec<_> = hits.iter().filter(|hit| hit.part == part).filter_map(owned(program)).collect();
                match sha256.or(segment.hashes.get(*file)) {
                    Some(sha256) => rows.extend(ours.iter().map(|hit| row(segment, target, *file, sha256, hit))),
                    // Only a scanner that does not keep to its orders answers so.
                    None if !ours.is_empty() => {
                        excepted.insert(*file, Exception::Crashed);
                    }
                    None => {}
                }
            }
        }
    }
    let unanswered = planned.difference(&answered).count();
    if unanswered > 0 {
        return Err(Unanswered { files: unanswered });
    }
    rows.extend(carried(segment, target, &parts.delta, prior));
    rows.retain(|row| !excepted.contains_key(&FileOrdinal(row.file)));
    let matched: BTreeSet<_> = rows.iter().map(|row| row.file).collect();
    let done = v1::ScanDone {
        matched: u32::try_from(matched.len()).expect("files of a segment are few"),
        findings: u32::try_from(rows.len()).unwrap_or(u32::MAX),
        excepted: excepted.into_iter().map(Into::into).collect(),
        scanned_bytes,
    };
    Ok(Merged { rows, done })
}

fn carried(segment: &Segment<'_>, target: &Target, delta: &Part, prior: Vec<Finding>) -> impl Iterator<Item = Finding> {
    let version = target.to.number.0;
    let files = segment.manifest.files.len();
    prior
        .into_iter()
        .filter(move |row| {
            delta.carried.binary_search(&row.unit).is_ok()
                && !target.excepted.contains(&FileOrdinal(row.file))
                && (row.file as usize) < files
        })
        .map(move |row| Finding { version, ..row })
}

/// A hit with the unit that owns it. Rules that others only depend on have none here.
fn owned<'h>(part: &Part) -> impl Fn(&'h Hit) -> Option<(&'h Hit, Digest)> {
    move |hit| Some((hit, part.owners.get(&hit.namespace, &hit.rule)?))
}

fn row(
    segment: &Segment<'_>,
    target: &Target,
    file: FileOrdinal,
    sha256: Digest,
    (hit, unit): &(&Hit, Digest),
) -> Finding {
    let entry = &segment.manifest.files[file.0 as usize];
    Finding {
        tenant: target.key.tenant.to_string(),
        ruleset: target.key.name.to_string(),
        version: target.to.number.0,
        corpus: segment.corpus.to_owned(),
        segment: segment.ordinal.0,
        file: file.0,
        key: entry.key.clone(),
        path: segment.source.path_of(entry),
        size: entry.size,
        sha256,
        namespace: hit.namespace.clone(),
        rule: hit.rule.clone(),
        tags: hit.tags.clone(),
        metadata: metadata(&hit.metadata),
        unit: *unit,
        engine: engine::ENGINE_NAME.to_owned(),
        engine_version: engine::engine_version().to_owned(),
        matches: hit.matches.iter().map(pattern_match).collect(),
        matches_truncated: hit.truncated,
        found_in: target.to.number.0,
        enrichment: segment.facts.of(file).to_vec(),
    }
}

fn metadata(metadata: &[(String, MetadataValue)]) -> String {
    let pair = |(name, value): &(String, MetadataValue)| match value {
        MetadataValue::Integer(value) => serde_json::json!([name, value]),
        MetadataValue::Text(value) => serde_json::json!([name, value]),
        MetadataValue::Boolean(value) => serde_json::json!([name, value]),
    };
    serde_json::Value::Array(metadata.iter().map(pair).collect()).to_string()
}

fn pattern_match(found: &PatternMatch) -> Match {
    let PatternMatch { pattern, offset, length, data } = found;
    Match { pattern: pattern.clone(), offset: *offset, length: *length, data: data.clone() }
}

#[cfg(test)]
mod tests;
