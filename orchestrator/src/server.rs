//! The process: opens the disk, holds the port, runs raft, driver and services, and drains them in order.

use std::{
    collections::BTreeMap,
    fs::{File, TryLockError},
    future::Future,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use openraft::{BasicNode, async_runtime::WatchReceiver};
use protocol::{
    MAX_MESSAGE_BYTES,
    v1::{
        cluster_server::ClusterServer, raft_server::RaftServer, scan_server::ScanServer, worker_server::WorkerServer,
    },
};
use store::Store;
use tokio::{
    net::TcpListener,
    sync::Mutex,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::server::TcpIncoming;

use crate::{
    backup,
    config::{Config, Start},
    drive::{self, Driver},
    grpc, http,
    identity::{self, Origin},
    join,
    metrics::Metrics,
    node::Node,
    raft::{self, Raft, log_store::LogStore, machine::Machine, network::Network, snapshot::SnapshotFolder},
    readiness::Pulse,
};

const HOUSEKEEPING: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to prepare the directory {dir}")]
    Directory { dir: PathBuf, source: io::Error },
    #[error("another orchestrator runs in {dir}")]
    Locked { dir: PathBuf },
    #[error("failed to listen on {address}: is the port taken?")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("failed to open the object storage {url}")]
    Storage { url: String, source: store::Error },
    #[error(transparent)]
    Join(#[from] join::Error),
    #[error("failed to open the log in {dir}")]
    Log { dir: PathBuf, source: io::Error },
    #[error("failed to open the snapshots in {dir}")]
    Snapshots { dir: PathBuf, source: io::Error },
    #[error("raft cannot run with this configuration")]
    RaftConfig { source: openraft::ConfigError },
    /// Final: the process ends, and what starts it anew finds everything acknowledged on disk.
    #[error("raft has stopped: {what}")]
    Raft { what: String },
    #[error("failed to found the cluster: {what}")]
    Bootstrap { what: String },
    #[error("the service on {address} has stopped")]
    Serve { address: SocketAddr, source: tonic::transport::Error },
    #[error("health and metrics are not answered any more")]
    Http { source: io::Error },
    #[error("a background task ended: {what}")]
    Task { what: String },
}

/// A bound and running member.
pub struct Server {
    node: Arc<Node>,
    address: SocketAddr,
    tasks: JoinSet<Result<(), Error>>,
    /// Held while the process lives: two processes on one log would be the end of it.
    _lock: File,
}

impl Server {
    /// Opens disks and ports, finds or makes the node's identity, and starts every task.
    pub async fn bind(config: Config) -> Result<Self, Error> {
        let lock = lock(&config)?;
        let listen = |source| Error::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let mut tasks = JoinSet::new();
        let stop = CancellationToken::new();
        let health = http::Health::default();
        if let Some(address) = config.http_listen {
            let serving = http::serve(http::bind(address).await?, health.clone(), stop.clone());
            tasks.spawn(async move { serving.await.map_err(|source| Error::Http { source }) });
        }
        let store = Store::open(&config.storage_url)
            .map_err(|source| Error::Storage { url: config.storage_url.clone(), source })?;
        let (listener, waiting) = twice(listener).map_err(listen)?;
        let identity = join::identity(&config, waiting).await?;

        let (log, machine) = open_disk(&config)?;
        let view = machine.view();
        let network = Network { cluster_id: identity.cluster_id.clone(), own_id: identity.node_id };
        let raft_config = raft::config(&identity.cluster_id, config.keep_log_entries)
            .map_err(|source| Error::RaftConfig { source })?;
        let raft = Raft::new(identity.node_id, raft_config, network, log.clone(), machine)
            .await
            .map_err(|fatal| Error::Raft { what: fatal.to_string() })?;

        let drive_config = drive::Config {
            session_ttl: config.session_ttl,
            heartbeat: config.session_ttl / 5,
            storage_url: config.storage_url.clone(),
        };
        let metrics = Arc::new(Metrics::default());
        let (driver, drive) = Driver::new(raft.clone(), view.clone(), drive_config, Arc::clone(&metrics));
        let tracker = TaskTracker::new();
        let node = Arc::new(Node {
            identity,
            raft,
            view,
            log,
            drive,
            store,
            metrics,
            backups: backup::Desk::new(config.backup.as_ref().map(|schedule| schedule.url.clone())),
            advertise: config.advertise.clone(),
            pulse: Pulse::new(),
            was_member: AtomicBool::new(false),
            membership: Mutex::default(),
            stop: stop.clone(),
            tasks: tracker,
        });

        health.begin(&node);
        tasks.spawn(serve(Arc::clone(&node), listener, address));
        let driver_stop = stop.clone();
        tasks.spawn(async move {
            driver.run(driver_stop).await;
            Ok(())
        });
        tasks.spawn(watch_raft(Arc::clone(&node)));
        tasks.spawn(keep_house(Arc::clone(&node), config.clone()));
        if let Some(schedule) = config.backup.clone() {
            let node = Arc::clone(&node);
            tasks.spawn(async move {
                backup::keep(node, schedule).await;
                Ok(())
            });
        }
        if !node.is_initialized().await? {
            node.enter_cluster(&config, &mut tasks).await?;
        }
        tracing::info!(node_id = node.identity.node_id, %address, "orchestrator listening");
        Ok(Self { node, address, tasks, _lock: lock })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn node_id(&self) -> u64 {
        self.node.identity.node_id
    }

    /// Runs until `shutdown`. Err: a task ended on its own.
    pub async fn run_until(&mut self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => return Ok(()),
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(Ok(())) => {} // joining the cluster is the one task that may end well
                    Ok(Err(error)) => return Err(error),
                    Err(error) => return Err(Error::Task { what: error.to_string() }),
                },
            }
        }
    }

    /// Hands leadership over, ends every stream, stops raft.
    pub async fn drain(mut self, deadline: Duration) -> Result<(), Error> {
        let started = Instant::now();
        if self.node.raft.is_leader() {
            match self.node.hand_over(None, deadline / 2).await {
                Ok(to) => tracing::info!(to, "leadership handed over"),
                Err(error) => tracing::warn!(error, "leaving without handing leadership over"),
            }
        }
        self.node.stop.cancel();
        self.node.tasks.close();
        let rest = deadline.saturating_sub(started.elapsed()).max(Duration::from_secs(1));
        let all = async {
            self.node.tasks.wait().await;
            while self.tasks.join_next().await.is_some() {}
        };
        if timeout(rest, all).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
        self.node.raft.shutdown().await.map_err(|error| Error::Raft { what: error.to_string() })
    }
}

