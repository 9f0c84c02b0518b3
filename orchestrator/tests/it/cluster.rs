//! A cluster of real processes, and a way to ask it.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use protocol::{
    client::{LeaderClient, channel},
    v1::{self, cluster_client::ClusterClient, scan_client::ScanClient},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep},
};
use tonic::transport::Channel;

/// Long enough for a machine that is busy with other things; a test that waits so long has failed.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until `probe` gives a value.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(started.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) struct Cluster {
    pub(crate) dir: TempDir,
    addresses: Vec<String>,
    http: Vec<String>,
    processes: Vec<Option<Child>>,
    flags: Vec<String>,
    hosts: Option<PathBuf>,
}

impl Cluster {
    /// Starts `size` members one after the other and waits until all vote.
    pub(crate) async fn start(size: usize) -> Self {
        Self::start_with(size, &[]).await
    }

    pub(crate) async fn start_with(size: usize, flags: &[&str]) -> Self {
        let mut cluster = Self::not_started(size, flags);
        cluster.spawn(0, &["--bootstrap"]);
        eventually("the first member leads", async || cluster.status(0).await.filter(|status| status.ready)).await;
        for index in 1..size {
            cluster.restart(index);
        }
        cluster.wait_for_voters(size).await;
        cluster
    }

    /// Addresses and folders, and nothing that runs.
    pub(crate) fn not_started(size: usize, flags: &[&str]) -> Self {
        let mut addresses = free_addresses(size * 2);
        let mut cluster = Self {
            dir: tempfile::tempdir().unwrap(),
            http: addresses.split_off(size),
            addresses,
            processes: Vec::new(),
            flags: flags.iter().map(ToString::to_string).collect(),
            hosts: None,
        };
        cluster.processes.resize_with(size, || None);
        cluster
    }

    /// Members started from now on see this file as their hosts file. False: that cannot be done here.
    pub(crate) fn with_hosts(&mut self, hosts: &Path) -> bool {
        self.hosts = Some(hosts.to_owned());
        in_namespace(hosts, "true").status().is_ok_and(|status| status.success())
    }

    /// Nodes that wait to be told what to be.
    pub(crate) async fn awaiting(size: usize, flags: &[&str]) -> Self {
        let mut cluster = Self::not_started(size, flags);
        for index in 0..size {
            cluster.spawn_awaiting(index).await;
        }
        cluster
    }

    /// Starts a node with --await-role, and waits until it answers.
    pub(crate) async fn spawn_awaiting(&mut self, index: usize) {
        self.spawn(index, &["--await-role"]);
        eventually("the node answers", async || self.status(index).await).await;
    }

    pub(crate) fn node(&self, index: usize) -> ClusterClient<Channel> {
        ClusterClient::new(channel(&self.addresses[index]).unwrap())
    }

