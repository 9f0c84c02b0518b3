//! `dragnet up`: a whole cluster on this machine, in the foreground.
//!
//! ```text
//! ports free? ──► orchestrator 1 (bootstrap, once) ──► the others join ──► kv-servers ──► scan-worker ──► summary
//! Ctrl-C ──► scan-worker drains ──► kv-servers ──► followers ──► leader  (a second Ctrl-C kills)
//! ```
//!
//! Each part is a process of its own, as in a real cluster, so that one can be killed and the rest goes
//! on. What is stored survives a stop and a start.

pub mod kv;
pub mod layout;
pub mod leash;
pub mod local;
mod ports;
mod process;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

pub use ports::free_base;
pub use process::Announce;

use self::{
    kv::Kv,
    layout::{Layout, MEMBERS, Settings},
    local::{Local, Plan, Programs},
};
use crate::{
    parse,
    render::{Out, plural},
    report::Usage,
};

pub const DEFAULT_PORT: u16 = 7601;
/// Where `up` listens unless told otherwise, for commands that look for a cluster.
pub const DEFAULT_CLUSTER: &str = "127.0.0.1:7601,127.0.0.1:7602,127.0.0.1:7603";
/// Children of an `up` that was killed drain for this long at most.
const ORPHAN_PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Starts orchestrators, which agree on what is to be done, and a worker, which scans. Ctrl-C stops them in order; at the \
next start everything is there again. All of it listens on 127.0.0.1 only.

Examples:
  dragnet up                                  three orchestrators, one scanner per core
  dragnet up --demo                           a guided tour with the files of this machine; ends by itself
  dragnet up --orchestrators 1 --scanners 2   small
  dragnet up --dir /srv/dragnet --port 7801   a second cluster beside the first
  dragnet up --dataset file:///srv/packages   files can be looked up in a dataset, which is served here
  dragnet up --kv packages=redis://kv:6379    ... or elsewhere, by anything that speaks the Redis protocol")]
pub struct Args {
    /// Where to keep everything; without it ~/.local/share/dragnet
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// How many orchestrators: 3 go on when one fails, 1 does not. Without it 3
    #[arg(long, value_name = "N", value_parser = members)]
    pub orchestrators: Option<u16>,
    /// How many files are scanned at a time; without it one per core
    #[arg(long, value_name = "N", value_parser = parse::scanners)]
    pub scanners: Option<std::num::NonZeroUsize>,
    /// Port of the first orchestrator, the others follow it. Without it 7601
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..65_000))]
    pub port: Option<u16>,
    /// Serve this dataset here, so that corpora can name it: file:///FOLDER or s3://BUCKET/PREFIX. May be repeated; those
    /// of the last start stay unless others are named
    #[arg(long = "dataset", value_name = "URL")]
    pub datasets: Vec<String>,
    /// How many key-value servers share the keys of those datasets. Without it 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=i64::from(kv::MOST_SERVERS)))]
    pub kv_servers: Option<u16>,
    /// A dataset that is served elsewhere. May be repeated; as with --dataset they stay
    #[arg(long, value_name = "NAME=redis://HOST:PORT[,..][/DB][?prefix=P&cluster=true]", value_parser = source)]
    pub kv: Vec<String>,
    /// Forget the datasets of the last start
    #[arg(long, conflicts_with_all = ["datasets", "kv"])]
    pub no_datasets: bool,
    /// Show all of it: scan this machine's programs, change rules, kill the leader; then stop
    #[arg(long)]
    pub demo: bool,
    /// Where the demo finds its rules and samples; without it examples/ of the source tree
    #[arg(long, value_name = "DIR", requires = "demo")]
    pub examples: Option<PathBuf>,
}

fn members(text: &str) -> Result<u16, String> {
    let members = text.parse().ok().filter(|members| MEMBERS.contains(members));
    members.ok_or_else(|| "1 or 3: two have no majority when one fails".to_owned())
}

/// Checked here, passed on as it is.
fn source(text: &str) -> Result<String, enrichment::SourceError> {
    text.parse::<enrichment::Source>().map(|_| text.to_owned())
}

pub fn scanners(given: Option<std::num::NonZeroUsize>) -> usize {
    given.or_else(|| std::thread::available_parallelism().ok()).map_or(1, std::num::NonZeroUsize::get)
}

pub async fn run(args: Args, out: &mut Out) -> Result<()> {
    let Args {
        dir,
        orchestrators,
        scanners: wanted,
        port,
        datasets,
        kv_servers,
        kv,
        no_datasets,
        demo: _,
        examples: _,
    } = args;
    let programs = Programs::beside_this_one()?;
    let root = match dir {
        Some(dir) => dir,
        None => Layout::default_root()?,
    };
    let layout = Layout::create(&root)?;
    let _lock = layout.lock()?;
    let settings = Settings::merge(layout.settings()?, port, orchestrators)?;
    let settings = settings.with_datasets(datasets, kv, kv_servers, no_datasets);
    let kv = Kv::of(&settings).await?;
    prepare(&layout, &settings, &kv).await?;
    let mut stop = Stop::listen()?;
    let plan = Plan { layout, settings, scanners: scanners(wanted), programs, kv };
    let mut local = Local::new(plan, Arc::new(|line: &str| eprintln!("dragnet up: {line}")));
    let started = tokio::select! {
        started = local.start() => Some(started),
        () = stop.asked() => None,
    };
    let result = match started {
        None => Ok(()),
        Some(Err(error)) => Err(error),
        Some(Ok(())) => serve(&local, &mut stop, out).await,
    };
    shut_down(&local, &mut stop).await;
    result
}

