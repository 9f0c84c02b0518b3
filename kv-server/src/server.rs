//! The process: opens datasets, holds the ports, starts event loops, read pool, administration and manager, and ends them in order.

mod housekeeping;

use std::{
    future::Future,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use prometheus_client::registry::Registry;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{self, Admin, Token},
    catalog::{self, Catalog, Memory, Source},
    cluster::{self, Cluster},
    config::{Config, ManageConfig, ManagerPlace},
    manage::{self, Desks, Lock, Manager},
    metrics,
    net::{Acceptor, AcceptorHandle, EventLoop, Mailbox, Message, Pool},
    shared::{Settings, Shared},
};

/// Redis's default. Some clients select one without looking how many there are.
const LEAST_DATABASES: usize = 16;
/// Redis's figure: the largest value there can be, and so the largest argument that makes sense.
const MAX_BULK: usize = 512 << 20;
/// One request. An MGET of a hundred thousand keys takes 4 MB; what writes send is refused anyway.
const QUERY_LIMIT: usize = 64 << 20;
/// The share of the memory that connections may hold in buffers.
const CLIENT_PERCENT: u64 = 10;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Datasets(#[from] catalog::Error),
    #[error("failed to open the directory {path}")]
    Directory { path: PathBuf, source: Box<catalog::OpenError> },
    #[error("failed to use the data directory {path}")]
    DataDir { path: PathBuf, source: manage::DiskError },
    #[error("failed to take the topology")]
    Topology(#[source] cluster::Error),
    #[error("failed to listen on {address}: is the port taken?")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("failed to start administration")]
    Admin(#[source] admin::Error),
    #[error("failed to start the manager of versions")]
    Manager(#[source] manage::Error),
    #[error("failed to write {path}")]
    PortFile { path: PathBuf, source: io::Error },
    #[error("failed to start a thread")]
    Start(#[source] io::Error),
    #[error("the thread {name} ended by itself")]
    Thread { name: String },
    #[error("a background task ended: {what}")]
    Task { what: String },
}

/// File descriptors that are no clients': versions open, downloads, the other port.
const OWN_DESCRIPTORS: u64 = 256;

/// How many this process may have open, after asking for as many as it can get; `None`: as many as it likes.
fn descriptors() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    if raised { maximum } else { current }
}

/// As many connections as were asked for, or as there are descriptors: a flood must leave some for what the server itself needs.
fn connections_within(wanted: usize, descriptors: Option<u64>) -> usize {
    let Some(descriptors) = descriptors else { return wanted };
    let room = usize::try_from(descriptors.saturating_sub(OWN_DESCRIPTORS).max(descriptors / 2)).unwrap_or(usize::MAX);
    if room < wanted {
        tracing::warn!(
            wanted,
            room,
            descriptors,
            "fewer connections than asked for: raise the limit of open files (ulimit -n)"
        );
    }
    wanted.min(room)
}

/// A bound and running server.
pub struct Server {
    shared: Arc<Shared>,
    kv: SocketAddr,
    admin: SocketAddr,
    acceptor: AcceptorHandle,
    loops: Vec<Arc<Mailbox>>,
    pool: Arc<Pool>,
    threads: Vec<JoinHandle<()>>,
    /// Names of threads that ended.
    ended: mpsc::UnboundedReceiver<String>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
    _lock: Option<Lock>,
}

impl Server {
    /// Opens what is on this machine, holds both ports, and starts every thread and task.
    pub async fn bind(config: Config) -> Result<Self, Error> {
        let Config {
            datasets,
            data_dir,
            listen,
            admin_listen,
            port_file,
            threads,
            read_threads,
            memory,
            max_connections,
            idle_timeout,
            stall_timeout,
            output_limit,
            password,
            mutation_error,
            cluster_topology,
            cluster_node,
            announce,
            shards,
            manager,
            versions,
            admin_token_file,
            drain: _,
        } = config;
        let databases = datasets.iter().map(|spec| spec.db as usize + 1).max().unwrap_or(0).max(LEAST_DATABASES);
        let client_memory = usize::try_from(memory / 100 * CLIENT_PERCENT).unwrap_or(usize::MAX);
        let catalog = Arc::new(Catalog::new(datasets, shards.clone(), Memory::new(memory))?);
        let cluster = Arc::new(Cluster::new(cluster_node, announce));
        if let Some(path) = &cluster_topology {
            cluster.read(path).map_err(Error::Topology)?;
        }
        open_directories(&catalog).await?;

        let data_dir = data_dir.unwrap_or_default();
        let unusable = |source| Error::DataDir { path: data_dir.clone(), source };
        let has_versions = catalog.specs().iter().any(|spec| matches!(spec.source, Source::Repository(_)));
        let lock = has_versions.then(|| Lock::of_server(&data_dir)).transpose().map_err(unusable)?;
        let desks = Arc::new(Desks::new(catalog.clone(), &data_dir).map_err(unusable)?);
        let token = admin_token_file.as_deref().map(Token::read).transpose().map_err(Error::Admin)?;

        let max_connections = connections_within(max_connections, descriptors());
        let settings = Settings {
            password,
            mutation_error,
            databases,
            threads,
            max_connections,
            idle_timeout,
            stall_timeout,
            output_limit,
            max_bulk: MAX_BULK,
            query_limit: QUERY_LIMIT,
            client_memory,
        };
        let states = desks.clone();
        let states = move || serde_json::to_value(states.statuses()).unwrap_or_default();
        let shared = Arc::new(Shared::new(settings, catalog.clone(), cluster.clone(), Box::new(states)));

        let failed = |source| Error::Listen { address: listen, source };
        let acceptor = Acceptor::bind(listen).map_err(failed)?;
        let admin_server = admin::Server::bind(admin_listen).await.map_err(Error::Admin)?;
        let (kv, admin_address) = (acceptor.address(), admin_server.address());

        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        if has_versions {
            match manager {
                ManagerPlace::Inside => {
                    let manager = Manager::inside(&desks, &data_dir, versions).map_err(Error::Manager)?;
                    tasks.spawn(manager.run(stop.clone()));
                }
                ManagerPlace::Beside => manage::start_alone(&desks, &shards, versions.policy).await,
            }
        }
        let (name_ended, ended) = mpsc::unbounded_channel();
        let threads = Threads::start(&shared, acceptor, read_threads, &name_ended).map_err(Error::Start)?;
        let wake = threads.loops.clone();
        catalog.on_change(move || wake.iter().for_each(|it| drop(it.wake()))); // fails only when the loop is gone

        let admin = admin(&shared, desks, token);
        tasks.spawn(admin::serve(admin_server, admin, stop.clone()));
        tasks.spawn(housekeeping::watch_residence(catalog, stop.clone()));
        if let Some(path) = cluster_topology {
            tasks.spawn(housekeeping::watch_topology(cluster, path, stop.clone()));
        }
        if let Some(path) = port_file {
            let written = write_port_file(&path, kv, admin_address);
            written.map_err(|source| Error::PortFile { path, source })?;
        }
        let Threads { acceptor, loops, pool, handles } = threads;
        Ok(Self {
            shared,
            kv,
            admin: admin_address,
            acceptor,
            loops,
            pool,
            threads: handles,
            ended,
            stop,
            tasks,
            _lock: lock,
        })
    }

    pub fn kv_address(&self) -> SocketAddr {
        self.kv
    }

    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.shared.catalog
    }

    /// Serves until `shutdown` resolves. Errors: a thread or a task ended, which leaves connections that nobody answers.
    pub async fn run_until(&mut self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        tokio::select! {
            () = shutdown => Ok(()),
            Some(name) = self.ended.recv() => Err(Error::Thread { name }),
            Some(ended) = self.tasks.join_next() => {
                let what = ended.err().map_or_else(|| "it returned".to_owned(), |error| error.to_string());
                Err(Error::Task { what })
            }
        }
    }

    /// Takes no more connections, answers what was asked, and ends every thread; connections still busy after `within` are cut.
    pub async fn drain(mut self, within: Duration) -> Result<(), Error> {
        self.acceptor.stop();
        let deadline = Instant::now() + within;
        for mailbox in &self.loops {
            let _ = mailbox.send(Message::Drain { deadline }); // fails only when the loop is gone
        }
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        let (threads, pool) = (std::mem::take(&mut self.threads), self.pool.clone());
        let joining = tokio::task::spawn_blocking(move || {
            for thread in threads {
                // Event loops come before the read pool's threads, whose last jobs they wait for.
                if thread.thread().name().is_some_and(|name| name.starts_with(READ_THREADS)) {
                    pool.stop();
                }
                let _ = thread.join(); // a panic was told by the panic hook
            }
        });
        let _ = joining.await;
        self.shared.events.stop();
        Ok(())
    }
}

const READ_THREADS: &str = "kv-read";

struct Threads {
    acceptor: AcceptorHandle,
    loops: Vec<Arc<Mailbox>>,
    pool: Arc<Pool>,
    handles: Vec<JoinHandle<()>>,
}

impl Threads {
    fn start(
        shared: &Arc<Shared>,
        acceptor: Acceptor,
        read_threads: usize,
        ended: &mpsc::UnboundedSender<String>,
    ) -> io::Result<Self> {
        let spawn = |name: String, work: Box<dyn FnOnce() + Send>| {
            let notice = EndNotice { name: name.clone(), ended: ended.clone() };
            std::thread::Builder::new().name(name).spawn(move || {
                let _notice = notice;
                work();
            })
        };
        let (pool, pool_work) = Pool::new(read_threads, shared);
        let mut handles = Vec::new();
        let mut loops = Vec::new();
        for number in 0..shared.settings.threads {
            let event_loop = EventLoop::new(shared.clone(), pool.clone())?;
            loops.push(event_loop.mailbox());
            let run = move || told("an event loop ended", event_loop.run());
            handles.push(spawn(format!("kv-loop-{number}"), Box::new(run))?);
        }
        let acceptor_handle = acceptor.handle();
        let (shared, stats, mailboxes) = (shared.clone(), shared.metrics.block(), loops.clone());
        let accept = move || told("the acceptor ended", acceptor.run(&shared, &stats, &mailboxes));
        handles.insert(0, spawn("kv-accept".to_owned(), Box::new(accept))?);
        for (number, work) in pool_work.into_iter().enumerate() {
            handles.push(spawn(format!("{READ_THREADS}-{number}"), Box::new(work))?);
        }
        Ok(Self { acceptor: acceptor_handle, loops, pool, handles })
    }
}

/// Tells of a thread's end also when it panics.
struct EndNotice {
    name: String,
    ended: mpsc::UnboundedSender<String>,
}

impl Drop for EndNotice {
    fn drop(&mut self) {
        let _ = self.ended.send(std::mem::take(&mut self.name)); // nobody listens any more when the server ends
    }
}

fn told(what: &str, ended: io::Result<()>) {
    if let Err(error) = ended {
        tracing::error!(%error, "{what}");
    }
}

/// Opens and serves the directories made elsewhere.
async fn open_directories(catalog: &Arc<Catalog>) -> Result<(), Error> {
    for spec in catalog.specs() {
        let Source::Directory(path) = &spec.source else { continue };
        let (name, folder, opener) = (spec.name.clone(), path.clone(), catalog.clone());
        let opening = tokio::task::spawn_blocking(move || opener.open(&name, &folder, None)).await;
        let opened = opening.map_err(|error| Error::Task { what: error.to_string() })?;
        let version = opened.map_err(|source| Error::Directory { path: path.clone(), source: Box::new(source) })?;
        let version = Arc::new(version);
        tracing::info!(dataset = spec.name, keys = version.keys(), bytes = version.bytes(), "opened a directory");
        catalog.switch(&spec.name, version.clone())?;
        housekeeping::warm(version);
    }
    Ok(())
}

fn admin(shared: &Arc<Shared>, desks: Arc<Desks>, token: Option<Token>) -> Admin {
    let mut registry = Registry::default();
    metrics::register(shared.clone(), &mut registry);
    manage::register(desks.clone(), &mut registry);
    let metrics = move || {
        let mut text = String::new();
        // Fails only if a collector does, and what it wrote so far is no exposition.
        prometheus_client::encoding::text::encode(&mut text, &registry).map_or_else(|_| String::new(), |()| text)
    };
    let cluster = shared.cluster.clone();
    let topology = move |json: &[u8]| cluster.apply(json).map_err(|error| error.to_string());
    Admin { desks, metrics: Box::new(metrics), ready: Box::new(|| Ok(())), topology: Box::new(topology), token }
}

/// Written whole or not at all: whoever waits for it reads it as soon as it is there.
fn write_port_file(path: &Path, kv: SocketAddr, admin: SocketAddr) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    let temporary = PathBuf::from(name);
    let mut file = std::fs::File::create(&temporary)?;
    write!(file, "kv {kv}\nadmin {admin}\n")?;
    std::fs::rename(&temporary, path)
}

/// `kv-server manage`: cares for the versions of a server beside it until `shutdown` resolves.
pub async fn manage(config: ManageConfig, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    let ManageConfig { server, datasets, data_dir, admin_token_file, versions } = config;
    let token = admin_token_file.as_deref().map(Token::read).transpose().map_err(Error::Admin)?;
    let manager = Manager::beside(&server, token, &datasets, &data_dir, versions).map_err(Error::Manager)?;
    let stop = CancellationToken::new();
    let mut running = std::pin::pin!(manager.run(stop.clone()));
    tokio::select! {
        () = shutdown => stop.cancel(),
        () = &mut running => return Err(Error::Task { what: "the manager returned".to_owned() }),
    }
    running.await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_descriptors_for_the_server_itself() {
        assert_eq!(connections_within(10_000, None), 10_000);
        assert_eq!(connections_within(10_000, Some(1 << 20)), 10_000);
        assert_eq!(connections_within(10_000, Some(1024)), 768);
        assert_eq!(connections_within(10_000, Some(100)), 50);
        assert_eq!(connections_within(10, Some(1024)), 10);
    }
}
