//! The operator's process: reads its configuration, serves, leads when it is its turn, and stops.

use std::{process::ExitCode, time::Duration};

use clap::Parser;
use operator::{
    config::{Args, Config, Task},
    fail_point, probe, ruleset, server,
};
use telemetry::exit;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let mut args = Args::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return telemetry::init(&args.telemetry).fail(exit::FAILURE, &error),
    };
    match args.task.take() {
        Some(Task::Probe { url, wait }) => return runtime.block_on(probe::run(&url, Duration::from_secs(wait))),
        Some(Task::FailPoints) => {
            fail_point::ALL.iter().for_each(|(name, meaning)| println!("{name:<24}{meaning}"));
            return ExitCode::SUCCESS;
        }
        Some(Task::CheckRules) => return ruleset::child(),
        None => {}
    }
    let inside = runtime.enter(); // spans leave over a connection that the runtime carries
    let telemetry = telemetry::init_traced(&args.telemetry, "operator");
    drop(inside);
    let config = match Config::from_args(args) {
        Ok(config) => config,
        Err(error) => return telemetry.fail(exit::USAGE, &error),
    };
    match runtime.block_on(run(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => telemetry.fail(exit::FAILURE, &error),
    }
}

async fn run(config: Config) -> Result<(), server::Error> {
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).map_err(server::Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(server::Error::Signals)?;
    let told = async {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        stop.cancel();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = server::run(config, stop.clone()) => ended,
        () = told => Ok(()),
    }
}
