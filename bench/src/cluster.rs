//! A cluster of the real programs on the loopback interface: one orchestrator, one worker, a folder that goes when it ends.
//!
//! It is driven as a user would, through `dragnet --json`.

#![expect(clippy::disallowed_types, reason = "a bench waits in real time")]

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::machine::version_of;
use crate::measure::{Cpu, Process, ended_children, tree_of};

/// Starting takes a second; a machine that compiles at the same time may take a while.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// Longer than the orchestrator and the worker take to drain.
const STOP_DEADLINE: Duration = Duration::from_secs(40);
/// For one sweep; far above what the largest takes.
const SWEEP_TIMEOUT: &str = "30m";

pub(crate) struct Cluster {
    programs: PathBuf,
    address: String,
    // Fields are dropped in this order: the worker stops while its orchestrator is still there, and the folder goes last.
    worker: Running,
    orchestrator: Running,
    _folder: TempDir,
}

/// A hunt that has caught up, as `dragnet receipt --json` prints it.
#[derive(Debug, Deserialize)]
pub(crate) struct Receipt {
    corpus: String,
    version: u32,
    pub(crate) stored_files: u64,
    pub(crate) stored_bytes: u64,
    pub(crate) matched: u64,
    pub(crate) clean: u64,
    caught_up_at_ms: Option<u64>,
}

impl Receipt {
    fn and(self, other: Self) -> Self {
        Self {
            corpus: self.corpus,
            version: self.version,
            stored_files: self.stored_files + other.stored_files,
            stored_bytes: self.stored_bytes + other.stored_bytes,
            matched: self.matched + other.matched,
            clean: self.clean + other.clean,
            // Caught up as a whole with the last one, and not before each one is.
            caught_up_at_ms: self.caught_up_at_ms.zip(other.caught_up_at_ms).map(|(one, two)| one.max(two)),
        }
    }
}

/// Names of corpora that are swept together.
pub(crate) struct Corpora(Vec<String>);

/// One push of rules until each file had its answer under them.
pub(crate) struct Sweep {
    pub(crate) receipt: Receipt,
    /// From the start of `dragnet rules push` to the commit that settled the last segment.
    pub(crate) time: Duration,
    pub(crate) cpu: CpuByRole,
}

/// CPU time by what it was used for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuByRole {
    pub(crate) orchestrator: Cpu,
    pub(crate) supervisor: Cpu,
    pub(crate) scanners: Cpu,
    /// `dragnet rules push` and `dragnet hunt watch`.
    pub(crate) commands: Cpu,
}

impl Cluster {
    pub(crate) fn start(scanners: NonZeroUsize) -> Result<Self> {
        let programs = beside_us()?;
        let folder = tempfile::tempdir().context("failed to create a folder for the cluster")?;
        let address = free_address()?;
        let storage = format!("file://{}", folder.path().join("objects").display());

        let mut orchestrator = Command::new(programs.join("orchestrator"));
        orchestrator.arg("--dir").arg(folder.path().join("node"));
        orchestrator.args(["--listen", &address, "--storage", &storage, "--bootstrap"]);
        let orchestrator = Running::start(orchestrator, &folder.path().join("orchestrator.log"))?;

        let mut worker = Command::new(programs.join("scan-worker"));
        worker.args(["--orchestrators", &address, "--name", "bench", "--scanners", &scanners.to_string()]);
        let worker = Running::start(worker, &folder.path().join("scan-worker.log"))?;

        let mut cluster = Self { programs, address, worker, orchestrator, _folder: folder };
        cluster.wait_until_ready()?;
        Ok(cluster)
    }

    /// Adds a corpus per folder that is listed once and, as far as a bench is concerned, never again.
    pub(crate) fn add_corpora(&self, name: &str, folders: &[PathBuf]) -> Result<Corpora> {
        let mut names = Vec::new();
        for (number, folder) in folders.iter().enumerate() {
            let name = format!("{name}-{number}");
            let folder = folder.to_str().context("the corpus's path is not UTF-8")?;
            self.dragnet(&["corpus", "add", &name, folder, "--list-every", "24h"])?;
            names.push(name);
        }
        Ok(Corpora(names))
    }

    /// Pushes rules for the corpora and waits until each of their files has its answer.
    pub(crate) fn sweep(&self, ruleset: &str, rules: &Path, corpora: &Corpora) -> Result<Sweep> {
        let rules = rules.to_str().context("the rules' path is not UTF-8")?;
        let before = self.cpu()?;
        let started = now_ms()?;
        let mut push = vec!["rules", "push", rules, "--name", ruleset];
        push.extend(corpora.0.iter().flat_map(|corpus| ["--corpus", corpus.as_str()]));
        self.dragnet(&push)?;
        self.dragnet(&["hunt", "watch", ruleset, "--until-caught-up", "--timeout", SWEEP_TIMEOUT])?;
        let cpu = self.cpu()?.since(before);
        let receipt = self.receipt(ruleset, corpora)?;
        let caught_up = receipt.caught_up_at_ms.context("the hunt has caught up, but its receipt does not say when")?;
        Ok(Sweep { receipt, time: Duration::from_millis(caught_up.saturating_sub(started)), cpu })
    }

    /// Ends hunting with a ruleset, so that the next one has the worker for itself.
    pub(crate) fn retire(&self, ruleset: &str) -> Result<()> {
        self.dragnet(&["rules", "retire", ruleset]).map(drop)
    }