impl Node {
    async fn is_initialized(&self) -> Result<bool, Error> {
        self.raft.is_initialized().await.map_err(|fatal| Error::Raft { what: fatal.to_string() })
    }

    /// For a node that is in no cluster yet: founds one, asks to be let in, or waits until it is. After a crash between
    /// taking an identity and this, the next start goes on from here.
    async fn enter_cluster(&self, config: &Config, tasks: &mut JoinSet<Result<(), Error>>) -> Result<(), Error> {
        match (&config.start, self.identity.origin) {
            (Start::Bootstrap, Origin::Unknown) | (_, Origin::Founded) => {
                let members = BTreeMap::from([(self.identity.node_id, BasicNode::new(&config.advertise))]);
                let founded = self.raft.initialize(members).await;
                founded.map_err(|error| Error::Bootstrap { what: error.to_string() })
            }
            (Start::Join(members), _) => {
                let (identity, stop) = (self.identity.clone(), self.stop.clone());
                let (members, address) = (members.clone(), config.advertise.clone());
                tasks.spawn(async move {
                    join::become_member(identity, members, address, stop).await;
                    Ok(())
                });
                Ok(())
            }
            // Whoever told it to join adds it.
            (Start::AwaitRole | Start::Rejoin | Start::Bootstrap | Start::Restore(_), Origin::Joined) => Ok(()),
            (_, Origin::Unknown | Origin::Restored) => Err(join::Error::NoCluster { dir: config.dir.clone() }.into()),
        }
    }
}

