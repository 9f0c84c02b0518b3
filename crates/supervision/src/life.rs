use std::time::Duration;

use crate::{Death, Limits};

/// What the worker saw of a scanner process, or wants of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seen {
    /// There is work for it.
    Wanted,
    Started,
    /// The operating system refused to start it.
    StartFailed,
    /// It was sent rules to compile.
    SentRules,
    /// It was sent files.
    SentFiles,
    /// It compiled, began another file, or answered.
    Progressed,
    /// Nothing is in flight any more.
    Drained,
    Exited,
    /// The worker shuts down.
    StopWanted,
}

/// What the worker has to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    Start,
    /// Take its input away, so that it ends by itself.
    CloseInput,
    Kill,
    /// It is gone and should not be; the files in flight need a decision.
    Died(Death),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Down { not_before: Duration },
    Starting,
    Idle { since: Duration },
    Loading { since: Duration },
    Scanning { since: Duration },
    Killed,
    Stopping { since: Duration },
    Stopped,
}

/// One slot's scanner through all its processes. See the crate's drawing.
#[derive(Debug)]
pub struct Life {
    limits: Limits,
    state: State,
    started_at: Duration,
    /// Without a steady life in between.
    deaths_in_row: u32,
    deaths: u64,
}

impl Life {
    pub fn new(limits: Limits) -> Self {
        let state = State::Down { not_before: Duration::ZERO };
        Self { limits, state, started_at: Duration::ZERO, deaths_in_row: 0, deaths: 0 }
    }

    /// Takes in what was seen at `now` and answers with what to do, in order.
    pub fn see(&mut self, now: Duration, seen: Seen) -> Vec<Action> {
        match seen {
            Seen::Wanted => self.start_if_due(now),
            Seen::Started => self.note_start(now),
            Seen::StartFailed => self.note_death(now, Death::Crashed, false),
            Seen::SentRules => self.busy(State::Loading { since: now }),
            Seen::SentFiles => self.note_files(now),
            Seen::Progressed => self.note_progress(now),
            Seen::Drained => self.busy(State::Idle { since: now }),
            Seen::Exited => self.note_exit(now),
            Seen::StopWanted => self.stop(now),
        }
    }

    /// Acts on time alone: a hung scanner, a stop that takes too long.
    pub fn tick(&mut self, now: Duration) -> Vec<Action> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Vec::new();
        }
        match self.state {
            State::Loading { .. } | State::Scanning { .. } => self.state = State::Killed,
            State::Stopping { .. } => {}
            State::Down { .. } | State::Starting | State::Idle { .. } | State::Killed | State::Stopped => {
                return Vec::new();
            }
        }
        vec![Action::Kill]
    }

    /// When to come back with a [`Life::tick`], or with [`Seen::Wanted`] while it is down.
    pub fn deadline(&self) -> Option<Duration> {
        let Limits { progress_within, load_within, stop_within, .. } = self.limits;
        match self.state {
            State::Down { not_before } => Some(not_before),
            State::Loading { since } => Some(since + load_within),
            State::Scanning { since } => Some(since + progress_within),
            State::Stopping { since } => Some(since + stop_within),
            State::Starting | State::Idle { .. } | State::Killed | State::Stopped => None,
        }
    }

    /// Deaths since the last steady life; a worker whose scanners die at once should not go on for ever.
    pub fn deaths_in_row(&self) -> u32 {
        self.deaths_in_row
    }

    /// All deaths, for the log.
    pub fn deaths(&self) -> u64 {
        self.deaths
    }

    fn start_if_due(&mut self, now: Duration) -> Vec<Action> {
        match self.state {
            State::Down { not_before } if not_before <= now => {
                self.state = State::Starting;
                vec![Action::Start]
            }
            _ => Vec::new(),
        }
    }

    fn note_start(&mut self, now: Duration) -> Vec<Action> {
        assert_eq!(self.state, State::Starting, "only a start that was asked for can have happened");
        self.started_at = now;
        self.state = State::Idle { since: now };
        Vec::new()
    }

    fn busy(&mut self, next: State) -> Vec<Action> {
        if let State::Idle { .. } | State::Loading { .. } | State::Scanning { .. } = self.state {
            self.state = next;
        }
        Vec::new()
    }

    /// Files queued behind others, or behind rules, do not restart the clock: that would hide a hang.
    fn note_files(&mut self, now: Duration) -> Vec<Action> {
        if let State::Idle { .. } = self.state {
            self.state = State::Scanning { since: now };
        }
        Vec::new()
    }

    fn note_progress(&mut self, now: Duration) -> Vec<Action> {
        if now.saturating_sub(self.started_at) >= self.limits.steady_after {
            self.deaths_in_row = 0;
        }
        self.busy(State::Scanning { since: now })
    }

    fn note_exit(&mut self, now: Duration) -> Vec<Action> {
        match self.state {
            State::Stopping { .. } | State::Stopped => {
                self.state = State::Stopped;
                Vec::new()
            }
            State::Killed => self.note_death(now, Death::Hung, true),
            State::Starting | State::Idle { .. } | State::Loading { .. } | State::Scanning { .. } => {
                self.note_death(now, Death::Crashed, true)
            }
            State::Down { .. } => Vec::new(),
        }
    }

    fn note_death(&mut self, now: Duration, death: Death, lived: bool) -> Vec<Action> {
        if lived && now.saturating_sub(self.started_at) >= self.limits.steady_after {
            self.deaths_in_row = 0;
        }
        self.deaths_in_row += 1;
        self.deaths += 1;
        self.state = State::Down { not_before: now + self.limits.pause_after(self.deaths_in_row) };
        vec![Action::Died(death)]
    }

    fn stop(&mut self, now: Duration) -> Vec<Action> {
        match self.state {
            State::Down { .. } => {
                self.state = State::Stopped;
                Vec::new()
            }
            State::Starting | State::Idle { .. } | State::Loading { .. } | State::Scanning { .. } | State::Killed => {
                self.state = State::Stopping { since: now };
                vec![Action::CloseInput]
            }
            State::Stopping { .. } | State::Stopped => Vec::new(),
        }
    }
}
