//! Measurements against peers, on one machine and in one run, so that what counts is the ratio.
//!
//! ```text
//! scan ──► cluster (the real programs, started here) ─┐
//!     └──► yara (the peer) ───────────────────────────┴──► measure ──► report ──► table, target/bench/scan.json
//! kv ───► kv-server, redis-server (the peer) ◄── load ───────────────► report ──► table, target/bench/kv.json
//! ```

mod cluster;
mod generate;
mod kv;
mod machine;
mod measure;
mod peer;
mod report;
mod scan;

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
}

fn main() -> ExitCode {
    let outcome = match Args::parse().bench {
        Bench::Scan(args) => scan::run(&args),
        Bench::Kv(args) => kv::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
