//! The command line, as the user wrote it. Each flag has a variable; a flag beats the variable, and both beat the file.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Drops unwanted StatsD and DogStatsD metrics on their way to the metrics agent
#[derive(Clone, Debug, Parser)]
#[command(name = "statsd-filter", version = telemetry::build_info(), args_conflicts_with_subcommands = false)]
pub struct Args {
    #[command(subcommand)]
    pub command: Option<Command>,

    #[command(flatten)]
    pub settings: Settings,

    #[command(flatten)]
    pub telemetry: telemetry::Args,
}

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Say which rule decides about a metric, and end
    Explain {
        /// A name such as `app.requests`, or a whole line such as `app.requests:1|c`
        name: String,
    },
}

#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Settings")]
pub struct Settings {
    /// Configuration in JSON or YAML; read again on SIGHUP
    #[arg(long, env = "PROXY_CONFIG_FILE", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Address or name to receive UDP on [default: 127.0.0.1]
    #[arg(long, env = "STATSD_FILTER_LISTEN_HOST", value_name = "HOST", global = true)]
    pub listen_host: Option<String>,

    /// Port to receive UDP on [default: 8125, or none with a listen socket]
    #[arg(long, env = "STATSD_FILTER_LISTEN_PORT", value_name = "PORT", global = true)]
    pub listen_port: Option<u16>,

    /// Unix datagram socket to receive on
    #[arg(long, env = "STATSD_FILTER_LISTEN_SOCKET", value_name = "PATH", global = true)]
    pub listen_socket: Option<PathBuf>,

    /// Address or name of the agent
    #[arg(long, env = "STATSD_FILTER_TARGET_HOST", value_name = "HOST", global = true)]
    pub target_host: Option<String>,

    /// Port of the agent
    #[arg(long, env = "STATSD_FILTER_TARGET_PORT", value_name = "PORT", global = true)]
    pub target_port: Option<u16>,

    /// Unix datagram socket of the agent, instead of host and port
    #[arg(long, env = "STATSD_FILTER_TARGET_SOCKET", value_name = "PATH", global = true)]
    pub target_socket: Option<PathBuf>,

    /// Drop lines that start so, beside those that the file lists
    #[arg(long = "block", env = "STATSD_FILTER_BLOCK", value_name = "PREFIX", value_delimiter = ',', global = true)]
    pub block: Vec<String>,

    /// Forward only lines that start so, beside those that the file lists
    #[arg(long = "allow", env = "STATSD_FILTER_ALLOW", value_name = "PREFIX", value_delimiter = ',', global = true)]
    pub allow: Vec<String>,

    /// Receive with one thread per core
    #[arg(long, env = "STATSD_FILTER_MULTI_THREAD", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    #[arg(global = true)]
    pub multi_thread: Option<bool>,

    /// Join lines into datagrams of up to this size [default: 1432, to a Unix socket 8192]
    #[arg(long, env = "STATSD_FILTER_MAX_DATAGRAM_BYTES", value_name = "BYTES", global = true)]
    pub max_datagram_bytes: Option<usize>,

    /// Drop longer lines [default: 8192]
    #[arg(long, env = "STATSD_FILTER_MAX_LINE_BYTES", value_name = "BYTES", global = true)]
    pub max_line_bytes: Option<usize>,

    /// Hold lines for up to this long to fill datagrams; 0 forwards each datagram by itself [default: 1000]
    #[arg(long, env = "STATSD_FILTER_PACK_DELAY_US", value_name = "MICROSECONDS", global = true)]
    pub pack_delay_us: Option<u64>,

    /// Receive buffer to ask the kernel for, which may grant less [default: 4194304]
    #[arg(long, env = "STATSD_FILTER_RECEIVE_BUFFER_BYTES", value_name = "BYTES", global = true)]
    pub receive_buffer_bytes: Option<usize>,

    /// How often the target's name is looked up again [default: 30000]
    #[arg(long, env = "STATSD_FILTER_RESOLVE_INTERVAL_MS", value_name = "MILLISECONDS", global = true)]
    pub resolve_interval_ms: Option<u64>,

    /// Address to serve Prometheus metrics on [default: none]
    #[arg(long, env = "STATSD_FILTER_METRICS_LISTEN", value_name = "ADDRESS:PORT", global = true)]
    pub metrics_listen: Option<SocketAddr>,

    /// Count what would be dropped, and forward it all the same
    #[arg(long, env = "STATSD_FILTER_DRY_RUN", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    #[arg(global = true)]
    pub dry_run: Option<bool>,
}
