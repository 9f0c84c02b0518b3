//! Reads findings: the leader names the objects that count, object storage holds them.

use std::ops::ControlFlow;

use anyhow::{Context as _, Result, bail};
use findings::Finding;
use protocol::{ConvertError, v1};
use types::{CorpusKey, LeaseId, Name, RulesetKey, RulesetVersion, SegmentOrdinal};

use super::Glob;
use crate::client::{Cluster, Stores};

/// Which findings are wanted; `None` means all.
#[derive(Debug, Default)]
pub struct Selection {
    pub ruleset: Option<Name>,
    pub corpus: Option<Name>,
    pub rule: Option<Glob>,
    /// Also those in files that are gone or changed since.
    pub gone: bool,
}

/// How reading ended.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// `each` had enough.
    pub cut: bool,
    /// Findings left out because their files are gone or changed since.
    pub gone: u64,
}

/// Hands over findings until all are read or `each` has enough.
///
/// `each` gets the findings of one segment at a time, by file, as far as the leader names the objects of
/// a segment one after another. Memory: the findings of one segment.
pub async fn read(
    cluster: &Cluster,
    selection: &Selection,
    mut each: impl FnMut(&[Finding]) -> Result<ControlFlow<()>>,
) -> Result<Ended> {
    let name = |name: &Option<Name>| name.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut stream = cluster.findings(name(&selection.ruleset), name(&selection.corpus)).await?;
    let mut stores = Stores::default();
    let mut segment: Option<(u32, u32)> = None;
    let mut rows: Vec<Finding> = Vec::new();
    let mut ended = Ended::default();
    while let Some(object) = stream.message().await.context("the answer broke off; run the command again")? {
        let place = (object.corpus_id, object.segment.as_ref().map_or(0, |segment| segment.ordinal));
        if segment.replace(place) != Some(place) && hand_over(&mut rows, &mut each)?.is_break() {
            return Ok(Ended { cut: true, ..ended });
        }
        let wanted = |row: &Finding| selection.rule.as_ref().is_none_or(|rule| rule.matches(&row.rule));
        let found = fetch(&object, &mut stores).await?.into_iter().filter(wanted);
        let is_gone = |row: &Finding| !selection.gone && object.gone.binary_search(&row.file).is_ok();
        let (gone, there): (Vec<_>, Vec<_>) = found.partition(is_gone);
        ended.gone += gone.len() as u64;
        rows.extend(there);
    }
    Ok(Ended { cut: hand_over(&mut rows, &mut each)?.is_break(), ..ended })
}

fn hand_over(
    rows: &mut Vec<Finding>,
    each: &mut impl FnMut(&[Finding]) -> Result<ControlFlow<()>>,
) -> Result<ControlFlow<()>> {
    if rows.is_empty() {
        return Ok(ControlFlow::Continue(()));
    }
    rows.sort_by(|a, b| (a.file, &a.ruleset, &a.namespace, &a.rule).cmp(&(b.file, &b.ruleset, &b.namespace, &b.rule)));
    let enough = each(rows)?;
    rows.clear();
    Ok(enough)
}

/// The rows of one object. What the leader did not name does not count, whatever an object holds.
async fn fetch(object: &v1::FindingsObject, stores: &mut Stores) -> Result<Vec<Finding>> {
    let (key, version, segment) = key(object).context("the leader's answer is not valid")?;
    let bytes = stores.open(&object.storage_url)?.get(&key).await.context("failed to read findings")?;
    let mut rows = findings::decode(bytes).with_context(|| format!("object {key} is not readable"))?;
    rows.retain(|row| row.version == version.0 && row.segment == segment.0);
    if rows.len() != object.findings as usize {
        bail!("object {key} holds {} findings, the leader knows of {}", rows.len(), object.findings);
    }
    Ok(rows)
}

fn key(object: &v1::FindingsObject) -> Result<(String, RulesetVersion, SegmentOrdinal), ConvertError> {
    let missing = ConvertError::missing;
    let ruleset: RulesetKey = object.ruleset.clone().ok_or_else(missing("ruleset"))?.try_into()?;
    let corpus: CorpusKey = object.corpus.clone().ok_or_else(missing("corpus"))?.try_into()?;
    let version = RulesetVersion(object.version.as_ref().ok_or_else(missing("version"))?.number);
    let segment = SegmentOrdinal(object.segment.as_ref().ok_or_else(missing("segment"))?.ordinal);
    let lease: LeaseId = object.lease.ok_or_else(missing("lease"))?.into();
    Ok((store::keys::findings(&ruleset, version, &corpus, segment, lease), version, segment))
}
