//! Putting keepers to work, and a server that waits for a manager beside it.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use url::Url;

use super::{
    Config, Desks, Error,
    beside::{self, Remote},
    chain,
    decide::{Announced, Failure, Local, Policy, Step, decide},
    desk::Desk,
    disk::{Home, Lock},
    keeper::Keeper,
    notes::Notes,
    server::Server,
    status::now_ms,
    storage::Storage,
    verify,
};
use crate::{admin::Token, catalog::Wanted};

/// All keepers of a process, one a dataset. Holds the data-dir for itself.
pub struct Manager {
    keepers: Vec<Keeper>,
    _lock: Lock,
}

impl Manager {
    /// Cares for the datasets of the server that it runs in.
    ///
    /// Errors: another manager uses the folder; a URL cannot be used; the folder cannot be read.
    pub fn inside(desks: &Desks, data_dir: &Path, config: Config) -> Result<Self, Error> {
        let lock = Lock::of_manager(data_dir)?;
        let config = Arc::new(config);
        let keepers = desks.iter().map(|desk| {
            let storage = Storage::new(desk.url())?;
            let server = Server::Inside(desk.clone());
            Keeper::new(desk.name(), storage, desk.home().clone(), server, config.clone())
        });
        Ok(Self { keepers: keepers.collect::<Result<_, _>>()?, _lock: lock })
    }

    /// Cares for `datasets`, URL by name, of a server on this machine that uses the same folder.
    pub fn beside(
        server: &Url,
        token: Option<Token>,
        datasets: &BTreeMap<String, Url>,
        data_dir: &Path,
        config: Config,
    ) -> Result<Self, Error> {
        let lock = Lock::of_manager(data_dir)?;
        let (config, client) = (Arc::new(config), beside::client()?);
        let keepers = datasets.iter().map(|(name, url)| {
            let remote = Remote::new(client.clone(), server.clone(), name, token.clone());
            let home = Home::open(data_dir, name)?;
            Keeper::new(name, Storage::new(url.as_str())?, home, Server::Beside(remote), config.clone())
        });
        Ok(Self { keepers: keepers.collect::<Result<_, _>>()?, _lock: lock })
    }

    /// Runs until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let mut tasks = JoinSet::new();
        for keeper in self.keepers {
            tasks.spawn(keeper.run(stop.clone()));
        }
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                error!(%error, "a keeper ended by itself");
                stop.cancel(); // and with it the process: versions that nobody cares for grow old unnoticed
            }
        }
    }
}

/// Serves what lies on the disk, in a server whose manager is another process and may be away: for each dataset the version
/// that should be served or the best one allowed. Changes nothing on the disk.
pub async fn start_alone(desks: &Desks, wanted: &Wanted, policy: Policy) {
    for desk in desks.iter() {
        start(desk, wanted, policy).await;
    }
}

async fn start(desk: &Arc<Desk>, wanted: &Wanted, policy: Policy) {
    let notes = Notes::read(desk.home());
    let announced = notes.announcement.as_ref().map(Announced::from);
    let versions = desk.home().versions().unwrap_or_else(|error| {
        warn!(dataset = desk.name(), error = chain(&error), "failed to look for versions; waiting for the manager");
        Vec::new()
    });
    let verified =
        versions.into_iter().filter(|it| verify::is_verified(&desk.home().version(*it), *it, wanted)).collect();
    let mut local = Local { verified, failures: notes.failures.to_facts(), now: now_ms(), ..Local::default() };
    loop {
        let observed = desk.observed();
        match decide(&observed, announced.as_ref(), &local, policy) {
            // With one served, this is the version before it, for a rollback.
            Step::Open(version) if observed.serving.is_none() || observed.previous == Some(version) => {
                if let Err(error) = desk.open(version, observed.serving.is_none()).await {
                    warn!(dataset = desk.name(), %version, error = chain(&error), "failed to open");
                    let at = local.now;
                    local.failures.insert(version, Failure { at, retry_at: u64::MAX });
                }
            }
            Step::Switch(version) if observed.serving.is_none() && desk.switch(version).is_ok() => {}
            _ => break,
        }
    }
    if desk.observed().serving.is_none() {
        info!(dataset = desk.name(), "nothing to serve yet; waiting for the manager");
    }
}
