//! What the user wrote, and what the server runs with.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::SocketAddr,
    num::NonZeroUsize,
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use clap::{Parser, Subcommand};
use dataset::{MAX_SHARDS, SlotRange};
use types::Digest;
use url::Url;

use crate::{
    catalog::{DatasetSpec, Source, Wanted, memory_limit},
    manage::{self, VersionArgs},
    shared::{MutationError, Password},
    units::{parse_bytes, parse_duration},
};

/// As Redis Cluster has them.
const NODE_ID_DIGITS: usize = 40;

/// Serves datasets over the Redis protocol, read-only.
///
/// A dataset is built by `dragnet dataset build` and lives in object storage as immutable versions. The server fetches the one that
/// is announced, verifies it, opens it beside the one that serves, and switches without a failed request. Any Redis client works.
#[derive(Debug, Parser)]
#[command(name = "kv-server", version = telemetry::build_info(), args_conflicts_with_subcommands = true)]
#[command(after_help = "Signals: SIGTERM and SIGINT finish what was asked and exit with 0.\n\
Exit codes: 0 stopped as asked, 1 failed while running, 64 wrong usage (a restart will not help).")]
pub struct Args {
    #[command(subcommand)]
    pub role: Option<Role>,

    /// A dataset in object storage: file:///folder or s3://bucket/prefix. Options: name (of its last part by default), db (0),
    /// prefix (of its keys)
    #[arg(long, env = "DRAGNET_DATASETS", value_name = "URL[,name=N][,db=N][,prefix=P]", value_delimiter = ' ')]
    pub dataset: Vec<String>,

    /// A RocksDB directory made elsewhere, served as it is
    #[arg(long, value_name = "PATH[,name=N][,db=N][,prefix=P]")]
    pub rocksdb: Vec<String>,

    /// Where versions are kept on this machine
    #[arg(long, env = "DRAGNET_KV_DATA_DIR", value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,

    /// Address for Redis clients
    #[arg(long, env = "DRAGNET_KV_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:6379")]
    pub listen: SocketAddr,

    /// Address for metrics, health and switching
    #[arg(long, env = "DRAGNET_KV_ADMIN_LISTEN", value_name = "IP:PORT", default_value = "127.0.0.1:9121")]
    pub admin_listen: SocketAddr,

    /// A file that is written once both ports are held: two lines, "kv IP:PORT" and "admin IP:PORT"
    #[arg(long, value_name = "FILE")]
    pub port_file: Option<PathBuf>,

    /// Event loops [default: one less than the CPU quota allows, at least one]
    #[arg(long, env = "DRAGNET_KV_THREADS", value_name = "N")]
    pub threads: Option<NonZeroUsize>,

    /// Threads for reads that may wait for the disk [default: 16]
    #[arg(long, value_name = "N")]
    pub read_threads: Option<NonZeroUsize>,

    /// Memory to count on, the page cache included [default: that of the control group or the machine]
    #[arg(long, env = "DRAGNET_KV_MEMORY", value_name = "BYTES", value_parser = parse_bytes)]
    pub memory: Option<u64>,

    /// Connections at a time [default: 10000]
    #[arg(long, value_name = "N")]
    pub max_connections: Option<NonZeroUsize>,

    /// Close connections that ask nothing for so long [default: never]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub idle_timeout: Option<Duration>,

