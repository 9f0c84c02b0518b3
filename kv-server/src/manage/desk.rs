//! The server's side: which versions of a dataset are open, which one is served, and what people ordered.
//!
//! A desk carries out and never chooses. A manager, in this process or beside it, tells it what to open and switch to;
//! people tell it what they want, and where that is open already they have it at once, manager or not.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use dataset::{Manifest, VersionId};
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tracing::{error, info};

use super::{
    chain,
    decide::{Millis, Observed, Order},
    disk::{self, Home, read_json, write_json},
    status::{Report, Status, now_ms},
};
use crate::catalog::{Catalog, OpenError, Version};

#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    #[error("there is no dataset {name}")]
    UnknownDataset { name: String },
    #[error("dataset {name} is a directory that is served as it is: it has no versions")]
    Fixed { name: String },
    #[error("version {pin} is pinned: unpin it first (dragnet dataset unpin)")]
    Pinned { pin: VersionId },
    #[error("no version is ready, and none is announced: say which one")]
    NothingReady,
    #[error("there is no good version on this machine to go back to")]
    NothingBefore,
    #[error("version {version} is not open")]
    NotOpen { version: VersionId },
    #[error("version {version} on this machine has no manifest that can be read")]
    Manifest { version: VersionId, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("failed to open version {version}")]
    Open { version: VersionId, source: OpenError },
    #[error("failed to warm version {version}")]
    Warm { version: VersionId, source: shard::Error },
    #[error("opening version {version} did not end well: {what}")]
    Panicked { version: VersionId, what: String },
}

/// What a manager beside the server asks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Instruction {
    Open { version: VersionId, warm: bool },
    Switch { version: VersionId },
    Close { version: VersionId },
    Report { report: Box<Report> },
}

/// What outlives the process: `serving.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Book {
    last_served: Option<VersionId>,
    previous: Option<VersionId>,
    order: Option<Order>,
    rolled_back: BTreeSet<VersionId>,
}

/// One dataset that has versions.
pub struct Desk {
    name: String,
    url: String,
    home: Home,
    catalog: Arc<Catalog>,
    state: Mutex<Desktop>,
    served: watch::Sender<Option<VersionId>>,
    /// Somebody ordered something.
    rung: Notify,
    /// Held while a version is opened: two who ask for the same one get the same one.
    opening: tokio::sync::Mutex<()>,
}

struct Desktop {
    serving: Option<VersionId>,
    since: Option<Millis>,
    opened: BTreeMap<VersionId, Arc<Version>>,
    /// Closed; freed when the last reader has gone, and then not by a thread that answers requests.
    leaving: Vec<(VersionId, Arc<Version>)>,
    book: Book,
    report: Report,
    switches: u64,
    rollbacks: u64,
}

