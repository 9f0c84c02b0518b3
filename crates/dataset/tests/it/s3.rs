//! The same against a real S3 server: `versitygw` in front of a folder.

use std::{
    env, fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use dataset::{Announced, Fetch, Repository, build::Build};
use tempfile::TempDir;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    lifecycle,
    world::{World, plan, run, silent},
};

const INNER: &str = "DRAGNET_TEST_S3";

/// A running server with one bucket. Ends with this.
struct Server {
    process: Child,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn gateway() -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")));
    let tools = cache.map(|cache| cache.join("dragnet/tools"));
    let tools = tools.into_iter().flat_map(|tools| [tools.clone(), tools.join("bin")]);
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = tools.chain(env::split_paths(&path)).collect();
    folders.into_iter().map(|folder| folder.join("versitygw")).find(|file| file.is_file())
}

impl Server {
    fn start(gateway: &Path) -> (Self, u16) {
        let folder = TempDir::new().unwrap();
        fs::create_dir(folder.path().join("bucket")).unwrap();
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
        let process = Command::new(gateway)
            .args(["--access", "tester", "--secret", "testing-secret", "--port", &format!("127.0.0.1:{port}"), "posix"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        (Self { process, _folder: folder }, port)
    }
}

/// The store takes its endpoint from the environment, which belongs to the whole process: so `test` runs again in a
/// process of its own. Returns the dataset's URL there, and `None` here.
async fn on_s3(test: &str) -> Option<String> {
    if env::var_os(INNER).is_some() {
        return Some("s3://bucket/datasets/facts".to_owned());
    }
    let Some(gateway) = gateway() else {
        println!("skipped: {test}: versitygw is missing; `make setup` installs it");
        assert!(env::var_os("CI").is_none(), "under CI every part runs");
        return None;
    };
    let (_server, port) = Server::start(&gateway);
    let deadline = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(Instant::now() < deadline, "the server does not listen");
        tokio::task::yield_now().await;
    }
    let status = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INNER, "1")
        .env("AWS_ENDPOINT", format!("http://127.0.0.1:{port}"))
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "tester")
        .env("AWS_SECRET_ACCESS_KEY", "testing-secret")
        .env("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "false")
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed against S3");
    None
}

#[tokio::test]
async fn versions_on_s3_are_announced_pinned_and_rolled_back() {
    let Some(url) = on_s3("s3::versions_on_s3_are_announced_pinned_and_rolled_back").await else { return };
    let world = World::new();
    lifecycle::tell(&world, &Repository::open(&url).unwrap()).await;
}

/// A file of several parts goes up, comes down, and is what it was.
#[tokio::test]
async fn a_version_on_s3_is_fetched_and_verified() {
    let Some(url) = on_s3("s3::a_version_on_s3_is_fetched_and_verified").await else { return };
    let (world, local) = (World::new(), TempDir::new().unwrap());
    let value = "0123456789abcdef".repeat(64);
    let rows: String = (0..40_000).map(|row| format!("{row},{value}{row}\n")).collect();
    let source = world.write("rows.csv", format!("key,value\n{rows}"));
    let repository = Repository::open(&url).unwrap();
    let manifest = run(Build { shards: 2, ..plan(&source) }, &repository).await.unwrap().manifest;
    assert!(manifest.shards.iter().all(|shard| shard.file_bytes() > 16 << 20), "one request would be enough");
    assert_eq!(repository.manifest(&manifest.version).await.unwrap(), manifest);
    let folder = local.path().join("version");
    repository.fetch(&manifest, &[0, 1], &folder, &Fetch::default()).await.unwrap();
    for entry in &manifest.shards {
        let watch = &mut |_| std::ops::ControlFlow::Continue(());
        dataset::verify::shard(&folder.join(entry.folder()), &manifest, entry, watch).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn builders_on_s3_share_no_number_and_lose_no_announcement() {
    let Some(url) = on_s3("s3::builders_on_s3_share_no_number_and_lose_no_announcement").await else { return };
    let world = World::new();
    let mut tasks = JoinSet::new();
    for builder in 0..6 {
        let source = world.write(&format!("{builder}.csv"), format!("key,value\n{builder},{builder}\n"));
        let repository = Repository::open(&url).unwrap();
        tasks.spawn(async move { plan(&source).run(&repository, silent()).await.unwrap() });
    }
    let built = tasks.join_all().await;
    let repository = Repository::open(&url).unwrap();
    let versions = repository.versions().await.unwrap();
    let mut numbers: Vec<_> = versions.iter().map(|version| version.sequence()).collect();
    numbers.dedup();
    assert_eq!(numbers.len(), 6, "{versions:?}");
    let announcement = repository.announcement().await.unwrap();
    assert_eq!((announcement.version, announcement.previous), (versions.last().copied(), Some(versions[4])));
    assert!(built.iter().any(|built| built.announced == Some(Announced::Current)));
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_an_error() {
    let Some(url) = on_s3("s3::a_bucket_that_is_not_there_is_an_error").await else { return };
    let repository = Repository::open(&url.replace("bucket", "no-such-bucket")).unwrap();
    let error = repository.versions().await.unwrap_err();
    assert!(error.to_string().contains("failed to list"), "{error}");
}
