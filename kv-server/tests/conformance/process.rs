//! Programs that a test starts and ends again.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

/// For a server to start or a client to end, on a machine that compiles at the same time.
const DEADLINE: Duration = Duration::from_secs(60);

/// A program that runs until this is dropped.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        let output = File::create(log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let child = command.spawn().unwrap_or_else(|error| panic!("failed to start {command:?}: {error}"));
        Self { child, log: log.to_owned() }
    }

    /// Waits until `is_ready`; a program that ended, or never gets ready, fails the test with what it logged.
    pub(crate) fn wait_until(&mut self, what: &str, mut is_ready: impl FnMut() -> bool) {
        let done = wait_for(|| {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{what}: the program ended with {ended:?}:\n{}", self.logged());
            is_ready()
        });
        assert!(done, "waited in vain until {what}:\n{}", self.logged());
    }

    /// Waits for its end; true when it succeeded.
    pub(crate) fn finish(&mut self, what: &str) -> bool {
        let mut status = None;
        wait_for(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap_or_else(|| panic!("{what} did not end in time:\n{}", self.logged())).success()
    }

    pub(crate) fn logged(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Looks again and again until `condition` holds; false when it did not in time.
pub(crate) fn wait_for(mut condition: impl FnMut() -> bool) -> bool {
    let started = SystemTime::now();
    while !condition() {
        if started.elapsed().unwrap_or(Duration::ZERO) > DEADLINE {
            return false;
        }
        sleep(Duration::from_millis(10));
    }
    true
}

pub(crate) fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    // All are held until all are found, so that no two are the same.
    let listeners = [(); COUNT].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// Where `name` is: on the path or, for Go, where its own packages install it.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/local/go/bin")]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Says which test is skipped for want of `program`. A CI that skips would be green for the wrong reason.
pub(crate) fn skip(test: &str, program: &str) {
    println!("skipped: {test}: {program} is missing; `make setup` installs it");
    assert!(std::env::var_os("CI").is_none(), "under CI every part runs");
}

/// Runs to the end; an error says what the program printed.
pub(crate) fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let printed = [output.stdout, output.stderr].concat();
    Err(io::Error::other(format!("{command:?} ended with {}: {}", output.status, String::from_utf8_lossy(&printed))))
}
