//! What the system knows about this process.

use std::fs;

/// Memory in use, page cache apart.
pub fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// A second in `/proc`: the kernel tells hundredths whatever its own clock does.
const TICKS: f64 = 100.0;

/// Seconds of processor time, in user code and in the kernel.
pub fn cpu_seconds() -> Option<(f64, f64)> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut seconds = || Some(fields.next()?.parse::<u64>().ok()? as f64 / TICKS);
    Some((seconds()?, seconds()?))
}
