//! Children that do not outlive `up`, however it ends.
//!
//! The kernel sends a process a signal when its parent dies, if the process asked for it; the wish
//! survives `exec`. A program cannot ask on behalf of its child without unsafe code, so each child starts
//! as this executable under another name, asks for itself, and then becomes the program it is to run.
//! Its process id stays the same.

use std::{
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt as _,
    process::{Command, ExitCode},
};

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// What a child is called before it becomes what it is to be.
const NAME: &str = "dragnet-child";
/// What shells return when a program cannot be started.
const NOT_STARTED: u8 = 127;

/// A command that runs `program` as a child of this process and ends with it: SIGTERM, so that it drains.
///
/// Must be spawned from a thread that lives as long as the process, as the kernel watches the thread.
pub fn command(program: &OsStr, args: &[OsString]) -> tokio::process::Command {
    // This very executable, also when a newer build has replaced the file since.
    let mut command = tokio::process::Command::new("/proc/self/exe");
    let own = std::process::id().to_string();
    command.arg0(NAME).arg(own).arg(program).args(args);
    command
}

/// In a child: asks for the signal and becomes the program. `None` in any other process.
pub fn take_over() -> Option<ExitCode> {
    let mut args = std::env::args_os();
    if args.next()? != NAME {
        return None;
    }
    let parent = args.next()?.to_str()?.parse().ok().and_then(Pid::from_raw)?;
    let program = args.next()?;
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        eprintln!("{what} {}: {error}", program.display());
        Some(ExitCode::from(NOT_STARTED))
    };
    if let Err(error) = set_parent_process_death_signal(Some(Signal::TERM)) {
        return failed("could not tie to its parent", &error);
    }
    // The parent may have died before the wish was made.
    if getppid() != Some(parent) {
        return failed("not started", &"its parent has ended");
    }
    let error = Command::new(&program).args(args).exec();
    failed("could not start", &error)
}
