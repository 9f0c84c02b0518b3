//! One leased segment, from grant to verdict.
//!
//! ```text
//!  Grant ──► Inputs: manifest, hashes, programs, prior findings ──► plan: passes ──► pool: answers
//!                │                            prior findings ──► merge ◄─────────────────┘
//!                └──► pool: hashes ──► facts ──────────────────────┤
//!                     findings and hashes to storage, then the verdicts ◄──┘
//! ```
//! Hashes and facts come before the scan only where a rule asks for what datasets know of a file.
//!
//! What is written is written before the verdict is told: the commit of the verdict is what makes it count.

mod cache;
pub mod facts;
mod inputs;
pub mod merge;
pub mod plan;
mod request;

pub use inputs::{Error as InputError, Inputs};
pub use request::{Corpus, ScanJob, Target};

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use corpus::{Hashes, Manifest};
use enrichment::Datasets;
use findings::Finding;
use protocol::v1::{self, ruleset_result::Verdict};
use store::keys;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};
use types::FileOrdinal;

use crate::{
    metrics::{Metrics, Outcome},
    origin::{Buckets, Origin},
    pool::{self, FileFate, Scanned, SegmentFiles, TargetParts, Task},
};
use facts::Facts;
use merge::{Merged, Segment, merge};
use plan::{Need, Pass, passes};

/// Runs scan jobs.
#[derive(Debug)]
pub struct Runner {
    pub inputs: Inputs,
    pub pool: pool::Handle,
    pub datasets: Arc<Datasets>,
    pub buckets: Arc<Buckets>,
    pub metrics: Metrics,
}

/// A target and what was made ready for it.
struct Prepared {
    index: usize,
    target: Target,
    parts: TargetParts,
    prior: Vec<Finding>,
}

impl Runner {
    /// Scans the segment and writes what was found. One result per target, never an error: what goes wrong
    /// is a verdict.
    pub async fn run(&self, job: &ScanJob, cancel: &CancellationToken) -> Vec<v1::RulesetResult> {
        let (manifest, hashes, source) = match self.segment(job).await {
            Ok(segment) => segment,
            Err(verdict) => return job.targets.iter().map(|target| result(target, verdict.clone())).collect(),
        };
        let mut results = Vec::new();
        let mut prepared = Vec::new();
        for target in &job.targets {
            match self.prepare(job, target).await {
                Ok((target, parts, prior)) => prepared.push(Prepared { index: prepared.len(), target, parts, prior }),
                Err(verdict) => results.push(result(target, verdict)),
            }
        }
        let needs: Vec<_> = prepared.iter().map(Prepared::need).collect();
        let passes = passes(job.segment.files, &needs);
        let learn_hashes = hashes.is_none();
        let mut files = SegmentFiles::new(source, Arc::clone(&manifest), hashes, job.corpus.max_file_bytes);
        let asks = prepared.iter().any(|prepared| prepared.parts.delta.asks || prepared.parts.whole.asks);
        let mut facts = Facts::default();
        if asks && !job.corpus.datasets.is_empty() {
            let wanted: Vec<_> = passes.iter().flat_map(|pass| pass.files.iter().copied()).collect();
            let Some(hashed) = self.hash(files, &wanted, cancel).await else { return Vec::new() };
            files = hashed;
            if let Some(hashes) = &files.hashes {
                facts.learn(&self.datasets, &job.corpus.datasets, hashes, wanted.into_iter()).await;
            }
            files.known = facts.known();
        }
        let parts = prepared.iter().map(|prepared| prepared.parts.clone()).collect();
        let (task, scanned) = Task::new(files, parts, passes.clone());
        let Some(scanned) = self.scan(Arc::clone(&task), scanned, cancel).await else { return Vec::new() };
        if let Some(reason) = scanned.hindered {
            results.extend(prepared.iter().map(|prepared| result(&prepared.target, Verdict::Hindered(reason.clone()))));
            return results;
        }
        self.count(&scanned);
        let mut all_hashes = task.files.hashes.clone().unwrap_or_else(|| Hashes::unknown(manifest.files.len()));
        learn(&mut all_hashes, &scanned);
        if learn_hashes
            && all_hashes.0.iter().any(Option::is_some)
            && let Err(error) = self.put_hashes(job, &all_hashes).await
        {
            let verdict = hindrance(job, "the files' hashes cannot be written", &error);
            results.extend(prepared.iter().map(|prepared| result(&prepared.target, verdict.clone())));
            return results;
        }
        facts.learn(&self.datasets, &job.corpus.datasets, &all_hashes, with_hits(&scanned)).await;
        let segment = Segment {
            facts: &facts,
            corpus: job.corpus.key.name.as_str(),
            ordinal: job.ordinal,
            manifest: &manifest,
            hashes: &all_hashes,
            source: &task.files.source,
        };
        let mut merged = Vec::new();
        for prepared in prepared {
            let target = prepared.target.clone();
            match judge(&segment, prepared, &passes, &scanned) {
                Ok(answer) => merged.push((target, answer)),
                Err(verdict) => results.push(result(&target, verdict)),
            }
        }
        for (target, Merged { rows, done }) in merged {
            let verdict = match self.put_findings(job, &target, rows).await {
                Ok(()) => Verdict::Done(done),
                Err(verdict) => verdict,
            };
            results.push(result(&target, verdict));
        }
        results
    }

