//! What all threads of a server share.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, SystemTime},
};

use resp::Limits;

use crate::{
    catalog::Catalog, clients::Clients, cluster::Cluster, command::CoarseClock, cursors::Cursors, events::Events,
    metrics::Metrics,
};

/// What is told to clients that ask for Redis's version. Some choose commands by it: from 8.0 on one client asks for
/// CLUSTER SHARDS where others still ask for SLOTS, and below 7.0 some do without what is here.
pub const REDIS_VERSION: &str = "7.4.2";

/// Requests beyond this many arguments are refused as unreadable. Redis takes more, and reserves no memory for it either; an MGET
/// of a million keys is beyond any use.
const MOST_ARGUMENTS: usize = 1024 * 1024;

/// What commands and connections go by, out of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    pub password: Option<Password>,
    pub mutation_error: MutationError,
    /// Databases that can be selected.
    pub databases: usize,
    pub threads: usize,
    pub max_connections: usize,
    pub idle_timeout: Option<Duration>,
    /// How long a request may take to arrive whole, a reply to be taken, and a password to be said.
    pub stall_timeout: Duration,
    /// Bytes that may wait to be sent to one connection.
    pub output_limit: usize,
    /// Bytes of one argument.
    pub max_bulk: usize,
    /// Bytes of one request.
    pub query_limit: usize,
    /// Bytes that all connections together may hold.
    pub client_memory: usize,
}

impl Settings {
    pub(crate) fn limits(&self, authenticated: bool) -> Limits {
        Limits { authenticated, arguments: MOST_ARGUMENTS, bulk: self.max_bulk }
    }
}

/// Never printed.
#[derive(Clone)]
pub struct Password(Vec<u8>);

impl Password {
    pub fn new(password: Vec<u8>) -> Self {
        Self(password)
    }

    /// Takes as long for a wrong guess as for a right one of its length.
    pub(crate) fn is(&self, guess: &[u8]) -> bool {
        let differences = self.0.iter().zip(guess).fold(0, |all, (a, b)| all | (a ^ b));
        self.0.len() == guess.len() && differences == 0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Password(..)")
    }
}

/// What who tries to write is told. Some clients take READONLY for a sign that roles have changed, and try again elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum MutationError {
    /// READONLY You can't write against a read only replica.
    #[default]
    Readonly,
    /// NOPERM, which no client repeats
    Noperm,
}

impl MutationError {
    pub(crate) fn text(self, command: &str) -> String {
        match self {
            Self::Readonly => "READONLY You can't write against a read only replica.".to_owned(),
            Self::Noperm => format!("NOPERM this user has no permissions to run the '{command}' command"),
        }
    }
}

/// Tells the state of every dataset as JSON.
pub type DatasetStates = Box<dyn Fn() -> serde_json::Value + Send + Sync>;

pub struct Shared {
    pub settings: Settings,
    pub catalog: Arc<Catalog>,
    pub cluster: Arc<Cluster>,
    pub clients: Clients,
    pub cursors: Cursors,
    pub metrics: Metrics,
    pub events: Events,
    pub clock: CoarseClock,
    pub datasets: DatasetStates,
    pub run_id: String,
    pub started_at: SystemTime,
}

impl Shared {
    pub fn new(settings: Settings, catalog: Arc<Catalog>, cluster: Arc<Cluster>, datasets: DatasetStates) -> Self {
        Self {
            settings,
            catalog,
            cluster,
            clients: Clients::default(),
            cursors: Cursors::default(),
            metrics: Metrics::default(),
            events: Events::default(),
            clock: CoarseClock::default(),
            datasets,
            run_id: random_id(),
            started_at: SystemTime::now(),
        }
    }
}

/// 40 hex digits, as Redis names nodes and runs.
pub(crate) fn random_id() -> String {
    let random = || RandomState::new().hash_one(SystemTime::now());
    let mut id = format!("{:016x}{:016x}{:016x}", random(), random(), random());
    id.truncate(40);
    id
}
