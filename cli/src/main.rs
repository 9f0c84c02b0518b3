//! The command line `dragnet`: one command for people who hunt, and `up`, which runs a whole cluster here.

use std::process::ExitCode;

use clap::Parser;
use cli::{args::Args, commands, report, up};

fn main() -> ExitCode {
    // A child of `up` passes through this executable on its way to its own; see `up::leash`.
    if let Some(code) = up::leash::take_over() {
        return code;
    }
    let args = Args::parse();
    // One thread: the program waits for the network and for children, and the kernel's parent-death
    // signal belongs to the thread that started a child, so that thread has to be the main one.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report::failure(&anyhow::Error::new(error).context("could not start the async runtime")),
    };
    match runtime.block_on(commands::run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report::failure(&error),
    }
}
