//! The worker put together: session, jobs, scanners, and the order in which they end.

use std::{future::Future, path::PathBuf, sync::Arc, time::Duration};

use enrichment::Datasets;
use protocol::{client::LeaderClient, v1};
use store::Store;
use supervision::Limits;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, error, info, info_span, warn};
use types::LeaseId;

use crate::{
    config::Config,
    job::{Corpus, Inputs, Runner, ScanJob, chain},
    leader::{self, Answered, Event, Session},
    listing::Lister,
    metrics::{self, Endpoint, JobEnd, Metrics},
    origin::Buckets,
    pool::{self, Launcher, Pool},
};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Pool(#[from] pool::Error),
    #[error(transparent)]
    Datasets(#[from] enrichment::Error),
    #[error(transparent)]
    Metrics(#[from] metrics::Error),
    #[error("a scanner's thread ended by itself")]
    SlotEnded,
    #[error("the session's task ended by itself")]
    SessionEnded,
    #[error("a job's task panicked")]
    JobPanicked(#[source] tokio::task::JoinError),
}

/// Runs a worker until `shutdown` is ready, then drains it.
pub async fn serve(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let Config { orchestrators, name, scanners, file_timeout, sandbox, never_list, datasets, metrics_listen, drain } =
        config;
    let datasets = Arc::new(Datasets::new(datasets, enrichment::Options::default())?);
    let metrics = Metrics::default();
    metrics.has_scanners(scanners);
    let endpoint = Endpoint::bind(metrics_listen, &metrics, datasets.metrics()).await?;
    let launcher = Launcher { executable: PathBuf::from("/proc/self/exe"), sandbox, file_timeout };
    let pool = Pool::start(scanners, &launcher, Limits::for_file_timeout(file_timeout), &metrics)?;
    // One job more than scanners, so that one is fetched while the others are scanned.
    let session = leader::Config {
        addresses: orchestrators.clone(),
        worker: name.clone(),
        capacity: scanners.saturating_add(1),
        metrics: metrics.clone(),
    };
    let (session, handle, events) = Session::new(session);
    info!(worker = name, scanners, orchestrators = orchestrators.join(","), "scan worker started");
    let mut tasks = JoinSet::new();
    tasks.spawn(session.run());
    let mut worker = Worker {
        metrics,
        addresses: orchestrators,
        never_list,
        datasets,
        pool,
        session: handle,
        events,
        tasks,
        jobs: JoinSet::new(),
        tools: None,
        storage_url: String::new(),
        scans: CancellationToken::new(),
        listings: CancellationToken::new(),
    };
    let work = async {
        let result = worker.run(shutdown).await;
        if result.is_ok() {
            worker.drain(drain).await;
        }
        result
    };
    // Asked until the end: a worker that drains says so.
    let result = tokio::select! {
        result = work => result,
        error = endpoint.serve() => Err(error.into()),
    };
    worker.end().await;
    result
}

struct Worker {
    metrics: Metrics,
    addresses: Vec<String>,
    never_list: Vec<PathBuf>,
    datasets: Arc<Datasets>,
    pool: Pool,
    session: leader::Handle,
    events: mpsc::Receiver<Event>,
    /// The session's task alone; its end is the worker's.
    tasks: JoinSet<()>,
    jobs: JoinSet<()>,
    tools: Option<Tools>,
    storage_url: String,
    /// Of the session: jobs end with it.
    scans: CancellationToken,
    listings: CancellationToken,
}

/// What jobs work with, as long as the storage is the same.
#[derive(Clone)]
struct Tools {
    runner: Arc<Runner>,
    lister: Arc<Lister>,
}

impl Worker {
    async fn run(&mut self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return Ok(()),
                event = self.events.recv() => match event {
                    Some(event) => self.take(event),
                    None => return Err(Error::SessionEnded),
                },
                Some(ended) = self.jobs.join_next() => ended.map_err(Error::JobPanicked)?,
                _ = self.tasks.join_next() => return Err(Error::SessionEnded),
                () = self.pool.damaged() => return Err(Error::SlotEnded),
            }
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Opened { storage_url } => {
                self.drop_jobs();
                if self.storage_url != storage_url {
                    self.storage_url = storage_url;
                    self.tools = None;
                }
            }
            Event::Ended => self.drop_jobs(),
            Event::Granted(grant) => self.begin(*grant),
        }
    }

    fn drop_jobs(&mut self) {
        self.scans.cancel();
        self.listings.cancel();
        self.scans = CancellationToken::new();
        self.listings = CancellationToken::new();
    }

    fn begin(&mut self, grant: v1::Grant) {
        let v1::Grant { lease, attempt, job } = grant;
        let Some(lease) = lease.map(LeaseId::from) else { return };
        let tools = self.tools();
        let session = self.session.clone();
        let metrics = self.metrics.clone();
        match job {
            Some(v1::grant::Job::Scan(job)) => {
                let cancel = self.scans.clone();
                let span = info_span!("scan", %lease, attempt);
                self.jobs.spawn(counted("scan", metrics, scan(tools, session, lease, job, cancel)).instrument(span));
            }
            Some(v1::grant::Job::List(job)) => {
                let cancel = self.listings.clone();
                let span = info_span!("list", %lease, attempt);
                self.jobs.spawn(counted("list", metrics, list(tools, session, lease, job, cancel)).instrument(span));
            }
            None => warn!(%lease, "a grant without a job that this version knows"),
        }
    }

    /// Opens the storage, which is tried again with each job until it works.
    fn tools(&mut self) -> Result<Tools, String> {
        if let Some(tools) = &self.tools {
            return Ok(tools.clone());
        }
        let store = Store::open(&self.storage_url).map_err(|error| {
            let reason = chain(&error);
            error!(storage_url = self.storage_url, reason, "cannot open the object storage");
            reason
        })?;
        let datasets = Arc::clone(&self.datasets);
        let metrics = self.metrics.clone();
        let buckets = Arc::new(Buckets::default());
        let inputs = Inputs::new(store.clone());
        let runner = Runner { inputs, pool: self.pool.handle(), datasets, buckets: Arc::clone(&buckets), metrics };
        let leader = LeaderClient::new(self.addresses.clone());
        let lister = Lister::new(store, leader, self.never_list.clone(), buckets);
        let tools = Tools { runner: Arc::new(runner), lister: Arc::new(lister) };
        self.tools = Some(tools.clone());
        Ok(tools)
    }

    /// Finishes what is being scanned, if there is time, and gives the rest back. A listing is not waited for: it can be
    /// long, and the next one finds what this one did not tell.
    async fn drain(&mut self, patience: Duration) {
        info!(jobs = self.jobs.len(), ?patience, "draining");
        self.metrics.drains();
        let deadline = Instant::now() + patience;
        self.session.drain().await;
        self.listings.cancel();
        let finished = async {
            loop {
                tokio::select! {
                    ended = self.jobs.join_next() => if ended.is_none() { return },
                    // Taken out, so that the session does not wait for room.
                    Some(event) = self.events.recv() => debug!(?event, "ignored while draining"),
                }
            }
        };
        if timeout_at(deadline, finished).await.is_err() {
            warn!(jobs = self.jobs.len(), "out of time; the rest is given back");
        }
        self.jobs.abort_all();
        let goodbye = self.session.goodbye();
        // The leader ends a silent session by itself, only later.
        if timeout_at(deadline.max(Instant::now() + Duration::from_secs(3)), goodbye).await.is_err() {
            warn!("no leader to say goodbye to");
        }
    }

    async fn end(mut self) {
        self.jobs.shutdown().await;
        self.tasks.shutdown().await;
        let pool = self.pool;
        let _ = tokio::task::spawn_blocking(move || pool.stop()).await;
        info!("scan worker stopped");
    }
}

/// Counts a job from its beginning to its end, also when it is aborted in between.
async fn counted(kind: &'static str, metrics: Metrics, job: impl Future<Output = JobEnd>) {
    struct Count {
        kind: &'static str,
        metrics: Metrics,
        end: JobEnd,
    }
    impl Drop for Count {
        fn drop(&mut self) {
            self.metrics.job_ended(self.kind, self.end);
        }
    }
    metrics.job_began();
    let mut count = Count { kind, metrics, end: JobEnd::Dropped };
    count.end = job.await;
}

async fn scan(
    tools: Result<Tools, String>,
    session: leader::Handle,
    lease: LeaseId,
    job: v1::ScanJob,
    cancel: CancellationToken,
) -> JobEnd {
    let started = Instant::now();
    let everywhere = |verdict: v1::ruleset_result::Verdict| {
        let result = |target: &v1::ScanTarget| v1::RulesetResult {
            ruleset_id: target.ruleset_id,
            to: target.to.as_ref().map_or(0, |to| to.number),
            verdict: Some(verdict.clone()),
        };
        job.targets.iter().map(result).collect::<Vec<_>>()
    };
    let results = match (ScanJob::from_wire(lease, job.clone()), tools) {
        (Ok(job), Ok(tools)) => Box::pin(tools.runner.run(&job, &cancel)).await,
        (Err(error), _) => everywhere(v1::ruleset_result::Verdict::Failed(chain(&error))),
        (Ok(_), Err(reason)) => everywhere(v1::ruleset_result::Verdict::Hindered(reason)),
    };
    if cancel.is_cancelled() {
        debug!("scan dropped");
        return JobEnd::Dropped;
    }
    tell(&job, &results, started.elapsed());
    match session.settle(lease, results).await {
        Answered::Accepted => JobEnd::Settled,
        Answered::Refused(refusal) => {
            info!(refusal, "the settlement was refused; applied before, or the lease is lost");
            JobEnd::Refused
        }
        Answered::SessionEnded => {
            debug!("the session ended before the settlement");
            JobEnd::Dropped
        }
    }
}

/// One line for the job and one for each ruleset that got no answer.
fn tell(job: &v1::ScanJob, results: &[v1::RulesetResult], elapsed: Duration) {
    let (mut findings, mut excepted, mut scanned_bytes) = (0, 0, 0);
    for v1::RulesetResult { ruleset_id, to, verdict } in results {
        match verdict {
            Some(v1::ruleset_result::Verdict::Done(done)) => {
                findings += u64::from(done.findings);
                excepted += done.excepted.len();
                scanned_bytes = scanned_bytes.max(done.scanned_bytes);
            }
            Some(v1::ruleset_result::Verdict::Failed(reason)) => warn!(ruleset_id, to, reason, "scan failed"),
            // Logged where it happened.
            Some(v1::ruleset_result::Verdict::Hindered(_)) | None => {}
        }
    }
    let segment = job.segment.as_ref().map_or(0, |segment| segment.ordinal);
    let files = job.segment.as_ref().map_or(0, |segment| segment.files);
    info!(segment, files, rulesets = results.len(), findings, excepted, scanned_bytes, ?elapsed, "segment scanned");
}

async fn list(
    tools: Result<Tools, String>,
    session: leader::Handle,
    lease: LeaseId,
    job: v1::ListJob,
    cancel: CancellationToken,
) -> JobEnd {
    let corpus = job.corpus.ok_or_else(|| "the job names no corpus".to_owned());
    let corpus = corpus.and_then(|corpus| Corpus::from_wire(corpus).map_err(|error| chain(&error)));
    match corpus.and_then(|corpus| Ok((corpus, tools?))) {
        Ok((corpus, tools)) => tools.lister.run(lease, &corpus, &session, &cancel).await,
        Err(reason) => {
            warn!(reason, "listing failed");
            JobEnd::from(session.settle_listing(lease, v1::settle_listing::Result::Failed(reason)).await)
        }
    }
}
