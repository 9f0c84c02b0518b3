//! Our server, as a user starts it: datasets built from Parquet into a folder, served by one process or by a cluster of two.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow_array::{ArrayRef, BinaryArray, RecordBatch};
use dataset::Repository;
use dataset::build::{Build, Format, OnDuplicate, SourceFile, Value};
use dataset::manifest::Builder;
use parquet::arrow::ArrowWriter;
use tempfile::TempDir;
use types::{Name, Timestamp};

use crate::process::{Running, free_ports};
use crate::scenario::{Data, Pair};

/// Ids of the two nodes of a cluster.
const NODES: [&str; 2] = ["1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"];

/// Datasets in object storage, for any number of servers.
pub(crate) struct Datasets {
    main: String,
    other: String,
    folder: TempDir,
}

pub(crate) struct KvServer {
    pub(crate) port: u16,
    admin: u16,
    running: Running,
    _folder: TempDir,
}

impl Datasets {
    pub(crate) fn of(data: &Data) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let main = build(folder.path(), "main", &data.all().collect::<Vec<_>>());
        let other = build(folder.path(), "other", &[&data.other_db.pair]);
        Self { main, other, folder }
    }

    /// One server with both datasets, as databases 0 and 1.
    pub(crate) fn serve(&self, more: &[&str]) -> KvServer {
        let [port, admin] = free_ports();
        let other = format!("{},db=1", self.other);
        let mut arguments = vec!["--dataset", &self.main, "--dataset", &other];
        arguments.extend(more);
        KvServer::start(port, admin, &arguments)
    }

    /// Two servers with a shard of the main dataset each.
    pub(crate) fn serve_as_cluster(&self, more: &[&str]) -> [KvServer; 2] {
        let [first, second, first_admin, second_admin] = free_ports();
        let topology = serde_json::json!({ "epoch": 1, "nodes": [
            { "id": NODES[0], "host": "127.0.0.1", "port": first, "slots": [[0, 8191]] },
            { "id": NODES[1], "host": "127.0.0.1", "port": second, "slots": [[8192, 16383]] },
        ]});
        let file = self.folder.path().join(format!("topology-{first}.json"));
        fs::write(&file, topology.to_string()).unwrap();
        let start = |node: usize, port, admin| {
            let shard = node.to_string();
            let mut arguments = vec!["--dataset", &self.main, "--shards", &shard];
            arguments.extend(["--cluster-topology", file.to_str().unwrap(), "--cluster-node", NODES[node]]);
            arguments.extend(more);
            KvServer::start(port, admin, &arguments)
        };
        [start(0, first, first_admin), start(1, second, second_admin)]
    }

    /// A file with a password, for `--password-file`.
    pub(crate) fn password_file(&self, password: &str) -> String {
        let file = self.folder.path().join("password");
        fs::write(&file, password).unwrap();
        file.to_str().unwrap().to_owned()
    }
}

impl KvServer {
    fn start(port: u16, admin: u16, arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_kv-server"));
        command.args(arguments).arg("--data-dir").arg(folder.path().join("data"));
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--admin-listen", &format!("127.0.0.1:{admin}")]);
        let running = Running::start(command, &folder.path().join("kv-server.log"));
        let mut server = Self { port, admin, running, _folder: folder };
        server.running.wait_until("kv-server is ready", || {
            get(admin, "/readyz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
        });
        server
    }

    /// How many mutations it says that it refused.
    pub(crate) fn refused(&self) -> u64 {
        let metrics = get(self.admin, "/metrics").expect("the metrics are there");
        let lines = metrics.lines().filter(|line| line.contains("refused_mutations_total") && !line.starts_with('#'));
        let counts: Vec<f64> = lines.map(|line| line.rsplit(' ').next().unwrap().parse().unwrap()).collect();
        assert!(!counts.is_empty(), "no such metric:\n{metrics}");
        let sum: f64 = counts.iter().sum();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let sum = sum as u64;
        sum
    }
}

/// The URL of a new dataset with two shards that holds `pairs`, announced.
fn build(folder: &Path, name: &str, pairs: &[&Pair]) -> String {
    let source = folder.join(format!("{name}.parquet"));
    let column = |bytes: fn(&Pair) -> &[u8]| -> ArrayRef {
        Arc::new(BinaryArray::from_iter_values(pairs.iter().map(|pair| bytes(pair))))
    };
    let rows =
        RecordBatch::try_from_iter([("key", column(|pair| &pair.key.0)), ("value", column(|pair| &pair.value.0))]);
    let rows = rows.unwrap();
    let mut writer = ArrowWriter::try_new(File::create(&source).unwrap(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();

    let url = format!("file://{}", folder.join(name).display());
    fs::create_dir(folder.join(name)).unwrap();
    let build = Build {
        name: Name::new(name).unwrap(),
        sources: vec![SourceFile { path: source, format: Format::Parquet }],
        key: "key".to_owned(),
        value: Value::Column("value".to_owned()),
        shards: 2,
        key_prefix: String::new(),
        on_duplicate: OnDuplicate::Error,
        memory: 64 << 20,
        temp_dir: None,
        announce: true,
        builder: Builder { program: "conformance".to_owned(), host: "here".to_owned() },
        now: Timestamp(1_700_000_000_000),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let repository = Repository::open(&url).unwrap();
    runtime.block_on(build.run(&repository, Arc::new(|_step| {}))).unwrap();
    url
}

/// The whole answer to one request, if somebody answers.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
