//! The scanner process: compiles programs, scans the files it is handed, answers. It opens nothing, keeps
//! nothing between files, and is expected to die at any of them.
//!
//! ```text
//!  socket (fd 0) ──► run ──► Programs (compiled, by id)
//!                     └────► read or map a file ──► libyara ──► answers
//! ```

mod file;
mod sandbox;

pub use sandbox::Sandbox;

use std::{collections::BTreeMap, fs::File, os::fd::OwnedFd, time::Duration};

use engine::KindCompiled;
use tokio::time::Instant;

use crate::wire::{self, Answer, Blocking, FileToScan, GuiltyPart, LoadPart, ProgramId, Progress, Reply, Request};

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("the scanner needs the supervisor's socket as its standard input; it is not started by hand")]
    NoSocket(#[source] rustix::io::Errno),
    #[error("failed to confine the scanner")]
    Sandbox(#[from] sandbox::Error),
    #[error("failed to talk to the supervisor")]
    Wire(#[from] wire::Error),
    #[error("failed to note the progress")]
    Progress(#[source] rustix::io::Errno),
    #[error("the supervisor sent {what}")]
    Confused { what: &'static str },
    #[error("failed to make a scanner")]
    Engine(#[source] engine::ScanError),
}

/// Serves one supervisor until it closes the socket.
pub fn run(sandbox: &Sandbox) -> Result<(), Error> {
    let socket = rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 3).map_err(Error::NoSocket)?;
    rustix::net::sockopt::socket_type(&socket).map_err(Error::NoSocket)?;
    sandbox.enter()?;
    let mut socket = Blocking::new(socket);
    let Some(request) = socket.receive()? else { return Ok(()) };
    let Request::Hello { file_timeout_ms } = request else { return Err(Error::Confused { what: "no hello" }) };
    let progress = Progress::from_fd(socket.descriptor()?);
    let mut desk = Desk { socket, progress, file_timeout: Duration::from_millis(file_timeout_ms), buffer: Vec::new() };

    let mut programs: BTreeMap<ProgramId, KindCompiled> = BTreeMap::new();
    let mut next = desk.socket.receive()?;
    while let Some(request) = next {
        next = match request {
            Request::Hello { .. } => return Err(Error::Confused { what: "a second hello" }),
            Request::Load { program, parts } => {
                load(&mut desk, &mut programs, program, &parts)?;
                desk.socket.receive()?
            }
            Request::Forget { program } => {
                programs.remove(&program);
                desk.socket.receive()?
            }
            Request::Scan { program, files } => match programs.get(&program) {
                Some(compiled) => desk.scan_while(program, compiled, files)?,
                None => return Err(Error::Confused { what: "files for a program that is not loaded" }),
            },
        };
    }
    Ok(())
}

fn load(
    desk: &mut Desk,
    programs: &mut BTreeMap<ProgramId, KindCompiled>,
    program: ProgramId,
    parts: &[LoadPart],
) -> Result<(), wire::Error> {
    let parts: Vec<_> = parts.iter().map(|LoadPart { name, sources }| engine::KindPart { name, sources }).collect();
    let guilty = match engine::compile_kinds(&parts) {
        Ok(compiled) => {
            programs.insert(program, compiled);
            Vec::new()
        }
        Err(failure) => failure
            .parts
            .into_iter()
            .map(|engine::PartFailure { part, name: _, message }| GuiltyPart { part, message })
            .collect(),
    };
    desk.socket.send(&Reply::Loaded { program, guilty })
}

struct Desk {
    socket: Blocking,
    progress: Progress,
    file_timeout: Duration,
    /// For files small enough to be read instead of mapped.
    buffer: Vec<u8>,
}

impl Desk {
    /// Scans batch after batch with the same libyara scanners, until the program changes. Returns the request that
    /// ended the row.
    fn scan_while(
        &mut self,
        program: ProgramId,
        compiled: &KindCompiled,
        mut files: Vec<FileToScan>,
    ) -> Result<Option<Request>, Error> {
        let mut scanner = compiled.scanner().map_err(Error::Engine)?;
        loop {
            let began = Instant::now();
            let mut answers = Vec::with_capacity(files.len());
            for file in &files {
                let descriptor: OwnedFd = self.socket.descriptor()?;
                self.progress.note(file.sequence).map_err(Error::Progress)?;
                let verdict =
                    file::scan(&mut scanner, &File::from(descriptor), file, self.file_timeout, &mut self.buffer);
                answers.push(Answer { sequence: file.sequence, verdict });
            }
            let engine_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.socket.send(&Reply::Scanned { answers, engine_us })?;
            match self.socket.receive()? {
                Some(Request::Scan { program: same, files: more }) if same == program => files = more,
                other => return Ok(other),
            }
        }
    }
}