    /// Asks whoever leads, as often as it takes.
    pub(crate) async fn ask<T, Fut>(&self, call: impl Fn(ClusterClient<Channel>) -> Fut) -> T
    where
        Fut: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        self.client().call(DEADLINE, |channel| call(ClusterClient::new(channel))).await.unwrap().into_inner()
    }

    /// Founds a cluster called `name` with a node that waits, and waits until it leads.
    pub(crate) async fn found(&self, index: usize, name: &str) -> v1::RoleResponse {
        let founded = self.node(index).found(v1::FoundRequest { cluster_id: name.to_owned() }).await.unwrap();
        eventually("it leads", async || self.status(index).await.filter(|status| status.ready)).await;
        founded.into_inner()
    }

    /// Has a node that waits join, without making it a member.
    pub(crate) async fn join(&self, index: usize) -> v1::RoleResponse {
        let request = v1::JoinRequest { addresses: self.addresses(), cluster_id: String::new() };
        let joined = self.node(index).join(request).await.unwrap().into_inner();
        eventually("it runs", async || self.status(index).await.filter(|status| status.node_id == joined.node_id))
            .await;
        joined
    }

    pub(crate) async fn add_learner(&self, index: usize, role: &v1::RoleResponse) {
        let request = v1::AddMemberRequest {
            node_id: role.node_id,
            address: self.addresses[index].clone(),
            cluster_id: role.cluster_id.clone(),
            learner_only: true,
        };
        self.ask(|mut client| {
            let request = request.clone();
            async move { client.add_member(request).await }
        })
        .await;
    }

    pub(crate) async fn promote(&self, node_id: u64) {
        let request = v1::PromoteMemberRequest { node_id, wait_ms: 30_000 };
        self.ask(|mut client| async move { client.promote_member(request).await }).await;
    }

    /// Join, learner, voter.
    pub(crate) async fn add(&self, index: usize) -> u64 {
        let role = self.join(index).await;
        self.add_learner(index, &role).await;
        self.promote(role.node_id).await;
        role.node_id
    }

    /// Ids of voters and of learners as the leader has them.
    pub(crate) async fn members(&self) -> (Vec<u64>, Vec<u64>) {
        let leader = self.wait_for_leader().await;
        let status = eventually("the leader answers", async || self.status(leader).await).await;
        let (voters, learners): (Vec<_>, Vec<_>) = status.members.into_iter().partition(|member| member.voter);
        let ids = |members: Vec<v1::Member>| members.into_iter().map(|member| member.node_id).collect();
        (ids(voters), ids(learners))
    }

    /// From its next start on the member listens elsewhere.
    pub(crate) fn move_to(&mut self, index: usize, address: &str) {
        self.addresses[index] = address.to_owned();
    }

    /// What a member says of itself, asked until it answers.
    pub(crate) async fn told(&self, index: usize) -> v1::StatusResponse {
        eventually("the member answers", async || self.status(index).await).await
    }

    /// Status and body of a GET, asked until it is answered.
    pub(crate) async fn page(&self, index: usize, path: &str) -> (u16, String) {
        eventually("the member answers", async || self.get(index, path).await).await
    }

    /// Status and body of a GET.
    pub(crate) async fn get(&self, index: usize, path: &str) -> Option<(u16, String)> {
        get(&self.http[index], path).await
    }

    pub(crate) async fn wait_for_voters(&self, size: usize) {
        eventually("every member votes", async || {
            let leader = self.leader().await?;
            let status = self.status(leader).await?;
            let voters = status.members.iter().filter(|member| member.voter).count();
            (voters == size && status.members.len() == size).then_some(())
        })
        .await;
    }

    /// Starts a member that is down, as anyone would: with the others to join through.
    pub(crate) fn restart(&mut self, index: usize) {
        let others: Vec<_> = self.addresses.iter().enumerate().filter(|(i, _)| *i != index).collect();
        if others.is_empty() {
            return self.spawn(index, &[]);
        }
        let others = others.into_iter().map(|(_, address)| address.clone()).collect::<Vec<_>>().join(",");
        self.spawn(index, &["--join", &others]);
    }

    pub(crate) fn spawn(&mut self, index: usize, extra: &[&str]) {
        let child = self.command(index).args(extra).spawn().unwrap();
        self.processes[index] = Some(child);
    }

    /// Takes a process that was started with a command of its own.
    pub(crate) fn adopt(&mut self, index: usize, child: Child) {
        self.processes[index] = Some(child);
    }

    pub(crate) fn command(&self, index: usize) -> Command {
        let log = File::options().create(true).append(true).open(self.log_path(index)).unwrap();
        let program = env!("CARGO_BIN_EXE_orchestrator");
        let mut command = match &self.hosts {
            Some(hosts) => in_namespace(hosts, program),
            None => Command::new(program),
        };
        command
            .arg("--dir")
            .arg(self.member_dir(index))
            .args(["--listen", &self.addresses[index], "--storage", &self.storage_url(), "--log-level", "info"])
            .args(["--http-listen", &self.http[index]])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        command
    }

    pub(crate) fn member_dir(&self, index: usize) -> PathBuf {
        self.dir.path().join(format!("orchestrator-{index}"))
    }

    pub(crate) fn storage_url(&self) -> String {
        format!("file://{}/objects", self.dir.path().display())
    }

    fn log_path(&self, index: usize) -> PathBuf {
        self.dir.path().join(format!("orchestrator-{index}.log"))
    }

    pub(crate) fn log(&self, index: usize) -> String {
        fs::read_to_string(self.log_path(index)).unwrap_or_default()
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        self.addresses.clone()
    }

    pub(crate) fn address(&self, index: usize) -> &str {
        &self.addresses[index]
    }

    pub(crate) fn client(&self) -> LeaderClient {
        LeaderClient::new(self.addresses())
    }

    pub(crate) fn pid(&self, index: usize) -> rustix::process::Pid {
        let child = self.processes[index].as_ref().expect("the member runs");
        rustix::process::Pid::from_child(child)
    }

    /// kill -9
    pub(crate) fn kill(&mut self, index: usize) {
        let mut child = self.processes[index].take().expect("the member runs");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn signal(&self, index: usize, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(index), signal).unwrap();
    }

    /// SIGTERM, and the exit status once it has drained.
    pub(crate) async fn stop(&mut self, index: usize) -> ExitStatus {
        self.signal(index, rustix::process::Signal::TERM);
        self.exit_of(index).await
    }

    pub(crate) async fn exit_of(&mut self, index: usize) -> ExitStatus {
        let mut child = self.processes[index].take().expect("the member runs");
        eventually("the member exits", async || child.try_wait().unwrap()).await
    }

    pub(crate) async fn status(&self, index: usize) -> Option<v1::StatusResponse> {
        status_of(&self.addresses[index]).await
    }

    /// The member that leads by its own account and that answers.
    pub(crate) async fn leader(&self) -> Option<usize> {
        for index in 0..self.addresses.len() {
            if let Some(status) = self.status(index).await
                && status.leader_id == status.node_id
                && status.node_id != 0
            {
                return Some(index);
            }
        }
        None
    }

    pub(crate) async fn wait_for_leader(&self) -> usize {
        eventually("somebody leads", async || self.leader().await).await
    }

    pub(crate) async fn put_corpus(&self, name: &str) -> v1::PutCorpusResponse {
        let request = v1::PutCorpusRequest {
            key: Some(key(name)),
            url: format!("file:///corpora/{name}"),
            max_file_bytes: 0,
            listing_interval_ms: 3_600_000,
            datasets: Vec::new(),
            ..v1::PutCorpusRequest::default()
        };
        let put = |channel| {
            let request = request.clone();
            async move { ScanClient::new(channel).put_corpus(request).await }
        };
        self.client().call(DEADLINE, put).await.unwrap().into_inner()
    }

    /// Pushes a ruleset of one rule whose text is `text`.
    pub(crate) async fn put_ruleset(&self, name: &str, text: &str) -> v1::PutRulesetResponse {
        let request = v1::PutRulesetRequest {
            key: Some(key(name)),
            artifact: artifact(text),
            ..v1::PutRulesetRequest::default()
        };
        let put = |channel| {
            let request = request.clone();
            async move { ScanClient::new(channel).put_ruleset(request).await }
        };
        self.client().call(DEADLINE, put).await.unwrap().into_inner()
    }

    pub(crate) async fn corpora(&self) -> Vec<v1::Corpus> {
        let list = |channel| async move {
            ScanClient::new(channel).list_corpora(v1::ListCorporaRequest { tenant: String::new() }).await
        };
        self.client().call(DEADLINE, list).await.unwrap().into_inner().corpora
    }

    pub(crate) async fn hunts(&self) -> Vec<v1::Hunt> {
        let list = |channel| async move {
            let request = v1::ListHuntsRequest { tenant: String::new(), include_superseded: true };
            ScanClient::new(channel).list_hunts(request).await
        };
        self.client().call(DEADLINE, list).await.unwrap().into_inner().hunts
    }

    /// Waits until all members have applied the same entries, and checks that they agree on the state.
    pub(crate) async fn check_replicas_agree(&self) {
        eventually("all members hold one state", async || {
            let mut digests = Vec::new();
            for index in 0..self.addresses.len() {
                let status = self.status(index).await?;
                digests.push((status.applied_index, status.state_digest));
            }
            let same_index = digests.iter().all(|(index, digest)| *index == digests[0].0 && !digest.is_empty());
            if same_index {
                assert!(digests.iter().all(|(_, digest)| *digest == digests[0].1), "states differ at one index");
            }
            same_index.then_some(())
        })
        .await;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.processes.iter_mut().flatten() {
            drop(child.kill()); // may have ended by itself
            drop(child.wait());
        }
        if std::thread::panicking() {
            for index in 0..self.addresses.len() {
                eprintln!("--- orchestrator-{index}\n{}", self.log(index));
            }
        }
    }
}

