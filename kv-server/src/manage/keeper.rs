//! The life of one dataset on one server: looks, decides, carries out, reports; again after each change.
//!
//! ```text
//!      every --poll ─► announcement ─┐
//!  an order, or a job that ended ────┼─► decide ─► switch · close · remove · cancel       at once
//!                disk, server ───────┘         └─► download · verify · open               one job at a time, beside
//! ```
//!
//! Nothing here waits for storage or for a job: an order, such as a rollback, is carried out while a download goes on or
//! hangs. What fails is noted, counted, reported and left for later; a keeper ends only when it is told to.

use std::{
    collections::BTreeSet,
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use dataset::{RateLimit, VersionId};
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::{
    chain,
    decide::{Announced, Local, Observed, Policy, Rest, Step, decide, target},
    disk::{Home, remove_slowly},
    download::Download,
    error::Error,
    job::{Ended, Job, Work, all_bytes_here},
    notes::Notes,
    retry::Pauses,
    server::Server,
    status::{Announcement, LastError, Report, State, now_ms},
    storage::Storage,
    verify,
};
use crate::catalog::Wanted;

/// How often a report is renewed while a job is under way.
const REPORT: Duration = Duration::from_millis(500);

#[derive(Clone, Debug)]
pub struct Config {
    pub policy: Policy,
    /// How often object storage is asked for the announcement.
    pub poll: Duration,
    /// Which shards of a version this server holds.
    pub wanted: Wanted,
    /// Bytes a second of all downloads of one dataset; `None`: as fast as it goes.
    pub download_rate: Option<u64>,
    /// How long object storage may take for one answer of at most 4 MiB.
    pub storage_timeout: Duration,
    /// Bytes that stay free on the disk whatever is downloaded.
    pub reserve: u64,
    pub pauses: Pauses,
}

pub(crate) struct Keeper {
    name: String,
    storage: Storage,
    home: Home,
    server: Server,
    config: Arc<Config>,
    notes: Notes,
    local: Local,
    report: Report,
    tasks: JoinSet<Ended>,
    polling: bool,
    job: Option<Job>,
    rate: RateLimit,
    /// Cancelled, and not yet ended: their files must not be touched.
    unwinding: BTreeSet<u64>,
    jobs_begun: u64,
    removals: JoinSet<()>,
    /// Bytes fetched since the start, by all downloads.
    downloaded_bytes: Arc<AtomicU64>,
}

impl Keeper {
    pub(crate) fn new(
        name: &str,
        storage: Storage,
        home: Home,
        server: Server,
        config: Arc<Config>,
    ) -> Result<Self, Error> {
        let notes = Notes::read(&home);
        let mut report = Report { last_error: notes.failures.latest().cloned(), ..Report::default() };
        report.announcement = notes.announcement.clone().unwrap_or_default();
        let rate = RateLimit::new(config.download_rate.and_then(NonZeroU64::new));
        let mut keeper = Self {
            name: name.to_owned(),
            storage,
            home,
            server,
            config,
            notes,
            local: Local::default(),
            report,
            tasks: JoinSet::new(),
            polling: false,
            job: None,
            rate,
            unwinding: BTreeSet::new(),
            jobs_begun: 0,
            removals: JoinSet::new(),
            downloaded_bytes: Arc::default(),
        };
        keeper.look_at_disk()?;
        for folder in keeper.home.leftovers()? {
            info!(dataset = %keeper.name, folder = %folder.display(), "deleting what a killed process left");
            keeper.removals.spawn(remove_slowly(folder));
        }
        Ok(keeper)
    }

    /// Keeps the dataset until `stop` is cancelled.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut poll = interval(self.config.poll);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renew = interval(REPORT);
        renew.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.go_on().await;
            tokio::select! {
                () = stop.cancelled() => break,
                _ = poll.tick() => self.poll(),
                _ = renew.tick(), if self.job.is_some() || self.report.retry_at_ms.is_some() => {}
                Some(ended) = self.tasks.join_next() => self.ended(ended),
                Some(_) = self.removals.join_next() => {}
                () = self.server.rung() => {}
                () = all_bytes_here(&self.job, self.report.state) => {}
            }
        }
        if let Some(job) = &self.job {
            job.cancel.cancel();
        }
    }

    /// Asks for the announcement, unless the last question is still open.
    fn poll(&mut self) {
        if self.polling {
            return;
        }
        self.polling = true;
        let (storage, within) = (self.storage.clone(), self.config.storage_timeout);
        self.tasks.spawn(async move {
            let stalled = |_| Error::Stalled { what: "the announcement".to_owned(), within };
            let asking = async {
                let read = storage.repository().await?.announcement().await;
                read.map(|read| Announcement::from(&read)).map_err(|source| Error::Announcement { source })
            };
            Ended::Poll(timeout(within, asking).await.map_err(stalled).flatten())
        });
    }

    /// Takes steps until there is nothing to do but wait, then reports.
    async fn go_on(&mut self) {
        let mut server_answers = true;
        loop {
            let observed = match self.server.observed().await {
                Ok(observed) => observed,
                Err(error) => {
                    debug!(dataset = %self.name, error = chain(&error), "the server does not answer");
                    server_answers = false;
                    break;
                }
            };
            self.local.now = now_ms();
            self.local.failures = self.notes.failures.to_facts();
            self.local.working = self.job.as_ref().map(|job| job.version);
            let announced = self.notes.announcement.as_ref().map(Announced::from);
            let step = decide(&observed, announced.as_ref(), &self.local, self.config.policy);
            self.report.ready = self.ready(&observed);
            if !self.carry_out(step, &observed).await {
                break;
            }
        }
        self.report.counters.downloaded_bytes = self.downloaded_bytes.load(Ordering::Relaxed);
        if server_answers && let Err(error) = self.server.report(self.report.clone()).await {
            debug!(dataset = %self.name, error = chain(&error), "the server takes no report");
        }
    }

    /// Carries a step out, or begins to. Returns whether there may be another one at once.
    async fn carry_out(&mut self, step: Step, observed: &Observed) -> bool {
        match step {
            Step::Download(version) => self.begin(version, Work::Download, observed),
            Step::Verify(version) => self.begin(version, Work::Verify, observed),
            Step::Open(version) => self.begin(version, Work::Open, observed),
            Step::Cancel(version) => {
                info!(dataset = %self.name, %version, "stopped working on a version that is wanted no longer");
                let job = self.job.take().expect("there is one to cancel");
                job.cancel.cancel();
                self.unwinding.insert(job.number);
                return true;
            }
            Step::Switch(version) => {
                let switched = self.server.switch(version).await;
                let concerns = |error: &LastError| error.version.is_none_or(|failed| failed <= version);
                if switched.is_ok() && self.report.last_error.as_ref().is_some_and(concerns) {
                    self.report.last_error = None;
                }
                return self.went_on(version, switched);
            }
            Step::Close(version) => {
                let closed = self.server.close(version).await;
                return self.went_on(version, closed);
            }
            Step::Remove(version) => {
                let removed = self.remove(version);
                return self.went_on(version, removed);
            }
            Step::Rest(why) => self.rest(why),
        }
        false
    }

    /// A step that failed must not be taken again at once, for ever.
    fn went_on(&mut self, version: VersionId, result: Result<(), Error>) -> bool {
        result.map_err(|error| self.fail(Some(version), &error)).is_ok()
    }

    fn rest(&mut self, why: Rest) {
        self.report.retry_at_ms = None;
        self.report.progress = None;
        (self.report.state, self.report.version) = match why {
            Rest::Serving => (State::Serving, None),
            Rest::Ready(version) => (State::Ready, Some(version)),
            Rest::Unreachable(version) => (State::Unreachable, Some(version)),
            Rest::NothingAllowed => (State::NothingAllowed, None),
            Rest::BackingOff { version, until } => {
                self.report.retry_at_ms = Some(until);
                (State::BackingOff, Some(version))
            }
            Rest::Working(version) => {
                let job = self.job.as_ref().expect("it is this job that is waited for");
                self.report.progress = job.progress();
                (job.state(), Some(version))
            }
        };
    }

    fn begin(&mut self, version: VersionId, work: Work, observed: &Observed) {
        if !self.unwinding.is_empty() {
            return; // its end wakes the loop
        }
        self.jobs_begun += 1;
        let number = self.jobs_begun;
        let job = Job::new(number, version, work);
        info!(dataset = %self.name, %version, work = ?work, "begun");
        self.report.retry_at_ms = None;
        (self.report.state, self.report.version) = (job.state(), Some(version));
        let cancel = job.cancel.clone();
        match work {
            Work::Download => {
                self.report.counters.downloads += 1;
                let download = Download {
                    storage: self.storage.clone(),
                    home: self.home.clone(),
                    version,
                    config: self.config.clone(),
                    rate: self.rate.clone(),
                    cancel,
                    done_bytes: job.done_bytes.clone(),
                    total_bytes: job.total_bytes.clone(),
                    fetched_bytes: self.downloaded_bytes.clone(),
                    verifying: job.verifying.clone(),
                };
                self.tasks.spawn(async move { Ended::Job { number, result: download.run().await } });
            }
            Work::Verify => {
                let folder = self.home.version(version);
                let wanted = self.config.wanted.clone();
                let verifying = verify::whole(folder, version, wanted, cancel);
                self.tasks.spawn(async move { Ended::Job { number, result: verifying.await } });
            }
            Work::Open => {
                let server = self.server.clone();
                // What is opened for a rollback is read only if there is one.
                let warm = observed.previous != Some(version) || observed.serving.is_none();
                self.tasks.spawn(async move { Ended::Job { number, result: server.open(version, warm).await } });
            }
        }
        self.job = Some(job);
    }

    fn ended(&mut self, ended: Result<Ended, tokio::task::JoinError>) {
        match ended {
            Ok(Ended::Poll(result)) => self.polled(result),
            Ok(Ended::Job { number, result }) => self.job_ended(number, result),
            // A job is the only task with enough code in it to panic. What it left behind is as after a kill.
            Err(error) => {
                self.polling = false;
                self.unwinding.clear();
                if let Some(job) = &self.job {
                    let number = job.number;
                    self.job_ended(number, Err(Error::Panicked { what: error.to_string() }));
                }
            }
        }
    }

    fn polled(&mut self, result: Result<Announcement, Error>) {
        self.polling = false;
        match result {
            Ok(announcement) => {
                if !self.local.reachable {
                    self.local.reachable = true;
                    self.notes.failures.forget_storage();
                    self.report.last_error.take_if(|error| error.version.is_none());
                }
                self.report.announcement_read_at_ms = Some(now_ms());
                if self.notes.announcement.as_ref() != Some(&announcement) {
                    info!(
                        dataset = %self.name, epoch = announcement.epoch, version = ?announcement.announced,
                        pinned = ?announcement.pinned, "announced"
                    );
                    self.notes.announcement = Some(announcement.clone());
                    self.report.announcement = announcement;
                    self.save_notes();
                }
            }
            Err(error) => {
                self.local.reachable = false;
                self.fail(None, &error);
            }
        }
    }

    fn job_ended(&mut self, number: u64, result: Result<(), Error>) {
        if self.unwinding.remove(&number) {
            self.refresh();
            return;
        }
        let Some(job) = self.job.take_if(|job| job.number == number) else { return };
        let version = job.version;
        match result {
            Ok(()) => {
                info!(dataset = %self.name, %version, work = ?job.work, "done");
                if job.work != Work::Open {
                    self.report.counters.verifications += 1;
                }
                if self.notes.failures.forget(version) {
                    self.save_notes();
                }
            }
            Err(error) => self.job_failed(&job, &error),
        }
        self.report.progress = None;
        self.refresh();
    }

    fn job_failed(&mut self, job: &Job, error: &Error) {
        let version = job.version;
        let failure = self.fail(Some(version), error);
        let clean = match job.work {
            Work::Download => self.discard_download(version),
            // A good copy may be in storage, and asking for it costs no more than waiting.
            Work::Verify => match self.remove(version) {
                Ok(()) => return,
                failed => failed,
            },
            // Whatever keeps it from opening may be in its files.
            Work::Open => verify::forget(&self.home.version(version)),
        };
        if let Err(error) = clean {
            warn!(dataset = %self.name, %version, error = chain(&error), "failed to clean up");
        }
        self.notes.failures.add(version, failure, &self.config.pauses);
        self.save_notes();
    }

    /// Tells an error to everybody who may want to know: once, here.
    fn fail(&mut self, version: Option<VersionId>, error: &Error) -> LastError {
        let failure = error.to_last_error(version);
        let LastError { kind, error, file, offset, .. } = &failure;
        // Storage that is away is asked every two seconds: it is told when it goes, and counted each time.
        if self.report.last_error.as_ref().is_none_or(|last| last.error != failure.error) {
            warn!(dataset = %self.name, ?version, kind = kind.as_str(), error, ?file, ?offset, "failed; what is served stays");
        }
        self.report.counters.count_failure(*kind);
        self.report.last_error = Some(failure.clone());
        failure
    }

    fn discard_download(&mut self, version: VersionId) -> Result<(), Error> {
        if let Some(folder) = self.home.set_download_aside(version)? {
            self.removals.spawn(remove_slowly(folder));
        }
        Ok(())
    }

    fn remove(&mut self, version: VersionId) -> Result<(), Error> {
        info!(dataset = %self.name, %version, "removing");
        let folder = self.home.set_aside(version)?;
        self.removals.spawn(remove_slowly(folder));
        self.local.verified.remove(&version);
        self.local.unverified.remove(&version);
        Ok(())
    }

    fn refresh(&mut self) {
        if let Err(error) = self.look_at_disk() {
            self.fail(None, &error);
        }
    }

    /// Which versions lie here, and whether their files are the ones that were verified. Looks at sizes and times only.
    fn look_at_disk(&mut self) -> Result<(), Error> {
        let versions = self.home.versions()?.into_iter();
        let (verified, unverified) = versions
            .partition(|version| verify::is_verified(&self.home.version(*version), *version, &self.config.wanted));
        self.local.verified = verified;
        self.local.unverified = unverified;
        Ok(())
    }

    fn save_notes(&self) {
        if let Err(error) = self.notes.save(&self.home) {
            error!(dataset = %self.name, error = chain(&error), "a restart will not know what was announced or failed");
        }
    }

    fn ready(&self, observed: &Observed) -> Option<VersionId> {
        let announced = self.notes.announcement.as_ref().map(Announced::from);
        let target = target(observed, announced.as_ref())?;
        (observed.serving != Some(target) && observed.opened.contains(&target)).then_some(target)
    }
}
