//! The key-value servers of a cluster on this machine, and how its worker asks them.
//!
//! ```text
//! dataset in object storage ──► kv-server-1 .. N, each with its part of the hash slots ◄── worker, findings, rules
//! ```
//! One server has every key. Several are a cluster as Redis clients know it, with a topology file instead of gossip.

use std::{ffi::OsString, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use dataset::Repository;
use serde_json::json;
use types::Name;

use super::layout::{Layout, Settings};
use crate::report::Usage;

pub const MOST_SERVERS: u16 = 8;
/// Ports beyond that of the first orchestrator.
const CLIENT_PORTS: u16 = 20;
const ADMIN_PORTS: u16 = 40;
const METRICS_PORT: u16 = 10;
/// An announcement is one small object.
const ASK_WITHIN: Duration = Duration::from_secs(20);

/// Ports that some servers and their worker need, as distances from that of the first orchestrator.
pub fn offsets(servers: u16) -> Vec<u16> {
    let servers = (0..servers).flat_map(|server| [CLIENT_PORTS + server, ADMIN_PORTS + server]);
    servers.chain([METRICS_PORT]).collect()
}

/// A dataset that is served here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    pub url: String,
    pub name: Name,
    /// What keys begin with, for clients.
    pub prefix: String,
    pub database: u32,
}

/// What is served and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kv {
    pub datasets: Vec<Served>,
    /// Datasets served elsewhere, as the worker is told them.
    pub elsewhere: Vec<String>,
    pub servers: u16,
    /// Each server holds the shards of its own hash slots alone: as many shards as servers, in every version.
    own_shards: bool,
    port: u16,
}

impl Kv {
    /// Finds out what clients need to know of the datasets in `settings`.
    pub async fn of(settings: &Settings) -> Result<Self> {
        let mut datasets: Vec<Served> = Vec::new();
        for url in &settings.datasets {
            let served = resolve(url).await.with_context(|| format!("cannot serve the dataset {url}"))?;
            datasets.push(served);
        }
        let servers = settings.kv_servers.max(1);
        place(&mut datasets, servers)?;
        let elsewhere = settings.kv.clone();
        Ok(Self { datasets, elsewhere, servers, own_shards: false, port: settings.port })
    }

    /// Each server fetches the shards of its own hash slots alone. Every version must have as many shards as there are servers.
    #[must_use]
    pub fn with_own_shards(self) -> Self {
        Self { own_shards: true, ..self }
    }

    /// Servers that run here.
    pub fn servers(&self) -> u16 {
        if self.datasets.is_empty() { 0 } else { self.servers }
    }

    /// Every port that is needed besides those of the orchestrators.
    pub fn ports(&self) -> Vec<u16> {
        let servers = (0..self.servers()).flat_map(|server| [self.client(server), self.admin(server)]);
        servers.chain(self.metrics()).collect()
    }

    /// Of the worker; there is something to count only where something is looked up.
    pub fn metrics(&self) -> Option<u16> {
        (!self.datasets.is_empty() || !self.elsewhere.is_empty()).then_some(self.port + METRICS_PORT)
    }

    /// Where each server is asked about itself, over HTTP.
    pub fn admins(&self) -> Vec<String> {
        (0..self.servers()).map(|server| address(self.admin(server))).collect()
    }

    fn client(&self, server: u16) -> u16 {
        self.port + CLIENT_PORTS + server
    }

    fn admin(&self, server: u16) -> u16 {
        self.port + ADMIN_PORTS + server
    }

    /// What the worker is told, besides what it always is.
    pub(super) fn worker_args(&self) -> Vec<OsString> {
        let addresses: Vec<_> = (0..self.servers()).map(|server| address(self.client(server))).collect();
        let here = self.datasets.iter().map(|Served { name, prefix, database, .. }| {
            let cluster = if self.servers > 1 { "&cluster=true" } else { "" };
            format!("{name}=redis://{}/{database}?prefix={prefix}{cluster}", addresses.join(","))
        });
        let mut args: Vec<OsString> = Vec::new();
        for source in here.chain(self.elsewhere.iter().cloned()) {
            args.extend(["--kv".into(), source.into()]);
        }
        if let Some(port) = self.metrics() {
            args.extend(["--metrics-listen".into(), address(port).into()]);
        }
        args
    }

    /// Command line of one server, from 0.
    pub(super) fn server_args(&self, layout: &Layout, server: u16) -> Vec<OsString> {
        let mut args: Vec<OsString> = Vec::new();
        let mut flag = |name: &str, value: OsString| args.extend([name.into(), value]);
        for Served { url, name, prefix, database } in &self.datasets {
            flag("--dataset", format!("{url},name={name},db={database},prefix={prefix}").into());
        }
        flag("--data-dir", layout.kv_server(server + 1).into());
        flag("--listen", address(self.client(server)).into());
        flag("--admin-listen", address(self.admin(server)).into());
        if self.servers > 1 {
            flag("--cluster-topology", layout.topology().into());
            flag("--cluster-node", node_id(server).into());
        }
        if self.own_shards {
            flag("--shards", server.to_string().into());
        }
        // Beside orchestrators, scanners and whatever else runs here, one thread is plenty.
        flag("--threads", "1".into());
        flag("--read-threads", "2".into());
        flag("--poll", "500ms".into());
        args
    }