impl Desk {
    /// Takes up the folder of dataset `name` below `data_dir`, with what was told before a restart. Opens no version.
    pub fn new(data_dir: &Path, name: &str, url: &str, catalog: Arc<Catalog>) -> Result<Self, disk::Error> {
        let home = Home::open(data_dir, name)?;
        let book = read_json(&home.folder().join("serving.json"));
        let desktop = Desktop {
            serving: None,
            since: None,
            opened: BTreeMap::new(),
            leaving: Vec::new(),
            book,
            report: Report::default(),
            switches: 0,
            rollbacks: 0,
        };
        let (name, url) = (name.to_owned(), url.to_owned());
        let (state, served, rung) = (Mutex::new(desktop), watch::Sender::new(None), Notify::new());
        Ok(Self { name, url, home, catalog, state, served, rung, opening: tokio::sync::Mutex::default() })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn home(&self) -> &Home {
        &self.home
    }

    pub fn observed(&self) -> Observed {
        self.reap();
        self.lock().observed()
    }

    pub fn status(&self) -> Status {
        let state = self.lock();
        let served = state.serving.and_then(|version| state.opened.get(&version));
        Status {
            name: self.name.clone(),
            url: self.url.clone(),
            observed: state.observed(),
            report: state.report.clone(),
            serving_created_at_ms: served
                .and_then(|version| version.manifest())
                .map(|manifest| manifest.created_at_ms.0),
            serving_since_ms: state.since,
            keys: served.map_or(0, |version| keys(version)),
            switches: state.switches,
            rollbacks: state.rollbacks,
        }
    }

    /// What the manager has to say.
    pub fn report(&self, report: Report) {
        self.lock().report = report;
    }

    /// Ends when somebody has ordered something since the last call.
    pub async fn rung(&self) {
        self.rung.notified().await;
    }

    /// Ends when `version` is served.
    pub async fn until_served(&self, version: VersionId) {
        let mut served = self.served.subscribe();
        // The sender lives as long as the desk.
        let _ = served.wait_for(|serving| *serving == Some(version)).await;
    }

    /// Switches back to the version before, and does not choose the one left by itself again.
    /// Returns the version that is served now, or in a moment if it is not open.
    pub fn roll_back(&self) -> Result<VersionId, OrderError> {
        let mut state = self.lock();
        state.refuse_if_pinned(None)?;
        let back = state.book.previous.filter(|version| {
            !state.is_bad(*version) && (state.opened.contains_key(version) || self.home.version(*version).is_dir())
        });
        let (Some(leave), Some(back)) = (state.serving, back) else { return Err(OrderError::NothingBefore) };
        info!(dataset = %self.name, from = %leave, to = %back, "rolled back as told");
        state.book.rolled_back.insert(leave);
        state.rollbacks += 1;
        self.order(state, back);
        Ok(back)
    }

    /// Notes that `version` is to be served, or the one that is ready or announced; also one that was left or that failed.
    /// Returns the version that is served now, or as soon as a manager has brought it.
    pub fn tell(&self, version: Option<VersionId>) -> Result<VersionId, OrderError> {
        let mut state = self.lock();
        let announced = &state.report.announcement;
        let version = version.or(state.report.ready).or(announced.pinned).or(announced.announced);
        let version = version.ok_or(OrderError::NothingReady)?;
        state.refuse_if_pinned(Some(version))?;
        state.book.rolled_back.remove(&version);
        self.order(state, version);
        Ok(version)
    }

    fn order(&self, mut state: MutexGuard<'_, Desktop>, version: VersionId) {
        let epoch = state.report.announcement.epoch;
        state.book.order = Some(Order { version, epoch, at: now_ms() });
        match state.opened.contains_key(&version) {
            true => self.switch_in(&mut state, version),
            false => self.write_down(&state.book),
        }
        drop(state);
        self.rung.notify_one();
    }

    /// Opens `version` from disk, beside what is served; with `warm`, in memory as far as it is to be there.
    pub async fn open(self: &Arc<Self>, version: VersionId, warm: bool) -> Result<(), OrderError> {
        let desk = self.clone();
        // Whoever waits may go away: what was opened is noted all the same.
        let opening = tokio::task::spawn_blocking(move || {
            let _alone = desk.opening.blocking_lock();
            if desk.lock().opened.contains_key(&version) {
                return Ok(());
            }
            let opened = desk.open_blocking(version, warm)?;
            let mut state = desk.lock();
            state.opened.insert(version, Arc::new(opened));
            desk.set_previous(&state);
            Ok(())
        });
        let panicked = |error: tokio::task::JoinError| Err(OrderError::Panicked { version, what: error.to_string() });
        opening.await.unwrap_or_else(panicked)
    }

    fn open_blocking(&self, version: VersionId, warm: bool) -> Result<Version, OrderError> {
        let folder = self.home.version(version);
        let manifest = read_manifest(&folder, version).map_err(|source| OrderError::Manifest { version, source })?;
        let opened = self.catalog.open(&self.name, &folder, Some(Arc::new(manifest)));
        let opened = opened.map_err(|source| OrderError::Open { version, source })?;
        if warm {
            for shard in opened.shards().filter(|shard| shard.is_mapped()) {
                shard.warm(|_| ControlFlow::Continue(())).map_err(|source| OrderError::Warm { version, source })?;
            }
            opened.look_at_residence(|| ControlFlow::Continue(()));
        }
        Ok(opened)
    }

    /// Answers from `version` from now on.
    pub fn switch(&self, version: VersionId) -> Result<(), OrderError> {
        let mut state = self.lock();
        if !state.opened.contains_key(&version) {
            return Err(OrderError::NotOpen { version });
        }
        self.switch_in(&mut state, version);
        Ok(())
    }

    fn switch_in(&self, state: &mut Desktop, version: VersionId) {
        if state.serving != Some(version) {
            let switched = self.catalog.switch(&self.name, state.opened[&version].clone());
            switched.expect("a desk is made for a dataset of the catalog");
            let from = state.serving.replace(version);
            info!(dataset = %self.name, %version, from = from.map(|from| from.to_string()), "switched");
            state.switches += 1;
            state.since = Some(now_ms());
            let before = state.book.last_served.replace(version);
            if before != Some(version) {
                state.book.previous = before;
            }
            self.set_previous(state);
        }
        self.write_down(&state.book);
        self.served.send_replace(Some(version));
    }

    /// Lets go of a version that is not served.
    pub fn close(&self, version: VersionId) {
        let mut state = self.lock();
        if state.serving != Some(version)
            && let Some(closed) = state.opened.remove(&version)
        {
            state.leaving.push((version, closed));
            self.set_previous(&state);
        }
        drop(state);
        self.reap();
    }

    /// Has the catalog hold what a rollback goes to.
    fn set_previous(&self, state: &Desktop) {
        let previous = state.book.previous.filter(|version| Some(*version) != state.serving);
        let previous = previous.and_then(|version| state.opened.get(&version)).cloned();
        self.catalog.set_previous(&self.name, previous).expect("a desk is made for a dataset of the catalog");
    }

    /// Frees closed versions whose last reader has gone. Freeing unmaps files and takes its time, so it has its own thread.
    fn reap(&self) {
        let (gone, staying) = std::mem::take(&mut self.lock().leaving)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, version)| Arc::strong_count(version) == 1);
        self.lock().leaving.extend(staying);
        if !gone.is_empty() {
            std::thread::spawn(move || drop(gone));
        }
    }

    /// A disk that cannot take a note must not keep anyone from switching: the note is for after a restart.
    fn write_down(&self, book: &Book) {
        if let Err(error) = write_json(&self.home.folder().join("serving.json"), book) {
            error!(dataset = %self.name, error = chain(&error), "a restart will not know what is served now");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Desktop> {
        // Each change below the lock is whole before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desktop {
    fn observed(&self) -> Observed {
        Observed {
            serving: self.serving,
            previous: self.book.previous,
            opened: self.opened.keys().copied().collect(),
            readers: self.leaving.iter().map(|(version, _)| *version).collect(),
            last_served: self.book.last_served,
            order: self.book.order,
            rolled_back: self.book.rolled_back.clone(),
        }
    }

    fn refuse_if_pinned(&self, to: Option<VersionId>) -> Result<(), OrderError> {
        match self.report.announcement.pinned {
            Some(pin) if to != Some(pin) => Err(OrderError::Pinned { pin }),
            _ => Ok(()),
        }
    }

    fn is_bad(&self, version: VersionId) -> bool {
        self.book.rolled_back.contains(&version) || self.report.announcement.bad.contains(&version)
    }
}

/// Keys in the shards that are open, by the manifest that they were verified against.
fn keys(version: &Version) -> u64 {
    let Some(manifest) = version.manifest() else { return version.keys() };
    let held = version.parts().iter().zip(&manifest.shards).filter(|(part, _)| part.shard().is_some());
    held.map(|(_, shard)| shard.keys).sum()
}

/// The manifest as it was downloaded with the version, checked once more.
pub(crate) fn read_manifest(
    folder: &Path,
    version: VersionId,
) -> Result<Manifest, Box<dyn std::error::Error + Send + Sync>> {
    let text = std::fs::read(folder.join("manifest.json"))?;
    Ok(Manifest::parse(&text, version)?)
}
