use std::time::Duration;

/// How patient the worker is with one scanner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// A busy scanner that makes no progress for so long hangs. More than the engine's own limit per file.
    pub progress_within: Duration,
    /// The same while it compiles rules.
    pub load_within: Duration,
    /// Time from closing its input to its end, after which it is killed.
    pub stop_within: Duration,
    /// The wait before a start after the second death without a steady life in between; doubled with each more.
    /// The first death is followed by a start at once: it costs one file, not the pod.
    pub first_pause: Duration,
    pub longest_pause: Duration,
    /// After so long a life without dying, earlier deaths are forgotten.
    pub steady_after: Duration,
}

impl Limits {
    /// For a per-file limit that the engine itself keeps to. libyara counts whole seconds and looks at the
    /// clock between blocks of work only, so it gets two seconds and a tenth more before it is called hung.
    pub fn for_file_timeout(file_timeout: Duration) -> Self {
        Self {
            progress_within: file_timeout + file_timeout / 10 + Duration::from_secs(2),
            // 10 000 rules compile in about a second; the largest ruleset allowed is four times as many bytes.
            load_within: Duration::from_secs(120),
            stop_within: Duration::from_secs(1),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(5),
            steady_after: Duration::from_secs(10),
        }
    }

    /// The wait before the start that follows `deaths` deaths in a row.
    pub(crate) fn pause_after(&self, deaths: u32) -> Duration {
        match deaths {
            0 | 1 => Duration::ZERO,
            more => self.first_pause.saturating_mul(1 << (more - 2).min(16)).min(self.longest_pause),
        }
    }
}
