//! The read-only key-value server.
//!
//! ```text
//!             ┌─ net: acceptor ─► N event loops ──┐          ┌─► catalog ─► version ─► shard
//!  clients ──►│        ▲               │          ├─ command ┤
//!             └────────┴── replies ◄── read pool ─┘          └─► cluster (topology)
//!  admin ────► HTTP: metrics, health, switching      manage ─► catalog.switch
//! ```
//!
//! An event loop never waits: what is in memory it answers at once, and a read that may touch the disk goes with its connection to
//! the read pool. Nothing is ever written, so no two threads have to agree on anything but which version is served.

pub mod config;
pub mod server;

pub mod net;

pub mod command;

pub mod catalog;
pub mod cluster;

pub mod admin;
pub mod manage;

pub mod clients;
pub mod cursors;
pub mod events;
pub mod metrics;
pub mod shared;
mod units;
