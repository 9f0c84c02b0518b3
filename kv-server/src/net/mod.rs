//! Sockets: one acceptor, N identical event loops, and the read pool.
//!
//! ```text
//! acceptor ──round robin──► loop 0..N: read ─► run all requests in it ─► one write
//!                              │  ▲
//!             needs the disk   ▼  │ connection comes back with its replies
//!                           read pool
//! ```
//!
//! One acceptor deals connections out in turn: SO_REUSEPORT would deal by hash, and 50 connections over 2 loops then split as
//! badly as 32 to 18 every other time. A connection stays with its loop. While its requests are in the read pool it is not read
//! from, so its replies stay in order and others go on.

mod acceptor;
mod buffers;
mod connection;
mod event_loop;
mod mailbox;
mod pool;

pub use acceptor::{Acceptor, AcceptorHandle};
pub use event_loop::EventLoop;
pub use mailbox::{Mailbox, Message};
pub use pool::Pool;
