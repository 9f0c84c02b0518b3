//! What the numbers were measured on.

use std::ffi::OsStr;
use std::fs;
use std::num::NonZeroUsize;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Cores that this process may use.
pub(crate) fn cores() -> Result<NonZeroUsize> {
    std::thread::available_parallelism().context("failed to count the cores")
}

/// Model of the processor, memory, kernel; what cannot be found out is left out.
pub(crate) fn facts() -> Vec<String> {
    let after = |file: &str, key: &str| {
        let text = fs::read_to_string(file).ok()?;
        let line = text.lines().find(|line| line.starts_with(key))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let kernel =
        fs::read_to_string("/proc/sys/kernel/osrelease").ok().map(|release| format!("Linux {}", release.trim()));
    let memory = after("/proc/meminfo", "MemTotal").map(|total| format!("{total} of memory"));
    [after("/proc/cpuinfo", "model name"), memory, kernel].into_iter().flatten().collect()
}

/// The first line that `program --version` prints.
pub(crate) fn version_of(program: impl AsRef<OsStr>) -> Result<String> {
    let program = program.as_ref();
    let shown = program.display();
    let output = Command::new(program)
        .arg("--version")
        .output()
        .with_context(|| format!("failed to run `{shown} --version`; `make setup` installs what is missing"))?;
    ensure!(output.status.success(), "`{shown} --version` ended with {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned())
}
