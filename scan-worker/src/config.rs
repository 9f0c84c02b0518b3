//! What the user wrote, and what the worker runs with.

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand};
use enrichment::Source;

use crate::scanner::Sandbox;

/// Scans files with YARA rules, as one of many workers of a Dragnet cluster.
///
/// It asks whichever orchestrator leads for jobs, reads files once for all rulesets owed to them, and writes
/// findings to the cluster's object storage. Files are scanned in sandboxed processes of their own: one that crashes, hangs
/// or grows costs a file its answer, never the worker.
#[derive(Debug, Parser)]
#[command(name = "scan-worker", version = telemetry::build_info(), args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Signals: SIGTERM and SIGINT finish what is being scanned, give the rest back, and exit with 0.\n\
Exit codes: 0 stopped as asked, 1 failed while running, 64 wrong usage (a restart will not help)."
)]
pub struct Args {
    #[command(subcommand)]
    pub role: Option<Role>,

    /// Members of the cluster; one that answers is enough
    #[arg(long, env = "DRAGNET_ORCHESTRATORS", value_name = "HOST:PORT", value_delimiter = ',', required = true)]
    pub orchestrators: Vec<String>,

    /// What the worker calls itself, for people [default: the host's name]
    #[arg(long, env = "DRAGNET_WORKER_NAME")]
    pub name: Option<String>,

    /// Scanner processes to run [default: as many as the CPU quota allows]
    #[arg(long, env = "DRAGNET_SCANNERS", value_name = "N")]
    pub scanners: Option<NonZeroU32>,

    /// Time after which the scan of one file is given up, in seconds [default: 60]
    #[arg(long, env = "DRAGNET_FILE_TIMEOUT_S", value_name = "SECONDS")]
    pub file_timeout_s: Option<NonZeroU32>,

    /// Address space of one scanner process, in MiB: rules, mapped file, working memory [default: 2048]
    #[arg(long, env = "DRAGNET_MEMORY_LIMIT_MIB", value_name = "MIB")]
    pub memory_limit_mib: Option<NonZeroU32>,

    /// A folder that is in no corpus, even where one holds it: the state of Dragnet itself. The object storage is
    /// left out anyway
    #[arg(long, env = "DRAGNET_NEVER_LIST", value_name = "FOLDER", value_delimiter = ',')]
    pub never_list: Vec<PathBuf>,

    /// Time to finish what is being scanned after SIGTERM, in seconds [default: 20]
    #[arg(long, env = "DRAGNET_DRAIN_S", value_name = "SECONDS")]
    pub drain_s: Option<u32>,

    /// A dataset that files can be looked up in by SHA-256, and where it is served, by anything that speaks the Redis
    /// protocol. Corpora say which datasets they want. May be repeated; in the variable they are parted by spaces
    #[arg(
        long = "kv",
        env = "DRAGNET_KV_DATASETS",
        value_name = "NAME=redis://HOST:PORT[,HOST:PORT][/DB][?prefix=P&cluster=true]",
        value_delimiter = ' '
    )]
    pub datasets: Vec<Source>,

    /// Where to answer GET /metrics and /healthz; nowhere without it
    #[arg(long, env = "DRAGNET_METRICS_LISTEN", value_name = "ADDRESS:PORT")]
    pub metrics_listen: Option<SocketAddr>,

    #[command(flatten)]
    pub telemetry: telemetry::Args,
}

#[derive(Debug, Subcommand)]
pub enum Role {
    /// A scanner process; started by the worker, never by hand
    #[command(hide = true)]
    Scanner {
        #[arg(long)]
        memory_limit_bytes: u64,
    },
}

/// Below this a scanner cannot even hold a middling ruleset.
const MIN_MEMORY_LIMIT_MIB: u32 = 64;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("--orchestrators: {address:?} is no address of the form HOST:PORT")]
    Address { address: String },
    #[error("--memory-limit-mib: {mib} MiB are too little for a scanner, it needs at least {MIN_MEMORY_LIMIT_MIB}")]
    Memory { mib: u32 },
    #[error("--name: a name has 1 to 253 bytes")]
    Name,
    #[error("failed to find out how many CPUs there are; give --scanners")]
    Cpus(#[source] std::io::Error),
}

