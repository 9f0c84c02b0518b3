//! A real S3 server behind a proxy that fails as networks and stores do.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
    time::Duration,
};

use super::world::{Process, Server, World};

const USER: &str = "dragnet-test";
const SECRET: &str = "dragnet-test-secret";

/// The versitygw that tools/setup.sh installs. Without it these tests are skipped by name, and fail under CI.
fn versitygw() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    let tools = cache.join("dragnet/tools");
    let found = [tools.join("versitygw"), tools.join("bin/versitygw")].into_iter().find(|path| path.is_file());
    if found.is_none() {
        assert!(std::env::var("CI").ok().as_deref() != Some("true"), "versitygw is not installed");
        eprintln!("SKIPPED storage: no versitygw in {}", tools.display());
    }
    found
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Mode {
    Honest,
    /// Answers every request with 503.
    Fails,
    /// Takes requests and never answers.
    Silent,
    /// Stops in the middle of large answers, and keeps the connection.
    Stalls,
    /// Ends large answers early.
    Cuts,
    /// Changes one byte of large answers.
    Mangles,
}

/// Passes bytes on to a server, or not.
struct Proxy {
    address: String,
    mode: Arc<AtomicU8>,
}

impl Proxy {
    fn start(to: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mode = Arc::new(AtomicU8::new(Mode::Honest as u8));
        let shared = mode.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (to, mode) = (to.clone(), shared.clone());
                thread::spawn(move || drop(pass(client, &to, &mode)));
            }
        });
        Self { address, mode }
    }

    fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::SeqCst);
    }
}

/// An answer up to this size is passed on as it is: announcements and manifests of these tests.
const SMALL: usize = 256 << 10;

fn pass(mut client: TcpStream, to: &str, mode: &AtomicU8) -> std::io::Result<()> {
    let is = |wanted: Mode| mode.load(Ordering::SeqCst) == wanted as u8;
    let mut server = TcpStream::connect(to)?;
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    let asked = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = asked.clone();
    thread::spawn(move || {
        let mut buffer = [0; 16 << 10];
        while let Ok(read @ 1..) = from_client.read(&mut buffer) {
            counted.fetch_add(read, Ordering::SeqCst);
            if to_server.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let mut buffer = vec![0; 64 << 10];
    let (mut passed, mut of_request) = (0, 0);
    loop {
        let read = server.read(&mut buffer)?;
        if read == 0 {
            return client.shutdown(Shutdown::Both);
        }
        let now = asked.load(Ordering::SeqCst);
        if now != of_request {
            (of_request, passed) = (now, 0); // another request on this connection
        }
        passed += read;
        let large = passed > SMALL;
        if is(Mode::Fails) {
            client.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
            return client.shutdown(Shutdown::Both);
        }
        while is(Mode::Silent) || (is(Mode::Stalls) && large) {
            thread::sleep(Duration::from_millis(10));
        }
        if is(Mode::Cuts) && large {
            return client.shutdown(Shutdown::Both);
        }
        if is(Mode::Mangles) && large {
            buffer[read / 2] ^= 1;
        }
        client.write_all(&buffer[..read])?;
    }
}

/// A dataset in S3, reached through the proxy, of which a server serves the first version.
struct Scene {
    world: World,
    proxy: Proxy,
    server: Server,
    _gateway: Process,
}

impl Scene {
    fn new() -> Option<Self> {
        let program = versitygw()?;
        let (world, _) = World::with_first_version();
        // Its buckets are folders: what is built there is an object at once.
        let (root, internal) = (world.folder.path().join("buckets"), world.folder.path().join("versions"));
        fs::create_dir_all(root.join("bucket")).unwrap();
        fs::create_dir_all(&internal).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(program);
        command.args(["--access", USER, "--secret", SECRET, "--port", &address, "posix"]).arg(&root);
        let mut gateway = Process::start(command, world.folder.path());
        gateway.wait_until("the gateway listens", || TcpStream::connect(&address).is_ok());
        copy(&world.storage(), &root.join("bucket/facts"));
        let proxy = Proxy::start(address);
        let mut server = start(&world, &proxy);
        server.wait_for_tag("v1");
        Some(Self { world, proxy, server, _gateway: gateway })
    }

    /// Builds a version of some 12 MiB and has S3 announce it.
    fn announce_second(&self) -> String {
        let second = self.world.build_large("v2");
        copy(&self.world.storage(), &self.world.folder.path().join("buckets/bucket/facts"));
        second.to_string()
    }
}

fn start(world: &World, proxy: &Proxy) -> Server {
    let endpoint = format!("http://{}", proxy.address);
    let environment = [
        ("AWS_ENDPOINT", endpoint.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", USER),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_REGION", "us-east-1"),
    ];
    let more = ["--storage-timeout", "2s", "--retry-failed", "500ms"];
    Server::start("s3://bucket/facts", &world.data_dir(), &more, &environment)
}

/// Copies what is not there yet, announcements last.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    let mut entries: Vec<_> = fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort_by_key(|path| (path.is_file(), path.clone()));
    for path in entries {
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &target),
            // In place at once: a reader must not see half of it.
            false => {
                let staged = to.join(".staged");
                fs::copy(&path, &staged).unwrap();
                fs::rename(&staged, &target).unwrap();
            }
        }
    }
}