    /// Close connections whose request does not arrive whole in this time, or who do not take their reply
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = parse_duration)]
    pub stall_timeout: Duration,

    /// What may wait to be sent to one connection. One value may be larger
    #[arg(long, value_name = "BYTES", default_value = "64MiB", value_parser = parse_bytes)]
    pub output_limit: u64,

    /// A file whose first line clients must say as their password
    #[arg(long, env = "DRAGNET_KV_PASSWORD_FILE", value_name = "FILE")]
    pub password_file: Option<PathBuf>,

    /// What who tries to write is told
    #[arg(long, value_name = "TEXT", default_value = "readonly")]
    pub mutation_error: MutationError,

    /// A JSON file that says which node answers for which hash slots; read again when it changes
    #[arg(long, value_name = "FILE", requires = "cluster_node")]
    pub cluster_topology: Option<PathBuf>,

    /// This node's id in the topology: 40 hex digits, or name:NAME for those that the SHA-256 of the name begins with
    #[arg(long, env = "DRAGNET_KV_CLUSTER_NODE", value_name = "ID")]
    pub cluster_node: Option<String>,

    /// What this node calls itself without a topology [default: the address a client reached it by]
    #[arg(long, value_name = "HOST:PORT")]
    pub announce: Option<String>,

    /// Shards to hold, such as 0,2-3; or part:I/N for the keys of the Ith of N equal parts, where N follows on N-1 with 0 again
    /// [default: all]
    #[arg(long, env = "DRAGNET_KV_SHARDS", value_name = "LIST")]
    pub shards: Option<String>,

    /// A file with the token that changes by HTTP must show
    #[arg(long, env = "DRAGNET_KV_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,

    /// Who fetches versions: this process, or `kv-server manage` beside it
    #[arg(long, value_name = "WHERE", default_value = "inside")]
    pub manager: ManagerPlace,

    /// Time to finish what was asked after SIGTERM
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub drain: Duration,

    #[command(flatten)]
    pub versions: VersionArgs,

    #[command(flatten)]
    pub telemetry: telemetry::Args,
}

#[derive(Debug, Subcommand)]
pub enum Role {
    /// Fetches, verifies and announces versions to a server that runs beside it with --manager beside
    Manage(Box<ManageArgs>),
}

#[derive(Debug, clap::Args)]
pub struct ManageArgs {
    /// The server's admin address
    #[arg(long, env = "DRAGNET_KV_SERVER", value_name = "URL", default_value = "http://127.0.0.1:9121")]
    pub server: Url,

    /// The server's datasets, as it was given them
    #[arg(long, env = "DRAGNET_DATASETS", value_name = "URL[,name=N]", value_delimiter = ' ', required = true)]
    pub dataset: Vec<String>,

    /// The server's folder of versions
    #[arg(long, env = "DRAGNET_KV_DATA_DIR", value_name = "FOLDER")]
    pub data_dir: PathBuf,

    /// Shards that the server holds, such as 0,2-3 [default: all]
    #[arg(long, env = "DRAGNET_KV_SHARDS", value_name = "LIST")]
    pub shards: Option<String>,

    /// A file with the server's admin token
    #[arg(long, env = "DRAGNET_KV_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,