/// Checks what can be checked before the first process starts, and creates folders.
pub async fn prepare(layout: &Layout, settings: &Settings, kv: &Kv) -> Result<()> {
    layout.storage_url()?;
    let patience = if settings.bootstrapped { ORPHAN_PATIENCE } else { Duration::ZERO };
    ports::probe(settings.port, settings.orchestrators, &kv.ports(), patience)
        .await
        .context(Usage("the ports are not free".to_owned()))?;
    layout.create_folders()
}

async fn serve(local: &Local, stop: &mut Stop, out: &mut Out) -> Result<()> {
    summary(local.plan(), out)?;
    out.flush()?;
    tokio::select! {
        error = local.failed() => Err(error),
        () = stop.asked() => Ok(()),
    }
}

/// Stops the processes in order, and at once when asked a second time.
pub async fn shut_down(local: &Local, stop: &mut Stop) {
    eprintln!("dragnet up: stopping the worker, then the servers; Ctrl-C again kills");
    let killed = tokio::select! {
        () = local.stop() => false,
        () = stop.asked() => true,
    };
    if killed {
        local.kill().await;
    }
    eprintln!("dragnet up: stopped");
}

fn summary(plan: &Plan, out: &mut Out) -> Result<()> {
    let Plan { layout, settings, scanners, programs: _, kv } = plan;
    let addresses = settings.addresses();
    if out.is_json() {
        let dir = layout.root();
        return out.object(&serde_json::json!({
            "ready": true, "cluster": addresses, "dir": dir, "scanners": scanners, "datasets": names(kv),
            "kv_admin": kv.admins(), "metrics": kv.metrics().map(|port| format!("127.0.0.1:{port}"))
        }));
    }
    let members = plural(settings.orchestrators.into(), "orchestrator");
    let scanners = plural(*scanners as u64, "scanner");
    out.line(format!("Dragnet is up: {members} at {}, a worker with {scanners}", addresses.join(", ")))?;
    out.line(format!("data {}, logs {}\n", layout.root().display(), layout.logs().display()))?;
    if kv.servers() > 0 {
        let servers = plural(kv.servers().into(), "key-value server");
        out.line(format!(
            "datasets {}, on {servers}: name them with `dragnet corpus add .. --dataset`\n",
            names(kv).join(", ")
        ))?;
    }
    out.line("In another terminal:")?;
    for hint in hints(&addresses) {
        out.line(format!("  {hint}"))?;
    }
    out.line("\nCtrl-C stops it; everything is there again at the next `dragnet up`.")
}

fn names(kv: &Kv) -> Vec<String> {
    kv.datasets.iter().map(|served| served.name.to_string()).collect()
}

/// Commands worth trying, with the address where it is not the default.
pub fn hints(addresses: &[String]) -> Vec<String> {
    let mut hints = Vec::new();
    // The default lists three; asking one that is not there costs nothing.
    if !DEFAULT_CLUSTER.starts_with(&addresses.join(",")) {
        hints.push(format!("export DRAGNET_CLUSTER={}", addresses.join(",")));
    }
    hints.extend(
        [
            "dragnet corpus add programs /usr/bin    where to look",
            "dragnet rules push my-rules/            what to look for",
            "dragnet hunt watch --until-caught-up    watch it run",
            "dragnet findings                        what was found",
            "dragnet receipt                         what became of every file",
            "dragnet status                          who leads, who follows",
        ]
        .map(str::to_owned),
    );
    hints
}

/// Ctrl-C, SIGTERM and a closed terminal.
pub struct Stop {
    signals: [Signal; 3],
}

impl Stop {
    pub fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("failed to listen for signals");
        let signals = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = signals.map(listen);
        Ok(Self { signals: [interrupt?, terminate?, hangup?] })
    }

    /// Returns with the next signal.
    pub async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Whether a folder holds a cluster already.
pub fn is_used(root: &Path) -> bool {
    root.join("up.json").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_name_the_cluster_only_when_it_is_elsewhere() {
        let usual: Vec<_> = DEFAULT_CLUSTER.split(',').map(str::to_owned).collect();
        assert!(!hints(&usual)[0].starts_with("export"));
        assert!(!hints(&usual[..1])[0].starts_with("export"));
        assert!(hints(&["127.0.0.1:7701".to_owned()])[0].starts_with("export DRAGNET_CLUSTER=127.0.0.1:7701"));
    }

    #[test]
    fn two_orchestrators_are_refused() {
        assert_eq!((members("1"), members("3")), (Ok(1), Ok(3)));
        assert!(members("2").is_err() && members("5").is_err());
    }
}