/// One socket for two servers, one after the other: what connects in between waits for the second.
fn twice(listener: TcpListener) -> io::Result<(TcpListener, TcpListener)> {
    let listener = listener.into_std()?;
    let other = listener.try_clone()?;
    Ok((TcpListener::from_std(listener)?, TcpListener::from_std(other)?))
}

fn lock(config: &Config) -> Result<File, Error> {
    let directory = |source| Error::Directory { dir: config.dir.clone(), source };
    std::fs::create_dir_all(&config.dir).map_err(directory)?;
    let lock = File::create(config.dir.join("lock")).map_err(directory)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(Error::Locked { dir: config.dir.clone() }),
        Err(TryLockError::Error(source)) => Err(directory(source)),
    }
}

fn open_disk(config: &Config) -> Result<(LogStore, Machine), Error> {
    let dir = identity::snapshot_dir(&config.dir);
    let snapshots = SnapshotFolder::open(dir.clone()).and_then(Machine::open);
    let machine = snapshots.map_err(|source| Error::Snapshots { dir, source })?;
    let dir = identity::log_dir(&config.dir);
    let log = LogStore::open(&dir).map_err(|source| Error::Log { dir, source })?;
    Ok((log, machine))
}

async fn serve(node: Arc<Node>, listener: TcpListener, address: SocketAddr) -> Result<(), Error> {
    macro_rules! service {
        ($server:ident, $module:ident) => {
            $server::new(grpc::$module::Service(Arc::clone(&node)))
                .max_decoding_message_size(MAX_MESSAGE_BYTES)
                .max_encoding_message_size(MAX_MESSAGE_BYTES)
        };
    }
    let router = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(5)))
        .trace_fn(|request| call_span(request.uri().path()))
        .add_service(service!(RaftServer, raft))
        .add_service(service!(ClusterServer, cluster))
        .add_service(service!(ScanServer, scan))
        .add_service(service!(WorkerServer, worker));
    // The builder's own setting is for listeners of its own. Without it an answer's trailers wait 40 ms for an acknowledgement.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let served = router.serve_with_incoming_shutdown(incoming, node.stop.clone().cancelled_owned()).await;
    served.map_err(|source| Error::Serve { address, source })
}

/// One span for each call of a person or a program. Members talk many times a second, and a worker's stream lasts for days.
fn call_span(path: &str) -> tracing::Span {
    let name = path.strip_prefix("/dragnet.v1.").unwrap_or(path);
    if name.starts_with("Raft/") || name.starts_with("Worker/") {
        return tracing::Span::none();
    }
    tracing::info_span!("call", method = name)
}

/// Ends the process when raft has met an error it cannot go on from, a full disk for one.
async fn watch_raft(node: Arc<Node>) -> Result<(), Error> {
    let mut metrics = node.raft.metrics();
    loop {
        if let Err(fatal) = &metrics.borrow_watched().running_state {
            return Err(Error::Raft { what: fatal.to_string() });
        }
        tokio::select! {
            () = node.stop.cancelled() => return Ok(()),
            changed = metrics.changed() => {
                if changed.is_err() {
                    return if node.stop.is_cancelled() { Ok(()) } else { Err(Error::Raft { what: "its core is gone".to_owned() }) };
                }
            }
        }
    }
}

/// Triggers snapshots by log bytes and by time: a count of entries says little about either.
async fn keep_house(node: Arc<Node>, config: Config) -> Result<(), Error> {
    let mut tick = interval(HOUSEKEEPING);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut bytes_at_last = node.log.appended_bytes();
    let mut last = Instant::now();
    let mut index_at_last = 0;
    loop {
        tokio::select! {
            () = node.stop.cancelled() => return Ok(()),
            _ = tick.tick() => {}
        }
        let (bytes, (index, _)) = (node.log.appended_bytes(), node.view.freeze());
        let grown = bytes.saturating_sub(bytes_at_last) >= config.snapshot_log_bytes;
        let old = last.elapsed() >= config.snapshot_interval && index > index_at_last;
        if grown || old {
            node.raft.trigger().snapshot().await.map_err(|fatal| Error::Raft { what: fatal.to_string() })?;
            (bytes_at_last, last, index_at_last) = (bytes, Instant::now(), index);
        }
    }
}
