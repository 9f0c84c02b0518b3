//! How many pods the backlog asks for: pure, with its own memory.
//!
//! Up at once, since work waits; down only when fewer would have been enough for the whole stabilisation time, so that a gap
//! between two corpora does not send everyone home. Steps are limited both ways.

use std::{collections::VecDeque, time::Duration};

use crd::Autoscaling;

/// What was recommended, and when (any clock that only goes forward), oldest first; and when somebody set the number by hand.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    recommended: VecDeque<(Duration, i32)>,
    /// What the operator wrote last; another number was written by somebody else.
    written: Option<i32>,
    by_hand: Option<Duration>,
    began: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recommendation {
    /// What the backlog alone asks for, within limits.
    pub(crate) wanted: i32,
    /// The number to write now.
    pub(crate) replicas: i32,
    /// The backlog asks for more than `maxReplicas`, or less than `minReplicas`.
    pub(crate) limited: bool,
    /// A number that was set by hand is kept for now.
    pub(crate) by_hand: bool,
}

/// `waiting`: segments that wait or are being worked on; `current`: the number now; `cores`: of each pod.
pub(crate) fn recommend(
    autoscaling: &Autoscaling,
    cores: i32,
    waiting: u64,
    current: i32,
    now: Duration,
    history: &mut History,
) -> Recommendation {
    let window = autoscaling.stabilization.duration().unwrap_or(Duration::from_secs(300));
    let per_pod = i64::from(autoscaling.target_backlog.max(1)) * i64::from(cores.max(1));
    let waiting = i64::try_from(waiting).unwrap_or(i64::MAX);
    let asked = waiting / per_pod + i64::from(waiting % per_pod > 0);
    let within = asked.clamp(i64::from(autoscaling.min_replicas), i64::from(autoscaling.max_replicas));
    let wanted = i32::try_from(within).unwrap_or(i32::MAX);

    history.began.get_or_insert(now);
    if history.written.is_some_and(|written| written != current) {
        history.by_hand = Some(now);
    }
    history.written = Some(current);
    history.recommended.push_back((now, wanted));
    while history.recommended.front().is_some_and(|(at, _)| now.saturating_sub(*at) > window) {
        history.recommended.pop_front();
    }

    let by_hand = history.by_hand.is_some_and(|at| now.saturating_sub(at) < window);
    // Freshly started, it has not seen a whole window yet, and what it has not seen may have needed everyone.
    let seen_all = history.began.is_some_and(|began| now.saturating_sub(began) >= window);
    let highest = history.recommended.iter().map(|(_, wanted)| *wanted).max().unwrap_or(wanted);
    let up = autoscaling.max_step_up.unwrap_or_else(|| current.max(4));
    let down = autoscaling.max_step_down.unwrap_or_else(|| (current / 2).max(1));
    let replicas = if by_hand {
        current
    } else if wanted > current {
        wanted.min(current.saturating_add(up))
    } else if highest < current && seen_all {
        highest.max(current.saturating_sub(down))
    } else {
        current
    };
    history.written = Some(replicas);
    Recommendation { wanted, replicas, limited: i64::from(wanted) != asked, by_hand }
}

#[cfg(test)]
mod tests {
    use crd::Span;

    use super::*;

    fn autoscaling() -> Autoscaling {
        Autoscaling {
            min_replicas: 0,
            max_replicas: 10,
            target_backlog: 4,
            stabilization: Span("5m".to_owned()),
            max_step_up: None,
            max_step_down: None,
        }
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn work_that_waits_is_met_at_once_in_steps() {
        let mut history = History::default();
        let mut at = |now, current| recommend(&autoscaling(), 2, 1000, current, secs(now), &mut history).replicas;
        assert_eq!([at(0, 0), at(15, 4), at(30, 8), at(45, 10)], [4, 8, 10, 10]);
    }

    #[test]
    fn the_number_follows_the_backlog_by_cores() {
        let wanted = |waiting| recommend(&autoscaling(), 2, waiting, 1, secs(0), &mut History::default()).wanted;
        assert_eq!([wanted(0), wanted(1), wanted(8), wanted(9), wanted(79), wanted(81)], [0, 1, 1, 2, 10, 10]);
        assert!(recommend(&autoscaling(), 2, 81, 1, secs(0), &mut History::default()).limited);
        assert!(!recommend(&autoscaling(), 2, 80, 1, secs(0), &mut History::default()).limited);
    }

    #[test]
    fn nobody_is_sent_home_for_a_short_gap() {
        let mut history = History::default();
        let mut at = |now, waiting| recommend(&autoscaling(), 1, waiting, 4, secs(now), &mut history).replicas;
        assert_eq!(at(0, 16), 4);
        assert_eq!(at(100, 0), 4);
        assert_eq!(at(299, 0), 4);
        assert_eq!(at(301, 0), 2, "half of them at a time");
    }

    #[test]
    fn all_may_go_when_nothing_is_owed() {
        let (mut history, mut current) = (History::default(), 3);
        for now in (0..=600).step_by(15) {
            current = recommend(&autoscaling(), 1, 0, current, secs(now), &mut history).replicas;
        }
        assert_eq!(current, 0);
    }

    #[test]
    fn a_number_set_by_hand_stays_for_the_stabilisation_time() {
        let mut history = History::default();
        let mut at = |now, current| recommend(&autoscaling(), 1, 8, current, secs(now), &mut history);
        assert_eq!(at(0, 2).replicas, 2);
        let by_hand = at(400, 7);
        assert_eq!((by_hand.replicas, by_hand.by_hand), (7, true));
        assert_eq!(at(690, 7).replicas, 7);
        assert!(at(701, 7).replicas < 7);
    }

    #[test]
    fn limits_of_steps_are_kept() {
        let limits = Autoscaling { max_step_up: Some(1), max_step_down: Some(1), ..autoscaling() };
        let mut history = History::default();
        assert_eq!(recommend(&limits, 1, 1000, 3, secs(0), &mut history).replicas, 4);
        let mut history = History::default();
        let mut replicas = 4;
        for now in [0, 301] {
            replicas = recommend(&limits, 1, 0, replicas, secs(now), &mut history).replicas;
        }
        assert_eq!(replicas, 3);
    }
}
