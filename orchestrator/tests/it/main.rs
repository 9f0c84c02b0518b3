//! Real orchestrator processes on loopback, killed, starved and robbed of their disks.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod backups;
mod cluster;
mod disk;
mod faults;
mod health;
mod members;
mod recovery;
mod roles;
mod storage_suite;
mod traces;
mod worker;
