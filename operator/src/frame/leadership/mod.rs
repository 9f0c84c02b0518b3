//! Leadership by a Lease: of several replicas one acts. Who loses it ends, so that nothing half-known goes on.

mod election;
#[cfg(test)]
mod model;

use std::{pin::pin, time::Duration};

use futures::StreamExt as _;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ObjectMeta, PostParams},
    runtime::watcher,
};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use election::{Election, Seen, Step, Times};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("leadership was lost; ending, so that no two replicas act at a time")]
    Lost,
}

/// A replica's part in who leads.
pub struct Leadership {
    leases: Api<Lease>,
    name: String,
    identity: String,
    election: Election,
    /// The beginning of its time.
    born: Instant,
}

impl Leadership {
    /// `pod` need not be unique: a process adds what makes it so, since a pod's name outlives its container. `term`: how long a
    /// leader may be silent.
    pub fn new(client: Client, namespace: &str, name: &str, pod: &str, term: Duration) -> Self {
        let since_epoch = jiff::Timestamp::now().as_nanosecond();
        let identity = format!("{pod}_{:x}", since_epoch ^ (i128::from(std::process::id()) << 64));
        Self {
            leases: Api::namespaced(client, namespace),
            name: name.to_owned(),
            election: Election::new(identity.clone(), Times::of(term)),
            identity,
            born: Instant::now(),
        }
    }

    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Returns once this replica leads; `false` if it was told to stop before.
    pub async fn acquire(&mut self, stop: &CancellationToken) -> bool {
        let mut watch = pin!(watcher::watch_object(self.leases.clone(), &self.name));
        // A first look, so that a free Lease needs no waiting for a watch.
        self.read().await;
        loop {
            if self.election.leads(self.now()) {
                info!(identity = self.identity, lease = self.name, "leading");
                return true;
            }
            let until = match self.election.step(self.now()) {
                Step::Wait { until } => until,
                step => {
                    self.write(&step).await;
                    if self.election.leads(self.now()) {
                        continue;
                    }
                    self.now() + self.times().retry
                }
            };
            tokio::select! {
                () = stop.cancelled() => return false,
                () = sleep_until(self.born + until) => {}
                seen = watch.next() => match seen {
                    Some(Ok(lease)) => { let now = self.now(); self.election.saw(now, lease.as_ref().map(seen_of)); }
                    Some(Err(error)) => { warn!(%error, "failed to watch the lease"); sleep(self.times().retry).await; }
                    None => sleep(self.times().retry).await,
                },
            }
        }
    }

    /// Keeps the Lease until told to stop, then gives it up. Errors: it was lost; the caller must end at once.
    pub async fn keep(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        loop {
            let until = match self.election.step(self.now()) {
                Step::Lost => return Err(Error::Lost),
                Step::Wait { until } => until,
                step => {
                    let before = self.now();
                    self.write(&step).await;
                    match self.election.step(self.now()) {
                        Step::Wait { until } => until,
                        Step::Lost => return Err(Error::Lost),
                        Step::Create | Step::Write { .. } => before + self.times().retry,
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = sleep_until(self.born + until) => {}
            }
        }
    }

    /// Lets another replica begin at once. For the very end: nothing may act after it.
    pub async fn release(&mut self) {
        if let Step::Lost = self.election.step(self.now()) {
            return;
        }
        let Ok(Ok(Some(mut lease))) = timeout(self.times().write, self.leases.get_opt(&self.name)).await else {
            return;
        };
        let Some(spec) = lease.spec.as_mut().filter(|spec| spec.holder_identity.as_deref() == Some(&self.identity))
        else {
            return;
        };
        spec.holder_identity = None;
        if let Ok(Ok(_)) =
            timeout(self.times().write, self.leases.replace(&self.name, &PostParams::default(), &lease)).await
        {
            info!(lease = self.name, "leadership given up");
        }
    }

    async fn read(&mut self) {
        match timeout(self.times().write, self.leases.get_opt(&self.name)).await {
            Ok(Ok(lease)) => {
                let now = self.now();
                self.election.saw(now, lease.as_ref().map(seen_of));
            }
            Ok(Err(error)) => warn!(%error, lease = self.name, "failed to read the lease"),
            Err(_) => warn!(lease = self.name, "the API server did not answer in time"),
        }
    }

    /// Carries out one write; what it led to is noted.
    async fn write(&mut self, step: &Step) {
        let sent = self.now();
        let params = PostParams::default();
        let written = match step {
            Step::Create => {
                let lease = self.lease(None, 0);
                timeout(self.times().write, self.leases.create(&params, &lease)).await
            }
            Step::Write { version, transitions } => {
                let lease = self.lease(Some(version.clone()), *transitions);
                timeout(self.times().write, self.leases.replace(&self.name, &params, &lease)).await
            }
            Step::Wait { .. } | Step::Lost => return,
        };
        match written {
            Ok(Ok(lease)) => self.election.wrote(sent, seen_of(&lease)),
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => self.read().await,
            Ok(Err(error)) => warn!(%error, lease = self.name, "failed to write the lease"),
            Err(_) => warn!(lease = self.name, "the API server did not answer in time"),
        }
    }

    fn lease(&self, version: Option<String>, transitions: i32) -> Lease {
        let now = MicroTime(jiff::Timestamp::now());
        Lease {
            metadata: ObjectMeta { name: Some(self.name.clone()), resource_version: version, ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(self.times().term.as_secs()).ok(),
                lease_transitions: Some(transitions),
                // For people: replicas do not compare each other's clocks.
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        }
    }

    fn now(&self) -> Duration {
        self.born.elapsed()
    }

    fn times(&self) -> Times {
        self.election.times()
    }
}

fn seen_of(lease: &Lease) -> Seen {
    let spec = lease.spec.as_ref();
    Seen {
        holder: spec.and_then(|spec| spec.holder_identity.clone()).unwrap_or_default(),
        version: lease.resource_version().unwrap_or_default(),
        transitions: spec.and_then(|spec| spec.lease_transitions).unwrap_or(0),
    }
}
