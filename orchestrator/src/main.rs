//! The orchestrator process: reads its configuration, binds, serves, drains.

use std::process::ExitCode;

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
    let mut server = tokio::select! {
        server = Server::bind(config) => server?, // disks opened and ports held before any work starts
        () = shutdown_signal() => return Ok(()),
    };
    server.run_until(shutdown_signal()).await?; // Err: a task ended on its own
    server.drain(drain_deadline).await
}

/// Ends with the first SIGTERM or SIGINT.
async fn shutdown_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
