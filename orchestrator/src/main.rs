//! The orchestrator process: reads its configuration, binds, serves, drains.

use std::{pin::pin, process::ExitCode};

use clap::Parser;
use orchestrator::{
    config::{Args, Config},
    server::{self, Server},
};
use telemetry::exit;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return telemetry::init(&args.telemetry).fail(exit::FAILURE, &error),
    };
    let inside = runtime.enter(); // spans leave over a connection that the runtime carries
    let telemetry = telemetry::init_traced(&args.telemetry, "orchestrator");
    drop(inside);
    let config = match Config::from_args(args) {
        Ok(config) => config,
        Err(error) => return telemetry.fail(exit::USAGE, &error), // fix the flags, a restart will not help
    };
    match runtime.block_on(serve(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => telemetry.fail(exit::FAILURE, &error),
    }
}

async fn serve(config: Config) -> Result<(), server::Error> {
    let drain_deadline = config.drain_deadline;
    let mut told_to_end = pin!(shutdown_signal()); // one for all its time, so that none is missed between two
    let mut server = tokio::select! {
        server = Server::bind(config) => server?, // disks opened and ports held before any work starts
        () = &mut told_to_end => return Ok(()),
    };
    server.run_until(told_to_end).await?; // Err: a task ended on its own
    server.drain(drain_deadline).await
}

/// Ends with the first SIGTERM or SIGINT from now on, awaited or not.
fn shutdown_signal() -> impl Future<Output = ()> {
    let streams = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async {
        let (Ok(mut terminate), Ok(mut interrupt)) = streams else { return std::future::pending().await };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}
