//! The scan worker process: reads its configuration, runs, drains. Also the scanner processes it starts.

use std::process::ExitCode;

use clap::Parser;
use scan_worker::{
    config::{Args, Config, Role},
    scanner::{self, Sandbox},
    server,
};
use telemetry::exit;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(Role::Scanner { memory_limit_bytes }) = args.role {
        return run_scanner(Sandbox { memory_limit_bytes });
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return telemetry::init(&args.telemetry).fail(exit::FAILURE, &error),
    };
    let inside = runtime.enter(); // spans leave over a connection that the runtime carries
    let telemetry = telemetry::init_traced(&args.telemetry, "scan-worker");
    drop(inside);
    let config = match Config::from_args(args) {
        Ok(config) => config,
        Err(error) => return telemetry.fail(exit::USAGE, &error),
    };
    match runtime.block_on(server::serve(config, shutdown_signal())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => telemetry.fail(exit::FAILURE, &error),
    }
}

/// Two threads: what is awaited here is little, and the cores are the scanners'.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

async fn shutdown_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await; // then the default action ends the process
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Says what went wrong on standard error, which the supervisor logs.
fn run_scanner(sandbox: Sandbox) -> ExitCode {
    match scanner::run(&sandbox) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut cause = Some(&error as &dyn std::error::Error);
            while let Some(error) = cause {
                eprintln!("{error}");
                cause = error.source();
            }
            ExitCode::from(exit::FAILURE)
        }
    }
}
