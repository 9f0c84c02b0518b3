//! Starts the program, speaks to it, and stops it. Everything waits for a condition, for at most `DEADLINE`.

#![expect(clippy::disallowed_types, reason = "real processes are waited for in real time")]
#![expect(clippy::unwrap_used, reason = "a test that cannot start its program has failed")]

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Generous: the machine may be busy with other things.
const DEADLINE: Duration = Duration::from_secs(60);

/// The program itself.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_statsd-filter"));
    let ours = std::env::vars_os().map(|(name, _)| name);
    for name in ours.filter(|name| name.to_string_lossy().starts_with("STATSD_FILTER_") || name == "PROXY_CONFIG_FILE")
    {
        command.env_remove(name);
    }
    command
}

/// Runs the program to its end.
pub(crate) fn output(args: &[&str]) -> Output {
    program().args(args).output().unwrap()
}

/// A running filter. Stopped with force when it goes out of scope.
pub(crate) struct Filter {
    child: Child,
    log: Receiver<String>,
    seen: Vec<String>,
    folder: TempDir,
}

impl Filter {
    /// Starts one that listens on a free port of 127.0.0.1 and sends to `agent`.
    pub(crate) fn start(agent: &Agent, args: &[&str]) -> Self {
        let port = agent.address().port().to_string();
        let host = agent.address().ip().to_string();
        let target =
            ["--listen-host", "127.0.0.1", "--listen-port", "0", "--target-host", &host, "--target-port", &port];
        Self::start_with(tempfile::tempdir().unwrap(), &[&target[..], args].concat())
    }

    /// Starts one with `config` in a file of that name, and flags besides.
    pub(crate) fn start_with_file(name: &str, config: &str, args: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(name);
        std::fs::write(&file, config).unwrap();
        Self::start_with(folder, &[&["--config", file.to_str().unwrap()], args].concat())
    }

    pub(crate) fn start_with(folder: TempDir, args: &[&str]) -> Self {
        let mut command = program();
        command
            .args(args)
            .args(["--metrics-listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .env("NO_COLOR", "1")
            .env("DRAGNET_LOG_FORMAT", "text");
        let mut child = command.spawn().unwrap();
        let (lines, log) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| lines.send(line)));
        let mut filter = Self { child, log, seen: Vec::new(), folder };
        filter.wait_for_log("forwarding");
        filter
    }

    /// The first log line that contains `text`, past or future.
    pub(crate) fn wait_for_log(&mut self, text: &str) -> String {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(line) = self.seen.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            let line = self.log.recv_timeout(end.saturating_duration_since(Instant::now()));
            self.seen.push(line.unwrap_or_else(|_| panic!("no log line with {text:?} in {:#?}", self.seen)));
        }
    }

    fn address_after(&mut self, word: &str) -> SocketAddr {
        let line = self.wait_for_log(&format!("{word} address="));
        line.rsplit_once("address=").unwrap().1.split(' ').next().unwrap().parse().unwrap()
    }

    /// Where it receives UDP.
    pub(crate) fn address(&mut self) -> SocketAddr {
        self.address_after("listening")
    }

    /// The page with its metrics.
    pub(crate) fn page(&mut self) -> String {
        let address = self.address_after("metrics");
        get(address, "/metrics")
    }

    pub(crate) fn metric(&mut self, name: &str) -> u64 {
        let page = self.page();
        let line = page.lines().find_map(|line| line.strip_prefix(&format!("statsd_filter_{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {page}")).parse().unwrap()
    }

    /// Waits until `name` is at least `least`.
    pub(crate) fn wait_for_metric(&mut self, name: &str, least: u64) {
        self.wait_until(&format!("{name} >= {least}"), |filter| filter.metric(name) >= least);
    }

    pub(crate) fn wait_until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let end = Instant::now() + DEADLINE;
        while !is_so(self) {
            assert!(Instant::now() < end, "never {what}: {}", self.page());
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Stops it, and waits until each of its threads stands: a signal that was sent may not have come yet.
    pub(crate) fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        let pid = Pid::from_raw(self.child.id().cast_signed());
        assert_eq!(waitpid(pid, Some(WaitPidFlag::WUNTRACED)), Ok(WaitStatus::Stopped(pid, Signal::SIGSTOP)));
    }

    /// Tells it to read its configuration again, and waits until it has.
    pub(crate) fn reload(&mut self) {
        let reloads = |filter: &mut Self| {
            filter.metric(r#"config_reloads_total{result="applied"}"#)
                + filter.metric(r#"config_reloads_total{result="refused"}"#)
        };
        let before = reloads(self);
        self.signal(Signal::SIGHUP);
        self.wait_until("reloaded", |filter| reloads(filter) > before);
    }

    /// Waits for the end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Filter {
    fn drop(&mut self) {
        let _ended_already_is_fine = self.child.kill();
        let _reaped_already_is_fine = self.child.wait();
    }
}

/// Asks for `path` over HTTP and returns the body.
pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Receives, again if the call was interrupted: one with a time limit is not resumed by the kernel.
pub(crate) fn received(mut receive: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    let end = Instant::now() + DEADLINE;
    loop {
        match receive() {
            Err(error) if error.kind() == ErrorKind::Interrupted && Instant::now() < end => {}
            received => return received,
        }
    }
}

/// Who receives what is forwarded.
pub(crate) struct Agent {
    socket: UdpSocket,
}

impl Agent {
    pub(crate) fn new() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap())
    }

    pub(crate) fn at(address: SocketAddr) -> Self {
        let socket = UdpSocket::bind(address).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { socket }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    pub(crate) fn datagram(&self) -> Vec<u8> {
        let mut buffer = vec![0; 1 << 16];
        let length = received(|| self.socket.recv(&mut buffer)).expect("a datagram arrives");
        buffer.truncate(length);
        buffer
    }

    /// The next `count` lines, in however many datagrams.
    pub(crate) fn lines(&self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        while lines.len() < count {
            lines.extend(String::from_utf8(self.datagram()).unwrap().split('\n').map(str::to_owned));
        }
        assert_eq!(lines.len(), count, "{lines:?}");
        lines
    }
}

/// A client with a socket of its own, so that all it sends takes one way.
pub(crate) struct Client {
    socket: UdpSocket,
}

impl Client {
    pub(crate) fn of(filter: &mut Filter) -> Self {
        Self::to(filter.address())
    }

    pub(crate) fn to(address: SocketAddr) -> Self {
        let socket =
            if address.is_ipv4() { UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) } else { UdpSocket::bind("[::1]:0") };
        let socket = socket.unwrap();
        socket.connect(address).unwrap();
        Self { socket }
    }

    pub(crate) fn send(&self, datagram: impl AsRef<[u8]>) {
        self.socket.send(datagram.as_ref()).unwrap();
    }
}
