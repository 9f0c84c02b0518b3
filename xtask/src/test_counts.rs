//! The sum of what the many test binaries of a workspace report, so that a run ends with one number to look at.

use std::collections::BTreeSet;
use std::fmt;

/// Counts read from lines such as `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; ...`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TestCounts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// Those that failed, by name: fewer than `failed` when two crates have tests of one name.
    pub(crate) failures: BTreeSet<String>,
    /// Test binaries that began and did not report, because they were killed or still run.
    unreported: u64,
}

impl TestCounts {
    /// Adds what `line` reports; other lines change nothing.
    pub(crate) fn see(&mut self, line: &str) {
        let line = line.trim_start();
        if let Some(report) = line.strip_prefix("test result: ") {
            self.unreported = self.unreported.saturating_sub(1);
            self.add(report);
        } else if let Some(rest) = line.strip_prefix("running ") {
            let number = rest.strip_suffix(" tests").or_else(|| rest.strip_suffix(" test"));
            self.unreported += u64::from(number.is_some_and(|number| number.parse::<u64>().is_ok()));
        } else if let Some((name, _time)) = line.strip_prefix("test ").and_then(|rest| rest.split_once(" ... FAILED")) {
            self.failures.insert(name.trim_end_matches(" - should panic").to_owned());
        }
    }

    /// Whether every test binary that began told how it ended, so that `failures` is all that went wrong in tests.
    pub(crate) fn are_whole(&self) -> bool {
        self.unreported == 0
    }

    fn add(&mut self, report: &str) {
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

        assert_eq!((counts.passed, counts.failed, counts.skipped), (12, 3, 1));
        assert_eq!(counts.to_string(), "12 passed, 3 failed, 1 skipped");
    }

    #[test]
    fn failed_tests_are_known_by_name() {
        let mut counts = TestCounts::default();
        counts.see("test life::a_server_starts ... ok");
        counts.see("test life::a_server_ends ... FAILED");
        counts.see("test life::a_lie_is_refused - should panic ... FAILED");
        counts.see("test a_node_is_lost ... FAILED (84.1 s)");
        let names = ["a_node_is_lost", "life::a_lie_is_refused", "life::a_server_ends"];
        assert_eq!(counts.failures, names.map(str::to_owned).into());
    }

    #[test]
    fn a_binary_that_did_not_report_is_missed() {
        let mut counts = TestCounts::default();
        counts.see("running 12 tests");
        assert!(!counts.are_whole());
        counts.see("running away was no option");
        counts.see("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.25s");
        assert!(counts.are_whole());
    }
}
