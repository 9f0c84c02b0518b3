//! Lookups in datasets: batches of keys, sorted by the server that has them.

use std::{
    collections::BTreeMap,
    fs, io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use tokio::time::Instant;
use tracing::debug;
use types::Name;

use crate::{
    Answer, Limits, Metrics, Reason, Source,
    node::{Batch, Node, Told},
    topology::Topology,
};

/// How often a key may be sent on to another server in one lookup: once for a slot that moved, once more for one that
/// moved while we asked where it is.
const MOST_ROUNDS: u32 = 3;
/// A topology is asked for again at most so often, whatever goes wrong.
const TOPOLOGY_AGE: Duration = Duration::from_millis(500);

/// What holds for all datasets unless a source says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// Time for one batch of keys, connecting included.
    pub deadline: Duration,
    /// Keys in one batch, at most.
    pub batch: usize,
    /// A larger value counts as unavailable, in bytes: it would be stored with each finding.
    pub max_value: usize,
    pub breaker: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            // A thousand times what an answer takes. Long, because a worker's machine is busy on all cores, and short
            // beside the scan of a segment.
            deadline: Duration::from_secs(2),
            // 512 keys of 64 bytes and values of 200 are 132 KiB: one round trip, little memory, no long wait for others.
            batch: 512,
            max_value: 64 << 10,
            breaker: Limits { failures: 3, cool_down: Duration::from_secs(10) },
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the dataset {name} is named twice")]
    Twice { name: Name },
    #[error("failed to read the password of dataset {name} from {path:?}")]
    Password { name: Name, path: PathBuf, source: io::Error },
}

/// All datasets that this process knows how to ask.
#[derive(Default)]
pub struct Datasets {
    by_name: BTreeMap<Name, Dataset>,
    metrics: Metrics,
}

impl std::fmt::Debug for Datasets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

impl Datasets {
    /// Connects to nobody yet: a server that is away must not keep a worker from starting.
    pub fn new(sources: Vec<Source>, options: Options) -> Result<Self, Error> {
        let metrics = Metrics::default();
        let mut by_name = BTreeMap::new();
        for source in sources {
            let name = source.name.clone();
            let dataset = Dataset::new(source, options, metrics.clone())?;
            if by_name.insert(name.clone(), dataset).is_some() {
                return Err(Error::Twice { name });
            }
        }
        Ok(Self { by_name, metrics })
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.by_name.keys()
    }

    /// Looks keys up in one dataset. One answer per key, in their order.
    ///
    /// Takes a deadline per batch that a server answers, and one more for the first that it does not.
    pub async fn lookup<K: AsRef<[u8]>>(&self, name: &Name, keys: &[K]) -> Vec<Answer> {
        if keys.is_empty() {
            return Vec::new();
        }
        let begun = Instant::now();
        let answers = match self.by_name.get(name) {
            Some(dataset) => Box::pin(dataset.lookup(keys)).await,
            None => vec![Answer::Unavailable(Reason::NotConfigured); keys.len()],
        };
        self.metrics.looked_up(name, &answers, begun.elapsed());
        answers
    }
}

/// What the nodes of one dataset share.
pub(crate) struct Settings {
    pub(crate) name: Name,
    pub(crate) database: u32,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) deadline: Duration,
    pub(crate) breaker: Limits,
    pub(crate) metrics: Metrics,
}

struct Dataset {
    settings: Arc<Settings>,
    prefix: String,
    batch: usize,
    max_value: usize,
    cluster: bool,
    /// As the user named them.
    seeds: Vec<Arc<str>>,
    nodes: Mutex<BTreeMap<Arc<str>, Arc<Node>>>,
    topology: tokio::sync::Mutex<Option<Known>>,
    /// Something happened that another topology would explain.
    suspect: AtomicBool,
}

struct Known {
    topology: Arc<Topology>,
    at: Instant,
}

/// Some keys of one server.
struct Share<'k> {
    server: Arc<str>,
    /// Indexes into the lookup's keys, in the order of `groups`.
    keys: Vec<usize>,
    groups: Vec<Vec<&'k [u8]>>,
}