    async fn segment(&self, job: &ScanJob) -> Result<(Arc<Manifest>, Option<Hashes>, Origin), Verdict> {
        let verdict = |error: InputError| verdict_of(job, "the segment cannot be had", &error);
        let manifest = self.inputs.manifest(job).await.map_err(verdict)?;
        let hashes = self.inputs.hashes(job).await.map_err(verdict)?;
        let (url, buckets) = (job.corpus.url.clone(), Arc::clone(&self.buckets));
        match spawn_blocking(move || buckets.open(&url)).await {
            Ok(Ok(source)) => Ok((manifest, hashes, source)),
            Ok(Err(error)) if error.is_final() => Err(Verdict::Failed(chain(&error))),
            // A folder that is not mounted says nothing about its files.
            Ok(Err(error)) => Err(hindrance(job, "the corpus cannot be opened", &error)),
            Err(error) => Err(hindrance(job, "the corpus cannot be opened", &error)),
        }
    }

    async fn prepare(&self, job: &ScanJob, target: &Target) -> Result<(Target, TargetParts, Vec<Finding>), Verdict> {
        if target.key.tenant != job.corpus.key.tenant {
            return Err(Verdict::Failed("the ruleset and the corpus belong to different tenants".to_owned()));
        }
        let mut target = target.clone();
        let verdict = |error: InputError| verdict_of(job, "the ruleset cannot be had", &error);
        let prior = match self.inputs.prior(job, &target).await.map_err(verdict)? {
            Some(prior) => prior,
            None => {
                (target.from, target.prior) = (None, None);
                target.excepted.clear();
                Vec::new()
            }
        };
        let parts = self.inputs.parts(&target).await.map_err(verdict)?;
        match parts.delta.failure.get().or(parts.whole.failure.get()) {
            Some(failure) => Err(Verdict::Failed(failure.clone())),
            None => Ok((target, parts, prior)),
        }
    }

    /// Learns the hashes that are not known yet of some files. Whoever does not get one gets no facts either.
    ///
    /// Scanners do it, like everything else that reads files: one that hangs costs its scanner and not the worker. The scan
    /// that follows reads the files a second time, from memory as long as a segment fits there.
    ///
    /// None: the job was cancelled.
    async fn hash(
        &self,
        files: SegmentFiles,
        wanted: &[FileOrdinal],
        cancel: &CancellationToken,
    ) -> Option<SegmentFiles> {
        let mut hashes = files.hashes.clone().unwrap_or_else(|| Hashes::unknown(files.manifest.files.len()));
        let missing: Vec<_> = wanted.iter().copied().filter(|file| hashes.get(*file).is_none()).collect();
        if missing.is_empty() {
            return Some(files);
        }
        let pass = Pass { shares: Vec::new(), files: missing };
        let (task, scanned) = Task::new(files.without_hashes(), Vec::new(), vec![pass]);
        let scanned = self.scan(task, scanned, cancel).await?;
        if let Some(reason) = &scanned.hindered {
            info!(reason, "files cannot be hashed before the scan");
        }
        learn(&mut hashes, &scanned);
        Some(SegmentFiles { hashes: Some(hashes), ..files })
    }

    /// None: the job was cancelled.
    async fn scan(
        &self,
        task: Arc<Task>,
        scanned: tokio::sync::oneshot::Receiver<Scanned>,
        cancel: &CancellationToken,
    ) -> Option<Scanned> {
        self.pool.submit(Arc::clone(&task));
        let _withdrawn = Withdraw { pool: self.pool.clone(), task };
        tokio::select! {
            scanned = scanned => scanned.ok(),
            () = cancel.cancelled() => None,
        }
    }

