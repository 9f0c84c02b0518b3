//! Real orchestrator processes on loopback, killed, starved and robbed of their disks.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod cluster;
mod disk;
mod faults;
mod members;
mod recovery;
mod storage_suite;
mod worker;
