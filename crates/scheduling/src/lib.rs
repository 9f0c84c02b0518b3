//! The scheduling core: which segment is scanned under which ruleset versions, by whom, and what came of it.
//!
//! ```text
//!   log entry ──► State::apply ──► events            on every replica
//!                    ▲    │
//!             commands    │ &State
//!                    │    ▼
//!                 Planner::plan ◄── free slots, now   on the leader only
//! ```
//!
//! Pure and deterministic: no clock, randomness, float, hash order, disk, socket or async runtime.
//! Work is never stored as rows. A job is derived from coverage: what a corpus has, minus what is
//! done at a ruleset's current version, minus what is leased.
//!
//! Deliberately not here: storage of findings, compiling of rules, who leads, and time-outs of
//! sessions (the leader proposes their end).

mod command;
mod corpus;
mod coverage;
mod event;
mod lease;
mod planner;
mod ruleset;
mod state;
mod view;

#[cfg(test)]
mod tests;

pub use command::{
    Command, Grant, ListingResult, MAX_GRANTS_PER_COMMAND, RulesetResult, ScanDone, Stamp, Target, Verdict, Work,
};
pub use corpus::Corpus;
pub use coverage::{Attempts, Coverage, FindingsObject, Hunt};
pub use event::{Event, Refusal};
pub use lease::{Lease, Session};
pub use planner::{FreeSlots, Planner, Reservations};
pub use ruleset::{Priority, Ruleset, RulesetState, Version};
pub use state::{FAILED_ATTEMPTS_LIMIT, LOST_ATTEMPTS_LIMIT, State};
pub use view::{Backlog, HuntState, HuntView, OwedWork, WorkClass};