    #[command(flatten)]
    pub versions: VersionArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ManagerPlace {
    Inside,
    Beside,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is nothing to serve: give --dataset or --rocksdb")]
    Nothing,
    #[error("--dataset: {text:?} is no URL of the form file:///folder or s3://bucket/prefix")]
    Url { text: String },
    #[error("{text:?}: db is a number below 1024")]
    Db { text: String },
    #[error("{text:?}: a name has 1 to 100 letters, digits, dots, dashes and underscores; give one with ,name=")]
    Name { text: String },
    #[error("--data-dir: needed to keep versions of {dataset:?}")]
    DataDir { dataset: String },
    #[error("failed to read the password in {path}")]
    Password { path: PathBuf, source: io::Error },
    #[error("the password in {path} is empty")]
    EmptyPassword { path: PathBuf },
    #[error("--cluster-node: an id is 40 hex digits")]
    NodeId,
    #[error("--announce: {text:?} is no address of the form HOST:PORT")]
    Announce { text: String },
    #[error("--shards: {text:?} is no list such as 0,2-3")]
    Shards { text: String },
    #[error("failed to find out how many CPUs there are; give --threads")]
    Cpus(#[source] io::Error),
}

#[derive(Clone, Debug)]
pub struct Config {
    pub datasets: Vec<DatasetSpec>,
    /// Present if a dataset comes from object storage.
    pub data_dir: Option<PathBuf>,
    pub listen: SocketAddr,
    pub admin_listen: SocketAddr,
    pub port_file: Option<PathBuf>,
    pub threads: usize,
    pub read_threads: usize,
    pub memory: u64,
    pub max_connections: usize,
    pub idle_timeout: Option<Duration>,
    pub stall_timeout: Duration,
    pub output_limit: usize,
    pub password: Option<Password>,
    pub mutation_error: MutationError,
    pub cluster_topology: Option<PathBuf>,
    pub cluster_node: Option<String>,
    pub announce: Option<(String, u16)>,
    pub shards: Wanted,
    pub manager: ManagerPlace,
    pub versions: manage::Config,
    pub admin_token_file: Option<PathBuf>,
    pub drain: Duration,
}

impl Config {
    pub fn from_args(args: Args) -> Result<Self, Error> {
        let Args {
            role: _,
            dataset,
            rocksdb,
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
            password_file,
            mutation_error,
            cluster_topology,
            cluster_node,
            announce,
            shards,
            admin_token_file,
            manager,
            drain,
            versions,
            telemetry: _,
        } = args;
        let datasets: Vec<_> = dataset
            .iter()
            .map(|text| repository(text))
            .chain(rocksdb.iter().map(|text| directory(text)))
            .collect::<Result<_, _>>()?;
        if datasets.is_empty() {
            return Err(Error::Nothing);
        }
        let stored = datasets.iter().find(|spec| matches!(spec.source, Source::Repository(_)));
        if let (Some(spec), None) = (stored, &data_dir) {
            return Err(Error::DataDir { dataset: spec.name.clone() });
        }
        let cluster_node = cluster_node.map(|text| node_id(&text)).transpose()?;
        let threads = match threads {
            Some(threads) => threads.get(),
            // One is left to the network's interrupts, downloads and reads from disk. Loops that have to share a CPU wake up for fewer
            // requests at a time, and each costs more.
            None => std::thread::available_parallelism().map_err(Error::Cpus)?.get().saturating_sub(1).max(1),
        };
        let shards = shards.map_or(Ok(Wanted::All), |text| shard_list(&text))?;
        Ok(Self {
            datasets,
            data_dir,
            listen,
            admin_listen,
            port_file,
            threads,
            // Enough to keep a local disk busy: at 0.1 ms a read, 160,000 reads a second.
            read_threads: read_threads.map_or(16, NonZeroUsize::get),
            memory: memory.unwrap_or_else(memory_limit),
            max_connections: max_connections.map_or(10_000, NonZeroUsize::get),
            idle_timeout,
            stall_timeout,
            output_limit: usize::try_from(output_limit).unwrap_or(usize::MAX),
            password: password_file.map(read_password).transpose()?,
            mutation_error,
            cluster_topology,
            cluster_node,
            announce: announce.map(host_and_port).transpose()?,
            versions: versions.to_config(shards.clone()),
            shards,
            manager,
            admin_token_file,
            drain,
        })
    }
}

/// What `kv-server manage` runs with.
#[derive(Clone, Debug)]
pub struct ManageConfig {
    pub server: Url,
    /// URLs by name.
    pub datasets: BTreeMap<String, Url>,
    pub data_dir: PathBuf,
    pub admin_token_file: Option<PathBuf>,
    pub versions: manage::Config,
}

impl ManageConfig {
    pub fn from_args(args: ManageArgs) -> Result<Self, Error> {
        let ManageArgs { server, dataset, data_dir, shards, admin_token_file, versions } = args;
        let mut datasets = BTreeMap::new();
        for text in &dataset {
            if let DatasetSpec { name, source: Source::Repository(url), .. } = repository(text)? {
                datasets.insert(name, url);
            }
        }
        let shards = shards.map_or(Ok(Wanted::All), |text| shard_list(&text))?;
        Ok(Self { server, datasets, data_dir, admin_token_file, versions: versions.to_config(shards) })
    }
}

/// Splits `,name=`, `,db=` and `,prefix=` off the end; what is before them may hold commas.
fn split(text: &str) -> (&str, [Option<&str>; 3]) {
    let (mut rest, mut options) = (text, [None; 3]);
    while let Some((before, option)) = rest.rsplit_once(',') {
        let Some((name, value)) = option.split_once('=') else { break };
        let Some(index) = ["name", "db", "prefix"].iter().position(|known| *known == name) else { break };
        (rest, options[index]) = (before, Some(value));
    }
    (rest, options)
}

fn spec(text: &str, default_name: &str, options: [Option<&str>; 3], source: Source) -> Result<DatasetSpec, Error> {
    let [name, db, prefix] = options;
    let db =
        db.unwrap_or("0").parse().ok().filter(|db| *db < 1024).ok_or_else(|| Error::Db { text: text.to_owned() })?;
    let name = name.unwrap_or(default_name);
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.bytes().all(letter) {
        return Err(Error::Name { text: text.to_owned() });
    }
    Ok(DatasetSpec { name: name.to_owned(), db, prefix: prefix.unwrap_or_default().as_bytes().to_vec(), source })
}

fn repository(text: &str) -> Result<DatasetSpec, Error> {
    let (address, options) = split(text);
    let url = Url::from_str(address).map_err(|_| Error::Url { text: text.to_owned() })?;
    let last = url.path_segments().and_then(|mut parts| parts.rfind(|part| !part.is_empty())).or(url.host_str());
    let last = last.unwrap_or_default().to_owned();
    spec(text, &last, options, Source::Repository(url))
}

fn directory(text: &str) -> Result<DatasetSpec, Error> {
    let (path, options) = split(text);
    let path = PathBuf::from(path);
    let last = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    spec(text, &last, options, Source::Directory(path))
}

fn read_password(path: PathBuf) -> Result<Password, Error> {
    let text = fs::read(&path).map_err(|source| Error::Password { path: path.clone(), source })?;
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(Error::EmptyPassword { path });
    }
    Ok(Password::new(line.to_vec()))
}

fn host_and_port(text: String) -> Result<(String, u16), Error> {
    let parts = text.rsplit_once(':').and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    parts.filter(|(host, port)| !host.is_empty() && *port > 0).ok_or(Error::Announce { text })
}

/// As written, or made of a name, so that whoever writes the topology can work it out.
fn node_id(text: &str) -> Result<String, Error> {
    if let Some(name) = text.strip_prefix("name:").filter(|name| !name.is_empty()) {
        return Ok(Digest::of(name.as_bytes()).to_string()[..NODE_ID_DIGITS].to_owned());
    }
    let is_id = text.len() == NODE_ID_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { Ok(text.to_ascii_lowercase()) } else { Err(Error::NodeId) }
}

fn shard_list(text: &str) -> Result<Wanted, Error> {
    let refused = || Error::Shards { text: text.to_owned() };
    if let Some(part) = text.strip_prefix("part:") {
        let (index, of) = part.split_once('/').ok_or_else(refused)?;
        let (index, of): (u32, u16) = (index.parse().map_err(|_| refused())?, of.parse().map_err(|_| refused())?);
        if !(1..=MAX_SHARDS).contains(&of) {
            return Err(refused());
        }
        let index = u16::try_from(index % u32::from(of)).map_err(|_| refused())?;
        return Ok(Wanted::Slots(SlotRange::of_shard(index, of)));
    }
    let mut indexes = BTreeSet::new();
    for piece in text.split(',') {
        let (first, last) = piece.split_once('-').unwrap_or((piece, piece));
        let number = |text: &str| text.trim().parse::<u16>().map_err(|_| refused());
        let (first, last) = (number(first)?, number(last)?);
        if last < first {
            return Err(refused());
        }
        indexes.extend((first..=last).map(u32::from));
    }
    Ok(Wanted::Only(indexes))
}

#[cfg(test)]
mod tests;
