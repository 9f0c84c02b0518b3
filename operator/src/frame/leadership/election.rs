//! Who leads, decided from what a Lease says: no clock, no client.
//!
//! Clocks of different machines are never compared. A replica notes when *it* first saw the Lease as it is; only if it has
//! stayed so for a whole term by its own clock is the holder taken to be gone. A holder counts its term from *before* it
//! sent the renewal that succeeded, and stops acting earlier than anyone else may begin.
//! The write itself is a compare-and-swap on the Lease's resource version, so of two that try one wins.

use std::time::Duration;

/// How long what takes, all from the term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// A holder that was silent for so long, by the clock of who looks, has lost the Lease.
    pub(crate) term: Duration,
    /// A holder that could not renew for so long stops acting. Earlier than the term by more than clocks drift in it, and by
    /// what it takes to stop.
    pub(crate) give_up: Duration,
    /// Time between renewals. With a term of 30 s, six requests in a minute are what leading costs when nothing happens.
    pub(crate) renew: Duration,
    /// For one write; two of these fit between a renewal and giving up.
    pub(crate) write: Duration,
    /// After a renewal that failed.
    pub(crate) retry: Duration,
}

impl Times {
    pub(crate) fn of(term: Duration) -> Self {
        Self { term, give_up: term * 2 / 3, renew: term / 3, write: term / 6, retry: term / 15 }
    }
}

/// The Lease as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Empty: nobody holds it.
    pub(crate) holder: String,
    /// Changes with every write.
    pub(crate) version: String,
    pub(crate) transitions: i32,
}

/// What a replica knows; times are its own clock's, from any beginning.
#[derive(Clone, Debug)]
pub(crate) struct Election {
    identity: String,
    times: Times,
    /// The Lease as last seen, and when it was first seen so.
    seen: Option<(Seen, Duration)>,
    /// When the last renewal that succeeded was sent.
    renewed: Option<Duration>,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make the Lease, which does not exist, with us as its holder.
    Create,
    /// Take or renew it, if it is still at this version.
    Write { version: String, transitions: i32 },
    /// Nothing, until then or until the Lease changes.
    Wait { until: Duration },
    /// We led and may not any more: stop acting at once.
    Lost,
}

impl Election {
    pub(crate) fn new(identity: String, times: Times) -> Self {
        Self { identity, times, seen: None, renewed: None }
    }

    pub(crate) fn times(&self) -> Times {
        self.times
    }

    /// Whether this replica may act at `now`.
    pub(crate) fn leads(&self, now: Duration) -> bool {
        self.renewed.is_some_and(|renewed| now < renewed + self.times.give_up)
    }

    /// The Lease was read: `None` if there is none.
    pub(crate) fn saw(&mut self, now: Duration, lease: Option<Seen>) {
        match (&self.seen, lease) {
            (Some((before, _)), Some(lease)) if *before == lease => {}
            (_, lease) => self.seen = lease.map(|lease| (lease, now)),
        }
    }

    /// Our write, sent at `sent`, succeeded; `lease` is what it left.
    pub(crate) fn wrote(&mut self, sent: Duration, lease: Seen) {
        self.renewed = Some(sent);
        self.seen = Some((lease, sent));
    }

    /// What to do at `now`.
    pub(crate) fn step(&self, now: Duration) -> Step {
        if let Some(renewed) = self.renewed {
            return self.step_as_leader(now, renewed);
        }
        match &self.seen {
            None => Step::Create,
            Some((lease, since)) => {
                // Our own name on a Lease we did not write: we were restarted, and nobody else has this name.
                if lease.holder.is_empty() || lease.holder == self.identity || now >= *since + self.times.term {
                    Step::Write { version: lease.version.clone(), transitions: lease.transitions.saturating_add(1) }
                } else {
                    Step::Wait { until: *since + self.times.term }
                }
            }
        }
    }

    fn step_as_leader(&self, now: Duration, renewed: Duration) -> Step {
        if now >= renewed + self.times.give_up {
            return Step::Lost;
        }
        match &self.seen {
            Some((lease, _)) if lease.holder == self.identity => {
                if now >= renewed + self.times.renew {
                    Step::Write { version: lease.version.clone(), transitions: lease.transitions }
                } else {
                    Step::Wait { until: renewed + self.times.renew }
                }
            }
            // Somebody took it, or deleted it: whoever did so may believe that we stopped.
            Some(_) | None => Step::Lost,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "a";

    fn of_a() -> Election {
        Election::new(A.to_owned(), Times::of(secs(30)))
    }

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn held_by(holder: &str, version: &str) -> Seen {
        Seen { holder: holder.to_owned(), version: version.to_owned(), transitions: 3 }
    }

    #[test]
    fn the_first_makes_the_lease() {
        let mut election = of_a();
        election.saw(secs(0), None);
        assert_eq!(election.step(secs(0)), Step::Create);
        election.wrote(secs(0), held_by(A, "1"));
        assert!(election.leads(secs(1)));
        assert_eq!(election.step(secs(1)), Step::Wait { until: secs(10) });
    }

    #[test]
    fn a_lease_is_taken_only_after_a_whole_term_of_silence() {
        let mut election = of_a();
        election.saw(secs(100), Some(held_by("b", "1")));
        assert_eq!(election.step(secs(129)), Step::Wait { until: secs(130) });
        election.saw(secs(129), Some(held_by("b", "2")));
        assert_eq!(election.step(secs(131)), Step::Wait { until: secs(159) });
        assert_eq!(election.step(secs(159)), Step::Write { version: "2".to_owned(), transitions: 4 });
    }

    #[test]
    fn a_lease_that_was_given_up_is_taken_at_once() {
        let mut election = of_a();
        election.saw(secs(5), Some(held_by("", "7")));
        assert_eq!(election.step(secs(5)), Step::Write { version: "7".to_owned(), transitions: 4 });
    }

    #[test]
    fn who_cannot_renew_stops_before_another_may_begin() {
        let mut election = of_a();
        election.wrote(secs(0), held_by(A, "1"));
        assert_eq!(election.step(secs(10)), Step::Write { version: "1".to_owned(), transitions: 3 });
        assert_eq!(election.step(secs(20)), Step::Lost);
        assert!(!election.leads(secs(20)));
    }

    #[test]
    fn who_sees_another_holder_stops_at_once() {
        let mut election = of_a();
        election.wrote(secs(0), held_by(A, "1"));
        election.saw(secs(1), Some(held_by("b", "2")));
        assert_eq!(election.step(secs(1)), Step::Lost);
        let mut election = of_a();
        election.wrote(secs(0), held_by(A, "1"));
        election.saw(secs(1), None);
        assert_eq!(election.step(secs(1)), Step::Lost);
    }
}
