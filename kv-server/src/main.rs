//! The key-value server process: reads its configuration, binds, serves, drains. Also the manager beside a server.

use std::process::ExitCode;

use clap::Parser;
use kv_server::{
    config::{Args, Config, ManageConfig, Role},
    server::{self, Server},
};
use telemetry::exit;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

fn main() -> ExitCode {
    let mut args = Args::parse();
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return telemetry::init(&args.telemetry).fail(exit::FAILURE, &error),
    };
    let inside = runtime.enter(); // spans leave over a connection that the runtime carries
    let telemetry = telemetry::init_traced(&args.telemetry, "kv-server");
    drop(inside);
    let role = args.role.take();
    let ended = match role {
        Some(Role::Manage(args)) => match ManageConfig::from_args(*args) {
            Ok(config) => runtime.block_on(async { server::manage(config, shutdown_signal()).await }),
            Err(error) => return telemetry.fail(exit::USAGE, &error),
        },
        None => match Config::from_args(args) {
            Ok(config) => runtime.block_on(serve(config)),
            Err(error) => return telemetry.fail(exit::USAGE, &error),
        },
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => telemetry.fail(exit::FAILURE, &error),
    }
}

async fn serve(config: Config) -> Result<(), server::Error> {
    let drain_deadline = config.drain;
    let told_to_end = shutdown_signal(); // before anybody knows of us
    let mut server = Server::bind(config).await?; // datasets opened and ports held before anybody is answered
    info!(kv = %server.kv_address(), admin = %server.admin_address(), "kv-server listening");
    server.run_until(told_to_end).await?; // Err: a thread or a task ended on its own
    server.drain(drain_deadline).await
}

/// One thread: requests are answered elsewhere, and what is awaited here is little.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Ends with the first SIGTERM or SIGINT from now on, awaited or not.
fn shutdown_signal() -> impl Future<Output = ()> {
    let streams = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    async {
        let (Ok(mut terminate), Ok(mut interrupt)) = streams else {
            return std::future::pending().await; // then the default action ends the process
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}
