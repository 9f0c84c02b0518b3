//! How much memory there is, and so how a version is read: mapped if it fits, else through a cache of blocks.

use std::{fs, path::Path};

use shard::{BlockCache, Residence};

/// The share of the budget that mapped records may take. The rest is for connections, indexes of other versions, and the system.
const MAPPED_PERCENT: u64 = 75;
/// The share of the budget that the block cache takes, if one is needed. The page cache behind it has the rest.
const CACHE_PERCENT: u64 = 30;

/// The memory this server may count on, shared by all its versions.
#[derive(Clone)]
pub struct Memory {
    budget: u64,
    cache: BlockCache,
}

impl Memory {
    /// `budget` in bytes, the page cache included.
    pub fn new(budget: u64) -> Self {
        let cache = usize::try_from(budget / 100 * CACHE_PERCENT).unwrap_or(usize::MAX);
        Self { budget, cache: BlockCache::new(cache) }
    }

    pub fn budget(&self) -> u64 {
        self.budget
    }

    /// For a version of `bytes`, beside `beside` bytes of versions that other datasets serve.
    ///
    /// The version it replaces is not counted: from the switch on its pages are the first to go.
    pub(super) fn residence(&self, bytes: u64, beside: u64) -> Residence {
        match bytes.saturating_add(beside) <= self.budget / 100 * MAPPED_PERCENT {
            true => Residence::Mapped,
            false => Residence::Cached(self.cache.clone()),
        }
    }
}

/// What this process may use: the machine's memory or the control group's limit, whichever is less.
pub fn memory_limit() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_of(&text));
    let group = group_limit(Path::new("/sys/fs/cgroup"));
    // Where neither can be read, little is assumed: a cache that is too small is slow, one that is too large is killed.
    machine.into_iter().chain(group).min().unwrap_or(1 << 30)
}

fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The smallest limit on the way from this process's group to the root, of version 2, or of version 1.
fn group_limit(root: &Path) -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let mut limits = Vec::new();
    for line in groups.lines() {
        let (top, group, file) = match line.splitn(3, ':').collect::<Vec<_>>()[..] {
            ["0", "", group] => (root.to_owned(), group, "memory.max"),
            [_, controllers, group] if controllers.split(',').any(|controller| controller == "memory") => {
                (root.join("memory"), group, "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let group = top.join(group.trim_start_matches('/'));
        limits.extend(group.ancestors().take_while(|it| it.starts_with(&top)).filter_map(|it| number(&it.join(file))));
        limits.extend(number(&top.join(file))); // inside a container the path is often that of the host
    }
    limits.into_iter().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_beside_the_others_is_mapped() {
        let memory = Memory::new(1000);
        assert!(matches!(memory.residence(750, 0), Residence::Mapped));
        assert!(matches!(memory.residence(751, 0), Residence::Cached(_)));
        assert!(matches!(memory.residence(400, 351), Residence::Cached(_)));
    }

    #[test]
    fn the_machine_tells_its_memory_in_kibibytes() {
        assert_eq!(total_of("MemTotal:       24689000 kB\nMemFree: 1 kB\n"), Some(24_689_000 * 1024));
        assert_eq!(total_of("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn this_machine_has_some_memory() {
        assert!(memory_limit() > 1 << 20);
    }
}
