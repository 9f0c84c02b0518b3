//! Time and CPU time of work that other processes do.

#![expect(clippy::disallowed_types, reason = "a bench measures real time")]

use std::collections::BTreeMap;
use std::fs;
use std::iter::Sum;
use std::ops::{Add, Sub};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// How long `work` took, with its answer.
pub(crate) fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let started = Instant::now();
    let answer = work()?;
    Ok((answer, started.elapsed()))
}

/// User and system time of processes, in the kernel's ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cpu(u64);

impl Cpu {
    /// `USER_HZ`: 100 on every architecture that we build for.
    const TICKS_PER_SECOND: f64 = 100.0;

    pub(crate) fn seconds(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "2^53 ticks are three million years")]
        let ticks = self.0 as f64;
        ticks / Self::TICKS_PER_SECOND
    }
}

impl Add for Cpu {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl Sub for Cpu {
    type Output = Self;
    /// Never below nothing: a process that ended between two looks took its ticks along.
    fn sub(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }
}

impl Sum for Cpu {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

/// One process as `/proc/PID/stat` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    parent: u32,
    /// Its own, all threads.
    pub(crate) own: Cpu,
    /// That of its children which have ended.
    pub(crate) ended_children: Cpu,
}

/// What our own children used that have ended by now. The difference around one child is what that child used.
pub(crate) fn ended_children() -> Result<Cpu> {
    let stat = fs::read_to_string("/proc/self/stat").context("failed to read our own CPU time")?;
    Ok(parse(&stat).context("our own CPU time is not readable")?.ended_children)
}

/// All processes below `root`, itself included, by process id.
pub(crate) fn tree_of(root: u32) -> Result<BTreeMap<u32, Process>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir("/proc").context("failed to list processes")? {
        let name = entry.context("failed to list processes")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process may end between the listing and this.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        all.extend(parse(&stat).map(|process| (pid, process)));
    }
    Ok(all
        .iter()
        .filter(|(pid, _)| is_below(**pid, root, &all))
        .map(|(pid, process)| (*pid, process.clone()))
        .collect())
}

fn is_below(mut pid: u32, root: u32, all: &BTreeMap<u32, Process>) -> bool {
    while pid != root {
        match all.get(&pid) {
            Some(process) if process.parent != 0 => pid = process.parent,
            _no_parent => return false,
        }
    }
    true
}

/// `pid (name) state parent ...`: the name may hold spaces and parentheses. Source: proc(5).
fn parse(stat: &str) -> Option<Process> {
    let (_pid_and_name, after) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after.split_whitespace().collect(); // [0] is field 3 of the manual page
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some(Process {
        parent: u32::try_from(number(4)?).ok()?,
        own: Cpu(number(14)? + number(15)?),
        ended_children: Cpu(number(16)? + number(17)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_even_with_a_strange_name() {
        let stat = "77 (scan) worker)) S 42 77 77 0 -1 4194304 1 2 3 4 150 50 30 20 20 0 5 0 1 2 3";
        let process = parse(stat).unwrap();
        assert_eq!((process.parent, process.own, process.ended_children), (42, Cpu(200), Cpu(50)));
        assert!((process.own.seconds() - 2.0).abs() < f64::EPSILON);
    }

    #[test]
    fn we_are_in_our_own_tree() {
        let us = std::process::id();
        assert!(tree_of(us).unwrap().contains_key(&us));
    }
}
