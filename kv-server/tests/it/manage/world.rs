//! A dataset in a folder, and servers of it: the real program, started as a user does.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread::sleep,
    time::{Duration, SystemTime},
};

use dataset::{
    Manifest, Repository, VersionId,
    build::{Build, Format, OnDuplicate, SourceFile, Value},
    manifest::Builder,
};
use tempfile::TempDir;
use tokio::time::Instant;
use types::{Name, Timestamp};

/// Far longer than anything here takes, also on a machine that is busy with other things.
const DEADLINE: Duration = Duration::from_secs(120);

pub(super) const KEYS: usize = 200;

pub(super) struct World {
    pub(super) folder: TempDir,
    runtime: tokio::runtime::Runtime,
    pub(super) repository: Repository,
    pub(super) url: String,
}

impl World {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}/facts", folder.path().display());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let repository = Repository::open(&url).unwrap();
        Self { folder, runtime, repository, url }
    }

    /// A world that announces a version whose values are `v1`.
    pub(super) fn with_first_version() -> (Self, VersionId) {
        let world = Self::new();
        let version = world.build("v1");
        (world, version)
    }

    /// Where the dataset lies.
    pub(super) fn storage(&self) -> PathBuf {
        self.folder.path().join("facts")
    }

    /// Where a version's file lies in storage.
    pub(super) fn stored(&self, version: VersionId, file: &str) -> PathBuf {
        self.storage().join(format!("versions/{version}/{file}"))
    }

    /// The name of the largest record file of a shard, and its size.
    pub(super) fn records_of(&self, version: VersionId, shard: usize) -> (String, u64) {
        let manifest = self.manifest(version);
        let shard = &manifest.shards[shard];
        let file = shard.files.iter().max_by_key(|file| file.size).unwrap();
        (format!("{}/{}", shard.folder(), file.name), file.size)
    }

    pub(super) fn manifest(&self, version: VersionId) -> Manifest {
        self.block_on(self.repository.manifest(&version)).unwrap()
    }

    /// Builds and announces a version whose values all begin with `tag`.
    pub(super) fn build(&self, tag: &str) -> VersionId {
        self.build_with(tag, 2, 100, true)
    }

    /// Some 6 MiB a shard, so that its record file has two chunks.
    pub(super) fn build_large(&self, tag: &str) -> VersionId {
        self.build_with(tag, 2, 60_000, true)
    }

    pub(super) fn build_with(&self, tag: &str, shards: u16, value_bytes: usize, announce: bool) -> VersionId {
        let source = self.folder.path().join(format!("{tag}.csv"));
        let mut rows = String::from("key,value\n");
        for key in 0..KEYS {
            rows.push_str(&format!("key-{key},{tag}:{}\n", noise(key, value_bytes)));
        }
        fs::write(&source, rows).unwrap();
        let build = Build {
            name: Name::new("facts").unwrap(),
            sources: vec![SourceFile { path: source, format: Format::Csv }],
            key: "key".to_owned(),
            value: Value::Column("value".to_owned()),
            shards,
            key_prefix: String::new(),
            on_duplicate: OnDuplicate::Error,
            memory: 64 << 20,
            temp_dir: None,
            announce,
            builder: Builder { program: "test".to_owned(), host: "here".to_owned() },
            now: Timestamp(now_ms() - 5_000),
        };
        self.block_on(build.run(&self.repository, Arc::new(|_| {}))).unwrap().manifest().version
    }

    pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A server of the dataset that looks for news often. Returns when it answers HTTP.
    pub(super) fn server(&self, more: &[&str]) -> Server {
        Server::start(&self.url, &self.data_dir(), more, &[])
    }

    /// Versions on the server's disk.
    pub(super) fn local(&self) -> Vec<String> {
        names(&self.data_dir().join("facts")).into_iter().filter(|name| name.parse::<VersionId>().is_ok()).collect()
    }

    /// What downloads and deletions left on the server's disk.
    pub(super) fn leftovers(&self) -> Vec<String> {
        let names = names(&self.data_dir().join("facts")).into_iter();
        names.filter(|name| name.starts_with('.')).collect()
    }
}

pub(super) fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Text that does not compress, always the same.
fn noise(seed: usize, bytes: usize) -> String {
    let mut state = seed as u64 + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + u8::try_from(state % 26).unwrap())
    };
    (0..bytes).map(|_| next()).collect()
}

pub(super) fn now_ms() -> u64 {
    u64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap()
}

/// A server process; killed when dropped.
pub(super) struct Server {
    pub(super) process: Process,
    pub(super) kv: String,
    pub(super) admin: String,
}

impl Server {
    pub(super) fn start(url: &str, data_dir: &Path, more: &[&str], environment: &[(&str, &str)]) -> Self {
        let folder = data_dir.parent().unwrap();
        let port_file = folder.join("ports");
        let _ = fs::remove_file(&port_file);
        let mut command = Command::new(env!("CARGO_BIN_EXE_kv-server"));
        command.args(["--dataset", url, "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--poll", "50ms"]);
        command.arg("--data-dir").arg(data_dir).arg("--port-file").arg(&port_file).args(more);
        command.args(["--threads", "1", "--disk-reserve", "1"]).envs(environment.iter().copied());
        let mut process = Process::start(command, folder);
        let mut ports = String::new();
        process.wait_until("it holds its ports", || {
            ports = fs::read_to_string(&port_file).unwrap_or_default();
            ports.lines().count() == 2
        });
        let port = |name: &str| {
            let line = ports.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().to_owned()
        };
        Self { kv: port("kv "), admin: port("admin "), process }
    }

