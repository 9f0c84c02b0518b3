//! What the numbers were measured on.

use std::ffi::OsStr;
use std::fs;
use std::num::NonZeroUsize;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Cores that this process may use.
pub(crate) fn cores() -> Result<NonZeroUsize> {
    std::thread::available_parallelism().context("failed to count the cores")
}

/// The second half of the cores, for those who ask. With one core only: that one.
pub(crate) fn cores_of_clients() -> Result<CpuSet> {
    halves().map(|(_, clients)| clients)
}

/// The first half of the cores, for those who answer, so that neither waits for the scheduler because of the other.
pub(crate) fn cores_of_servers() -> Result<CpuSet> {
    halves().map(|(servers, _)| servers)
}

fn halves() -> Result<(CpuSet, CpuSet)> {
    let allowed = sched_getaffinity(None).context("failed to ask for our cores")?;
    let cores: Vec<_> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
    let (servers, clients) = match cores.split_at(cores.len() / 2) {
        ([], only) => (only, only),
        halves => halves,
    };
    let set = |cores: &[usize]| {
        let mut set = CpuSet::new();
        cores.iter().for_each(|core| set.set(*core));
        set
    };
    Ok((set(servers), set(clients)))
}

/// Does the work on these cores alone; threads and programs that it starts stay there.
pub(crate) fn on<T>(cores: &CpuSet, work: impl FnOnce() -> T) -> Result<T> {
    let before = sched_getaffinity(None).context("failed to ask for our cores")?;
    sched_setaffinity(None, cores).context("failed to keep to some cores")?;
    let done = work();
    sched_setaffinity(None, &before).context("failed to go back to all cores")?;
    Ok(done)
}

/// Does the work while each of these processes goes before all ordinary ones, so that what else runs on the machine keeps none of
/// them waiting. `None`: the machine does not permit it.
pub(crate) fn before_all_others<T>(processes: &[u32], work: impl FnOnce() -> T) -> Result<Option<T>> {
    let set = |policy: &str, priority: &str| {
        processes.iter().try_fold(true, |permitted, process| {
            let mut chrt = Command::new("chrt");
            chrt.args([policy, "--all-tasks", "--pid", priority, &process.to_string()]);
            let output = chrt.output().context("failed to run chrt, which is part of util-linux")?;
            anyhow::Ok(permitted && output.status.success())
        })
    };
    let done = set("--rr", "1")?.then(work);
    set("--other", "0")?;
    Ok(done)
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
