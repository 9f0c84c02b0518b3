//! The filter's process: reads its configuration, opens its sockets, forwards until it is told to stop.

use std::process::ExitCode;

use clap::Parser;
use statsd_filter::config::{Args, Command, Config};
use statsd_filter::explain::explain;
use statsd_filter::server::Server;
use telemetry::exit;

fn main() -> ExitCode {
    let Args { command, settings, telemetry } = Args::parse();
    let telemetry = telemetry::init(&telemetry);
    let config = match Config::load(&settings) {
        Ok(config) => config,
        Err(error) => return telemetry.fail(exit::USAGE, &error), // fix the configuration, a restart will not help
    };
    if let Some(Command::Explain { name }) = command {
        println!("{}", explain(&config.policy.rules, &name));
        return ExitCode::SUCCESS;
    }
    match Server::bind(settings, config).and_then(Server::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => telemetry.fail(exit::FAILURE, &error),
    }
}
