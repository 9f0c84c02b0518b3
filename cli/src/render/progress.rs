//! How far a hunt is, how fast it goes, and when it will have caught up.

use std::{collections::VecDeque, time::Duration};

use protocol::v1;
use tokio::time::Instant;

use super::number;

/// Speed is measured over this long: short enough to follow, long enough not to jump between segments.
const WINDOW: Duration = Duration::from_secs(8);

/// Where a hunt, or several together, stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Progress {
    pub files_done: u64,
    pub files: u64,
    pub bytes_done: u64,
    pub bytes: u64,
}

impl Progress {
    pub fn of(hunt: &v1::Hunt) -> Self {
        Self {
            files_done: hunt.stored_files.saturating_sub(hunt.pending_files),
            files: hunt.stored_files,
            bytes_done: hunt.done_bytes,
            bytes: hunt.stored_bytes,
        }
    }

    pub fn sum<'a>(hunts: impl IntoIterator<Item = &'a v1::Hunt>) -> Self {
        hunts.into_iter().map(Self::of).fold(Self::default(), |a, b| Self {
            files_done: a.files_done + b.files_done,
            files: a.files + b.files,
            bytes_done: a.bytes_done + b.bytes_done,
            bytes: a.bytes + b.bytes,
        })
    }

    /// From 0 to 1000; by bytes, because they take the time, and by files where all are empty.
    pub fn per_mille(&self) -> u64 {
        let (part, whole) = if self.bytes > 0 { (self.bytes_done, self.bytes) } else { (self.files_done, self.files) };
        let share = u128::from(part) * 1000 / u128::from(whole.max(1));
        u64::try_from(share).unwrap_or(1000).min(1000)
    }

    /// `1,234/20,000 files  1.2 GiB of 2.0 GiB`; of several hunts these are answers, one per file and ruleset.
    pub fn amounts(&self, noun: &str) -> String {
        let files = format!("{}/{} {noun}", number::count(self.files_done), number::count(self.files));
        format!("{files}  {} of {}", number::bytes(self.bytes_done), number::bytes(self.bytes))
    }
}

/// A sliding measurement of bytes per second.
#[derive(Debug, Default)]
pub struct Speed {
    /// Time and bytes done, oldest first; spans at most [`WINDOW`] and one sample more.
    samples: VecDeque<(Instant, u64)>,
}

impl Speed {
    pub fn sample(&mut self, now: Instant, bytes_done: u64) {
        if self.samples.back().is_some_and(|&(_, before)| bytes_done < before) {
            self.samples.clear(); // another version: it starts from nothing
        }
        self.samples.push_back((now, bytes_done));
        while self.samples.get(1).is_some_and(|&(at, _)| now.duration_since(at) >= WINDOW) {
            self.samples.pop_front();
        }
    }

    /// Bytes per second; 0 when it stands still or is not known yet.
    pub fn per_second(&self) -> u64 {
        let (Some(&(first_at, first)), Some(&(last_at, last))) = (self.samples.front(), self.samples.back()) else {
            return 0;
        };
        let millis = last_at.duration_since(first_at).as_millis();
        let per_second = (u128::from(last - first) * 1000).checked_div(millis).unwrap_or(0);
        u64::try_from(per_second).unwrap_or(u64::MAX)
    }

    /// `310 MiB/s  12 s left`; only the speed when all is done, empty while nothing is known.
    pub fn text(&self, progress: &Progress) -> String {
        let per_second = self.per_second();
        if per_second == 0 {
            return String::new();
        }
        if progress.bytes_done >= progress.bytes {
            return format!("{}/s", number::bytes(per_second));
        }
        let left = Duration::from_secs(progress.bytes.saturating_sub(progress.bytes_done) / per_second);
        format!("{}/s  {} left", number::bytes(per_second), number::elapsed(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_is_that_of_the_last_seconds() {
        let start = Instant::now();
        let mut speed = Speed::default();
        for second in 0..=20_u64 {
            let fast = second.min(10) * 100 + second.saturating_sub(10) * 10;
            speed.sample(start + Duration::from_secs(second), fast << 20);
        }
        assert_eq!(speed.per_second(), 10 << 20);
        let progress = Progress { bytes_done: 1100 << 20, bytes: 1400 << 20, ..Progress::default() };
        assert_eq!(speed.text(&progress), "10.0 MiB/s  30 s left");
    }

    #[test]
    fn a_new_version_starts_a_new_measurement() {
        let start = Instant::now();
        let mut speed = Speed::default();
        speed.sample(start, 500);
        speed.sample(start + Duration::from_secs(1), 0);
        assert_eq!(speed.per_second(), 0);
    }

    #[test]
    fn shares_of_bytes_and_of_empty_files() {
        let progress = Progress { files_done: 1, files: 2, bytes_done: 999, bytes: 1000 };
        assert_eq!(progress.per_mille(), 999);
        assert_eq!(Progress { files_done: 1, files: 2, ..Progress::default() }.per_mille(), 500);
        assert_eq!(Progress::default().per_mille(), 0);
    }
}
