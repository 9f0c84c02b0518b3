//! Lookups in real servers: `redis-server`, alone and as a cluster, and in front of it a line that can be cut.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod cluster;
mod faults;
mod line;
mod server;
mod single;