    /// Writes who has which slots, where servers have to know.
    pub(super) fn write_topology(&self, layout: &Layout) -> Result<()> {
        if self.servers() < 2 {
            return Ok(());
        }
        let nodes: Vec<_> = (0..self.servers)
            .map(|server| {
                let (first, last) = slots(server, self.servers);
                json!({
                    "id": node_id(server), "host": "127.0.0.1", "port": self.client(server),
                    "slots": [[first, last]], "replica_of": null
                })
            })
            .collect();
        write(&layout.topology(), &json!({ "epoch": 1, "nodes": nodes }).to_string())
    }
}

pub fn server_name(server: u16) -> String {
    format!("kv-server-{server}")
}

fn address(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

/// 40 hex digits, the same at each start.
fn node_id(server: u16) -> String {
    format!("{:040x}", u32::from(server) + 1)
}

/// The hash slots of one server out of some, first and last.
fn slots(server: u16, servers: u16) -> (u16, u16) {
    let begin = |server: u16| u32::from(server) * 16384 / u32::from(servers);
    let slot = |slot| u16::try_from(slot).unwrap_or(u16::MAX);
    (slot(begin(server)), slot(begin(server + 1) - 1))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("failed to write {}", path.display()))
}

async fn resolve(url: &str) -> Result<Served> {
    let repository = Repository::open(url)?;
    let announced = tokio::time::timeout(ASK_WITHIN, repository.announcement());
    let announced = announced.await.map_err(|_| anyhow!("its object storage does not answer"))??;
    let Some(version) = announced.target() else {
        bail!("it has no announced version; build one with `dragnet dataset build`, or announce one that is there")
    };
    let manifest = repository.manifest(&version).await?;
    Ok(Served { url: repository.url().to_owned(), name: manifest.dataset, prefix: manifest.key_prefix, database: 0 })
}

/// Gives datasets whose keys would be mixed up a database each. A cluster has one database only.
fn place(datasets: &mut [Served], servers: u16) -> Result<()> {
    for index in 0..datasets.len() {
        let (before, rest) = datasets.split_at_mut(index);
        let Some(dataset) = rest.first_mut() else { break };
        if before.iter().any(|other| other.name == dataset.name) {
            return Err(Usage(format!("two datasets are called {}", dataset.name)).into());
        }
        let same = before.iter().filter(|other| other.prefix == dataset.prefix).count();
        if same > 0 && servers > 1 {
            let (name, prefix) = (&dataset.name, &dataset.prefix);
            return Err(Usage(format!(
                "several key-value servers tell datasets apart by the prefix of their keys, and {name} has {prefix:?} like another \
                 one; build it with another --prefix, or use --kv-servers 1"
            ))
            .into());
        }
        dataset.database = u32::try_from(same)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(name: &str, prefix: &str) -> Served {
        let name = Name::new(name).unwrap();
        Served { url: format!("file:///data/{name}"), name, prefix: prefix.to_owned(), database: 0 }
    }

    fn kv(datasets: Vec<Served>, servers: u16) -> Kv {
        Kv { datasets, servers, port: 7601, ..Kv::default() }
    }

    fn words(args: Vec<OsString>) -> String {
        args.into_iter().map(|arg| arg.into_string().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn without_datasets_nothing_is_started_and_nothing_is_asked() {
        let kv = kv(Vec::new(), 2);
        assert_eq!((kv.servers(), kv.ports().len(), kv.worker_args().len()), (0, 0, 0));
    }

    #[test]
    fn a_server_alone_has_datasets_by_number_and_several_are_a_cluster() {
        let mut two = vec![served("packages", ""), served("senders", "")];
        place(&mut two, 1).unwrap();
        assert_eq!(
            words(kv(two.clone(), 1).worker_args()),
            "--kv packages=redis://127.0.0.1:7621/0?prefix= --kv senders=redis://127.0.0.1:7621/1?prefix= \
             --metrics-listen 127.0.0.1:7611"
        );
        assert!(place(&mut two, 2).unwrap_err().is::<Usage>());
        let mut prefixed = vec![served("packages", "p:"), served("senders", "s:")];
        place(&mut prefixed, 2).unwrap();
        assert!(
            words(kv(prefixed, 2).worker_args())
                .contains("senders=redis://127.0.0.1:7621,127.0.0.1:7622/0?prefix=s:&cluster=true")
        );
        assert!(place(&mut [served("a", ""), served("a", "x")], 1).is_err());
    }

    #[test]
    fn slots_are_shared_out_without_a_gap() {
        for servers in 1..=MOST_SERVERS {
            let ranges: Vec<_> = (0..servers).map(|server| slots(server, servers)).collect();
            assert_eq!((ranges[0].0, ranges.last().unwrap().1), (0, 16383));
            assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{ranges:?}");
        }
    }

    #[test]
    fn the_topology_names_every_server() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::create(dir.path()).unwrap();
        kv(vec![served("packages", "")], 2).write_topology(&layout).unwrap();
        let text = fs::read_to_string(layout.topology()).unwrap();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&read["epoch"], &read["nodes"][1]["slots"]), (&json!(1), &json!([[8192, 16383]])));
        assert_eq!(read["nodes"][0]["id"].as_str().unwrap().len(), 40);
    }
}
