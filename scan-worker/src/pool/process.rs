use std::{
    io,
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, ChildStderr, Command, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
};
use tracing::warn;

use crate::{
    scanner::Sandbox,
    wire::{self, Connection, Progress, Request},
};

/// How to start scanners.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// The program with the hidden subcommand; normally this one.
    pub executable: PathBuf,
    pub sandbox: Sandbox,
    pub file_timeout: Duration,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("failed to make a socket pair for a scanner")]
    Socket(#[source] Errno),
    #[error("failed to make a progress file for a scanner")]
    Progress(#[source] Errno),
    #[error("failed to start {executable:?}")]
    Spawn { executable: PathBuf, source: io::Error },
    #[error("failed to greet a scanner")]
    Hello(#[from] wire::Error),
}

/// A running scanner. To be ended with [`Process::bury`] or [`Process::stop`].
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    pub(super) connection: Connection,
    pub(super) progress: Progress,
    stderr: Option<ChildStderr>,
    /// The beginning of a line that is not complete.
    said: Vec<u8>,
}

impl Process {
    /// Starts one. To be called on a thread that lives as long as the pool: the kernel kills the scanner when
    /// the thread that started it ends.
    pub(super) fn start(launcher: &Launcher) -> Result<Self, Error> {
        let Launcher { executable, sandbox, file_timeout } = launcher;
        let (here, there) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).map_err(Error::Socket)?;
        let progress = Progress::new().map_err(Error::Progress)?;
        let mut child = Command::new(executable)
            .arg0("scan-worker")
            .arg("scanner")
            .arg(format!("--memory-limit-bytes={}", sandbox.memory_limit_bytes))
            // Credentials for the storage are none of a scanner's business.
            .env_clear()
            .stdin(Stdio::from(there))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| Error::Spawn { executable: executable.clone(), source })?;
        let stderr = child.stderr.take();
        let mut connection = Connection::new(here);
        let file_timeout_ms = u64::try_from(file_timeout.as_millis()).unwrap_or(u64::MAX);
        let shared = progress.share().map_err(Error::Progress)?;
        connection.queue(&Request::Hello { file_timeout_ms }, vec![Arc::new(shared.into())])?;
        Ok(Self { child, connection, progress, stderr, said: Vec::new() })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the scanner says something or takes something, at most `patience`. Logs what it wrote to
    /// its standard error.
    pub(super) fn wait(&mut self, patience: Duration) -> Result<(), Errno> {
        let mut interest = PollFlags::IN;
        if self.connection.wants_to_write() {
            interest |= PollFlags::OUT;
        }
        let mut polled = vec![PollFd::new(&self.connection, interest)];
        if let Some(stderr) = &self.stderr {
            polled.push(PollFd::new(stderr, PollFlags::IN));
        }
        let patience = Timespec::try_from(patience).map_err(|_| Errno::INVAL)?;
        match poll(&mut polled, Some(&patience)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        if polled.get(1).is_some_and(|stderr| !stderr.revents().is_empty()) {
            self.hear();
        }
        Ok(())
    }

    /// Reads once; to be called when there is something, or the end.
    fn hear(&mut self) {
        let Some(stderr) = &self.stderr else { return };
        let mut buffer = [0; 4096];
        match rustix::io::read(stderr, &mut buffer) {
            Ok(0) | Err(_) => {
                self.stderr = None;
                self.tell();
            }
            Ok(read) => {
                self.said.extend_from_slice(&buffer[..read]);
                if self.said.contains(&b'\n') || self.said.len() > buffer.len() {
                    self.tell();
                }
            }
        }
    }

    fn tell(&mut self) {
        for line in String::from_utf8_lossy(&self.said).lines().filter(|line| !line.is_empty()) {
            warn!(scanner = self.child.id(), "scanner says: {line}");
        }
        self.said.clear();
    }

    pub(super) fn kill(&mut self) {
        // Fails only when it is dead already.
        let _ = self.child.kill();
    }

    /// Waits for the end of a process that was killed or has closed its socket.
    pub(super) fn bury(mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait();
        while self.stderr.is_some() {
            self.hear();
        }
        status
    }

    /// Takes the scanner's input away and waits for its end, at most `patience`, then kills it.
    pub(super) fn stop(self, patience: Duration) {
        let Self { mut child, connection, progress: _, stderr, said: _ } = self;
        drop(connection);
        // A scanner that ends closes its standard error.
        if let (Some(stderr), Ok(patience)) = (&stderr, Timespec::try_from(patience)) {
            let _ = poll(&mut [PollFd::new(stderr, PollFlags::empty())], Some(&patience));
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}
