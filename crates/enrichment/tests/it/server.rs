//! Real `redis-server` processes.

use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};

use enrichment::{Answer, Datasets, Limits, Options, Source};
use redis::{FromRedisValue, aio::MultiplexedConnection};
use tokio::time::{Instant, sleep};
use types::Name;

/// Long enough for a process to start on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Server {
    process: Child,
    pub(crate) port: u16,
    _folder: tempfile::TempDir,
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Half a second, as it is by default, is not much on a busy machine.
pub(crate) fn patient() -> redis::AsyncConnectionConfig {
    redis::AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE))
}

impl Server {
    pub(crate) async fn start(flags: &[&str]) -> Self {
        Self::start_at(free_port(), flags).await
    }

    pub(crate) async fn start_at(port: u16, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let process = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(folder.path())
            .args(flags)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        let server = Self { process, port, _folder: folder };
        let begun = Instant::now();
        while server.try_connection().await.is_none() {
            assert!(begun.elapsed() < PATIENCE, "redis-server does not start");
            sleep(Duration::from_millis(10)).await;
        }
        server
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// None also for a server that asks for a password.
    async fn try_connection(&self) -> Option<MultiplexedConnection> {
        let client = redis::Client::open(format!("redis://{}", self.address())).unwrap();
        match client.get_multiplexed_async_connection_with_config(&patient()).await {
            Ok(connection) => Some(connection),
            Err(error) => {
                assert!(!error.to_string().contains("NOAUTH"));
                None
            }
        }
    }

    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &[&str]) -> T {
        let mut connection = self.try_connection().await.unwrap();
        let mut asked = redis::cmd(command[0]);
        asked.arg(&command[1..]);
        asked.query_async(&mut connection).await.unwrap()
    }

    pub(crate) async fn set(&self, key: &str, value: &str) {
        let () = self.ask(&["SET", key, value]).await;
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.process.id().cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) fn name() -> Name {
    Name::new("packages").unwrap()
}

/// Gives up after three failures, for a tenth of a second.
pub(crate) fn options() -> Options {
    Options {
        deadline: Duration::from_secs(10),
        breaker: Limits { failures: 3, cool_down: Duration::from_millis(100) },
        ..Options::default()
    }
}

pub(crate) fn datasets(place: &str, options: Options) -> Datasets {
    let source: Source = format!("packages=redis://{place}").parse().unwrap();
    Datasets::new(vec![source], options).unwrap()
}

pub(crate) fn found(value: &str) -> Answer {
    Answer::Found { value: value.as_bytes().to_vec(), version: None }
}

pub(crate) fn missing() -> Answer {
    Answer::Missing { version: None }
}

/// Looks up again and again until the answers are as wanted.
pub(crate) async fn until(datasets: &Datasets, keys: &[&str], wanted: impl Fn(&[Answer]) -> bool) -> Vec<Answer> {
    let begun = Instant::now();
    loop {
        let answers = datasets.lookup(&name(), keys).await;
        if wanted(&answers) {
            return answers;
        }
        assert!(begun.elapsed() < PATIENCE, "still {answers:?}");
        sleep(Duration::from_millis(10)).await;
    }
}
