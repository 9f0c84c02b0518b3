//! The sum of what the many test binaries of a workspace report, so that a run ends with one number to look at.

use std::fmt;

/// Counts read from lines such as `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; ...`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TestCounts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl TestCounts {
    /// Adds what `line` reports; other lines change nothing.
    pub(crate) fn see(&mut self, line: &str) {
        let Some(report) = line.trim_start().strip_prefix("test result: ") else { return };
        for part in report.split([';', '.']) {
            let Some((count, what)) = part.trim().split_once(' ') else { continue };
            let Ok(count) = count.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += count,
                "failed" => self.failed += count,
                "ignored" => self.skipped += count,
                _other => {} // "measured", "filtered out" and the duration
            }
        }
    }
}

impl fmt::Display for TestCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reports_of_all_binaries_are_added_up() {
        let mut counts = TestCounts::default();
        counts.see("test result: ok. 10 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.25s");
        counts.see("test scheduling::passes ... ok");
        counts
            .see("test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 7 filtered out; finished in 12.00s");

        assert_eq!(counts, TestCounts { passed: 12, failed: 3, skipped: 1 });
        assert_eq!(counts.to_string(), "12 passed, 3 failed, 1 skipped");
    }
}
