//! The programs that are compared, each as one process on one core.

use std::fs::{self, File};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::load::{FORWARDER_PORT, SINK_PORT, wait_until};
use crate::machine;

const PROXY_VERSION: &str = "0.4.1";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ours,
    Node,
    Statsdproxy,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Ours, Self::Node, Self::Statsdproxy];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "statsd-filter",
            Self::Node => "Node",
            Self::Statsdproxy => "statsdproxy",
        }
    }
}

/// Where the programs are.
pub(super) struct Programs {
    ours: PathBuf,
    proxy: PathBuf,
    pub(super) versions: String,
}

impl Programs {
    /// Builds ours for size, unless `ours` names one, and installs the proxy where the set-up keeps its tools.
    pub(super) fn find(ours: Option<&Path>) -> Result<Self> {
        let ours = ours.map_or_else(build_ours, |ours| Ok(ours.to_owned()))?;
        let proxy = proxy()?;
        let versions = format!(
            "{}; node {}; statsdproxy {PROXY_VERSION}",
            machine::version_of(&ours)?,
            machine::version_of("node").context("Node.js is the peer here")?
        );
        Ok(Self { ours, proxy, versions })
    }

    /// Starts one and waits until it listens. Its rules are in files in `folder`, written by `rules`.
    pub(super) fn start(&self, kind: Kind, rules: &Rules) -> Result<Forwarder> {
        let (listen, sink) = (FORWARDER_PORT.to_string(), SINK_PORT.to_string());
        let mut command = match kind {
            Kind::Ours => {
                let mut command = Command::new(&self.ours);
                command.arg("--config").arg(&rules.ours).args(["--log", "warn"]);
                command
            }
            Kind::Node => {
                let mut command = Command::new("node");
                command.arg(&rules.script).args([&listen, &sink]).arg(&rules.node);
                command
            }
            Kind::Statsdproxy => {
                let mut command = Command::new(&self.proxy);
                command.args(["--listen", &format!("127.0.0.1:{listen}"), "--upstream", &format!("127.0.0.1:{sink}")]);
                command.arg("-c").arg(&rules.proxy);
                command
            }
        };
        let log = File::create(rules.script.with_extension("log")).context("failed to create a log file")?;
        command.stdout(Stdio::null()).stderr(log);
        let child = on_core(1, || command.spawn().with_context(|| format!("failed to start {}", kind.name())))?;
        let forwarder = Forwarder { child };
        wait_until("the forwarder listens", || Ok(socket(FORWARDER_PORT)?.is_some()))?;
        Ok(forwarder)
    }
}

/// The same rules in three languages.
pub(super) struct Rules {
    ours: PathBuf,
    node: PathBuf,
    proxy: PathBuf,
    script: PathBuf,
}

impl Rules {
    /// `prefixes` are of names for us and Node, and of tags for the proxy, which has no rules over names.
    pub(super) fn write(folder: &Path, names: &[String], tags: &[String]) -> Result<Self> {
        let file = |name: &str, content: String| {
            let path = folder.join(format!("{}-{name}", names.len()));
            fs::write(&path, content).with_context(|| format!("failed to write {}", path.display()))?;
            anyhow::Ok(path)
        };
        let ours = serde_json::json!({
            "listen_host": "127.0.0.1", "listen_port": FORWARDER_PORT,
            "target_host": "127.0.0.1", "target_port": SINK_PORT,
            "metric_blocklist": names,
        });
        let proxy = serde_json::json!({
            "middlewares": [{ "type": "deny-tag", "starts_with": tags, "ends_with": [], "tags": [] }]
        });
        Ok(Self {
            ours: file("ours.json", ours.to_string())?,
            node: file("node.json", serde_json::json!(names).to_string())?,
            proxy: file("proxy.yaml", proxy.to_string())?,
            script: file("filter.js", include_str!("node_filter.js").to_owned())?,
        })
    }
}

/// A process that forwards. Stopped when it goes out of scope.
pub(super) struct Forwarder {
    child: Child,
}

