//! A corpus folder, an object storage, a leader and a worker, all of one test.

use std::{
    collections::BTreeMap,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command},
};

use corpus::{Manifest, Packer, Source};
use findings::Finding;
use protocol::v1::{self, ruleset_result::Verdict};
use store::{Store, keys};
use tempfile::TempDir;
use types::{CorpusKey, Digest, RulesetArtifact, RulesetKey, RulesetSource, RulesetVersion, SegmentOrdinal, Tenant};

use crate::{
    fake_leader::{FakeLeader, until},
    s3::S3,
};

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) store: Store,
    pub(crate) leader: FakeLeader,
    pub(crate) worker: Worker,
    corpus_url: Option<String>,
}

pub(crate) struct Worker(pub(crate) Child);

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A stored segment and what is in it.
#[derive(Clone)]
pub(crate) struct Segment {
    pub(crate) wire: v1::Segment,
    pub(crate) manifest: Manifest,
}

/// Somebody who may read what everybody may, and write little.
pub(crate) const NOBODY: u32 = 65534;

impl World {
    pub(crate) async fn new(flags: &[&str]) -> Self {
        Self::with_user(flags, None).await
    }

    pub(crate) async fn with_user(flags: &[&str], user: Option<u32>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        open_to_all(folder.path());
        let storage = folder.path().join("storage");
        std::fs::create_dir(&storage).unwrap();
        Self::with_storage(folder, &storage, flags, user).await
    }

    pub(crate) async fn with_storage(folder: TempDir, storage: &Path, flags: &[&str], user: Option<u32>) -> Self {
        let files = folder.path().join("files");
        std::fs::create_dir(&files).unwrap();
        open_to_all(&files);
        let url = format!("file://{}", storage.display());
        let store = Store::open(&url).unwrap();
        let leader = FakeLeader::start(url).await;
        let worker = start_worker(&leader, folder.path(), flags, user);
        Self { folder, store, leader, worker, corpus_url: None }
    }

