//! Real orchestrator processes on loopback, killed, starved and robbed of their disks.

mod cluster;
mod disk;
mod faults;
mod members;
mod recovery;
mod storage_suite;
mod worker;
