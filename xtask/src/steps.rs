//! The steps of `verify`, in the order in which they run: cheap and telling ones first.

use std::fmt;

use anyhow::{Result, ensure};
use clap::ValueEnum;

use crate::process::cargo;
use crate::test_counts::TestCounts;
use crate::workspace::Workspace;
use crate::{fuzz, licences, tidy};

/// Every cargo step uses `--release` and the one target folder that the environment names, so that each heavy dependency is
/// compiled once for binaries and tests, and checked once for clippy and docs. `--locked`: a check must not change `Cargo.lock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Step {
    /// The code is formatted
    Format,
    /// Clippy has nothing to say
    Clippy,
    /// All binaries build: integration tests run the real ones
    Build,
    /// All tests pass
    Tests,
    /// No fuzz target finds an input that breaks a promise, in a minute each
    Fuzz,
    /// The documentation has no broken link
    Docs,
    /// Every dependency's licence fits ours
    Licences,
    /// The repository keeps its own rules
    Tidy,
}

impl Step {
    pub(crate) fn run(self) -> Result<()> {
        match self {
            Self::Format => format(),
            Self::Clippy => clippy(),
            Self::Build => cargo(&["build", "--locked", "--release", "--workspace", "--bins"]).run(),
            Self::Tests => tests(),
            Self::Fuzz => fuzz::run(),
            Self::Docs => docs(),
            Self::Licences => licences::check(&Workspace::load()?),
            Self::Tidy => tidy::check(&Workspace::load()?),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value().expect("no step is hidden");
        f.write_str(value.get_name())
    }
}

/// Ours, and what lies beside the workspace.
fn format() -> Result<()> {
    cargo(&["fmt", "--all", "--check"]).run()?;
    cargo(&["fmt", "--manifest-path", fuzz::MANIFEST, "--check"]).run()
}

fn clippy() -> Result<()> {
    cargo(&["clippy", "--locked", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"]).run()
}

/// What every run of the tests has in common.
const TESTS: [&str; 5] = ["test", "--locked", "--release", "--workspace", "--no-fail-fast"];

/// More failures than this are nobody's bad luck.
const REPEATED_AT_MOST: usize = 5;

/// A few failed tests are told once more, alone: real processes on a busy machine miss a deadline now and then, a broken product fails
/// again. Whoever passes only then is named, because that is a fault to be mended too.
fn tests() -> Result<()> {
    let mut counts = TestCounts::default();
    let outcome = cargo(&TESTS).run_watching(|line| counts.see(line));
    // The last report that cargo prints is that of some crate's examples in documentation, mostly none: this is the sum.
    println!("\n{counts}");
    ensure!(counts.passed > 0, "no test ran");
    let names = &counts.failures;
    if outcome.is_ok() || names.is_empty() || names.len() > REPEATED_AT_MOST || !counts.are_whole() {
        return outcome;
    }
    let alone: Vec<&str> =
        ["--", "--test-threads", "1", "--exact"].into_iter().chain(names.iter().map(String::as_str)).collect();
    let mut again = TestCounts::default();
    let outcome = cargo(&[&TESTS, &alone[..]].concat()).run_watching(|line| again.see(line));
    for name in names.difference(&again.failures) {
        println!("UNSTABLE: {name} failed among others and passed alone");
    }
    println!("\n{counts}; of those that failed {} passed alone", again.passed);
    outcome?;
    ensure!(again.passed >= counts.failed, "only {} of {} failed tests were told again", again.passed, counts.failed);
    Ok(())
}

fn docs() -> Result<()> {
    let process = cargo(&["doc", "--locked", "--release", "--workspace", "--no-deps", "--quiet"]);
    process.with_env("RUSTDOCFLAGS", "-D warnings").run()
}
