//! RocksDB directories, servers of them, and connections that show every byte.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, SystemTime},
};

use shard::{WriteOptions, Writer};
use tempfile::TempDir;

/// Far longer than anything here takes, also on a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_secs(60);

/// Writes a RocksDB directory. `records` are in ascending order of their keys.
pub(super) fn directory<K: AsRef<[u8]>, V: AsRef<[u8]>>(folder: &Path, records: impl IntoIterator<Item = (K, V)>) {
    let options = WriteOptions::default();
    let mut writer = Writer::create(folder, &options).unwrap();
    for (key, value) in records {
        writer.put(key.as_ref(), value.as_ref()).unwrap();
    }
    writer.finish().unwrap();
}

/// `key:00000` to its number, and what is said of it.
pub(super) fn numbered(count: usize) -> impl Iterator<Item = (String, String)> {
    (0..count).map(|number| (format!("key:{number:05}"), format!("value of {number}")))
}

/// A running `kv-server`, ended when dropped.
pub(super) struct Server {
    process: Child,
    pub(super) address: SocketAddr,
    admin: SocketAddr,
    log: PathBuf,
    _folder: TempDir,
}

impl Server {
    /// One that serves `key:00000` to `key:00999`.
    pub(super) fn of_a_thousand(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let records = folder.path().join("records");
        directory(&records, numbered(1000));
        let source = format!("{},name=facts", records.display());
        Self::start_in(folder, &[&["--rocksdb", source.as_str()], arguments].concat())
    }

    pub(super) fn start(arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), arguments)
    }

    fn start_in(folder: TempDir, arguments: &[&str]) -> Self {
        let (ports, log) = (folder.path().join("ports"), folder.path().join("log"));
        let process = Command::new(env!("CARGO_BIN_EXE_kv-server"))
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--threads", "2", "--port-file"])
            .arg(&ports)
            .args(arguments)
            .stdin(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut server = Self {
            process,
            address: ([127, 0, 0, 1], 0).into(),
            admin: ([127, 0, 0, 1], 0).into(),
            log,
            _folder: folder,
        };
        let text = until("the server tells its ports", || {
            if let Some(status) = server.process.try_wait().unwrap() {
                panic!("the server ended with {status}: {}", server.log());
            }
            fs::read_to_string(&ports).ok()
        });
        let port = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap();
        (server.address, server.admin) = (port("kv"), port("admin"));
        server
    }

    pub(super) fn connect(&self) -> Connection {
        Connection::to(self.address)
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// An administrative request; returns status and body.
    pub(super) fn admin(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.admin).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: kv\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// The value of a metric, labels included in `name` as they are written.
    pub(super) fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.admin("GET", "/metrics", "");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no metric {name} in:\n{text}")).parse().unwrap()
    }

    /// Memory in use, in bytes.
    pub(super) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() * 1024
    }

    pub(super) fn terminate(&self) {
        let killed = Command::new("kill").arg(self.process.id().to_string()).status().unwrap();
        assert!(killed.success());
    }

    pub(super) fn ended(&mut self) -> ExitStatus {
        let process = &mut self.process;
        until("the server ends", || process.try_wait().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Looks until there is something to see.
pub(super) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let started = SystemTime::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(started.elapsed().unwrap_or_default() < DEADLINE, "waited too long: {what}");
        sleep(Duration::from_millis(10));
    }
}

/// A connection without a client library: every byte counts.
pub(super) struct Connection {
    pub(super) stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    pub(super) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Self { stream, received: Vec::new() }
    }

    pub(super) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends a line and returns the reply, all of it.
    pub(super) fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n"));
        self.reply()
    }

    /// Sends a line and expects exactly these bytes.
    #[track_caller]
    pub(super) fn expect(&mut self, line: &str, reply: &str) {
        assert_eq!(self.ask(line), reply, "{line}");
    }

    /// The next reply or push, byte by byte as it came.
    pub(super) fn reply(&mut self) -> String {
        loop {
            if let Some(length) = frame(&self.received) {
                let frame: Vec<u8> = self.received.drain(..length).collect();
                return String::from_utf8_lossy(&frame).into_owned();
            }
            assert!(
                self.receive() > 0,
                "the server closed the connection after {:?}",
                String::from_utf8_lossy(&self.received)
            );
        }
    }

    /// Everything until the server closes the connection.
    pub(super) fn rest(&mut self) -> String {
        while self.receive() > 0 {}
        String::from_utf8_lossy(&std::mem::take(&mut self.received)).into_owned()
    }

    fn receive(&mut self) -> usize {
        let mut buffer = [0; 64 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(bytes) => {
                self.received.extend_from_slice(&buffer[..bytes]);
                bytes
            }
            // What the server had not read when it closed.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 0,
            // A call with a time limit is not resumed by the kernel.
            Err(error) if error.kind() == ErrorKind::Interrupted => self.receive(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// How long the first whole frame is.
fn frame(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")? + 2;
    let number = || std::str::from_utf8(&bytes[1..end - 2]).unwrap().parse::<i64>().unwrap();
    let parts = match bytes[0] {
        b'$' | b'=' => {
            let length = usize::try_from(number()).map_or(end, |length| end + length + 2);
            return (bytes.len() >= length).then_some(length);
        }
        b'*' | b'~' | b'>' => number().max(0),
        b'%' => number() * 2,
        _line => 0,
    };
    let mut length = end;
    for _ in 0..parts {
        length += frame(&bytes[length..])?;
    }
    Some(length)
}

/// A request as clients send it.
pub(super) fn request(arguments: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    resp::write_request(arguments.iter().map(|argument| argument.as_bytes()), &mut bytes);
    bytes
}

impl Connection {
    /// The next reply, or nothing if the server closes the connection.
    pub(super) fn rest_or_reply(&mut self) -> String {
        loop {
            if frame(&self.received).is_some() {
                return self.reply();
            }
            if self.receive() == 0 {
                return String::new();
            }
        }
    }
}
