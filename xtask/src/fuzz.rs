//! Fuzz targets for a bounded time each: libFuzzer over code that is compiled with coverage instrumentation.
//!
//! The instrumentation is LLVM's and works with the stable compiler. What the fuzzers found worth keeping stays in the cache, so
//! that each run begins where the last one ended; a failing input is printed with the command that runs it again.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result, bail, ensure};

use crate::process::{cargo, program};
use crate::workspace::Workspace;

/// Of its own, apart from the workspace: see its first line.
pub(crate) const MANIFEST: &str = "fuzz/Cargo.toml";

const SECONDS_PER_TARGET: u32 = 60;

/// Edge counters, a table of their places and hooks on comparisons: what libFuzzer steers by.
const INSTRUMENTATION: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing";

/// Inputs have at most 4 KiB, and one of them may keep no more than some copies of itself: far less than this.
const LIMITS: [&str; 3] = ["-malloc_limit_mb=64", "-rss_limit_mb=1024", "-timeout=10"];

/// Runs every target, all at once; all failures are reported together.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::load_beside(MANIFEST)?;
    let folder = cache()?.join("fuzz");
    let host = host()?;
    // With an explicit target, build scripts are compiled without the instrumentation, which they could not link.
    cargo(&["build", "--locked", "--release", "--manifest-path", MANIFEST, "--target", &host])
        .with_env("RUSTFLAGS", INSTRUMENTATION)
        .with_env("CARGO_TARGET_DIR", &path(&folder)?)
        .run()?;
    let programs = folder.join(&host).join("release");
    let failures: Vec<String> = thread::scope(|scope| {
        let targets = workspace.packages.iter().flat_map(|package| &package.targets);
        let runs: Vec<_> = targets
            .map(|target| (&target.name, scope.spawn(|| fuzz(&target.name, &programs.join(&target.name), &folder))))
            .collect();
        let ended = runs.into_iter().map(|(name, run)| (name, run.join().expect("a fuzz target's run does not panic")));
        ended.filter_map(|(name, outcome)| outcome.err().map(|error| format!("{name}: {error:#}"))).collect()
    });
    ensure!(failures.is_empty(), "these targets failed:\n{}", failures.join("\n"));
    Ok(())
}

fn fuzz(name: &str, binary: &Path, folder: &Path) -> Result<()> {
    let binary = path(binary)?;
    let (corpus, failed) = (folder.join("corpus").join(name), folder.join("failed").join(name));
    if failed.exists() {
        fs::remove_dir_all(&failed).with_context(|| format!("failed to remove {}", failed.display()))?;
    }
    for folder in [&corpus, &failed] {
        fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    }
    let time = format!("-max_total_time={SECONDS_PER_TARGET}");
    let artifacts = format!("-artifact_prefix={}/", failed.display());
    let corpus = path(&corpus)?;
    let mut arguments = vec![time.as_str(), &artifacts, "-print_final_stats=1"];
    arguments.extend(LIMITS);
    arguments.push(&corpus);
    let (succeeded, output) = program(&binary, &arguments).run_keeping_output()?;
    // libFuzzer goes on without coverage, by blind chance.
    ensure!(!output.contains("Is the code instrumented"), "{name} was compiled without instrumentation");
    if succeeded {
        return Ok(());
    }
    let inputs = fs::read_dir(&failed).with_context(|| format!("failed to list {}", failed.display()))?;
    for input in inputs {
        let input = input.with_context(|| format!("failed to list {}", failed.display()))?.path();
        let bytes = fs::read(&input).with_context(|| format!("failed to read {}", input.display()))?;
        eprintln!("{name} fails with b\"{}\"\nagain: {binary} {}", bytes.escape_ascii(), input.display());
    }
    bail!("it failed; its inputs are above")
}

/// The platform that this compiler compiles for, as cargo names it.
fn host() -> Result<String> {
    let output = program("rustc", &["-vV"]).output()?;
    let output = String::from_utf8_lossy(&output);
    let host = output.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say what it compiles for")?.to_owned())
}

/// The same folder as the `Makefile` and the setup use.
fn cache() -> Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cache")));
    Ok(cache.context("there is no home folder")?.join("dragnet"))
}

fn path(path: &Path) -> Result<String> {
    Ok(path.to_str().context("a path is not UTF-8")?.to_owned())
}
