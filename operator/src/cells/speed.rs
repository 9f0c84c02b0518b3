//! How fast a hunt is, and how long the rest will take, roughly.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// Speed is what was done in the last minutes: long enough that one large file does not matter, short enough to see
/// workers come and go.
const WINDOW: Duration = Duration::from_secs(120);
/// Fewer seconds say nothing.
const SHORTEST: Duration = Duration::from_secs(3);

/// What was done when.
#[derive(Debug, Default)]
pub(super) struct Speed {
    samples: VecDeque<(Instant, u64)>,
}

impl Speed {
    /// `done` only grows; if it did not, something else is being measured now.
    pub(super) fn note(&mut self, now: Instant, done: u64) {
        if self.samples.back().is_some_and(|(_, before)| *before > done) {
            self.samples.clear();
        }
        self.samples.push_back((now, done));
        while self.samples.len() > 2 && now.duration_since(self.samples[1].0) >= WINDOW {
            self.samples.pop_front();
        }
    }

    /// How long `left` will take; `None` while nobody can say.
    pub(super) fn time_for(&self, left: u64) -> Option<Duration> {
        let ((begin, first), (end, last)) = (self.samples.front()?, self.samples.back()?);
        let took = end.duration_since(*begin);
        let done = last - first;
        if took < SHORTEST || done == 0 {
            return None;
        }
        let millis = took.as_millis().checked_mul(u128::from(left))? / u128::from(done);
        Some(Duration::from_millis(u64::try_from(millis).ok()?))
    }
}

/// As people say it, and so that it does not change with every second: `10s`, `3m`, `2h`, `4d`.
pub(crate) fn rough(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{}s", seconds.div_ceil(10).max(1) * 10),
        60..3_600 => format!("{}m", seconds.div_ceil(60)),
        3_600..172_800 => format!("{}h", seconds.div_ceil(3_600)),
        _ => format!("{}d", seconds.div_ceil(86_400)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_rest_takes_as_long_as_what_was_done_did() {
        let (mut speed, begin) = (Speed::default(), Instant::now());
        assert_eq!(speed.time_for(100), None);
        speed.note(begin, 50);
        speed.note(begin + secs(1), 60);
        assert_eq!(speed.time_for(100), None, "too early to say");
        speed.note(begin + secs(10), 150);
        assert_eq!(speed.time_for(100), Some(secs(10)));
    }

    #[test]
    fn old_times_are_forgotten() {
        let (mut speed, begin) = (Speed::default(), Instant::now());
        speed.note(begin, 0);
        speed.note(begin + secs(100), 1_000_000);
        speed.note(begin + secs(200), 1_000_100);
        speed.note(begin + secs(300), 1_000_200);
        assert_eq!(speed.time_for(100), Some(secs(100)));
    }

    #[test]
    fn another_version_begins_anew() {
        let (mut speed, begin) = (Speed::default(), Instant::now());
        speed.note(begin, 0);
        speed.note(begin + secs(10), 1_000);
        speed.note(begin + secs(20), 10);
        assert_eq!(speed.time_for(100), None);
    }

    #[test]
    fn times_are_said_roughly() {
        let said = |seconds| rough(secs(seconds));
        assert_eq!([said(0), said(7), said(11), said(59)], ["10s", "10s", "20s", "60s"]);
        assert_eq!([said(61), said(3_599), said(3_601), said(200_000)], ["2m", "60m", "2h", "3d"]);
    }
}