/// The program, with another hosts file and the same process id as what starts it.
fn in_namespace(hosts: &Path, program: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]);
    command.arg(hosts).arg(program);
    command
}

/// One request over plain HTTP; none when nobody answers.
pub(crate) async fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(5), asked).await.ok()?.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

pub(crate) async fn status_of(address: &str) -> Option<v1::StatusResponse> {
    let mut client = ClusterClient::new(channel(address).unwrap());
    let answer = tokio::time::timeout(Duration::from_secs(2), client.status(v1::StatusRequest { brief: false })).await;
    Some(answer.ok()?.ok()?.into_inner())
}

pub(crate) fn key(name: &str) -> v1::Key {
    v1::Key { tenant: "default".to_owned(), name: name.to_owned() }
}

pub(crate) fn artifact(text: &str) -> Vec<u8> {
    let unit = types::UnitSource {
        digest: types::Digest::of(text.as_bytes()),
        source: 0,
        rules: vec!["rule".to_owned()],
        ranges: Vec::new(),
        gate: types::Gate::Any,
    };
    let source = types::RulesetSource { namespace: "rules".to_owned(), text: text.to_owned() };
    let artifact = types::RulesetArtifact { format: 1, sources: vec![source], units: vec![unit] };
    serde_json::to_vec(&artifact).unwrap()
}

/// Addresses that were free a moment ago; all held at once, so that no two are the same.
pub(crate) fn free_addresses(count: usize) -> Vec<String> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().to_string()).collect()
}