    /// A worker that reads its corpus from a bucket.
    pub(crate) async fn with_bucket(s3: &S3, corpus_url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = folder.path().join("storage");
        std::fs::create_dir(&storage).unwrap();
        let url = format!("file://{}", storage.display());
        let store = Store::open(&url).unwrap();
        let leader = FakeLeader::start(url).await;
        let mut command = worker_command(&leader, Path::new(env!("CARGO_BIN_EXE_scan-worker")), &[]);
        let worker = Worker(command.envs(s3.environment()).spawn().unwrap());
        Self { folder, store, leader, worker, corpus_url: Some(corpus_url.to_owned()) }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("files").join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    fn url(&self) -> String {
        format!("file://{}", self.folder.path().join("files").display())
    }

    pub(crate) fn corpus(&self) -> v1::CorpusRef {
        v1::CorpusRef {
            id: 1,
            key: Some((&corpus_key()).into()),
            url: self.corpus_url.clone().unwrap_or_else(|| self.url()),
            max_file_bytes: 64 << 20,
            datasets: Vec::new(),
            ..v1::CorpusRef::default()
        }
    }

    /// Lists the folder into one segment and stores its manifest.
    pub(crate) async fn segment(&self, ordinal: u32) -> Segment {
        let mut packer = Packer::new();
        for entry in Source::open(&self.url()).unwrap().list() {
            assert!(packer.push(entry).is_none());
        }
        let manifest = packer.finish().unwrap();
        let (digest, bytes) = manifest.encode();
        self.store.put(&keys::manifest(&digest), bytes).await.unwrap();
        Segment { wire: v1::Segment::new(SegmentOrdinal(ordinal), &manifest.descriptor()), manifest }
    }

    /// Splits and stores a ruleset of one source.
    pub(crate) async fn rules(&self, number: u32, text: &str) -> v1::VersionRef {
        self.ruleset(number, vec![RulesetSource { namespace: "n".to_owned(), text: text.to_owned() }]).await
    }

    pub(crate) async fn ruleset(&self, number: u32, sources: Vec<RulesetSource>) -> v1::VersionRef {
        let artifact: RulesetArtifact = rules::split(sources);
        artifact.validate().unwrap();
        let digest = artifact.digest();
        self.store.put(&keys::ruleset(&digest), serde_json::to_vec(&artifact).unwrap().into()).await.unwrap();
        v1::VersionRef { number, digest: digest.as_bytes().to_vec() }
    }

    pub(crate) fn grant_scan(&self, segment: &Segment, targets: Vec<v1::ScanTarget>) -> v1::LeaseId {
        self.leader.grant(v1::grant::Job::Scan(v1::ScanJob {
            corpus: Some(self.corpus()),
            segment: Some(segment.wire.clone()),
            targets,
        }))
    }

    pub(crate) async fn scan(&self, segment: &Segment, targets: Vec<v1::ScanTarget>) -> (v1::LeaseId, Results) {
        let lease = self.grant_scan(segment, targets);
        let settle = self.leader.settled(lease).await;
        (lease, Results(settle.results))
    }

    /// Grants a list job and waits for its end.
    pub(crate) async fn list(&self) -> v1::SettleListing {
        let lease = self.leader.grant(v1::grant::Job::List(v1::ListJob { corpus: Some(self.corpus()) }));
        self.leader.listed(lease).await
    }

    /// Rows as (file name, rule), sorted.
    pub(crate) async fn found(&self, ruleset: u32, version: u32, lease: v1::LeaseId) -> Vec<(String, String)> {
        let rows = self.rows(ruleset, version, lease).await;
        let mut found: Vec<_> =
            rows.iter().map(|row| (String::from_utf8_lossy(&row.key).into_owned(), row.rule.clone())).collect();
        found.sort();
        found
    }

    pub(crate) async fn rows(&self, ruleset: u32, version: u32, lease: v1::LeaseId) -> Vec<Finding> {
        self.rows_of(ruleset, version, lease, 0).await
    }

    pub(crate) async fn rows_of(&self, ruleset: u32, version: u32, lease: v1::LeaseId, segment: u32) -> Vec<Finding> {
        let version = RulesetVersion(version);
        let key = keys::findings(&ruleset_key(ruleset), version, &corpus_key(), SegmentOrdinal(segment), lease.into());
        match self.store.get_optional(&key).await.unwrap() {
            Some(bytes) => findings::decode(bytes).unwrap(),
            None => Vec::new(),
        }
    }

    /// Processes that the worker started.
    pub(crate) fn scanners(&self) -> Vec<u32> {
        children_of(self.worker.0.id())
    }

    /// A scanner, other than `not`, that has used up processor time in its present state: it is in a slow file.
    pub(crate) async fn busy_scanner(&self, not: Option<u32>) -> u32 {
        until("a busy scanner", || {
            self.scanners().into_iter().find(|pid| Some(*pid) != not && cpu_ticks(*pid).is_some_and(|ticks| ticks > 15))
        })
        .await
    }

    pub(crate) async fn signal_and_wait(&mut self, signal: &str) -> std::process::ExitStatus {
        kill(signal, self.worker.0.id());
        let worker = &mut self.worker.0;
        until("the worker's end", || worker.try_wait().unwrap()).await
    }
}

pub(crate) fn start_worker(leader: &FakeLeader, folder: &Path, flags: &[&str], user: Option<u32>) -> Worker {
    let mut program = PathBuf::from(env!("CARGO_BIN_EXE_scan-worker"));
    if user.is_some() {
        // The build folder may be closed to others.
        let copy = folder.join("scan-worker");
        std::fs::copy(&program, &copy).unwrap();
        program = copy;
    }
    let mut command = worker_command(leader, &program, flags);
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    Worker(command.spawn().unwrap())
}

fn worker_command(leader: &FakeLeader, program: &Path, flags: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.arg("--orchestrators").arg(leader.address.to_string()).args(["--scanners", "2", "--log", "info"]);
    command.args(flags);
    command
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

pub(crate) fn kill(signal: &str, pid: u32) {
    assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
}

pub(crate) fn children_of(parent: u32) -> Vec<u32> {
    let processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    processes.filter(|pid| stat(*pid).is_some_and(|stat| stat[1] == parent.to_string() && stat[0] != "Z")).collect()
}

pub(crate) fn cpu_ticks(pid: u32) -> Option<u64> {
    let stat = stat(pid)?;
    Some(stat[11].parse::<u64>().ok()? + stat[12].parse::<u64>().ok()?)
}

/// Fields of /proc/PID/stat from the state on.
fn stat(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    Some(stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned).collect())
}

pub(crate) fn corpus_key() -> CorpusKey {
    CorpusKey { tenant: Tenant::default(), name: "c".parse().unwrap() }
}

fn ruleset_key(id: u32) -> RulesetKey {
    RulesetKey { tenant: Tenant::default(), name: format!("r{id}").parse().unwrap() }
}

pub(crate) fn target(id: u32, to: &v1::VersionRef) -> v1::ScanTarget {
    v1::ScanTarget {
        ruleset_id: id,
        ruleset: Some((&ruleset_key(id)).into()),
        from: None,
        to: Some(to.clone()),
        prior: None,
        excepted: Vec::new(),
    }
}

pub(crate) fn delta(id: u32, from: &v1::VersionRef, to: &v1::VersionRef, lease: Option<v1::LeaseId>) -> v1::ScanTarget {
    let prior = lease.map(|lease| v1::FindingsRef { version: from.number, lease: Some(lease) });
    v1::ScanTarget { from: Some(from.clone()), prior, ..target(id, to) }
}

#[derive(Debug)]
pub(crate) struct Results(pub(crate) Vec<v1::RulesetResult>);

impl Results {
    pub(crate) fn verdict(&self, ruleset: u32) -> &Verdict {
        self.0.iter().find(|result| result.ruleset_id == ruleset).unwrap().verdict.as_ref().unwrap()
    }

    pub(crate) fn done(&self, ruleset: u32) -> &v1::ScanDone {
        match self.verdict(ruleset) {
            Verdict::Done(done) => done,
            other => panic!("not done: {other:?}"),
        }
    }

    /// Exceptions by file name.
    pub(crate) fn excepted(&self, ruleset: u32, segment: &Segment) -> BTreeMap<String, v1::FileException> {
        let name = |file: u32| String::from_utf8_lossy(&segment.manifest.files[file as usize].key).into_owned();
        self.done(ruleset).excepted.iter().map(|excepted| (name(excepted.file), excepted.exception())).collect()
    }
}

impl Segment {
    pub(crate) fn place_of(&self, name: &str) -> u32 {
        let place = self.manifest.files.iter().position(|file| file.key == name.as_bytes()).unwrap();
        u32::try_from(place).unwrap()
    }
}

pub(crate) fn digest_of(content: &[u8]) -> Digest {
    Digest::of(content)
}