impl Dataset {
    fn new(source: Source, options: Options, metrics: Metrics) -> Result<Self, Error> {
        let Source { name, servers, database, prefix, cluster, deadline, user, password_file } = source;
        let Options { deadline: usual, batch, max_value, breaker } = options;
        let password = match password_file {
            None => None,
            Some(path) => match fs::read_to_string(&path) {
                Ok(text) => Some(text.trim_end_matches(['\n', '\r']).to_owned()),
                Err(source) => return Err(Error::Password { name, path, source }),
            },
        };
        let deadline = deadline.unwrap_or(usual);
        let settings = Settings { name, database, user, password, deadline, breaker, metrics };
        Ok(Self {
            settings: Arc::new(settings),
            prefix,
            batch: batch.max(1),
            max_value,
            cluster,
            seeds: servers.into_iter().map(Into::into).collect(),
            nodes: Mutex::default(),
            topology: tokio::sync::Mutex::default(),
            suspect: AtomicBool::new(false),
        })
    }

    async fn lookup<K: AsRef<[u8]>>(&self, keys: &[K]) -> Vec<Answer> {
        let keys: Vec<Vec<u8>> = keys.iter().map(|key| [self.prefix.as_bytes(), key.as_ref()].concat()).collect();
        let mut answers: Vec<Option<Answer>> = vec![None; keys.len()];
        let mut waiting: Vec<usize> = (0..keys.len()).collect();
        let mut used: Option<Arc<Topology>> = None;
        for _ in 0..MOST_ROUNDS {
            let topology = match self.topology(used.as_ref()).await {
                Ok(topology) => topology,
                Err(reason) => {
                    waiting.iter().for_each(|key| answers[*key] = Some(Answer::Unavailable(reason.clone())));
                    break;
                }
            };
            let (shares, ownerless) = self.share(&topology, &keys, &waiting);
            for (key, slot) in &ownerless {
                self.suspect.store(true, Ordering::Relaxed);
                answers[*key] = Some(Answer::Unavailable(Reason::NotServed { slot: *slot }));
            }
            let told = join_all(shares.into_iter().map(|shares| self.ask_server(shares))).await;
            waiting.clear();
            for (key, answer) in told.into_iter().flatten() {
                match answer {
                    Some(answer) => answers[key] = Some(answer),
                    None => {
                        answers[key] =
                            Some(Answer::Unavailable(Reason::NotServed { slot: resp::hash_slot(&keys[key]) }));
                        waiting.push(key);
                    }
                }
            }
            if waiting.is_empty() {
                break;
            }
            used = Some(topology);
        }
        // Every key was in the first round.
        answers.into_iter().map(|answer| answer.unwrap_or(Answer::Unavailable(Reason::NotConfigured))).collect()
    }

