//! A circuit breaker: after some failures in a row a server is left alone for a while, then tried with one request.
//!
//! ```text
//!            failures in a row                 cool-down over
//!  Closed ───────────────────────► Open ──────────────────────► HalfOpen
//!    ▲                              ▲                             │    │
//!    │                              └──────── the trial failed ───┘    │
//!    └──────────────────────────────────── the trial succeeded ────────┘
//! ```
//! Pure: whoever uses it says what time it is, as a duration since any fixed moment.

use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// So many failures in a row open it; at least one.
    pub failures: u32,
    /// Time during which nothing is asked.
    pub cool_down: Duration,
}

#[derive(Clone, Debug)]
pub struct Breaker {
    limits: Limits,
    state: State,
    /// Grows with each change of state, so that an answer to a question of before changes nothing.
    era: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Duration,
    },
    /// `trying`: the one request is under way.
    HalfOpen {
        trying: bool,
    },
}

/// The right to ask once. To be given back as one of [`Breaker::succeeded`], [`Breaker::failed`], [`Breaker::abandoned`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Permit {
    era: u64,
}

impl Breaker {
    pub fn new(limits: Limits) -> Self {
        Self { limits, state: State::Closed { failures: 0 }, era: 0 }
    }

    /// May the server be asked now?
    pub fn permit(&mut self, now: Duration) -> Option<Permit> {
        if let State::Open { until } = self.state
            && now >= until
        {
            self.enter(State::HalfOpen { trying: false });
        }
        match &mut self.state {
            State::Closed { .. } => Some(Permit { era: self.era }),
            State::HalfOpen { trying } if !*trying => {
                *trying = true;
                Some(Permit { era: self.era })
            }
            State::HalfOpen { .. } | State::Open { .. } => None,
        }
    }

    /// True: it was not closed, and is now.
    pub fn succeeded(&mut self, permit: Permit) -> bool {
        if permit.era != self.era {
            return false;
        }
        match self.state {
            State::Closed { .. } => {
                self.state = State::Closed { failures: 0 };
                false
            }
            State::HalfOpen { .. } | State::Open { .. } => {
                self.enter(State::Closed { failures: 0 });
                true
            }
        }
    }

    /// True: it was not open, and is now.
    pub fn failed(&mut self, permit: Permit, now: Duration) -> bool {
        if permit.era != self.era {
            return false;
        }
        let open = State::Open { until: now + self.limits.cool_down };
        match self.state {
            State::Closed { failures } if failures + 1 < self.limits.failures => {
                self.state = State::Closed { failures: failures + 1 };
                false
            }
            State::Closed { .. } | State::HalfOpen { .. } => {
                self.enter(open);
                true
            }
            State::Open { .. } => false,
        }
    }

    /// Whoever asked went away before the answer: nothing was learned.
    pub fn abandoned(&mut self, permit: Permit) {
        if permit.era == self.era
            && let State::HalfOpen { trying } = &mut self.state
        {
            *trying = false;
        }
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.era += 1;
    }
}
