//! The life of a scanner process, as a value: when to start it, when it hangs, how long to wait after
//! it died, and which file is to blame.
//!
//! ```text
//!  what the worker saw, and when ──► Life ──► actions: start, kill, close its input
//!  files in flight when it died ──► after_death ──► send again · try alone · excepted
//! ```
//!
//! Deliberately not here: processes, sockets, clocks. `now` is the time since the worker started, handed
//! in; the worker carries actions out and reports what it saw.

mod blame;
mod life;
mod limits;

pub use blame::{Death, Fate, InFlight, after_death};
pub use life::{Action, Life, Seen};
pub use limits::Limits;

#[cfg(test)]
mod tests;
