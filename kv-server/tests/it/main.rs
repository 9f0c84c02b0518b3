//! The server as a user meets it: the real program, real sockets, real files.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod manage;
mod serving;
