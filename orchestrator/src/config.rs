//! What the user wrote, and what we run with.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Parser;

use crate::backup;

/// Holds all job state of a cluster in a replicated log and hands scan jobs to workers.
///
/// The first node of a new cluster is started with --bootstrap; every other one with --join and the
/// addresses of some that run. A node whose directory already belongs to a cluster needs neither. With --await-role
/// it waits until it is told over the wire which of these it is; `dragnet cluster` and the operator do so.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  orchestrator --dir n1 --listen 127.0.0.1:7601 --storage file:///var/lib/dragnet/objects --bootstrap
  orchestrator --dir n2 --listen 127.0.0.1:7602 --storage file:///var/lib/dragnet/objects --join 127.0.0.1:7601
  orchestrator --dir n1 --listen 127.0.0.1:7601 --storage file:///var/lib/dragnet/objects --restore s3://bucket/backups"
)]
pub struct Args {
    /// Directory of this node's identity, log and snapshots; on a volume of its own.
    #[arg(long)]
    dir: PathBuf,

    /// Address to serve on.
    #[arg(long, value_name = "HOST:PORT")]
    listen: SocketAddr,

    /// Address under which others reach this node [default: as --listen]
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,

    /// Found a new cluster with this node as its first member. Ignored when the directory has an identity.
    #[arg(long, group = "start")]
    bootstrap: bool,

    /// Members to join through, any of them. Ignored when the directory has an identity.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', group = "start")]
    join: Vec<String>,

    /// Wait, while the directory has no identity, until told what to be. Health is answered meanwhile.
    #[arg(long, group = "start")]
    await_role: bool,

    /// Found a new cluster from a backup: the newest below the URL, or the one whose URL it is. Ignored when the
    /// directory has an identity.
    #[arg(long, value_name = "URL", group = "start")]
    restore: Option<String>,

    /// Object storage for rulesets, manifests and findings.
    #[arg(long, value_name = "URL")]
    storage: String,

    /// Address to answer GET /metrics, /healthz and /readyz on; nowhere without it.
    #[arg(long, env = "DRAGNET_HTTP_LISTEN", value_name = "HOST:PORT")]
    http_listen: Option<SocketAddr>,

    /// Where this node's state is backed up to while it leads, such as s3://bucket/prefix. Reached as --storage is, or with
    /// the variables that begin with DRAGNET_BACKUP_STORAGE_, such as DRAGNET_BACKUP_STORAGE_AWS_ACCESS_KEY_ID.
    #[arg(long, env = "DRAGNET_BACKUP_URL", value_name = "URL")]
    backup_url: Option<String>,

    /// Back up at least so often while the log grows, in seconds.
    #[arg(long, env = "DRAGNET_BACKUP_INTERVAL_S", default_value_t = 3600)]
    backup_interval_s: u64,

    /// Back up once so many MiB were appended to the log since the last one.
    #[arg(long, env = "DRAGNET_BACKUP_LOG_MIB", default_value_t = 256)]
    backup_log_mib: u64,

    /// Backups to keep, the newest; 0: all.
    #[arg(long, env = "DRAGNET_BACKUP_KEEP", default_value_t = 24)]
    backup_keep: u32,

    /// A worker silent for so long loses its session and leases, in milliseconds.
    #[arg(long, default_value_t = 10_000)]
    session_ttl_ms: u64,

    /// Take a snapshot once so many MiB were appended to the log since the last one.
    #[arg(long, default_value_t = 64)]
    snapshot_log_mib: u64,

    /// Take a snapshot at least so often while the log grows, in seconds.
    #[arg(long, default_value_t = 600)]
    snapshot_interval_s: u64,

    /// Log entries kept behind a snapshot, so that a member a little behind needs no snapshot.
    #[arg(long, default_value_t = 10_000)]
    keep_log_entries: u64,

    /// Time to hand over leadership and end connections on SIGTERM, in seconds.
    #[arg(long, default_value_t = 10)]
    drain_s: u64,

    #[command(flatten)]
    pub telemetry: telemetry::Args,
}

/// How a node without identity comes to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    Bootstrap,
    Join(Vec<String>),
    /// Wait to be told.
    AwaitRole,
    /// Found a new cluster from a backup.
    Restore(String),
    /// Only a directory with an identity will do.
    Rejoin,
}

/// What the process runs with; every field present and checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub dir: PathBuf,
    pub listen: SocketAddr,
    pub advertise: String,
    pub start: Start,
    pub storage_url: String,
    pub http_listen: Option<SocketAddr>,
    pub backup: Option<backup::Schedule>,
    pub session_ttl: Duration,
    pub snapshot_log_bytes: u64,
    pub snapshot_interval: Duration,
    pub keep_log_entries: u64,
    pub drain_deadline: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("--session-ttl-ms is {0}; a session needs at least 500 ms, or a busy worker loses its work")]
    SessionTtl(u64),
    #[error("--listen has port 0, which others cannot be told; choose a port or give --advertise")]
    Port,
}

impl Config {
    pub fn from_args(args: Args) -> Result<Self, Error> {
        let Args {
            dir,
            listen,
            advertise,
            bootstrap,
            join,
            await_role,
            restore,
            storage,
            http_listen,
            backup_url,
            backup_interval_s,
            backup_log_mib,
            backup_keep,
            session_ttl_ms,
            snapshot_log_mib,
            snapshot_interval_s,
            keep_log_entries,
            drain_s,
            telemetry: _,
        } = args;
        if session_ttl_ms < 500 {
            return Err(Error::SessionTtl(session_ttl_ms));
        }
        if listen.port() == 0 && advertise.is_none() {
            return Err(Error::Port);
        }
        let advertise = advertise.unwrap_or_else(|| listen.to_string());
        let others: Vec<_> = join.into_iter().filter(|address| *address != advertise).collect();
        let start = match restore {
            _ if bootstrap => Start::Bootstrap,
            _ if await_role => Start::AwaitRole,
            Some(url) => Start::Restore(url),
            None if others.is_empty() => Start::Rejoin,
            None => Start::Join(others),
        };
        let backup = backup_url.map(|url| backup::Schedule {
            url,
            interval: Duration::from_secs(backup_interval_s.max(1)),
            log_bytes: backup_log_mib.max(1) << 20,
            keep: backup_keep,
        });
        Ok(Self {
            dir,
            listen,
            advertise,
            start,
            storage_url: storage,
            http_listen,
            backup,
            session_ttl: Duration::from_millis(session_ttl_ms),
            snapshot_log_bytes: snapshot_log_mib.max(1) << 20,
            snapshot_interval: Duration::from_secs(snapshot_interval_s.max(1)),
            keep_log_entries,
            drain_deadline: Duration::from_secs(drain_s),
        })
    }
}
