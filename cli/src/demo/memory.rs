//! How much memory the processes take, as the kernel counts it.

use std::{cell::RefCell, collections::BTreeMap, fs, time::Duration};

use tokio::time::sleep;

use crate::up::local::Local;

/// The kernel keeps each process's peak itself, so this only bounds how late a new process is seen.
const PERIOD: Duration = Duration::from_millis(500);

/// Peaks since the start of the demo.
#[derive(Debug, Default)]
pub(super) struct Memory {
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Largest peak of one process, and most processes at a time, by kind.
    kinds: BTreeMap<&'static str, (u64, usize)>,
    /// Largest sum of the peaks of the processes that ran together, an upper bound.
    together: u64,
}

impl Memory {
    /// Looks again and again; never returns.
    pub(super) async fn watch(&self, local: &Local) {
        loop {
            self.look(&local.pids());
            sleep(PERIOD).await;
        }
    }

    fn look(&self, pids: &BTreeMap<String, u32>) {
        let mut found: Vec<(&'static str, u32)> = Vec::new();
        for (name, pid) in pids {
            let kinds = ["orchestrator", "kv-server"];
            let kind = kinds.into_iter().find(|kind| name.starts_with(kind)).unwrap_or("scan-worker");
            found.push((kind, *pid));
            found.extend(children(*pid).into_iter().map(|pid| ("scanner", pid)));
        }
        found.push(("dragnet", std::process::id()));
        let peaks: Vec<_> = found.into_iter().filter_map(|(kind, pid)| Some((kind, peak(pid)?))).collect();
        let mut state = self.state.borrow_mut();
        state.together = state.together.max(peaks.iter().map(|(_, bytes)| bytes).sum());
        let mut by_kind: BTreeMap<&'static str, (u64, usize)> = BTreeMap::new();
        for (kind, bytes) in peaks {
            let entry = by_kind.entry(kind).or_default();
            *entry = (entry.0.max(bytes), entry.1 + 1);
        }
        for (kind, (bytes, processes)) in by_kind {
            let entry = state.kinds.entry(kind).or_default();
            *entry = (entry.0.max(bytes), entry.1.max(processes));
        }
    }

    /// Largest peak of one process and number of processes, by kind.
    pub(super) fn kinds(&self) -> BTreeMap<&'static str, (u64, usize)> {
        self.state.borrow().kinds.clone()
    }

    pub(super) fn together(&self) -> u64 {
        self.state.borrow().together
    }
}

/// `VmHWM` of a process in bytes; pages it shares with others count in each.
fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    field_kib(&status, "VmHWM:").map(|kib| kib << 10)
}

fn field_kib(status: &str, field: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_says_how_much() {
        assert_eq!(field_kib("VmPeak:\t  10 kB\nVmHWM:\t   2048 kB\n", "VmHWM:"), Some(2048));
        assert!(peak(std::process::id()).unwrap() > 1 << 20);
    }
}
