//! Our own build commands: `cargo xtask verify` checks everything that CI checks, `cargo xtask fix` repairs what a tool can.
//!
//! ```text
//! verify ─► steps ─► cargo fmt, clippy, build, test, doc      fix ─► cargo fmt, clippy --fix
//!              ├───► licences (of every dependency)            └───► what is made of other files: crds/, charts, references
//!              └───► tidy (rules about this repository that no compiler knows)
//! ```

mod charts;
mod fix;
mod fuzz;
mod licences;
mod process;
mod steps;
mod test_counts;
mod tidy;
mod verify;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::steps::Step;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Dragnet's own build commands")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check everything that CI checks, changing no file
    Verify {
        /// The steps to run, all when none is named
        #[arg(value_enum)]
        steps: Vec<Step>,
    },
    /// Format the code, apply what clippy can repair, and write what is made of other files
    Fix {
        /// Leave the code alone: only definitions of custom resources, charts and references
        #[arg(long)]
        made: bool,
    },
}

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Verify { steps } => verify::run(&steps),
        Command::Fix { made } => fix::run(made),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