/// With storage in `mode` the first version goes on; once it is honest again, the second is served.
fn survives(mode: Mode, kind: &str) {
    let Some(mut scene) = Scene::new() else { return };
    scene.proxy.set(mode);
    let second = scene.announce_second();
    // An announcement that could not be read is told as well, and is not what is looked for where a file breaks off.
    let is_of_a_file = !matches!(mode, Mode::Fails | Mode::Silent);
    let status = scene.server.wait_for_status("the failure is told", |status| {
        let error = &status["last_error"];
        error["kind"] == kind && (!is_of_a_file || error["offset"].is_u64())
    });
    assert_ne!(status["serving"], second, "{status}");
    assert_eq!(scene.server.tag("key-5").unwrap(), "v1");
    assert!(scene.server.metric("failures_total", &format!("dataset=\"facts\",kind=\"{kind}\"")) >= 1.0);
    let error = &status["last_error"];
    if is_of_a_file {
        assert!(error["file"].as_str().unwrap().contains(&format!("versions/{second}/shard-000")), "{error}");
        assert!(error["offset"].is_u64(), "{error}");
    }
    assert!(scene.world.local().iter().all(|name| *name != second));
    scene.proxy.set(Mode::Honest);
    scene.server.wait_for_tag("v2");
}

#[test]
fn storage_that_fails() {
    survives(Mode::Fails, "storage");
}

#[test]
fn storage_that_takes_requests_and_never_answers() {
    survives(Mode::Silent, "storage");
}

#[test]
fn storage_that_stalls_in_the_middle_of_a_file() {
    survives(Mode::Stalls, "storage");
}

#[test]
fn storage_that_breaks_off_in_the_middle_of_a_file() {
    survives(Mode::Cuts, "storage");
}

#[test]
fn storage_that_sends_other_bytes() {
    survives(Mode::Mangles, "verification");
}

#[test]
fn a_rollback_does_not_wait_for_storage_that_hangs() {
    let Some(mut scene) = Scene::new() else { return };
    let second = scene.announce_second();
    scene.server.wait_for_tag("v2");
    scene.server.wait_for_status("it rests", |status| status["state"] == "serving" && status["serving"] == second);
    scene.proxy.set(Mode::Silent);
    let (code, status) = scene.server.post("/datasets/facts/rollback", "");
    assert_eq!(code, 200, "{status}");
    assert_eq!(scene.server.tag("key-5").unwrap(), "v1");
    // Nor does a start.
    scene.server.process.kill();
    scene.server = start(&scene.world, &scene.proxy);
    scene.server.wait_for_tag("v1");
}