    /// Keys by server and batch, and those whose slot has no server, with the slot.
    fn share<'k>(
        &self,
        topology: &Topology,
        keys: &'k [Vec<u8>],
        wanted: &[usize],
    ) -> (Vec<Vec<Share<'k>>>, Vec<(usize, u16)>) {
        let mut ownerless = Vec::new();
        let mut by_server: BTreeMap<Arc<str>, BTreeMap<u16, Vec<usize>>> = BTreeMap::new();
        for key in wanted.iter().copied() {
            // A server alone takes keys of any slots in one command.
            let slot = if self.cluster { resp::hash_slot(&keys[key]) } else { 0 };
            match topology.owner(slot) {
                Some(server) => by_server.entry(Arc::clone(server)).or_default().entry(slot).or_default().push(key),
                None => ownerless.push((key, slot)),
            }
        }
        let shares = by_server.into_iter().map(|(server, by_slot)| self.batches(&server, keys, by_slot)).collect();
        (shares, ownerless)
    }

    fn batches<'k>(
        &self,
        server: &Arc<str>,
        keys: &'k [Vec<u8>],
        by_slot: BTreeMap<u16, Vec<usize>>,
    ) -> Vec<Share<'k>> {
        let mut shares: Vec<Share<'k>> = Vec::new();
        for slot in by_slot.into_values() {
            for group in slot.chunks(self.batch) {
                if shares.last().is_none_or(|share| share.keys.len() + group.len() > self.batch) {
                    shares.push(Share { server: Arc::clone(server), keys: Vec::new(), groups: Vec::new() });
                }
                if let Some(share) = shares.last_mut() {
                    share.keys.extend(group);
                    share.groups.push(group.iter().map(|key| keys[*key].as_slice()).collect());
                }
            }
        }
        shares
    }

    /// One server's batches, one after the other. After a failure the rest is not tried: one deadline is enough to wait.
    async fn ask_server(&self, shares: Vec<Share<'_>>) -> Vec<(usize, Option<Answer>)> {
        let mut answers = Vec::new();
        let mut failure: Option<Reason> = None;
        for Share { server, keys, groups } in shares {
            if failure.is_none() {
                match self.node(&server) {
                    Ok(node) => match node.ask(&groups).await {
                        Ok(Batch { version, told }) => {
                            let read = keys.iter().zip(told).map(|(key, told)| (*key, self.answer(told, &version)));
                            answers.extend(read);
                            continue;
                        }
                        Err(reason) => failure = Some(reason),
                    },
                    Err(reason) => failure = Some(reason),
                }
                // In a cluster somebody else may have the slots soon.
                self.suspect.store(true, Ordering::Relaxed);
            }
            if let Some(reason) = &failure {
                debug!(dataset = %self.settings.name, %reason, keys = keys.len(), "keys have no answer");
                answers.extend(keys.into_iter().map(|key| (key, Some(Answer::Unavailable(reason.clone())))));
            }
        }
        answers
    }

    fn answer(&self, told: Told, version: &crate::Version) -> Option<Answer> {
        Some(match told {
            Told::Found(value) if value.len() > self.max_value => {
                Answer::Unavailable(Reason::TooLarge { bytes: value.len() })
            }
            Told::Found(value) => Answer::Found { value, version: version.clone() },
            Told::Missing => Answer::Missing { version: version.clone() },
            Told::Refused(reason) => Answer::Unavailable(reason),
            Told::Moved => return None,
        })
    }

    fn node(&self, server: &Arc<str>) -> Result<Arc<Node>, Reason> {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = nodes.get(server) {
            return Ok(Arc::clone(node));
        }
        let node = Node::new(Arc::clone(&self.settings), Arc::clone(server))
            .map_err(|error| Reason::Disconnected { server: Arc::clone(server), what: error.to_string() })?;
        let node = Arc::new(node);
        nodes.insert(Arc::clone(server), Arc::clone(&node));
        Ok(node)
    }

    /// Who has what. `used`: one that has just been wrong.
    ///
    /// Errors: why the last server that was asked does not say.
    async fn topology(&self, used: Option<&Arc<Topology>>) -> Result<Arc<Topology>, Reason> {
        if !self.cluster {
            let seed = self.seeds.first().cloned().unwrap_or_default();
            return Ok(Arc::new(Topology::single(seed)));
        }
        let mut known = self.topology.lock().await;
        if let Some(Known { topology, at }) = &*known {
            let wrong = used.is_some_and(|used| Arc::ptr_eq(used, topology));
            let suspect = self.suspect.load(Ordering::Relaxed) && at.elapsed() >= TOPOLOGY_AGE;
            if !wrong && !suspect {
                return Ok(Arc::clone(topology));
            }
        }
        self.suspect.store(false, Ordering::Relaxed);
        let old = known.as_ref().map(|known| Arc::clone(&known.topology));
        let topology = match (self.ask_topology(old.as_deref()).await, old) {
            (Ok(topology), _) => Arc::new(topology),
            // Better an old one: most of it may still hold.
            (Err(_), Some(old)) => old,
            (Err(reason), None) => return Err(reason),
        };
        *known = Some(Known { topology: Arc::clone(&topology), at: Instant::now() });
        Ok(topology)
    }

    async fn ask_topology(&self, known: Option<&Topology>) -> Result<Topology, Reason> {
        let mut last = Reason::NotServed { slot: 0 };
        let mut servers: Vec<&Arc<str>> = self.seeds.iter().collect();
        servers.extend(known.into_iter().flat_map(Topology::servers));
        servers.dedup();
        for server in servers {
            let node = self.node(server)?;
            match node.slots().await {
                Ok(answer) => match Topology::parse(&answer, server) {
                    Some(topology) => return Ok(topology),
                    None => {
                        let what = "an answer to CLUSTER SLOTS that cannot be read".to_owned();
                        last = Reason::Refused { server: Arc::clone(server), what };
                    }
                },
                Err(reason) => last = reason,
            }
        }
        Err(last)
    }
}