#[derive(Clone, Debug)]
pub struct Config {
    pub orchestrators: Vec<String>,
    pub name: String,
    pub scanners: u32,
    pub file_timeout: Duration,
    pub sandbox: Sandbox,
    pub never_list: Vec<PathBuf>,
    pub datasets: Vec<Source>,
    pub metrics_listen: Option<SocketAddr>,
    pub drain: Duration,
}

impl Config {
    pub fn from_args(args: Args) -> Result<Self, Error> {
        let Args {
            role: _,
            orchestrators,
            name,
            scanners,
            file_timeout_s,
            memory_limit_mib,
            never_list,
            drain_s,
            datasets,
            metrics_listen,
            telemetry: _,
        } = args;
        if let Some(address) = orchestrators.iter().find(|address| !is_address(address)) {
            return Err(Error::Address { address: address.clone() });
        }
        let memory_limit_mib = memory_limit_mib.map_or(2048, NonZeroU32::get);
        if memory_limit_mib < MIN_MEMORY_LIMIT_MIB {
            return Err(Error::Memory { mib: memory_limit_mib });
        }
        let name = name.unwrap_or_else(host_name);
        if name.is_empty() || name.len() > 253 {
            return Err(Error::Name);
        }
        Ok(Self {
            orchestrators,
            name,
            scanners: scanners.map_or_else(cpus, |scanners| Ok(scanners.get()))?,
            // Long enough for the largest file at the slowest rate measured (512 MiB at 24 MB/s is 22 s).
            file_timeout: Duration::from_secs(file_timeout_s.map_or(60, NonZeroU32::get).into()),
            sandbox: Sandbox { memory_limit_bytes: u64::from(memory_limit_mib) << 20 },
            never_list,
            datasets,
            metrics_listen,
            // Inside the 30 s that Kubernetes gives a pod.
            drain: Duration::from_secs(drain_s.unwrap_or(20).into()),
        })
    }
}

fn is_address(address: &str) -> bool {
    let port = |(host, port): (&str, &str)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0);
    address.rsplit_once(':').is_some_and(port)
}

/// CPUs this process may use: what the scheduler allows it, and what the quotas of its cgroups (v1 and v2) leave of that,
/// rounded down. The standard library looks at both.
fn cpus() -> Result<u32, Error> {
    let cpus = std::thread::available_parallelism().map_err(Error::Cpus)?;
    Ok(u32::try_from(cpus.get()).unwrap_or(u32::MAX))
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "scan-worker".to_owned() } else { name.trim().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(flags: &[&str]) -> Result<Config, Error> {
        Config::from_args(Args::try_parse_from([&["scan-worker"], flags].concat()).unwrap())
    }

    #[test]
    fn addresses_may_come_as_one_list() {
        let config = config(&["--orchestrators", "a:1,b:2", "--orchestrators", "[::1]:3"]).unwrap();
        assert_eq!(config.orchestrators, ["a:1", "b:2", "[::1]:3"]);
        assert!(config.scanners >= 1);
    }

    #[test]
    fn datasets_may_come_as_one_list() {
        let config = config(&[
            "--orchestrators",
            "a:1",
            "--kv",
            "a=redis://x:1,y:2?cluster=true b=redis://z:3/4",
            "--kv",
            "c=redis://z:3",
        ]);
        let names: Vec<_> = config.unwrap().datasets.iter().map(|source| source.name.to_string()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert!(Args::try_parse_from(["scan-worker", "--orchestrators", "a:1", "--kv", "nonsense"]).is_err());
    }

    #[test]
    fn mistakes_are_named() {
        assert!(matches!(config(&["--orchestrators", "host"]), Err(Error::Address { .. })));
        assert!(matches!(config(&["--orchestrators", "h:1", "--memory-limit-mib", "1"]), Err(Error::Memory { .. })));
        assert!(Args::try_parse_from(["scan-worker"]).is_err());
    }

    #[test]
    fn a_scanner_needs_no_orchestrator() {
        let args = Args::try_parse_from(["scan-worker", "scanner", "--memory-limit-bytes", "1"]).unwrap();
        assert!(matches!(args.role, Some(Role::Scanner { memory_limit_bytes: 1 })));
    }
}
