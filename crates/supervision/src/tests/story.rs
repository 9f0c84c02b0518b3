use std::time::Duration;

use crate::{Action, Life, Limits, Seen};

/// One scanner and a clock.
pub(super) struct Story {
    life: Life,
    now: Duration,
}

pub(super) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(super) const LIMITS: Limits = Limits {
    progress_within: Duration::from_secs(10),
    load_within: Duration::from_secs(60),
    stop_within: Duration::from_secs(1),
    first_pause: Duration::from_secs(1),
    longest_pause: Duration::from_secs(8),
    steady_after: Duration::from_secs(30),
};

impl Story {
    pub(super) fn new() -> Self {
        Self { life: Life::new(LIMITS), now: secs(1000) }
    }

    pub(super) fn running() -> Self {
        let mut story = Self::new();
        story.see(Seen::Wanted, [Action::Start]);
        story.see(Seen::Started, []);
        story
    }

    pub(super) fn see<const N: usize>(&mut self, seen: Seen, expected: [Action; N]) {
        assert_eq!(self.life.see(self.now, seen), expected, "after {seen:?}");
    }

    pub(super) fn wait<const N: usize>(&mut self, time: Duration, expected: [Action; N]) {
        self.now += time;
        assert_eq!(self.life.tick(self.now), expected, "after waiting {time:?}");
    }

    /// Time until the scanner may be started again.
    pub(super) fn pause(&self) -> Duration {
        self.life.deadline().unwrap().saturating_sub(self.now)
    }

    pub(super) fn restart(&mut self) {
        self.now += self.pause();
        self.see(Seen::Wanted, [Action::Start]);
        self.see(Seen::Started, []);
    }
}