    pub(crate) fn version(&self) -> Result<String> {
        version_of(self.programs.join("dragnet"))
    }

    /// The receipts of the ruleset's newest version, added up over the corpora.
    fn receipt(&self, ruleset: &str, corpora: &Corpora) -> Result<Receipt> {
        let objects = self.dragnet(&["receipt", ruleset])?;
        let receipts: Vec<Receipt> = objects
            .into_iter()
            .map(|object| serde_json::from_value(object).context("failed to read a receipt"))
            .collect::<Result<_>>()?;
        let newest = receipts.iter().map(|receipt| receipt.version).max();
        let of_hunt: Vec<_> = receipts
            .into_iter()
            .filter(|receipt| Some(receipt.version) == newest && corpora.0.contains(&receipt.corpus))
            .collect();
        ensure!(of_hunt.len() == corpora.0.len(), "{} receipts of {ruleset}", of_hunt.len());
        let sum = of_hunt.into_iter().reduce(Receipt::and);
        sum.with_context(|| format!("there is no receipt of {ruleset}"))
    }

    fn cpu(&self) -> Result<CpuByRole> {
        let own = |process: &Process| process.own + process.ended_children;
        let orchestrator = tree_of(self.orchestrator.id())?.values().map(own).sum();
        let worker = tree_of(self.worker.id())?;
        let supervisor = worker.get(&self.worker.id()).context("the worker has ended; its log went with its folder")?;
        // Everything below the supervisor scans; what has ended there is in the supervisor's books.
        let living: Cpu =
            worker.iter().filter(|(pid, _)| **pid != self.worker.id()).map(|(_, process)| own(process)).sum();
        Ok(CpuByRole {
            orchestrator,
            supervisor: supervisor.own,
            scanners: living + supervisor.ended_children,
            commands: ended_children()?,
        })
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        while !self.is_ready() {
            self.orchestrator.check_alive()?;
            self.worker.check_alive()?;
            ensure!(Instant::now() < deadline, "the cluster did not come up in {START_DEADLINE:?}: {}", self.logs());
            sleep(Duration::from_millis(100)); // between two questions: nothing tells us when the worker has come
        }
        Ok(())
    }

    /// Whether a leader answers and the worker has a session with it.
    fn is_ready(&self) -> bool {
        let Ok(objects) = self.dragnet(&["status"]) else { return false };
        let sessions = objects.iter().filter_map(|object| object["cluster"]["sessions"].as_array());
        sessions.map(Vec::len).sum::<usize>() > 0
    }

    fn logs(&self) -> String {
        format!("{}\n{}", self.orchestrator.log(), self.worker.log())
    }

    /// Runs a command of `dragnet` and returns the objects that it prints.
    fn dragnet(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let mut command = Command::new(self.programs.join("dragnet"));
        command.args(["--json", "--cluster", &self.address]).args(arguments);
        let shown = arguments.join(" ");
        let output = command.output().with_context(|| format!("failed to start `dragnet {shown}`"))?;
        if !output.status.success() {
            bail!("`dragnet {shown}` ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        }
        let objects = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
        objects.collect::<Result<_, _>>().with_context(|| format!("failed to read the output of `dragnet {shown}`"))
    }
}

impl CpuByRole {
    pub(crate) fn total(self) -> Cpu {
        let Self { orchestrator, supervisor, scanners, commands } = self;
        orchestrator + supervisor + scanners + commands
    }

    fn since(self, earlier: Self) -> Self {
        let Self { orchestrator, supervisor, scanners, commands } = self;
        Self {
            orchestrator: orchestrator - earlier.orchestrator,
            supervisor: supervisor - earlier.supervisor,
            scanners: scanners - earlier.scanners,
            commands: commands - earlier.commands,
        }
    }
}

/// A program of ours with its log; told to stop when dropped.
struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    fn start(mut command: Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("failed to create {}", log.display()))?;
        let program = command.get_program().to_owned();
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn();
        let child = started.with_context(|| format!("failed to start {}", program.display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    fn id(&self) -> u32 {
        self.child.id()
    }

    fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait().context("failed to look after a program")? {
            None => Ok(()),
            Some(status) => bail!("a program of the cluster ended with {status}: {}", self.log()),
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id())
            && let Some(pid) = Pid::from_raw(pid)
        {
            _ = kill_process(pid, Signal::TERM); // it may have ended already
        }
        let deadline = Instant::now() + STOP_DEADLINE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            sleep(Duration::from_millis(50));
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            _ = self.child.kill();
            _ = self.child.wait();
        }
    }
}

/// Where our programs are: beside this one, as cargo builds them.
fn beside_us() -> Result<PathBuf> {
    let us = std::env::current_exe().context("failed to find our own program")?;
    let folder = us.parent().context("our own program is nowhere")?.to_owned();
    for program in ["dragnet", "orchestrator", "scan-worker"] {
        ensure!(folder.join(program).is_file(), "{program} is not in {}; `make build` builds it", folder.display());
    }
    Ok(folder)
}

/// A port of the loopback interface that was free just now.
fn free_address() -> Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("failed to find a free port")?;
    Ok(listener.local_addr().context("failed to find a free port")?.to_string())
}

/// By the wall clock, as the receipts say it.
fn now_ms() -> Result<u64> {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    u64::try_from(since_epoch.as_millis()).context("the clock is wrong")
}