impl Forwarder {
    /// CPU time of all threads so far, to the nanosecond: the ticks that `/proc/PID/stat` shows are too coarse here.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        let tasks = format!("/proc/{}/task", self.child.id());
        let mut nanoseconds = 0;
        for task in fs::read_dir(&tasks).with_context(|| format!("failed to list {tasks}"))? {
            let path = task.context("failed to list threads")?.path().join("schedstat");
            let text = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
            let first = text.split(' ').next().context("an empty schedstat")?;
            nanoseconds += first.parse::<u64>().context("schedstat begins with a number")?;
        }
        Ok(as_f64(nanoseconds) / 1e9)
    }

    pub(super) fn resident_megabytes(&self) -> Result<f64> {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.child.id())).context("failed to read its memory")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS is a number")?;
        Ok(as_f64(kibibytes) * 1024.0 / 1e6)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        let _ended_already_is_fine = self.child.kill();
        let _reaped_already_is_fine = self.child.wait();
    }
}

/// A UDP socket of 127.0.0.1 as the kernel shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Socket {
    /// Bytes that wait to be read.
    pub(super) queued: u64,
    /// Datagrams that found no room since it was opened.
    pub(super) drops: u64,
}

/// Who listens at `port` of 127.0.0.1.
pub(super) fn socket(port: u16) -> Result<Option<Socket>> {
    let table = fs::read_to_string("/proc/net/udp").context("failed to read /proc/net/udp")?;
    let address = format!("0100007F:{port:04X}");
    let Some(line) = table.lines().find(|line| line.split_whitespace().nth(1) == Some(&address)) else {
        return Ok(None);
    };
    let fields: Vec<&str> = line.split_whitespace().collect();
    let queued = fields[4].split_once(':').context("no queues")?.1;
    let queued = u64::from_str_radix(queued, 16).context("a queue is no number")?;
    let drops = fields.last().context("no drops")?.parse().context("drops are no number")?;
    Ok(Some(Socket { queued, drops }))
}

/// Runs `work` on core `core`, where processes that it starts stay. On a machine with one core nothing is bound.
pub(super) fn on_core<T>(core: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let us: Option<Pid> = None;
    let before = sched_getaffinity(us).context("failed to ask for our cores")?;
    let mut only = CpuSet::new();
    only.set(core);
    let is_bound = before.count() > 1 && sched_setaffinity(us, &only).is_ok();
    let outcome = work();
    if is_bound {
        sched_setaffinity(us, &before).context("failed to leave the core")?;
    }
    outcome
}

fn build_ours() -> Result<PathBuf> {
    let arguments = ["build", "--locked", "--profile", "sidecar", "--package", "statsd-filter"];
    let status = Command::new("cargo").args(arguments).status().context("failed to run cargo")?;
    ensure!(status.success(), "cargo could not build statsd-filter");
    let us = std::env::current_exe().context("failed to find our own program")?;
    let target = us.ancestors().nth(2).context("our own program is in no target folder")?;
    Ok(target.join("sidecar").join("statsd-filter"))
}

fn proxy() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache"))).context("there is no home folder")?;
    let tools = cache.join("dragnet").join("tools");
    let program = tools.join("bin").join("statsdproxy");
    if !program.exists() {
        let status = Command::new("cargo")
            .args(["install", "statsdproxy", "--locked", "--version", PROXY_VERSION, "--root"])
            .arg(&tools)
            .status()
            .context("failed to run cargo")?;
        if !status.success() {
            bail!("cargo could not install statsdproxy");
        }
    }
    Ok(program)
}

/// The sink's socket, with room for what comes in bursts.
pub(super) fn bind_sink() -> Result<UdpSocket> {
    let socket = UdpSocket::bind(("127.0.0.1", SINK_PORT)).context("failed to bind the sink")?;
    rustix::net::sockopt::set_socket_recv_buffer_size(&socket, 4 << 20)
        .context("failed to enlarge the sink's buffer")?;
    Ok(socket)
}

#[expect(clippy::cast_precision_loss, reason = "2^53 nanoseconds are three months")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
