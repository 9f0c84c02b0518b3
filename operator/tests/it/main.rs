//! The operator from outside: over real sockets, with real processes.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

mod api;
mod hunting;
mod process;
mod webhook;