    /// Each file once, whatever number of rulesets and passes it was in.
    fn count(&self, scanned: &Scanned) {
        let mut outcomes: BTreeMap<FileOrdinal, Outcome> = BTreeMap::new();
        for answer in &scanned.answers {
            if let FileFate::Scanned { bytes, .. } = &answer.fate {
                self.metrics.scanned(*bytes);
            }
            let outcome = Outcome::from(&answer.fate);
            let worst = outcomes.entry(answer.file).or_insert(outcome);
            *worst = outcome.max(*worst);
        }
        outcomes.into_values().for_each(|outcome| self.metrics.file(outcome));
    }

    async fn put_hashes(&self, job: &ScanJob, hashes: &Hashes) -> Result<(), store::Error> {
        self.inputs.store().put(&keys::hashes(&job.segment.manifest), hashes.encode()).await
    }

    async fn put_findings(&self, job: &ScanJob, target: &Target, rows: Vec<Finding>) -> Result<(), Verdict> {
        if rows.is_empty() {
            return Ok(());
        }
        let count = rows.len();
        let bytes = match spawn_blocking(move || findings::encode(&rows)).await {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(error)) => return Err(Verdict::Failed(chain(&error))),
            Err(error) => return Err(hindrance(job, "findings cannot be encoded", &error)),
        };
        let key = keys::findings(&target.key, target.to.number, &job.corpus.key, job.ordinal, job.lease);
        debug!(key, count, bytes = bytes.len(), "findings written");
        let put = self.inputs.store().put(&key, bytes).await;
        put.map_err(|error| hindrance(job, "findings cannot be written", &error))?;
        self.metrics.found(count as u64);
        Ok(())
    }
}

/// Takes the task out of the queue, however its job ends.
struct Withdraw {
    pool: pool::Handle,
    task: Arc<Task>,
}

impl Drop for Withdraw {
    fn drop(&mut self) {
        self.pool.cancel(&self.task);
    }
}

impl Prepared {
    fn need(&self) -> Need {
        Need { adds_units: self.parts.delta.adds_units(), excepted: self.target.excepted.clone() }
    }
}

fn judge(segment: &Segment<'_>, prepared: Prepared, passes: &[Pass], scanned: &Scanned) -> Result<Merged, Verdict> {
    let Prepared { index, target, parts, prior } = prepared;
    if let Some(reason) = scanned.failed.get(&index) {
        return Err(Verdict::Failed(reason.clone()));
    }
    let planned: BTreeSet<FileOrdinal> = passes
        .iter()
        .filter(|pass| pass.shares.iter().any(|share| share.target == index))
        .flat_map(|pass| pass.files.iter().copied())
        .collect();
    merge(segment, index, &target, &parts, &planned, prior, &scanned.answers).map_err(|unanswered| {
        error!(%unanswered, "a scan ended early; this is a bug");
        Verdict::Hindered(unanswered.to_string())
    })
}

/// Files of which something may be found.
fn with_hits(scanned: &Scanned) -> impl Iterator<Item = FileOrdinal> {
    let found = scanned
        .answers
        .iter()
        .filter(|answer| matches!(&answer.fate, FileFate::Scanned { hits, .. } if !hits.is_empty()));
    found.map(|answer| answer.file).collect::<BTreeSet<_>>().into_iter()
}

fn learn(hashes: &mut Hashes, scanned: &Scanned) {
    for answer in &scanned.answers {
        if let FileFate::Scanned { sha256: Some(sha256), .. } = &answer.fate {
            hashes.set(answer.file, *sha256);
        }
    }
}

fn result(target: &Target, verdict: Verdict) -> v1::RulesetResult {
    v1::RulesetResult { ruleset_id: target.id.0, to: target.to.number.0, verdict: Some(verdict) }
}

fn verdict_of(job: &ScanJob, what: &str, error: &InputError) -> Verdict {
    if error.is_hindrance() { hindrance(job, what, error) } else { Verdict::Failed(chain(error)) }
}

fn hindrance(job: &ScanJob, what: &str, error: &dyn std::error::Error) -> Verdict {
    let reason = format!("{what}: {}", chain(error));
    error!(lease = %job.lease, corpus = %job.corpus.key, segment = %job.ordinal, reason, "job hindered; it will be tried again");
    Verdict::Hindered(reason)
}

/// An error with its causes, for the verdict that carries it to a person.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