    /// The answer to `GET key` up to the colon: which version answered. `None` if there is no answer but an error.
    pub(super) fn tag(&self, key: &str) -> Option<String> {
        let answer = self.redis(&["GET", key]).ok()?;
        Some(answer.split(':').next().unwrap().to_owned())
    }

    /// One request on a connection of its own. `Err` has the error's text.
    pub(super) fn redis(&self, request: &[&str]) -> Result<String, String> {
        let mut client = Client::connect(&self.kv);
        client.ask(request)
    }

    /// Waits until every key is answered from the version with this tag.
    pub(super) fn wait_for_tag(&mut self, tag: &str) {
        let kv = self.kv.clone();
        self.process.wait_until(&format!("{tag} is served"), || {
            let mut client = Client::connect(&kv);
            client.ask(&["GET", "key-0"]).is_ok_and(|value| value.starts_with(&format!("{tag}:")))
        });
        let mut client = Client::connect(&kv);
        for key in 0..KEYS {
            let value = client.ask(&["GET", &format!("key-{key}")]).unwrap();
            assert!(value.starts_with(&format!("{tag}:")), "key {key} is of another version: {}", &value[..20]);
        }
    }

    pub(super) fn status(&self) -> serde_json::Value {
        let (code, body) = http(&self.admin, "GET", "/datasets/facts", "").expect("the server answers");
        assert_eq!(code, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    pub(super) fn post(&self, path: &str, body: &str) -> (u16, serde_json::Value) {
        let (code, body) = http(&self.admin, "POST", path, body).expect("the server answers");
        (code, serde_json::from_str(&body).unwrap_or(serde_json::Value::Null))
    }

    /// Waits until the status is as wanted, and returns it.
    pub(super) fn wait_for_status(
        &mut self,
        what: &str,
        wanted: impl Fn(&serde_json::Value) -> bool,
    ) -> serde_json::Value {
        let admin = self.admin.clone();
        let mut last = serde_json::Value::Null;
        self.process.wait_until(what, || {
            let Some((200, body)) = http(&admin, "GET", "/datasets/facts", "") else { return false };
            last = serde_json::from_str(&body).unwrap();
            wanted(&last)
        });
        last
    }

    /// The value of a metric; `labels` as they are written.
    pub(super) fn metric(&self, name: &str, labels: &str) -> f64 {
        let (_, text) = http(&self.admin, "GET", "/metrics", "").unwrap();
        let line = format!("dragnet_kv_dataset_{name}{{{labels}}} ");
        let value = text.lines().find_map(|text| text.strip_prefix(&line));
        value.unwrap_or_else(|| panic!("no {line} in\n{text}")).trim().parse().unwrap()
    }
}

/// A connection to the server's Redis port.
pub(super) struct Client(BufReader<TcpStream>);

impl Client {
    pub(super) fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        Self(BufReader::new(stream))
    }

    pub(super) fn ask(&mut self, request: &[&str]) -> Result<String, String> {
        let mut bytes = format!("*{}\r\n", request.len());
        request.iter().for_each(|part| bytes.push_str(&format!("${}\r\n{part}\r\n", part.len())));
        self.0.get_mut().write_all(bytes.as_bytes()).map_err(|error| error.to_string())?;
        self.read()
    }

    /// A reply as text; the parts of lists one after the other.
    fn read(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.0.read_line(&mut line).map_err(|error| error.to_string())?;
        let rest = line[1..].trim();
        match line.as_bytes()[0] {
            b'$' if rest != "-1" => {
                let mut value = vec![0; rest.parse::<usize>().unwrap() + 2];
                self.0.read_exact(&mut value).map_err(|error| error.to_string())?;
                Ok(String::from_utf8_lossy(&value[..value.len() - 2]).into_owned())
            }
            b'*' => {
                let parts = (0..rest.parse::<usize>().unwrap()).map(|_| self.read().unwrap_or_default());
                Ok(parts.collect::<Vec<_>>().join(" "))
            }
            b'+' | b':' => Ok(rest.to_owned()),
            _ => Err(line),
        }
    }
}

/// Any process, killed when dropped. What it said is told when a wait fails.
pub(super) struct Process {
    pub(super) child: Child,
    log: PathBuf,
}

impl Process {
    pub(super) fn start(mut command: Command, folder: &Path) -> Self {
        let number = names(folder).iter().filter(|name| name.ends_with(".log")).count();
        let log = folder.join(format!("{number}.log"));
        let file = File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Self { child: command.spawn().expect("the program starts"), log }
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(super) fn wait_until(&mut self, what: &str, mut condition: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !condition() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("waiting until {what}: it ended with {status}:\n{}", self.log());
            }
            assert!(begun.elapsed() < DEADLINE, "waited in vain until {what}:\n{}", self.log());
            sleep(Duration::from_millis(2));
        }
    }

    /// As `kill -9` does.
    pub(super) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its exit code, once it ended by itself.
    pub(super) fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Status and body, if somebody answers.
pub(super) fn http(address: &str, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
    http_with(address, method, path, body, "")
}

pub(super) fn http_with(address: &str, method: &str, path: &str, body: &str, headers: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}
