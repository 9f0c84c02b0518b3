//! One leased segment, from grant to verdict.
//!
//! ```text
//!  Grant ──► Inputs: manifest, hashes, programs, prior findings ──► plan: passes ──► pool: answers
//!                                             prior findings ──► merge ◄─────────────────┘
//!                     findings and hashes to storage, then the verdicts ◄──┘
//! ```
//!
//! What is written is written before the verdict is told: the commit of the verdict is what makes it count.

mod cache;
mod inputs;
pub mod merge;
pub mod plan;
mod request;

pub use inputs::{Error as InputError, Inputs};
pub use request::{Corpus, ScanJob, Target};

use std::{collections::BTreeSet, sync::Arc};

use corpus::{Hashes, Manifest, Source};
use findings::Finding;
use protocol::v1::{self, ruleset_result::Verdict};
use store::keys;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};
use types::FileOrdinal;

use crate::pool::{self, FileFate, Scanned, SegmentFiles, TargetParts, Task};
use merge::{Merged, Segment, merge};
use plan::{Need, Pass, passes};

/// Runs scan jobs.
#[derive(Debug)]
pub struct Runner {
    pub inputs: Inputs,
    pub pool: pool::Handle,
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
        let files =
            SegmentFiles { source, manifest: Arc::clone(&manifest), hashes, max_file_bytes: job.corpus.max_file_bytes };
        let parts = prepared.iter().map(|prepared| prepared.parts.clone()).collect();
        let (task, scanned) = Task::new(files, parts, passes.clone());
        let Some(scanned) = self.scan(Arc::clone(&task), scanned, cancel).await else { return Vec::new() };
        if let Some(reason) = scanned.hindered {
            results.extend(prepared.iter().map(|prepared| result(&prepared.target, Verdict::Hindered(reason.clone()))));
            return results;
        }
        let mut all_hashes = task.files.hashes.clone().unwrap_or_else(|| Hashes::unknown(manifest.files.len()));
        let learned = learn(&mut all_hashes, &scanned);
        if learn_hashes
            && learned
            && let Err(error) = self.put_hashes(job, &all_hashes).await
        {
            let verdict = hindrance(job, "the files' hashes cannot be written", &error);
            results.extend(prepared.iter().map(|prepared| result(&prepared.target, verdict.clone())));
            return results;
        }
        let segment = Segment {
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

    async fn segment(&self, job: &ScanJob) -> Result<(Arc<Manifest>, Option<Hashes>, Source), Verdict> {
        let verdict = |error: InputError| verdict_of(job, "the segment cannot be had", &error);
        let manifest = self.inputs.manifest(job).await.map_err(verdict)?;
        let hashes = self.inputs.hashes(job).await.map_err(verdict)?;
        let url = job.corpus.url.clone();
        match spawn_blocking(move || Source::open(&url)).await {
            Ok(Ok(source)) => Ok((manifest, hashes, source)),
            Ok(Err(error @ corpus::Error::Url { .. })) => Err(Verdict::Failed(chain(&error))),
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
        put.map_err(|error| hindrance(job, "findings cannot be written", &error))
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

fn learn(hashes: &mut Hashes, scanned: &Scanned) -> bool {
    let mut learned = false;
    for answer in &scanned.answers {
        if let FileFate::Scanned { sha256: Some(sha256), .. } = &answer.fate {
            hashes.set(answer.file, *sha256);
            learned = true;
        }
    }
    learned
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
