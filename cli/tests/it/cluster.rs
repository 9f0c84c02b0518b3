//! A cluster of a test: `dragnet up` in a temporary folder, stopped when the test ends.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    thread::sleep,
    time::{Duration, SystemTime},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Long enough for a busy machine with two cores; nothing waits for it that works.
const DEADLINE: Duration = Duration::from_secs(120);

pub(crate) struct Cluster {
    pub(crate) dir: TempDir,
    pub(crate) port: u16,
    up: Option<Child>,
}

impl Cluster {
    /// A cluster of one orchestrator that is ready.
    pub(crate) fn start() -> Self {
        Self::start_with(&["--orchestrators", "1"])
    }

    pub(crate) fn start_with(flags: &[&str]) -> Self {
        for program in ["orchestrator", "scan-worker"] {
            beside(program);
        }
        let mut cluster = Self { dir: tempfile::tempdir().unwrap(), port: free_port(3), up: None };
        let port = cluster.port.to_string();
        cluster.up(&[&["--port", &port, "--scanners", "1"], flags].concat());
        cluster
    }

    /// Starts `up` in the folder and waits until it says that it is ready.
    pub(crate) fn up(&mut self, flags: &[&str]) {
        let log = self.dir.path().join("up.out");
        let out = File::create(&log).unwrap();
        let mut command = dragnet(&[&["up", "--json", "--dir", self.data().to_str().unwrap()], flags].concat());
        let child = command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out).spawn().unwrap();
        self.up = Some(child);
        wait_for("the cluster is ready", || {
            let text = fs::read_to_string(&log).unwrap();
            if let Some(status) = self.up.as_mut().unwrap().try_wait().unwrap() {
                panic!("up ended ({status}): {text}");
            }
            text.contains("\"ready\":true")
        });
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn up_pid(&self) -> u32 {
        self.up.as_ref().unwrap().id()
    }

    pub(crate) fn up_says(&self) -> String {
        fs::read_to_string(self.dir.path().join("up.out")).unwrap()
    }

    /// A folder below the test's own, with files of the given names and texts.
    pub(crate) fn folder(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = self.dir.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            fs::write(folder.join(name), text).unwrap();
        }
        folder
    }

    /// Runs a command against the cluster.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        let members: Vec<_> = (0..3).map(|member| format!("127.0.0.1:{}", self.port + member)).collect();
        dragnet(args).env("DRAGNET_CLUSTER", members.join(",")).output().unwrap()
    }

    /// Runs a command that must succeed; returns what it printed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}{}", stdout(&output), stderr(&output));
        stdout(&output)
    }

    /// Runs a command with `--json` and parses each line.
    pub(crate) fn objects(&self, args: &[&str]) -> Vec<Value> {
        let text = self.ok(&[args, &["--json"]].concat());
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    /// The same for a command that may fail: while members come and go, an answer is not owed.
    pub(crate) fn try_objects(&self, args: &[&str]) -> Option<Vec<Value>> {
        let output = self.run(&[args, &["--json"]].concat());
        let lines = stdout(&output);
        output.status.success().then(|| lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.up_pid().cast_signed()).unwrap(), signal).unwrap();
    }

    /// Ctrl-C, and waits for the end.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::INT);
        self.up.take().unwrap().wait().unwrap()
    }

    /// Ends `up` as nothing can be answered to, and reaps it.
    pub(crate) fn kill_up(&mut self) {
        let mut up = self.up.take().unwrap();
        up.kill().unwrap();
        up.wait().unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if self.up.is_some() {
            self.stop();
        }
    }
}

pub(crate) fn dragnet(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(args).env_remove("DRAGNET_TENANT").env("DRAGNET_CLUSTER", "127.0.0.1:1");
    command
}

fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_dragnet"))
}

/// Another program of ours, which lies beside the tested one.
pub(crate) fn beside(name: &str) -> PathBuf {
    let program = binary().with_file_name(name);
    assert!(program.is_file(), "{name} is not built: cargo build --release");
    program
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Waits for a condition, with a deadline.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let started = SystemTime::now();
    while !condition() {
        assert!(started.elapsed().unwrap_or_default() < DEADLINE, "not within {DEADLINE:?}: {what}");
        sleep(Duration::from_millis(50));
    }
}

/// The first of several free ports in a row, other ones for each test of this process.
pub(crate) fn free_port(members: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        // Below the range from which the kernel gives ports to clients.
        let own = u16::try_from(std::process::id() % 300).unwrap() * 40;
        let first = 18_000 + (own + NEXT.fetch_add(4, Ordering::Relaxed)) % 12_000;
        if (first..first + members).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return first;
        }
    }
}

/// Whether a process of that id is there.
pub(crate) fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Processes whose command line names the path.
pub(crate) fn processes_of(path: &Path) -> Vec<u32> {
    let own = std::process::id();
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let named = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(path.to_str().unwrap())
    };
    pids.filter(|pid| *pid != own).filter(named).collect()
}
