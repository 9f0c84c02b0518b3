//! The two servers, started and stopped here, and what they use.

#![expect(clippy::disallowed_types, reason = "a bench waits in real time")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::data::{KEY_BYTES, VALUE_BYTES, write_key};
use crate::machine::{cores_of_servers, on};
use crate::measure::{Cpu, tree_of};

/// To load ten million keys from a snapshot, or to fetch and verify them, on a machine that does other things as well.
const READY_DEADLINE: Duration = Duration::from_secs(600);
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// A server that answers.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// From the start of the program to the first answer that holds a value.
    pub(crate) opened_in: Duration,
    child: Child,
}

/// What a process keeps in memory, in MiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Its own.
    pub(crate) anonymous: f64,
    /// Pages of files that the kernel may drop at any time.
    pub(crate) files: f64,
}

impl Server {
    pub(crate) fn redis(folder: &Path) -> Result<Self> {
        let address = free_address()?;
        Self::start(redis(address, folder), address, &folder.join("redis.log"))
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// One process that serves the dataset at `url`, with its defaults.
    pub(crate) fn ours(program: &Path, url: &str, folder: &Path) -> Result<Self> {
        let (address, admin) = (free_address()?, free_address()?);
        let mut command = Command::new(program);
        command.args(["--dataset", url, "--listen", &address.to_string(), "--admin-listen", &admin.to_string()]);
        command.arg("--data-dir").arg(folder.join("served"));
        Self::start(command, address, &folder.join("kv-server.log"))
    }

    fn start(mut command: Command, address: SocketAddr, log: &Path) -> Result<Self> {
        let output = File::create(log).with_context(|| format!("failed to create {}", log.display()))?;
        let errors = output.try_clone().context("failed to share a log")?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let started = Instant::now();
        let spawned = on(&cores_of_servers()?, || command.spawn())?;
        let child = spawned.with_context(|| format!("failed to start {}", command.get_program().display()))?;
        let mut server = Self { address, opened_in: Duration::ZERO, child };
        loop {
            if is_answering(address) {
                server.opened_in = started.elapsed();
                return Ok(server);
            }
            if let Some(status) = server.child.try_wait().context("failed to look after a server")? {
                bail!("the server ended with {status}; it logged:\n{}", tail(log));
            }
            ensure!(started.elapsed() < READY_DEADLINE, "the server is not ready; it logged:\n{}", tail(log));
            sleep(Duration::from_millis(2));
        }
    }

    /// An empty redis, which has no value to answer with.
    pub(crate) fn empty_redis(folder: &Path) -> Result<Self> {
        let address = free_address()?;
        let mut command = redis(address, folder);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().context("failed to start redis-server; `make setup` installs it")?;
        let server = Self { address, opened_in: Duration::ZERO, child };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            ensure!(started.elapsed() < READY_DEADLINE, "redis-server does not listen");
            sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    pub(crate) fn cpu(&self) -> Result<Cpu> {
        Ok(tree_of(self.child.id())?.values().map(|process| process.own).sum())
    }

    pub(crate) fn memory(&self) -> Result<Memory> {
        let file = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&file).with_context(|| format!("failed to read {file}"))?;
        let mib = |key: &str| -> Result<f64> {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(key))
                .with_context(|| format!("no {key} in {file}"))?;
            let kib: f64 = line.trim().trim_end_matches(" kB").parse().with_context(|| format!("{file}: {line}"))?;
            Ok(kib / 1024.0)
        };
        Ok(Memory { anonymous: mib("RssAnon:")?, files: mib("RssFile:")? + mib("RssShmem:")? })
    }

    /// Waits for its end.
    pub(crate) fn stop(mut self) -> Result<()> {
        terminate(&self.child);
        let started = Instant::now();
        while self.child.try_wait().context("failed to wait for a server")?.is_none() {
            ensure!(started.elapsed() < STOP_DEADLINE, "a server does not stop");
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        _ = self.child.kill(); // it may have ended already
        _ = self.child.wait();
    }
}

fn redis(address: SocketAddr, folder: &Path) -> Command {
    let mut command = Command::new("redis-server");
    // Snapshots are written when told; no name for that but an empty `save`.
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &address.port().to_string()]);
    command.arg("--dir").arg(folder);
    command
}

/// Sends one command and returns the first line of the answer.
pub(crate) fn ask(address: SocketAddr, command: &str, deadline: Duration) -> Result<String> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("failed to connect to {address}"))?;
    stream.set_read_timeout(Some(deadline)).context("failed to set up a connection")?;
    stream.write_all(format!("{command}\r\n").as_bytes()).context("failed to send a command")?;
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n") {
        ensure!(stream.read(&mut byte).with_context(|| format!("{command}: no answer"))? > 0, "{command}: no answer");
        answer.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&answer).trim().to_owned())
}

/// The program beside this one.
pub(crate) fn program(name: &str) -> Result<PathBuf> {
    let ours = std::env::current_exe().context("failed to find this program")?;
    let program = ours.with_file_name(name);
    ensure!(program.is_file(), "{} is missing; build it with `make build`", program.display());
    Ok(program)
}

fn is_answering(address: SocketAddr) -> bool {
    let mut key = [0; KEY_BYTES];
    write_key(0, &mut key);
    let command = format!("GET {}", String::from_utf8_lossy(&key));
    ask(address, &command, Duration::from_secs(10)).is_ok_and(|answer| answer == format!("${VALUE_BYTES}"))
}

fn terminate(child: &Child) {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        _ = kill_process(pid, Signal::TERM); // it may have ended already
    }
}

fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("failed to find a free port")?;
    listener.local_addr().context("failed to find a free port")
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}
