//! Measurements against peers, on one machine and in one run, so that what counts is the ratio.
//!
//! ```text
//! scan ──► cluster (the real programs, started here) ─┐
//!     └──► yara (the peer) ───────────────────────────┴──► measure ──► report ──► table, target/bench/scan.json
//! kv ───► kv-server, redis-server (the peer) ◄── load ───────────────► report ──► table, target/bench/kv.json
//! operator ──► testcluster (three nodes, kubectl, helm) ───────────────► report ──► table, target/bench/operator.json
//! statsd ──► one forwarder after the other, between a sender and a sink ──► report ──► table, target/bench/statsd.json
//! ```

mod cluster;
mod generate;
mod kv;
mod machine;
mod measure;
mod operator;
mod peer;
mod report;
mod scan;
mod statsd;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "bench", about = "Measures Dragnet against its peers on this machine")]
struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Scan worker against the yara command: large files, small files, changed rules, overhead
    Scan(scan::Args),
    /// Key-value server against redis-server: rates, CPU, latency, memory, opening, switching
    Kv(kv::Args),
    /// The operator on a real cluster: to the first finding, its costs, a thousand rulesets, a crashed node
    Operator(operator::Args),
    /// statsd-filter against a Node.js filter and statsdproxy: CPU time, speed without loss, memory, latency
    Statsd(statsd::Args),
}

fn main() -> ExitCode {
    let outcome = match Args::parse().bench {
        Bench::Scan(args) => scan::run(&args),
        Bench::Kv(args) => kv::run(&args),
        Bench::Operator(args) => operator::run(&args),
        Bench::Statsd(args) => statsd::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
